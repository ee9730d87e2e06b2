"""What both stores keep of a contact that was erased: a digest of its id, and when that was."""

import hashlib


def id_digest(contact_id: str) -> str:
    return hashlib.sha256(contact_id.encode()).hexdigest()
