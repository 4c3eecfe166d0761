"""What reconciling finds: differences between the ledger and Salesforce, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from relay.outbox.visibility import HINT
from relay.salesforce.readback import plain_key

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from relay.salesforce.model import KeyedRecord

BIN_KEEPS: Final = timedelta(days=15)
"""How long the Recycle Bin keeps a deleted record (Salesforce Help)."""

MADE_WITHIN: Final = timedelta(hours=1)
"""How far a record's date may be from the time it was sent: clocks differ, and a record
with a unique key may have been sent a second time."""

HIDDEN: Final = (
    "may be there and hidden, for no Task of its owner can be read; "
    f"{HINT}, before --fix can write it again"
)
IN_THE_BIN: Final = "in the Recycle Bin: a person's wish, never made again"
QUEUED: Final = "queued to be written again"

_GONE: Final = "Salesforce has no such record; --fix writes it again"
_LONG_AGO: Final = (
    "may have been deleted more than 15 days ago, as the Recycle Bin keeps nothing "
    "longer; name a time with --since to have it written again"
)
_FOREIGN: Final = "another record has this id, for it does not carry the relay's key"
_NOT_PROVEN: Final = (
    "the record with this id carries no key, and may be the relay's all the same: if "
    "not, name a time with --since to have the relay's written again"
)


class Kind(StrEnum):
    """In what ledger and Salesforce differ."""

    MISSING = "missing"
    FOREIGN = "foreign"
    DOUBLED = "doubled"
    ORPHANED = "orphaned"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree.

    Attributes:
        kind: The kind of difference.
        object: The Salesforce object.
        key: The key of the ledger, or a MessageIdentifier.
        ids: The records.
        messages: Ids of the messages that the record is for.
        detail: A sentence for people.
        repairable: `fix` may have the record written again.
        repaired: The record will be written again, or its deletion is recorded.
    """

    kind: Kind
    object: str
    key: str
    ids: tuple[str, ...]
    messages: tuple[str, ...] = ()
    detail: str = ""
    repairable: bool = False
    repaired: bool = False

    @property
    def left(self) -> bool:
        """Say whether a person has still to do something."""
        return self.kind is not Kind.DELETED and not self.repaired

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay audit --json` prints."""
        return {
            "kind": self.kind.value,
            "object": self.object,
            "key": self.key,
            "ids": list(self.ids),
            "messages": list(self.messages),
            "detail": self.detail,
            "mended": self.repaired,
        }


@dataclass(slots=True)
class Report:
    """The result of reconciling."""

    checked: int = 0
    on_the_way: int = 0
    differences: list[Difference] = field(default_factory=list)


class Whose(StrEnum):
    """Whether the record that has the ledger's id is the one that the relay wrote."""

    OURS = "ours"
    FOREIGN = "foreign"
    NOT_PROVEN = "not_proven"


def whose(
    record: KeyedRecord,
    wanted: Collection[str],
    me: str,
    *,
    sent_at: datetime | None = None,
    title: str = "",
) -> Whose:
    """Compare the keys of a record with those that it was written with.

    An id alone proves nothing: a sandbox that was refreshed gives the ids of the
    relay's records to others. But a record of the relay can lose its key: a rep edits
    it, or an automation of the org, which then runs as the integration user. So a
    record without any key is the relay's if it was made when the relay's was sent, with
    the same title; and if the integration user made it and another user has edited it
    since. Made at that time with another title, it proves nothing.

    Args:
        record: As read by its id.
        wanted: The key of the ledger, and the MessageIdentifier if there is one.
        me: Id of the integration user.
        sent_at: When the relay's record was sent.
        title: Its title, as it was sent.
    """
    if record.keys:
        return Whose.FOREIGN if record.keys.isdisjoint(wanted) else Whose.OURS
    made_then = (
        sent_at is not None
        and record.created_at is not None
        and abs(record.created_at - sent_at) < MADE_WITHIN
    )
    if made_then and title and record.title == plain_key(title):
        return Whose.OURS
    if record.created_by_id != me:
        return Whose.NOT_PROVEN
    if record.modified_by_id not in {None, record.created_by_id}:
        return Whose.OURS
    return Whose.NOT_PROVEN if made_then else Whose.FOREIGN


def absent(
    record: Whose | None,
    sent_at: datetime | None,
    now: datetime,
    since: datetime | None,
) -> tuple[Kind, str, bool]:
    """Return kind, sentence for people, and whether `fix` may write the record again.

    A record that was deleted long ago looks like a missing one once the Recycle Bin has
    been emptied. So an old one is written again only where the admin named a time.

    Args:
        record: The record that has its id; None where there is none.
        sent_at: When it was written.
        now: The time of the comparison.
        since: The time that the admin named.
    """
    young = sent_at is not None and now - sent_at < BIN_KEEPS
    repairable = young or since is not None
    if record is None:
        return Kind.MISSING, _GONE if repairable else _LONG_AGO, repairable
    if record is Whose.NOT_PROVEN:
        return Kind.FOREIGN, _NOT_PROVEN, since is not None
    how = "--fix writes" if repairable else "name a time with --since to have"
    what = "the relay's own again" if repairable else "the relay's own written again"
    return Kind.FOREIGN, f"{_FOREIGN}; {how} {what}", repairable
