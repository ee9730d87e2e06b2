"""Switches of what only v3 of the simulated API has. The defaults are the likeliest behaviours."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

PRIVILEGES = frozenset(("contacts:read", "campaign:read", "ui:campaign:metrics", "account:read"))
"""The privileges of a user that the served paths need (v3 contract)."""


class PageEnd(StrEnum):
    """How the last page of a list says that it is the last. The v3 contract allows all four."""

    NO_LINKS = "no_links"
    """There is no `_links`. Reports of bounces and opt-outs, which must have it, have `{}`."""
    EMPTY_LINKS = "empty_links"
    """`_links` is `{}`."""
    NEXT_NULL = "next_null"
    """`_links` is `{"next": null}`."""
    HREF_NULL = "href_null"
    """`_links` is `{"next": {"href": null}}`."""


class Step(IntEnum):
    """The step of stamps in ms. A stamp tells the beginning of its step."""

    MILLISECOND = 1
    SECOND = 1_000
    MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class V3Switches:
    """How v3 behaves where no source is certain. Shares are from 0 to 1."""

    step: Step = Step.MINUTE
    """The step of `created_time`. Every public sample is a whole minute."""
    campaign_step: Step | None = None
    """The step in the reports of campaigns. None: as in those of contacts."""
    page_end: PageEnd | None = None
    """How lists end. None: any of the four, always the same for the same call."""
    links_keep_parameters: bool = False
    """On: links have the other parameters beside `cursor`."""
    contact_reports_late_s: float = 0.0
    """Seconds by which a contact's report shows a row later than v2 does."""
    campaign_reports_late_s: float = 0.0
    """Seconds by which the reports of campaigns show a row later than v2 does."""
    missing_in_campaign_reports_share: float = 0.0
    """Share of rows (always the same) that no report of a campaign shows."""
    campaign_reports_refused: int | None = None
    """The status with which the reports of campaigns are refused: 400, 403 or 404. None: they answer."""
    automation_reports_answer: bool = True
    """Off: the reports of mailings that no list shows are refused. They are documented for others only."""
    automation_refusal: int = 404
    """The status with which those are refused: 403 or 404."""
    privileges: frozenset[str] = PRIVILEGES
    """What the user of the account may. Without a privilege its paths answer 403."""
    optouts_update: bool = False
    """On: an opt-out moves `updated_at` too. Staff say that it does not."""
    account_id: str = "p07simulated01"
    """The `encoded_account_id` of the account summary."""
