"""What an audit finds: in what the ledger and Salesforce differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.outbox.visibility import RIGHT

if TYPE_CHECKING:
    from datetime import datetime

BIN_KEEPS: Final = timedelta(days=15)
"""How long the Recycle Bin keeps what was deleted (Salesforce Help)."""

MENDABLE: Final = "Salesforce has no such record; --fix writes it again"
OLD: Final = (
    "may have been deleted more than 15 days ago, as the Recycle Bin keeps nothing "
    "longer; name a time with --since to have it written again"
)
HIDDEN: Final = (
    "may be there and hidden, for no Task of its owner can be read; "
    f"{RIGHT}, before --fix can write it again"
)
IN_THE_BIN: Final = "in the Recycle Bin: somebody's wish, never made again"
QUEUED: Final = "queued to be written again"


class Kind(StrEnum):
    """In what ledger and Salesforce differ."""

    MISSING = "missing"
    DOUBLED = "doubled"
    ORPHANED = "orphaned"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree.

    Attributes:
        kind: What it is.
        object: The Salesforce object.
        key: The key of the ledger, or a MessageIdentifier.
        ids: The records.
        messages: Messages it is about.
        detail: A sentence for people.
        mended: It will be put right (missing), or is noted (deleted).
    """

    kind: Kind
    object: str
    key: str
    ids: tuple[str, ...]
    messages: tuple[str, ...] = ()
    detail: str = ""
    mended: bool = False

    @property
    def left(self) -> bool:
        """Say whether somebody has still to do something."""
        return self.kind is not Kind.DELETED and not self.mended


@dataclass(slots=True)
class Report:
    """What an audit found."""

    checked: int = 0
    on_the_way: int = 0
    differences: list[Difference] = field(default_factory=list)


def hope(sent_at: datetime | None, now: datetime, since: datetime | None) -> str:
    """Say what `fix` does with something missing, by its age; a sentence for people."""
    young = sent_at is not None and now - sent_at < BIN_KEEPS
    return MENDABLE if young or since is not None else OLD
