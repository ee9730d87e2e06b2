"""The stored form of the tokens of the v3 API, as values of JSON."""

from collections.abc import Mapping

from contact_activity.domain.tokens import AccessToken, StoredTokens

_FORM = 1


def tokens_to_json(tokens: StoredTokens) -> dict[str, object]:
    access = tokens.access
    return {
        "form": _FORM,
        "client_id": tokens.client_id,
        "refresh_token": tokens.refresh_token,
        "access_token": access and access.text,
        "asked_ms": access and access.asked_ms,
        "expires_ms": access and access.expires_ms,
        "unanswered": tokens.unanswered,
        "is_dead": tokens.is_dead,
        "is_unproven": tokens.is_unproven,
        "called_ms": tokens.called_ms,
        "taken": sorted(tokens.taken),
        "replaced": tokens.replaced and tokens_to_json(tokens.replaced),
    }


def tokens_from_json(value: Mapping[str, object]) -> StoredTokens:
    """Raises `ValueError`, `TypeError` or `KeyError` for anything that `tokens_to_json` does not write."""
    if value["form"] != _FORM:
        raise ValueError("form")
    text, taken, replaced = _text(value["access_token"]), value["taken"], value.get("replaced")
    if not isinstance(taken, list):
        raise TypeError("taken")
    access = None
    if text is not None:
        access = AccessToken(text, _number(value["asked_ms"]), _number(value["expires_ms"]))
    return StoredTokens(
        client_id=_text(value["client_id"]),
        refresh_token=_text(value["refresh_token"]),
        access=access,
        unanswered=_number(value["unanswered"]),
        is_dead=value["is_dead"] is True,
        is_unproven=value["is_unproven"] is True,
        called_ms=_number(value["called_ms"]),
        taken=frozenset(str(digest) for digest in taken),
        # An earlier version kept none.
        replaced=tokens_from_json(replaced) if isinstance(replaced, Mapping) else None,
    )


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("number")
    return value
