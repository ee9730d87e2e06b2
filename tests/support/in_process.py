"""The simulated API without a socket, for clients in virtual time."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from urllib.parse import parse_qsl, urlsplit

from contact_activity.constant_contact.transport import Connection, Reply
from contact_activity.ports import Clock
from contact_activity.simulated import Server
from contact_activity.simulated.delivery import Delivery
from contact_activity.simulated.http_server import Incoming


class Reached:
    """The `Transport` port and its one connection, which always stands; `get` is what a call meets."""

    def connected(self, **_: float) -> AbstractContextManager[Connection]:
        return nullcontext(self)

    def is_quiet(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:
        raise NotImplementedError


class InProcess(Reached):
    """Each call reaches the server at once and takes `answer_s` of the clock."""

    def __init__(self, server: Server, clock: Clock, *, answer_s: float) -> None:
        self._server = server
        self._clock = clock
        self._answer_s = answer_s

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:  # noqa: ARG002
        answer = self._server.answer(incoming(target, headers))
        self._clock.sleep(self._answer_s)
        return received(answer)


def received(answer: Delivery) -> Reply:
    """An answer as a client has it, when all of it arrived."""
    return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.sent)


def incoming(target: str, headers: Mapping[str, str]) -> Incoming:
    """A call as the server's gateway sees it."""
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    key = query.pop("api_key", None)
    return Incoming("GET", url.path, query, key, headers["Authorization"], headers["Accept"])
