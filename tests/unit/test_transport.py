"""Connecting to a host with several endpoints, and decoding a body."""

import gzip
import socket
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.constant_contact.http_stream import ExchangeLimits, decode_body
from contact_activity.constant_contact.http_transport import connect_to_any
from contact_activity.constant_contact.transport import NoAnswerError

UNKNOWN_FAMILY = socket.AddressFamily.AF_APPLETALK


def test_an_endpoint_of_an_unsupported_family_is_passed_over() -> None:
    """A machine without IPv6 still reaches a host that has IPv6 and IPv4."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        kind = socket.SocketKind.SOCK_STREAM
        endpoints = [
            (UNKNOWN_FAMILY, kind, 0, "", ("::1", 1)),
            (socket.AddressFamily.AF_INET, kind, 0, "", server.getsockname()),
        ]
        with closing(connect_to_any(endpoints, ExchangeLimits(2))) as connected:
            assert connected.getpeername() == server.getsockname()


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8))
def test_a_gzip_of_several_members_is_decoded_whole(parts: list[bytes]) -> None:
    """As if the members were one."""
    assert decode_body(b"".join(gzip.compress(part) for part in parts), "gzip") == b"".join(parts)


def test_a_gzip_of_too_many_members_is_refused_at_once() -> None:
    """Half a million empty ones would otherwise be copied one by one."""
    begun_s = time.monotonic()
    with pytest.raises(NoAnswerError):
        decode_body(gzip.compress(b"") * 500_000, "gzip")
    assert time.monotonic() - begun_s < 2
