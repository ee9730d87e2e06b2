"""Whether a run would work: its credential, account, rights, way to the API, calls of the day, and clock.

Takes a few calls, each in a slot of the limiter that the runs share. Stores nothing itself; only the tokens
are renewed if they are due, as a run would renew them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urlsplit

from contact_activity.constant_contact.client import Call, Look
from contact_activity.constant_contact.oauth import AuthorizationServer
from contact_activity.constant_contact.one_account import ACCOUNT_CALL
from contact_activity.constant_contact.permissions import Area, Permission
from contact_activity.constant_contact.token_answers import Busy, Lost
from contact_activity.constant_contact.transport import FormTransport, NoAnswerError, Transport
from contact_activity.constant_contact.v2 import V2
from contact_activity.constant_contact.v2_permissions import v2_permissions
from contact_activity.constant_contact.v3 import V3
from contact_activity.constant_contact.v3_permissions import v3_permissions
from contact_activity.constant_contact.verdict import Verdict
from contact_activity.domain.account import StoredAccount
from contact_activity.domain.counted import counted
from contact_activity.domain.pace import calls_left
from contact_activity.domain.pauses import Pause, PauseReason, Pauses, is_own_budget
from contact_activity.domain.rights import Right
from contact_activity.domain.times import midnight_after
from contact_activity.domain.tokens import StoredTokens
from contact_activity.errors import Cause, RetryError, WaitError, WaitReason
from contact_activity.operations import remedies
from contact_activity.operations.asking import asking_client, day_refused_until
from contact_activity.operations.findings import Fault, Finding
from contact_activity.operations.server_clock import DatedTransport
from contact_activity.operations.told_times import when
from contact_activity.ports import BearerTokens, Clock, Limiter
from contact_activity.run.program import program
from contact_activity.settings import Credentials, Settings, V3Credentials, Version

# For all of it. A refresh alone may take half of that.
MAX_CHECK_MS = 60_000
# Too short for a refresh, which could not reach its server.
NO_REFRESH_MS = 1_000
CONNECT_S = 5.0
MAX_CLOCK_OFF_MS = 20_000
CREDENTIALS, STATE, TOKEN_ENDPOINT, API = "credentials", "state", "token endpoint", "API"
ACCOUNT, CALLS, PAUSES, CLOCK, NOT_CHECKED = "account", "calls today", "pauses", "clock", "not checked"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds: how many contacts, read from which version of the API, and of which account."""

    contacts: int
    version: Version
    account: StoredAccount | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What is checked: the credential and the store of one system.

    `credentials`: those of v2, or the tokens of v3. In words: `origin`: where they are from; `renewal`:
    what to do when they are refused; `login`: what brings other tokens. `stored_tokens` reads tokens that
    can be refreshed, and `token_transport` leads to where they are; None for any other credential. `denied`
    gets the errors of the token endpoint as they come. `where`: the option that names the store, such as
    `--state .local`.
    """

    settings: Settings
    credentials: Credentials | BearerTokens
    origin: str
    renewal: str
    login: str
    where: str
    limiter: Limiter
    pauses: Pauses
    held: Held
    transport: Transport
    stored_tokens: Callable[[], StoredTokens] | None = None
    token_transport: FormTransport | None = None
    denied: Sequence[str] = field(default_factory=list)


def check(checked: Checked, clock: Clock) -> Iterator[Finding]:
    """Yield what is found, as it is found. What could not be looked at is named at the end.

    Raises `StandstillError` if the store cannot be used.
    """
    looks_at = [ACCOUNT, *Area] if checked.settings.api_version is Version.V3 else [*Area][:2]
    open_topics = [API, *looks_at, CLOCK]
    for finding in _Check(checked, clock).findings():
        if finding.topic in open_topics:
            open_topics.remove(finding.topic)
        yield finding
    if open_topics:
        yield Finding(NOT_CHECKED, ", ".join(open_topics), "mend what fails, and check again")


class _Check:
    def __init__(self, checked: Checked, clock: Clock) -> None:
        self._checked, self._clock = checked, clock
        self._settings, self._limiter = checked.settings, checked.limiter
        self._transport = DatedTransport(checked.transport, clock)
        self._is_v3 = self._settings.api_version is Version.V3
        self._version = V3 if self._is_v3 else V2
        self._client = asking_client(
            self._settings, checked.credentials, self._limiter, clock, self._transport
        )
        self._deadline_ms = clock.monotonic_ms() + MAX_CHECK_MS
        # When the API said that the day's calls are used up: until when to wait.
        self._used_up_until_ms: int | None = None

    def findings(self) -> Iterator[Finding]:
        state = self._state()
        if state.fault:
            # No token is spent for a folder that no run could use with it.
            yield Finding(CREDENTIALS, self._words())
            yield state
        else:
            yield from self._access(state)
        yield self._calls_today()
        yield from self._pauses()
        if self._transport.ahead_ms is not None:
            yield _clock(self._transport.ahead_ms)

    def _state(self) -> Finding:
        held, version = self._checked.held, self._settings.api_version
        if not held.contacts:
            return Finding(STATE, "holds no contact yet")
        text = f"holds {counted(held.contacts, 'contact')}, read from API {held.version.value}"
        if held.version is version:
            return Finding(STATE, text)
        text += f", and {version.value} has other ids"
        return Finding(STATE, text, f"{self._elsewhere} for {version.value}", Fault.SETTINGS)

    def _access(self, state: Finding) -> Iterator[Finding]:
        endpoint = self._token_endpoint()
        is_off = endpoint is not None and endpoint.fault is not None
        called_ms = self._last_token_call_ms()
        credentials = self._credentials(is_endpoint_off=is_off)
        yield credentials
        if endpoint:
            # A refresh was a better test, and the endpoint takes one call a second.
            was_called = self._last_token_call_ms() != called_ms
            found = endpoint if is_off or was_called else self._answered(endpoint)
            # A run needs it when the access token ends, and not before.
            yield found if credentials.fault or not found.fault else replace(found, fault=Fault.PART)
        yield state
        if credentials.fault or self._is_day_refused():
            return
        try:
            yield from self._asked()
        except WaitError as wait:
            yield from self._waiting(wait)
        except RetryError as error:
            cause = error.cause or Cause.SERVER_ERROR
            yield Finding(
                API, str(error), remedies.for_cause(cause, remedies.BASE_URL, self._settings), Fault.OTHER
            )

    @property
    def _elsewhere(self) -> str:
        """What brings another store."""
        option = self._checked.where.partition(" ")[0]
        return f"give another {option}"

    def _words(self) -> str:
        return f"API {self._settings.api_version.value}, {self._checked.origin}"

    @property
    def _denied(self) -> str:
        """The last error by which the token endpoint refused a refresh; "" if it refused none."""
        return self._checked.denied[-1] if self._checked.denied else ""

    def _token_endpoint(self) -> Finding | None:
        transport = self._checked.token_transport
        if transport is None:
            return None
        return self._reached(TOKEN_ENDPOINT, self._settings.token_url, transport, remedies.TOKEN_URL)

    def _last_token_call_ms(self) -> int | None:
        stored_tokens = self._checked.stored_tokens
        return stored_tokens().called_ms if stored_tokens else None

    def _answered(self, reached: Finding) -> Finding:
        """See that an authorization server answers, without sending it a token."""
        transport = self._checked.token_transport
        if transport is None:
            return reached
        server = AuthorizationServer(self._settings.token_url, V3Credentials(), transport, self._clock)
        answer = server.probe()
        if not isinstance(answer, Busy | Lost) or (isinstance(answer, Busy) and answer.is_throttled):
            return reached
        text = f"{urlsplit(self._settings.token_url).netloc} answers: {answer.why}"
        if answer.is_elsewhere:
            remedy = remedies.for_cause(Cause.ANSWER_UNUSABLE, remedies.TOKEN_URL, self._settings)
            return Finding(TOKEN_ENDPOINT, text, remedy, Fault.OTHER)
        # An error of its own is an answer, too, as long as it is one of a request that is wrong.
        is_passing = not answer.why.startswith("status 4")
        return Finding(TOKEN_ENDPOINT, text, "check again later") if is_passing else reached

    def _reached(self, topic: str, url: str, transport: Transport | FormTransport, setting: str) -> Finding:
        """Open a connection, and send nothing."""
        host = urlsplit(url).netloc
        try:
            with transport.connected(within_s=CONNECT_S):
                return Finding(topic, f"{host} can be reached")
        except NoAnswerError as error:
            remedy = remedies.for_cause(error.cause, setting, self._settings)
            return Finding(topic, f"{host}: {error.cause}", remedy, Fault.OTHER)

    def _credentials(self, *, is_endpoint_off: bool) -> Finding:
        """See that there is an access token; it is refreshed if it is due."""
        credentials, stored_tokens = self._checked.credentials, self._checked.stored_tokens
        if isinstance(credentials, Credentials) or stored_tokens is None:
            return Finding(CREDENTIALS, self._words())
        within_ms = NO_REFRESH_MS if is_endpoint_off else MAX_CHECK_MS
        try:
            credentials.access_token(deadline_ms=self._clock.monotonic_ms() + within_ms)
        except WaitError as wait:
            if wait.reason is WaitReason.CREDENTIAL:
                return self._refused_refresh(stored_tokens())
            text = f"{self._words()}: there is no access token that lives"
            remedy = "mend the way to the token endpoint" if is_endpoint_off else "check again in a minute"
            return Finding(CREDENTIALS, text, remedy, Fault.OTHER)
        except RetryError as error:
            return Finding(CREDENTIALS, f"{self._words()}: {error}", "check again in a minute", Fault.OTHER)
        return self._living(stored_tokens())

    def _living(self, stored: StoredTokens) -> Finding:
        until = ""
        if stored.access:
            until = f" until {when(stored.access.expires_ms, self._clock.now_ms())}"
        text = f"{self._words()}: an access token{until}, and "
        before = f"before it ends: {self._checked.renewal}"
        if self._denied in remedies.WRONG_CLIENT:
            refused = f"{text}an application that the token endpoint refuses ({self._denied})"
            return Finding(CREDENTIALS, refused, remedies.WRONG_CLIENT[self._denied])
        if self._denied and not stored.is_dead:
            refused = f"{self._words()}, but it is refused ({self._denied}), so the tokens before it are used"
            return Finding(
                CREDENTIALS, f"{refused}: an access token{until}", "take it out, or give a good one"
            )
        if stored.refresh_token is None:
            return Finding(CREDENTIALS, f"{text}no refresh token", before)
        if stored.is_dead:
            return Finding(CREDENTIALS, f"{text}a refresh token that is good no longer", before)
        if stored.unanswered:
            lost = f"{text}a refresh token whose last answer was lost, so that it may be spent"
            return Finding(CREDENTIALS, lost, before)
        return Finding(CREDENTIALS, f"{text}a refresh token that renews it")

    def _refused_refresh(self, stored: StoredTokens) -> Finding:
        error = self._denied
        if error in remedies.WRONG_CLIENT:
            text = f"{self._words()}: the token endpoint refuses the application ({error})"
            return Finding(CREDENTIALS, text, remedies.WRONG_CLIENT[error], Fault.CREDENTIAL)
        why = f" ({error})" if error else ""
        text = f"{self._words()}: the refresh token is good no longer{why}, and there is no access token"
        if stored.refresh_token is None:
            text = f"{self._words()}: the access token has ended, and there is no refresh token"
        return Finding(CREDENTIALS, text, self._checked.renewal, Fault.CREDENTIAL)

    def _asked(self) -> Iterator[Finding]:
        """Make the calls. Raises `WaitError` and `RetryError` where they cannot go on."""
        reached = self._reached(API, self._settings.base_url, self._transport, remedies.BASE_URL)
        if reached.fault:
            yield reached
            return
        permissions = (v3_permissions if self._is_v3 else v2_permissions)(self._look)
        contacts = next(permissions)
        if contacts.look.verdict is not Verdict.OK and not contacts.look.is_refused:
            remedy = remedies.for_cause(Cause.ANSWER_UNUSABLE, remedies.BASE_URL, self._settings)
            if contacts.look.status == 404:
                version = self._settings.api_version.value
                remedy += f"; it must be that of API {version}, unless CONSTANT_CONTACT_API_VERSION is wrong"
            yield Finding(API, f"{reached.text}, and answers {contacts.look.status}", remedy, Fault.OTHER)
            return
        yield self._answers()
        if self._is_v3:
            yield self._account()
        elif contacts.look.is_refused:
            yield self._refused_key(contacts.look)
            return
        yield self._permitted(contacts)
        for permission in permissions:
            yield self._permitted(permission)

    def _answers(self) -> Finding:
        return Finding(API, f"{urlsplit(self._settings.base_url).netloc} answers")

    def _look(self, call: Call[T], /) -> Look[T]:
        return self._client.look(call, self._version, deadline_ms=self._deadline_ms)

    def _account(self) -> Finding:
        look, stored = self._look(ACCOUNT_CALL), self._checked.held.account
        if look.is_refused:
            right = Right.ACCOUNT_READ
            text = f"{right.missing}, so that no run can tell whether it is the account of the state"
            return Finding(ACCOUNT, text, remedies.for_right(right, self._checked.login))
        if look.result is None:
            return Finding(ACCOUNT, f"the API does not name it ({look.status})", "check again later")
        if stored is None:
            return Finding(ACCOUNT, f"{look.result}; the first run notes that the state is of it")
        if stored.account_id == look.result:
            return Finding(ACCOUNT, f"{look.result}, as that of the state")
        text = f"{look.result}, but the state is of {stored.account_id}"
        return Finding(ACCOUNT, text, f"{self._elsewhere}, or log in to that account", Fault.SETTINGS)

    def _refused_key(self, look: Look[object]) -> Finding:
        """The credential of v2: the gateway refuses a key with 403, the API a token with 401."""
        name = "CONSTANT_CONTACT_ACCESS_TOKEN" if look.status == 401 else "CONSTANT_CONTACT_API_KEY"
        text = f"the API refuses it ({_answer(look)}), which is a matter of {name}"
        is_of_folder = self._checked.where.startswith("--state")
        remedy = f"renew {name}" if is_of_folder else self._checked.renewal
        return Finding(CREDENTIALS, text, remedy, Fault.CREDENTIAL)

    def _permitted(self, permission: Permission) -> Finding:
        look, area = permission.look, permission.area
        if look.verdict in (Verdict.OK, Verdict.GONE):
            return Finding(area, "can be read")
        if not look.is_refused:
            return Finding(area, f"the API answers {_answer(look)}", "check again later", Fault.OTHER)
        if not self._is_v3:
            text = f"may not be listed ({_answer(look)}): contacts alone bring all activity, only later"
            return Finding(area, text, "give the user of the access token a role that may see campaigns")
        if look.status == 401:
            text = "refused (401), though the access token is accepted elsewhere"
            return Finding(area, text, "check again in a minute", Fault.OTHER)
        text, right = f"may not be read ({_answer(look)})", permission.lacks
        if right is None:
            return Finding(area, f"{text}, for want of a right", "check again in a minute", Fault.PART)
        # Without the list of contacts a run does nothing.
        fault = Fault.CREDENTIAL if area is Area.CONTACTS else Fault.PART
        remedy = remedies.for_right(right, self._checked.login)
        # Contacts' own reports take it as campaigns' do.
        is_silencing = right is Right.METRICS
        return Finding(area, f"{text}: {right.missing}", remedy, fault, is_silencing=is_silencing)

    def _waiting(self, wait: WaitError) -> Iterator[Finding]:
        if wait.reason is WaitReason.CREDENTIAL:
            if self._transport.ahead_ms is not None:
                yield self._answers()
            remedy = remedies.WRONG_CLIENT.get(self._denied, self._checked.renewal)
            yield Finding(CREDENTIALS, "the API refuses the access token", remedy, Fault.CREDENTIAL)
        elif wait.reason is WaitReason.QUOTA:
            self._used_up_until_ms = wait.until_ms
        else:
            text = "no call had its turn within a minute: a run uses them all"
            yield Finding(API, text, "check again when the run has less to do")

    def _is_day_refused(self) -> bool:
        """Whether the API said that the day's calls are used up, and may not be asked again yet."""
        now_ms = self._clock.now_ms()
        self._used_up_until_ms = day_refused_until(self._checked.pauses, self._limiter, now_ms)
        return self._used_up_until_ms is not None

    def _calls_today(self) -> Finding:
        now_ms, limits = self._clock.now_ms(), self._limiter.limits
        used = self._limiter.pace().used_on(now_ms)
        left = max(0, limits.calls_per_day - used)
        ends_in = _span(midnight_after(now_ms) - now_ms)
        settings = (
            f"{self._settings.calls_per_day:,} CALLS_PER_DAY × {self._settings.quota_share:g} QUOTA_SHARE"
        )
        text = f"{used:,} of {limits.calls_per_day:,} used ({settings}), {left:,} left for {ends_in}"
        if not left:
            ends = when(midnight_after(now_ms), now_ms)
            remedy = f"run again after {ends}; raise CALLS_PER_DAY or QUOTA_SHARE if the key has more calls"
            return Finding(CALLS, text, remedy, Fault.QUOTA)
        if self._used_up_until_ms is not None:
            until = when(self._used_up_until_ms, now_ms)
            text = f"used up, as the API says, though our own count is {used:,} of {limits.calls_per_day:,}"
            remedy = f"run again after {until}; see who else uses the key, and lower QUOTA_SHARE"
            return Finding(CALLS, text, remedy, Fault.QUOTA)
        return Finding(CALLS, text)

    def _pauses(self) -> Iterator[Finding]:
        now_ms = self._clock.now_ms()
        has_calls_left = calls_left(self._limiter.pace(), self._limiter.limits, now_ms) > 0
        yield from pause_findings(
            self._checked.pauses, self._checked.where, now_ms, has_calls_left=has_calls_left
        )


