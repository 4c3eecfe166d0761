"""Second factors: the secret of a code app, recovery codes, passkeys.

A code works once: the half minute of the last one is kept, and taken in the transaction
that lets somebody in, so that of two who show one code at a time one alone passes.
Adding and removing a factor leaves a line in the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, or_, select, update

from relay.core.accounts import Passkey, SecondFactors, digest
from relay.core.errors import Conflict, NotFound
from relay.store import schema
from relay.store.accounts import user_of
from relay.store.context import Part
from relay.store.edits import write_audit
from relay.store.values import maybe_moment, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from relay.core.model import Json

MOST_PASSKEYS = 20
"""Passkeys of one user."""
a = schema.totp_secrets.c
r = schema.recovery_codes.c
p = schema.passkeys.c


class Factors(Part):
    """Operations on second factors."""

    async def of(self, user_id: int) -> SecondFactors:
        """Return what a user has."""

        def read(connection: Connection) -> SecondFactors:
            since = connection.scalar(
                select(a.confirmed_at).where(a.user_id == user_id)
            )
            left = connection.scalar(
                select(func.count())
                .select_from(schema.recovery_codes)
                .where(r.user_id == user_id, r.used_at.is_(None))
            )
            return SecondFactors(
                maybe_moment(since), left or 0, tuple(_keys(connection, user_id))
            )

        return await self._context.read(read)

    # ------------------------------------------------------------ the code app

    async def begin_app(self, user_id: int, secret: str) -> None:
        """Keep the secret of an app that has yet to show a code.

        Raises:
            NotFound: There is no such user.
            Conflict: The user has an app already.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            mine = a.user_id == user_id
            if connection.scalar(select(a.confirmed_at).where(mine)) is not None:
                text = f"{user.email} has a code app already; remove it first"
                raise Conflict(text)
            connection.execute(delete(schema.totp_secrets).where(mine))
            connection.execute(
                insert(schema.totp_secrets).values(
                    user_id=user_id, secret=secret, added_at=now
                )
            )

        await self._context.write(work)

    async def app_secret(self, user_id: int, *, confirmed: bool) -> str | None:
        """Return the secret of a user's app; None: there is none of this kind."""
        kind = a.confirmed_at.is_not(None) if confirmed else a.confirmed_at.is_(None)
        query = select(a.secret).where(a.user_id == user_id, kind)
        return await self._context.read(lambda connection: connection.scalar(query))

    async def replace_secret(self, user_id: int, old: str, new: str) -> None:
        """Keep the same secret in another form, unless it was changed since."""
        this = (a.user_id == user_id) & (a.secret == old)
        change = update(schema.totp_secrets).where(this).values(secret=new)
        await self._context.write(lambda connection: connection.execute(change))

    async def confirm_app(
        self, user_id: int, step: int, codes: Sequence[str], actor: str
    ) -> bool:
        """Let the app count, and keep new recovery codes; False: none was begun."""
        now = self._context.now()
        begun = (a.user_id == user_id) & a.confirmed_at.is_(None)

        def work(connection: Connection) -> bool:
            user = user_of(connection, now, user_id)
            done = connection.execute(
                update(schema.totp_secrets)
                .where(begun)
                .values(confirmed_at=now, last_step=step)
            )
            if not done.rowcount:
                return False
            _replace_codes(connection, user_id, codes)
            change = (user.email, None, "code app")
            _audit(connection, now, actor, "factor_add", change, user_id)
            return True

        return await self._context.write(work)

    async def take_step(self, user_id: int, step: int) -> bool:
        """Use up the code of a half minute; False: it, or a later one, was used."""
        fresh = (a.user_id == user_id) & a.confirmed_at.is_not(None)
        fresh &= or_(a.last_step.is_(None), a.last_step < step)
        change = update(schema.totp_secrets).where(fresh).values(last_step=step)
        return await self._context.write(
            lambda connection: bool(connection.execute(change).rowcount)
        )

    async def remove_app(self, user_id: int, actor: str) -> None:
        """Forget a user's app, and the recovery codes with it.

        Raises:
            NotFound: The user has none.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            gone = connection.execute(
                delete(schema.totp_secrets).where(a.user_id == user_id)
            )
            if not gone.rowcount:
                text = f"{user.email} has no code app"
                raise NotFound(text)
            connection.execute(
                delete(schema.recovery_codes).where(r.user_id == user_id)
            )
            change = (user.email, "code app", None)
            _audit(connection, now, actor, "factor_remove", change, user_id)

        await self._context.write(work)

    # ------------------------------------------------------------ recovery codes

    async def replace_codes(
        self, user_id: int, codes: Sequence[str], actor: str
    ) -> None:
        """Keep new recovery codes; the ones before end.

        Raises:
            NotFound: There is no such user.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            _replace_codes(connection, user_id, codes)
            change = (user.email, None, None)
            _audit(connection, now, actor, "recovery_codes_add", change, user_id)

        await self._context.write(work)

    async def use_code(self, user_id: int, code: str, actor: str) -> bool:
        """Use a recovery code up; False: the user has no such code left."""
        now = self._context.now()
        this = (r.hash == _hash(user_id, code)) & r.used_at.is_(None)
        change = update(schema.recovery_codes).where(this).values(used_at=now)

        def work(connection: Connection) -> bool:
            user = user_of(connection, now, user_id)
            used = bool(connection.execute(change).rowcount)
            if used:
                about = (user.email, None, None)
                _audit(connection, now, actor, "recovery_code_used", about, user_id)
            return used

        return await self._context.write(work)

    # ------------------------------------------------------------ passkeys

    async def add_passkey(
        self,
        user_id: int,
        credential_id: str,
        public_key: str,
        sign_count: int,
        name: str,
        actor: str,
    ) -> None:
        """Keep a new passkey of a user.

        Raises:
            NotFound: There is no such user.
            Conflict: Somebody has this key, or the user has too many.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            taken = select(p.id).where(p.credential_id == credential_id)
            if connection.scalar(taken) is not None:
                raise Conflict("this passkey is known already")
            if len(_keys(connection, user_id)) >= MOST_PASSKEYS:
                text = f"{user.email} has {MOST_PASSKEYS} passkeys; remove one first"
                raise Conflict(text)
            connection.execute(
                insert(schema.passkeys).values(
                    user_id=user_id,
                    credential_id=credential_id,
                    public_key=public_key,
                    sign_count=sign_count,
                    name=name,
                    added_at=now,
                )
            )
            change = (user.email, None, f"passkey {name}")
            _audit(connection, now, actor, "factor_add", change, user_id)

        await self._context.write(work)

    async def passkey(self, credential_id: str) -> Passkey | None:
        """Return the passkey with this id."""
        query = select(schema.passkeys).where(p.credential_id == credential_id)
        row = await self._context.read(lambda one: one.execute(query).first())
        return None if row is None else _passkey(row)

    async def passkey_used(self, passkey_id: int, before: int, sign_count: int) -> bool:
        """Keep the count of a use; False: the key was used meanwhile."""
        this = (p.id == passkey_id) & (p.sign_count == before)
        change = update(schema.passkeys).where(this)
        values = {"sign_count": sign_count, "used_at": self._context.now()}
        return await self._context.write(
            lambda one: bool(one.execute(change.values(values)).rowcount)
        )

    async def remove_passkey(self, user_id: int, passkey_id: int, actor: str) -> None:
        """Forget a passkey of a user.

        Raises:
            NotFound: The user has no such passkey.
        """
        now = self._context.now()
        this = (p.id == passkey_id) & (p.user_id == user_id)

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            name = connection.scalar(select(p.name).where(this))
            if name is None:
                text = f"{user.email} has no passkey {passkey_id}"
                raise NotFound(text)
            connection.execute(delete(schema.passkeys).where(this))
            change = (user.email, f"passkey {name}", None)
            _audit(connection, now, actor, "factor_remove", change, user_id)

        await self._context.write(work)

    async def remove_all(self, user_id: int, actor: str) -> bool:
        """Forget every second factor of a user, for who lost their phone.

        Return whether there was any.

        Raises:
            NotFound: There is no such user.
        """
        now = self._context.now()

        def work(connection: Connection) -> bool:
            user = user_of(connection, now, user_id)
            gone = 0
            for table in (
                schema.totp_secrets,
                schema.recovery_codes,
                schema.passkeys,
            ):
                this = table.c.user_id == user_id
                gone += connection.execute(delete(table).where(this)).rowcount
            if gone:
                change = (user.email, "all", None)
                _audit(connection, now, actor, "factor_remove", change, user_id)
            return bool(gone)

        return await self._context.write(work)


def _audit(
    connection: Connection,
    now: int,
    actor: str,
    action: str,
    change: tuple[str, Json, Json],
    user_id: int,
) -> None:
    write_audit(connection, now, actor, action, change, user_id=user_id)


def _replace_codes(connection: Connection, user_id: int, codes: Sequence[str]) -> None:
    connection.execute(delete(schema.recovery_codes).where(r.user_id == user_id))
    rows = [{"user_id": user_id, "hash": _hash(user_id, code)} for code in codes]
    connection.execute(insert(schema.recovery_codes), rows)


def _hash(user_id: int, code: str) -> str:
    return digest(f"recovery {user_id} {code}")


def _keys(connection: Connection, user_id: int) -> list[Passkey]:
    query = select(schema.passkeys).where(p.user_id == user_id).order_by(p.id)
    return [_passkey(row) for row in connection.execute(query)]


def _passkey(row: Row[Any]) -> Passkey:
    return Passkey(
        row.id,
        row.user_id,
        row.credential_id,
        row.public_key,
        row.sign_count,
        row.name,
        moment(row.added_at),
        maybe_moment(row.used_at),
    )
