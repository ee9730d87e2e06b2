"""What the simulated API does where the real one is unknown, and how it fails.

Each switch is a behaviour that no source settles, or a recorded oddity; the defaults are the
likeliest. All faults are off by default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum


class Cursor(StrEnum):
    """What a tracking list's `next` holds."""

    TIME = "time"
    """`limit=6&next=<ms of the page's last row>`, as the one real capture has it."""
    OFFSET = "offset"
    """`startAt=7&limit=6`, as the portal's samples have it; new rows shift the pages."""


class Tie(StrEnum):
    """What a time cursor does to rows of one millisecond at the edge of a page."""

    STRETCHED = "stretched"
    """The page goes on to the end of the millisecond: nothing is lost, nothing repeated."""
    REPEATED = "repeated"
    """The next page begins with that millisecond again."""
    LOST = "lost"
    """The next page begins before it: what was left of it is in no page."""


class Order(StrEnum):
    NEWEST_FIRST = "newest_first"
    OLDEST_FIRST = "oldest_first"


class BadValue(StrEnum):
    REFUSED = "refused"
    """400."""
    IGNORED = "ignored"
    """As if the parameter were not there."""


class Fault(Enum):
    """One way in which one call fails or misleads; those on `next` do nothing to a call without."""

    UNAUTHORIZED = "401 for a good token; at most once between two accepted calls"
    OVER_QPS = "403 mashery.not.authorized.over.qps, though the second is not used up"
    TOO_MANY = "429 with an error body"
    SERVER_ERROR = "500 with an error body"
    BAD_GATEWAY = "502 with an empty body"
    UNAVAILABLE_HTML = "503 with an HTML page"
    EMPTY_BODY = "200 with an empty body"
    TRUNCATED_JSON = "200 with half of the JSON and the length of that half"
    CUT_CONNECTION = "200 with the length of the whole body, closed after half of it"
    CLOSED_CONNECTION = "closed without any answer"
    SLOW_BODY = "half of the body, a pause of `slow_s`, the other half"
    REPEATED_ROWS = "the page's rows, some of them twice"
    REPEATED_NEXT = "a page whose next_link has the token that asked for it"
    NEXT_REFUSED_400 = "400 for a good `next`"
    NEXT_REFUSED_404 = "404 for a good `next`"


@dataclass(frozen=True, slots=True)
class Switches:
    """How the simulated API behaves; shares and probabilities are from 0 to 1."""

    cursor: Cursor = Cursor.TIME
    """The cursor of tracking lists. Contacts always have offsets, campaigns page numbers."""
    tie: Tie = Tie.STRETCHED
    order: Order = Order.NEWEST_FIRST
    """The order of tracking lists; documented only for the list of all activities."""
    next_keeps_created_since: bool = True
    """Off: pages after the first ignore the `created_since` that the walk began with."""
    next_lifetime_s: float | None = None
    """Seconds after which a `next` is refused."""
    expired_next_status: int = 400
    """The answer to a `next` that is malformed or past its life."""
    wrong_next_path: bool = False
    """Links of tracking lists name a campaign's path, as the official sample of forwards does."""
    limit_plus_one: bool = False
    """A full page holds one row more than asked for, as measured on another v2 list."""
    page_rows_max: int = 500
    """No page is larger, whatever `limit` says: paging without thousands of rows."""
    bounces_honour_created_since: bool = False
    """On: a contact's bounces are filtered too; the best evidence says they are not."""
    bad_limit: BadValue = BadValue.REFUSED
    bad_created_since: BadValue = BadValue.REFUSED
    accept_anything: bool = False
    """On: `Accept: */*` and no `Accept` at all pass; documented is 406 for all but JSON."""

    numeric_ids: bool = False
    """Ids of contacts, campaigns and links are JSON numbers."""
    five_hour_shift: bool = False
    """Stamps of all but sends are 5 h early and say `Z`; filters and order go by them."""
    repeated_opens: bool = True
    """Off: only a contact's first open of a campaign is a row."""
    row_counters: bool = False
    """Rows of the list of all activities also hold `opens`, `clicks`, ... as integers."""
    missing_fields_share: float = 0.0
    """Rows (always the same ones) without address, link URL, bounce texts and unsubscribe reason."""
    unknown_type_share: float = 0.0
    """Contacts (always the same ones) whose list of all activities has a row of an unknown type."""
    unknown_bounce_code_share: float = 0.0
    """Bounces (always the same ones) with a letter that no documentation has."""
    unlisted_campaign_share: float = 0.0
    """Campaigns (always the same ones) that no list has and that answer 404."""
    retention_days: int | None = None
    """Days after which activity is no longer shown; no source states any."""
    contacts_newest_first: bool = False
    """On: contacts by modified date, newest first, so that a change shifts the pages."""
    removed_contacts_listed: bool = True
    """Off: REMOVED contacts are listed only when `status` asks for them."""
    extra_summary_fields: bool = False
    """A campaign's summary also has `campaign_id` and `spam_count`, as two fixtures have."""
    summary_every_h: float = 6.0
    """Hours between two computations of a campaign's summary; 0 is always fresh."""

    rate_limits: bool = True
    """Off: no call is refused for the quotas."""
    refused_calls_count: bool = True
    """Off: a call refused for a quota does not use it up."""
    over_qps_as_401: bool = False
    """Too many calls in a second are answered 401, as users have reported."""
    gateway_headers: bool = False
    """Quota answers also carry the headers that the gateway product is known for elsewhere."""
    retry_after_s: int | None = None
    """A `Retry-After` header on quota answers."""
    not_found_key: str = "http.status.not_found"
    not_acceptable_key: str = "http.status.not_acceptable"
    server_error_key: str = "http.status.internal_server_error"

    faults: Mapping[Fault, float] = field(default_factory=dict)
    """The probability of each fault, a call."""
    seed: int = 0
    """Equal seeds fail equally: the n-th call of a path meets the same fault in every run."""
    slow_s: float = 0.2
    """The pause of `Fault.SLOW_BODY`."""

    def __post_init__(self) -> None:
        if not 0 <= sum(self.faults.values()) <= 1:
            raise ValueError("the probabilities of all faults together must be from 0 to 1")

    @classmethod
    def faulty(cls, rate: float = 0.2, *, seed: int = 0, slow_s: float = 0.2) -> "Switches":
        """A share of `rate` of all calls fails, evenly in every way there is."""
        return cls(faults=dict.fromkeys(Fault, rate / len(Fault)), seed=seed, slow_s=slow_s)
