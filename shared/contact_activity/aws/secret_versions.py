"""Read and write the versions of one secret, each of which is written once."""

from dataclasses import dataclass, field

from botocore.client import BaseClient

from contact_activity.aws.errors import as_retry_error
from contact_activity.errors import RetryError

PUT_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """A version of a secret. `arn` is another one for a secret that was made anew."""

    arn: str
    id: str
    text: str = field(repr=False)


class SecretVersions:
    """One secret. Every method raises `RetryError` when a call to Secrets Manager fails."""

    def __init__(self, client: BaseClient, secret_id: str) -> None:
        self._client, self.secret_id = client, secret_id

    def current(self) -> SecretVersion | None:
        """Return the current version, or for a moment an older one. None if the secret has no value."""
        return self._get()

    def at(self, version_id: str) -> SecretVersion | None:
        return self._get(VersionId=version_id)

    def put_again(self) -> None:
        """Store the current version once more, which changes nothing and needs the right to store."""
        if current := self.current():
            self.put(current.id, current.text)

    def put(self, version_id: str, text: str) -> SecretVersion | None:
        """Store a version and make it the current one. None if there is another one under this id.

        Tried again, since an answer may be lost.
        """
        for _ in range(PUT_ROUNDS - 1):
            try:
                return self._put(version_id, text)
            except RetryError:
                continue
        return self._put(version_id, text)

    def _put(self, version_id: str, text: str) -> SecretVersion | None:
        exists = self._client.exceptions.ResourceExistsException
        with as_retry_error("Secrets Manager"):
            try:
                stored = self._client.put_secret_value(
                    SecretId=self.secret_id, SecretString=text, ClientRequestToken=version_id
                )
            except exists:
                found = self.at(version_id)
                return found if found and found.text == text else None
        return SecretVersion(str(stored["ARN"]), version_id, text)

    def _get(self, **which: str) -> SecretVersion | None:
        with as_retry_error("Secrets Manager"):
            try:
                found = self._client.get_secret_value(SecretId=self.secret_id, **which)
            except self._client.exceptions.ResourceNotFoundException:
                return None
        text = str(found.get("SecretString") or "")
        # The emulator shows a secret without a value as an empty one.
        return SecretVersion(str(found["ARN"]), str(found["VersionId"]), text) if text else None
