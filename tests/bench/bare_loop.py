"""What the benchmark measures against: the shortest program that reads each contact's new activity.

One session, one GET a contact, JSON parsed, a strict high-water mark for each contact in a dict,
each new row a line. It keeps nothing on disk, knows no pace and no quota, tries nothing again,
takes no second page, and misses what arrives late.
"""

import json
import sys

import requests

FIRST_ID = 1001


def new_rows(session: requests.Session, url: str, params: dict[str, str], mark: str) -> list[dict[str, str]]:
    """The rows of the first page that are newer than the mark."""
    since = {"created_since": mark} if mark else {}
    answer = session.get(url, params=params | since, timeout=10)
    answer.raise_for_status()
    return [row for row in answer.json()["results"] if row["open_date"] > mark]


def main(base_url: str, key: str, token: str, contacts: str, mark: str) -> None:
    """Read every contact once; all marks begin at `mark`."""
    session = requests.Session()
    session.headers.update({"Authorization": f"Bearer {token}", "Accept": "application/json"})
    marks: dict[int, str] = {}
    for id_ in range(FIRST_ID, FIRST_ID + int(contacts)):
        url = f"{base_url}/contacts/{id_}/tracking"
        rows = new_rows(session, url, {"limit": "500", "api_key": key}, marks.get(id_, mark))
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        marks[id_] = max((row["open_date"] for row in rows), default=mark)


if __name__ == "__main__":
    main(*sys.argv[1:])
