"""What is fed with anything: each target takes bytes, and raises only where a promise is broken.

A target catches the documented errors of what it calls, and checks what must hold of the rest.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from contact_activity.aws.bus import MAX_BATCH_BYTES, entry_bytes
from contact_activity.aws.secret import parse_secret
from contact_activity.constant_contact import v3_pages, v3_rows, v3_summaries
from contact_activity.constant_contact.token_answers import DeviceCode, read_device_answer, read_token_answer
from contact_activity.constant_contact.transport import Reply
from contact_activity.constant_contact.v2_pages import (
    Page,
    listed_campaign,
    listed_contact,
    read_page,
    sent_campaign,
)
from contact_activity.constant_contact.v2_rows import parse_campaign_row, parse_row
from contact_activity.constant_contact.v2_summaries import (
    parse_campaign_summary,
    parse_contact_summary,
    parse_summary_by_campaign,
)
from contact_activity.constant_contact.verdict import Verdict, judge, read_answer
from contact_activity.domain.activity import USABLE_ID, ActivityType, Unreadable
from contact_activity.domain.addresses import cut
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId, ReportProgress
from contact_activity.domain.contact import Contact
from contact_activity.domain.event import EmailAddresses, Event, to_event
from contact_activity.domain.judging import Judging
from contact_activity.domain.reported import Standing
from contact_activity.domain.summary import Summarized, SummaryKind, SummaryReport, compare, summary_event
from contact_activity.domain.times import iso
from contact_activity.domain.tokens import Granted, StoredTokens
from contact_activity.domain.vouching import VouchingMemory
from contact_activity.domain.walk import Walk
from contact_activity.domain.watermark import Reading, Watermark
from contact_activity.domain.witness import NO_EDGE, numbered
from contact_activity.settings import (
    DEPLOYMENT_SETTINGS,
    SETTINGS,
    SettingsError,
    read_credentials,
    read_settings,
    read_tick_ms,
)
from contact_activity.simulated.v3_ids import activity_uuid, campaign_uuid, contact_uuid
from contact_activity.state.codec import (
    asks_from_json,
    asks_to_json,
    item_from_body,
    item_to_body,
    marks_from_json,
    marks_to_json,
    progress_from_json,
    progress_to_json,
    report_from_json,
    report_to_json,
    summaries_from_json,
    summaries_to_json,
)
from contact_activity.state.tokens import tokens_from_json, tokens_to_json

NOW_MS = 1_718_193_600_000
STATUSES = (200, 200, 200, 200, 400, 401, 403, 404, 406, 429, 500, 503)
ADDRESSES = tuple(EmailAddresses)
TYPES = tuple(ActivityType)
CAMPAIGN = "1117000001491"
CONTACT, PARENT, MAILING = contact_uuid("1001"), campaign_uuid(CAMPAIGN), activity_uuid(CAMPAIGN)
V3_READING = Reading("a", is_witnessed=True)
READING = Reading("default", overlap_h=1, remembered_min=3)
SECRETS = [setting.name for setting in SETTINGS if setting.secret]
DETAIL_TYPES = {kind.detail_type for kind in (*ActivityType, *SummaryKind)}
NAMES = [setting.name for setting in (*SETTINGS, *DEPLOYMENT_SETTINGS)]


def answer(data: bytes) -> None:
    """An answer to a tracking call, from the body to the events, the watermark and what is stored."""
    page = _page(data)
    if page is None:
        return
    parsed = [parse_row(row, "4711") for row in page.rows]
    digests = [row.digest for row in parsed if isinstance(row, Unreadable)]
    walk = Walk(Watermark(), READING, NOW_MS)
    fresh = walk.take([row for row in parsed if not isinstance(row, Unreadable)], digests, NOW_MS)
    for activity in fresh.activities:
        addresses = ADDRESSES[len(data) % len(ADDRESSES)]
        _check(to_event(activity, account="a", email_addresses=addresses, observed_ms=NOW_MS, backfill=False))
    assert all(a.occurred_ms <= b.occurred_ms for a, b in pairwise(fresh.activities))
    progress = walk.progress("all", page.next)
    assert progress_from_json(_storable(progress_to_json(progress))) == progress
    watermark = walk.finish()
    assert marks_from_json(_storable(marks_to_json(watermark.marks))) == watermark.marks
    again = Walk(watermark, READING, NOW_MS)
    rows = [row for row in parsed if not isinstance(row, Unreadable) and row.occurred_ms <= NOW_MS]
    assert not again.take(rows, digests, NOW_MS).activities


def report(data: bytes) -> None:
    """An answer to a campaign's report of a type: its rows are what their contacts show."""
    page = _page(data, ("campaign_id", CAMPAIGN))
    if page is None:
        return
    addresses = ADDRESSES[len(data) % len(ADDRESSES)]
    for row in page.rows:
        read = [parse_campaign_row(row, CAMPAIGN, type_) for type_ in TYPES]
        activities = [activity for activity in read if not isinstance(activity, Unreadable)]
        assert len(activities) <= 1
        assert len({activity.digest for activity in read if isinstance(activity, Unreadable)}) <= 1
        for activity in activities:
            assert activity.type is TYPES[read.index(activity)]
            assert USABLE_ID.fullmatch(activity.contact_id)
            of_contact = parse_row(row, activity.contact_id)
            assert not isinstance(of_contact, Unreadable)
            assert replace(of_contact, campaign_id=CAMPAIGN) == activity
            _check(
                to_event(activity, account="a", email_addresses=addresses, observed_ms=NOW_MS, backfill=False)
            )


