"""Read contacts, mailings and their tracking reports from the v3 API.

Everything that only v3 has is here and in the modules named `v3_…`. A campaign of v3 has campaign
activities: its mail, and what was sent again to those who did not open. They have the reports, and rows
name them, so they are what the rest of the product calls a campaign.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from contact_activity.constant_contact.client import ApiClient, ApiVersion, Call, Rights
from contact_activity.constant_contact.fields import path_part
from contact_activity.constant_contact.v3_pages import (
    Page,
    listed_campaign,
    listed_contact,
    parameters,
    read_page,
    sent_campaign,
    tracking_page,
)
from contact_activity.constant_contact.v3_rows import PROVIDER_TYPES, parse_campaign_row, parse_row
from contact_activity.constant_contact.v3_summaries import (
    SummariesPage,
    contact_report,
    read_contact_summaries,
    read_mailing_summaries,
)
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import CampaignsPage, ContactsPage, Refusal, TrackingPage
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.rights import Right
from contact_activity.domain.summary import SummaryKind, SummaryReport
from contact_activity.domain.times import iso
from contact_activity.domain.watermark import TYPES_BY_REPORT
from contact_activity.errors import FatalError, RefusedError, RetryError

# The largest pages that the v3 contract allows.
CONTACT_PAGE_ROWS = 100
PAGE_ROWS = 500
MAX_SUMMARY_PAGES = 20
TRACKING, MAILING = "tracking_activities", "campaign_activity_id"
# The listing of who changed is followed by one of who unsubscribed, which is no change (v3 contract).
UNSUBSCRIBED = "unsubscribed "
# What a summary covers: the provider was not there before.
SINCE_EVER, UNTIL_EVER = "1995-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
REPORTS = {
    ActivityType.SENT: "sends",
    ActivityType.OPENED: "opens",
    ActivityType.CLICKED: "clicks",
    ActivityType.FORWARDED: "forwards",
    ActivityType.BOUNCED: "bounces",
    ActivityType.UNSUBSCRIBED: "optouts",
}
# What a path takes beyond the list of contacts (v3 contract): the right to be named, and all in words. Those
# of mailings take METRICS too, which a contact's own report tells by itself.
RIGHTS = (
    ("/reports/contact_reports/", Right.METRICS, f"the privilege {Right.METRICS}"),
    (
        "/reports/",
        Right.CAMPAIGN_DATA,
        f"the scope {Right.CAMPAIGN_DATA} and the privilege {Right.METRICS}",
    ),
    (
        "/emails",
        Right.CAMPAIGN_READ,
        f"the scope {Right.CAMPAIGN_DATA} and the privilege {Right.CAMPAIGN_READ}",
    ),
)
# The id of no contact: whoever may read reports is told that there is none.
_NOBODY = "00000000-0000-0000-0000-000000000000"

V3 = ApiVersion(
    neutral_call=Call("/contacts", {"limit": "1"}, lambda body: read_page(body, "contacts")),
    credential_params=lambda _: {},
    rights=Rights(
        Right.CONTACT_DATA,
        Right.CONTACTS_READ,
        Call(
            f"/reports/contact_reports/{_NOBODY}/activity_details",
            {"tracking_activities_list": PROVIDER_TYPES[ActivityType.SENT], "limit": "1"},
            lambda body: body,
        ),
    ),
)

T = TypeVar("T")


class ConstantContactV3:
    """The `Source` port on the v3 API. One instance serves any number of threads.

    v3 has no filter by date on reports and shows the newest rows first, so a report ends here at the
    first page that lies wholly before the time that is asked for.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal:
        """Read a page of the contacts that changed, then of those who unsubscribed."""
        # A cursor does not tell which of the two lists it belongs to.
        is_of_unsubscribed = next_ is not None and next_.startswith(UNSUBSCRIBED)
        cursor = next_.removeprefix(UNSUBSCRIBED) or None if next_ else None
        params = {"status": "all", "limit": str(PAGE_ROWS)}
        if since_ms is not None:
            params["optout_after" if is_of_unsubscribed else "updated_after"] = iso(since_ms)
        page = self._page("/contacts", "contacts", params, cursor, deadline_ms)
        if page is Refusal.GONE:
            raise FatalError("the API does not know /contacts: check CONSTANT_CONTACT_BASE_URL")
        if isinstance(page, Refusal):
            return page
        listed = [listed_contact(row) for row in page.rows]
        readable = tuple(contact for contact in listed if contact)
        following = page.next
        if is_of_unsubscribed and following is not None:
            following = UNSUBSCRIBED + following
        elif following is None and since_ms is not None and not is_of_unsubscribed:
            following = UNSUBSCRIBED
        return ContactsPage(readable, len(listed) - len(readable), following)

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        path = f"/reports/contact_reports/{path_part(contact_id)}/activity_details"
        types = (type_ for name in report.split(",") for type_ in TYPES_BY_REPORT[name])
        params = {
            "tracking_activities_list": ",".join(PROVIDER_TYPES[type_] for type_ in types),
            "include_campaign_activity_names": "false",
            "limit": str(CONTACT_PAGE_ROWS),
        }
        page = self._page(path, TRACKING, params, next_, deadline_ms, ("contact_id", contact_id))
        if isinstance(page, Refusal):
            return page
        return tracking_page([parse_row(row, contact_id) for row in page.rows], page.next, since_ms)

    def campaign_report(
        self,
        campaign_id: str,
        type_: ActivityType,
        *,
        since_ms: int | None,
        next_: str | None,
        deadline_ms: int,
    ) -> TrackingPage | Refusal:
        path = f"/reports/email_reports/{path_part(campaign_id)}/tracking/{REPORTS[type_]}"
        params = {"limit": str(PAGE_ROWS)}
        page = self._page(path, TRACKING, params, next_, deadline_ms, (MAILING, campaign_id))
        if isinstance(page, Refusal):
            return page
        parsed = [parse_campaign_row(row, campaign_id, type_) for row in page.rows]
        return tracking_page(parsed, page.next, since_ms)

    def campaigns(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> CampaignsPage | Refusal:
        """Read a page of what was sent, last sent first. `since_ms`: until the first that is older."""
        path = "/reports/summary_reports/email_campaign_summaries"
        params = {"limit": str(PAGE_ROWS)}
        page = self._page(path, "bulk_email_campaign_summaries", params, next_, deadline_ms)
        if page is Refusal.GONE:
            raise FatalError("the API does not know the campaigns that were sent")
        if isinstance(page, Refusal):
            return page
        listed = [listed_campaign(row) for row in page.rows]
        campaigns = tuple(campaign for campaign in listed if campaign)
        sent_ms = [campaign.sent_ms for campaign in campaigns if campaign.sent_ms is not None]
        is_past = since_ms is not None and bool(sent_ms) and max(sent_ms) < since_ms
        return CampaignsPage(campaigns, None if is_past else page.next)

    def campaign(self, campaign_id: str, *, deadline_ms: int) -> SentCampaign | Refusal:
        path = f"/emails/{path_part(campaign_id)}"
        return self._get(path, {}, lambda body: sent_campaign(body, campaign_id), deadline_ms)

    def contact_summary(
        self, contact_id: str, kind: SummaryKind, *, deadline_ms: int
    ) -> SummaryReport | Refusal:
        """Read the summary of a contact by campaign activity; that of all of them is their sum."""
        pages: list[SummariesPage] = []
        path = f"/reports/contact_reports/{path_part(contact_id)}/activity_summary"
        query: Mapping[str, str | list[str]] = {"start": SINCE_EVER, "end": UNTIL_EVER}
        while len(pages) < MAX_SUMMARY_PAGES:
            page = self._get(
                path,
                query,
                lambda body: read_contact_summaries(body, contact_id),
                deadline_ms,
                has_cursor=bool(pages),
            )
            if page is Refusal.NEXT_EXPIRED:
                raise RetryError("a summary's cursor did not hold")
            if isinstance(page, Refusal):
                return page
            if page.next in [of.next for of in pages]:
                raise RetryError("a summary's pages go round")
            pages.append(page)
            if page.next is None:
                break
            query = parameters(page.next)
        return contact_report(pages, kind, contact_id)

    def campaign_summaries(
        self, campaign_ids: Sequence[str], *, deadline_ms: int
    ) -> Mapping[str, SummaryReport | Refusal]:
        """Read the statistics of mailings, ten a call at most. One that has none does not exist."""
        path = f"/reports/stats/email_campaign_activities/{','.join(map(path_part, campaign_ids))}"
        found = self._get(path, {}, lambda body: read_mailing_summaries(body, campaign_ids), deadline_ms)
        if not isinstance(found, Refusal):
            return {id_: found.get(id_, Refusal.GONE) for id_ in campaign_ids}
        if len(campaign_ids) == 1:
            return dict.fromkeys(campaign_ids, found)
        # One id that the API takes for malformed is its answer to all of them (v3 contract).
        alone = [self.campaign_summaries([id_], deadline_ms=deadline_ms) for id_ in campaign_ids]
        return {id_: report for of_one in alone for id_, report in of_one.items()}

    def probe(self, *, deadline_ms: int) -> None:
        self._client.probe(V3, deadline_ms=deadline_ms)

    def _page(
        self,
        path: str,
        rows: str,
        params: Mapping[str, str],
        cursor: str | None,
        deadline_ms: int,
        of: tuple[str, str] | None = None,
    ) -> Page | Refusal:
        """Read one page. A cursor is the whole query of the link to a later page."""
        query = params if cursor is None else parameters(cursor)
        return self._get(
            path, query, lambda body: read_page(body, rows, of), deadline_ms, has_cursor=cursor is not None
        )

    def _get(
        self,
        path: str,
        params: Mapping[str, str | list[str]],
        read: Callable[[object], T | None],
        deadline_ms: int,
        *,
        has_cursor: bool = False,
    ) -> T | Refusal:
        try:
            return self._client.call(Call(path, params, read, has_cursor), V3, deadline_ms=deadline_ms)
        except RefusedError as error:
            raise _told(error, path) from None


def _told(error: RefusedError, path: str) -> RefusedError:
    """The error of a path that is refused, with what that takes beyond the list of contacts."""
    for of, right, takes in RIGHTS:
        if error.is_forbidden and path.startswith(of):
            return RefusedError(f"{error}: it takes {takes}", is_forbidden=True, lacks=right)
    return error
