"""An API that pages through any number of activities and contacts, each made when it is asked for.

Prints its base URL; ends with its input.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from contact_activity.domain.times import iso

PAGE_ROWS = 500
NEWEST_MS = 1_718_193_600_000
ACTIVITIES, CONTACTS = map(int, sys.argv[1:])


def activity(number: int) -> dict[str, str]:
    """Newest first, a minute apart."""
    return {
        "activity_type": "EMAIL_OPEN",
        "campaign_id": "1117643206590",
        "contact_id": "1",
        "email_address": "ada@example.org",
        "open_date": iso(NEWEST_MS - number * 60_000),
    }


def contact(number: int) -> dict[str, str]:
    return {"id": str(1 + number), "status": "ACTIVE", "modified_date": iso(NEWEST_MS)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        start = int(parse_qs(parts.query).get("next", ["0"])[0])
        is_tracking = parts.path.endswith("/tracking")
        end = min(start + PAGE_ROWS, ACTIVITIES if is_tracking else CONTACTS)
        more = end < (ACTIVITIES if is_tracking else CONTACTS)
        rows = [activity(n) if is_tracking else contact(n) for n in range(start, end)]
        pagination = {"next_link": f"{parts.path}?next={end}"} if more else {}
        body = json.dumps({"meta": {"pagination": pagination}, "results": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        """Nothing."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/v2", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
