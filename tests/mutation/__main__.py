"""Changes the product in one place at a time and sees whether a test fails: `make mutate`.

mutmut makes the changes, chooses the tests and judges; `pyproject.toml` says where. Here are the folder
that it works in, so that nothing is written into the tree, the sample, and what is shown of it.
"""

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from mutmut.__main__ import collect_source_file_mutation_data, create_mutants
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".build" / "mutation"
LINKED = ("pyproject.toml", "template.yaml", "tests", "events", "functions")
# The name that mutmut takes for none of a package's.
SOURCE = "src"
NOTICED = {"killed", "timeout"}
SURVIVED = {"survived", "no tests"}
RUN = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run"]


def lay_out() -> None:
    """An empty folder with links to what the tests need; from here on it is the working directory."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "mutants").mkdir(parents=True)
    for name in LINKED:
        (WORK / name).symlink_to(ROOT / name)
    (WORK / SOURCE).symlink_to(ROOT / "shared")
    # Tests find the product where it is in the repository, too.
    (WORK / "mutants" / "shared").symlink_to(SOURCE)
    os.chdir(WORK)


def make_all(processes: int) -> list[str]:
    """Every mutant there is, by name."""
    with contextlib.redirect_stdout(None):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(processes)
    mutants, _ = collect_source_file_mutation_data(mutant_names=[])
    return sorted(name for _, name, _ in mutants)


def run(names: list[str], processes: int) -> bool:
    """Whether mutmut came to its end; a terminal sees how far it is, a file is spared that."""
    command = [*RUN, "--max-children", str(processes), *names]
    with Path("log").open("w", encoding="utf-8") as log:
        output = None if sys.stdout.isatty() else log
        ended = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    if ended.returncode and output:
        sys.stdout.write(Path("log").read_text(encoding="utf-8")[-4_000:])
    return ended.returncode == 0


def show(names: list[str]) -> Counter[str]:
    """How many came to which end; shows as a diff each that no test noticed."""
    counts: Counter[str] = Counter()
    mutants, _ = collect_source_file_mutation_data(mutant_names=names)
    for data, name, exit_code in mutants:
        status = status_by_exit_code[exit_code]
        counts[status] += 1
        if status not in NOTICED:
            diff = get_diff_for_mutant(name, path=data.path).replace(f" {SOURCE}/", " shared/")
            sys.stdout.write(f"{name}: {status}\n{diff}\n\n")
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description="Change the product at random and see whether a test fails.")
    parser.add_argument("--mutants", type=int, default=300, help="how many, 0 for all (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default 1)")
    parser.add_argument("--only", default="", help="a part of the names to choose from: .sync.")
    arguments = parser.parse_args()
    begun_s, processes = time.monotonic(), os.cpu_count() or 1
    lay_out()
    names = [name for name in make_all(processes) if arguments.only in name]
    count = min(arguments.mutants or len(names), len(names))
    sample = random.Random(arguments.seed).sample(names, count)
    if not run(sample, processes):
        return 1
    counts = show(sample)
    noticed = sum(counts[status] for status in NOTICED)
    survived = sum(counts[status] for status in SURVIVED)
    sys.stdout.write(
        f"{count} of {len(names)} mutants, seed {arguments.seed}: {noticed} noticed ({counts['timeout']} by a"
        f" time-out), {survived} survived ({counts['no tests']} in reach of no test),"
        f" {count - noticed - survived} undecided: {noticed / max(1, noticed + survived):.0%}"
        f" in {(time.monotonic() - begun_s) / 60:.0f} minutes\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
