"""Accounts of the console: passwords, one-time links, sessions, and counted tries.

Every change leaves a line in the history, in the same transaction. A session is looked
up together with its user, so that a role or a state that was changed holds with the
next request, in every process.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.accounts import (
    Invitation,
    Session,
    SignInLink,
    WayIn,
    digest,
    may_sign_in,
)
from relay.core.directory import Role
from relay.core.errors import NotFound
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import read_users, write_audit
from relay.store.notices import plan_one
from relay.store.values import SECOND, load, maybe_moment, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Row

    from relay.core.directory import User
    from relay.core.model import Json
    from relay.core.notices import NoticeDraft

NOTED_S: Final = 60
"""A use of a session is written once in so many seconds."""
FORMER_S: Final = 30
"""How long a cookie works on after it was changed: requests under way carry it."""
MOST_SESSIONS: Final = 50
"""Sessions of one user; the oldest ends when there are more."""
_LONGEST: Final = 300
"""Longest text of a browser that is kept."""
_PURGED: Final = 1000

s = schema.sessions.c
k = schema.sign_in_links.c
r = schema.sign_in_tries.c


class Accounts(Part):
    """Operations on accounts."""

    # ------------------------------------------------------------ passwords

    async def password(self, user_id: int) -> str | None:
        """Return the hash of a user's password; None: they have none."""
        table = schema.passwords
        query = select(table.c.hash).where(table.c.user_id == user_id)
        return await self._context.read(lambda connection: connection.scalar(query))

    async def set_password(
        self, user_id: int, hashed: str, actor: str, *, keep: int | None = None
    ) -> None:
        """Set a user's password, as its hash; every other session of the user ends.

        Args:
            user_id: Whose.
            hashed: The hash.
            actor: Who sets it.
            keep: The session that stays.

        Raises:
            NotFound: There is no such user.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            _set_password(connection, now, user_id, hashed)
            _end(connection, user_id, keep=keep)
            write_audit(
                connection,
                now,
                actor,
                "password_set",
                (user.email, None, None),
                user_id=user_id,
            )

        await self._context.write(work)

    async def replace_hash(self, user_id: int, old: str, hashed: str) -> None:
        """Keep the same password under a stronger hash, unless it was set since."""
        table = schema.passwords
        this = (table.c.user_id == user_id) & (table.c.hash == old)
        change = update(table).where(this).values(hash=hashed)
        await self._context.write(lambda connection: _run(connection, change))

    # ------------------------------------------------------------ one-time links

    async def add_link(
        self,
        user_id: int,
        secret_digest: str,
        life: timedelta,
        actor: str,
        mail: Callable[[datetime], NoticeDraft] | None = None,
    ) -> datetime:
        """Keep a new link for a user; the user's older ones end. Return its end.

        Args:
            user_id: Whose.
            secret_digest: What is kept of it.
            life: How long it works.
            actor: Who makes it.
            mail: Makes the notice that mails it, from its end: both or neither are
                kept. None: it is not mailed.

        Raises:
            NotFound: There is no such user.
        """
        now = self._context.now()
        ends = now + stamp_of(life)
        draft = mail(moment(ends)) if mail else None
        key = f"sign-in-{secrets.token_hex(8)}" if draft else None

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            connection.execute(
                delete(schema.sign_in_links).where(
                    or_(k.user_id == user_id, k.expires_at < now)
                )
            )
            connection.execute(
                insert(schema.sign_in_links).values(
                    hash=secret_digest,
                    user_id=user_id,
                    created_at=now,
                    created_by=actor,
                    expires_at=ends,
                )
            )
            made = {
                "invited_at": now,
                "invited_by": actor,
                "link_ends_at": ends,
                "notice_key": key,
            }
            _keep_way_in(connection, user_id, made)
            if draft and key:
                plan_one(connection, key, draft, now)
            new = {"mailed_to": draft.recipient} if draft else None
            change = (user.email, None, new)
            write_audit(connection, now, actor, "sign_in_link", change, user_id=user_id)

        await self._context.write(work)
        return moment(ends)

    async def invitations(self, user_id: int | None = None) -> dict[int, Invitation]:
        """Return how users came into the console, by their numbers.

        Who was never invited and never signed in is missing.
        """
        now = self._context.now()
        w, n = schema.sign_ins.c, schema.notices.c
        query = select(schema.sign_ins, n.state, n.error).outerjoin(
            schema.notices, n.key == w.notice_key
        )
        works = select(k.user_id).where(k.expires_at > now)
        if user_id is not None:
            query = query.where(w.user_id == user_id)
            works = works.where(k.user_id == user_id)

        def read(connection: Connection) -> dict[int, Invitation]:
            open_ones = set(connection.scalars(works))
            return {
                row.user_id: _invitation(row, row.user_id in open_ones)
                for row in connection.execute(query)
            }

        return await self._context.read(read)

    async def link(self, secret: str) -> SignInLink | None:
        """Return a link that still works; None for any other text."""
        now = self._context.now()
        return await self._context.read(
            lambda connection: _link(connection, now, digest(secret))
        )

    async def use_link(self, secret: str, hashed: str) -> User | None:
        """Set the password of the link's user; None: the link does not work any more.

        The link and every session of the user end in the same transaction, so that of
        two who use one link at a time, one alone succeeds.
        """
        now = self._context.now()

        def work(connection: Connection) -> User | None:
            _lock(connection)
            found = _link(connection, now, digest(secret))
            if found is None:
                return None
            user = found.user
            connection.execute(delete(schema.sign_in_links).where(k.user_id == user.id))
            _set_password(connection, now, user.id, hashed)
            _end(connection, user.id)
            write_audit(
                connection,
                now,
                f"web:{user.email}",
                "password_set",
                (user.email, None, {"by": "link"}),
                user_id=user.id,
            )
            return user

        return await self._context.write(work)

    # ------------------------------------------------------------ sessions

    async def begin(
        self,
        user_id: int,
        secret: str,
        *,
        method: str,
        strong: bool,
        life: timedelta,
        address: str,
        agent: str,
    ) -> None:
        """Keep a new session, as the digest of its secret.

        Raises:
            NotFound: There is no such user, or they may not sign in any more.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            if not may_sign_in(user):
                text = f"{user.email} is disabled; relay user enable {user.email}"
                raise NotFound(text)
            connection.execute(
                insert(schema.sessions).values(
                    hash=digest(secret),
                    user_id=user_id,
                    method=method,
                    strong=strong,
                    role=user.role.value,
                    created_at=now,
                    used_at=now,
                    ends_at=now + stamp_of(life),
                    address=address[:_LONGEST],
                    agent=agent[:_LONGEST],
                )
            )
            _end_oldest(connection, user_id)
            if strong or not has_factor(connection, user_id):
                _note_sign_in(connection, now, user, method, address)

        await self._context.write(work)

    async def session(
        self, secret: str, idle: timedelta
    ) -> tuple[Session, Mapping[str, Json]] | None:
        """Return the session of a cookie, and the settings kept for the console.

        None where it has ended: by itself, by disuse, or with its user. Its use is
        noted.
        """
        now = self._context.now()
        hashed = digest(secret)
        former = (s.former_hash == hashed) & (s.former_until > now)
        query = select(schema.sessions).where(or_(s.hash == hashed, former))
        since = now - stamp_of(idle)
        settings = schema.settings
        of_web = select(settings).where(settings.c.key.startswith("web."))

        def read(
            connection: Connection,
        ) -> tuple[Session | None, int, dict[str, Json]] | None:
            row = connection.execute(query).first()
            if row is None:
                return None
            kept = {one.key: load(one.value) for one in connection.execute(of_web)}
            users = read_users(connection, now, row.user_id)
            over = row.ends_at <= now or row.used_at <= since
            if over or not users or not may_sign_in(users[0]):
                return None, row.id, kept
            known = has_factor(connection, row.user_id)
            return _session(row, users[0], known), row.used_at, kept

        found = await self._context.read(read)
        if found is None:
            return None
        session, number, kept = found
        if session is None:
            gone = delete(schema.sessions).where(s.id == number)
            await self._context.write(lambda connection: _run(connection, gone))
            return None
        if number < now - NOTED_S * SECOND:
            this = (s.id == session.id) & (s.used_at < now)
            used = update(schema.sessions).where(this).values(used_at=now)
            await self._context.write(lambda connection: _run(connection, used))
        return session, kept

    async def renew(
        self,
        session_id: int,
        old: str,
        new: str,
        role: Role,
        *,
        shown: str | None = None,
    ) -> bool:
        """Give a session a new secret; False: somebody has done so already.

        Args:
            session_id: Which.
            old: The secret so far; it works for `FORMER_S` more.
            new: The new one.
            role: The user's role now.
            shown: The second factor that was shown: the sign-in is whole with it, gets
                its line in the history, and the old secret ends at once.
        """
        now = self._context.now()
        this = select(schema.sessions).where(s.id == session_id)
        former = {"former_hash": digest(old), "former_until": now + FORMER_S * SECOND}
        values: dict[str, Any] = {"hash": digest(new), "role": role.value}

        def work(connection: Connection) -> bool:
            before = connection.execute(this).first()
            if before is None:
                return False
            if shown is None:
                more: dict[str, Any] = former
            else:
                method = f"{before.method}, {shown}"
                more = {"strong": True, "method": method, "former_hash": None}
            changed = connection.execute(
                update(schema.sessions)
                .where(s.id == session_id, s.hash == digest(old))
                .values(values | more)
            )
            if changed.rowcount and shown is not None:
                user = user_of(connection, now, before.user_id)
                _note_sign_in(connection, now, user, method, before.address)
            return bool(changed.rowcount)

        return await self._context.write(work)

    async def sessions(self, user_id: int) -> list[Session]:
        """Return the sessions of a user, the one used last first."""
        now = self._context.now()
        query = (
            select(schema.sessions)
            .where(s.user_id == user_id, s.ends_at > now)
            .order_by(s.used_at.desc(), s.id.desc())
        )

        def read(connection: Connection) -> list[Session]:
            user = user_of(connection, now, user_id)
            known = has_factor(connection, user_id)
            return [_session(row, user, known) for row in connection.execute(query)]

        return await self._context.read(read)

    async def sign_out(self, user_id: int, secret: str, actor: str) -> None:
        """End the session of a cookie; one that has ended already stays so.

        It goes by the secret: a number may be given out again.
        """
        now = self._context.now()
        this = (s.hash == digest(secret)) & (s.user_id == user_id)

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            if connection.execute(delete(schema.sessions).where(this)).rowcount:
                change = (user.email, None, None)
                write_audit(connection, now, actor, "sign_out", change, user_id=user_id)

        await self._context.write(work)

    async def end_session(self, user_id: int, session_id: int, actor: str) -> None:
        """End a session of a user.

        Raises:
            NotFound: The user has no such session.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            this = (s.id == session_id) & (s.user_id == user_id)
            gone = connection.execute(delete(schema.sessions).where(this))
            if not gone.rowcount:
                text = f"{user.email} has no session {session_id}"
                raise NotFound(text)
            change = (user.email, None, None)
            write_audit(connection, now, actor, "session_end", change, user_id=user_id)

        await self._context.write(work)

    async def end_sessions(
        self, user_id: int, actor: str, *, keep: int | None = None
    ) -> int:
        """End all sessions of a user but one; return how many.

        Raises:
            NotFound: There is no such user.
        """
        now = self._context.now()

        def work(connection: Connection) -> int:
            user = user_of(connection, now, user_id)
            count = _end(connection, user_id, keep=keep)
            if count:
                change = (user.email, None, {"sessions": count})
                write_audit(
                    connection, now, actor, "session_end_all", change, user_id=user_id
                )
            return count

        return await self._context.write(work)

    async def purge(self) -> int:
        """Remove sessions, links and tries that have come to their end."""
        now = self._context.now()

        def work(connection: Connection) -> int:
            gone = connection.execute(
                delete(schema.sessions).where(s.ends_at <= now)
            ).rowcount
            connection.execute(delete(schema.sign_in_links).where(k.expires_at <= now))
            connection.execute(delete(schema.sign_in_tries).where(r.until <= now))
            return int(gone)

        return await self._context.write(work)

    # ------------------------------------------------------------ tries

    async def take_try(
        self, limits: Mapping[str, int], window: timedelta
    ) -> tuple[int, int]:
        """Count one try under each key, or say how long to wait: (seconds, tries).

        The tries are those of the first key, this one included. A try is counted before
        it is judged, so that many at once do not slip through; nothing is counted where
        one of the keys has had its number. All processes count together.
        """
        now = self._context.now()

        def work(connection: Connection) -> tuple[int, int]:
            _lock(connection)
            old = select(r.key).where(r.until <= now).limit(_PURGED)
            connection.execute(
                delete(schema.sign_in_tries).where(
                    r.key.in_(list(connection.scalars(old)))
                )
            )
            query = select(schema.sign_in_tries).where(r.key.in_(list(limits)))
            rows = {row.key: row for row in connection.execute(query)}
            full = [
                rows[key].until
                for key, limit in limits.items()
                if key in rows and rows[key].tries >= limit
            ]
            if full:
                return int((max(full) - now) // SECOND) + 1, 0
            for key in limits:
                if key in rows:
                    change = update(schema.sign_in_tries).where(r.key == key)
                    connection.execute(change.values(tries=r.tries + 1))
                else:
                    connection.execute(
                        insert(schema.sign_in_tries).values(
                            key=key, tries=1, until=now + stamp_of(window)
                        )
                    )
            first = next(iter(limits))
            return 0, (rows[first].tries if first in rows else 0) + 1

        return await self._context.write(work)

    async def give_back(self, keys: Sequence[str]) -> None:
        """Take a try out of the count again: it was right."""
        change = (
            update(schema.sign_in_tries)
            .where(r.key.in_(list(keys)), r.tries > 0)
            .values(tries=r.tries - 1)
        )
        await self._context.write(lambda connection: _run(connection, change))

    async def note_failure(self, user_id: int, method: str, address: str) -> None:
        """Write that somebody tried to sign in as a user, and failed.

        Raises:
            NotFound: There is no such user.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            user = user_of(connection, now, user_id)
            change = (user.email, None, {"by": method, "from": address[:_LONGEST]})
            write_audit(
                connection, now, "web", "sign_in_failed", change, user_id=user_id
            )

        await self._context.write(work)


