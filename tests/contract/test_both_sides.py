"""An activity is the same event, read from its contact or from its campaign.

One simulated account is served in this process and read through each side by the real client.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.activity import Activity, ActivityType, BounceCategory, Link
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.event import EmailAddresses, to_event
from contact_activity.domain.pace import Limits
from contact_activity.domain.times import iso
from contact_activity.domain.watermark import ALL_REPORT
from contact_activity.settings import Credentials
from contact_activity.simulated import Cursor, Kind, Order, Row, Server, SimulatedAccount, Switches, Tie
from contact_activity.simulated import Link as MailedLink
from contact_activity.simulated.switches import FIVE_HOURS_EARLY, Shift, Side
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from tests.support.clients import activities_in, walked
from tests.support.in_process import InProcess
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS
from tests.support.virtual_clock import VirtualClock

NOW = datetime.fromtimestamp(NOON_MS / 1_000, UTC)
ADDRESSES = ("ada@example.org", "  Zoë+news@Exämple.org ", "грейс@пример.рф", "no address", "")
BOUNCES = ("B", "D", "F", "S", "V", "X", "Z", "Q", "")
REASONS = (
    ("ACTION_BY_CUSTOMER", "Zu viele Nachrichten 😀"),
    ("ACTION_BY_OWNER", ""),
    ("ACTION_BY_CONTACT", "yours, ada@example.org"),
    ("", "no \ud800 character " + "é" * 3_000),
)
MESSAGES = (
    "",
    "550 5.1.1 <ada@example.org>: unknown",
    "Zo%C3%AB+news%40ex%C3%A4mple.org\r\n\tis full\u2028",
    "\x00 грейс@пример.рф " * 300,
)


def an_account() -> SimulatedAccount:
    """All that a row can hold: each contact did everything with each campaign, some of it at once."""
    account = SimulatedAccount()
    contacts = [account.add_contact(address, at=NOW - timedelta(days=90)).id for address in ADDRESSES]
    for number in range(3):
        sent_at = NOW - timedelta(days=20 - number, milliseconds=7)
        campaign = account.add_campaign(f"News {number} 🗞", sent_at=sent_at, links=links_of(number))
        for place, contact in enumerate(contacts):
            add_rows(account, contact, campaign.id, campaign.links, sent_at, seed=number + 3 * place)
        put_bare_rows(account, contacts[0], campaign.id, NOON_MS - DAY_MS - number)
    return account


def links_of(number: int) -> list[MailedLink]:
    return [
        MailedLink(str(1_117_000_000_100 + number), f"https://example.org/{number}?to=ada%40example.org#ü"),
        MailedLink("0", ""),
        MailedLink("news-é", "https://пример.рф/" + "я" * 3_000),
    ]


def add_rows(
    account: SimulatedAccount,
    contact: str,
    campaign: str,
    links: Iterable[MailedLink],
    sent_at: datetime,
    seed: int,
) -> None:
    # Two contacts have each moment in common.
    at = sent_at + timedelta(minutes=seed // 2, milliseconds=seed // 2)
    account.add_row(Kind.SEND, contact, campaign, at=at)
    for kind in (Kind.OPEN, Kind.FORWARD):
        for minutes in (0, 1, 70):
            account.add_row(kind, contact, campaign, at=at + timedelta(minutes=minutes))
    for link in links:
        for minutes in (1, 2):
            clicked_at = at + timedelta(minutes=minutes)
            account.add_row(Kind.CLICK, contact, campaign, at=clicked_at, link_id=link.id, link_uri=link.url)
    for number in (seed, seed + 5):
        account.add_row(
            Kind.BOUNCE,
            contact,
            campaign,
            at=at + timedelta(hours=number),
            bounce_code=BOUNCES[number % len(BOUNCES)],
            bounce_description=f"Description {number} ✉",
            bounce_message=MESSAGES[number % len(MESSAGES)],
        )
    source, reason = REASONS[seed % len(REASONS)]
    account.add_row(
        Kind.UNSUBSCRIBE,
        contact,
        campaign,
        at=at + timedelta(days=3),
        unsubscribe_source=source,
        unsubscribe_reason=reason,
    )


def put_bare_rows(account: SimulatedAccount, contact: str, campaign: str, at_ms: int) -> None:
    """A row of each type without any field of its own."""
    for kind in Kind:
        account.put_row(Row(kind, campaign, contact, "ada@example.org", at_ms, at_ms))


class Reader:
    """The account, read through either side."""

    def __init__(self, account: SimulatedAccount, switches: Switches | None = None) -> None:
        clock = VirtualClock(NOON_MS)
        limits = Limits(calls_per_second=1_000, calls_per_day=1_000_000)
        self._account = account
        self._deadline_ms = NOON_MS + DAY_MS // 4
        self.server = Server(
            account,
            api_key="k",
            access_token="t",
            switches=replace(switches or Switches(), rate_limits=False),
            now=lambda: NOW,
        )
        self._api = ConstantContactV2(
            ApiClient(
                "https://api.example.org/v2",
                lambda: Credentials("k", "t"),
                sqlite_limiter(Database(":memory:"), limits, clock),
                clock,
                transport=InProcess(self.server, clock, answer_s=0.001),
            )
        )

    def by_contact(self) -> list[Activity]:
        return [
            activity
            for contact in self._account.contacts()
            for activity in activities_in(walked(partial(self._tracking, contact.id)))
        ]

    def by_campaign(self) -> list[Activity]:
        """Clicks as events show them: with the URL that the campaign tells, if their row has none."""
        return [
            with_url(activity, urls)
            for campaign in self._account.campaigns()
            for urls in (self.campaign(campaign.id).urls,)
            for type_ in ActivityType
            for activity in activities_in(walked(partial(self._report, campaign.id, type_)))
        ]

    def campaign(self, campaign_id: str) -> SentCampaign:
        read = self._api.campaign(campaign_id, deadline_ms=self._deadline_ms)
        assert isinstance(read, SentCampaign)
        return read

    def _report(self, campaign_id: str, type_: ActivityType, next_: str | None) -> TrackingPage | Refusal:
        return self._api.campaign_report(
            campaign_id, type_, since_ms=None, next_=next_, deadline_ms=self._deadline_ms
        )

    def _tracking(self, contact_id: str, next_: str | None) -> TrackingPage | Refusal:
        return self._api.tracking(
            contact_id, ALL_REPORT, since_ms=None, next_=next_, deadline_ms=self._deadline_ms
        )


def events(activities: Iterable[Activity], addresses: EmailAddresses) -> set[tuple[str, str]]:
    """The id of each event, and its data as it is written."""
    made = [
        to_event(activity, account="a", email_addresses=addresses, observed_ms=NOON_MS, backfill=False)
        for activity in activities
    ]
    return {(event.id, event.detail.partition(',"data":')[2]) for event in made}


def assert_equal(one: Iterable[Activity], other: Iterable[Activity]) -> None:
    """Each activity has the same id and the same data, whatever an event says of addresses."""
    one, other = list(one), list(other)
    for addresses in EmailAddresses:
        assert events(one, addresses) == events(other, addresses)


def ids(activities: Iterable[Activity]) -> set[str]:
    return {id_ for id_, _ in events(activities, EmailAddresses.OMITTED)}


def with_url(activity: Activity, urls: Mapping[str, str]) -> Activity:
    link = activity.link
    if link is None or link.id is None or link.url is not None or link.id not in urls:
        return activity
    return replace(activity, link=Link(link.id, urls[link.id]))


def without_url(activity: Activity) -> Activity:
    link = activity.link
    if link is None:
        return activity
    return replace(activity, link=None if link.id is None else Link(link.id, None))


def is_click(activity: Activity) -> bool:
    return activity.type is ActivityType.CLICKED


SMALL = 2
# The first moments of a campaign are common to two contacts: a page that begins with a moment again must
# hold more than that.
REPEATING = 20
OLDEST = Order.OLDEST_FIRST
SWITCHES = {
    "default": Switches(),
    "numeric ids": Switches(numeric_ids=True),
    "campaigns oldest first": Switches(campaign_order=OLDEST),
    "contacts oldest first": Switches(order=OLDEST),
    "campaigns have URLs": Switches(campaign_clicks_have_urls=True),
    "campaigns have URLs and lack links": Switches(campaign_clicks_have_urls=True, missing_link_share=1),
    "small pages by time": Switches(max_page_rows=SMALL, cursor=Cursor.TIME),
    "small pages by offset": Switches(max_page_rows=SMALL, cursor=Cursor.OFFSET),
    "small pages by time, oldest first": Switches(max_page_rows=SMALL, campaign_order=OLDEST),
    "small pages by offset, oldest first": Switches(
        max_page_rows=SMALL, campaign_order=OLDEST, cursor=Cursor.OFFSET
    ),
    "pages that begin with a moment again": Switches(max_page_rows=REPEATING, tie=Tie.REPEATED),
    "wrong path": Switches(max_page_rows=SMALL, wrong_next_path=True),
    "a row more by time": Switches(max_page_rows=SMALL, limit_plus_one=True),
    "a row more by offset": Switches(max_page_rows=SMALL, limit_plus_one=True, cursor=Cursor.OFFSET),
    "other rows and fields": Switches(row_counters=True, unknown_type_share=1, unknown_bounce_code_share=0.5),
    "the first open only": Switches(repeated_opens=False),
    "old activity left out": Switches(retention_days=19),
    "both shifted": Switches(shift=FIVE_HOURS_EARLY),
    "both shifted from a day on": Switches(shift=Shift(hours=7, from_ms=NOON_MS - 19 * DAY_MS)),
}


@pytest.fixture(scope="module")
def account() -> SimulatedAccount:
    return an_account()


@pytest.mark.parametrize("name", SWITCHES)
def test_both_sides_give_the_same_events(account: SimulatedAccount, name: str) -> None:
    """Each activity has one id and, byte for byte, one data, whichever side it was read from."""
    reader = Reader(account, SWITCHES[name])
    by_contact = reader.by_contact()
    assert_equal(by_contact, reader.by_campaign())
    assert {activity.type for activity in by_contact} == set(ActivityType)
    assert reader.server.violations == []


def test_the_account_has_all_that_a_row_can_hold(account: SimulatedAccount) -> None:
    """And each row is an event of its own, on both sides."""
    reader = Reader(account)
    activities = reader.by_contact()
    keys = {row.key for row in account.rows()}
    assert len(ids(activities)) == len(ids(reader.by_campaign())) == len(keys) == len(account.rows())
    bounces = [activity.bounce for activity in activities if activity.bounce]
    assert {bounce.category for bounce in bounces} == set(BounceCategory)
    assert {bounce.code for bounce in bounces} == {*BOUNCES, None}
    clicks = [activity for activity in activities if is_click(activity)]
    assert {click.link and click.link.id for click in clicks} == {
        None,
        *(link.id for campaign in account.campaigns() for link in campaign.links),
    }
    hidden = "".join(data for _, data in events(activities, EmailAddresses.OMITTED))
    assert "[address]" in hidden


@pytest.mark.parametrize("switches", [Switches(), Switches(numeric_ids=True)])
def test_a_link_that_the_campaign_leaves_out_costs_the_url_only(
    account: SimulatedAccount, switches: Switches
) -> None:
    """The clicks of the campaign's side have none then, and nothing else differs."""
    reader = Reader(account, replace(switches, missing_link_share=1))
    by_contact, by_campaign = reader.by_contact(), reader.by_campaign()
    assert ids(by_contact) == ids(by_campaign)
    assert not any(activity.link and activity.link.url is not None for activity in by_campaign)
    assert_equal(map(without_url, by_contact), by_campaign)
    assert events(by_contact, EmailAddresses.PLAIN) != events(by_campaign, EmailAddresses.PLAIN)


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("have_urls", [False, True])
def test_a_row_that_lacks_fields_lacks_them_on_both_sides(
    account: SimulatedAccount, share: float, have_urls: bool
) -> None:
    """But the URL of a click: the campaign still tells it, where the contact's row leaves it out."""
    switches = Switches(missing_fields_share=share, campaign_clicks_have_urls=have_urls)
    reader = Reader(account, switches)
    by_contact, by_campaign = reader.by_contact(), reader.by_campaign()
    assert ids(by_contact) == ids(by_campaign)
    assert_equal(map(without_url, by_contact), map(without_url, by_campaign))
    urls = {campaign.id: reader.campaign(campaign.id).urls for campaign in account.campaigns()}
    told = [with_url(activity, urls[activity.campaign_id or ""]) for activity in by_contact]
    assert_equal(told, by_campaign)
    assert told != by_contact
    assert any(activity.email_address is None for activity in by_campaign)


