"""Nothing is lost, in any of the histories; and the histories would show it if it were."""

import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from contact_activity.local.simulated import Fault
from tests.simulation.__main__ import run_seed, run_seeds
from tests.simulation.history import DISTURBANCES
from tests.simulation.world import Chances

SEEDS = 300
# Histories beyond those that once broke a promise.
ALWAYS = (6506, 7820, 8102)
ROOT = Path(__file__).parents[2]

INJECTED = DISTURBANCES | {fault.name.lower() for fault in Fault} | {c.name for c in fields(Chances)}

PUBLISH = "            self._ports.bus.publish(events, deadline_ms=self._deadline_ms)\n"
TURN_PAGE = "            is_last = self._turn_page(page.next)\n"
MUTATIONS = {
    "progress is stored before the events are published": (
        "sync.py",
        "        if events:\n",
        "        self._save_progress()\n        if events:\n",
    ),
    "the watermark moves with every page": (
        "sync.py",
        TURN_PAGE,
        f"            self._save(watermark=self._walk.finish())\n{TURN_PAGE}",
    ),
    "what the bus did not take is forgotten": (
        "sync.py",
        PUBLISH,
        f"            try:\n    {PUBLISH}            except RetryError:\n                pass\n",
    ),
    "there is no overlap": ("watermark.py", "through_ms - overlap_h * _HOUR_MS", "through_ms"),
    "the limiter writes without its condition": (
        "adapters/embedded.py",
        "WHERE name = ? AND value = ?",
        "WHERE name = ? AND ? IS NOT NULL",
    ),
    "remembered activities are dropped": (
        "watermark.py",
        "self._known = set(self._remembered)",
        "self._known = set()",
    ),
    "a cursor that comes again ends the walk": (
        "sync.py",
        "        if next_ in self._seen_next:\n            self._restart()\n",
        "        if next_ in self._seen_next:\n            return True\n",
    ),
    "a walk forgets by activities newer than its start": (
        "watermark.py",
        "min(newest_ms, self.started_ms)",
        "newest_ms",
    ),
    "a quota and a credential are a contact's failure": (
        "sync.py",
        "            return self._wait(wait)\n",
        "            raise RetryError(str(wait)) from wait\n",
    ),
    "a walk goes on under other reports": (
        "sync.py",
        "bool(progress and progress.fingerprint == policy.reading.fingerprint)",
        "bool(progress)",
    ),
    "a resync leaves out what is remembered": (
        "watermark.py",
        "return self.watermark.resync_ms is not None and key_time_ms(key) >= self.watermark.resync_ms",
        "return False",
    ),
    "a worker that comes too late for its slot calls all the same": (
        "adapters/pacing.py",
        "            if self._clock.now_ms() <= at_ms + LATE_FOR_SLOT_MS:\n                return\n",
        "            return\n",
    ),
    "a call near midnight counts for the day that ends": (
        "rate_limit.py",
        "    if midnight_after(at_ms) - at_ms <= ARRIVAL_MARGIN_MS:\n        at_ms = midnight_after(at_ms)\n",
        "",
    ),
    "who was too fast goes on": (
        "adapters/constant_contact.py",
        "                self._limiter.slow_down(answer.retry_after_s)\n            case Verdict.DAY",
        "                return\n            case Verdict.DAY",
    ),
    "a cursor that expired is a contact that is gone": (
        "adapters/verdict.py",
        "case 400 | 404 if has_next",
        "case 400 if has_next",
    ),
    "a pause ends the others": (
        "rate_limit.py",
        "return Pauses((*self.without(pause.reason).by_reason, pause))",
        "return Pauses((pause,))",
    ),
    "no listing is a full one after the first": (
        "planning.py",
        "is_full = listing.full_ms is None or now_ms - listing.full_ms >= FULL_LISTING_EVERY_MS",
        "is_full = listing.full_ms is None",
    ),
    "an error names the call that failed": (
        "adapters/constant_contact.py",
        "            return Answer(0, failure=error.cause)\n",
        "            raise RetryError(target) from None\n",
    ),
}


def test_no_history_breaks_a_promise() -> None:
    """Every activity is published whatever fails, with one id, within the limits, and the backlog drains."""
    outcomes = list(run_seeds([*range(SEEDS), *ALWAYS]))
    assert [outcome.broken for outcome in outcomes if outcome.broken] == []
    assert set().union(*(outcome.accidents for outcome in outcomes)) >= INJECTED


@pytest.mark.parametrize("seed", [2, 10])
def test_a_history_is_the_same_each_time(seed: int) -> None:
    """One seed is one history, so that a failure can be looked at again."""
    assert run_seed(seed) == run_seed(seed)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_histories_have_teeth(mutation: str, tmp_path: Path) -> None:
    """Each of these mistakes in the product breaks a promise within 300 histories."""
    file, right, wrong = MUTATIONS[mutation]
    for folder in ("shared", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "shared" / "contact_activity" / file
    source = path.read_text(encoding="utf-8")
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", "300", "--until-broken"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path / 'shared'}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "seed " in ran.stdout
