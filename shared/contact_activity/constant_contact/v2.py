"""Read contacts, campaigns and their tracking reports from the v2 API.

Everything that only v2 has is here and in the modules named `v2_…`: paths, query parameters, and how
rows are read. What any version needs is in `client`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from contact_activity.constant_contact.client import ApiClient, ApiVersion, Call
from contact_activity.constant_contact.fields import path_part
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
from contact_activity.domain.activity import Activity, ActivityType, Unreadable
from contact_activity.domain.answers import CampaignsPage, ContactsPage, Refusal, TrackingPage
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.summary import SummaryKind, SummaryReport
from contact_activity.domain.times import iso
from contact_activity.domain.watermark import ALL_REPORT
from contact_activity.errors import FatalError

# The largest pages that the v2 documentation allows.
PAGE_ROWS = 500
CAMPAIGNS_PAGE_ROWS = 50

V2 = ApiVersion(
    neutral_call=Call("/contacts", {"limit": "1"}, read_page),
    credential_params=lambda credentials: {"api_key": credentials.api_key},
)

_CONTACT_SUMMARIES = {
    SummaryKind.CONTACT: ("summary", parse_contact_summary),
    SummaryKind.CONTACT_CAMPAIGN: ("summaryByCampaign", parse_summary_by_campaign),
}

T = TypeVar("T")


class ConstantContactV2:
    """The `Source` port on the v2 API. One instance serves any number of threads."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal:
        params = {"limit": str(PAGE_ROWS)}
        if since_ms is not None:
            params["modified_since"] = iso(since_ms)
        page = self._page("/contacts", params, next_, deadline_ms)
        if page is Refusal.GONE:
            raise FatalError("the API does not know /contacts: check CONSTANT_CONTACT_BASE_URL")
        if isinstance(page, Refusal):
            return page
        listed = [listed_contact(row) for row in page.rows]
        readable = tuple(contact for contact in listed if contact)
        return ContactsPage(readable, len(listed) - len(readable), page.next)

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        path = f"/contacts/{path_part(contact_id)}/tracking" + ("" if report == ALL_REPORT else f"/{report}")
        params = {"limit": str(PAGE_ROWS)}
        # The bounces of a contact are the one report without this filter. The caller drops old rows.
        if since_ms is not None and report != ActivityType.BOUNCED.report:
            params["created_since"] = iso(since_ms)
        page = self._page(path, params, next_, deadline_ms, ("contact_id", contact_id))
        if isinstance(page, Refusal):
            return page
        return _tracking_page([parse_row(row, contact_id) for row in page.rows], page.next)

    def campaign_report(
        self,
        campaign_id: str,
        type_: ActivityType,
        *,
        since_ms: int | None,
        next_: str | None,
        deadline_ms: int,
    ) -> TrackingPage | Refusal:
        path = f"/emailmarketing/campaigns/{path_part(campaign_id)}/tracking/{type_.report}"
        params = {"limit": str(PAGE_ROWS)}
        if since_ms is not None:
            params["created_since"] = iso(since_ms)
        page = self._page(path, params, next_, deadline_ms, ("campaign_id", campaign_id))
        if isinstance(page, Refusal):
            return page
        parsed = [parse_campaign_row(row, campaign_id, type_) for row in page.rows]
        return _tracking_page(parsed, page.next)

    def campaign(self, campaign_id: str, *, deadline_ms: int) -> SentCampaign | Refusal:
        path = f"/emailmarketing/campaigns/{path_part(campaign_id)}"
        return self._get(path, {}, lambda body: sent_campaign(body, campaign_id), deadline_ms)

    def contact_summary(
        self, contact_id: str, kind: SummaryKind, *, deadline_ms: int
    ) -> SummaryReport | Refusal:
        report, parse = _CONTACT_SUMMARIES[kind]
        path = f"/contacts/{path_part(contact_id)}/tracking/reports/{report}"
        return self._get(path, {}, lambda body: parse(body, contact_id), deadline_ms)

    def campaign_summaries(
        self, campaign_ids: Sequence[str], *, deadline_ms: int
    ) -> Mapping[str, SummaryReport | Refusal]:
        """Read them one by one: v2 has no call for several."""
        return {id_: self._campaign_summary(id_, deadline_ms) for id_ in campaign_ids}

    def _campaign_summary(self, campaign_id: str, deadline_ms: int) -> SummaryReport | Refusal:
        path = f"/emailmarketing/campaigns/{path_part(campaign_id)}/tracking/reports/summary"
        params = {"updateSummary": "true"}
        return self._get(path, params, lambda body: parse_campaign_summary(body, campaign_id), deadline_ms)

    def campaigns(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> CampaignsPage | Refusal:
        params = {"status": "SENT", "limit": str(CAMPAIGNS_PAGE_ROWS)}
        if since_ms is not None:
            params["modified_since"] = iso(since_ms)
        page = self._page("/emailmarketing/campaigns", params, next_, deadline_ms)
        if page is Refusal.GONE:
            raise FatalError("the API does not know /emailmarketing/campaigns")
        if isinstance(page, Refusal):
            return page
        listed = [listed_campaign(row) for row in page.rows]
        return CampaignsPage(tuple(campaign for campaign in listed if campaign), page.next)

    def probe(self, *, deadline_ms: int) -> None:
        self._client.probe(V2, deadline_ms=deadline_ms)

    def _page(
        self,
        path: str,
        params: Mapping[str, str],
        cursor: str | None,
        deadline_ms: int,
        of: tuple[str, str] | None = None,
    ) -> Page | Refusal:
        """Read one page. The API refuses any other parameter beside a cursor, so none is sent."""
        query = params if cursor is None else {"next": cursor}
        return self._get(path, query, lambda body: read_page(body, of), deadline_ms)

    def _get(
        self, path: str, params: Mapping[str, str], read: Callable[[object], T | None], deadline_ms: int
    ) -> T | Refusal:
        call = Call(path, params, read, has_cursor="next" in params)
        return self._client.call(call, V2, deadline_ms=deadline_ms)


def _tracking_page(parsed: Sequence[Activity | Unreadable], next_: str | None) -> TrackingPage:
    return TrackingPage(
        activities=tuple(row for row in parsed if not isinstance(row, Unreadable)),
        unreadable=tuple(row.digest for row in parsed if isinstance(row, Unreadable)),
        next=next_,
    )
