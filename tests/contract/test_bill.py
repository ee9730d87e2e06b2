"""The costs that the functions' page tells are those of the formula."""

from pathlib import Path

import pytest

from contact_activity.entrypoints.telemetry import Metric
from tests.support.bill import ALARMS, METRICS, monthly_usd, table_of
from tests.support.families import whole_template

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "functions" / "README.md"


def test_the_page_has_the_table_of_the_formula() -> None:
    """For small, usual and large accounts."""
    assert table_of(1_000, 10_000, 100_000) in PAGE.read_text(encoding="utf-8")


def test_the_formula_counts_the_alarms_of_the_template() -> None:
    """Those that every stack has."""
    resources = whole_template()["Resources"].values()
    alarms = [of for of in resources if of["Type"] == "AWS::CloudWatch::Alarm"]
    assert sum(of.get("Condition") in (None, "IsInAws") for of in alarms) == ALARMS
    assert len(Metric) > METRICS


@pytest.mark.parametrize("contacts", [0, 1, 24])
def test_a_small_account_costs_less_in_proportion_to_its_calls(contacts: int) -> None:
    """Each contact is read at each tick, until the day's calls are used up."""
    less, more = monthly_usd(contacts), monthly_usd(25)
    assert less["Lambda"] < more["Lambda"]
    assert less["CloudWatch"] < more["CloudWatch"] < less["CloudWatch"] + 0.15
