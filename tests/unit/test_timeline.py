"""What a subscriber keeps of an event."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.times import iso
from contact_activity.example_subscriber.timeline import Entry, UnusableEventError, entry_of

SAMPLES = {
    type_.past_tense: json.loads(
        (Path(__file__).parents[2] / "events" / "samples" / f"email.{type_.past_tense}.v1.json").read_text()
    )
    for type_ in ActivityType
}
LATEST_MS = 253_402_300_799_999


def changed(path: str, value: Any) -> dict[str, Any]:
    """The click of the samples with one field of another value; without it, if that is None."""
    event: dict[str, Any] = copy.deepcopy(SAMPLES["clicked"])
    *parents, name = path.split(".")
    place = event
    for parent in parents:
        place = place[parent]
    place[name] = value
    if value is None:
        del place[name]
    return event


@pytest.mark.parametrize("past_tense", SAMPLES)
def test_an_entry_says_who_did_what_when_and_no_address(past_tense: str) -> None:
    """Of each sample the ids, the type and the time are kept, and nothing that a person wrote or is."""
    detail = SAMPLES[past_tense]["detail"]
    data = detail["data"]
    assert entry_of(SAMPLES[past_tense]) == Entry(
        id=detail["id"],
        contact_id=data["contact"]["id"],
        time=detail["time"],
        type=past_tense,
        campaign_id=data["campaign"]["id"],
        link_id=data.get("link", {}).get("id"),
        bounce_category=data.get("bounce", {}).get("category"),
    )
    assert data["contact"]["email_address"] not in repr(entry_of(SAMPLES[past_tense]))


def test_what_an_event_may_lack_is_none() -> None:
    """A click without campaign and link is an entry all the same."""
    event = changed("detail.data.campaign", None)
    del event["detail"]["data"]["link"]
    entry = entry_of(event)
    assert (entry.campaign_id, entry.link_id, entry.bounce_category) == (None, None, None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("detail", None),
        ("detail", "{}"),
        ("detail.id", None),
        ("detail.id", 4711),
        ("detail.id", "9EAD4C4746ECEE1A5849AF6BC8511B0F"),
        ("detail.time", None),
        ("detail.time", "2024-06-12T08:15:44Z"),
        ("detail.time", "2024-06-12T10:15:44.731+02:00"),
        ("detail.time", "yesterday"),
        ("detail.data", ["ada@example.org"]),
        ("detail.data.contact.id", None),
        ("detail.data.contact.id", ""),
        ("detail.data.contact.id", 4711),
        ("detail.data.activity", {}),
    ],
)
def test_an_event_that_breaks_the_contract_is_refused_by_the_name_of_the_field(path: str, value: Any) -> None:
    """The error names a field of the contract and repeats nothing of the event."""
    with pytest.raises(UnusableEventError, match=r"^an event without a usable detail\.[a-z.]+$"):
        entry_of(changed(path, value))


@given(st.integers(1, LATEST_MS), st.integers(1, LATEST_MS))
def test_keys_sort_as_their_times_do(one_ms: int, other_ms: int) -> None:
    """In alphabetical order the keys of a contact are in order of time, over all years that there are."""
    one, other = (entry_of(changed("detail.time", iso(time_ms))) for time_ms in (one_ms, other_ms))
    assert (one.time_id < other.time_id) == (one_ms < other_ms)


def test_two_activities_of_one_millisecond_are_two_entries() -> None:
    """The id is part of the key."""
    one = entry_of(SAMPLES["clicked"])
    other = entry_of(changed("detail.id", "0" * 32))
    assert one.time == other.time
    assert one.time_id != other.time_id