def test_an_unnamed_link_has_its_url_on_the_side_of_the_contact_only() -> None:
    """The campaign cannot tell the URL of a click without a link id; the id of the event is the same."""
    account = SimulatedAccount()
    contact = account.add_contact("ada@example.org", at=NOW - timedelta(days=9)).id
    campaign = account.add_campaign("News", sent_at=NOW - timedelta(days=2), links=links_of(0)).id
    own = (("link_uri", "https://example.org/"),)
    account.put_row(Row(Kind.CLICK, campaign, contact, "ada@example.org", NOON_MS, NOON_MS, own))
    reader = Reader(account)
    by_contact, by_campaign = reader.by_contact(), reader.by_campaign()
    assert [activity.link for activity in by_contact] == [Link(None, "https://example.org/")]
    assert_equal(map(without_url, by_contact), by_campaign)


@pytest.mark.parametrize("side", Side)
def test_stamps_that_one_side_shifts_change_the_ids_of_that_side(
    account: SimulatedAccount, side: Side
) -> None:
    """Of the types that it shifts; all others are equal, and so is all but the time of those."""
    shift = Shift(side, reports=frozenset(("opens", "clicks")))
    shifted = {ActivityType.OPENED, ActivityType.CLICKED}
    reader = Reader(account, Switches(shift=shift))
    by_contact, by_campaign = reader.by_contact(), reader.by_campaign()

    def of(activities: Iterable[Activity], *, is_shifted: bool) -> list[Activity]:
        return [activity for activity in activities if (activity.type in shifted) == is_shifted]

    assert_equal(of(by_contact, is_shifted=False), of(by_campaign, is_shifted=False))
    moved = of(by_contact, is_shifted=True), of(by_campaign, is_shifted=True)
    assert not ids(moved[0]) & ids(moved[1])
    hours = shift.hours if side is Side.CONTACT else -shift.hours
    assert_equal(map(partial(later, hours=hours), moved[1]), moved[0])


def later(activity: Activity, *, hours: int) -> Activity:
    at_ms = activity.occurred_ms + hours * HOUR_MS
    return replace(activity, occurred_ms=at_ms, provider_time=iso(at_ms))
