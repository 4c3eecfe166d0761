"""An org that holds files, in memory; it passes the contract of `relay.salesforce`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relay.salesforce import OrgSchema, WriteOutcome, WriteState
from relay.salesforce.files import ALREADY_LINKED, KEY_LINE, FoundFile, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from relay.core.clock import Clock

CANNOT_LINK = "INVALID_CROSS_REFERENCE_KEY"


class MemoryOrg:
    """Files and their links, as `Org` offers them.

    A file of key `k` has the version `v-k` and the document `d-v-k`.

    Attributes:
        answer: What a request for a record is answered; `write` by default. An error
            is raised, and nothing is written.
        made: The requests that left, as (object, key).
        deleted: The deletions that left, as `object id`.
        found: All files, by key.
        links: All links, as (document, record).
        invisible: Queries do not show yet what was written.
        shape: What describe says.
    """

    def __init__(self, clock: Clock) -> None:
        """Hold nothing."""
        self._clock = clock
        self.files = self.records = self.access = self.schema = self
        self.answer: Callable[[str, str], WriteOutcome] | Exception = self.write
        self.made: list[tuple[str, str]] = []
        self.deleted: list[str] = []
        self.found: dict[str, list[FoundFile]] = {}
        self.links: set[tuple[str, str]] = set()
        self.invisible = False
        self.shape = OrgSchema({}, frozenset({"ContentVersion"}))
        self._fields: dict[str, Any] = {}

    def hold(self, key: str, *, at: datetime, name: str = "", **more: Any) -> None:
        """Have a file of this key, under a name of its own."""
        version = f"v-{name or key}"
        file = FoundFile(key, version, f"d-{version}", is_deleted=False, created_at=at)
        self.found.setdefault(key, []).append(replace(file, **more))

    def write(self, key: str, sobject: str) -> WriteOutcome:
        """Write a record as Salesforce would."""
        fields = self._fields
        if sobject == "ContentVersion":
            marked = str(fields["Description"]).removeprefix(KEY_LINE)
            self.hold(marked, at=self._clock.now())
            version = self.found[marked][-1]
            record = fields.get("FirstPublishLocationId")
            if record:
                self.links.add((str(version.document_id), record))
            return WriteOutcome(key, WriteState.WRITTEN, version.version_id)
        link = fields["ContentDocumentId"], fields["LinkedEntityId"]
        if link in self.links:
            return WriteOutcome(key, WriteState.REFUSED, code=ALREADY_LINKED)
        if any(f.document_id == link[0] and f.is_deleted for f in self._all()):
            return WriteOutcome(key, WriteState.REFUSED, code=CANNOT_LINK)
        self.links.add(link)
        return WriteOutcome(key, WriteState.WRITTEN, f"link-{key}")

    def _all(self) -> list[FoundFile]:
        return [file for files in self.found.values() for file in files]

    # ------------------------------------------------------------ as the real org

    def server_now(self) -> datetime:
        """Return the same time."""
        return self._clock.now()

    async def me(self) -> str:
        """Return the integration user."""
        return "me"

    async def get(self) -> OrgSchema:
        """Return the shape."""
        return self.shape

    async def create(
        self,
        records: Sequence[tuple[str, str, Any]],
        *,
        not_after_boottime_s: float | None,
    ) -> list[WriteOutcome]:
        """Create records, each for itself."""
        assert not_after_boottime_s is None or (
            not_after_boottime_s > self._clock.boottime_s()
        )
        if isinstance(self.answer, Exception):
            raise self.answer
        outcomes = []
        for key, sobject, fields in records:
            self.made.append((sobject, key))
            self._fields = fields
            outcomes.append(self.answer(key, sobject))
        return outcomes

    async def upload(
        self,
        key: str,
        fields: Any,
        size: int,
        source: Any,
        *,
        not_after_boottime_s: float,
    ) -> WriteOutcome:
        """Take one large file."""
        assert sum(map(len, source())) == size
        (outcome,) = await self.create(
            [(key, "ContentVersion", fields)], not_after_boottime_s=not_after_boottime_s
        )
        return outcome

    async def find_own(
        self, me: str, since: datetime, until: datetime
    ) -> dict[str, list[FoundFile]]:
        """Return the files of this time, by key."""
        assert me == "me"
        files = {
            key: [f for f in files if since <= f.created_at <= until]
            for key, files in self.found.items()
        }
        return {key: found for key, found in files.items() if found}

    async def places(
        self, versions: Collection[str], records: Collection[str]
    ) -> Places:
        """Return documents, links and what was deleted."""
        if self.invisible:
            return Places({}, frozenset())
        asked = [file for file in self._all() if file.version_id in versions]
        return Places(
            {f.version_id: str(f.document_id) for f in asked if not f.is_deleted},
            frozenset(link for link in self.links if link[1] in records),
            frozenset(f.version_id for f in asked if f.is_deleted),
        )

    async def delete(self, sobject: str, record: str) -> bool:
        """Delete a document with its versions and links."""
        self.deleted.append(f"{sobject} {record}")
        done = False
        for files in self.found.values():
            for number, file in enumerate(files):
                if file.document_id == record and not file.is_deleted:
                    files[number] = replace(file, is_deleted=True)
                    done = True
        self.links = {link for link in self.links if link[0] != record}
        return done