def stamp_of(span: timedelta) -> int:
    """Return a span of time in the unit of the time columns."""
    return int(span.total_seconds() * SECOND)


def _lock(connection: Connection) -> None:
    """Let one at a time pass, on PostgreSQL too."""
    connection.execute(select(schema.meta.c.revision).with_for_update())


def _run(connection: Connection, statement: Any) -> None:
    connection.execute(statement)


def user_of(connection: Connection, now: int, user_id: int) -> User:
    """Return a user who was not removed, or raise NotFound."""
    for user in read_users(connection, now, user_id):
        if user.removed_at is None:
            return user
    text = f"there is no user {user_id}"
    raise NotFound(text)


def _set_password(connection: Connection, now: int, user_id: int, hashed: str) -> None:
    table = schema.passwords
    connection.execute(delete(table).where(table.c.user_id == user_id))
    connection.execute(
        insert(table).values(user_id=user_id, hash=hashed, changed_at=now)
    )


def _end(connection: Connection, user_id: int, *, keep: int | None = None) -> int:
    gone = delete(schema.sessions).where(s.user_id == user_id)
    if keep is not None:
        gone = gone.where(s.id != keep)
    return int(connection.execute(gone).rowcount)


def _end_oldest(connection: Connection, user_id: int) -> None:
    """Keep the newest sessions of a user alone."""
    count = connection.scalar(
        select(func.count()).select_from(schema.sessions).where(s.user_id == user_id)
    )
    beyond = (count or 0) - MOST_SESSIONS
    if beyond > 0:
        oldest = select(s.id).where(s.user_id == user_id).order_by(s.used_at, s.id)
        ids = list(connection.scalars(oldest.limit(beyond)))
        connection.execute(delete(schema.sessions).where(s.id.in_(ids)))


