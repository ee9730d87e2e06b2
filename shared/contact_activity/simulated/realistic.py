"""What a newsletter account looks like: who gets what, and who does what with it, hours and days later."""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from contact_activity.simulated.account import Campaign, Contact, Kind, Link, Row, SimulatedAccount
from contact_activity.simulated.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, to_ms

WELCOME_ID = "1117000000900"
CAMPAIGNS = 12
_CAMPAIGN_EVERY_MS = 9 * DAY_MS

# Shares of those who get a mail; repeated opens come on top.
_OPENED, _CLICKED_OF_OPENED, _FORWARDED, _UNSUBSCRIBED, _BOUNCED = 0.37, 0.15, 0.004, 0.003, 0.011

# fmt: off
_FIRST_NAMES = (
    "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Vint", "Katherine", "Tim", "Margaret",
    "Dennis", "Frances", "Ken", "Hedy", "Linus", "Joan", "Niklaus", "Adele", "Sophie", "Guido", "Karen",
    "John", "Annie", "Claude", "Evelyn", "Leslie", "Mary", "Tony", "Shafi", "Lynn", "Peter",
)
_LAST_NAMES = (
    "Amsel", "Berg", "Castellan", "Dorn", "Eichel", "Falk", "Garten", "Hafer", "Ibis", "Janik", "Kessel",
    "Linde", "Marek", "Nagel", "Olm", "Pirol", "Quitte", "Reiher", "Specht", "Tanne", "Ulme", "Vogel",
    "Weide", "Yucca", "Zeisig", "Ahorn", "Birke", "Distel", "Erle", "Farn", "Ginster", "Holler",
)
# fmt: on
_DOMAINS = ("example.org", "example.com", "example.net")
_NEWSLETTERS = (
    "Spring catalogue",
    "Members' evening: save the date",
    "What is new in the workshop",
    "Summer opening hours",
    "Five recipes for the long weekend",
    "Your guide to the autumn fair",
    "Last places on the weaving course",
    "Thank you for a good year",
    "The garden in July",
    "New arrivals this week",
    "A letter from the founders",
    "Early tickets for friends of the house",
    "Behind the scenes: the print room",
    "Winter sale: three days only",
)
_PAGES = ("catalogue", "events", "tickets", "workshop", "recipes", "letters", "visit", "offers")
_BOUNCES = (
    # code, its share, description, message
    ("B", 30, "Non-existent address", "550 5.1.1 User unknown"),
    ("D", 25, "Undeliverable", ""),
    ("F", 20, "Mailbox full", ""),
    ("S", 6, "Suspended", ""),
    ("V", 8, "Vacation or auto-reply", ""),
    ("X", 4, "Other", "554 Transaction failed"),
    ("Z", 7, "Blocked", "554 5.7.1 Message rejected"),
)
_REASONS = ("", "", "Too many messages", "No longer interested", "I did not sign up for this")


@dataclass(frozen=True, slots=True)
class Sending:
    """A campaign on its way to one contact."""

    campaign: Campaign
    contact: Contact
    sent_ms: int


def realistic_account(seed: int, *, now: datetime, contacts: int = 250) -> SimulatedAccount:
    """A newsletter account with about a dozen campaigns of the last months before `now`.

    The same seed, `now` and number of contacts make the same account. Some activity becomes
    visible only after `now`.
    """
    account = SimulatedAccount()
    _fill(account, seed, contacts, to_ms(now))
    return account


