"""Which account the state folder is of."""

import json
from pathlib import Path

from contact_activity.domain.account import StoredAccount
from contact_activity.errors import StandstillError
from contact_activity.state.files import write_private

FILE = "account.json"


class AccountFile:
    """The `AccountRecord` port on a file. Raises `StandstillError` when it cannot be used."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE

    def read(self) -> StoredAccount | None:
        try:
            value = json.loads(self._path.read_text(encoding="utf-8"))
            return StoredAccount(str(value["account_id"]), str(value["checked"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StandstillError(
                f"{self._path} cannot be read ({error.strerror})", is_passing=True
            ) from None
        except (ValueError, TypeError, KeyError):
            text = (
                f"{self._path} names no account: delete it if the folder is of the account that is read now"
            )
            raise StandstillError(text, is_passing=False) from None

    def save(self, account: StoredAccount) -> None:
        value = {"account_id": account.account_id, "checked": account.checked}
        try:
            write_private(self._path, json.dumps(value).encode())
        except OSError as error:
            raise StandstillError(
                f"{self._path} cannot be written ({error.strerror})", is_passing=True
            ) from None
