"""What a credential may read of an account, as answers to a few cheap calls show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from contact_activity.constant_contact.client import Call, Look
from contact_activity.domain.rights import Right

T = TypeVar("T")


class Area(StrEnum):
    """What a run reads."""

    CONTACTS = "contacts"
    CAMPAIGNS = "campaigns"
    REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether a credential may read an area.

    `look` is the answer that shows it. `lacks`: the right that is missing if that is a refusal; None in a
    version without rights.
    """

    area: Area
    look: Look[object]
    lacks: Right | None = None


class Looking(Protocol):
    """Makes a call once; see `ApiClient.look`."""

    def __call__(self, call: Call[T], /) -> Look[T]: ...


class Permissions(Protocol):
    """Asks for the permissions one after the other. The first call is the version's neutral one."""

    def __call__(self, look: Looking, /) -> Iterator[Permission]: ...
