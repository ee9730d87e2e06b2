"""`make bench`: what a contact costs, what a cold start costs, and what a large account costs."""

import argparse

from tests.bench import cold_start, contacts


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (default: %(default)s)")
    options = parser.parse_args()
    contacts.bench(options.rounds)
    cold_start.bench(2 * options.rounds)


if __name__ == "__main__":
    main()
