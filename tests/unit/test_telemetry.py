"""The metrics of the functions, and their logs: with the id of the tick, without e-mail addresses."""

import io
import json
import logging
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contact_activity.domain.pauses import PauseReason
from contact_activity.domain.retries import Retry, TryTally
from contact_activity.domain.walk import Counts
from contact_activity.domain.work import Outcome, Report
from contact_activity.entrypoints import telemetry
from contact_activity.entrypoints.dispatcher import Dispatcher
from contact_activity.entrypoints.telemetry import NAMESPACE, Metric
from contact_activity.errors import Cause, RetryError
from contact_activity.settings import Credentials, SettingsError
from contact_activity.state.codec import item_from_body
from contact_activity.use_cases.tick_report import TickOutcome, TickReport
from tests.support.emf import Emitted, emitted
from tests.support.items import of_campaign, of_contact, of_report
from tests.support.rows import HOUR_MS, NOON_MS
from tests.support.world import TICK_MS, World

QUIET_TICK = TickReport(lag_ms=0, calls_used=0, calls_per_day=9_000)
STACK = "contact-activity"
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """Give each test an empty set of metrics: a process has only one."""
    before, telemetry.metrics.service = telemetry.metrics.service, STACK
    telemetry.metrics.clear_metrics()
    yield
    telemetry.metrics.clear_metrics()
    telemetry.metrics.service = before


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The log lines that the test causes."""
    handler = telemetry.logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    said = io.StringIO()
    before = handler.setStream(said)
    telemetry.logger.setLevel("INFO")
    yield said
    handler.setStream(before)
    telemetry.correlate(None)


def flushed(capsys: pytest.CaptureFixture[str]) -> list[Emitted]:
    """Return the metrics that CloudWatch reads from standard output after the invocation."""
    telemetry.metrics.flush_metrics()
    return emitted(capsys.readouterr().out.splitlines())


def by_name(metrics: list[Emitted]) -> dict[str, float]:
    sums: dict[str, float] = dict.fromkeys((metric.name for metric in metrics), 0.0)
    for metric in metrics:
        sums[metric.name] += sum(metric.values)
    return sums


def lines(said: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.getvalue().splitlines()]


CONTACT = of_contact("4711", 1)
OF_REPORTS = {
    *(Outcome.READ, Outcome.SAMPLED, Outcome.UNFINISHED, Outcome.PAUSED, Outcome.STALE, Outcome.LATE),
    *(Outcome.EARLY, Outcome.HELD, Outcome.RACE_LOST, Outcome.FAILED, Outcome.REFUSED),
}
OF_CONTACTS = set(Outcome) - {Outcome.READ, Outcome.SAMPLED, Outcome.FAILED, Outcome.SUMMARIZED}
OF_CAMPAIGNS = {
    *(Outcome.SUMMARIZED, Outcome.UNFINISHED, Outcome.GONE, Outcome.PAUSED, Outcome.REFUSED),
    *(Outcome.STALE, Outcome.RACE_LOST),
}


def full_tick(outcome: TickOutcome = TickOutcome.PAUSED) -> TickReport:
    return TickReport(
        outcome=outcome,
        paused_by="quota",
        paused=tuple(reason.value for reason in PauseReason),
        enqueued=1,
        new_contacts=2,
        rejected=3,
        unreadable_contacts=4,
        reports_enqueued=6,
        report_types_off=("opens",),
        missing_right="campaign_data",
        campaigns_enqueued=5,
        campaigns_failed="the API did not answer",
        lag_ms=HOUR_MS + 500,
        calls_used=8_999,
        calls_per_day=9_000,
    )


def full_sync(outcome: Outcome) -> Report:
    return Report(
        outcome,
        by_type=Counter({"Email Opened": 5}),
        ages_s=array("q", [1, 2]),
        pages=6,
        restarts=7,
        memory_is_full=True,
        is_newly_gone=True,
        summaries_owed=1,
        summaries_refused=2,
        campaigns_left_out=3,
        counts=Counts(collapsed=8, in_future=9),
        unreadable=["0123456789abcdef"],
        rows_left=10,
        rows_unknown=11,
        rows_shifted=12,
        asking=13,
        owed=14,
    )


def test_every_metric_is_sent_with_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    """A tick, work of every outcome and a failure together send every metric, and no other."""
    telemetry.record_tick(full_tick())
    for outcome in OF_CONTACTS:
        telemetry.record_work(CONTACT, full_sync(outcome))
    for outcome in OF_CAMPAIGNS:
        telemetry.record_work(of_campaign("111", 1), Report(outcome))
    for outcome in OF_REPORTS:
        telemetry.record_work(of_report("111-opens", 1), Report(outcome))
    for message in (of_contact("4711", 1), of_campaign("111", 1)):
        telemetry.record_failure(message, RetryError("the API did not answer"))
    sent = flushed(capsys)
    assert {(metric.name, metric.unit) for metric in sent} == {
        (metric.metric_name, metric.unit.value) for metric in Metric
    }
    assert {metric.namespace for metric in sent} == {NAMESPACE}
    assert {metric.dimensions for metric in sent} == {(("service", STACK),)}


def test_every_tick_sends_its_gauges_even_when_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """A gauge of 0 ends an alarm. Counts of 0 are not sent."""
    telemetry.record_tick(QUIET_TICK)
    assert by_name(flushed(capsys)) == {
        "LagSeconds": 0,
        "QuotaUsedPercent": 0,
        "QuotaLagSeconds": 0,
        "Paused": 0,
        "PausedByQuota": 0,
        "PausedByCredential": 0,
        "PausedByOperator": 0,
        "ReportTypesOff": 0,
    }


@pytest.mark.parametrize(("missing", "sent"), [("", 0), ("campaign_data", 1)])
def test_a_right_that_is_missing_is_measured_where_somebody_looked(
    capsys: pytest.CaptureFixture[str], missing: str, sent: int
) -> None:
    """A 0 ends the alarm. v2, and a tick that did not come so far, say nothing."""
    telemetry.record_tick(replace(QUIET_TICK, missing_right=missing))
    assert by_name(flushed(capsys))["MissingRight"] == sent
    telemetry.record_tick(QUIET_TICK)
    assert "MissingRight" not in by_name(flushed(capsys))


@pytest.mark.parametrize(
    ("calls_used", "used_percent", "quota_lag_s"),
    [(0, 0, 0), (8_099, 8_099 / 90, 0), (8_100, 90, 3_600), (9_000, 100, 3_600)],
)
def test_the_quota_is_short_only_while_contacts_wait(
    capsys: pytest.CaptureFixture[str], calls_used: int, used_percent: float, quota_lag_s: float
) -> None:
    """From 90 % of the day's calls on, the lag counts as caused by the quota. Using it up alone does not."""
    telemetry.record_tick(TickReport(lag_ms=HOUR_MS, calls_used=calls_used, calls_per_day=9_000))
    sent = by_name(flushed(capsys))
    assert (sent["LagSeconds"], sent["QuotaLagSeconds"]) == (3_600, quota_lag_s)
    assert sent["QuotaUsedPercent"] == pytest.approx(used_percent)


