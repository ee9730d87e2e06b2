"""Keep the tokens of the v3 API in Secrets Manager, where one function at a time may renew them.

The operator's secret is only read: the application, and the refresh token to begin with. What comes of that
is in a secret of our own, so that neither can bury what the other wrote. An item of the table holds the
lease, and all that is not secret: how often a refresh token was sent, and which version is newest, since a
secret may show an older one for a moment.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from botocore.client import BaseClient

from contact_activity.aws.secret import ASK_AGAIN_S, MAX_AGE_S, MAX_STALE_S, Age, parse_object
from contact_activity.aws.secret_versions import SecretVersion, SecretVersions
from contact_activity.aws.table import Item, Table, Value
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.tokens import AccessToken, StoredTokens
from contact_activity.errors import RetryError
from contact_activity.ports import Clock
from contact_activity.settings import SettingsError, V3Credentials, check_credential
from contact_activity.state.tokens import tokens_from_json, tokens_to_json

_ITEM = "tokens"
# Longer than any function may run, by clocks that differ by two minutes: nobody outlives a lease of his own.
LEASE_MS = 8 * 60_000
POLL_S = 0.5
# After this a version that is not there will not come any more.
SETTLED_MS = 5 * 60_000
# A secret has some 100 versions, and none goes within a day: above that a new token could not be stored.
MAX_RENEWALS_A_DAY = 45
# Nobody knows when an access token ends that the operator put in.
_NEVER_MS = 1 << 60
_VERSIONS = uuid.UUID("4f0c8f0a-6b0e-4a55-9a55-5b8a3c1a7d01")
_CREDENTIALS = ("client_id", "client_secret", "refresh_token", "access_token")
REMEDY = (
    "run `contact-activity login --stack NAME`, or store "
    '{{"client_id": "...", "refresh_token": "..."}} in {where}, with "client_secret" if there is one'
)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The two secrets. `given` is the operator's, and `own` is ours."""

    client: BaseClient
    given: str
    own: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What counts now. `version`, `text` and `serial` are of what is stored; 0: nothing is.

    `is_stored`: the tokens are that, not what is to be stored next.
    """

    tokens: StoredTokens
    client: V3Credentials
    arn: str
    version: str = ""
    text: str = field(default="", repr=False)
    serial: int = 0
    is_stored: bool = True
    renewals: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class NotedTokens:
    """What the table tells of the tokens, which is nothing secret. None: an earlier version noted nothing.

    `asked_ms` and `expires_ms`: of the access token. `is_renewed`: there is a refresh token.
    """

    asked_ms: int | None
    expires_ms: int | None
    is_renewed: bool
    is_dead: bool


def noted_tokens(table: Table) -> NotedTokens | None:
    """Return what was noted of the tokens that are stored; None if none are. Reads no secret."""
    item = table.get(_ITEM)
    if not item.text_or_none("newest"):
        return None
    asked_ms, expires_ms = item.whole("asked_at"), item.whole("expires_at")
    # An earlier version stored none without one.
    is_renewed = "is_renewed" not in item or bool(item.whole("is_renewed"))
    return NotedTokens(asked_ms or None, expires_ms or None, is_renewed, bool(item.whole("is_dead")))


class SecretTokens:
    """The `TokenStore` port on two secrets and an item of the table.

    `client`: the application, where the operator's secret does not name it. `replaces`: for who is about to
    replace the credential, secrets without usable tokens count as empty.

    Every method raises `RetryError` when AWS fails, and `SettingsError` if there are no usable tokens.
    """

    def __init__(
        self, secrets: Secrets, table: Table, clock: Clock, client: V3Credentials, *, replaces: bool = False
    ) -> None:
        self._given = SecretVersions(secrets.client, secrets.given)
        self._own = SecretVersions(secrets.client, secrets.own)
        self._table, self._clock = table, clock
        self._client, self._replaces = client, replaces
        self._holder = uuid.uuid4().hex
        self._lock = threading.RLock()
        # No other process may renew the tokens.
        self._is_held = False
        self._known: _Known | None = None
        self._found, self._asked, self._wait_s = Age(clock), Age(clock), 0.0

    def read(self) -> StoredTokens:
        """Return what is stored. Whoever may not renew it gets what was read in the last five minutes."""
        return self._read().tokens

    def application(self) -> V3Credentials:
        """Return the client id and the client secret to renew tokens with."""
        return self._read().client

    def check_rights(self) -> None:
        """See that tokens can be stored, as far as that shows without a change."""
        with self.exclusive(within_s=0.0):
            for secret in (self._given, self._own):
                secret.put_again()

    @contextmanager
    def exclusive(self, *, within_s: float) -> Iterator[bool]:
        until_ms = self._clock.monotonic_ms() + within_s * 1_000
        while not (is_ours := self._take_lease()) and self._clock.monotonic_ms() < until_ms:
            self._clock.sleep(POLL_S)
        if not is_ours:
            yield False
            return
        with self._lock:
            before, self._is_held, self._known = self._known, True, None
        try:
            yield True
        finally:
            with self._lock:
                self._give_lease_back()
                self._is_held = False
                if self._known:
                    self._set_fresh()
                else:
                    # It could not be read, so what was known is all there is.
                    self._known = before

    def save(self, tokens: StoredTokens) -> None:
        """Store all of it, or nothing. A secret is written only where a token is another one."""
        with self._lock:
            known = self._read()
            if known.is_stored and tokens.has_same_tokens(known.tokens):
                self._known = self._counted(known, tokens)
            else:
                self._known = self._stored(known, tokens)

    def _counted(self, known: _Known, tokens: StoredTokens) -> _Known:
        """Store what changed beside the tokens."""
        is_sending = tokens.unanswered > known.tokens.unanswered
        day, renewals = known.renewals
        if is_sending and day == self._day() and renewals >= MAX_RENEWALS_A_DAY:
            raise RetryError(
                f"the tokens were renewed {renewals} times today, and a secret keeps no more versions"
            )
        if is_sending:
            self._see_that_it_can_be_stored(known)
        counted = replace(known, tokens=tokens)
        if not self._note(counted):
            raise RetryError("the lease of the tokens is over")
        return counted

    def _see_that_it_can_be_stored(self, known: _Known) -> None:
        """Store once more what is stored, which changes nothing. Otherwise the answer might have no place."""
        if self._own.put(known.version, known.text) is None:
            raise RetryError("somebody else has stored the tokens")

    def _stored(self, known: _Known, tokens: StoredTokens) -> _Known:
        """Store a new version of the secret. From the moment when AWS has it, it counts."""
        day, renewals = known.renewals
        renewals = renewals + 1 if day == self._day() else 1
        version = str(uuid.uuid5(_VERSIONS, f"{known.arn}/{known.version}"))
        serial = known.serial + 1
        # Two that save after the same version differ in the writer, so that AWS refuses the second.
        value = {"serial": serial, "writer": uuid.uuid4().hex, "tokens": tokens_to_json(tokens)}
        put = self._own.put(version, json.dumps(value))
        if put is None:
            raise RetryError("somebody else has stored the tokens")
        renewed = (self._day(), renewals)
        stored = _Known(tokens, known.client, put.arn, version, put.text, serial, renewals=renewed)
        with suppress(RetryError):
            self._note(stored)
        return stored

    def _note(self, known: _Known) -> bool:
        """Store what is not secret. False if the lease is not ours any more."""
        tokens = known.tokens
        values: dict[str, Value] = {
            "newest": known.version,
            "serial": known.serial,
            "secret": known.arn,
            "noted_at": self._clock.now_ms(),
            "unanswered": tokens.unanswered,
            "called_at": tokens.called_ms,
            "is_dead": int(tokens.is_dead),
            "is_unproven": int(tokens.is_unproven),
            "renewed_on": known.renewals[0],
            "renewals": known.renewals[1],
            "asked_at": tokens.access.asked_ms if tokens.access else 0,
            "expires_at": tokens.access.expires_ms if tokens.access else 0,
            "is_renewed": int(tokens.refresh_token is not None),
        }
        change = "SET " + ", ".join(f"{name} = :{name}" for name in values)
        if tokens.taken:
            change, values["taken"] = f"{change} ADD taken :taken", tokens.taken
        return self._table.update(_ITEM, change, "holder = :me", me=self._holder, **values)

    def _read(self) -> _Known:
        with self._lock:
            if self._known and (self._is_held or self._asked.seconds() < self._wait_s):
                return self._known
            last, self._known = self._known, None
            try:
                self._known = self._settled()
            except RetryError:
                if self._is_held or last is None or self._found.seconds() >= MAX_STALE_S:
                    raise
                self._known, self._asked, self._wait_s = last, Age(self._clock), ASK_AGAIN_S
                return last
            self._set_fresh()
            return self._known

    def _set_fresh(self) -> None:
        self._found = self._asked = Age(self._clock)
        self._wait_s = MAX_AGE_S

    def _day(self) -> int:
        return self._clock.now_ms() // DAY_MS

    def _settled(self) -> _Known:
        """Read what counts: the operator's new refresh token, or what came of the last one."""
        given = self.given()
        item = self._table.get(_ITEM)
        known = replace(self._newest(item), client=self._application(given))
        if given.access_token:
            access = AccessToken(given.access_token, 0, _NEVER_MS)
            tokens = replace(known.tokens.logged_out(), access=access)
            return replace(known, tokens=tokens, is_stored=False)
        refresh_token, client_id = given.refresh_token, known.client.client_id
        if refresh_token and not known.tokens.has_taken(refresh_token, client_id):
            if not client_id:
                raise self._unusable('has no "client_id", and ConstantContactClientId is not set')
            return replace(known, tokens=known.tokens.taking(refresh_token, client_id), is_stored=False)
        if known.tokens.is_empty and not self._replaces:
            if known.version and not known.text:
                raise self._unusable("holds no tokens of ours", self._own)
            raise self._unusable("has no refresh token, or one that was taken before")
        # Perhaps the same refresh token again, with the client id put right.
        tokens = known.tokens.of_client(refresh_token or "", client_id)
        return replace(known, tokens=tokens, is_stored=known.is_stored and tokens == known.tokens)

    def _newest(self, item: Item) -> _Known:
        """Return the newest tokens that are stored, whatever version the secret shows first."""
        shown = current = self._own.current()
        taken, renewals = item.text_set("taken"), (item.whole("renewed_on"), item.whole("renewals"))
        if current is None or current.arn == item.text("secret"):
            current = self._not_behind(current, item)
        parsed = self._parsed(current) if current else None
        if current is None or parsed is None:
            # What the secret shows names the next version all the same: another name may be an earlier one's.
            named = (shown.arn, shown.id) if shown else ("", "")
            nothing = StoredTokens(taken=taken)
            return _Known(nothing, V3Credentials(), *named, is_stored=False, renewals=renewals)
        serial, tokens = parsed
        if current.id == item.text("newest"):
            tokens = replace(
                tokens,
                unanswered=item.whole("unanswered"),
                called_ms=item.whole("called_at"),
                is_dead=bool(item.whole("is_dead")),
                is_unproven=bool(item.whole("is_unproven")),
            )
        tokens = tokens.having_taken(taken)
        stored = (current.arn, current.id, current.text)
        return _Known(tokens, V3Credentials(), *stored, serial, renewals=renewals)

    def _not_behind(self, current: SecretVersion | None, item: Item) -> SecretVersion | None:
        """Return the version that the item names, unless the secret shows a newer one of ours.

        Whoever stored a newer one died before the item named it.
        """
        newest = item.text("newest")
        if not newest or (current and current.id == newest):
            return current
        parsed = self._parsed(current) if current else None
        if parsed and parsed[0] > item.whole("serial"):
            return current
        named = self._own.at(newest)
        if named is None and self._clock.now_ms() - item.whole("noted_at") < SETTLED_MS:
            raise RetryError("the secret does not show yet what was stored last")
        return named

    def _application(self, given: V3Credentials) -> V3Credentials:
        """Return whose tokens these are. A client secret belongs to one application."""
        client_id = given.client_id or self._client.client_id
        own_secret = self._client.client_secret if client_id == self._client.client_id else None
        return V3Credentials(client_id, given.client_secret or own_secret)

    def given(self) -> V3Credentials:
        """Return what the operator put in."""
        try:
            current = self._given.current()
            if current is None:
                raise self._unusable("has no value")
            return self._credentials(current)
        except SettingsError:
            if self._replaces:
                return V3Credentials()
            raise

    def _credentials(self, given: SecretVersion) -> V3Credentials:
        try:
            value = parse_object(given.text)
        except ValueError as error:
            raise self._unusable(str(error)) from None
        if "api_key" in value:
            raise self._unusable('has an "api_key", which is of v2, but ConstantContactApiVersion is v3')
        found: dict[str, str] = {}
        for name in _CREDENTIALS:
            credential = value.get(name)
            if credential is not None and not isinstance(credential, str):
                raise self._unusable(f'has a "{name}" that is no text')
            if credential and credential.strip():
                check_credential(f"{name} in the secret {self._given.secret_id}", credential.strip())
                found[name] = credential.strip()
        if "refresh_token" in found and "access_token" in found:
            raise self._unusable('has a "refresh_token" and an "access_token", which is one too many')
        return V3Credentials(**found)

    def _parsed(self, version: SecretVersion) -> tuple[int, StoredTokens] | None:
        """Return the serial and the tokens of a version; None if it is not one of ours."""
        try:
            value = parse_object(version.text)
            serial, tokens = value["serial"], value["tokens"]
            if not isinstance(serial, int) or not isinstance(tokens, dict):
                return None
            return serial, tokens_from_json(tokens)
        except (ValueError, TypeError, KeyError):
            return None

    def _unusable(self, fault: str, secret: SecretVersions | None = None) -> SettingsError:
        where = f"the secret {self._given.secret_id}" if secret else "it"
        remedy = REMEDY.format(where=where)
        return SettingsError(f"the secret {(secret or self._given).secret_id} {fault}: {remedy}")

    def _take_lease(self) -> bool:
        now_ms = self._clock.now_ms()
        return self._table.update(
            _ITEM,
            "SET holder = :me, held_until = :until",
            "attribute_not_exists(held_until) OR held_until <= :now OR held_until > :latest OR holder = :me",
            me=self._holder,
            now=now_ms,
            until=now_ms + LEASE_MS,
            # A clock that ran ahead by more wrote that.
            latest=now_ms + 2 * LEASE_MS,
        )

    def _give_lease_back(self) -> None:
        # Otherwise it ends by itself.
        with suppress(RetryError):
            self._table.update(_ITEM, "SET held_until = :zero", "holder = :me", zero=0, me=self._holder)