def campaign(data: bytes) -> None:
    """An answer to a call for a campaign: what comes of it can be stored."""
    read = sent_campaign(_judged(data), CAMPAIGN)
    if read is None:
        return
    assert read.id == CAMPAIGN
    assert read.sent_ms is None or iso(read.sent_ms)
    for link_id, url in read.urls.items():
        assert cut(_storable(link_id)) == link_id
        _storable(url)
    watched = WatchedCampaign(CAMPAIGN, None).told(read)
    assert watched.told(read) == watched


def listing(data: bytes) -> None:
    """An answer to a list of contacts or campaigns: what comes of it can be stored."""
    page = _page(data)
    if page is None:
        return
    for row in page.rows:
        contact, _ = listed_contact(row), listed_campaign(row)
        if contact:
            _storable(contact.id + contact.modified_date)


def summary(data: bytes) -> None:
    """An answer to each of the summary reports."""
    body = _judged(data)
    if body is None:
        return
    for kind, report in (
        (SummaryKind.CONTACT, parse_contact_summary(body, "4711")),
        (SummaryKind.CONTACT_CAMPAIGN, parse_summary_by_campaign(body, "4711")),
        (SummaryKind.CAMPAIGN, parse_campaign_summary(body, "111")),
    ):
        if report is not None:
            _check_summary(kind, report)


def vouched(data: bytes) -> None:
    """An answer of v3 to a contact's report and to a mailing's: what one publishes the other vouches for."""
    body = _judged(data)
    page = v3_pages.read_page(body, "tracking_activities")
    for name in ("contacts", "campaign_activities", "bulk_email_campaign_summaries"):
        v3_pages.read_page(body, name)
    if page is None:
        return
    _storable(page.next or "")
    read = [v3_rows.parse_campaign_row(row, CAMPAIGN, type_) for row in page.rows for type_ in TYPES]
    whole = [row for row in read if not isinstance(row, Unreadable) and row.occurred_ms <= NOW_MS]
    contact = Contact("4711", 0, 0)
    own = [row for row in whole if row.contact_id == whole[0].contact_id]
    for type_ in TYPES:
        rows = sorted((row for row in own if row.type is type_), key=lambda row: -row.occurred_ms)
        numbers, edge = numbered(rows, NO_EDGE, is_report=True)
        memory = VouchingMemory(contact, V3_READING, zip(rows, numbers, strict=True))
        new = [row for row in rows if memory.standing(row) is Standing.NEW]
        for row in new:
            _check(
                to_event(row, account="a", email_addresses=ADDRESSES[0], observed_ms=NOW_MS, backfill=False)
            )
        known = [row for row in rows if row not in new]
        contact = contact.vouched(type_, memory.keys_of(new, known), contact.watermark.resync)
        report_ = CampaignReport(ReportId(CAMPAIGN, type_), 0, 0, progress=ReportProgress(0, None, edge=edge))
        assert report_from_json(report_.id, 0, 0, _storable(report_to_json(report_))) == report_
    poor = [replace(row, link=None, email_address=None, bounce=None, unsubscribe=None) for row in own]
    walk = Judging(contact, V3_READING, NOW_MS)
    walk.take(sorted(poor, key=lambda row: -row.occurred_ms), (), NOW_MS)
    assert walk.asks == ()
    alone = Judging(Contact("4711", 0, 0), V3_READING, NOW_MS)
    alone.take(poor, (), NOW_MS)
    assert asks_from_json(_storable(asks_to_json(alone.asks))) == alone.asks
    progress = alone.progress("all", page.next)
    assert progress_from_json(_storable(progress_to_json(progress))) == progress


