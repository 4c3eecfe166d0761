"""What the intake needs of a store, as protocols; `relay.store.Store` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay.core.model import Envelope, RawMail, Refusal


class MessageSink(Protocol):
    """Where accepted mail goes."""

    async def put(self, envelope: Envelope, raw: RawMail) -> None:
        """Store one transaction durably, all messages or none; then 250 may be said.

        A file that `raw` names is taken over.

        Raises:
            StoreUnavailable: Nothing was stored.
            StoreFull: Nothing was stored, the disk is below its floor.
        """

    def free_bytes(self, *, fresh: bool = False) -> int:
        """Return the free space where mail is stored.

        Unless `fresh`, the answer may be a moment old.

        Raises:
            StoreUnavailable: The disk does not answer.
        """

    def spool_temporary(self) -> Path:
        """Return the path of a new temporary file for one large mail."""


class RefusalSink(Protocol):
    """Where refusals go."""

    async def record(self, refusals: Sequence[Refusal]) -> None:
        """Record refusals.

        Raises:
            StoreUnavailable: Nothing was recorded.
        """


class LoginSink(Protocol):
    """Where the use of app passwords is recorded."""

    async def app_password_used(self, user_id: int, name: str) -> None:
        """Record that a user has logged in with an app password.

        Raises:
            StoreUnavailable: It was not recorded.
        """


class MailStore(Protocol):
    """The parts of a store that the intake writes to."""

    @property
    def messages(self) -> MessageSink:
        """Return where accepted mail goes."""

    @property
    def refusals(self) -> RefusalSink:
        """Return where refusals go."""

    @property
    def credentials(self) -> LoginSink:
        """Return where the use of app passwords is recorded."""
