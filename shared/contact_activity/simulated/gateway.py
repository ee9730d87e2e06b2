"""The gateway before v2: who may pass, and what a fault makes of an answer. What both versions share."""

from dataclasses import dataclass
from typing import Protocol

from contact_activity.simulated.account import SimulatedAccount
from contact_activity.simulated.api import Api, Query
from contact_activity.simulated.faults import Fault
from contact_activity.simulated.faulty_replies import INVALID_TOKEN, faulty_reply, over_quota
from contact_activity.simulated.http_server import Incoming
from contact_activity.simulated.quota import Over
from contact_activity.simulated.replies import Reply, error
from contact_activity.simulated.switches import Switches


class Gateway(Protocol):
    """One version of the API behind its gateway."""

    def refusal(self, incoming: Incoming, over: Over | None, now_ms: int) -> Reply | None:
        """Return the refusal of a request. None if it passes."""

    def answer(self, query: Query) -> Reply:
        """Return the right answer, without any fault."""

    def violation(self, query: Query) -> str | None:
        """Return a line that names a misuse of the API, without personal data. None if there is none."""

    def faulty(self, fault: Fault, query: Query) -> Reply:
        """Return the answer with a fault. It is the right one if the fault concerns only its delivery."""


@dataclass(slots=True)
class StaticToken:
    """An access token that no endpoint issued. It is accepted while `is_good`."""

    text: str
    is_good: bool = True

    def is_in(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header has this token, and it is accepted."""
        return self.is_good and authorization == f"Bearer {self.text}"


class V2Gateway:
    """v2 of an account. It takes an API key and the static token."""

    def __init__(
        self, account: SimulatedAccount, switches: Switches, api_key: str, token: StaticToken
    ) -> None:
        self._api = Api(account, switches)
        self._switches = switches
        self._api_key, self._token = api_key, token

    def refusal(self, incoming: Incoming, over: Over | None, now_ms: int) -> Reply | None:  # noqa: ARG002 (as v3)
        if incoming.api_key != self._api_key:
            return error(403, "mashery.not.authorized.inactive", "The API key is not active.")
        if over is not None:
            return over_quota(over, self._switches)
        if not self._token.is_in(incoming.authorization):
            return error(401, INVALID_TOKEN, "The access token is not valid.")
        if not accepts_json(incoming.accept, anything=self._switches.accept_anything):
            return error(406, self._switches.not_acceptable_key, "Only application/json can be given.")
        if incoming.method != "GET":
            return error(405, "http.status.method_not_allowed", "This account can only be read.")
        return None

    def answer(self, query: Query) -> Reply:
        return self._api.answer(query)

    def violation(self, query: Query) -> str | None:
        return self._api.violation(query)

    def faulty(self, fault: Fault, query: Query) -> Reply:
        return faulty_reply(fault, self.answer(query), query.path, query.parameters, self._switches)


def accepts_json(accept: str | None, *, anything: bool) -> bool:
    """Whether an `Accept` header takes JSON. With `anything` a `*/*` does, and so does no header."""
    ranges = {part.split(";")[0].strip().lower() for part in (accept or "*/*").split(",")}
    return "application/json" in ranges or (anything and "*/*" in ranges)
