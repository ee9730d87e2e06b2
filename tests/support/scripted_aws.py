"""A stand-in for AWS on the wire: speaks the JSON protocol and answers by a script."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.served import served_by

Json = dict[str, Any]
Answer = Callable[[Json], tuple[int, Json]]


@dataclass
class ScriptedAws:
    """The answers still to give, by operation, and the requests so far: (operation, parameters).

    When an operation's answers are used up its last one stays.
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, Json]] = field(default_factory=list)
    endpoint_url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, operation: str, *answers: Answer) -> None:
        self.answers[operation] = list(answers)

    def asked(self, operation: str) -> list[Json]:
        return [parameters for name, parameters in self.requests if name == operation]

    def answer(self, operation: str, parameters: Json) -> tuple[int, Json]:
        with self._lock:
            self.requests.append((operation, parameters))
            script = self.answers[operation]
            answer = script.pop(0) if len(script) > 1 else script[0]
        return answer(parameters)


def given(body: Json) -> Answer:
    """Answer with this, whatever was asked."""
    return lambda _: (200, body)


def error(code: str, status: int = 400, **more: object) -> Answer:
    """Answer with an error of the JSON protocol."""
    return lambda _: (status, {"__type": code, "message": f"scripted {code}", **more})


@contextmanager
def scripted_aws() -> Iterator[ScriptedAws]:
    """Serve a script on a free port of this machine."""
    aws = ScriptedAws()
    with served_by(_handler(aws)) as aws.endpoint_url:
        yield aws


def _handler(aws: ScriptedAws) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parameters = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            self._send(*aws.answer(operation, parameters))

        def _send(self, status: int, body: Mapping[str, object]) -> None:
            sent = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """The tests look at `requests`."""

    return Handler
