"""The targets of the fuzzer, fed by Hypothesis: with what is nearly right as well as with anything."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contact_activity.settings import SETTINGS
from tests.fuzz import targets
from tests.fuzz.seeds import seeds_of
from tests.support.rows import ANY_TEXT, JSON, rows

Target = Callable[[bytes], None]
FIRST = st.integers(0, 255).map(lambda first: bytes([first]))
# Few of all characters are lone surrogates, and those are what breaks.
TEXT = ANY_TEXT | st.just("\ud800")
LINKS = TEXT.map(lambda token: f"/v2/x?next={token}") | JSON
PAGES = st.fixed_dictionaries(
    {"results": st.lists(rows(), max_size=12)},
    optional={
        "meta": st.fixed_dictionaries(
            {"pagination": st.fixed_dictionaries({}, optional={"next_link": LINKS})}
        )
    },
)
V3_ROWS = st.fixed_dictionaries(
    {
        "contact_id": st.sampled_from(["4711", "4712"]),
        "tracking_activity_type": st.sampled_from(["em_clicks", "em_clicks", "em_opens", "em_bounces"]),
        "created_time": st.sampled_from(["2024-06-12T08:15:00.000Z", "2024-06-12T08:16:00.000Z"]),
    },
    optional=dict.fromkeys(("url_id", "link_url", "bounce_code", "email_address"), TEXT | JSON),
)
V3_LINKS = st.fixed_dictionaries({}, optional={"next": JSON | st.fixed_dictionaries({"href": LINKS})})
V3_PAGES = st.fixed_dictionaries(
    {"tracking_activities": st.lists(V3_ROWS | JSON, max_size=8)}, optional={"_links": V3_LINKS | JSON}
)
CAMPAIGN_IDS = st.sampled_from([targets.CAMPAIGN, int(targets.CAMPAIGN), "", None])
REPORTED = st.builds(
    lambda row, contact_id, campaign_id: (
        {**row, "contact_id": contact_id, "campaign_id": campaign_id} if isinstance(row, dict) else row
    ),
    rows(),
    st.sampled_from(["4711", 4711]) | JSON,
    CAMPAIGN_IDS,
)
REPORTS = st.fixed_dictionaries({"results": st.lists(REPORTED, max_size=6)})
LINK_DETAILS = st.fixed_dictionaries({}, optional={"url_uid": TEXT | JSON, "url": TEXT | JSON})
CAMPAIGNS = st.fixed_dictionaries(
    {"id": CAMPAIGN_IDS},
    optional={
        "click_through_details": st.lists(LINK_DETAILS | JSON, max_size=6) | JSON,
        "last_run_date": TEXT | JSON | st.just("2024-06-12T08:15:40.207Z"),
    },
)
COUNTS = st.dictionaries(
    st.sampled_from(["sends", "opens", "clicks", "forwards", "unsubscribes", "bounces", "campaign_id"]), JSON
)
LISTED = st.fixed_dictionaries({"id": JSON | st.just("4711"), "modified_date": TEXT | JSON})
LISTED_V3 = st.fixed_dictionaries(
    {},
    optional={
        "contact_id": JSON | st.just(targets.CONTACT),
        "updated_at": TEXT | JSON,
        "campaign_id": JSON | st.just(targets.PARENT),
        "last_sent_date": TEXT | JSON | st.just("2024-06-12T08:15:40.207Z"),
        "campaign_activity_id": TEXT | JSON | st.just(targets.MAILING),
        "role": st.sampled_from(["primary_email", "resend", "permalink"]) | JSON,
    },
)
EM_COUNTS = dict.fromkeys(("em_sends", "em_opens", "em_clicks", "em_optouts"), st.integers(-1, 9) | JSON)
COUNTS_V3 = st.fixed_dictionaries(
    {"campaign_activity_id": st.just(targets.MAILING) | JSON}, optional=dict(EM_COUNTS)
)
STATS_V3 = st.fixed_dictionaries(
    {"campaign_activity_id": st.just(targets.MAILING) | JSON},
    optional={"stats": st.fixed_dictionaries({}, optional=dict(EM_COUNTS)) | JSON, "campaign_id": JSON},
)
TOKEN_FIELDS = st.sampled_from(
    [
        *("access_token", "refresh_token", "expires_in", "error", "device_code", "user_code"),
        *("verification_uri", "verification_uri_complete", "interval"),
    ]
)
SETTING_VALUES = st.sampled_from([setting.default for setting in SETTINGS]) | ANY_TEXT


def as_answer(body: st.SearchStrategy[object]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda first, value: first + json.dumps(value).encode(), FIRST, body)


INPUTS = {
    "answer": as_answer(PAGES | JSON),
    "report": as_answer(REPORTS | PAGES | JSON),
    "campaign": as_answer(CAMPAIGNS | JSON),
    "vouched": as_answer(V3_PAGES | JSON),
    "listing": as_answer(st.fixed_dictionaries({"results": st.lists(LISTED, max_size=5)}) | JSON),
    "summary": as_answer(COUNTS | st.lists(COUNTS, max_size=4) | JSON),
    "listing_v3": as_answer(
        st.fixed_dictionaries(
            {},
            optional={
                "contacts": st.lists(LISTED_V3 | JSON, max_size=4),
                "bulk_email_campaign_summaries": st.lists(LISTED_V3 | JSON, max_size=4),
                "campaign_id": st.sampled_from([targets.PARENT, "x"]),
                "campaign_activities": st.lists(LISTED_V3 | JSON, max_size=4) | JSON,
                "_links": V3_LINKS | JSON,
            },
        )
        | JSON
    ),
    "summary_v3": as_answer(
        st.fixed_dictionaries(
            {"contact_id": st.sampled_from([targets.CONTACT, "x", None])},
            optional={
                "campaign_activities": st.lists(COUNTS_V3 | JSON, max_size=4),
                "results": st.lists(STATS_V3 | JSON, max_size=3),
                "_links": V3_LINKS,
            },
        )
        | JSON
    ),
    "tokens": as_answer(st.dictionaries(TOKEN_FIELDS, TEXT | JSON) | JSON),
    "message": st.fixed_dictionaries(
        {"planned_at": ANY_TEXT | st.just("2026-01-31T00:00:00Z")},
        optional={"contact_id": JSON | st.just("4711"), "campaign_id": JSON, "correlation_id": JSON},
    ).map(lambda body: json.dumps(body).encode()),
    "settings": st.lists(
        st.builds(lambda first, value: first + value.encode("utf-8", "replace"), FIRST, SETTING_VALUES),
        max_size=6,
    ).map(b"\n".join),
    "secret": st.dictionaries(st.sampled_from(["api_key", "access_token"]), JSON | ANY_TEXT).map(
        lambda value: json.dumps(value).encode()
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", targets.TARGETS)
@settings(max_examples=400)
@given(data=st.data())
def test_any_input_has_a_documented_outcome(name: str, data: st.DataObject) -> None:
    """What is not used is told by the documented error; what is used can be published and stored."""
    targets.TARGETS[name](data.draw(INPUTS[name] | INPUTS[name] | st.binary(max_size=200)))


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_fuzzer_begins_with_what_is_right(name: str) -> None:
    """Each target has inputs to begin with, and takes them."""
    seeds = seeds_of(name)
    assert seeds
    for seed in seeds:
        targets.TARGETS[name](seed)