def _keep_way_in(
    connection: Connection, user_id: int, values: Mapping[str, Any]
) -> None:
    """Write down a link that was made, or a sign-in; what else is known stays."""
    made = sqlite if connection.dialect.name == "sqlite" else postgresql
    new = made.insert(schema.sign_ins).values(user_id=user_id, **values)
    connection.execute(
        new.on_conflict_do_update(index_elements=["user_id"], set_=dict(values))
    )


def _invitation(row: Row[Any], works: bool) -> Invitation:  # noqa: FBT001
    if row.signed_in_at is not None:
        state = WayIn.SIGNED_IN
    else:
        state = WayIn.INVITED if works else WayIn.LINK_EXPIRED
    return Invitation(
        state,
        maybe_moment(row.invited_at),
        row.invited_by,
        maybe_moment(row.link_ends_at),
        row.state,
        row.error or "",
        maybe_moment(row.signed_in_at),
    )


def _link(connection: Connection, now: int, hashed: str) -> SignInLink | None:
    row = connection.execute(
        select(schema.sign_in_links).where(k.hash == hashed, k.expires_at > now)
    ).first()
    if row is None:
        return None
    for user in read_users(connection, now, row.user_id):
        if may_sign_in(user):
            return SignInLink(user, moment(row.expires_at), row.created_by)
    return None


def _note_sign_in(
    connection: Connection, now: int, user: User, method: str, address: str
) -> None:
    change = (user.email, None, {"by": method, "from": address[:_LONGEST]})
    actor = f"web:{user.email}"
    write_audit(connection, now, actor, "sign_in", change, user_id=user.id)
    _keep_way_in(connection, user.id, {"signed_in_at": now})


def has_factor(connection: Connection, user_id: int) -> bool:
    """Say whether a user has a second factor."""
    app, key = schema.totp_secrets, schema.passkeys
    queries = (
        select(app.c.user_id).where(
            app.c.user_id == user_id, app.c.confirmed_at.is_not(None)
        ),
        select(key.c.id).where(key.c.user_id == user_id).limit(1),
    )
    return any(connection.scalar(query) is not None for query in queries)


def _session(row: Row[Any], user: User, known: bool) -> Session:  # noqa: FBT001
    return Session(
        id=row.id,
        user=user,
        method=row.method,
        strong=row.strong,
        has_factor=known,
        role=Role(row.role),
        created_at=moment(row.created_at),
        used_at=moment(row.used_at),
        ends_at=moment(row.ends_at),
        address=row.address,
        agent=row.agent,
    )
