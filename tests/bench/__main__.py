"""`make bench`: what a contact costs, what a cold start costs, and what a large account costs."""

import argparse

from tests.bench import any_size, cold_start, contacts, dynamodb

SMALL, LARGE = 20_000, 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (default: %(default)s)")
    parser.add_argument("--large", action="store_true", help="a million activities and a million contacts")
    options = parser.parse_args()
    contacts.bench(options.rounds)
    cold_start.bench(2 * options.rounds)
    dynamodb.bench()
    size = LARGE if options.large else SMALL
    any_size.bench(size, size)


if __name__ == "__main__":
    main()
