"""Which right is missing in v3, and how many reports are tried while one is."""

from collections.abc import Callable

import pytest

from contact_activity.constant_contact.client import ApiVersion, Call
from contact_activity.constant_contact.v3 import ConstantContactV3
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import CampaignReport, ReportId, ReportProgress
from contact_activity.domain.contact import ContactOutline
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import ReportAccess, Right, missing_right
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import HOUR_MS
from contact_activity.errors import RefusedError, describe
from contact_activity.state.codec import (
    access_from_json,
    access_to_json,
    feed_from_json,
    report_from_json,
    report_to_json,
)
from tests.support.rows import NOON_MS

NOTHING = ReportAccess()
REFUSED = NOTHING.refused(NOON_MS)
OPENS = ReportId("m", ActivityType.OPENED)


def contact(*, refused_ms: int | None = None, synced_ms: int | None = None, gone: int = 0) -> ContactOutline:
    error = None if refused_ms is None else f"403: is the privilege {Right.METRICS} missing?"
    return ContactOutline("c", 0, 0, synced_ms, int(error is not None), gone, error, refused_ms)


@pytest.mark.parametrize(
    ("access", "list_lacks", "right"),
    [
        (NOTHING, "", None),
        (NOTHING.answered("m-opens"), "", None),
        (REFUSED.answered("m-opens"), "", None),
        # The contract has the same rights for the list and for the reports.
        (REFUSED, "campaign_data", Right.CAMPAIGN_DATA),
        (NOTHING, "campaign_data", Right.CAMPAIGN_DATA),
        (REFUSED, "", Right.METRICS),
        (REFUSED, "campaign:read", Right.METRICS),
        (NOTHING.answered("m-opens"), "campaign:read", Right.CAMPAIGN_READ),
        (NOTHING, "a right of a later release", None),
    ],
)
def test_the_right_is_told_by_what_else_is_refused(
    access: ReportAccess, list_lacks: str, right: Right | None
) -> None:
    """Contacts' own reports answer."""
    assert missing_right(access, list_lacks=list_lacks, contacts=[contact(synced_ms=NOON_MS)]) is right


@pytest.mark.parametrize(
    ("others", "right"),
    [
        ([], Right.METRICS),
        ([contact(synced_ms=NOON_MS - 1)], Right.METRICS),
        ([contact(refused_ms=NOON_MS + 1)], Right.METRICS),
        # That it is gone says nothing of its report.
        ([contact(synced_ms=NOON_MS + 1, gone=1)], Right.METRICS),
        ([contact(synced_ms=NOON_MS + 1)], None),
    ],
)
def test_contacts_that_are_refused_lack_the_privilege(
    others: list[ContactOutline], right: Right | None
) -> None:
    """Unless the API gives the report of another one since."""
    contacts = [contact(refused_ms=NOON_MS), *others]
    assert missing_right(NOTHING, list_lacks="", contacts=contacts) is right
    found = missing_right(NOTHING, list_lacks="campaign_data", contacts=contacts)
    assert found is (right or Right.CAMPAIGN_DATA)


def test_no_right_is_named_before_it_is_known() -> None:
    """The campaign list takes a scope and a privilege. A contact's own report tells which is missing."""
    for contacts, right in (
        ([contact()], None),
        ([contact(refused_ms=NOON_MS)], Right.METRICS),
        ([contact(synced_ms=NOON_MS)], Right.CAMPAIGN_DATA),
    ):
        for access in (NOTHING, REFUSED):
            assert missing_right(access, list_lacks="campaign_data", contacts=contacts) is right


def test_a_pause_for_want_of_a_right_names_it_before_all() -> None:
    """Nothing else is read meanwhile."""
    pauses = [Pause(PauseReason.OPERATOR, None), Pause(PauseReason.CREDENTIAL, None, "contacts:read")]
    assert missing_right(REFUSED, list_lacks="campaign_data", pauses=pauses) is Right.CONTACTS_READ
    assert missing_right(NOTHING, list_lacks="", pauses=pauses[:1]) is None


def test_ten_reports_are_tried_in_a_row_then_ten_an_hour() -> None:
    """A report that answers lets all be read."""
    access, now_ms, tried = NOTHING, NOON_MS, 0
    while (most := access.most_tried(now_ms)) != 0:
        assert most is None or most == 10
        access, tried = access.refused(now_ms), tried + 1
    assert tried == 10
    for hour in range(1, 4):
        assert access.most_tried(now_ms + HOUR_MS - 1) == 0
        now_ms += HOUR_MS
        for left in range(10, 0, -1):
            assert access.most_tried(now_ms) == left
            access = access.refused(now_ms)
        assert access.refusals == 10 + 10 * hour
    # Whoever starts a run may have mended it; a clock that was ahead locks nobody out.
    assert access.retried().most_tried(now_ms) == access.most_tried(now_ms - 1) == 10
    assert access.answered("m-opens").most_tried(now_ms) is None


