"""Writes records: many to a call, each with an outcome of its own.

Records travel in collections of up to 200, up to five of them in one composite call.
Order means nothing: a record's outcome is found by its place in its collection, a
collection's answer by its name. Nothing is all-or-none, so that a refused record
leaves its neighbours alone; where Salesforce refuses a whole collection for one record
(a field it cannot read, say), the collection is cut into fifths until the record stands
alone.

Updates may have the records read before, in the same call, whose parts are
worked off in order then, so that the answer tells what an update has written over.

What is not certain is `unknown`. Looking it up, and writing it again, is the caller's.

Source: Salesforce REST API Guide, "Create Records Using sObject Collections",
"Composite".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from relay.core.errors import (
    ActivityRefused,
    OutcomeUnknown,
    RelayError,
    SalesforceUnavailable,
    TransientError,
)
from relay.core.ids import record_id
from relay.salesforce import errors
from relay.salesforce.model import WriteOutcome, WriteState
from relay.salesforce.transport import TooLateError, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from relay.core.model import Json
    from relay.salesforce.client import Client, Part
    from relay.salesforce.errors import Failure

MAX_RECORDS: Final = 200
"""Records in a collection."""
MAX_RUNS: Final = 10
"""Runs of one type in a collection."""
MAX_COLLECTIONS: Final = 5
"""Collections in a composite."""
MAX_READ: Final = 2
"""Collections in a composite that reads each of them before: a query counts as one."""
MAX_BYTES: Final = 8_000_000
"""Bytes of one request."""
MAX_ISOLATING_CALLS: Final = 24
"""Further calls that one batch may cost to single out what spoils it."""

T = TypeVar("T")

_WRAPPING: Final = 200
"""Bytes around a collection."""
_ON_RECORD: Final = re.compile(r"record with id:\s*([A-Za-z0-9]{15,18})\b")


@dataclass(frozen=True, slots=True)
class Encoded:
    """One record, its JSON written once."""

    key: str
    object: str
    data: bytes


@dataclass(slots=True)
class Job:
    """What goes into one call, and how.

    Attributes:
        collections: At most five, of at most 200 records each.
        method: POST creates, PATCH updates.
        unique: By key of the record, the field that holds it and takes it once only.
        headers: What the platform is told beside it, such as Sforce-Auto-Assign.
        read: Returns the path that reads records before they are updated.
    """

    collections: list[list[Encoded]]
    method: str = "POST"
    unique: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    read: Callable[[Sequence[Encoded]], str] | None = None

    @property
    def room(self) -> int:
        """Return how many collections one call takes."""
        return MAX_READ if self.read else MAX_COLLECTIONS


# ------------------------------------------------------------------ packing


def encode(
    records: Iterable[tuple[str, str, Mapping[str, Json]]],
) -> tuple[list[Encoded], list[WriteOutcome]]:
    """Write the JSON of records (key, object, fields); what has none is refused."""
    encoded: list[Encoded] = []
    refused: list[WriteOutcome] = []
    for key, sobject, fields in records:
        try:
            data = write_json({"attributes": {"type": sobject}, **fields})
        except ValueError as error:
            text = f"{sobject}: {error}"
            refused.append(
                WriteOutcome(key, WriteState.REFUSED, code="unencodable", text=text)
            )
        else:
            encoded.append(Encoded(key, sobject, data))
    return encoded, refused


def pack(
    records: Sequence[Encoded], room: int = MAX_COLLECTIONS
) -> list[list[list[Encoded]]]:
    """Return calls, each a list of collections, within every limit.

    Records of one type are put side by side, because Salesforce takes at most ten
    changes of type in a collection. `room` is how many collections a call takes.
    """
    by_type: dict[str, list[Encoded]] = {}
    for record in records:
        by_type.setdefault(record.object, []).append(record)
    calls: list[list[list[Encoded]]] = []
    collections: list[list[Encoded]] = []
    part: list[Encoded] = []
    size, runs = 0, 0
    for record in (r for group in by_type.values() for r in group):
        new_run = not part or part[-1].object != record.object
        fits = size + len(record.data) + _WRAPPING <= MAX_BYTES
        if part and (
            len(part) >= MAX_RECORDS or (new_run and runs >= MAX_RUNS) or not fits
        ):
            collections.append(part)
            part, runs, new_run = [], 0, True
        if collections and (len(collections) >= room or not fits):
            calls.append(collections)
            collections, size = [], 0
        if not part:
            size += _WRAPPING
        part.append(record)
        runs += new_run
        size += len(record.data) + 1
    if part:
        collections.append(part)
    if collections:
        calls.append(collections)
    return calls


def collection_body(records: Sequence[Encoded]) -> bytes:
    """Return the body of a collection; the records' JSON is taken as it is."""
    joined = b",".join([record.data for record in records])
    return b'{"allOrNone":false,"records":[' + joined + b"]}"


