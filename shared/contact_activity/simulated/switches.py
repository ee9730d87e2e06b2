"""Switches of the simulated API: what it does where the real one is unknown, and how often it fails.

Each switch is a behaviour that no source documents for certain, or an oddity that was recorded. The
defaults are the likeliest behaviours. All faults are off by default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from contact_activity.simulated.faults import Fault
from contact_activity.simulated.v3_switches import V3Switches


class Cursor(StrEnum):
    """What the `next` of a tracking list holds."""

    TIME = "time"
    """`limit=6&next=<ms of the page's last row>`, as the one real capture has it."""
    OFFSET = "offset"
    """`startAt=7&limit=6`, as the portal's samples have it; new rows shift the pages."""


class Tie(StrEnum):
    """What a time cursor does with rows of one millisecond at the end of a page."""

    STRETCHED = "stretched"
    """The page holds all rows of that millisecond: nothing is lost, nothing repeated."""
    REPEATED = "repeated"
    """The next page begins with that millisecond again."""
    LOST = "lost"
    """The next page begins before that millisecond: the rest of its rows is in no page."""


class Order(StrEnum):
    """The order of a tracking list."""

    NEWEST_FIRST = "newest_first"
    OLDEST_FIRST = "oldest_first"


class Side(StrEnum):
    """The two kinds of reports that show the same activity."""

    CONTACT = "contact"
    CAMPAIGN = "campaign"


REPORTS = frozenset(("sends", "opens", "clicks", "forwards", "bounces", "unsubscribes"))


@dataclass(frozen=True, slots=True)
class Shift:
    """Stamps that are hours off. Filters and order use the shifted times.

    `side` None: on both sides. `reports` names the types; `from_ms`: only activity from then on is
    shifted.
    """

    side: Side | None = None
    hours: int = -5
    reports: frozenset[str] = REPORTS
    from_ms: int = 0


# As in an old capture: all but the sends.
FIVE_HOURS_EARLY = Shift(reports=REPORTS - {"sends"})


class BadValue(StrEnum):
    """What happens to a parameter with a bad value."""

    REFUSED = "refused"
    """The answer is 400."""
    IGNORED = "ignored"
    """The answer is as without the parameter."""


@dataclass(frozen=True, slots=True)
class Switches:
    """How the simulated API behaves. Shares and probabilities are from 0 to 1."""

    cursor: Cursor = Cursor.TIME
    """The cursor of tracking lists. Contacts always have offsets, campaigns page numbers."""
    tie: Tie = Tie.STRETCHED
    order: Order = Order.NEWEST_FIRST
    """The order of tracking lists. Documented only for the list of all activities."""
    next_keeps_created_since: bool = True
    """Off: pages after the first ignore the `created_since` of the first."""
    next_lifetime_s: float | None = None
    """Seconds after which a `next` expires. None for never."""
    expired_next_status: int = 400
    """The answer to a `next` that is malformed or expired."""
    wrong_next_path: bool = False
    """Links of tracking lists have the path of a campaign, as in the official sample of forwards."""
    limit_plus_one: bool = False
    """A full page holds one row more than asked for, as measured on another v2 list."""
    max_page_rows: int = 500
    """The largest page, whatever `limit` says. For tests of paging without thousands of rows."""
    bounces_honour_created_since: bool = False
    """On: `created_since` filters a contact's bounces too. The best evidence says that it does not."""
    campaign_bounces_honour_created_since: bool = True
    """Off: `created_since` does not filter a campaign's bounces. The evidence leans to yes."""
    bad_limit: BadValue = BadValue.REFUSED
    bad_created_since: BadValue = BadValue.REFUSED
    accept_anything: bool = False
    """On: `Accept: */*` and no `Accept` are accepted. Documented is 406 for all but JSON."""

    numeric_ids: bool = False
    """Ids of contacts, campaigns and links are JSON numbers."""
    repeated_opens: bool = True
    """Off: only the first open of a contact and campaign is a row."""
    row_counters: bool = False
    """Rows of the list of all activities also hold `opens`, `clicks`, ... as integers."""
    missing_fields_share: float = 0.0
    """Share of rows (always the same) without address, link URL, bounce texts, unsubscribe reason."""
    unknown_type_share: float = 0.0
    """Share of contacts (always the same) with a row of an unknown type in the list of all activities."""
    unknown_bounce_code_share: float = 0.0
    """Share of bounces (always the same) with an undocumented code."""
    shift: Shift | None = None
    """Stamps that are hours off, on both sides or on one."""
    campaign_order: Order = Order.NEWEST_FIRST
    """The order of a campaign's reports, which no source documents."""
    campaign_clicks_have_urls: bool = False
    """On: clicks of a campaign's report have `link_uri`, as those of a contact's. No fixture has it."""
    campaign_reports_refused: bool = False
    """On: the reports of campaigns answer 403, as for a key without that right."""
    missing_link_share: float = 0.0
    """Share of links (always the same) that `click_through_details` leaves out."""
    listed_after_s: float = 0.0
    """Seconds from a campaign's send until the list and its own resource show it."""
    unlisted_campaign_share: float = 0.0
    """Share of campaigns (always the same) that are in no list and answer 404."""
    retention_days: int | None = None
    """Days after which activity is no longer shown. No source documents such a limit."""
    contacts_newest_first: bool = False
    """On: contacts are listed by modified date, newest first, so that a change shifts the pages."""
    removed_contacts_listed: bool = True
    """Off: REMOVED contacts are listed only when `status` asks for them."""
    extra_summary_fields: bool = False
    """A campaign's summary also has `campaign_id` and `spam_count`, as two fixtures have."""
    summary_every_h: float = 6.0
    """Hours between two computations of a campaign's summary. 0 for always fresh."""

    rate_limits: bool = True
    """Off: no call is refused for a quota."""
    refused_calls_count: bool = True
    """Off: a call that is refused for a quota does not count."""
    over_qps_as_401: bool = False
    """Too many calls in a second are answered 401, as users have reported."""
    gateway_headers: bool = False
    """Answers to calls above a quota have the headers of the gateway that other APIs show."""
    retry_after_s: int | None = None
    """The `Retry-After` header of answers to calls above a quota. None for no header."""
    not_found_key: str = "http.status.not_found"
    not_acceptable_key: str = "http.status.not_acceptable"
    server_error_key: str = "http.status.internal_server_error"

    v3: V3Switches = field(default_factory=V3Switches)
    """What only v3 has. All other switches hold for both versions as far as both have the thing."""

    faults: Mapping[Fault, float] = field(default_factory=dict)
    """The probability of each fault, for one call."""
    seed: int = 0
    """With equal seeds the n-th call of a path gets the same fault in every run."""
    slow_s: float = 0.2
    """The pause of `Fault.SLOW_BODY`, in seconds."""
    date_ahead_s: float = 0.0
    """Seconds by which the `Date` of answers is ahead of the clock of this machine."""

    def __post_init__(self) -> None:
        if not 0 <= sum(self.faults.values()) <= 1:
            raise ValueError("the probabilities of all faults together must be from 0 to 1")

    @classmethod
    def faulty(cls, rate: float = 0.2, *, seed: int = 0, slow_s: float = 0.2) -> "Switches":
        """Return switches with which a share of `rate` of all calls fails, each fault equally often."""
        return cls(faults=dict.fromkeys(Fault, rate / len(Fault)), seed=seed, slow_s=slow_s)