def test_a_tick_without_the_lease_sends_no_gauge(capsys: pytest.CaptureFixture[str]) -> None:
    """It measured nothing, and a 0 would end an alarm."""
    telemetry.record_tick(TickReport(outcome=TickOutcome.LEASE_HELD, enqueued=1))
    assert by_name(flushed(capsys)) == {"ContactsEnqueued": 1}


def test_each_pause_is_measured_by_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """A pause by the credential sets that gauge and the common one, and no other."""
    report = TickReport(
        outcome=TickOutcome.PAUSED, paused=("credential",), lag_ms=0, calls_used=0, calls_per_day=1
    )
    telemetry.record_tick(report)
    paused = {name: value for name, value in by_name(flushed(capsys)).items() if "Paused" in name}
    assert paused == {"Paused": 1, "PausedByCredential": 1, "PausedByQuota": 0, "PausedByOperator": 0}


def test_metrics_of_a_batch_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Every contact that an invocation syncs is in its metrics."""
    for _ in range(130):
        telemetry.record_work(CONTACT, Report(Outcome.SYNCED, pages=1))
    assert by_name(flushed(capsys)) == {"PagesRead": 130, "ContactsSynced": 130}


def test_every_age_is_a_separate_value(capsys: pytest.CaptureFixture[str]) -> None:
    """CloudWatch computes percentiles from single values. Several records hold them all."""
    ages_s = [*range(250), *[HOUR_MS] * 7]
    for part in (ages_s[:99], ages_s[99:101], ages_s[101:]):
        telemetry.record_work(CONTACT, Report(Outcome.SYNCED, pages=1, ages_s=array("q", part)))
    sent = [metric for metric in flushed(capsys) if metric.name == Metric.FRESHNESS.metric_name]
    assert {metric.unit for metric in sent} == {"Seconds"}
    assert [value for metric in sent for value in metric.values] == ages_s


def test_without_new_activity_no_age_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """A 0 would make late activity look fresh."""
    telemetry.record_work(CONTACT, Report(Outcome.SYNCED, by_type=Counter({"Email Opened": 5})))
    assert Metric.FRESHNESS.metric_name not in by_name(flushed(capsys))


def test_the_report_of_a_tick_is_plain_json() -> None:
    """Lambda can return it as it is."""
    answered = telemetry.record_tick(full_tick())
    assert json.loads(json.dumps(answered))["lag_ms"] == HOUR_MS + 500


def test_log_lines_have_the_id_of_their_tick(logged: io.StringIO) -> None:
    """Each message sets its correlation id; a message without one removes it."""
    for correlation_id in ("tick-1", "tick-2", None):
        telemetry.correlate(correlation_id)
        telemetry.record_work(CONTACT, Report(Outcome.SYNCED))
        telemetry.record_failure(of_contact("4712", 1), RetryError("the API did not answer"))
    assert [line.get("correlation_id") for line in lines(logged)] == [
        *("tick-1", "tick-1", "tick-2", "tick-2"),
        *(None, None),
    ]


def test_a_contact_is_logged_by_its_id(logged: io.StringIO) -> None:
    """The line has the outcome, the counts, and the digests of unreadable rows."""
    telemetry.record_work(CONTACT, full_sync(Outcome.SYNCED))
    (line,) = lines(logged)
    assert (line["message"], line["contact_id"], line["outcome"]) == ("contact", "4711", "synced")
    assert (line["published"], line["pages"], line["unreadable"]) == (5, 6, ["0123456789abcdef"])
    assert (line["asking"], line["owed"]) == (13, 14)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RetryError("the API did not answer"), "the API did not answer"),
        (ValueError("no such key: canary"), "ValueError"),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "canary"}}, "Put"),
            "ClientError AccessDenied",
        ),
    ],
)
def test_an_error_that_is_not_ours_is_logged_without_its_text(
    logged: io.StringIO, error: Exception, cause: str
) -> None:
    """Its text may hold anything. The line has its class, the AWS code and the place in our code."""
    try:
        item_from_body("{}")
    except ValueError as known:
        error.__traceback__ = known.__traceback__
    telemetry.record_failure(of_contact("4711", 1), error)
    (line,) = lines(logged)
    where = "" if isinstance(error, RetryError) else r" at codec\.py:\d+"
    assert (line["message"], line["contact_id"]) == ("contact failed", "4711")
    assert re.fullmatch(re.escape(cause) + where, line["cause"])


def test_a_failed_call_is_a_warning_without_a_host(logged: io.StringIO) -> None:
    """The line has the cause, the status if an answer came, and the number of tries."""
    telemetry.log_failed_try(Cause.UNKNOWN_HOST, 0, 2)
    (line,) = lines(logged)
    assert (line["level"], line["message"]) == ("WARNING", "call failed")
    assert (line["cause"], line["status"], line["tries"]) == (Cause.UNKNOWN_HOST.value, 0, 2)


def test_the_tries_of_calls_are_told_once(logged: io.StringIO) -> None:
    """By the line of whatever they were for, in a form that gives them back."""
    told = Counter({Retry(503, Cause.SERVER_ERROR.value, 0): 2, Retry(429, "", 0, is_rate_limited=True): 1})
    for retry in told.elements():
        telemetry.tries.record_try()
        telemetry.tries.record_retry(replace(retry, wait_s=4))
    telemetry.tries.record_failure(Cause.TIMED_OUT, 0)
    telemetry.record_work(CONTACT, Report(Outcome.SYNCED))
    telemetry.record_work(CONTACT, Report(Outcome.SYNCED))
    telemetry.tries.record_try()
    telemetry.record_tick(QUIET_TICK)
    telemetry.tries.record_try()
    telemetry.record_failure(CONTACT, RetryError("the API did not answer"))
    assert [TryTally.told_by(line) for line in lines(logged)] == [
        TryTally(3, told, Counter({(Cause.TIMED_OUT.value, 0): 1})),
        *(TryTally(), TryTally(1), TryTally(1)),
    ]


def ticking(world: World, credentials: Callable[[], Credentials]) -> Dispatcher:
    return Dispatcher(world.tick_ports(), TICK_MS, world.reading, None, credentials)


def test_a_tick_that_cannot_read_its_credentials_counts_as_paused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise the alarm would stay silent."""

    def unusable() -> Credentials:
        raise SettingsError("the secret has no value")

    with pytest.raises(SettingsError):
        ticking(World(), unusable).run(300_000, "tick")
    assert by_name(flushed(capsys)) == {"Paused": 1, "PausedByCredential": 1}


def test_a_tick_that_fails_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """It could not list the contacts, but it still sends its counts and the lag."""
    world = World()
    world.register("1")
    world.source.fault = RetryError("the API failed 9 times")
    with pytest.raises(RetryError):
        ticking(world, lambda: Credentials("key", "token")).run(2 * NOON_MS, "tick")
    measured = by_name(flushed(capsys))
    assert (measured["ContactsEnqueued"], measured["Paused"]) == (1, 0)
    assert {"LagSeconds", "QuotaUsedPercent"} <= set(measured)
