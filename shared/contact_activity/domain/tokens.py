"""The tokens of the v3 API: when one is refreshed, and what is stored of them.

A refresh token may be good for one use only. If an answer that brings its successor is lost, it is spent
and nobody has the new one. So each use is counted before it is sent, and the count is taken back when an
answer says that the token was not spent.
"""

import hashlib
from dataclasses import dataclass, field, replace
from enum import Enum, auto

# How often one refresh token is sent without an answer: once, and once more when nothing else is left.
MAX_UNANSWERED = 2
# A token that was asked for later than this from now was stored by a clock that ran ahead.
CLOCK_TOLERANCE_MS = 60_000


class Step(Enum):
    """What to do about the access token."""

    USE = auto()
    REFRESH = auto()
    GIVE_UP = auto()


@dataclass(frozen=True, slots=True)
class Granted:
    """Tokens that the provider gave. `refresh_token` is None if the answer has none."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    life_ms: int


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token, with the times when it was asked for and when it ends."""

    text: str = field(repr=False)
    asked_ms: int
    expires_ms: int

    def has_ended(self, now_ms: int) -> bool:
        return now_ms >= self.expires_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether a tenth of its life or less is left. Its life may be seconds."""
        left_ms, life_ms = self.expires_ms - now_ms, self.expires_ms - self.asked_ms
        return left_ms * 10 <= life_ms or self.asked_ms > now_ms + CLOCK_TOLERANCE_MS


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """All that is stored of one credential.

    `client_id`: the application that the tokens belong to. `unanswered`: how often the refresh token was
    sent and no answer was saved. `is_dead`: the provider said that it is good for nothing. `is_unproven`:
    the access token replaced one that the API refused, or is of a credential that replaced another one, and
    was not accepted yet. `called_ms`: the last call
    for tokens. `taken`: digests of all refresh tokens that were ever taken from the environment, each with
    its application until it has brought an access token, and then by itself. `replaced`: what the last of
    them replaced, until its access token was accepted: it may be good for nothing, or of another account.
    """

    client_id: str | None = None
    refresh_token: str | None = field(default=None, repr=False)
    access: AccessToken | None = None
    unanswered: int = 0
    is_dead: bool = False
    is_unproven: bool = False
    called_ms: int = 0
    taken: frozenset[str] = frozenset()
    replaced: "StoredTokens | None" = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no token."""
        return self.refresh_token is None and self.access is None

    def next_step(self, now_ms: int, *, is_refused: bool = False) -> Step:
        """Return what to do. `is_refused`: the API refuses the access token, so that it counts as ended.

        A refresh token whose last answer was lost is sent once more when the access token has ended.
        """
        if self.access is None or is_refused:
            is_due = has_ended = True
        else:
            is_due, has_ended = self.access.is_due(now_ms), self.access.has_ended(now_ms)
        uses = MAX_UNANSWERED if has_ended else 1
        if is_due and self.refresh_token and not self.is_dead and self.unanswered < uses:
            return Step.REFRESH
        return Step.GIVE_UP if has_ended else Step.USE

    def has_taken(self, refresh_token: str, client_id: str | None) -> bool:
        """Whether it was taken before for this application, or is the one that is stored."""
        digests = {token_digest(refresh_token), _pair_digest(refresh_token, client_id)}
        return refresh_token == self.refresh_token or not digests.isdisjoint(self.taken)

    def having_taken(self, digests: frozenset[str]) -> "StoredTokens":
        """Return the same with more digests of what was taken."""
        return replace(self, taken=self.taken | digests)

    def has_same_tokens(self, other: "StoredTokens") -> bool:
        """Whether only what is counted of them differs."""
        own, others = ((of.client_id, of.refresh_token, of.access, of.replaced) for of in (self, other))
        return own == others

    def taking(self, refresh_token: str, client_id: str | None) -> "StoredTokens":
        """Return the start of a new credential, from a refresh token of the environment."""
        taken = self.taken | {_pair_digest(refresh_token, client_id)}
        replaced = self.replaced
        # What brought access tokens before is worth more than another one that did not yet.
        if self.access or (replaced is None and not self.is_empty):
            replaced = replace(self, taken=frozenset(), replaced=None)
        return StoredTokens(
            client_id, refresh_token, called_ms=self.called_ms, taken=taken, replaced=replaced
        )

    def of_client(self, refresh_token: str, client_id: str | None) -> "StoredTokens":
        """Return it with the application that the environment names for this refresh token now.

        If that is another one, the token may not be dead: the first one was refused.
        """
        if self.refresh_token != refresh_token:
            return self
        # A copy of what came of a login is known, too, when that has been replaced.
        known = self.having_taken(frozenset({_pair_digest(refresh_token, client_id or self.client_id)}))
        if client_id in (None, self.client_id):
            return known
        return replace(known, client_id=client_id, is_dead=False)

    def restored(self) -> "StoredTokens":
        """Return what was replaced; itself if nothing was."""
        if self.replaced is None:
            return self
        return replace(self.replaced, called_ms=self.called_ms, taken=self.taken)

    def sending(self, now_ms: int) -> "StoredTokens":
        """Return what to store before the refresh token is sent."""
        return replace(self, unanswered=self.unanswered + 1, called_ms=now_ms)

    def called(self, now_ms: int) -> "StoredTokens":
        """Return what to store when a call for tokens is over: the next one keeps its distance from then."""
        return replace(self, called_ms=now_ms)

    def not_spent(self) -> "StoredTokens":
        """Return what to store when the call that `sending` counted did not spend the refresh token."""
        return replace(self, unanswered=self.unanswered - 1)

    def dead(self) -> "StoredTokens":
        return replace(self, is_dead=True)

    def proven(self) -> "StoredTokens":
        """Return what to store when the API has accepted the access token."""
        return replace(self, is_unproven=False, replaced=None)

    def renewed(self, granted: Granted, *, asked_ms: int, is_unproven: bool = False) -> "StoredTokens":
        """Return what to store of the next tokens. Without a new refresh token the old one stays."""
        spent, taken = self.refresh_token or "", self.taken
        if _pair_digest(spent, self.client_id) in taken:
            # It is good for no other application.
            taken |= {token_digest(spent)}
        return replace(
            self,
            taken=taken,
            refresh_token=granted.refresh_token or self.refresh_token,
            access=AccessToken(granted.access_token, asked_ms, asked_ms + granted.life_ms),
            unanswered=0,
            is_dead=False,
            is_unproven=is_unproven or self.replaced is not None,
        )

    def logged_in(self, client_id: str, granted: Granted, *, asked_ms: int) -> "StoredTokens":
        """Return what to store after a login. Nothing of an earlier credential stays but what was taken."""
        return replace(self.logged_out(), client_id=client_id, called_ms=asked_ms).renewed(
            granted, asked_ms=asked_ms
        )

    def logged_out(self) -> "StoredTokens":
        return StoredTokens(called_ms=self.called_ms, taken=self.taken)


def _pair_digest(refresh_token: str, client_id: str | None) -> str:
    """Identify a refresh token as one of an application."""
    return token_digest(f"{client_id or ''} {refresh_token}")


def token_digest(token: str) -> str:
    """Return 64 hex digits that identify a token without showing it."""
    return hashlib.sha256(token.encode()).hexdigest()