def test_two_reports_that_answer_are_known() -> None:
    """One that is refused itself says nothing of the others."""
    access = NOTHING.answered("1-opens").answered("1-opens").answered("2-opens").answered("3-opens")
    assert access == ReportAccess(("1-opens", "2-opens"))


def test_what_an_earlier_and_a_later_release_stored_is_read() -> None:
    """Older state has no such fields, and a later one may have more."""
    assert access_from_json(access_to_json(REFUSED)) == REFUSED
    assert access_from_json('{"answering":["m-opens"],"refusals":0,"refused_ms":0,"more":1}').answering
    assert feed_from_json('{"listed":[],"refused_ms":5}').lacks == ""
    stored = '{"asked":{"newest_ms":1,"since_ms":null,"due_ms":2,"misses":0,"gone_ms":3}}'
    report = report_from_json(OPENS, 1, 2, stored)
    assert report.asked is not None
    assert (report.asked.gone_ms, report.asked.forbidden_ms) == (3, None)
    # Nothing is stored of it where it is not.
    assert "forbidden" not in report_to_json(report)
    assert "parent" not in report_to_json(CampaignReport(OPENS, 0, None))


def test_a_report_owes_what_waits_for_it_only_by_its_own_failure() -> None:
    """Not while nobody asks, not where it is not there, and not where a right may be missing."""
    report = CampaignReport(OPENS, 0, None)
    plain = {"is_refused": False, "now_ms": NOON_MS, "tick_ms": 1}
    assert not report.failed("400", None, **plain).is_owing  # type: ignore[arg-type]
    asked = report.asked_for(NOON_MS, NOON_MS)
    assert not asked.is_owing
    failed = asked.failed("400", None, **plain)  # type: ignore[arg-type]
    assert failed.is_owing
    forbidden = failed.failed("403", None, is_forbidden=True, **plain)  # type: ignore[arg-type]
    assert forbidden.asked is not None
    assert (forbidden.is_owing, forbidden.asked.forbidden_ms, forbidden.refusals) == (False, NOON_MS, 0)
    assert forbidden.failed("400", None, **plain).is_owing  # type: ignore[arg-type]
    gone = failed.failed("404", None, is_gone=True, **plain | {"is_refused": True})  # type: ignore[arg-type]
    assert not gone.is_owing
    read = forbidden.finished(ReportProgress(NOON_MS, None), NOON_MS, 1)
    assert read.asked is not None
    assert (read.is_owing, read.asked.forbidden_ms) == (False, None)


class Refusing:
    """A client whose every call is refused."""

    def __init__(self, *, is_forbidden: bool) -> None:
        self.is_forbidden = is_forbidden

    def close(self) -> None:
        pass

    def call(self, call: Call[object], version: ApiVersion, *, deadline_ms: int) -> object:  # noqa: ARG002
        raise RefusedError("the API refuses this resource: 403 access_denied", is_forbidden=self.is_forbidden)


@pytest.mark.parametrize("is_forbidden", [True, False])
def test_a_refusal_names_the_right_that_its_path_takes(is_forbidden: bool) -> None:
    """Beyond the list of contacts. A token that is refused lacks none."""
    source = ConstantContactV3(Refusing(is_forbidden=is_forbidden))  # type: ignore[arg-type]
    nothing = {"since_ms": None, "next_": None, "deadline_ms": 0}
    calls: dict[Right, list[Callable[[], object]]] = {
        Right.METRICS: [
            lambda: source.tracking("c", "all", **nothing),  # type: ignore[arg-type]
            lambda: source.contact_summary("c", SummaryKind.CONTACT, deadline_ms=0),
        ],
        Right.CAMPAIGN_DATA: [
            lambda: source.campaign_report("m", ActivityType.OPENED, **nothing),  # type: ignore[arg-type]
            lambda: source.campaigns(**nothing),  # type: ignore[arg-type]
        ],
        Right.CAMPAIGN_READ: [lambda: source.campaign("m", deadline_ms=0)],
    }
    for right, of_right in calls.items():
        for call in of_right:
            with pytest.raises(RefusedError) as refused:
                call()
            assert refused.value.lacks == (right if is_forbidden else "")
            assert (str(right) in describe(refused.value)) is is_forbidden
