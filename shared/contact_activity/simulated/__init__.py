"""A Constant Contact account that exists only on this machine, behind a v2 API over real HTTP."""

from contact_activity.simulated.account import Campaign, Contact, Kind, Link, Row, SimulatedAccount
from contact_activity.simulated.realistic import realistic_account
from contact_activity.simulated.replies import Reply, error
from contact_activity.simulated.server import Call, Server
from contact_activity.simulated.storage import AccountFileError, open_account
from contact_activity.simulated.switches import BadValue, Cursor, Fault, Order, Switches, Tie

__all__ = [
    "AccountFileError",
    "BadValue",
    "Call",
    "Campaign",
    "Contact",
    "Cursor",
    "Fault",
    "Kind",
    "Link",
    "Order",
    "Reply",
    "Row",
    "Server",
    "SimulatedAccount",
    "Switches",
    "Tie",
    "error",
    "open_account",
    "realistic_account",
]
