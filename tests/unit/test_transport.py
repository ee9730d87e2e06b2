"""How a connection is made to a host of several addresses, and how a body is decoded."""

import gzip
import socket
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.constant_contact.transport import NoAnswerError, _Bounds, _decoded, _first_to_connect

UNKNOWN_FAMILY = socket.AddressFamily.AF_APPLETALK


def test_an_address_of_an_unknown_family_takes_no_other_away() -> None:
    """As on a machine without IPv6, of a host that has both."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        kind = socket.SocketKind.SOCK_STREAM
        found = [
            (UNKNOWN_FAMILY, kind, 0, "", ("::1", 1)),
            (socket.AddressFamily.AF_INET, kind, 0, "", server.getsockname()),
        ]
        with closing(_first_to_connect(found, _Bounds(2))) as connected:
            assert connected.getpeername() == server.getsockname()


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8))
def test_a_body_may_be_zipped_in_parts(parts: list[bytes]) -> None:
    assert _decoded(b"".join(gzip.compress(part) for part in parts), "gzip") == b"".join(parts)


def test_a_million_parts_take_no_time() -> None:
    begun_s = time.monotonic()
    with pytest.raises(NoAnswerError):
        _decoded(gzip.compress(b"") * 500_000, "gzip")
    assert time.monotonic() - begun_s < 2
