"""Ask v2 what a credential may read. Its keys have no scopes."""

from collections.abc import Iterator

from contact_activity.constant_contact.client import Call
from contact_activity.constant_contact.permissions import Area, Looking, Permission
from contact_activity.constant_contact.v2 import V2
from contact_activity.constant_contact.v2_pages import read_page


def v2_permissions(look: Looking) -> Iterator[Permission]:
    """List one contact, then one campaign."""
    yield Permission(Area.CONTACTS, look(V2.neutral_call))
    campaigns = Call("/emailmarketing/campaigns", {"status": "SENT", "limit": "1"}, read_page)
    yield Permission(Area.CAMPAIGNS, look(campaigns))
