"""Answers each path of v3 of the simulated API. Has no HTTP and no clock: a query in, a reply out."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from contact_activity.simulated import v3_json
from contact_activity.simulated.account import Campaign, Contact, Kind, Row, SimulatedAccount
from contact_activity.simulated.api import Query
from contact_activity.simulated.api_json import Json, chosen
from contact_activity.simulated.paging import Stamped, Start, offset_page
from contact_activity.simulated.replies import Refusal, Reply
from contact_activity.simulated.switches import Side, Switches
from contact_activity.simulated.times import SECOND_MS, parse_iso
from contact_activity.simulated.v3_contacts import (
    CONTACT_PARAMETERS,
    CONTACTS_SERVICE,
    bound,
    lies_in,
    matching_contacts,
)
from contact_activity.simulated.v3_ids import Role, V3Ids, activity_of, role_of
from contact_activity.simulated.v3_lists import RowsInOrder, v3_list_reply, v3_start, v3_tracking_page
from contact_activity.simulated.v3_replies import access_denied, invalid, single, unknown
from contact_activity.simulated.visibility import computed_ms, is_listed, visible

_EMAILS, _REPORTS = "campaigns.api", "reportingsvc"
_KINDS = {name: kind for kind, name in v3_json.TYPES.items()}
_LANDING_PAGE_TYPES = {"p_contact_open", "p_contact_click", "p_contact_add", "p_contact_update"}
_NEEDS_LINKS = {Kind.BOUNCE, Kind.UNSUBSCRIBE}
_TYPE_PARAMETERS = "tracking_activities_list tracking_activity_type"
_SUMMARIES_A_PAGE = 200
_STATS_A_CALL = 10
_REPORTS_KEPT = 256


@dataclass(frozen=True, slots=True)
class Right:
    """What a call needs: the scope of its token, and the privilege of the user."""

    scope: str
    privilege: str


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: re.Pattern[str]
    handler: Callable[..., Reply]
    right: Right
    parameters: frozenset[str]


class V3Api:
    """Answers from an account, as the switches say. Every method may be called from any thread."""

    def __init__(self, account: SimulatedAccount, switches: Switches) -> None:
        self._account = account
        self._switches = switches
        self._ids = V3Ids(account)
        self._lock = Lock()
        self._reports: dict[object, RowsInOrder] = {}
        contact = "/v3/reports/contact_reports/([^/]+)"
        metrics = "ui:campaign:metrics"
        self._routes = tuple(
            _Route(re.compile(pattern), handler, Right(scope, privilege), frozenset(parameters.split()))
            for pattern, handler, scope, privilege, parameters in (
                (
                    "/v3/contacts",
                    *(self._contacts, "contact_data", "contacts:read"),
                    CONTACT_PARAMETERS,
                ),
                (
                    f"{contact}/activity_details",
                    *(self._activity_details, "contact_data", metrics),
                    f"cursor limit {_TYPE_PARAMETERS} include_campaign_activity_names",
                ),
                (
                    f"{contact}/activity_summary",
                    *(self._activity_summary, "contact_data", metrics),
                    "cursor start end",
                ),
                (
                    r"/v3/reports/email_reports/([^/]+)/tracking/(\w+)",
                    *(self._campaign_report, "campaign_data", metrics),
                    "cursor limit url_id bounce_code",
                ),
                (
                    "/v3/reports/summary_reports/email_campaign_summaries",
                    *(self._campaign_summaries, "campaign_data", metrics),
                    "cursor limit",
                ),
                (
                    "/v3/reports/stats/email_campaign_activities/([^/]+)",
                    *(self._stats, "campaign_data", metrics),
                    "",
                ),
                (
                    "/v3/emails",
                    *(self._campaigns, "campaign_data", "campaign:read"),
                    "cursor limit after_date before_date",
                ),
                (
                    "/v3/emails/activities/([^/]+)",
                    *(self._activity, "campaign_data", "campaign:read"),
                    "include",
                ),
                ("/v3/emails/([^/]+)", self._campaign, "campaign_data", "campaign:read", ""),
                ("/v3/account/summary", self._summary, "account_read", "account:read", "extra_fields"),
            )
        )

    def answer(self, query: Query) -> Reply:
        """Return the right answer, without any fault."""
        route = self._route(query.path)
        if route is None:
            return unknown(CONTACTS_SERVICE, "resource").reply
        found = route.pattern.fullmatch(query.path)
        try:
            return route.handler(query, *(found.groups() if found else ()))
        except Refusal as refusal:
            return refusal.reply

    def right(self, path: str) -> Right | None:
        """Return what a call of a path needs. None for an unknown path."""
        route = self._route(path)
        return route.right if route else None

    def violation(self, query: Query) -> str | None:
        """Return a line that names a misuse of the API, without personal data. None if there is none."""
        route = self._route(query.path)
        if route is None:
            return "unknown path"
        unknown_names = sorted(set(query.parameters) - route.parameters)
        return f"unknown parameter {', '.join(unknown_names)}" if unknown_names else None

    def _route(self, path: str) -> _Route | None:
        return next((route for route in self._routes if route.pattern.fullmatch(path)), None)

    def _contacts(self, query: Query) -> Reply:
        start = self._start(query, CONTACTS_SERVICE, default_limit=50, max_limit=500)
        found = matching_contacts(self._account.contacts(), start.asked, self._switches)
        page = offset_page(found, start)
        counted = start.asked.get("include_count") == "true"
        shown = [v3_json.contact(contact, self._switches) for contact in page.items]
        count: Json = {"contacts_count": len(found)} if counted else {}
        return v3_list_reply(query, start, page.following, {"contacts": shown, **count}, self._switches)

    def _activity_details(self, query: Query, contact_uuid: str) -> Reply:
        contact = self._known_contact(contact_uuid)
        start = self._start(query, _REPORTS, default_limit=100, max_limit=100)
        kinds = _kinds(start.asked)
        with_name = start.asked.get("include_campaign_activity_names") != "false"
        rows = [row for row in self._rows_of_contact(contact, query.now_ms) if row.kind in kinds]
        in_order = RowsInOrder(self._switches, Side.CONTACT).of(rows)
        page = v3_tracking_page(in_order, start, self._switches)
        shown = [
            v3_json.contact_row(row, self._account, self._switches, with_name=with_name)
            for _, row in page.items
        ]
        return v3_list_reply(query, start, page.following, {"tracking_activities": shown}, self._switches)

    def _rows_of_contact(self, contact: Contact, now_ms: int) -> list[Row]:
        late_ms = round(self._switches.v3.contact_reports_late_s * SECOND_MS)
        rows = self._account.rows_of_contact(contact.id, now_ms - late_ms)
        return visible(rows, now_ms, self._switches)

    def _activity_summary(self, query: Query, contact_uuid: str) -> Reply:
        contact = self._known_contact(contact_uuid)
        start = self._start(query, _REPORTS, default_limit=_SUMMARIES_A_PAGE, max_limit=_SUMMARIES_A_PAGE)
        from_ms, to_ms = (parse_iso(start.asked.get(name, "")) for name in ("start", "end"))
        if from_ms is None or to_ms is None:
            raise invalid(_REPORTS, "start and end must be ISO-8601 dates")
        by_activity: dict[str, list[Row]] = {}
        for row in self._rows_of_contact(contact, query.now_ms):
            by_activity.setdefault(activity_of(row, self._account), []).append(row)
        found = sorted(
            ((_started_ms(rows), activity_id, rows) for activity_id, rows in by_activity.items()),
            key=lambda entry: (-entry[0], entry[1]),
        )
        page = offset_page([entry for entry in found if from_ms <= entry[0] <= to_ms], start)
        shown = [v3_json.activity_summary(id_, rows, start_ms) for start_ms, id_, rows in page.items]
        return v3_list_reply(
            query,
            start,
            page.following,
            {"contact_id": contact_uuid, "campaign_activities": shown},
            self._switches,
            has_limit=False,
        )

    def _campaign_report(self, query: Query, activity_uuid: str, report: str) -> Reply:
        """What all contacts did with one campaign activity, of one type."""
        kind = _KINDS.get(f"em_{report}")
        if kind is None:
            raise unknown(_REPORTS, "report")
        refused = self._switches.v3.campaign_reports_refused
        if self._switches.campaign_reports_refused or refused is not None:
            raise _refusal(refused or 403, "report")
        campaign_id, role = self._reported(activity_uuid, query.now_ms)
        start = self._start(query, _REPORTS, default_limit=500, max_limit=500)
        rows = self._rows_of_report(campaign_id, role, kind, start.asked, query.now_ms)
        page = v3_tracking_page(rows, start, self._switches)
        shown = [v3_json.campaign_row(row, self._account, self._switches) for _, row in page.items]
        content: Json = {"tracking_activities": shown}
        return v3_list_reply(
            query, start, page.following, content, self._switches, needs_links=kind in _NEEDS_LINKS
        )

    def _rows_of_report(
        self, campaign_id: str, role: Role, kind: Kind, asked: Mapping[str, str], now_ms: int
    ) -> Sequence[Stamped[Row]]:
        v3 = self._switches.v3
        late_ms = round(v3.campaign_reports_late_s * SECOND_MS)
        found = visible(self._account.rows_of_campaign(campaign_id, now_ms - late_ms), now_ms, self._switches)
        rows = [row for row in found if row.kind is kind]
        share = v3.missing_in_campaign_reports_share

        def holds(row: Row) -> bool:
            is_of_it = role_of(row, self._account) is role and _is_asked_for(row, asked)
            return is_of_it and not (share and chosen(share, "report", *row.key))

        report = (campaign_id, role, kind, asked.get("bounce_code"), asked.get("url_id"))
        with self._lock:
            # The one that was asked for last stands last.
            in_order = self._reports.pop(report, None) or RowsInOrder(self._switches, Side.CAMPAIGN, holds)
            self._reports[report] = in_order
            if len(self._reports) > _REPORTS_KEPT:
                del self._reports[next(iter(self._reports))]
            return in_order.of(rows)

    def _reported(self, activity_uuid: str, now_ms: int) -> tuple[str, Role]:
        """Return campaign and role of an activity that has reports."""
        campaign_id, role = self._ids.activity(activity_uuid) or ("", Role.PERMALINK)
        campaign = self._account.campaign(campaign_id)
        if role is Role.PERMALINK or (campaign and campaign.status == "DELETED"):
            raise unknown(_REPORTS, "campaign activity")
        if campaign is None or not is_listed(campaign, now_ms, self._switches):
            answers = self._switches.v3.automation_reports_answer and role is Role.PRIMARY
            if not answers:
                raise _refusal(self._switches.v3.automation_refusal, "campaign activity")
        else:
            answers = role in v3_json.roles(campaign, now_ms)
        if not answers:
            raise unknown(_REPORTS, "campaign activity")
        return campaign_id, role

    def _campaign_summaries(self, query: Query) -> Reply:
        start = self._start(query, _REPORTS, default_limit=50, max_limit=500)
        sent = [
            (last_ms, campaign)
            for campaign in self._account.campaigns()
            if campaign.status == "SENT"
            and is_listed(campaign, query.now_ms, self._switches)
            and (last_ms := campaign.last_run_ms(query.now_ms)) is not None
        ]
        sent.sort(key=lambda entry: (-entry[0], entry[1].id))
        page = offset_page(sent, start)
        computed = computed_ms(query.now_ms, self._switches)
        shown = [
            v3_json.campaign_summary(campaign, self._account.rows_of_campaign(campaign.id, computed), last_ms)
            for last_ms, campaign in page.items
        ]
        content: Json = {
            "bulk_email_campaign_summaries": shown,
            "aggregate_percents": v3_json.percents(shown),
        }
        return v3_list_reply(query, start, page.following, content, self._switches)

    def _stats(self, query: Query, activity_uuids: str) -> Reply:
        wanted = activity_uuids.split(",")
        if len(wanted) > _STATS_A_CALL:
            return single(400, f"{_REPORTS}.validation.error", f"At most {_STATS_A_CALL} ids can be given.")
        key = f"{_REPORTS}.not_found.invalid_path_param.campaign_activity_ids."
        if not all(map(_is_uuid, wanted)):
            return single(404, key, "An id is malformed.")
        found = {id_: self._stats_of(id_, query.now_ms) for id_ in wanted}
        errors = [
            {"error_key": key, "error_message": f"Could not find stats of {id_}."}
            for id_, shown in found.items()
            if shown is None
        ]
        return Reply(200, {"results": [shown for shown in found.values() if shown], "errors": errors})

    def _stats_of(self, activity_uuid: str, now_ms: int) -> Json | None:
        campaign_id, role = self._ids.activity(activity_uuid) or ("", Role.PERMALINK)
        campaign = self._account.campaign(campaign_id)
        if campaign is None or campaign.status != "SENT" or role is Role.PERMALINK:
            return None
        if role not in v3_json.roles(campaign, now_ms) or not is_listed(campaign, now_ms, self._switches):
            return None
        computed = computed_ms(now_ms, self._switches)
        rows = self._account.rows_of_campaign(campaign_id, computed)
        own = [row for row in rows if role_of(row, self._account) is role]
        return v3_json.stats(campaign, role, own, computed)

    def _campaigns(self, query: Query) -> Reply:
        start = self._start(query, _EMAILS, default_limit=50, max_limit=500)
        after_ms, before_ms = (bound(start.asked, name, _EMAILS) for name in ("after_date", "before_date"))
        found = [
            campaign
            for campaign in self._account.campaigns()
            if is_listed(campaign, query.now_ms, self._switches)
            and lies_in(campaign.modified_ms, after_ms, before_ms)
        ]
        found.sort(key=lambda campaign: campaign.modified_ms, reverse=True)
        page = offset_page(found, start)
        return v3_list_reply(
            query,
            start,
            page.following,
            {"campaigns": [v3_json.listed_campaign(campaign) for campaign in page.items]},
            self._switches,
        )

    def _campaign(self, query: Query, campaign_uuid: str) -> Reply:
        campaign = self._known_campaign(self._ids.campaign_id(campaign_uuid), query.now_ms)
        return Reply(200, v3_json.campaign(campaign, query.now_ms))

    def _activity(self, query: Query, activity_uuid: str) -> Reply:
        campaign_id, role = self._ids.activity(activity_uuid) or (None, Role.PRIMARY)
        campaign = self._known_campaign(campaign_id, query.now_ms)
        if campaign.status == "DELETED" or role not in v3_json.roles(campaign, query.now_ms):
            raise unknown(_EMAILS, "campaign activity")
        return Reply(200, v3_json.activity(campaign, role))

    def _summary(self, query: Query) -> Reply:  # noqa: ARG002 (as the other handlers)
        return Reply(
            200,
            {
                "encoded_account_id": self._switches.v3.account_id,
                "organization_name": "A simulated account",
                "contact_email": "owner@example.org",
                "first_name": "Ada",
                "last_name": "Amsel",
                "country_code": "US",
                "state_code": "MA",
                "time_zone_id": "US/Eastern",
            },
        )

    def _known_contact(self, contact_uuid: str) -> Contact:
        contact = self._account.contact(self._ids.contact_id(contact_uuid) or "")
        if contact is None:
            raise unknown(_REPORTS, "contact")
        return contact

    def _known_campaign(self, campaign_id: str | None, now_ms: int) -> Campaign:
        campaign = self._account.campaign(campaign_id or "")
        if campaign is None or not is_listed(campaign, now_ms, self._switches):
            raise unknown(_EMAILS, "campaign")
        return campaign

    def _start(self, query: Query, service: str, *, default_limit: int, max_limit: int) -> Start:
        return v3_start(query, service, self._switches, default_limit=default_limit, max_limit=max_limit)


def _refusal(status: int, what: str) -> Refusal:
    """Return the refusal of a report, as the switches say."""
    if status == 403:
        return Refusal(access_denied())
    return unknown(_REPORTS, what) if status == 404 else invalid(_REPORTS, f"the {what} cannot be read")


def _kinds(asked: Mapping[str, str]) -> set[Kind]:
    listed, repeated = asked.get("tracking_activities_list"), asked.get("tracking_activity_type")
    if (listed is None) is (repeated is None):
        raise invalid(_REPORTS, "either tracking_activities_list or tracking_activity_type is needed")
    names = set((listed or repeated or "").split(","))
    if not names <= _KINDS.keys() | _LANDING_PAGE_TYPES:
        raise invalid(_REPORTS, "a tracking activity type is not known")
    return {_KINDS[name] for name in names & _KINDS.keys()}


def _started_ms(rows: Sequence[Row]) -> int:
    """Return when a contact was last sent an activity. Without a send: when it first did something."""
    sent = [row.occurred_ms for row in rows if row.kind is Kind.SEND]
    return max(sent) if sent else min(row.occurred_ms for row in rows)


def _is_asked_for(row: Row, asked: Mapping[str, str]) -> bool:
    codes, link_id = asked.get("bounce_code"), asked.get("url_id")
    if codes is None and link_id is None:
        return True
    own = dict(row.own)
    if row.kind is Kind.BOUNCE and codes is not None and own["bounce_code"] not in codes.split(","):
        return False
    return row.kind is not Kind.CLICK or link_id in (None, own["link_id"])


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
