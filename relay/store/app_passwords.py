"""App passwords: with which mail programs of users log in to hand mail over.

Edits like those of the directory: audited, and seen by a running relay within its next
look. Only hashes are kept, and the audit knows names, not hashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, or_, select, update

from relay.core.errors import Conflict, NotFound
from relay.store import schema
from relay.store.directory import DirectoryEdits
from relay.store.snapshot import read_app_passwords
from relay.store.values import SECOND

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from relay.core.directory import AppPassword
    from relay.store.directory import Edit

MOST: Final = 10
"""Passwords of a user: each wrong one tried costs the hash of every right one."""
_HOUR: Final = 3600 * SECOND


class AppPasswords(DirectoryEdits):
    """Operations on app passwords."""

    async def app_passwords(self, user_id: int | None = None) -> list[AppPassword]:
        """Return the app passwords of a user, or of everybody, oldest first."""
        return await self._read(lambda c: read_app_passwords(c, user_id))

    async def app_password_add(
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
            edit.done("app_password_add", user.email, None, name)

        await self._edit(actor, work)

    async def app_password_remove(self, user_id: int, name: str, actor: str) -> None:
        """Take a password from a user; who has logged in with it may finish.

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
            edit.done("app_password_remove", user.email, name, None)

        await self._edit(actor, work)

    async def app_password_used(self, user_id: int, name: str) -> None:
        """Note that a password was used; written once an hour at most, no edit."""
        table = schema.app_passwords
        now = self._now()
        due = or_(table.c.used_at.is_(None), table.c.used_at < now - _HOUR)
        change = (
            update(table)
            .where(table.c.user_id == user_id, table.c.name == name, due)
            .values(used_at=now)
        )

        def work(connection: Connection) -> None:
            connection.execute(change)

        await self._write(work)