def listing_v3(data: bytes) -> None:
    """An answer of v3 to a list of contacts or campaigns, or to a campaign: it can be stored and asked on."""
    body = _judged(data)
    for name in ("contacts", "bulk_email_campaign_summaries"):
        page = v3_pages.read_page(body, name)
        if page is None:
            continue
        if page.next is not None:
            assert v3_pages.parameters(_storable(page.next))
        for row in page.rows:
            contact, _ = v3_pages.listed_contact(row), v3_pages.listed_campaign(row)
            if contact:
                _storable(contact.id + contact.modified_date)
    read = v3_pages.sent_campaign(body, PARENT)
    if read:
        assert all(USABLE_ID.fullmatch(id_) for id_ in read.mailings)
        watched = WatchedCampaign(PARENT, None).told(read)
        assert watched.told(read) == watched


def summary_v3(data: bytes) -> None:
    """An answer to each of the summary reports of v3."""
    body = _judged(data)
    page = v3_summaries.read_contact_summaries(body, CONTACT)
    kinds = (SummaryKind.CONTACT, SummaryKind.CONTACT_CAMPAIGN) if page else ()
    for kind in kinds:
        assert page
        _check_summary(kind, v3_summaries.contact_report([page, page], kind, CONTACT))
    for read in (v3_summaries.read_mailing_summaries(body, [MAILING]) or {}).values():
        _check_summary(SummaryKind.CAMPAIGN, read)


def tokens(data: bytes) -> None:
    """An answer of what gives tokens. No token is told, and each can be sent."""
    first = data[0] if data else 0
    status = STATUSES[first % len(STATUSES)]
    body = read_answer(Reply(status, {}, data[1:]), NOW_MS).body
    read = read_token_answer(status, body)
    device = read_device_answer(status, body)
    if isinstance(read, Granted):
        stored = StoredTokens("c").sending(NOW_MS).renewed(read, asked_ms=NOW_MS)
        assert tokens_from_json(json.loads(_storable(json.dumps(tokens_to_json(stored))))) == stored
        _check_told(repr(read) + repr(stored), [read.access_token, read.refresh_token or ""])
    if isinstance(device, DeviceCode):
        _check_told(repr(device), [device.device_code])


def message(data: bytes) -> None:
    """The body of a queue's message."""
    body = data.decode("utf-8", "surrogateescape")
    try:
        read = item_from_body(body)
    except ValueError as error:
        _check_told(str(error), [body])
    else:
        assert item_from_body(_storable(item_to_body(read))) == read


def settings(data: bytes) -> None:
    """An environment: `number of the setting, value` a line."""
    environment = {}
    for line in data.split(b"\n"):
        name = NAMES[line[0] % len(NAMES)] if line else NAMES[0]
        environment[name] = line[1:].decode("utf-8", "surrogateescape")
    for read in (read_settings, read_credentials, read_tick_ms):
        try:
            read(environment)
        except SettingsError as error:
            shown = "\n".join(value for name, value in environment.items() if name not in SECRETS)
            secrets = [environment.get(name, "").strip() for name in SECRETS]
            _check_told(str(error), [value for value in secrets if value not in shown])


def secret(data: bytes) -> None:
    """The value of the secret with the credentials."""
    text = data.decode("utf-8", "replace")
    try:
        parse_secret("the-secret", text)
    except SettingsError as error:
        _check_told(str(error), [text])


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(answer, report, campaign, listing, summary, vouched, listing_v3, summary_v3, tokens),
        *(message, settings, secret),
    )
}


def _judged(data: bytes) -> object:
    """The body of an answer that is gone on with; the first byte chooses status and cursor."""
    first = data[0] if data else 0
    read = read_answer(Reply(STATUSES[first % len(STATUSES)], {}, data[1:]), NOW_MS)
    return read.body if judge(read, has_cursor=first > 127) is Verdict.OK else None


def _page(data: bytes, of: tuple[str, str] | None = None) -> Page | None:
    page = read_page(_judged(data), of)
    if page and page.next is not None:
        _storable(page.next)
    return page


def _check_summary(kind: SummaryKind, report: SummaryReport) -> None:
    news = compare(Summarized(kind), report.snapshots, NOW_MS)
    for change in news.changes:
        _check(summary_event(change, account="a", observed_ms=NOW_MS))
    (stored,) = summaries_from_json(_storable(summaries_to_json((news.summarized,))))
    assert not compare(stored, report.snapshots, NOW_MS).changes


def _check(event: Event) -> None:
    assert event.detail_type in DETAIL_TYPES
    assert json.loads(event.detail, parse_constant=_no_json)["id"] == event.id
    assert entry_bytes(event) <= MAX_BATCH_BYTES


def _no_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _storable(text: str) -> str:
    text.encode()
    return text


def _check_told(line: str, secrets: list[str]) -> None:
    assert "\n" not in line
    assert len(line) < 1_000
    assert not [value for value in secrets if len(value) > 16 and value in line]
