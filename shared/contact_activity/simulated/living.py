"""How a simulated account goes on between two visits, and what is already under way at the second."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from contact_activity.simulated.account import Kind, Row, SimulatedAccount
from contact_activity.simulated.realistic import (
    Sending,
    bounce,
    click,
    make_row,
    new_contact,
    put_row,
    send_campaign,
    welcome,
)
from contact_activity.simulated.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

ROWS_MAX = 200_000
"""An account of this size lives on no more."""

_AHEAD_MS = DAY_MS
_TRICKLE_EVERY_MS = 4 * MINUTE_MS
_LATE_BOUNCE_MS = 60 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Life:
    """How far an account has lived: its seed, its last visit, and until when activity is under way."""

    seed: int
    visited_ms: int
    planned_until_ms: int


def live_on(account: SimulatedAccount, life: Life, now_ms: int) -> Life:
    """Add what happened since the last visit, at least a little, and what the next day will bring.

    The same account, life and moment give the same rows. Rows that were there stay as they are.
    """
    life = _set_right(life, now_ms)
    if len(account.rows()) < ROWS_MAX:
        rng = random.Random(f"{life.seed}:{now_ms}")
        away_ms = min(max(now_ms - life.visited_ms, 0), 7 * DAY_MS)
        _send_due_campaigns(account, rng, now_ms)
        sendings = _recent_sendings(account, now_ms)
        rows = [
            *_readers(rng, sendings, away_ms, now_ms),
            *_late_bounces(account, rng, sendings, now_ms),
            *_trickle(rng, sendings, max(life.planned_until_ms, now_ms), now_ms + _AHEAD_MS),
        ]
        for row in rows:
            put_row(account, row, now_ms)
        _join(account, rng, now_ms)
    return Life(life.seed, max(now_ms, life.visited_ms), max(life.planned_until_ms, now_ms + _AHEAD_MS))


def _set_right(life: Life, now_ms: int) -> Life:
    """A clock that was ahead at the last visit planned a day that is far away."""
    is_ahead = life.planned_until_ms > now_ms + _AHEAD_MS
    planned_until_ms = now_ms if is_ahead else life.planned_until_ms
    return Life(life.seed, min(life.visited_ms, now_ms), planned_until_ms)


def _send_due_campaigns(account: SimulatedAccount, rng: random.Random, now_ms: int) -> None:
    """At most one a day, at the latest after 9 days, and no more than three for a long absence."""
    sent_ms = [campaign.sent_ms or 0 for campaign in account.campaigns()]
    last_ms = max((of for of in sent_ms if of <= now_ms), default=0)
    for weeks_ago in (2, 1):
        missed_ms = now_ms - weeks_ago * 7 * DAY_MS
        if missed_ms - last_ms > 7 * DAY_MS:
            send_campaign(account, rng, missed_ms, now_ms)
            last_ms = missed_ms
    waited_ms = now_ms - last_ms
    if waited_ms > 9 * DAY_MS or (waited_ms > DAY_MS and rng.random() < 0.3):
        send_campaign(account, rng, now_ms - rng.randrange(2 * MINUTE_MS, 20 * MINUTE_MS), now_ms)


def _recent_sendings(account: SimulatedAccount, now_ms: int) -> dict[str, list[Sending]]:
    """For each contact what it got last, newest first; nothing that bounced."""
    campaigns = {campaign.id: campaign for campaign in account.campaigns()}
    found: dict[str, list[Sending]] = {}
    for contact in account.contacts():
        rows = account.rows_of_contact(contact.id, now_ms)
        bounced = {row.campaign_id for row in rows if row.kind is Kind.BOUNCE}
        sends = [row for row in rows if row.kind is Kind.SEND and row.campaign_id not in bounced][:3]
        known = [Sending(campaigns[row.campaign_id], contact, row.occurred_ms) for row in sends]
        if known:
            found[contact.id] = known
    return found


def _readers(
    rng: random.Random, sendings: dict[str, list[Sending]], away_ms: int, now_ms: int
) -> Iterator[Row]:
    """Opens and clicks since the last visit, seen by now, of 3 to 10 % of the contacts or more."""
    hours = away_ms // HOUR_MS
    share = min(rng.uniform(0.04, 0.09) + 0.003 * hours, 0.6)
    since_ms = now_ms - max(min(away_ms, 2 * DAY_MS), 10 * MINUTE_MS)
    readers = max(round(share * len(sendings)), min(6, len(sendings)))
    for contact_id in rng.sample(sorted(sendings), readers):
        for _ in range(rng.choice((1, 1, 2, 2, 3))):
            sending = _pick(rng, sendings[contact_id])
            earliest_ms = max(since_ms, sending.sent_ms + SECOND_MS)
            if earliest_ms < now_ms - MINUTE_MS:
                yield _open_or_click(rng, sending, rng.randrange(earliest_ms, now_ms - MINUTE_MS))


def _late_bounces(
    account: SimulatedAccount, rng: random.Random, sendings: dict[str, list[Sending]], now_ms: int
) -> Iterator[Row]:
    """Bounces of the last days' mails that are seen only now, with the stamps of the first attempt."""
    candidates = [
        sending
        for own in sendings.values()
        for sending in own[:1]
        if now_ms - _LATE_BOUNCE_MS < sending.sent_ms < now_ms - HOUR_MS
        and not _was_read(account, sending, now_ms)
    ]
    for sending in rng.sample(candidates, min(rng.randrange(4), len(candidates))):
        occurred_ms = sending.sent_ms + rng.randrange(SECOND_MS, MINUTE_MS)
        late_ms = now_ms - occurred_ms - MINUTE_MS
        yield bounce(rng, sending, occurred_ms, late_ms, "D")


def _was_read(account: SimulatedAccount, sending: Sending, now_ms: int) -> bool:
    rows = account.rows_of_contact(sending.contact.id, now_ms)
    return any(row.kind is not Kind.SEND and row.campaign_id == sending.campaign.id for row in rows)


def _trickle(
    rng: random.Random, sendings: dict[str, list[Sending]], from_ms: int, until_ms: int
) -> Iterator[Row]:
    """Opens and clicks of the coming hours, one in some minutes."""
    contact_ids = sorted(sendings)
    at_ms = from_ms
    while contact_ids:
        at_ms += SECOND_MS + round(rng.expovariate(1 / _TRICKLE_EVERY_MS))
        if at_ms > until_ms:
            return
        sending = _pick(rng, sendings[rng.choice(contact_ids)])
        yield _open_or_click(rng, sending, at_ms)


def _open_or_click(rng: random.Random, sending: Sending, at_ms: int) -> Row:
    if sending.campaign.links and rng.random() < 0.2:
        return click(rng, sending, at_ms)
    return make_row(rng, sending, Kind.OPEN, at_ms)


def _pick(rng: random.Random, sendings: list[Sending]) -> Sending:
    """The last mail mostly, an older one now and then."""
    return sendings[0] if rng.random() < 0.75 else rng.choice(sendings)


def _join(account: SimulatedAccount, rng: random.Random, now_ms: int) -> None:
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        created_ms = now_ms - rng.randrange(4 * MINUTE_MS, 10 * MINUTE_MS)
        contact = new_contact(rng, len(account.contacts()), created_ms)
        account.put_contact(contact)
        welcome(account, rng, contact, now_ms)
