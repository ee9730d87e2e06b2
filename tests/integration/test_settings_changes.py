"""Settings changed over an existing state: what is published again, what is not, what never is."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contact_activity.simulated import Kind, Server, SimulatedAccount
from tests.support.running import CAMPAIGN, NOW, ActivityKey, Operator, served, truth_of

KINDS = (Kind.SEND, Kind.OPEN, Kind.CLICK)
DAYS = (1, 10, 30)


def spread_account() -> SimulatedAccount:
    """Three contacts with a send, an open and a click a day, ten days and thirty days ago."""
    account = SimulatedAccount()
    for number in range(3):
        contact = account.add_contact(f"c{number}@example.org", at=NOW - timedelta(days=60))
        for day in DAYS:
            for minutes, kind in enumerate(KINDS):
                account.add_row(kind, contact.id, CAMPAIGN, at=NOW - timedelta(days=day, minutes=-minutes))
    return account


@pytest.fixture
def account() -> SimulatedAccount:
    return spread_account()


@pytest.fixture
def server(account: SimulatedAccount) -> Iterator[Server]:
    with served(account) as server:
        yield server


@pytest.fixture
def operator(tmp_path: Path, server: Server) -> Operator:
    return Operator.of(tmp_path, server)


@pytest.fixture(params=["all is remembered", "most is forgotten"])
def any_operator(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Operator:
    """One whose state remembers every activity, and one whose state knows most of them by a floor alone."""
    forgets = {"REMEMBERED_ACTIVITIES": "2", "OVERLAP_HOURS": "1"}
    return Operator.of(tmp_path, server, **(forgets if request.param == "most is forgotten" else {}))


def published_by(operator: Operator, **settings: str) -> list[ActivityKey]:
    """What one more run with these settings adds."""
    return [key for key, _ in details_by(operator, **settings)]


def details_by(operator: Operator, **settings: str) -> list[tuple[ActivityKey, dict[str, Any]]]:
    before = len(operator.events())
    kept = dict(operator.environment)
    operator.environment.update(settings)
    done = operator.run("--all")
    operator.environment = kept
    assert done.returncode == 0, done.stderr
    details = [event["detail"] for event in operator.events()[before:]]
    return list(zip(operator.published()[before:], details, strict=True))


def day(days_ago: int) -> str:
    return (NOW - timedelta(days=days_ago)).strftime("%Y-%m-%d")


def since(account: SimulatedAccount, days_ago: int) -> set[ActivityKey]:
    return {key for key in truth_of(account) if key[3] >= day(days_ago)}


def of(account: SimulatedAccount, *kinds: Kind) -> set[ActivityKey]:
    return {key for key in truth_of(account) if key[0] in {kind.activity_type for kind in kinds}}


def add_click(account: SimulatedAccount, hours_ago: float = 0.5) -> set[ActivityKey]:
    """One more click of the first contact; what it adds to the truth."""
    before = truth_of(account)
    at = NOW - timedelta(hours=hours_ago)
    account.add_row(Kind.CLICK, account.contacts()[0].id, CAMPAIGN, at=at, link_id="77")
    return truth_of(account) - before


def test_an_earlier_start_date_adds_the_time_between_and_nothing_twice(
    any_operator: Operator, account: SimulatedAccount
) -> None:
    """With `START_DATE` moved back, then removed, each run publishes what the earlier ones left out."""
    first = published_by(any_operator, START_DATE=day(5))
    second = published_by(any_operator, START_DATE=day(20))
    third = published_by(any_operator)
    assert set(first) == since(account, 5)
    assert sorted(second) == sorted(since(account, 20) - since(account, 5))
    assert sorted(third) == sorted(truth_of(account) - since(account, 20))
    assert published_by(any_operator) == []


def test_a_later_start_date_narrows_the_window_and_takes_nothing_back(
    operator: Operator, account: SimulatedAccount
) -> None:
    """With `START_DATE` moved on nothing is published again, then or when it is moved back."""
    assert set(published_by(operator)) == truth_of(account)
    assert published_by(operator, START_DATE=day(5)) == []
    late = add_click(account, hours_ago=24 * 8)
    assert published_by(operator, START_DATE=day(5)) == []
    assert published_by(operator, START_DATE=day(20)) == sorted(late)
    assert published_by(operator) == []


def test_a_start_date_that_is_moved_on_and_back_repeats_nothing(
    any_operator: Operator, account: SimulatedAccount
) -> None:
    """What comes in below the later date is published once the date is moved back; nothing twice."""
    assert set(published_by(any_operator)) == truth_of(account)
    fresh = add_click(account, hours_ago=20)
    assert published_by(any_operator, START_DATE=NOW.isoformat()) == []
    assert published_by(any_operator, START_DATE=day(25)) == sorted(fresh)
    assert published_by(any_operator) == []


def test_another_report_adds_that_types_history_and_nothing_twice(
    any_operator: Operator, account: SimulatedAccount
) -> None:
    """From one type to a list to `all`, each run publishes the whole history of the types it adds."""
    assert set(published_by(any_operator, REPORTS="opens")) == of(account, Kind.OPEN)
    second = published_by(any_operator, REPORTS="opens,clicks")
    assert sorted(second) == sorted(of(account, Kind.CLICK))
    third = published_by(any_operator, REPORTS="all")
    assert sorted(third) == sorted(of(account, Kind.SEND))
    assert published_by(any_operator, REPORTS="sends,clicks") == []
    fresh = add_click(account)
    assert published_by(any_operator, REPORTS="opens") == []
    assert published_by(any_operator, REPORTS="clicks") == sorted(fresh)
    assert published_by(any_operator) == []


def test_another_account_name_publishes_the_window_again_with_other_ids(
    any_operator: Operator, account: SimulatedAccount
) -> None:
    """With `ACCOUNT` changed every activity is published anew, and no id is one that was used before."""
    first = details_by(any_operator, ACCOUNT="one")
    second = details_by(any_operator, ACCOUNT="two")
    window = [key for key, _ in second]
    assert sorted(key for key, _ in first) == sorted(truth_of(account))
    is_window_all = "REMEMBERED_ACTIVITIES" not in any_operator.environment
    assert set(window) == truth_of(account) if is_window_all else set(window) >= since(account, 1)
    ids = {detail["id"] for _, detail in [*first, *second]}
    assert len(ids) == len(first) + len(second) == len(truth_of(account)) + len(set(window))
    assert {detail["source"] for _, detail in second} == {"/constant-contact/two"}
    assert published_by(any_operator, ACCOUNT="two") == []


def test_another_address_mode_is_for_new_events_only(operator: Operator, account: SimulatedAccount) -> None:
    """With `EMAIL_ADDRESSES` changed nothing is published again; what is new carries the new form."""
    assert set(published_by(operator)) == truth_of(account)
    assert published_by(operator, EMAIL_ADDRESSES="hashed") == []
    forms = []
    for hours_ago, mode in ((3, "hashed"), (2, "omitted"), (1, "plain")):
        late = add_click(account, hours_ago=hours_ago)
        [(key, detail)] = details_by(operator, EMAIL_ADDRESSES=mode)
        assert {key} == late
        forms.append(sorted(detail["data"]["contact"]))
    assert forms == [["email_address_sha256", "id"], ["id"], ["email_address", "id"]]


def test_ids_do_not_depend_on_the_address_mode(tmp_path: Path, server: Server) -> None:
    """The same activities have the same ids whatever `EMAIL_ADDRESSES` says."""
    ids = []
    for mode in ("plain", "hashed", "omitted"):
        (tmp_path / mode).mkdir()
        operator = Operator.of(tmp_path / mode, server, EMAIL_ADDRESSES=mode)
        ids.append({key: detail["id"] for key, detail in details_by(operator)})
    assert ids[0] == ids[1] == ids[2]


def test_a_smaller_memory_is_kept_to_from_the_next_sync_on(
    operator: Operator, account: SimulatedAccount
) -> None:
    """With `REMEMBERED_ACTIVITIES` and `OVERLAP_HOURS` lowered, then raised, nothing comes twice.

    What was forgotten meanwhile stays forgotten: a late activity older than that is not published.
    """
    assert set(published_by(operator)) == truth_of(account)
    small = {"REMEMBERED_ACTIVITIES": "2", "OVERLAP_HOURS": "48"}
    assert published_by(operator, **small) == []
    assert published_by(operator, **small) == []
    inside = add_click(account, hours_ago=30)
    assert published_by(operator, **small) == sorted(inside)
    add_click(account, hours_ago=24 * 20)
    assert published_by(operator, **small) == []
    assert published_by(operator) == []
    again_inside = add_click(account, hours_ago=31)
    assert published_by(operator) == sorted(again_inside)
