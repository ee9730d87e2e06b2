"""A week of an account that sends and is read, with delays as published.

Sources of the figures: opens, half within 6 hours and 73 % within 24; clicks, 51 % within 3 hours and
81 % within 24; both as log-normal delays through these two points. Bounces are told over 72 hours. The
API shows a row 90 seconds after it happened, on average. Shares of recipients are those that
newsletter senders report as usual: a third opens, one in thirty clicks, one in a hundred bounces.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log

from contact_activity.simulated import SimulatedAccount
from contact_activity.simulated.account import Campaign, Contact, Kind, Link, Row
from contact_activity.simulated.times import DAY_MS, HOUR_MS, MINUTE_MS

DAYS = 7
LAG_S = 90
OPENS = (log(6), log(24 / 6) / 0.613)
CLICKS = (log(3) - 0.025 * log(24 / 3) / 0.853, log(24 / 3) / 0.853)
OPEN_SHARE, CLICK_SHARE, BOUNCE_SHARE = 0.33, 0.1, 0.01
FORWARD_SHARE, UNSUBSCRIBE_SHARE = 0.002, 0.002
SECOND_OPEN_SHARE = 0.35
# Automated mails, such as a welcome or a birthday, that no list of campaigns shows; a day.
SERIES_SHARE = 0.01
SENT_IN_MS = 10 * MINUTE_MS
LINKS = tuple(Link(str(number), f"https://www.example.org/{number}") for number in range(1, 5))


@dataclass(frozen=True, slots=True)
class Mailing:
    """`share` of the contacts get it; `campaign_id` may have been sent before."""

    campaign_id: str
    at_h: float
    share: float
    is_listed: bool = True


# Two newsletters to all, one to a fifth, and the second one again to a part.
MAILINGS = (
    Mailing("1117000000001", 34, 1.0),
    Mailing("1117000000002", 60, 0.2),
    Mailing("1117000000003", 87, 1.0),
    Mailing("1117000000003", 130, 0.3),
    *(Mailing("1117000000900", 24 * day + 8, SERIES_SHARE, is_listed=False) for day in range(DAYS)),
)


def week_account(contacts: int, start_ms: int, seed: int = 1) -> SimulatedAccount:
    """An account whose contacts are old and did nothing before the week."""
    account, rng = SimulatedAccount(), random.Random(seed)
    for number in range(contacts):
        at_ms = start_ms - 90 * DAY_MS
        account.put_contact(
            Contact(str(1_001 + number), f"c{number}@example.org", "", "", "ACTIVE", at_ms, at_ms)
        )
    for mailing in MAILINGS:
        sent_ms = start_ms + round(mailing.at_h * HOUR_MS)
        if account.campaign(mailing.campaign_id) is None:
            account.put_campaign(_campaign(mailing, start_ms))
        for contact in account.contacts():
            if rng.random() < mailing.share:
                for row in reactions(rng, mailing.campaign_id, contact, sent_ms):
                    account.put_row(row)
    return account


def _campaign(mailing: Mailing, start_ms: int) -> Campaign:
    id_ = mailing.campaign_id
    first_ms, *again_ms = (start_ms + round(of.at_h * HOUR_MS) for of in MAILINGS if of.campaign_id == id_)
    return Campaign(id_, id_, "SENT", first_ms, first_ms, first_ms, LINKS, mailing.is_listed, tuple(again_ms))


def reactions(rng: random.Random, campaign_id: str, contact: Contact, sent_ms: int) -> Iterator[Row]:
    def row(kind: Kind, at_ms: int, **own: str) -> Row:
        shown_ms = at_ms + round(rng.expovariate(1 / LAG_S) * 1_000)
        return Row(kind, campaign_id, contact.id, contact.email_address, at_ms, shown_ms, tuple(own.items()))

    got_ms = sent_ms + rng.randrange(SENT_IN_MS)
    yield row(Kind.SEND, got_ms)
    if rng.random() < BOUNCE_SHARE:
        told_ms = got_ms + round(rng.random() ** 3 * 72 * HOUR_MS)
        yield row(Kind.BOUNCE, told_ms, bounce_code="F", bounce_description="Mailbox full")
    elif rng.random() < OPEN_SHARE:
        yield row(Kind.OPEN, got_ms + _delay_ms(rng, OPENS))
        if rng.random() < SECOND_OPEN_SHARE:
            yield row(Kind.OPEN, got_ms + _delay_ms(rng, OPENS))
        if rng.random() < CLICK_SHARE:
            link = rng.choice(LINKS)
            clicked_ms = got_ms + _delay_ms(rng, CLICKS)
            yield row(Kind.CLICK, clicked_ms, link_id=link.id, link_uri=link.url)
        if rng.random() < FORWARD_SHARE:
            yield row(Kind.FORWARD, got_ms + _delay_ms(rng, OPENS))
        if rng.random() < UNSUBSCRIBE_SHARE:
            left_ms = got_ms + _delay_ms(rng, OPENS)
            yield row(Kind.UNSUBSCRIBE, left_ms, unsubscribe_source="ACTION_BY_CUSTOMER")


def _delay_ms(rng: random.Random, log_normal: tuple[float, float]) -> int:
    return round(exp(rng.gauss(*log_normal)) * HOUR_MS)
