"""A stack as CloudFormation tells of it, on the wire: moto has none without packages more."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest

from tests.support.served import served_by


@dataclass
class DescribedStack:
    """The only stack of an account. `status`: None if it is gone."""

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    status: str | None = "CREATE_COMPLETE"

    def answer(self, asked: Mapping[str, str]) -> tuple[int, str]:
        """Answer a request of the query protocol, as the API reference has it."""
        operation = asked["Action"]
        if operation != "DescribeStacks":
            return 400, _error("InvalidAction", f"there is no script for {operation}")
        if self.status is None or asked.get("StackName", self.name) != self.name:
            return 400, _error("ValidationError", f"Stack with id {asked.get('StackName')} does not exist")
        return 200, _answer(operation, self._described(self.status))

    def _described(self, status: str) -> str:
        told = {
            "StackName": self.name,
            "StackStatus": status,
            "CreationTime": "2026-01-01T00:00:00.000Z",
        }
        facts = "".join(_element(name, escape(text)) for name, text in told.items())
        outputs = _members("Outputs", "Output", self.outputs)
        given = _members("Parameters", "Parameter", self.parameters)
        return f"<Stacks><member>{facts}{outputs}{given}</member></Stacks>"


def _members(list_name: str, name: str, of: Mapping[str, str]) -> str:
    return _element(
        list_name,
        "".join(
            _element("member", _element(f"{name}Key", escape(key)) + _element(f"{name}Value", escape(text)))
            for key, text in of.items()
        ),
    )


def _element(name: str, body: str) -> str:
    return f"<{name}>{body}</{name}>"


def _answer(operation: str, result: str) -> str:
    return (
        f'<{operation}Response xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">'
        f"<{operation}Result>{result}</{operation}Result></{operation}Response>"
    )


def _error(code: str, message: str) -> str:
    error = _element("Type", "Sender") + _element("Code", code) + _element("Message", escape(message))
    return f"<ErrorResponse><Error>{error}</Error><RequestId>1</RequestId></ErrorResponse>"


@contextmanager
def described(stack: DescribedStack) -> Iterator[DescribedStack]:
    """Serve it on a free port of this machine, where boto3 finds CloudFormation meanwhile."""
    with served_by(_handler(stack)) as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", url)
        yield stack


def _handler(stack: DescribedStack) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, answer = stack.answer({name: values[0] for name, values in parse_qs(body).items()})
            sent = answer.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """The tests look at what is made of it."""

    return Handler
