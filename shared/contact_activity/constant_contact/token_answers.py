"""Read the answers of the provider's authorization server.

Pure: no clock, no environment, no logging. The errors are those of RFC 6749, section 5.2, and of RFC 8628,
section 3.5; the provider's own texts are never shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from contact_activity.constant_contact.fields import count_of
from contact_activity.domain.tokens import Granted

# An answer need not say how long a token lives, and some servers say 0 of one that does not end. The
# provider's live 24 h.
LIFE_UNSAID_S = 3_600
MAX_LIFE_S = 10 * 366 * 86_400
# RFC 8628, section 3.2.
INTERVAL_UNSAID_S = 5
MAX_INTERVAL_S = 300
DEVICE_LIFE_UNSAID_S = 900

INVALID_GRANT = "invalid_grant"
PENDING, SLOW_DOWN = "authorization_pending", "slow_down"
ACCESS_DENIED, EXPIRED = "access_denied", "expired_token"
_THROTTLED = "status 429"
# Any other error may pass.
_FINAL = {
    *("invalid_request", "invalid_client", INVALID_GRANT, "unauthorized_client", "unsupported_grant_type"),
    *("invalid_scope", PENDING, SLOW_DOWN, ACCESS_DENIED, EXPIRED),
}


@dataclass(frozen=True, slots=True)
class Denied:
    """The server refuses, with an error of the two RFCs. Nothing was spent."""

    error: str


@dataclass(frozen=True, slots=True)
class Busy:
    """The call did no harm and may work later. `why` is for the operator.

    `is_elsewhere`: no authorization server answers so, which a further call does not change.
    """

    why: str
    retry_after_s: float = 0.0
    is_elsewhere: bool = False

    @property
    def is_throttled(self) -> bool:
        """Whether the server only wants fewer calls in a second."""
        return self.why == _THROTTLED


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows what the call did: its answer did not come, or cannot be read.

    `is_elsewhere`: see `Busy`.
    """

    why: str
    is_elsewhere: bool = False


TokenAnswer = Granted | Denied | Busy | Lost


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a device login begins with: where the user enters which code, and how long that is possible.

    `complete_uri` holds the code already; it is None if the server gives none.
    """

    device_code: str = field(repr=False)
    user_code: str
    uri: str
    complete_uri: str | None
    interval_s: int
    life_s: int


def read_token_answer(status: int, body: object, retry_after_s: float = 0.0) -> TokenAnswer:
    """Return what an answer of the token endpoint means. `body`: its JSON, None if it is none."""
    if status == 200:
        return _granted(body) or _denied(body) or _unread(body)
    return _refusal(status, body, retry_after_s)


def read_device_answer(
    status: int, body: object, retry_after_s: float = 0.0
) -> DeviceCode | Denied | Busy | Lost:
    """Return what an answer of the device endpoint means."""
    if status == 200:
        return _device_code(body) or _denied(body) or _unread(body)
    return _refusal(status, body, retry_after_s)


def _refusal(status: int, body: object, retry_after_s: float) -> Denied | Busy:
    denied = _denied(body) if 400 <= status < 500 and status != 429 else None
    return denied or Busy(f"status {status}", retry_after_s, _is_elsewhere(status, body))


def _is_elsewhere(status: int, body: object) -> bool:
    """Whether this is no answer of an authorization server, given that it is none of its known ones."""
    if status in (400, 401):
        return not isinstance(body, Mapping)
    return 300 <= status < 500 and status not in (408, 425, 429)


def _unread(body: object) -> Lost:
    if isinstance(body, Mapping):
        return Lost("an answer that cannot be read")
    return Lost("an answer that is no JSON object", is_elsewhere=True)


def _denied(body: object) -> Denied | None:
    """The refusal of a body that has no token, whatever its status: some servers refuse with a 200."""
    if not isinstance(body, Mapping) or "access_token" in body:
        return None
    error = body.get("error")
    return Denied(error) if isinstance(error, str) and error in _FINAL else None


def _granted(body: object) -> Granted | None:
    if not isinstance(body, Mapping):
        return None
    access, refresh = body.get("access_token"), body.get("refresh_token") or None
    if not _is_token(access) or not (refresh is None or _is_token(refresh)):
        return None
    life_s = count_of(body.get("expires_in"))
    life_s = min(life_s, MAX_LIFE_S) if life_s else LIFE_UNSAID_S
    return Granted(str(access), None if refresh is None else str(refresh), life_s * 1_000)


def _device_code(body: object) -> DeviceCode | None:
    if not isinstance(body, Mapping):
        return None
    device_code, user_code = body.get("device_code"), body.get("user_code")
    uri, complete = body.get("verification_uri"), body.get("verification_uri_complete")
    if not (_is_token(device_code) and _is_shown(user_code) and _is_address(uri)):
        return None
    interval_s, life_s = count_of(body.get("interval")), count_of(body.get("expires_in"))
    return DeviceCode(
        str(device_code),
        str(user_code),
        str(uri),
        str(complete) if _is_address(complete) else None,
        INTERVAL_UNSAID_S if interval_s is None else min(interval_s, MAX_INTERVAL_S),
        life_s or DEVICE_LIFE_UNSAID_S,
    )


def _is_token(value: object) -> bool:
    """Whether it can be part of a header."""
    return isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,16384}", value) is not None


def _is_shown(value: object) -> bool:
    """Whether it can be shown on a terminal."""
    return isinstance(value, str) and re.fullmatch(r"[\x20-\x7e]{1,2000}", value) is not None


def _is_address(value: object) -> bool:
    """Whether a browser may be sent there."""
    return _is_shown(value) and re.match(r"https?://[^ ]+$", str(value)) is not None
