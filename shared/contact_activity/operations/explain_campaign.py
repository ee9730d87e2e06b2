"""Explains a campaign from the stores of a state folder, and from any store. Changes nothing."""

from dataclasses import replace
from pathlib import Path

from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import WATCHED_MS, ReportId
from contact_activity.domain.rights import missing_right
from contact_activity.domain.times import DAY_MS, parse_time
from contact_activity.operations.campaign_explanation import CampaignFacts
from contact_activity.operations.explain import in_folder
from contact_activity.operations.recent_events import last_event_of_campaign
from contact_activity.operations.system import folder_systems
from contact_activity.operations.told_times import when
from contact_activity.ports import Store
from contact_activity.run.account_file import FILE as ACCOUNT_FILE
from contact_activity.run.errors import RunError
from contact_activity.run.state_folder import ACCOUNT, EVENTS_FILES, SIMULATED_V3, is_locked
from contact_activity.settings import Settings


def folder_campaigns(
    state_dir: Path, campaign_id: str, settings: Settings, *, has_credentials: bool = True
) -> list[CampaignFacts]:
    """Return what is known of the campaign in each system of the folder that knows it.

    `has_credentials`: see `folder_explanations`.
    Raises `RunError` if there is no system, or if none knows it.
    """
    now_ms, is_running = SystemClock().now_ms(), is_locked(state_dir)
    with folder_systems(state_dir, is_read_only=True, limits=settings.limits) as systems:
        known = (
            (of.name, campaign_facts(of.name, of.store, campaign_id, settings, now_ms)) for of in systems
        )
        found = [
            replace(
                facts,
                is_witnessed=_is_witnessed(name, state_dir, settings),
                is_folder=True,
                lacks_credentials=name == ACCOUNT and not has_credentials,
                is_running=is_running,
            )
            for name, facts in known
            if facts
        ]
        if not found:
            where = in_folder(systems, state_dir)
            raise unknown_campaign(campaign_id, where, _published(state_dir, campaign_id, now_ms))
    return found


def _is_witnessed(name: str, state_dir: Path, settings: Settings) -> bool:
    """Whether a system of the folder is of v3, which the shell that asks need not say."""
    if name == ACCOUNT:
        return settings.reading.is_witnessed or (state_dir / ACCOUNT_FILE).exists()
    return name == SIMULATED_V3


def _published(state_dir: Path, campaign_id: str, now_ms: int) -> str:
    """What the folder's events file tells of a campaign that no store names; "" if nothing."""
    try:
        event = last_event_of_campaign(state_dir / EVENTS_FILES["embedded"], campaign_id)
    except OSError:
        return ""
    seen_ms = event and parse_time(event.observed_at)
    return f"; events.jsonl has events of it, the last seen {when(seen_ms, now_ms)}" if seen_ms else ""


def unknown_campaign(campaign_id: str, where: str, published: str = "") -> RunError:
    """Return the error that no store names a campaign, which says nothing of the account.

    `published`: what its events tell, after a semicolon.
    """
    return RunError(
        f"nothing is stored of campaign {campaign_id} in {where}, though the account may have it: only what "
        f"was sent at most {WATCHED_MS // DAY_MS} days before the first run, or since, has its reports "
        "watched, no automated mailing, and none while CAMPAIGN_REPORTS is off; activity of any other is "
        f"published when each contact has its turn{published}"
    )


def campaign_facts(
    name: str, store: Store, campaign_id: str, settings: Settings, now_ms: int
) -> CampaignFacts | None:
    """Return what is stored of a campaign, or of one of its mailings; None if nothing is."""
    watched = store.reports.watched(campaign_id)
    ids = watched.reported_ids if watched else (campaign_id,)
    found = (store.reports.get(ReportId(id_, type_)) for id_ in ids for type_ in ActivityType)
    reports = tuple(report for report in found if report)
    parents = {of.parent_id for of in reports if of.parent_id}
    if watched is None and parents:
        watched = store.reports.watched(min(parents))
    feed, trust = store.reports.feed(), store.reports.trust()
    is_named = campaign_id in feed.listed or store.campaigns.get(campaign_id).version > 0
    if watched is None and not reports and not is_named:
        return None
    return CampaignFacts(
        system=name,
        campaign_id=campaign_id,
        now_ms=now_ms,
        watched=watched,
        reports=reports,
        modes={type_: trust.of(type_).mode for type_ in ActivityType},
        pauses=store.pauses.get().active(now_ms),
        calls_used=store.limiter.pace().used_on(now_ms),
        calls_per_day=store.limiter.limits.calls_per_day,
        right=missing_right(store.reports.access(), list_lacks=feed.lacks),
        tick_failure=store.listings.failure(),
        refused_ms=feed.refused_ms,
        types=settings.campaign_reports,
        is_witnessed=settings.reading.is_witnessed,
    )