def pause_findings(
    pauses: Pauses, where: str, now_ms: int, *, has_calls_left: bool = False
) -> Iterator[Finding]:
    """Yield what keeps a run from making calls. `where`: see `Checked`.

    `has_calls_left`: the limit of these settings is not reached, so that a run ends the pause of another's.
    """
    active = pauses.active(now_ms)
    if not active:
        yield Finding(PAUSES, "none")
    for pause in active:
        # Nobody else ends the operator's. The others are as good as what they wait for.
        fault = Fault.OTHER if pause.reason is PauseReason.OPERATOR else None
        if has_calls_left and is_own_budget(pause, now_ms):
            text = f"{_pause_text(pause, now_ms)}, of a lower CALLS_PER_DAY or QUOTA_SHARE"
            yield Finding(PAUSES, text, "run again: with these settings it goes on at once")
            continue
        yield Finding(PAUSES, _pause_text(pause, now_ms), _end_of(pause, where), fault)


def _end_of(pause: Pause, where: str) -> str:
    return {
        PauseReason.OPERATOR: f"{program()} resume {where}",
        PauseReason.CREDENTIAL: "run again: it tries the credential once, and goes on if it is accepted",
        PauseReason.QUOTA: "run again then, or once more calls are allowed",
    }[pause.reason]


def _pause_text(pause: Pause, now_ms: int) -> str:
    until = "" if pause.until_ms is None else f" until {when(pause.until_ms, now_ms)}"
    right = Right.named(pause.lacks)
    why = {
        PauseReason.OPERATOR: "by the operator",
        PauseReason.CREDENTIAL: f"since {right.missing}" if right else "since the API refused the credential",
        PauseReason.QUOTA: "since the day's calls were used up",
    }[pause.reason]
    return f"paused {why}{until}"


def _clock(ahead_ms: int) -> Finding:
    off_ms = abs(ahead_ms)
    way = "ahead of" if ahead_ms > 0 else "behind"
    text = f"this machine's is {_span(off_ms)} {way} the API's"
    if off_ms <= MAX_CLOCK_OFF_MS:
        return Finding(CLOCK, "as the API's" if off_ms < 2_000 else text)
    return Finding(CLOCK, text, "set it right, for example with `timedatectl set-ntp true`")


def _answer(look: Look[object]) -> str:
    return f"{look.status} {look.error_key}".rstrip()


def _span(time_ms: int) -> str:
    minutes, s = divmod(time_ms // 1_000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min" if minutes > 1 else f"{60 * minutes + s} s"
