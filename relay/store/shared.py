"""Facts that all relays on one database share, and that no admin edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from relay.store import schema
from relay.store.context import Part
from relay.store.values import load, replace_value

if TYPE_CHECKING:
    from relay.core.model import Json


class SharedFacts(Part):
    """Values by key; the last writer wins."""

    async def get(self, key: str) -> Json:
        """Return the value of a key, None where there is none."""
        query = select(schema.notes.c.value).where(schema.notes.c.key == key)
        value = await self._context.read(lambda connection: connection.scalar(query))
        return None if value is None else load(value)

    async def set(self, key: str, value: Json) -> None:
        """Set the value of a key; None removes it. Neither an edit nor audited."""
        await self._context.write(lambda c: replace_value(c, schema.notes, key, value))
