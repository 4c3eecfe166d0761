"""What the intake needs of a store, as a protocol: `relay.store.Store` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay.core.model import Envelope, RawMail, Refusal


class MailStore(Protocol):
    """Where accepted mail and refusals go."""

    async def put(self, envelope: Envelope, raw: RawMail) -> None:
        """Store one transaction durably, all messages or none; then 250 may be said.

        A file that `raw` names is taken over.

        Raises:
            StoreUnavailable: Nothing was stored.
            StoreFull: Nothing was stored, the disk is below its floor.
        """

    async def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Record refusals.

        Raises:
            StoreUnavailable: Nothing was recorded.
        """

    async def app_password_used(self, user_id: int, name: str) -> None:
        """Note that somebody has logged in with an app password.

        Raises:
            StoreUnavailable: It was not noted.
        """

    def free_bytes(self, *, fresh: bool = False) -> int:
        """Return the free space where mail is stored.

        Unless `fresh`, the answer may be a moment old.

        Raises:
            StoreUnavailable: The disk does not answer.
        """

    def spool_temporary(self) -> Path:
        """Return the path of a new temporary file for one large mail."""
