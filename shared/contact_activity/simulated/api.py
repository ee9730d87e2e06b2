"""Answers each path of the simulated API. Has no HTTP and no clock: a query in, a reply out."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from contact_activity.simulated import api_json
from contact_activity.simulated.account import Campaign, Contact, Kind, Row, SimulatedAccount
from contact_activity.simulated.paging import (
    Start,
    list_reply,
    numbered_page,
    offset_page,
    start_of,
    tracking_page,
)
from contact_activity.simulated.replies import Refusal, Reply, bad_request, error, not_found
from contact_activity.simulated.switches import Order, Side, Switches
from contact_activity.simulated.visibility import computed_ms, is_listed, visible

T = TypeVar("T")

_KIND_BY_REPORT = {kind.report: kind for kind in Kind}
_CONTACT_STATUSES = {"ALL", "ACTIVE", "UNCONFIRMED", "OPTOUT", "REMOVED", "NON_SUBSCRIBER", "VISITOR"}
_CAMPAIGN_STATUSES = {"ALL", "DRAFT", "RUNNING", "SENT", "SCHEDULED", "DELETED"}


@dataclass(frozen=True, slots=True)
class Query:
    """A GET request that passed the gateway. `parameters` are without `api_key`, `now_ms` is its time.

    `repeated` holds the values of parameters that came more than once.
    """

    path: str
    parameters: Mapping[str, str]
    now_ms: int
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of a parameter, in their order. Empty if it is not there."""
        alone = (self.parameters[name],) if name in self.parameters else ()
        return self.repeated.get(name, alone)


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: re.Pattern[str]
    handler: Callable[..., Reply]
    parameters: frozenset[str]


