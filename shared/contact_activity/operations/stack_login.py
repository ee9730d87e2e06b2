"""A deployed stack as the place of a login."""

import json

from contact_activity.aws.errors import as_retry_error
from contact_activity.aws.secret_tokens import LEASE_MS, SecretTokens
from contact_activity.domain.tokens import StoredTokens, token_digest
from contact_activity.operations.login import Login
from contact_activity.operations.login_place import REFRESH_UNGIVEN, exclusive, is_of
from contact_activity.operations.remedies import AS_HELP_SAYS
from contact_activity.operations.stack_credential import StackCredential, explained
from contact_activity.run.errors import RunError
from contact_activity.settings import Settings, SettingsError, V3Credentials, Version

# A function that was killed holds the lease until it ends. Nobody should have to sign in twice for that.
MAX_WAIT_S = LEASE_MS / 1_000 + 60


class LoginStack:
    """A stack as the place of a login. Raises `SettingsError` if it reads v2."""

    def __init__(self, stack: StackCredential) -> None:
        if stack.version is Version.V2:
            raise SettingsError(
                f"the stack {stack.stack_name} reads v2, and a login is for v3: deploy another stack with "
                "ConstantContactApiVersion=v3"
            )
        self.name = f"--stack {stack.stack_name}"
        self._stack = stack
        self._store = SecretTokens(stack.secrets, stack.table, stack.clock, V3Credentials(), replaces=True)

    def client_id(self) -> str | None:
        with explained(self._stack.stack_name):
            return self._stack.client_id or self._store.read().client_id

    def check(self) -> None:
        with explained(self._stack.stack_name):
            self._stack.account.check_version(Version.V3)
            self._store.read()
            self._store.check_rights()

    def is_of_known_account(self, login: Login, settings: Settings) -> bool:
        stack, token = self._stack, login.granted.access_token
        refusal = (
            f"the stack {stack.stack_name} holds what was read of another Constant Contact account: log in "
            "to that account, or deploy another stack"
        )
        with explained(stack.stack_name):
            return is_of(stack.account, token, settings, stack.limiter, stack.clock, refusal)

    def save(self, login: Login, client: V3Credentials) -> None:
        """Store the tokens, then the application. Whatever refresh token is in the secret counts as taken."""
        if login.granted.refresh_token is None:
            raise RunError(
                f"{REFRESH_UNGIVEN}, and a stack needs one: have Rotating Refresh Tokens in the portal, "
                f"{AS_HELP_SAYS}, or log in with --code"
            )
        with explained(self._stack.stack_name), exclusive(self._store, MAX_WAIT_S):
            stored = self._having_taken_all()
            self._store.save(stored.logged_in(client.client_id or "", login.granted, asked_ms=login.asked_ms))
            self._put_application(client)

    def remove(self) -> bool:
        with explained(self._stack.stack_name):
            return self._remove()

    def _remove(self) -> bool:
        if self._store.read().is_empty:
            return False
        with exclusive(self._store, MAX_WAIT_S):
            self._store.save(self._having_taken_all().logged_out())
            given = self._store.given()
            if given.access_token:
                # A trial of a day is in no other place.
                self._put_application(given)
        return True

    def _having_taken_all(self) -> StoredTokens:
        refresh_token = self._store.given().refresh_token
        digests = {token_digest(refresh_token)} if refresh_token else set()
        return self._store.read().having_taken(frozenset(digests))

    def _put_application(self, client: V3Credentials) -> None:
        value = {"client_id": client.client_id, "client_secret": client.client_secret}
        text = json.dumps({name: text for name, text in value.items() if text})
        secrets = self._stack.secrets
        with as_retry_error("Secrets Manager"):
            secrets.client.put_secret_value(SecretId=secrets.given, SecretString=text)
