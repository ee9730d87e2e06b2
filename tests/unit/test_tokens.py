"""The tokens of the v3 API: when they are refreshed, and what an answer means."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.constant_contact.token_answers import (
    Busy,
    Denied,
    DeviceCode,
    Lost,
    read_device_answer,
    read_token_answer,
)
from contact_activity.domain.tokens import AccessToken, Granted, Step, StoredTokens
from tests.support.rows import ANY_TEXT

DAY_MS = 86_400_000
ANSWER = {"access_token": "a-1", "refresh_token": "r-1", "expires_in": 86_400, "token_type": "Bearer"}
GRANTED = Granted("a-1", "r-1", DAY_MS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ANSWER, "error"]), inner),
    max_leaves=8,
)


def stored(asked_ms: int = 0, life_ms: int = DAY_MS, **changes: object) -> StoredTokens:
    tokens = StoredTokens("c", "r", AccessToken("a", asked_ms, asked_ms + life_ms))
    return replace(tokens, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("life_ms", [DAY_MS, 10_000, 10])
def test_a_token_is_refreshed_when_a_tenth_of_its_life_is_left(life_ms: int) -> None:
    """Whether that is hours or a millisecond."""
    tokens = stored(1_000, life_ms)
    due_ms = 1_000 + life_ms * 9 // 10
    assert tokens.next_step(due_ms - 1) is Step.USE
    assert tokens.next_step(due_ms) is Step.REFRESH
    assert tokens.next_step(1_000 + life_ms) is Step.REFRESH


def test_a_token_that_the_api_refuses_is_refreshed_at_once() -> None:
    """However young it is."""
    assert stored().next_step(1, is_refused=True) is Step.REFRESH
    assert stored(refresh_token=None).next_step(1, is_refused=True) is Step.GIVE_UP


def test_a_token_of_a_clock_that_ran_ahead_is_refreshed() -> None:
    """Nobody knows how long it lives. A few seconds are no matter."""
    assert stored(asked_ms=30_000).next_step(0) is Step.USE
    assert stored(asked_ms=90_000).next_step(0) is Step.REFRESH


def test_a_refresh_token_without_an_answer_is_sent_once_more_when_nothing_else_is_left() -> None:
    """While the access token lives, it is used."""
    once = stored().sending(DAY_MS * 9 // 10)
    assert once.next_step(DAY_MS - 1) is Step.USE
    assert once.next_step(DAY_MS) is Step.REFRESH
    assert once.next_step(1, is_refused=True) is Step.REFRESH
    twice = once.sending(DAY_MS)
    assert twice.next_step(DAY_MS) is Step.GIVE_UP
    assert twice.not_spent().next_step(DAY_MS) is Step.REFRESH


def test_a_dead_refresh_token_leaves_the_access_token_its_life() -> None:
    """And so does none at all."""
    for tokens in (stored().dead(), stored(refresh_token=None)):
        assert tokens.next_step(DAY_MS - 1) is Step.USE
        assert tokens.next_step(DAY_MS) is Step.GIVE_UP
    assert StoredTokens().next_step(0) is Step.GIVE_UP


def test_an_answer_without_a_refresh_token_keeps_the_old_one() -> None:
    """Long-lived refresh tokens are not rotated."""
    kept = stored().sending(5).renewed(Granted("a-2", None, 1_000), asked_ms=5)
    assert (kept.refresh_token, kept.unanswered) == ("r", 0)
    assert kept.access == AccessToken("a-2", 5, 1_005)
    assert stored().renewed(GRANTED, asked_ms=5).refresh_token == "r-1"


def test_what_was_taken_from_the_environment_is_known_for_ever() -> None:
    """Whoever logs in or out after that. Nothing else is left of an earlier credential."""
    taken = stored().taking("r-9", "c-9")
    assert taken.has_taken("r-9", "c-9")
    assert taken.access is None
    assert taken.next_step(0) is Step.REFRESH
    later = taken.sending(1).dead().logged_in("c-2", Granted("a-2", None, 1_000), asked_ms=7)
    assert later.has_taken("r-9", "c-9")
    assert (later.refresh_token, later.is_dead, later.unanswered) == (None, False, 0)
    assert later.logged_out().has_taken("r-9", "c-9")
    assert later.logged_out().is_empty


def test_what_a_token_of_the_environment_replaced_is_kept_until_that_has_worked() -> None:
    """Of two that did not work yet, what worked before is kept. All of them stay taken."""
    login = stored()
    one, other = login.taking("r-9", "c-9"), login.taking("r-9", "c-9").taking("r-8", "c-9")
    for taking in (one, other, other.sending(1).dead()):
        back = taking.restored()
        assert (back.refresh_token, back.access, back.is_dead) == ("r", login.access, False)
        assert back.taken == taking.taken
    assert other.has_taken("r-9", "c-9")
    assert other.has_taken("r-8", "c-9")
    granted = other.sending(1).renewed(GRANTED, asked_ms=1)
    assert granted.is_unproven
    assert granted.restored().refresh_token == "r"
    assert granted.taking("r-7", "c-9").restored().refresh_token == "r-1"
    worked = granted.proven()
    assert worked.restored() == worked
    assert StoredTokens().taking("r-9", "c").restored().refresh_token == "r-9"
    assert other.logged_out().restored().is_empty


def test_another_application_for_a_token_is_another_try() -> None:
    """The client id may have been wrong, and not the token. Whatever else is stored keeps its own."""
    refused = StoredTokens().taking("r-9", "c-wrong").dead()
    assert refused.of_client("r-9", "c-9").next_step(0) is Step.REFRESH
    assert refused.of_client("r-9", "c-9").client_id == "c-9"
    assert refused.of_client("r-9", "c-wrong") == refused
    assert stored().of_client("r-9", "c-9") == stored()


def test_it_is_so_too_where_the_token_has_been_given_up_for_what_it_replaced() -> None:
    """Once it has worked it is good for nobody."""
    back = stored().taking("r-9", "c-wrong").dead().restored()
    assert back.has_taken("r-9", "c-wrong")
    assert not back.has_taken("r-9", "c-9")
    worked = back.taking("r-9", "c-9").renewed(GRANTED, asked_ms=1)
    assert worked.has_taken("r-9", "c-9")
    assert worked.has_taken("r-9", "c-any")


def test_a_copy_of_what_came_of_a_login_is_not_taken_once_that_has_been_replaced() -> None:
    """Whoever sends it again ends the whole login."""
    copied = stored().of_client("r", "c").renewed(GRANTED, asked_ms=1)
    assert copied.refresh_token == "r-1"
    assert copied.has_taken("r", "c")


def test_no_token_is_shown() -> None:
    """Not in the text of anything that holds one."""
    shown = repr((stored().taking("hunter2", "c"), Granted("hunter2", "hunter2", 1)))
    shown += repr((AccessToken("hunter2", 0, 1), DeviceCode("hunter2", "u", "https://u", None, 5, 900)))
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, ANSWER, GRANTED),
        (200, ANSWER | {"expires_in": "86400"}, GRANTED),
        (200, ANSWER | {"expires_in": 5}, Granted("a-1", "r-1", 5_000)),
        (200, ANSWER | {"expires_in": 0}, Granted("a-1", "r-1", 3_600_000)),
        (200, {"access_token": "a-1"}, Granted("a-1", None, 3_600_000)),
        (200, ANSWER | {"refresh_token": None}, Granted("a-1", None, DAY_MS)),
        (200, ANSWER | {"refresh_token": ""}, Granted("a-1", None, DAY_MS)),
        (200, ANSWER | {"refresh_token": 7}, Lost("an answer that cannot be read")),
        (200, ANSWER | {"access_token": "a\n1"}, Lost("an answer that cannot be read")),
        (200, {"error": "invalid_grant"}, Denied("invalid_grant")),
        (200, {"error": "says_the_server"}, Lost("an answer that cannot be read")),
        (200, {"error": "invalid_grant", "access_token": "a\n1"}, Lost("an answer that cannot be read")),
        (200, None, Lost("an answer that is no JSON object", is_elsewhere=True)),
        (400, {"error": "invalid_grant", "error_description": "secret"}, Denied("invalid_grant")),
        (401, {"error": "invalid_client"}, Denied("invalid_client")),
        (400, {"error": "temporarily_unavailable"}, Busy("status 400")),
        (400, {"error": ["invalid_grant"]}, Busy("status 400")),
        (400, {"error": {"message": "secret"}}, Busy("status 400")),
        (200, {"error": ["invalid_grant"]}, Lost("an answer that cannot be read")),
        (400, None, Busy("status 400", is_elsewhere=True)),
        (403, ["<html>"], Busy("status 403", is_elsewhere=True)),
        (404, {"error": "not_found"}, Busy("status 404", is_elsewhere=True)),
        (405, None, Busy("status 405", is_elsewhere=True)),
        (408, None, Busy("status 408")),
        (503, None, Busy("status 503")),
        (429, {"error": "invalid_grant"}, Busy("status 429", 3.0)),
        (500, {"error": "invalid_grant"}, Busy("status 500", 3.0)),
        (302, None, Busy("status 302", is_elsewhere=True)),
    ],
)
def test_what_an_answer_means(status: int, body: object, answer: object) -> None:
    """Only an error of RFC 6749 in a 4xx or a 200 is a refusal; any other 200 without a token is lost."""
    wait_s = 3.0 if status in (429, 500) else 0.0
    assert read_token_answer(status, body, wait_s) == answer


@given(st.integers(100, 599), JSON)
def test_any_answer_can_be_read(status: int, body: object) -> None:
    """Nothing raises, whatever the server sends."""
    assert read_token_answer(status, body) is not None
    assert read_device_answer(status, body) is not None


def test_a_device_code_has_defaults_and_is_fit_to_be_shown() -> None:
    """RFC 8628 lets the server leave out the interval. An address is printed, so it holds no control code."""
    body: dict[str, object] = {"device_code": "d", "user_code": "U-1", "verification_uri": "https://u"}
    assert read_device_answer(200, body) == DeviceCode("d", "U-1", "https://u", None, 5, 900)
    assert read_device_answer(200, body | {"expires_in": 0}) == read_device_answer(200, body)
    full = body | {"verification_uri_complete": "https://u?c", "interval": 2, "expires_in": 60}
    assert read_device_answer(200, full) == DeviceCode("d", "U-1", "https://u", "https://u?c", 2, 60)
    for broken in ({"user_code": "\x1b[2J"}, {"verification_uri": "file:///etc"}, {"device_code": None}):
        assert isinstance(read_device_answer(200, body | broken), Lost)
    for status in (200, 400):
        assert read_device_answer(status, {"error": "invalid_scope"}) == Denied("invalid_scope")
