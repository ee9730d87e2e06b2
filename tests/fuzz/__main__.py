"""Feeds every target with inputs that are guided by the code they reach: `make fuzz`.

Each target runs in a process of its own, under atheris. An input that breaks a promise is kept in
`.build/fuzz/`, its trace is printed, and the exit status is 1.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tests.fuzz.seeds import seeds_of
from tests.fuzz.targets import TARGETS

KEPT = Path(".build") / "fuzz"
TOKENS = [
    *("activity_type", "EMAIL_SEND", "EMAIL_OPEN", "EMAIL_CLICK", "EMAIL_BOUNCE", "send_date", "open_date"),
    *("click_date", "bounce_date", "link_id", "link_uri", "bounce_code", "results", "meta", "pagination"),
    *("next_link", "?next=", "modified_date", "campaign_id", "contact_id", "planned_at", "correlation_id"),
    *("click_through_details", "url_uid", "url", "last_run_date", "EMAIL_FORWARD", "EMAIL_UNSUBSCRIBE"),
    *("tracking_activities", "tracking_activity_type", "em_clicks", "em_opens", "created_time", "url_id"),
    *(
        "link_url",
        "_links",
        "next",
        "href",
        "campaign_activity_id",
        "opt_out_reason",
        "contacts",
        "updated_at",
    ),
    *("bulk_email_campaign_summaries", "last_sent_date", "campaign_activities", "role", "stats", "em_sends"),
    *("refresh_token", "expires_in", "error", "device_code", "user_code", "verification_uri", "interval"),
    *("sends", "opens", "clicks", "api_key", "access_token", "null", "true", "1e999", "NaN", "T00:00:00Z"),
    # A lone surrogate, a NUL, and a number beyond what Python reads.
    *(r"\\ud800", r"\\u0000", "9" * 60),
]


def fuzz_one(name: str, runs: int, seed: int, corpus: Path) -> int:
    """In this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["contact_activity"], enable_loader_override=False):
        sys.modules.pop("tests.fuzz.targets")
        for module in [module for module in sys.modules if module.startswith("contact_activity")]:
            del sys.modules[module]
        from tests.fuzz.targets import TARGETS as INSTRUMENTED
    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-artifact_prefix={KEPT}/{name}-",
        "-max_len=4096",
        "-timeout=20",
    ]
    atheris.Setup([sys.argv[0], *options, f"-dict={corpus}.dict", str(corpus)], INSTRUMENTED[name])
    atheris.Fuzz()
    return 0


def _prepared(folder: str, name: str) -> Path:
    """A folder with what the fuzzer begins with, and beside it the words that it may put in."""
    corpus = Path(folder) / name
    corpus.mkdir()
    for number, seed in enumerate(seeds_of(name)):
        (corpus / str(number)).write_bytes(seed)
    words = "".join(f'"{token}"\n' for token in TOKENS)
    Path(f"{corpus}.dict").write_text(words, encoding="utf-8")
    return corpus


def main() -> int:
    parser = argparse.ArgumentParser(description="Feed every target with inputs guided by coverage.")
    parser.add_argument("--runs", type=int, default=200_000, help="inputs for each target (default 200000)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (default 1)")
    parser.add_argument("--target", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.target:
        return fuzz_one(arguments.target, arguments.runs, arguments.seed, arguments.corpus)
    KEPT.mkdir(parents=True, exist_ok=True)
    console, broken = Console(highlight=False, soft_wrap=True), 0
    for name in track(TARGETS, "fuzzing", console=Console(stderr=True), transient=True):
        with tempfile.TemporaryDirectory() as folder:
            corpus = _prepared(folder, name)
            own = [f"--target={name}", f"--corpus={corpus}"]
            all_ = [f"--runs={arguments.runs}", f"--seed={arguments.seed}"]
            ended = subprocess.run(
                [sys.executable, "-m", "tests.fuzz", *own, *all_], capture_output=True, text=True, check=False
            )
        broken += ended.returncode != 0
        done = re.search(r"Done (\d+) runs in (\d+) second", ended.stderr)
        reached = re.findall(r"cov: (\d+)", ended.stderr)
        if ended.returncode or not done:
            console.print(f"{name}: a promise is broken\n{ended.stdout}\n{ended.stderr[-4_000:]}")
        else:
            console.print(
                f"{name:10} {int(done[1]):>9,} inputs in {done[2]} s, {reached[-1]} branches reached"
            )
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
