"""`make bench`: what a contact costs, what a cold start costs, and what a large account costs."""

import argparse

from tests.bench import any_size, contacts

SMALL, LARGE = 20_000, 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (default: %(default)s)")
    parser.add_argument("--large", action="store_true", help="a million activities and a million contacts")
    options = parser.parse_args()
    size = LARGE if options.large else SMALL
    contacts.bench(options.rounds)
    any_size.bench(size, size)
    # A process's peak counts from that of whoever started it: what imports boto3 comes last.
    from tests.bench import cold_start, dynamodb

    cold_start.bench(2 * options.rounds)
    dynamodb.bench()


if __name__ == "__main__":
    main()
