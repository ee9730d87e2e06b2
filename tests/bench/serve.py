"""The simulated account in a process of its own: so many contacts, so many activities each.

Prints its base URL, then the number of calls so far for each line that it reads; ends with its input.
"""

import argparse
import sys
from datetime import UTC, datetime, timedelta

from contact_activity.simulated import Kind, Server, SimulatedAccount, Switches
from tests.bench.measure import ACCESS_TOKEN, API_KEY

CAMPAIGN_ID = "1117643206590"


def account_of(contacts: int, activities: int, now: datetime) -> SimulatedAccount:
    """Contacts with that many opens each, an hour apart, the newest an hour old."""
    account = SimulatedAccount()
    for number in range(contacts):
        contact = account.add_contact(f"c{number}@example.org", at=now - timedelta(days=30))
        for hours in range(activities, 0, -1):
            account.add_row(Kind.OPEN, contact.id, CAMPAIGN_ID, at=now - timedelta(hours=hours))
    return account


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contacts", type=int)
    parser.add_argument("activities", type=int)
    options = parser.parse_args()
    account = account_of(options.contacts, options.activities, datetime.now(UTC))
    switches = Switches(rate_limits=False)
    with Server(account, api_key=API_KEY, access_token=ACCESS_TOKEN, switches=switches) as server:
        print(server.base_url, flush=True)
        for _ in sys.stdin:
            print(len(server.calls), flush=True)


if __name__ == "__main__":
    main()
