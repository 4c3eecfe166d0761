"""How this org logs mail: as EmailMessages or as Tasks.

`salesforce.write_as = "auto"` cannot be answered by describe: EmailMessage exists in
orgs with Email-to-Case alone, where it makes no activity. So the first write goes
alone and is read back; what it showed is remembered in the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.activity import Mode
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.queue import LeaseOwner
    from relay.salesforce import OrgSchema
    from relay.store import Store

NOTE: Final = "salesforce.write_mode"
"""Where the store keeps the decision: `{"mode", "reason", "at", "org"}`."""
LEASE_S: Final = 60.0
"""How long a relay that was killed keeps the others from making a first write."""

logger = get_logger(__name__)


class WriteMode:
    """The decision, and the lease under which one first write goes alone."""

    def __init__(
        self, settings: SalesforceSettings, store: Store, clock: Clock
    ) -> None:
        """Keep the parts; nothing is read yet."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._remembered: Mode | None = None

    @property
    def shadow(self) -> bool:
        """Say whether nothing is to be written at all."""
        return self._settings.write_as == "nothing"

    @property
    def remembered(self) -> Mode | None:
        """Return what the first write showed, as far as this process knows."""
        return self._remembered

    @property
    def may_be_unproven(self) -> bool:
        """Say whether an EmailMessage that is found may have made no activity."""
        return (
            self._settings.write_as == "auto"
            and self._remembered is not Mode.EMAIL_MESSAGE
        )

    async def known(self, schema: OrgSchema) -> Mode | None:
        """Return the mode, or None while only a first write can tell."""
        if self._settings.write_as in tuple(Mode):
            return Mode(self._settings.write_as)
        if not _can_log_email_messages(schema):
            return Mode.TASK
        if self._remembered is None:
            note = await self._store.shared.get(NOTE)
            if isinstance(note, dict) and note.get("org") == self._org():
                self._remembered = Mode(note["mode"])
        return self._remembered

    def probing(self, owner: LeaseOwner) -> AbstractAsyncContextManager[None]:
        """Let one lane of all relays make the first write; the others wait for it.

        Whoever comes in asks `known` again: the one before may have found it out.

        Raises:
            StoreUnavailable: The block has not run.
        """
        return self._store.leases.held(f"write mode {self._org()}", owner, LEASE_S)

    async def likely(self, schema: OrgSchema) -> Mode:
        """Return the mode for a dry run: an undecided org is taken as able."""
        return await self.known(schema) or Mode.EMAIL_MESSAGE

    async def remember(self, mode: Mode, reason: str) -> None:
        """Keep what the first write showed, until the org's address changes."""
        self._remembered = mode
        await self._store.shared.set(
            NOTE,
            {
                "mode": str(mode),
                "reason": reason,
                "at": self._clock.now().isoformat(),
                "org": self._org(),
            },
        )
        logger.info("write_mode_decided", mode=str(mode), reason=reason)

    def _org(self) -> str:
        return str(self._settings.instance_url)


def _can_log_email_messages(schema: OrgSchema) -> bool:
    return (
        schema.has_email_message
        and all(
            schema.createable("EmailMessage", field)
            for field in ("Status", "MessageIdentifier", "ToIds")
        )
        # Without it the first write could never be proven.
        and schema.field("EmailMessage", "ActivityId") is not None
    )
