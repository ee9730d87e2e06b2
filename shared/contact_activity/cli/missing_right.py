"""Says which right of the credential is missing, and what to do."""

from contact_activity.domain.rights import Right

_LOG_IN = {
    "scope": "`contact-activity login` again and allow it (a token of your own must have it, too)",
    "privilege": "ask the account's owner to give it to the user who logged in, or log in as one who has it",
}


def missing_text(right: Right) -> str:
    return f"the {right.kind} {right} is missing"


def remedy(right: Right) -> str:
    return _LOG_IN[right.kind]
