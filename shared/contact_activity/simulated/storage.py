"""Keeps a simulated account in a file, so that it continues from one run to the next."""

import json
import os
import tempfile
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from typing import Any

from contact_activity.simulated.account import Campaign, Contact, Kind, Link, Row, SimulatedAccount
from contact_activity.simulated.new_activity import VisitState, add_new_activity
from contact_activity.simulated.realistic import realistic_account
from contact_activity.simulated.times import to_ms

_FORMAT = 1


class AccountFileError(Exception):
    """The file holds no simulated account. The message is one line that says what to do."""


def open_account(path: Path, now: datetime, contacts: int = 250, *, seed: int = 1) -> SimulatedAccount:
    """Read the account of a file, add new activity up to `now`, store it and return it.

    Makes a new account of `contacts` and `seed` if there is no file, and creates its folder. More
    activity becomes visible in the day after `now`. Raises `AccountFileError` if the file cannot be
    parsed, `OSError` if it cannot be read or written.
    """
    now_ms = to_ms(now)
    if path.exists():
        account, visits = _load(path)
    else:
        account, visits = (
            realistic_account(seed, now=now, contacts=contacts),
            VisitState(seed, now_ms, now_ms),
        )
    visits = add_new_activity(account, visits, now_ms)
    _save(path, account, visits)
    return account


def read_account(path: Path) -> SimulatedAccount:
    """Read the account of a file, which stays as it is. Raises as `open_account`."""
    account, _ = _load(path)
    return account


def _load(path: Path) -> tuple[SimulatedAccount, VisitState]:
    try:
        stored = json.loads(path.read_bytes())
        return _READERS[stored["format"]](stored), VisitState(*map(int, stored["life"]))
    except (ValueError, KeyError, TypeError, IndexError) as problem:
        raise AccountFileError(
            f"{path} holds no simulated account that can be read; delete it to start a new one"
        ) from problem


def _read_account(stored: dict[str, Any]) -> SimulatedAccount:
    account = SimulatedAccount()
    for fields in stored["contacts"]:
        account.put_contact(Contact(*fields))
    for id_, name, status, created_ms, modified_ms, sent_ms, links, listed, *resent in stored["campaigns"]:
        own, times_ms = tuple(Link(*link) for link in links), tuple(resent[0]) if resent else ()
        account.put_campaign(
            Campaign(id_, name, status, created_ms, modified_ms, sent_ms, own, listed, times_ms)
        )
    addresses = {contact.id: contact.email_address for contact in account.contacts()}
    for kind, campaign_id, contact_id, occurred_ms, late_ms, own in stored["rows"]:
        account.put_row(
            Row(
                Kind[kind],
                campaign_id,
                contact_id,
                addresses[contact_id],
                occurred_ms,
                occurred_ms + late_ms,
                tuple(own.items()),
            )
        )
    return account


_READERS = {_FORMAT: _read_account}


def _save(path: Path, account: SimulatedAccount, visits: VisitState) -> None:
    """Replace the file in one step. A kill leaves the old file or the new one."""
    stored = {
        "format": _FORMAT,
        "life": astuple(visits),
        "contacts": [astuple(contact) for contact in account.contacts()],
        "campaigns": [astuple(campaign) for campaign in account.campaigns()],
        "rows": [_stored(row) for row in account.rows()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(stored, file, separators=(",", ":"))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _stored(row: Row) -> tuple[str, str, str, int, int, dict[str, str]]:
    late_ms = row.inserted_ms - row.occurred_ms
    return row.kind.name, row.campaign_id, row.contact_id, row.occurred_ms, late_ms, dict(row.own)
