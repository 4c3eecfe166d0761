"""App passwords and API tokens: with which programs log in to pass mail to the relay.

Adding and removing are edits like those of the directory: audited, and seen by a
running relay within its next look. Of an app password only the hash is kept; an API
token is random and long, so that a plain digest of it cannot be guessed back, and only
that is kept. The audit knows names alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, or_, select, update

from relay.core.directory import APIToken
from relay.core.errors import Conflict, NotFound
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import edit_directory, read_app_passwords
from relay.store.values import SECOND, iso, maybe_moment, moment, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection, Row

    from relay.core.directory import AppPassword
    from relay.core.model import Json
    from relay.store.edits import Edit

MOST: Final = 10
"""App passwords of a user: each wrong one tried costs the hash of every right one."""
_HOUR: Final = 3600 * SECOND
t = schema.api_tokens.c


class Credentials(Part):
    """Operations on app passwords and API tokens."""

    async def app_passwords(self, user_id: int | None = None) -> list[AppPassword]:
        """Return the app passwords of a user, or of everybody, oldest first."""
        return await self._context.read(lambda c: read_app_passwords(c, user_id))

    async def add_app_password(
        self, user_id: int, name: str, hashed: str, actor: str
    ) -> None:
        """Let a user log in with one more password, kept as its hash.

        Raises:
            NotFound: There is no such user.
            Conflict: The user has one of this name, or as many as one may have.
        """

        def work(edit: Edit) -> None:
            user = edit.user(user_id)
            table = schema.app_passwords
            own = table.c.user_id == user_id
            edit.refuse_if(
                select(table.c.id).where(own, table.c.name == name),
                f"{user.email} has an app password {name!r} already; remove it first, "
                "or give the new one another --name",
            )
            count = edit.connection.scalar(
                select(func.count()).select_from(table).where(own)
            )
            if (count or 0) >= MOST:
                text = f"{user.email} has {MOST} app passwords; remove one first"
                raise Conflict(text)
            edit.connection.execute(
                insert(table).values(
                    user_id=user_id,
                    name=name,
                    hash=hashed,
                    added_at=edit.now,
                    added_by=edit.actor,
                )
            )
            edit.done("app_password_add", user, None, name)

        await edit_directory(self._context, actor, work)

    async def remove_app_password(self, user_id: int, name: str, actor: str) -> None:
        """Take a password from a user; a session that has logged in with it may finish.

        Raises:
            NotFound: There is no such user, or no such password.
        """

        def work(edit: Edit) -> None:
            user = edit.user(user_id)
            table = schema.app_passwords
            gone = edit.connection.execute(
                delete(table).where(table.c.user_id == user_id, table.c.name == name)
            )
            if not gone.rowcount:
                text = f"{user.email} has no app password {name!r}"
                raise NotFound(text)
            edit.done("app_password_remove", user, name, None)

        await edit_directory(self._context, actor, work)

    async def app_password_used(self, user_id: int, name: str) -> None:
        """Record that a password was used; written once an hour at most, no edit."""
        table = schema.app_passwords
        now = self._context.now()
        due = or_(table.c.used_at.is_(None), table.c.used_at < now - _HOUR)
        change = (
            update(table)
            .where(table.c.user_id == user_id, table.c.name == name, due)
            .values(used_at=now)
        )

        def work(connection: Connection) -> None:
            connection.execute(change)

        await self._context.write(work)

    # ------------------------------------------------------------ API tokens

    async def api_tokens(self) -> list[APIToken]:
        """Return all tokens, oldest first."""
        query = select(schema.api_tokens).order_by(t.id)
        return await self._context.read(
            lambda connection: [_token(row) for row in connection.execute(query)]
        )

    async def find_api_token(self, hashed: str) -> APIToken | None:
        """Return the token of which this is the digest, and record its use."""
        now = self._context.now()
        row = await self._context.read(
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

            await self._context.write(work)
        return _token(row)

    async def add_api_token(
        self,
        name: str,
        hashed: str,
        user_id: int | None,
        actor: str,
        *,
        scopes: Sequence[str] = ("mail:submit",),
        expires_at: datetime | None = None,
    ) -> None:
        """Keep a token as its digest.

        Args:
            name: Names it for people, and in the history.
            hashed: Its digest.
            user_id: For whom alone it is; None: for nobody.
            actor: Who makes it.
            scopes: What it may (`core.access`).
            expires_at: From when it is refused; None: never.

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
                    scopes=" ".join(scopes),
                    expires_at=None if expires_at is None else stamp(expires_at),
                )
            )
            edit.done("api_token_add", name, None, _new(whose, scopes, expires_at))

        await edit_directory(self._context, actor, work)

    async def remove_api_token(self, name: str, actor: str) -> None:
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

        await edit_directory(self._context, actor, work)


def _new(whose: str | None, scopes: Sequence[str], expires: datetime | None) -> Json:
    """Return a new token as the history keeps it: whose it is, and what it may."""
    if tuple(scopes) == ("mail:submit",) and expires is None:
        return whose
    until = None if expires is None else iso(stamp(expires))
    return {"user": whose, "scopes": list(scopes), "expires_at": until}


def _token(row: Row[Any]) -> APIToken:
    return APIToken(
        name=row.name,
        user_id=row.user_id,
        added_at=moment(row.added_at),
        added_by=row.added_by,
        used_at=None if row.used_at is None else moment(row.used_at),
        scopes=tuple(row.scopes.split()),
        expires_at=maybe_moment(row.expires_at),
    )
