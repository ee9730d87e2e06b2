"""Mistakes in the product that the histories must show, and the seeds known to show each.

`python -m tests.simulation --teeth` finds the seeds anew.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = Path("shared", "contact_activity")


@dataclass(frozen=True, slots=True)
class Mutation:
    """`wrong` stands in `file` where `right` stood, once; `seeds` are tried before all others."""

    name: str
    file: str
    right: str
    wrong: str
    seeds: tuple[int, ...] = ()


def run_mutated(mutation: Mutation, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the histories on a copy of the product, made in `folder`, that has this mistake."""
    # With the compiled files, which stay valid for all but the one that changes.
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE)
    path = folder / PACKAGE / mutation.file
    source = path.read_text(encoding="utf-8")
    assert source.count(mutation.right) == 1, f"{mutation.name}: {mutation.file} has another text now"
    path.write_text(source.replace(mutation.right, mutation.wrong), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder / "shared")},
        capture_output=True,
        text=True,
        check=False,
    )


PUBLISH = "            self._ports.bus.publish(events, deadline_ms=self._deadline_ms)\n"
TURN_PAGE = "            is_last = self._turn_page(page.next)\n"
MUTATIONS = (
    Mutation(
        "progress is stored before the events are published",
        "sync.py",
        PUBLISH,
        f"            self._save_progress()\n{PUBLISH}",
        (),
    ),
    Mutation(
        "the watermark moves with every page",
        "sync.py",
        TURN_PAGE,
        f"            self._save(replace(self._contact, watermark=self._walk.finish()))\n{TURN_PAGE}",
        (),
    ),
    Mutation(
        "what the bus did not take is forgotten",
        "sync.py",
        PUBLISH,
        f"            try:\n    {PUBLISH}            except RetryError:\n                pass\n",
        (),
    ),
    Mutation(
        "there is no overlap",
        "watermark.py",
        "through_ms - overlap_h * _HOUR_MS",
        "through_ms",
        (),
    ),
    Mutation(
        "the limiter writes without its condition",
        "adapters/embedded.py",
        "WHERE name = ? AND value = ?",
        "WHERE name = ? AND ? IS NOT NULL",
        (),
    ),
    Mutation(
        "remembered activities are dropped",
        "watermark.py",
        "self._known = set(self._remembered)",
        "self._known = set()",
        (),
    ),
    Mutation(
        "a cursor that comes again ends the walk",
        "sync.py",
        "        if next_ in self._seen_next:\n            self._restart()\n",
        "        if next_ in self._seen_next:\n            return True\n",
        (),
    ),
    Mutation(
        "a walk forgets by activities newer than its start",
        "watermark.py",
        "min(newest_ms, self.started_ms)",
        "newest_ms",
        (),
    ),
    Mutation(
        "a quota and a credential are a contact's failure",
        "sync.py",
        "            return self._wait(wait)\n",
        "            raise RetryError(str(wait)) from wait\n",
        (),
    ),
    Mutation(
        "a walk goes on under other reports",
        "sync.py",
        "progress is None or progress.fingerprint == reading.fingerprint",
        "True",
        (),
    ),
    Mutation(
        "a resync leaves out what is remembered",
        "watermark.py",
        "return self.watermark.resync_ms is not None and key_time_ms(key) >= self.watermark.resync_ms",
        "return False",
        (),
    ),
    Mutation(
        "a worker that comes too late for its slot calls all the same",
        "adapters/pacing.py",
        "            if self._clock.monotonic_ms() <= due_ms + LATE_FOR_SLOT_MS:\n                return\n",
        "            return\n",
        (),
    ),
    Mutation(
        "a call near midnight counts for the day that ends",
        "rate_limit.py",
        "    if midnight_after(at_ms) - at_ms <= ARRIVAL_MARGIN_MS:\n        at_ms = midnight_after(at_ms)\n",
        "",
        (),
    ),
    Mutation(
        "who was too fast goes on",
        "adapters/constant_contact.py",
        "                self._limiter.slow_down(answer.retry_after_s)\n            case Verdict.DAY",
        "                return\n            case Verdict.DAY",
        (),
    ),
    Mutation(
        "a cursor that expired is a contact that is gone",
        "adapters/verdict.py",
        "case 400 | 404 if has_next",
        "case 400 if has_next",
        (),
    ),
    Mutation(
        "a pause ends the others",
        "rate_limit.py",
        "return Pauses((*self.without(pause.reason).by_reason, pause))",
        "return Pauses((pause,))",
        (),
    ),
    Mutation(
        "no listing is a full one after the first",
        "planning.py",
        "is_full = listing.full_ms is None or now_ms - listing.full_ms >= FULL_LISTING_EVERY_MS",
        "is_full = listing.full_ms is None",
        (),
    ),
    Mutation(
        "an error names the call that failed",
        "adapters/constant_contact.py",
        "            return Answer(0, failure=error.cause)\n",
        "            raise RetryError(request.path_url) from None\n",
        (),
    ),
)
