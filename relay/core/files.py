"""The files of a mail: which are to be uploaded to Salesforce, and how far each is.

A file follows the record that it hangs on, by a ledger of its own; all frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from relay.core.states import ActivityState


@dataclass(frozen=True, slots=True)
class FileDraft:
    """One file to hang on one record of a mail.

    `key` is the digest of record and content, unique for ever. The raw bytes of the
    blob from `start` to `end` hold the content in `encoding`; decoded, it has
    `size_bytes` and the digest `sha256`. The original mail has no digest: its bytes
    differ from copy to copy.
    """

    key: str
    mail_id: int
    activity_key: str
    blob_id: str
    name: str
    content_type: str
    size_bytes: int
    sha256: str
    start: int
    end: int
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as the store knows it, and the record that it is to hang on.

    `due_at` is when a worker is to go on with it; None: never again. `mine` says
    whether the worker that asked has its lease.
    """

    id: int
    draft: FileDraft
    state: ActivityState
    record_id: str | None
    record_gone: bool
    created_at: datetime
    version_id: str | None = None
    document_id: str | None = None
    sent_at: datetime | None = None
    due_at: datetime | None = None
    error: str = ""
    lookups: int = 0
    failures: int = 0
    mine: bool = False

    @property
    def key(self) -> str:
        """Return the key of its draft."""
        return self.draft.key


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """A change of one file's row. None leaves a column as it is, but for `due_at`.

    `keep` leaves the lease with the worker; otherwise the row is free from `due_at` on.
    """

    key: str
    state: ActivityState
    due_at: datetime | None = None
    version_id: str | None = None
    document_id: str | None = None
    sent_at: datetime | None = None
    error: str = ""
    lookups: int | None = None
    failures: int | None = None
    keep: bool = False
