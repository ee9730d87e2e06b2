"""Whose account the stored state is of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """The provider's id of the account that the state is of. `checked`: the digest of a token of it."""

    account_id: str
    checked: str
