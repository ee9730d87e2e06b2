"""Inputs that are right, for the fuzzer to begin with: answers of the simulated API, messages, settings."""

import json
from datetime import UTC, datetime

from contact_activity.settings import DEPLOYMENT_SETTINGS, SETTINGS
from contact_activity.simulated import Server, Switches, realistic_account
from contact_activity.simulated.http_server import Incoming
from contact_activity.state.codec import item_to_body
from tests.fuzz.targets import CAMPAIGN, CONTACT, MAILING, NAMES, NOW_MS, PARENT
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
    "vouched": [
        "/reports/contact_reports/{contact}/activity_details",
        "/reports/email_reports/{mailing}/tracking/clicks",
        "/reports/email_reports/{mailing}/tracking/opens",
        "/reports/email_reports/{mailing}/tracking/bounces",
    ],
    "listing_v3": [
        "/contacts",
        "/reports/summary_reports/email_campaign_summaries",
        "/emails/{parent}",
    ],
    "summary_v3": [
        "/reports/contact_reports/{contact}/activity_summary",
        "/reports/stats/email_campaign_activities/{mailing}",
    ],
    "summary": [
        "/contacts/{contact}/tracking/reports/summary",
        "/contacts/{contact}/tracking/reports/summaryByCampaign",
        "/emailmarketing/campaigns/{campaign}/tracking/reports/summary",
    ],
}
TOKENS = {"token_type": "Bearer", "expires_in": 86_400, "access_token": "a" * 40, "refresh_token": "r" * 40}
DEVICE = {
    "device_code": "d" * 40,
    "user_code": "ABCDEFGH",
    "verification_uri": "https://example.org/activate",
    "expires_in": 600,
    "interval": 5,
}
QUERIES = {
    "vouched": {"tracking_activities_list": "em_clicks,em_opens"},
    "listing_v3": {"status": "all"},
    "summary_v3": {"start": "2000-01-01", "end": "2100-01-01"},
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
    "tokens": [
        b"\0" + json.dumps(TOKENS).encode(),
        b"\0" + json.dumps(DEVICE).encode(),
        b"\4" + json.dumps({"error": "invalid_grant"}).encode(),
    ],
    "secret": [json.dumps({"api_key": "k", "access_token": "t"}).encode()],
}


def seeds_of(target: str) -> list[bytes]:
    if target in OTHERS:
        return OTHERS[target]
    account = realistic_account(1, contacts=3, now=NOW)
    is_v3 = target in QUERIES
    ids = {"contact": account.contacts()[0].id, "campaign": CAMPAIGN}
    if is_v3:
        ids = {"contact": CONTACT, "parent": PARENT, "mailing": MAILING}
    version, query = ("v3" if is_v3 else "v2"), QUERIES.get(target, {})
    switches = Switches(max_page_rows=5, unknown_type_share=0.2, numeric_ids=True)
    server = Server(account, api_key="k", access_token="t", switches=switches, now=lambda: NOW)
    return [
        b"\0"
        + server.answer(
            Incoming("GET", f"/{version}{path.format(**ids)}", query, "k", "Bearer t", "application/json")
        ).sent
        for path in PATHS[target]
    ]
