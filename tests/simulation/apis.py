"""What a history must know of a version of the API: its client, its ids and its paths."""

import re
from collections.abc import Mapping
from typing import Protocol

from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.constant_contact.v3 import ConstantContactV3
from contact_activity.ports import Source
from contact_activity.simulated.delivery import Delivery
from contact_activity.simulated.http_server import Incoming
from contact_activity.simulated.v3_ids import contact_uuid


class Api(Protocol):
    """`cursor`: the parameter that asks for a later page. `has_key`: the calls have a key beside the token.

    `quota_status`: of answers to calls above a quota.
    """

    name: str
    cursor: str
    has_key: bool
    quota_status: int
    seed_prefix: str

    def title(self, seed: int) -> str:
        """How a history of this version is named."""

    def source(self, client: ApiClient) -> Source: ...

    def contact_id(self, account_id: str) -> str:
        """The id of a contact of the simulated account, as this version has it."""

    def activity_path(self, contact_id: str, report: str) -> str:
        """The path at which a contact's activity is read."""

    def is_full_listing(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether a call begins to list all contacts."""

    def is_day_used_up(self, answer: Delivery) -> bool: ...

    def report_of(self, asked: Incoming) -> tuple[str, str] | None:
        """The mailing and the report of which a call asks for the first page, where rows only vouch."""


class ApiV2:
    name, cursor, has_key, quota_status, seed_prefix = "v2", "next", True, 403, ""

    def title(self, seed: int) -> str:
        return f"seed {seed}"

    def source(self, client: ApiClient) -> Source:
        return ConstantContactV2(client)

    def contact_id(self, account_id: str) -> str:
        return account_id

    def activity_path(self, contact_id: str, report: str) -> str:
        own = f"/v2/contacts/{contact_id}/tracking"
        return own if report == "all" else f"{own}/{report}"

    def is_full_listing(self, path: str, query: Mapping[str, str]) -> bool:
        is_first_page = path == "/v2/contacts" and "limit" in query
        return is_first_page and query["limit"] != "1" and "modified_since" not in query

    def is_day_used_up(self, answer: Delivery) -> bool:
        return answer.status == 403 and b"over.ratelimit" in answer.sent

    def report_of(self, asked: Incoming) -> tuple[str, str] | None:  # noqa: ARG002  the protocol's
        return None


class ApiV3:
    name, cursor, has_key, quota_status, seed_prefix = "v3", "cursor", False, 429, "v3:"

    def title(self, seed: int) -> str:
        return f"seed {seed} of v3"

    def source(self, client: ApiClient) -> Source:
        return ConstantContactV3(client)

    def contact_id(self, account_id: str) -> str:
        return contact_uuid(account_id)

    def activity_path(self, contact_id: str, report: str) -> str:  # noqa: ARG002  one has all types
        return f"/v3/reports/contact_reports/{contact_id}/activity_details"

    def is_full_listing(self, path: str, query: Mapping[str, str]) -> bool:
        is_first_page = path == "/v3/contacts" and "cursor" not in query and query.get("limit") != "1"
        return is_first_page and not {"updated_after", "optout_after"} & set(query)

    def is_day_used_up(self, answer: Delivery) -> bool:
        return answer.status == 429 and b"quota_exceeded" in answer.sent

    def report_of(self, asked: Incoming) -> tuple[str, str] | None:
        found = re.fullmatch(r"/v3/reports/email_reports/([^/]+)/tracking/(\w+)", asked.path)
        return (found[1], found[2]) if found and "cursor" not in asked.query else None


V2, V3 = ApiV2(), ApiV3()
