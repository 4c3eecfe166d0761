"""API tokens: with which programs hand mail over by HTTP.

A token is random and long, so that a plain digest of it cannot be guessed back; only
that is kept, and the audit knows names alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, or_, select, update

from relay.core.directory import APIToken
from relay.core.errors import NotFound
from relay.store import schema
from relay.store.directory import DirectoryEdits
from relay.store.values import SECOND, moment

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection, Row

    from relay.store.directory import Edit

_HOUR: Final = 3600 * SECOND
t = schema.api_tokens.c


class APITokens(DirectoryEdits):
    """Operations on API tokens."""

    async def api_tokens(self) -> list[APIToken]:
        """Return all tokens, oldest first."""
        query = select(schema.api_tokens).order_by(t.id)
        return await self._read(
            lambda connection: [_token(row) for row in connection.execute(query)]
        )

    async def api_token_find(self, hashed: str) -> APIToken | None:
        """Return the token of which this is the digest, and note its use."""
        now = self._now()
        row = await self._read(
            lambda connection: connection.execute(
                select(schema.api_tokens).where(t.hash == hashed)
            ).first()
        )
        if row is None:
            return None
        if row.used_at is None or row.used_at < now - _HOUR:
            due = or_(t.used_at.is_(None), t.used_at < now - _HOUR)
            change = (
                update(schema.api_tokens).where(t.id == row.id, due).values(used_at=now)
            )

            def work(connection: Connection) -> None:
                connection.execute(change)

            await self._write(work)
        return _token(row)

    async def api_token_add(
        self, name: str, hashed: str, user_id: int | None, actor: str
    ) -> None:
        """Keep a token as its digest.

        Raises:
            NotFound: There is no such user.
            Conflict: There is a token of this name.
        """

        def work(edit: Edit) -> None:
            whose = None if user_id is None else edit.user(user_id).email
            edit.refuse_if(
                select(t.id).where(t.name == name),
                f"there is a token {name!r} already; remove it first, or take another "
                "name",
            )
            edit.connection.execute(
                insert(schema.api_tokens).values(
                    name=name,
                    user_id=user_id,
                    hash=hashed,
                    added_at=edit.now,
                    added_by=edit.actor,
                )
            )
            edit.done("api_token_add", name, None, whose)

        await self._edit(actor, work)

    async def api_token_remove(self, name: str, actor: str) -> None:
        """Forget a token; it is refused from now on.

        Raises:
            NotFound: There is no such token.
        """

        def work(edit: Edit) -> None:
            gone = edit.connection.execute(
                delete(schema.api_tokens).where(t.name == name)
            )
            if not gone.rowcount:
                text = f"there is no token {name!r}; relay token list shows all"
                raise NotFound(text)
            edit.done("api_token_remove", name, None, None)

        await self._edit(actor, work)


def _token(row: Row[Any]) -> APIToken:
    return APIToken(
        name=row.name,
        user_id=row.user_id,
        added_at=moment(row.added_at),
        added_by=row.added_by,
        used_at=None if row.used_at is None else moment(row.used_at),
    )
