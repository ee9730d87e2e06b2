"""Keep in the table whose account its state is of, and by which version of the API it was read."""

from contact_activity.aws.table import Table
from contact_activity.domain.account import StoredAccount
from contact_activity.settings import SettingsError, Version

_ITEM = "account"


class DynamoAccount:
    """The `AccountRecord` port. Raises `RetryError` when a call to the table fails."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self) -> StoredAccount | None:
        item = self._table.get(_ITEM)
        if "account_id" not in item:
            return None
        return StoredAccount(item.text("account_id"), item.text("checked"))

    def save(self, account: StoredAccount) -> None:
        """Store it, unless another process has stored another account."""
        self._table.update(
            _ITEM,
            "SET account_id = :account, checked = :checked",
            "attribute_not_exists(account_id) OR account_id = :account",
            account=account.account_id,
            checked=account.checked,
        )

    def version(self) -> Version | None:
        """By which version of the API the state was read; None if nothing was."""
        stored = self._table.get(_ITEM).text_or_none("api_version")
        # An earlier version of this program knew v2 only, and noted nothing.
        if stored is None and "listing" in self._table.get("listing"):
            return Version.V2
        return None if stored is None else Version(stored)

    def check_version(self, version: Version) -> None:
        """Raise `SettingsError` if the state was read by the other version, which has other ids."""
        stored = self.version()
        if stored not in (None, version):
            raise SettingsError(
                f"the table holds what was read from API {stored}, and {version.value} has other ids: "
                f"set ConstantContactApiVersion to {stored}, or deploy another stack"
            )

    def keep_to_version(self, version: Version) -> None:
        """Note by which version of the API the state is read. Raises as `check_version`."""
        self.check_version(version)
        if not self._table.update(
            _ITEM,
            "SET api_version = :version",
            "attribute_not_exists(api_version) OR api_version = :version",
            version=version.value,
        ):
            self.keep_to_version(version)
