"""What a contact can do with a mailing, and the id of each activity."""

import hashlib
import re
from dataclasses import dataclass
from enum import Enum, StrEnum

# Ids that are safe in a path, a key or a log line.
USABLE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class ActivityType(Enum):
    """The six activities that Constant Contact v2 tracks for a contact."""

    SENT = ("sent", "sends", "Email Sent")
    OPENED = ("opened", "opens", "Email Opened")
    CLICKED = ("clicked", "clicks", "Email Link Clicked")
    FORWARDED = ("forwarded", "forwards", "Email Forwarded")
    BOUNCED = ("bounced", "bounces", "Email Bounced")
    UNSUBSCRIBED = ("unsubscribed", "unsubscribes", "Email Unsubscribed")

    def __init__(self, past_tense: str, report: str, detail_type: str) -> None:
        self.past_tense = past_tense
        self.report = report
        self.detail_type = detail_type

    @property
    def event_type(self) -> str:
        """The CloudEvents `type`, with the version of the contract."""
        return f"contact-activity.email.{self.past_tense}.v1"

    @property
    def schema_uri(self) -> str:
        """The CloudEvents `dataschema`: the `$id` of the schema in `events/schemas/`."""
        return f"urn:contact-activity:email.{self.past_tense}:v1"


class BounceCategory(StrEnum):
    HARD = "hard"
    SOFT = "soft"
    BLOCKED = "blocked"
    AUTO_REPLY = "auto_reply"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Link:
    id: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Bounce:
    code: str | None
    category: BounceCategory
    description: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    source: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Activity:
    """One activity of one contact. None is a field that the provider left out; "" is kept.

    `provider_time` and `provider_type` are the provider's own words for `occurred_ms` and `type`. Free
    text has its full length: an e-mail address in it is hidden before it is cut. `missing`: what only a
    report that does not show it would tell.
    """

    type: ActivityType
    contact_id: str
    campaign_id: str | None
    occurred_ms: int
    provider_time: str
    provider_type: str
    email_address: str | None = None
    link: Link | None = None
    bounce: Bounce | None = None
    unsubscribe: Unsubscribe | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is no activity, and why.

    Only the digest (16 hex digits) may be logged, since the row holds personal data.
    """

    reason: str
    digest: str


def derive_id(account: str, activity: Activity) -> str:
    """The id of an activity, which the API does not give. Equal activities have equal ids for ever.

    The first 32 hex digits of SHA-256 over account, provider type, campaign, contact, time in ms and
    link, joined by newlines. A part that the provider left out is empty.
    """
    link_id = activity.link.id if activity.link else None
    key = (
        account,
        activity.provider_type,
        activity.campaign_id or "",
        activity.contact_id,
        str(activity.occurred_ms),
        link_id or "",
    )
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]