def _fill(account: SimulatedAccount, seed: int, contacts: int, now_ms: int) -> None:
    rng = random.Random(f"{seed}:account")
    first_ms = now_ms - CAMPAIGNS * _CAMPAIGN_EVERY_MS - rng.randrange(DAY_MS)
    account.put_campaign(
        Campaign(
            WELCOME_ID, "Welcome", "RUNNING", first_ms, first_ms, None, _links(rng, WELCOME_ID), listed=False
        )
    )
    for number in range(contacts):
        is_old = rng.random() < 0.85
        latest_ms = first_ms if is_old else now_ms - DAY_MS
        earliest_ms = first_ms - 700 * DAY_MS if is_old else first_ms
        account.put_contact(new_contact(rng, number, rng.randrange(earliest_ms, latest_ms)))
    for number in range(CAMPAIGNS):
        before_ms = (CAMPAIGNS - 1 - number) * _CAMPAIGN_EVERY_MS + rng.randrange(30, 60) * HOUR_MS
        send_campaign(account, rng, now_ms - before_ms + rng.randrange(HOUR_MS), now_ms)
    for contact in account.contacts():
        if contact.created_ms > first_ms:
            welcome(account, rng, contact, now_ms)
    _add_draft(account, now_ms)


def new_contact(rng: random.Random, number: int, created_ms: int) -> Contact:
    """Ids begin at 1001; the number makes the address unique."""
    first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
    address = f"{first}.{last}{number}@{rng.choice(_DOMAINS)}".lower()
    return Contact(str(1001 + number), address, first, last, "ACTIVE", created_ms, created_ms)


def send_campaign(account: SimulatedAccount, rng: random.Random, sent_ms: int, now_ms: int) -> Campaign:
    """A campaign to everyone who is active, and what they do with it, also after `now_ms`."""
    number = len(account.campaigns())
    id_ = str(1_117_000_000_000 + 1_000 * number + rng.randrange(1_000))
    links = _links(rng, id_)
    if number == 2:  # one link of the account has the id 0, which is a real id
        links = (replace(links[0], id="0"), *links[1:])
    name = _NEWSLETTERS[(number - 1) % len(_NEWSLETTERS)]
    campaign = Campaign(id_, name, "SENT", sent_ms - 2 * HOUR_MS, sent_ms, sent_ms, links)
    account.put_campaign(campaign)
    for contact in account.contacts():
        if contact.status == "ACTIVE" and contact.created_ms <= sent_ms:
            sending = Sending(campaign, contact, sent_ms + rng.randrange(90 * SECOND_MS))
            for row in _rows_of(rng, sending):
                put_row(account, row, now_ms)
    return campaign


def welcome(account: SimulatedAccount, rng: random.Random, contact: Contact, now_ms: int) -> None:
    """The autoresponder's message to a new contact, minutes after it joined."""
    campaign = account.campaign(WELCOME_ID)
    if campaign is not None:
        sending = Sending(
            campaign, contact, contact.created_ms + rng.randrange(10 * SECOND_MS, 3 * MINUTE_MS)
        )
        for row in _rows_of(rng, sending):
            put_row(account, row, now_ms)


def put_row(account: SimulatedAccount, row: Row, now_ms: int) -> None:
    """Store a row; an unsubscribe opts its contact out, and one that lies ahead is left out."""
    if row.kind is Kind.UNSUBSCRIBE:
        contact = account.contact(row.contact_id)
        if row.inserted_ms > now_ms or contact is None or contact.status != "ACTIVE":
            return
        account.replace_contact(replace(contact, status="OPTOUT", modified_ms=row.occurred_ms))
    account.put_row(row)


def make_row(
    rng: random.Random, sending: Sending, kind: Kind, occurred_ms: int, late_ms: int = 0, **own: str
) -> Row:
    """A row that shows some seconds after it happened, or `late_ms` later than that."""
    return Row(
        kind=kind,
        campaign_id=sending.campaign.id,
        contact_id=sending.contact.id,
        email_address=sending.contact.email_address,
        occurred_ms=occurred_ms,
        inserted_ms=occurred_ms + rng.randrange(SECOND_MS, 20 * SECOND_MS) + late_ms,
        own=tuple(own.items()),
    )


