"""Rows and activities for tests, and strategies that make random ones."""

from hypothesis import strategies as st

from contact_activity.constant_contact.v2_rows import PROVIDER_TYPES, TIME_FIELDS
from contact_activity.domain.activity import Activity, ActivityType, Link

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOON_MS = 1_718_193_600_000
"""2024-06-12T12:00:00Z."""

# Every code point, lone surrogates too: `json.loads` lets them through.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)
TYPES = st.sampled_from(ActivityType)
TIMES_MS = st.integers(min_value=1, max_value=4_102_444_800_000)


def row(type_: ActivityType = ActivityType.OPENED, **fields: object) -> dict[str, object]:
    """A row as the API sends it, with `fields` added or replaced."""
    return {
        "activity_type": PROVIDER_TYPES[type_],
        "campaign_id": "1117643206590",
        "contact_id": "4711",
        "email_address": "ada@example.org",
        TIME_FIELDS[type_]: "2024-06-12T08:15:40.207Z",
        **fields,
    }


def activity(
    at_ms: int,
    type_: ActivityType = ActivityType.OPENED,
    *,
    contact_id: str = "1",
    link_id: str | None = None,
) -> Activity:
    """An activity of a contact, told from others by its time, type and link."""
    return Activity(
        type=type_,
        contact_id=contact_id,
        campaign_id="7",
        occurred_ms=at_ms,
        provider_time="",
        provider_type=PROVIDER_TYPES[type_],
        link=Link(link_id, None) if link_id is not None else None,
    )


@st.composite
def rows(draw: st.DrawFn) -> object:
    """Anything from a plausible row to arbitrary JSON."""
    type_ = draw(TYPES)
    names = [
        "campaign_id",
        "contact_id",
        "email_address",
        "link_id",
        "link_uri",
        "bounce_code",
        "bounce_description",
        "bounce_message",
        "unsubscribe_source",
        "unsubscribe_reason",
    ]
    fields = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, JSON)))
    stamp = st.builds(
        lambda at, between: f"{at:%Y-%m-%d}{between}{at:%H:%M:%S}Z", st.datetimes(), st.characters()
    )
    plausible = {"activity_type": PROVIDER_TYPES[type_], TIME_FIELDS[type_]: draw(stamp), **fields}
    return draw(st.just(plausible) | JSON)
