"""What is kept of a failure: a line that helps, with nothing in it of a person or a secret."""

from hypothesis import given
from hypothesis import strategies as st

from contact_activity.errors import (
    MAX_DESCRIPTION_CHARACTERS,
    Cause,
    FatalError,
    RefusedError,
    RetryError,
    describe,
    failure_kind,
    to_check,
)

CAUSES = st.sampled_from(Cause)
OUR_ERRORS = st.builds(FatalError, st.text()) | st.builds(RetryError, st.text(), st.none() | CAUSES)


@given(OUR_ERRORS)
def test_a_failure_is_told_in_one_short_line(error: Exception) -> None:
    """Whatever an error says fits into a line of a table, and into what is stored."""
    told = describe(error)
    assert len(told) <= MAX_DESCRIPTION_CHARACTERS
    assert len(told.splitlines()) <= 1


@given(st.integers(1, 999), CAUSES)
def test_failures_of_one_cause_are_of_one_kind(tries: int, cause: Cause) -> None:
    """However often it was tried, and whether or not the text says the cause already."""
    texts = (f"the API failed {tries} times", f"the API failed {tries} times: {cause}")
    assert {failure_kind(describe(RetryError(text, cause))) for text in texts} == {cause.value}


def test_a_failure_without_a_cause_is_a_kind_of_its_own() -> None:
    """What names no cause is counted by what it says."""
    assert failure_kind(describe(RefusedError("the API answered 401"))) == "the API answered 401"


@given(st.text(min_size=9))
def test_what_a_foreign_error_says_is_not_told(text: str) -> None:
    """It may hold an address or a key: its class and the place where it rose say enough."""
    assert describe(OSError(text)) == "OSError"
    assert describe(ValueError(RetryError(text))) == "ValueError"


@given(OUR_ERRORS)
def test_a_server_that_is_not_the_api_is_told_with_what_to_check(error: Exception) -> None:
    """A page of maintenance and a hotel's portal answer alike; nothing else is guessed at."""
    is_unusable = isinstance(error, RetryError) and error.cause is Cause.ANSWER_UNUSABLE
    assert ("CONSTANT_CONTACT_BASE_URL" in to_check(error)) == is_unusable
