"""Switches of the simulated authorisation server, and the applications that it knows."""

from dataclasses import dataclass
from enum import StrEnum

from contact_activity.simulated.times import DAY_MS, SECOND_MS

SCOPES = frozenset(
    ("contact_data", "campaign_data", "account_read", "account_update", "billing_data", "offline_access")
)
"""The scopes that can be asked for (v3 contract). `offline_access` gives a refresh token."""


@dataclass(frozen=True, slots=True)
class Application:
    """An application as the developer portal has it.

    Without a secret it is public: code flow with PKCE, or device flow. Without redirect addresses any
    plain-http address of this machine is accepted.
    """

    client_id: str
    client_secret: str | None = None
    redirect_uris: tuple[str, ...] = ()


APPLICATIONS = (
    Application("simulated-client", "simulated-secret"),
    Application("simulated-public-client"),
)
"""The applications of a server that is given no others: one with a secret, one that is public."""


class Consent(StrEnum):
    """What the user does who is asked for consent."""

    GIVEN = "given"
    """Allows it at once."""
    REFUSED = "refused"
    """Refuses it at once."""
    WAITED_FOR = "waited_for"
    """Device flow: does nothing until a test, or a visit of the verification address, decides."""


@dataclass(frozen=True, slots=True)
class TokenSwitches:
    """How the authorisation server behaves. The defaults are what the v3 documentation says."""

    expires_in_s: int = 86_400
    """The life of an access token. The real one is 24 hours."""
    rotating: bool = True
    """Off: the long-lived kind of refresh token, which stays the same."""
    refresh_idle_s: int = 180 * DAY_MS // SECOND_MS
    """Seconds after which a refresh token that is not used expires."""
    code_lifetime_s: int = 300
    consent: Consent = Consent.GIVEN
    """What the user says in the code flow, where waiting is refusing."""
    device_consent: Consent = Consent.WAITED_FOR
    device_refresh_token: bool = True
    """Off: the device flow gives no refresh token, as one page of the documentation says."""
    device_interval_s: int = 5
    """Seconds between two polls. A poll that comes sooner adds 5 s."""
    device_lifetime_s: int = 600
    calls_per_second: int = 1
    """Calls of the token endpoint. More are answered with `busy_status`."""
    busy_status: int = 429
    """429 or 503."""
    rate_limits: bool = True
    """Off: no call of the token endpoint is refused as too many."""
    seed: int = 0
    """With equal seeds the n-th token of a server is the same in every run."""
    scopes: frozenset[str] = SCOPES
    """What a token may have, whatever was asked for. It holds for the static token, too."""