# ------------------------------------------------------------------ sending


def send(
    client: Client, job: Job, *, not_after_s: float | None, timeout_s: float
) -> list[WriteOutcome]:
    """Make the call, and those that isolating takes; return an outcome per record.

    Raises:
        RelayError: The first call failed as a whole, and nothing was written.
    """
    sending = _Sending(client, job, not_after_s, timeout_s)
    sending.call(job.collections)
    while sending.waiting or sending.pieces:
        sending.next_call()
    return sending.outcomes


class _Sending:
    """One job on its way: what is written, and what is still to be singled out.

    Attributes:
        outcomes: What became of records so far.
        pieces: Parts of refused collections; up to five of them share a call.
        waiting: Parts of refused calls, each to be sent as a call of its own, because
            such a refusal does not say which part it is about.
    """

    def __init__(
        self, client: Client, job: Job, not_after_s: float | None, timeout_s: float
    ) -> None:
        self._client = client
        self._job = job
        self._not_after_s = not_after_s
        self._timeout_s = timeout_s
        self._budget = MAX_ISOLATING_CALLS
        self._cause: RelayError | None = None
        self.outcomes: list[WriteOutcome] = []
        self.pieces: list[list[Encoded]] = []
        self.waiting: list[list[list[Encoded]]] = []

    def next_call(self) -> None:
        """Make the next call that isolating takes; give up where it takes too many."""
        if self._budget <= 0:
            self._give_up(self._cause)
            return
        self._budget -= 1
        if self.waiting:
            collections = self.waiting.pop(0)
        else:
            collections = self.pieces[: self._job.room]
            del self.pieces[: self._job.room]
        try:
            self.call(collections)
        except RelayError as error:
            self.outcomes += not_written(collections, error)
            self._give_up(error)

    def call(self, collections: list[list[Encoded]]) -> None:
        """Make one call; keep outcomes, and what is to be tried in smaller parts.

        Raises:
            RelayError: It failed as a whole, and nothing was written.
        """
        parts: list[tuple[str, str, bytes | None]] = [
            (self._job.method, "composite/sobjects", collection_body(part))
            for part in collections
        ]
        read = self._job.read
        reads = [("GET", read(part), None) for part in collections] if read else []
        try:
            results = self._client.composite(
                "write" if self._job.method == "POST" else "update",
                [*reads, *parts],
                writes=True,
                not_after_s=self._not_after_s,
                # Collections are worked off one after the other.
                timeout_s=self._timeout_s * len(parts),
                headers=self._job.headers,
                ordered=bool(reads),
                carries=not reads,
            )
        except ActivityRefused as error:
            self._refused(collections, error)
        except TooLateError:
            self.outcomes += _all(collections, WriteState.NOT_SENT, "late")
            self._too_late()
        except OutcomeUnknown as error:
            text = str(error)
            self.outcomes += _all(collections, WriteState.UNKNOWN, "no_answer", text)
            self._give_up(error)
        else:
            before = read_before(results[: len(reads)])
            answers = results[len(reads) :]
            for records, part in zip(collections, answers, strict=True):
                done, refusal = read_collection(records, part, self._job.unique or {})
                self.outcomes += [
                    replace(one, before=before.get(one.id or "")) for one in done
                ]
                if refusal:
                    self._cause = ActivityRefused(refusal.code, refusal.text)
                    self.pieces += _cut(records, MAX_COLLECTIONS)

    def _refused(
        self, collections: list[list[Encoded]], error: ActivityRefused
    ) -> None:
        """Halve a call that was refused as a whole, until one record is left."""
        self._cause = error
        if len(collections) > 1:
            self.waiting += _cut(collections, 2)
        elif len(collections[0]) > 1:
            self.waiting += [[half] for half in _cut(collections[0], 2)]
        else:
            self.outcomes += _all(
                collections, WriteState.REFUSED, error.code, str(error)
            )

    def _give_up(self, cause: RelayError | None) -> None:
        """Leave what could not be singled out for later; nothing of it was written."""
        left = [*self.pieces, *(part for call in self.waiting for part in call)]
        self.pieces, self.waiting = [], []
        self.outcomes += not_written(left, cause)

    def _too_late(self) -> None:
        left = [*self.pieces, *(part for call in self.waiting for part in call)]
        self.pieces, self.waiting = [], []
        self.outcomes += _all(left, WriteState.NOT_SENT, "late")


