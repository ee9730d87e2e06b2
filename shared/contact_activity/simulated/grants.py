"""What an authorisation server remembers: who was allowed what, and which tokens stand for it."""

import base64
import hashlib
from dataclasses import dataclass, field
from itertools import count

_JWT_HEADER = '{"alg":"RS256","typ":"JWT"}'
_ACCESS_TOKEN_BYTES = 780  # about 1,100 characters, as the real ones have
_DIGEST_BYTES = 32


@dataclass(slots=True)
class Family:
    """All tokens that come from one consent. Once revoked, none of them is accepted.

    `refresh_token` is the one that is good now; None for a family without.
    """

    client_id: str
    scopes: frozenset[str]
    refresh_token: str | None = None
    used_ms: int = 0
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token until `expires_ms`."""

    family: Family
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Code:
    """An authorisation code. `challenge` is the S256 of PKCE; None without PKCE."""

    client_id: str
    scopes: frozenset[str]
    redirect_uri: str
    challenge: str | None
    expires_ms: int


@dataclass(slots=True)
class DeviceCode:
    """A device code. `is_allowed` is None until the user decides; `polled_ms` None before the first poll."""

    client_id: str
    scopes: frozenset[str]
    user_code: str
    expires_ms: int
    interval_ms: int
    polled_ms: int | None = None
    is_allowed: bool | None = None


@dataclass(slots=True)
class Grants:
    """Everything that was granted. `spent` has refresh tokens that were used or replaced."""

    access: dict[str, AccessToken] = field(default_factory=dict)
    refresh: dict[str, Family] = field(default_factory=dict)
    spent: dict[str, Family] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    used_codes: dict[str, Family | None] = field(default_factory=dict)
    devices: dict[str, DeviceCode] = field(default_factory=dict)


class Mint:
    """Makes texts that nobody can guess without the seed. The n-th text is the same in every run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._numbers = count(1)

    def text(self, kind: str, size_bytes: int = _DIGEST_BYTES) -> str:
        """Return base64url of this many bytes."""
        number = next(self._numbers)
        blocks = range(-(-size_bytes // _DIGEST_BYTES))
        data = b"".join(
            hashlib.sha256(f"{self._seed}:{kind}:{number}:{block}".encode()).digest() for block in blocks
        )
        return _base64url(data[:size_bytes])

    def access_token(self) -> str:
        """Return a text in the form and of the length of a real access token."""
        header = _base64url(_JWT_HEADER.encode())
        return f"{header}.{self.text('claims', _ACCESS_TOKEN_BYTES - 256)}.{self.text('signature', 256)}"

    def user_code(self) -> str:
        """Return eight letters for a person to type."""
        return self.text("user code", 40).translate(_NO_LETTERS).upper()[:8]


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636)."""
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


_NO_LETTERS = str.maketrans("", "", "0123456789-_")
