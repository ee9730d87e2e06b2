"""Sign in to Constant Contact: by a code that is entered elsewhere, or by a browser on this machine."""

import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from contact_activity.constant_contact.oauth import AuthorizationServer
from contact_activity.constant_contact.token_answers import (
    ACCESS_DENIED,
    EXPIRED,
    INVALID_GRANT,
    PENDING,
    SLOW_DOWN,
    Busy,
    Denied,
    DeviceCode,
    Lost,
)
from contact_activity.domain.tokens import Granted
from contact_activity.operations.loopback import REDIRECT_PORT, await_redirect, redirect_uri
from contact_activity.operations.remedies import AS_HELP_SAYS, WRONG_CLIENT
from contact_activity.ports import Clock
from contact_activity.run.errors import RunError
from contact_activity.settings import SettingsError

_OPTION = "--client-id"
# RFC 8628, section 3.5.
SLOWER_S = 5
MAX_INTERVAL_S = 60
CODE_LIFE_S = 900.0
# By errors that a setting of the application in the developer portal may cause.
_OF_PORTAL = ("invalid_request", "invalid_scope", INVALID_GRANT)


@dataclass(frozen=True, slots=True)
class Login:
    """What a login brought, and when that was asked for."""

    granted: Granted
    asked_ms: int


def device_login(
    server: AuthorizationServer, clock: Clock, show: Callable[[DeviceCode], object], *, command: str
) -> Login:
    """Begin a device login, `show` its code, and wait until the user has entered it.

    `command`: what begins it again.
    Raises `RunError` if the user denies it or the code expires, and `SettingsError` for a wrong client.
    """
    device = _begun(server, command)
    show(device)
    until_ms = clock.monotonic_ms() + device.life_s * 1_000
    interval_s = max(1, device.interval_s)
    while clock.monotonic_ms() + interval_s * 1_000 < until_ms:
        clock.sleep(interval_s)
        asked_ms = clock.now_ms()
        match server.poll(device):
            case Granted() as granted:
                return Login(granted, asked_ms)
            case Denied(error) if error in (PENDING, SLOW_DOWN):
                interval_s += SLOWER_S if error == SLOW_DOWN else 0
            case Denied(error) if error != EXPIRED:
                raise _refusal(error, command)
            case Denied():
                break
            case Busy(why) | Lost(why) as answer:
                if answer.is_elsewhere:
                    raise _elsewhere(why, command)
                # If the grant was in an answer that is lost, the next one says that the code is spent.
                interval_s = min(MAX_INTERVAL_S, 2 * interval_s)
    raise RunError(f"the code has expired before it was entered: {_again(command)}")


def code_login(
    server: AuthorizationServer,
    clock: Clock,
    show: Callable[[str], object],
    pasted: TextIO | None,
    port: int = REDIRECT_PORT,
    *,
    command: str,
) -> Login:
    """`show` the address of the sign-in, wait for its redirect, and spend the code that it brings.

    The redirect reaches this machine on `port`, or somebody pastes its address into `pasted`. `command`: what
    begins it again. Raises as `device_login`.
    """
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(64)
    address = redirect_uri(port)
    url = server.authorize_url(state=state, verifier=verifier, redirect_uri=address)
    redirect = await_redirect(
        port, state, pasted, lambda: show(url), within_s=CODE_LIFE_S, again=_again(command)
    )
    if redirect.error:
        raise _refusal(redirect.error, command)
    asked_ms = clock.now_ms()
    answer = server.exchange(redirect.code, verifier=verifier, redirect_uri=address)
    match answer:
        case Granted():
            return Login(answer, asked_ms)
        case Denied(error):
            raise _refusal(error, command)
        case Busy(why) | Lost(why) if answer.is_elsewhere:
            raise _elsewhere(why, command)
        case Busy(why) | Lost(why):
            raise RunError(f"the sign-in cannot be finished ({why}): {_again(command)}")


def _begun(server: AuthorizationServer, command: str) -> DeviceCode:
    answer = server.begin_device(secrets.token_urlsafe(24))
    match answer:
        case DeviceCode():
            return answer
        case Denied(error):
            raise _refusal(error, command)
        case Busy(why) | Lost(why):
            raise RunError(
                f"the sign-in cannot begin ({why}): check CONSTANT_CONTACT_TOKEN_URL, and {_again(command)}"
            )


def _elsewhere(why: str, command: str) -> RunError:
    return RunError(
        f"the token endpoint cannot be used ({why}): check CONSTANT_CONTACT_TOKEN_URL, and {_again(command)}"
    )


def _refusal(error: str, command: str) -> Exception:
    if error in WRONG_CLIENT:
        return SettingsError(_wrong_client(error, command))
    if error == ACCESS_DENIED:
        return RunError(f"the access was denied in the browser: {_again(command)} and allow it")
    portal = f"see that the application is {AS_HELP_SAYS}, then " if error in _OF_PORTAL else ""
    return RunError(f"Constant Contact refuses the login ({error}): {portal}{_again(command)}")


def _wrong_client(error: str, command: str) -> str:
    """What to do about a wrong application, by the name of what gave it. A wrong id is not repeated."""
    told, words = WRONG_CLIENT[error], shlex.split(command)
    if _OPTION not in words:
        return f"{told}; then {_again(command)}"
    wrong_id = shlex.quote(words[words.index(_OPTION) + 1])
    other = command.replace(f"{_OPTION} {wrong_id}", f"{_OPTION} ID")
    return f"{told.replace('CONSTANT_CONTACT_CLIENT_ID', _OPTION)}; then run `{other}`"


def _again(command: str) -> str:
    return f"run `{command}` again"