def click(rng: random.Random, sending: Sending, occurred_ms: int) -> Row:
    link = rng.choice(sending.campaign.links)
    return make_row(rng, sending, Kind.CLICK, occurred_ms, link_id=link.id, link_uri=link.url)


def bounce(
    rng: random.Random, sending: Sending, occurred_ms: int, late_ms: int, code: str | None = None
) -> Row:
    known = [bounce for bounce in _BOUNCES if code in (None, bounce[0])]
    letter, _, description, message = rng.choices(known, [bounce[1] for bounce in known])[0]
    return make_row(
        rng,
        sending,
        Kind.BOUNCE,
        occurred_ms,
        late_ms,
        bounce_code=letter,
        bounce_description=description,
        bounce_message=message,
    )


def _rows_of(rng: random.Random, sending: Sending) -> Iterator[Row]:
    yield make_row(rng, sending, Kind.SEND, sending.sent_ms)
    if rng.random() < _BOUNCED:
        is_late = rng.random() < 0.4
        late_ms = rng.randrange(6 * HOUR_MS, 66 * HOUR_MS) if is_late else 0
        after_ms = rng.randrange(2 * SECOND_MS, 5 * MINUTE_MS)
        yield bounce(rng, sending, sending.sent_ms + after_ms, late_ms, "D" if is_late else None)
    elif rng.random() < _OPENED * _keenness(sending.contact):
        yield from _reading(rng, sending)


def _reading(rng: random.Random, sending: Sending) -> Iterator[Row]:
    opened_ms = sending.sent_ms + _reaction_ms(rng)
    yield make_row(rng, sending, Kind.OPEN, opened_ms)
    if rng.random() < 0.2:
        yield make_row(rng, sending, Kind.OPEN, opened_ms + _reaction_ms(rng))
    if rng.random() < _CLICKED_OF_OPENED:
        for _ in range(rng.choice((1, 1, 1, 2))):
            yield click(rng, sending, opened_ms + rng.randrange(3 * SECOND_MS, 4 * MINUTE_MS))
    if rng.random() < _FORWARDED / _OPENED:
        yield make_row(rng, sending, Kind.FORWARD, opened_ms + rng.randrange(MINUTE_MS, HOUR_MS))
    if rng.random() < _UNSUBSCRIBED / _OPENED:
        yield _unsubscribe(rng, sending, opened_ms + rng.randrange(5 * SECOND_MS, HOUR_MS))


def _unsubscribe(rng: random.Random, sending: Sending, occurred_ms: int) -> Row:
    return make_row(
        rng,
        sending,
        Kind.UNSUBSCRIBE,
        occurred_ms,
        unsubscribe_source="ACTION_BY_CUSTOMER",
        unsubscribe_reason=rng.choice(_REASONS),
    )


def _reaction_ms(rng: random.Random) -> int:
    """Mails are opened within hours, by some within days: half-lives of 90 minutes to 30 hours."""
    half_life_h = rng.choices((1.5, 8, 30), (55, 30, 15))[0]
    return round(rng.expovariate(0.693 / half_life_h) * HOUR_MS) + rng.randrange(5 * SECOND_MS, MINUTE_MS)


def _keenness(contact: Contact) -> float:
    """From 0.4 to 1.6 and 1 on average: some always read, some hardly ever."""
    return 0.4 + zlib.crc32(contact.id.encode()) / 2**32 * 1.2


def _links(rng: random.Random, campaign_id: str) -> tuple[Link, ...]:
    pages = rng.sample(_PAGES, rng.randrange(3, 6))
    return tuple(
        Link(str(int(campaign_id) + 11 * place), f"https://www.example.org/{page}?mail={campaign_id[-6:]}")
        for place, page in enumerate(pages, 1)
    )


def _add_draft(account: SimulatedAccount, now_ms: int) -> None:
    made_ms = now_ms - 5 * HOUR_MS
    account.put_campaign(Campaign("1117000000950", "Untitled", "DRAFT", made_ms, made_ms, None))
