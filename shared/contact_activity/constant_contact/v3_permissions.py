"""Ask v3 what a credential may read.

v3 answers 403 `access_denied` whether the token lacks a scope or its user a privilege (v3 contract). Two
calls that share a scope and differ in the privilege tell which of them it is.
"""

from collections.abc import Iterator

from contact_activity.constant_contact.client import Call, Look
from contact_activity.constant_contact.permissions import Area, Looking, Permission
from contact_activity.constant_contact.v3 import V3
from contact_activity.constant_contact.v3_pages import listed_campaign, read_page, sent_campaign
from contact_activity.constant_contact.verdict import Verdict
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.rights import Right

_ONE = {"limit": "1"}


def v3_permissions(look: Looking) -> Iterator[Permission]:
    """List one contact, then ask for the campaign that was sent last, its mailings, and a report of one.

    Six calls at most, beside tries that failed.
    """
    contacts = look(V3.neutral_call)
    yield Permission(Area.CONTACTS, contacts, lacking_for_contacts(contacts, look))
    sent = look(
        Call(
            "/reports/summary_reports/email_campaign_summaries",
            _ONE,
            lambda body: read_page(body, "bulk_email_campaign_summaries"),
        )
    )
    listed = [listed_campaign(row) for row in sent.result.rows[:1]] if sent.result else []
    mailings: tuple[str, ...] = ()
    campaigns: Look[object]
    if listed and listed[0]:
        campaigns = campaign = look(_campaign(listed[0].id))
        mailings = campaign.result.mailings if campaign.result else ()
    else:
        campaigns = look(Call("/emails", _ONE, lambda body: read_page(body, "campaigns")))
    scope = Right.CAMPAIGN_DATA if sent.is_refused and campaigns.is_refused else None
    yield Permission(Area.CAMPAIGNS, campaigns, scope or Right.CAMPAIGN_READ)
    report = look(_report(mailings[0])) if mailings and sent.verdict is Verdict.OK else sent
    yield Permission(Area.REPORTS, report, scope or Right.METRICS)


def lacking_for_contacts(contacts: Look[object], look: Looking) -> Right | None:
    """Return the right for want of which contacts may not be read, which takes a call; None if none is."""
    if not (contacts.is_refused and V3.rights):
        return None
    return Right.named(V3.rights.missing(look(V3.rights.telling_call).verdict))


def _campaign(campaign_id: str) -> Call[SentCampaign]:
    return Call(f"/emails/{campaign_id}", {}, lambda body: sent_campaign(body, campaign_id))


def _report(mailing_id: str) -> Call[object]:
    path = f"/reports/email_reports/{mailing_id}/tracking/sends"
    return Call(path, _ONE, lambda body: read_page(body, "tracking_activities"))
