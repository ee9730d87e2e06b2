"""A simulated Constant Contact account on this machine, behind the v2 and the v3 API over real HTTP."""

from contact_activity.simulated.account import Campaign, Contact, Kind, Link, Row, SimulatedAccount
from contact_activity.simulated.faults import Fault
from contact_activity.simulated.realistic import realistic_account
from contact_activity.simulated.replies import Reply, error
from contact_activity.simulated.server import Call, Server
from contact_activity.simulated.storage import AccountFileError, open_account
from contact_activity.simulated.switches import BadValue, Cursor, Order, Switches, Tie
from contact_activity.simulated.token_switches import Application, Consent, TokenSwitches
from contact_activity.simulated.v3_ids import Role, activity_of, activity_uuid, campaign_uuid, contact_uuid
from contact_activity.simulated.v3_switches import PageEnd, Step, V3Switches

__all__ = [
    "AccountFileError",
    "Application",
    "BadValue",
    "Call",
    "Campaign",
    "Consent",
    "Contact",
    "Cursor",
    "Fault",
    "Kind",
    "Link",
    "Order",
    "PageEnd",
    "Reply",
    "Role",
    "Row",
    "Server",
    "SimulatedAccount",
    "Step",
    "Switches",
    "Tie",
    "TokenSwitches",
    "V3Switches",
    "activity_of",
    "activity_uuid",
    "campaign_uuid",
    "contact_uuid",
    "error",
    "open_account",
    "realistic_account",
]
