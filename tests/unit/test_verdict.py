"""Reading an answer before it is judged: JSON, error key, waiting time, ids and counts."""

import json
import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.constant_contact.fields import count_of, id_text, is_of, usable_id
from contact_activity.constant_contact.transport import Reply
from contact_activity.constant_contact.verdict import (
    MAX_RETRY_AFTER_S,
    Answer,
    Verdict,
    judge_misfit,
    read_answer,
)
from tests.support.rows import JSON, NOON_MS

QPS, RATE = "mashery.not.authorized.over.qps", "mashery.not.authorized.over.ratelimit"
NOON = datetime.fromtimestamp(NOON_MS / 1_000, UTC)


def read(body: bytes = b"{}", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(Reply(200, named, body), NOON_MS)


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"NaN",
        b'{"campaign_id": NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b'{"a": [{"b": -1e400}]}',
        b"[1,]",
        b"{'a': 1}",
        b'["\xff"]',
        '["a"]'.encode("utf-16"),
        b"[" * 100_000,
        b"[" + b"9" * 5_000 + b"]",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_not_json_is_none(body: bytes) -> None:
    """Python could read some of these; other readers of an event could not."""
    assert read(body).body is None


def finite(value: object) -> bool:
    if isinstance(value, list):
        return all(finite(of) for of in value)
    if isinstance(value, dict):
        return all(finite(of) for of in value.values())
    return not isinstance(value, float) or math.isfinite(value)


@given(JSON)
def test_json_is_read_unless_a_number_is_not_finite(value: object) -> None:
    """All other JSON is read exactly as it was sent."""
    body = read(json.dumps(value).encode()).body
    assert body == (value if finite(value) else None)


# --- ids and counts -------------------------------------------------------------------------------


@given(st.integers(0, 2**53))
def test_an_id_and_a_count_are_the_same_in_every_form(number: int) -> None:
    """As text, as an integer, and as a whole float."""
    forms = [str(number), number, float(number)]
    assert {id_text(form) for form in forms} == {usable_id(form) for form in forms} == {str(number)}
    assert {count_of(form) for form in forms} == {number}
    assert all(is_of({"contact_id": form}, "contact_id", str(number)) for form in forms)


@pytest.mark.parametrize("value", [True, False, None, 1.5, 1e30, -1e30, math.nan, math.inf, [], {}, [3]])
def test_only_whole_numbers_are_ids_and_counts(value: object) -> None:
    """A boolean is not one, although Python treats it as an integer."""
    assert (id_text(value), usable_id(value), count_of(value)) == (None, None, None)


@pytest.mark.parametrize(
    "value", ["", "-1", "+1", "1.0", " 1", "1e3", "\u0661", "9" * 17, -1, 2**53 + 1, "nan"]
)
def test_other_text_is_not_a_count(value: object) -> None:
    """A count consists of digits, and is at most 2^53."""
    assert count_of(value) is None


@given(JSON, JSON)
def test_a_row_belongs_to_the_contact_that_it_names(row: object, named: object) -> None:
    """A row that names no contact fits every call."""
    assert is_of(row, "contact_id", "4711") or isinstance(row, dict)
    is_ours = named is None or named == "" or id_text(named) == "4711"
    assert is_of({"contact_id": named}, "contact_id", "4711") is is_ours


# --- an error with status 200 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "verdict", "verdict_with_cursor"),
    [
        (QPS, Verdict.SLOW_DOWN, Verdict.SLOW_DOWN),
        (RATE, Verdict.DAY_USED_UP, Verdict.DAY_USED_UP),
        ("mashery.not.authorized.inactive", Verdict.REFUSED, Verdict.REFUSED),
        ("http.status.authentication.invalid_token", Verdict.REFUSED, Verdict.REFUSED),
        ("http.status.not_found", Verdict.GONE, Verdict.NEXT_EXPIRED),
        ("http.status.bad_request", Verdict.FATAL, Verdict.NEXT_EXPIRED),
        ("http.status.internal_server_error", Verdict.RETRY, Verdict.RETRY),
        ("throttled", Verdict.SLOW_DOWN, Verdict.SLOW_DOWN),
        ("quota_exceeded", Verdict.DAY_USED_UP, Verdict.DAY_USED_UP),
        ("unauthorized", Verdict.REFUSED, Verdict.REFUSED),
        ("access_denied", Verdict.REFUSED, Verdict.REFUSED),
        ("contacts.api.not_found", Verdict.GONE, Verdict.NEXT_EXPIRED),
        ("reportingsvc.not_found.invalid_path_param.campaign_ids.", Verdict.GONE, Verdict.NEXT_EXPIRED),
        ("contacts.api.validation.error", Verdict.FATAL, Verdict.NEXT_EXPIRED),
        ("internal_server_error", Verdict.RETRY, Verdict.RETRY),
        ("unauthorized_but_busy", Verdict.RETRY, Verdict.RETRY),
        ("", Verdict.RETRY, Verdict.RETRY),
    ],
)
def test_the_key_of_an_error_with_status_200_decides(
    key: str, verdict: Verdict, verdict_with_cursor: Verdict
) -> None:
    """In an array or in an object, it counts like the status that it stands for."""
    error = {"error_key": key, "error_message": "..."}
    for body in (error, [error]):
        answer = read(json.dumps(body).encode())
        assert judge_misfit(answer, has_cursor=False) is verdict
        assert judge_misfit(answer, has_cursor=True) is verdict_with_cursor


# --- how long to wait -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("0", 0),
        ("7", 7),
        (" 60 ", 60),
        ("61", 60),
        ("9" * 20, 60),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
    ],
)
def test_retry_after_in_seconds(retry_after: str, wait_s: float) -> None:
    """At most a minute, and garbage is none."""
    assert read(retry_after=retry_after).retry_after_s == wait_s


@given(st.integers(-100, 100), st.integers(-86_400, 86_400))
def test_a_date_in_retry_after_is_compared_with_the_date_of_the_answer(
    ahead_s: int, their_clock_s: int
) -> None:
    """Without a readable `Date` it is compared with our own clock."""
    theirs = NOON + timedelta(seconds=their_clock_s)
    until = format_datetime(theirs + timedelta(seconds=ahead_s), usegmt=True)
    expected_s = min(MAX_RETRY_AFTER_S, max(0, ahead_s))
    assert read(retry_after=until, date=format_datetime(theirs, usegmt=True)).retry_after_s == expected_s
    ours = format_datetime(NOON + timedelta(seconds=ahead_s), usegmt=True)
    assert read(retry_after=ours).retry_after_s == expected_s
    assert read(retry_after=ours, date="some day").retry_after_s == expected_s


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
@pytest.mark.parametrize("date", ["Wed Nov 25 12:00:30 2026", "Wed, 25 Nov 2026 12:00:30 -0000"])
def test_a_date_without_a_zone_is_in_utc(zone: str, date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the time zone of this machine."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        sent = "Wed, 25 Nov 2026 12:00:00 GMT"
        assert read(retry_after=date, date=sent).retry_after_s == 30
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_retry_after_is_at_most_a_minute(retry_after: str, date: str) -> None:
    """Reading it never fails."""
    assert 0 <= read(retry_after=retry_after, date=date).retry_after_s <= MAX_RETRY_AFTER_S
