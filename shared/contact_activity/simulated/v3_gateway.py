"""The gateway before v3: tokens, scopes, privileges and limits, and what a fault makes of an answer."""

from itertools import count
from urllib.parse import urlencode

from contact_activity.simulated.account import SimulatedAccount
from contact_activity.simulated.api import Query
from contact_activity.simulated.api_json import Json
from contact_activity.simulated.faults import Fault
from contact_activity.simulated.faulty_replies import damaged_reply
from contact_activity.simulated.gateway import StaticToken, accepts_json
from contact_activity.simulated.http_server import Incoming
from contact_activity.simulated.quota import Over
from contact_activity.simulated.replies import Reply, error
from contact_activity.simulated.switches import Switches
from contact_activity.simulated.tokens import AuthorizationServer
from contact_activity.simulated.v3_api import V3Api
from contact_activity.simulated.v3_replies import access_denied, over_limit, single, unauthorized


class V3Gateway:
    """v3 of an account. It takes the static token, which has all scopes that can be had, and those issued."""

    def __init__(
        self,
        account: SimulatedAccount,
        switches: Switches,
        static: StaticToken,
        issued: AuthorizationServer,
    ) -> None:
        self._api = V3Api(account, switches)
        self._switches = switches
        self._static, self._issued = static, issued
        self._requests = count(1)

    def refusal(self, incoming: Incoming, over: Over | None, now_ms: int) -> Reply | None:  # noqa: ARG002 (as v2)
        if over is not None:
            return over_limit(over, self._switches.retry_after_s)
        scopes = self._scopes(incoming.authorization)
        if scopes is None:
            return self._unauthorized()
        right = self._api.right(incoming.path)
        if right and not (right.scope in scopes and right.privilege in self._switches.v3.privileges):
            return access_denied()
        if not accepts_json(incoming.accept, anything=True):
            return error(406, "not_acceptable", "Only application/json can be given.")
        if incoming.method != "GET":
            return error(405, "method_not_allowed", "This account can only be read.")
        return None

    def answer(self, query: Query) -> Reply:
        return self._api.answer(query)

    def violation(self, query: Query) -> str | None:
        return self._api.violation(query)

    def faulty(self, fault: Fault, query: Query) -> Reply:
        refusals = {
            Fault.UNAUTHORIZED: self._unauthorized(),
            Fault.OVER_QPS: over_limit(Over.SECOND, self._switches.retry_after_s),
            Fault.TOO_MANY: single(429, "throttled", "Too many requests."),
            Fault.SERVER_ERROR: error(500, "internal_server_error", "Internal server error."),
            Fault.NEXT_REFUSED_400: error(400, "validation.error", "cursor is not valid"),
            Fault.NEXT_REFUSED_404: error(404, "not_found", "The page was not found."),
        }
        if fault in refusals:
            return refusals[fault]
        reply = self.answer(query)
        if isinstance(reply.content, dict) and reply.status == 200:
            reply = Reply(200, _misleading_page(fault, reply.content, query))
        return damaged_reply(fault) or reply

    def _scopes(self, authorization: str | None) -> frozenset[str] | None:
        return (
            self._issued.grantable
            if self._static.is_in(authorization)
            else self._issued.scopes_of(authorization)
        )

    def _unauthorized(self) -> Reply:
        return unauthorized(next(self._requests))


def _misleading_page(fault: Fault, page: Json, query: Query) -> Json:
    if fault is Fault.REPEATED_ROWS:
        return {
            name: shown[:2] + shown + shown[-1:] if isinstance(shown, list) else shown
            for name, shown in page.items()
        }
    if fault is Fault.REPEATED_NEXT:
        href = f"{query.path}?{urlencode(query.parameters)}"
        return {**page, "_links": {"next": {"href": href}}}
    return page
