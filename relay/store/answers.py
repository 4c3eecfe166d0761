"""Answers of the API, kept for a day: a request that is sent again does nothing.

A program that gets no answer sends its request again, with the same Idempotency-Key.
The key is taken before the work begins, and the answer is kept with it. A process that
is killed in between leaves the key taken; it is free again after `ABANDONED_S`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select, update

from relay.store import schema
from relay.store.context import Part
from relay.store.values import SECOND

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEPT_S: Final = 86_400
"""How long an answer is kept."""
ABANDONED_S: Final = 300
"""How long a request may be worked on."""
_PURGED: Final = 1000
"""Old answers that are removed at once."""

k = schema.api_answers.c


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What became of the request that took a key first.

    Attributes:
        request: The digest of that request.
        status: The HTTP status; None: it is being worked on.
        headers: As kept.
        body: As kept.
    """

    request: str
    status: int | None
    headers: str
    body: str


class Answers(Part):
    """Operations on kept answers."""

    async def take(self, key: str) -> KeptAnswer | None:
        """Take a key; return what became of the request that took it first.

        None: this one is the first, and goes on; `keep` or `forget` must follow.
        """
        now = self._context.now()

        def work(connection: Connection) -> KeptAnswer | None:
            # One at a time, on PostgreSQL too: of two requests only one may be first.
            connection.execute(select(schema.meta.c.revision).with_for_update())
            old = (
                select(k.key)
                .where(k.created_at < now - KEPT_S * SECOND)
                .order_by(k.created_at)
                .limit(_PURGED)
            )
            connection.execute(
                delete(schema.api_answers).where(
                    k.key.in_(list(connection.scalars(old)))
                )
            )
            stuck = (k.key == key) & k.status.is_(None)
            stuck &= k.created_at < now - ABANDONED_S * SECOND
            connection.execute(delete(schema.api_answers).where(stuck))
            row = connection.execute(
                select(schema.api_answers).where(k.key == key)
            ).first()
            if row is not None:
                return KeptAnswer(row.request, row.status, row.headers, row.body)
            connection.execute(
                insert(schema.api_answers).values(key=key, request="", created_at=now)
            )
            return None

        return await self._context.write(work)

    async def keep(
        self, key: str, request: str, status: int, headers: str, body: str
    ) -> None:
        """Keep the answer to the request, whose digest it is, that took the key."""
        this = update(schema.api_answers).where(k.key == key)
        answer = {"request": request, "status": status}

        def work(connection: Connection) -> None:
            connection.execute(this.values(**answer, headers=headers, body=body))

        await self._context.write(work)

    async def forget(self, key: str) -> None:
        """Let the key be taken again: its request came to nothing."""

        def work(connection: Connection) -> None:
            connection.execute(delete(schema.api_answers).where(k.key == key))

        await self._context.write(work)