class Api:
    """Answers from an account, as the switches say. Every method may be called from any thread."""

    def __init__(self, account: SimulatedAccount, switches: Switches) -> None:
        self._account = account
        self._switches = switches
        self._updated_ms: dict[str, int] = {}
        campaign = r"/v2/emailmarketing/campaigns/([^/]+)"
        contact = r"/v2/contacts/([^/]+)"
        self._routes = tuple(
            _Route(re.compile(pattern), handler, frozenset(parameters.split()))
            for pattern, handler, parameters in (
                (contact + r"/tracking(?:/(\w+))?", self._tracking, "next limit created_since"),
                (contact + r"/tracking/reports/summary", self._contact_summary, ""),
                (contact + r"/tracking/reports/summaryByCampaign", self._summary_by_campaign, ""),
                (contact, self._contact, "include_contact_id"),
                (
                    r"/v2/contacts",
                    self._contacts,
                    "next status modified_since limit email include_contact_id",
                ),
                (r"/v2/emailmarketing/campaigns", self._campaigns, "next status modified_since limit"),
                (campaign, self._campaign, ""),
                (campaign + r"/tracking/reports/summary", self._campaign_summary, "updateSummary"),
                (campaign + r"/tracking/(\w+)", self._campaign_report, "next limit created_since"),
            )
        )

    def answer(self, query: Query) -> Reply:
        """Return the right answer, without any fault."""
        try:
            for route in self._routes:
                if found := route.pattern.fullmatch(query.path):
                    return route.handler(query, *found.groups())
        except Refusal as refusal:
            return refusal.reply
        return not_found("resource", self._switches)

    def violation(self, query: Query) -> str | None:
        """Return a line that names a misuse of the API, without personal data. None if there is none."""
        asked = set(query.parameters)
        for route in self._routes:
            if not route.pattern.fullmatch(query.path):
                continue
            if "next" in asked and len(asked) > 1:
                return f"next together with {', '.join(sorted(asked - {'next'}))}"
            unknown = sorted(asked - route.parameters)
            return f"unknown parameter {', '.join(unknown)}" if unknown else None
        return "unknown path"

    def _tracking(self, query: Query, contact_id: str, report: str | None) -> Reply:
        kind = self._kind(report) if report is not None else None
        contact = self._known_contact(contact_id)
        start = self._start(query, default_limit=500, max_limit=500)
        rows = self._visible_of_contact(contact.id, query.now_ms)
        items: list[tuple[int, Row | None]] = [*self._items(rows, kind, start, Side.CONTACT)]
        if kind is None and api_json.chosen(self._switches.unknown_type_share, "type", contact.id):
            # None stands for a row of an unknown type.
            items.append((contact.created_ms, None))
        counters = api_json.counters(rows) if self._switches.row_counters and kind is None else {}
        return self._tracking_reply(
            query, start, items, self._switches.order, lambda row: self._shown(contact, row, counters)
        )

    def _campaign_report(self, query: Query, campaign_id: str, report: str) -> Reply:
        """What all contacts did with one campaign, of one type: the rows that their own reports show."""
        kind = self._kind(report)
        if self._switches.campaign_reports_refused:
            raise Refusal(error(403, "http.status.forbidden", "This key may not read reports of campaigns."))
        self._check_sent(self._known_campaign(campaign_id, query.now_ms))
        start = self._start(query, default_limit=500, max_limit=500)
        shown = self._account.rows_of_campaign(campaign_id, query.now_ms)
        rows = visible(shown, query.now_ms, self._switches)
        items = self._items(rows, kind, start, Side.CAMPAIGN)
        return self._tracking_reply(
            query,
            start,
            items,
            self._switches.campaign_order,
            lambda row: api_json.activity(row, self._switches, Side.CAMPAIGN),
        )

    def _kind(self, report: str) -> Kind:
        if report not in _KIND_BY_REPORT:
            raise Refusal(not_found("report", self._switches))
        return _KIND_BY_REPORT[report]

    def _items(
        self, rows: Sequence[Row], kind: Kind | None, start: Start, side: Side
    ) -> list[tuple[int, Row]]:
        """Return the rows of a type, or of all, with the times that they show, from the start's date on."""
        switches = self._switches
        honours = {
            Side.CONTACT: switches.bounces_honour_created_since,
            Side.CAMPAIGN: switches.campaign_bounces_honour_created_since,
        }
        is_filtered = kind is not Kind.BOUNCE or honours[side]
        since_ms = start.since_ms or 0 if is_filtered else 0
        return [
            (shown_ms, row)
            for row in rows
            if kind in (None, row.kind)
            and (shown_ms := api_json.shown_ms(row, self._switches, side)) >= since_ms
        ]

    def _tracking_reply(
        self,
        query: Query,
        start: Start,
        items: Sequence[tuple[int, T]],
        order: Order,
        show: Callable[[T], api_json.Json],
    ) -> Reply:
        """Return a page of a tracking list, in this order."""
        ordered = sorted(items, key=_shown_time, reverse=order is Order.NEWEST_FIRST)
        page = tracking_page(ordered, start, self._switches, order)
        keeps = start.since_ms is not None and self._switches.next_keeps_created_since
        return list_reply(
            self._link_path(query.path),
            page.following,
            [show(row) for _, row in page.items],
            self._kept(start, query, since=keeps),
        )

    def _shown(self, contact: Contact, row: Row | None, counters: api_json.Json) -> api_json.Json:
        if row is None:
            return api_json.unknown_activity(contact, self._switches)
        return api_json.activity(row, self._switches) | counters

    def _visible_of_contact(self, contact_id: str, now_ms: int) -> list[Row]:
        return visible(self._account.rows_of_contact(contact_id, now_ms), now_ms, self._switches)

    def _contact_summary(self, query: Query, contact_id: str) -> Reply:
        contact = self._known_contact(contact_id)
        rows = self._visible_of_contact(contact.id, query.now_ms)
        return Reply(200, api_json.contact_summary(contact.id, rows))

    def _summary_by_campaign(self, query: Query, contact_id: str) -> Reply:
        contact = self._known_contact(contact_id)
        rows = self._visible_of_contact(contact.id, query.now_ms)
        return Reply(200, api_json.summary_by_campaign(rows, self._switches))

    def _contact(self, query: Query, contact_id: str) -> Reply:
        contact = self._known_contact(contact_id)
        return Reply(200, api_json.contact(contact, self._switches, with_uuid=_wants_uuid(query.parameters)))

    def _contacts(self, query: Query) -> Reply:
        start = self._start(query, default_limit=50, max_limit=500)
        page = offset_page(self._matching_contacts(start), start)
        with_uuid = _wants_uuid(start.asked)
        shown = [api_json.contact(contact, self._switches, with_uuid=with_uuid) for contact in page.items]
        kept = self._kept(start, query, "status", "email", "include_contact_id", since=True)
        return list_reply(query.path, page.following, shown, kept)

    def _matching_contacts(self, start: Start) -> list[Contact]:
        status = _status(start.asked, _CONTACT_STATUSES)
        email_address = start.asked.get("email")
        found = [
            contact
            for contact in self._account.contacts()
            if (contact.status == status or (status == "ALL" and self._is_in_all(contact)))
            and contact.modified_ms >= (start.since_ms or 0)
            and (email_address is None or _is_found_by(email_address, contact))
        ]
        if self._switches.contacts_newest_first:
            found.sort(key=lambda contact: contact.modified_ms, reverse=True)
        return found

    def _is_in_all(self, contact: Contact) -> bool:
        return contact.status != "REMOVED" or self._switches.removed_contacts_listed

    def _campaigns(self, query: Query) -> Reply:
        start = self._start(query, default_limit=50, max_limit=50)
        status = _status(start.asked, _CAMPAIGN_STATUSES)
        found = [
            campaign
            for campaign in self._account.campaigns()
            if is_listed(campaign, query.now_ms, self._switches)
            and (campaign.status == status or (status == "ALL" and campaign.status != "DELETED"))
            and campaign.modified_ms >= (start.since_ms or 0)
        ]
        if status in ("SENT", "DELETED"):
            found.sort(key=lambda of: of.last_run_ms(query.now_ms) or of.modified_ms, reverse=True)
        else:
            found.sort(key=_last_change, reverse=True)
        page = numbered_page(found, start)
        shown = [api_json.listed_campaign(campaign, self._switches) for campaign in page.items]
        return list_reply(query.path, page.following, shown, self._kept(start, query, "status", since=True))

    def _campaign(self, query: Query, campaign_id: str) -> Reply:
        campaign = self._known_campaign(campaign_id, query.now_ms)
        rows = self._account.rows_of_campaign(campaign_id, query.now_ms)
        clicks = [row for row in rows if row.kind is Kind.CLICK]
        return Reply(200, api_json.campaign(campaign, clicks, self._switches, query.now_ms))

    def _campaign_summary(self, query: Query, campaign_id: str) -> Reply:
        campaign = self._known_campaign(campaign_id, query.now_ms)
        self._check_sent(campaign)
        if query.parameters.get("updateSummary") == "true":
            self._updated_ms[campaign_id] = query.now_ms
        as_of_ms = max(self._updated_ms.get(campaign_id, 0), computed_ms(query.now_ms, self._switches))
        rows = self._account.rows_of_campaign(campaign_id, as_of_ms)
        return Reply(200, api_json.campaign_summary(campaign, rows, self._switches))

    def _check_sent(self, campaign: Campaign) -> None:
        if campaign.status != "SENT":
            raise Refusal(not_found("campaign", self._switches))

    def _start(self, query: Query, *, default_limit: int, max_limit: int) -> Start:
        return start_of(
            query.parameters,
            query.now_ms,
            self._switches,
            default_limit=default_limit,
            max_limit=max_limit,
        )

    def _kept(self, start: Start, query: Query, *names: str, since: bool) -> dict[str, int | str]:
        """Return what a token holds beside its position."""
        kept: dict[str, int | str] = {name: start.asked[name] for name in names if name in start.asked}
        if since and start.since_ms is not None:
            kept["since"] = start.since_ms
        if self._switches.next_lifetime_s is not None:
            kept["at"] = query.now_ms
        return kept

    def _link_path(self, path: str) -> str:
        if not self._switches.wrong_next_path:
            return path
        return path.replace("/v2/contacts/", "/v2/emailmarketing/campaigns/", 1)

    def _known_contact(self, contact_id: str) -> Contact:
        contact = self._account.contact(contact_id)
        if contact is None:
            raise Refusal(not_found("contact", self._switches))
        return contact

    def _known_campaign(self, campaign_id: str, now_ms: int) -> Campaign:
        campaign = self._account.campaign(campaign_id)
        if (
            campaign is None
            or campaign.status == "DELETED"
            or not is_listed(campaign, now_ms, self._switches)
        ):
            raise Refusal(not_found("campaign", self._switches))
        return campaign


def _is_found_by(email_address: str, contact: Contact) -> bool:
    """An exact match, which finds no address that was deleted (v2 documentation)."""
    return email_address == contact.email_address and contact.status != "REMOVED"


def _shown_time(item: tuple[int, object]) -> int:
    return item[0]


def _wants_uuid(parameters: Mapping[str, str]) -> bool:
    return parameters.get("include_contact_id") == "true"


def _status(asked: Mapping[str, str], known: set[str]) -> str:
    status = asked.get("status", "ALL")
    if status not in known:
        raise Refusal(bad_request("status is not known."))
    return status


def _last_change(campaign: Campaign) -> int:
    return campaign.modified_ms
