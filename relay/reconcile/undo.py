"""Takes a logged mail out of Salesforce again: its records and files, ours alone.

Each record is read by its id first: only one that the integration user made, and that
carries the key of the relay, is deleted. What others made in its place stays, and is
told. The mail is held by the lease that guards its ledger, so that no worker writes
meanwhile. First everything is deleted, then one transaction records it: rows become
*gone*, which is never made again, and the messages are discarded. A crash between the
two leaves a logged mail whose records lie in the Recycle Bin: the same command goes on.

All copies of a mail share its records: they are undone together. Salesforce keeps what
was deleted in its Recycle Bin for 15 days.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import Conflict, SalesforceUnavailable
from relay.reconcile.report import Whose, whose
from relay.salesforce.readback import plain_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import SalesforceSettings
    from relay.core.files import FileRow
    from relay.core.model import Activity
    from relay.core.queue import LeaseOwner
    from relay.salesforce import Org
    from relay.salesforce.model import KeyedRecord
    from relay.store import Store
    from relay.store.undo import Undoing

LEASE_S: Final = 300.0
_DOCUMENT: Final = "ContentDocument"


class Fate(StrEnum):
    """What becomes of a record."""

    DELETE = "delete"
    """It is ours, and there."""
    DELETED = "deleted"
    """It lies in the Recycle Bin already."""
    ABSENT = "absent"
    """Salesforce does not have it any more."""
    STAYS = "stays"
    """It is not proven to be ours."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A record or a file, and what an undo does with it.

    `key` is that of the ledger; empty for the Task that Salesforce made beside an
    EmailMessage, which has none.
    """

    object: str
    id: str
    key: str
    fate: Fate
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay undo --json` prints."""
        return {
            "object": self.object,
            "id": self.id,
            "key": self.key,
            "fate": self.fate.value,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did, or would do: messages with their users, and records."""

    messages: tuple[tuple[str, str], ...]
    removals: tuple[Removal, ...]


async def undo(
    settings: SalesforceSettings,
    store: Store,
    org: Org,
    message_id: str,
    owner: LeaseOwner,
    actor: str,
    *,
    dry_run: bool = False,
) -> Undone:
    """Delete the records and files of a logged mail, and discard its messages.

    Args:
        settings: Where the key is kept.
        store: The open store.
        org: The started org.
        message_id: A message that is logged.
        owner: This process, for the mail's lease.
        actor: Who asks.
        dry_run: Only say what would be deleted.

    Raises:
        NotFound: There is no such message.
        Conflict: It is not logged; a worker has its mail; or a write of it has no known
            outcome yet. Nothing was changed.
        SalesforceUnavailable, OrgPaused: It could not be finished: the same call goes
            on where it ended. The mail stays logged.
    """
    undoing = await store.undo.begin(message_id, owner, LEASE_S)
    try:
        plan = await _plan(settings, org, undoing)
        done = Undone(undoing.messages, tuple(plan))
        if dry_run:
            return done
        removed = [await _delete(org, one) for one in plan]
        await store.undo.finish(
            undoing,
            owner,
            actor,
            keys=_keys(removed, files=False),
            files=_keys(removed, files=True),
            lines=[_line(one) for one in removed],
        )
        return replace(done, removals=tuple(removed))
    finally:
        await store.undo.release(undoing, owner)


def _keys(removed: Sequence[Removal], *, files: bool) -> list[str]:
    """Return the rows of the ledger whose record is not in Salesforce any more."""
    return [
        one.key
        for one in removed
        if one.key and one.fate is not Fate.STAYS and (one.object == _DOCUMENT) is files
    ]


def _line(one: Removal) -> tuple[str, str]:
    """Return result and detail of a line of the trace."""
    words = {Fate.DELETE: "deleted", Fate.DELETED: "in the Recycle Bin"}
    return words.get(one.fate, one.fate.value), f"{one.object} {one.id}".rstrip()


# ------------------------------------------------------------------ planning


async def _plan(
    settings: SalesforceSettings, org: Org, undoing: Undoing
) -> list[Removal]:
    """Say what becomes of each record, the files first."""
    me = await org.access.me()
    schema = await org.schema.get()
    found = await _files(org, undoing.files)
    for sobject in ("EmailMessage", "Task"):
        rows = [row for row in undoing.rows if row.object == sobject]
        ids = [row.salesforce_id for row in rows if row.salesforce_id]
        if not ids:
            continue
        name = settings.key_field
        field = name if name and schema.holds_key(sobject, name) else None
        known = await org.records.read_keyed(sobject, field, ids)
        tasks: dict[str, str] = {}
        if sobject == "EmailMessage":
            filed = await org.records.filed(ids)
            tasks = {i: one.activity_id for i, one in filed.items() if one.activity_id}
            made = await org.records.read_keyed("Task", None, list(tasks.values()))
            ours = {i for i, one in made.items() if one.created_by_id == me}
            ours -= {i for i, one in made.items() if one.is_deleted}
            tasks = {i: task for i, task in tasks.items() if task in ours}
        for row in rows:
            removal = _removal(row, known.get(row.salesforce_id or ""), me)
            task = tasks.get(removal.id)
            if task and removal.fate is Fate.DELETE:
                # Salesforce made it for the EmailMessage; deleted first, because what
                # becomes of it with the EmailMessage differs from org to org.
                detail = "made by Salesforce beside the EmailMessage"
                found.append(Removal("Task", task, "", Fate.DELETE, detail))
            found.append(removal)
    return found


def _removal(row: Activity, record: KeyedRecord | None, me: str) -> Removal:
    sfid = row.salesforce_id or ""
    if record is None:
        return Removal(row.object, sfid, row.key, Fate.ABSENT)
    identifier = plain_key(str(row.fields.get("MessageIdentifier", "")))
    verdict = whose(
        record,
        {row.key, identifier},
        me,
        sent_at=row.sent_at,
        title=str(row.fields.get("Subject", "")),
    )
    if verdict is not Whose.OURS or record.created_by_id != me:
        detail = "another user made the record with this id, or it carries another key"
        return Removal(row.object, sfid, row.key, Fate.STAYS, detail)
    fate = Fate.DELETED if record.is_deleted else Fate.DELETE
    return Removal(row.object, sfid, row.key, fate)


async def _files(org: Org, files: Sequence[FileRow]) -> list[Removal]:
    """Say what becomes of the files of the mail; one file may hang on many records."""
    with_ids = [one for one in files if one.version_id and one.document_id]
    if not with_ids:
        return []
    places = await org.files.places([one.version_id or "" for one in with_ids], [])
    keys = {one.key for one in files}
    me = await org.access.me()
    found = []
    seen: set[str] = set()
    for one in with_ids:
        record = places.keyed.get(one.version_id or "")
        document = one.document_id or ""
        if record is None:
            fate = Fate.ABSENT
        elif record.created_by_id != me or record.keys.isdisjoint(keys):
            fate = Fate.STAYS
        else:
            gone = record.is_deleted or document in seen
            fate = Fate.DELETED if gone else Fate.DELETE
        seen.add(document)
        found.append(Removal(_DOCUMENT, document, one.key, fate, one.draft.name))
    return found


# ------------------------------------------------------------------ deleting


async def _delete(org: Org, one: Removal) -> Removal:
    """Delete a record that is ours; prove that it is gone.

    Raises:
        SalesforceUnavailable: It is still there.
        Conflict: The integration user may not delete it.
    """
    if one.fate is not Fate.DELETE:
        return one
    if await org.records.delete(one.object, one.id):
        return one
    there = await org.records.existing(one.object, [one.id])
    if there.get(one.id, True):
        return one
    schema = await org.schema.get()
    if one.object in schema.fields and one.object not in schema.deletables:
        text = (
            f"the integration user may not delete {one.object}: give it the right to "
            "delete, and run the command again"
        )
        raise Conflict(text)
    text = f"{one.object} {one.id} could not be deleted; run the command again"
    raise SalesforceUnavailable(text, code="not_deleted")
