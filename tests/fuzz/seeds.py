"""Inputs that are right, for the fuzzer to begin with: answers of the simulated API, messages, settings."""

import json
from datetime import UTC, datetime

from contact_activity.settings import DEPLOYMENT_SETTINGS, SETTINGS
from contact_activity.simulated import Server, Switches, realistic_account
from contact_activity.simulated.http_server import Incoming
from contact_activity.state.codec import item_to_body
from tests.fuzz.targets import CAMPAIGN, NAMES, NOW_MS
from tests.support.items import of_campaign, of_contact

NOW = datetime.fromtimestamp(NOW_MS / 1_000, UTC)
PATHS = {
    "answer": ["/contacts/{contact}/tracking", "/contacts/{contact}/tracking/bounces"],
    "report": [
        "/emailmarketing/campaigns/{campaign}/tracking/sends",
        "/emailmarketing/campaigns/{campaign}/tracking/opens",
        "/emailmarketing/campaigns/{campaign}/tracking/clicks",
    ],
    "campaign": ["/emailmarketing/campaigns/{campaign}"],
    "listing": ["/contacts", "/emailmarketing/campaigns"],
    "summary": [
        "/contacts/{contact}/tracking/reports/summary",
        "/contacts/{contact}/tracking/reports/summaryByCampaign",
        "/emailmarketing/campaigns/{campaign}/tracking/reports/summary",
    ],
}
OTHERS = {
    "message": [
        item_to_body(of_contact("4711", NOW_MS, "tick-1")).encode(),
        item_to_body(of_campaign("111", NOW_MS)).encode(),
    ],
    "settings": [
        b"\n".join(
            bytes([NAMES.index(setting.name)])
            + (setting.default or "canary-of-a-credential" * setting.secret).encode()
            for setting in (*SETTINGS, *DEPLOYMENT_SETTINGS)
        ),
        bytes([NAMES.index("REPORTS")]) + b"opens,clicks,summary",
        bytes([NAMES.index("START_DATE")]) + b"2026-01-31T10:00:00+02:00",
    ],
    "secret": [json.dumps({"api_key": "k", "access_token": "t"}).encode()],
}


def seeds_of(target: str) -> list[bytes]:
    if target in OTHERS:
        return OTHERS[target]
    account = realistic_account(1, contacts=3, now=NOW)
    ids = {"contact": account.contacts()[0].id, "campaign": CAMPAIGN}
    switches = Switches(max_page_rows=5, unknown_type_share=0.2, numeric_ids=True)
    server = Server(account, api_key="k", access_token="t", switches=switches, now=lambda: NOW)
    return [
        b"\0"
        + server.answer(
            Incoming("GET", f"/v2{path.format(**ids)}", {}, "k", "Bearer t", "application/json")
        ).sent
        for path in PATHS[target]
    ]