def _cut(items: list[T], count: int) -> list[list[T]]:
    """Cut a list into up to `count` pieces of about the same length."""
    step = -(-len(items) // count)
    return [items[at : at + step] for at in range(0, len(items), step)]


# ------------------------------------------------------------------ reading


def read_collection(
    records: list[Encoded], part: Part | None, unique: Mapping[str, str]
) -> tuple[list[WriteOutcome], Failure | None]:
    """Return outcomes of a collection, or why it was refused for one of its records.

    Only a list with as many results as records says something about each of them.
    """
    if part is None:
        return _each(records, WriteState.UNKNOWN, "no_answer"), None
    if part.ok:
        results = part.body
        if isinstance(results, list) and len(results) == len(records):
            return [
                read_result(record, result, unique)
                for record, result in zip(records, results, strict=True)
            ], None
        return _each(records, WriteState.UNKNOWN, "unreadable"), None
    failed = part.failure()
    if not (failed.certain and failed.well_formed):
        return _each(records, WriteState.UNKNOWN, failed.code, failed.text), None
    if failed.rule.permanent and len(records) > 1:
        return [], failed
    return [_failed(record, failed, unique) for record in records], None


def read_before(parts: Sequence[Part | None]) -> dict[str, Mapping[str, Json]]:
    """Return records by id as they were before; what was not answered is left out."""
    found: dict[str, Mapping[str, Json]] = {}
    for part in parts:
        body = part.body if part is not None and part.ok else None
        rows = body.get("records") if isinstance(body, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and (sfid := record_id(row.get("Id") or "")):
                found[sfid] = row
    return found


def read_result(
    record: Encoded, result: Json, unique: Mapping[str, str]
) -> WriteOutcome:
    """Return the outcome of one record from its line in a collection's answer."""
    if not isinstance(result, dict):
        return WriteOutcome(record.key, WriteState.UNKNOWN, code="unreadable")
    if result.get("success") is True:
        sfid = record_id(result.get("id") or "")
        if sfid is None:
            return WriteOutcome(record.key, WriteState.UNKNOWN, code="no_id")
        return WriteOutcome(record.key, WriteState.WRITTEN, sfid)
    if result.get("success") is not False:
        return WriteOutcome(record.key, WriteState.UNKNOWN, code="unreadable")
    failed = errors.failure(400, result.get("errors"))
    if not failed.well_formed:
        # It says that nothing was written, but not why.
        failed = errors.Failure("no_reason", "", errors.rule("UNKNOWN_EXCEPTION"))
    return _failed(record, failed, unique)


def _failed(
    record: Encoded, failed: Failure, unique: Mapping[str, str]
) -> WriteOutcome:
    """Return the outcome of a record that Salesforce says it did not write."""
    field = unique.get(record.key)
    if failed.code == "DUPLICATE_VALUE" and field and _names(failed, field):
        # Our own key is there: an earlier try had been carried out after all.
        found = _ON_RECORD.search(failed.text)
        sfid = record_id(found[1]) if found else None
        state = WriteState.WRITTEN if sfid else WriteState.UNKNOWN
        return WriteOutcome(record.key, state, sfid, failed.code, failed.text)
    row, text = failed.rule, failed.text or failed.rule.sentence
    error = errors.build(row, failed.code, text)
    return WriteOutcome(
        record.key,
        WriteState.REFUSED if row.permanent else WriteState.RETRY,
        code=failed.code,
        text=text,
        fields=failed.fields,
        retry_after_s=row.retry_after_s,
        error=error if isinstance(error, TransientError) else None,
    )


def _names(failed: Failure, field: str) -> bool:
    """Say whether a duplicate is about this field; `<unknown>` may be about it."""
    if failed.fields:
        return field in failed.fields
    return f"{field} duplicates" in failed.text or "<unknown>" in failed.text


def _each(
    records: Iterable[Encoded], state: WriteState, code: str, text: str = ""
) -> list[WriteOutcome]:
    return [WriteOutcome(r.key, state, code=code, text=text) for r in records]


def _all(
    collections: Iterable[Iterable[Encoded]],
    state: WriteState,
    code: str,
    text: str = "",
) -> list[WriteOutcome]:
    return [o for part in collections for o in _each(part, state, code, text)]


def not_written(
    collections: Iterable[Iterable[Encoded]], error: RelayError | None
) -> list[WriteOutcome]:
    """Return outcomes for records that were certainly not written, for this reason.

    Where another call of the same write had no answer, that one alone is in doubt:
    for these records there is nothing to look for.
    """
    if isinstance(error, OutcomeUnknown):
        error = SalesforceUnavailable(
            str(error), code="no_answer", retry_after_s=error.retry_after_s
        )
    code = getattr(error, "code", "") or type(error).__name__
    passing = error if isinstance(error, TransientError) else None
    return [
        WriteOutcome(
            record.key,
            WriteState.RETRY,
            code=code,
            text=str(error),
            retry_after_s=passing.retry_after_s if passing else None,
            error=passing,
        )
        for part in collections
        for record in part
    ]


# ------------------------------------------------------------------ deleting

MAX_DELETED: Final = MAX_RECORDS * MAX_COLLECTIONS
"""Records that one call deletes."""
_GONE: Final = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"})
"""What Salesforce says of a record that is not there any more."""


def deletions(ids: Sequence[str]) -> list[tuple[str, str, None]]:
    """Return the parts of a composite call that delete records.

    Source: REST API Developer Guide, "Delete Records Using sObject Collections".
    """
    return [
        (
            "DELETE",
            "composite/sobjects?allOrNone=false&ids="
            + "%2C".join(ids[at : at + MAX_RECORDS]),
            None,
        )
        for at in range(0, len(ids), MAX_RECORDS)
    ]


def read_deletions(
    ids: Mapping[str, str], answers: Sequence[Part | None]
) -> list[WriteOutcome]:
    """Return an outcome for each record, by its place in the call."""
    keys = [Encoded(key, "", b"") for key in ids]
    outcomes: list[WriteOutcome] = []
    for number, answer in enumerate(answers):
        part = keys[number * MAX_RECORDS :][:MAX_RECORDS]
        done, failed = read_collection(part, answer, {})
        if failed is not None:
            done = [_failed(one, failed, {}) for one in part]
        outcomes += [_gone_is_done(one, ids) for one in done]
    return outcomes


def _gone_is_done(one: WriteOutcome, ids: Mapping[str, str]) -> WriteOutcome:
    if one.code in _GONE:
        return WriteOutcome(one.key, WriteState.WRITTEN, ids[one.key], one.code)
    return one
