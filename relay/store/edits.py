"""What an admin edits: reading it as of one moment, edits, and their audit.

An edit changes rows, raises the revision of the directory (so that a running relay sees
the edit within its next look) and leaves an audit row with the old and the new value.
Rows of the audit are never changed. Editors are serialised by the lock on the row of
`meta`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import delete, insert, select, update

from relay.core.directory import (
    AppPassword,
    Directory,
    Exclusion,
    OldToken,
    Role,
    SkipKind,
    User,
)
from relay.core.errors import Conflict, NotFound
from relay.store import schema
from relay.store.values import dump, iso, load, maybe_moment, moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Row

    from relay.core.model import Json
    from relay.store.context import StoreContext

T = TypeVar("T")


# ------------------------------------------------------------------ the audit

Change = tuple[str, "Json", "Json"]
"""What was changed, its old value, its new one."""


def write_audit(
    connection: Connection,
    now: int,
    actor: str,
    action: str,
    change: Change,
    *,
    user_id: int | None = None,
) -> None:
    """Write which actor changed what; rows of the audit are never changed."""
    subject, old, new = change
    connection.execute(
        insert(schema.audit).values(
            at=now,
            actor=actor,
            action=action,
            subject=subject,
            old=None if old is None else dump(old),
            new=None if new is None else dump(new),
            user_id=user_id,
        )
    )


def audit_row(row: Row[Any]) -> dict[str, Json]:
    """Return a row of the audit for people."""
    return {
        "at": iso(row.at),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "old": None if row.old is None else load(row.old),
        "new": None if row.new is None else load(row.new),
    }


# ------------------------------------------------------------------ edits


async def edit_directory(
    context: StoreContext, actor: str, work: Callable[[Edit], T]
) -> T:
    """Run an edit in one transaction; return what `work` returns.

    Raises:
        StoreUnavailable: Nothing was changed, or the transaction was not answered in
            time and may still be committed.
    """
    now = context.now()
    return await context.write(lambda connection: work(Edit(connection, actor, now)))


class Edit:
    """One edit in its transaction; `done` raises the revision and writes the audit."""

    def __init__(self, connection: Connection, actor: str, now: int) -> None:
        self.connection = connection
        self.actor = actor
        self.now = now
        # Locks out other editors on PostgreSQL; SQLite has one writer at a time anyway.
        connection.execute(select(schema.meta.c.revision).with_for_update())

    def done(self, action: str, about: User | str, old: Json, new: Json) -> None:
        """Raise the revision, and write the change of a user, or else, to the audit."""
        raise_revision(self.connection)
        user = about if isinstance(about, User) else None
        subject = about.email if isinstance(about, User) else about
        change = (subject, old, new)
        write_audit(
            self.connection,
            self.now,
            self.actor,
            action,
            change,
            user_id=user.id if user else None,
        )

    def user(self, user_id: int) -> User:
        """Return a user who was not removed, or raise NotFound."""
        for user in read_users(self.connection, self.now, user_id):
            if user.removed_at is None:
                return user
        text = f"there is no user {user_id}"
        raise NotFound(text)

    def whose(self, user_id: int | None) -> User | str:
        """Return for the audit whom an edit is about."""
        return "everybody" if user_id is None else self.user(user_id)

    def refuse_if(self, query: Any, text: str) -> None:
        """Raise Conflict where a query finds something."""
        if self.connection.scalar(query) is not None:
            raise Conflict(text)

    def add_address(self, user_id: int, key: str) -> bool:
        """Accept an address; False: it was accepted already."""
        accepted = schema.accepted_addresses
        this = (accepted.c.user_id == user_id) & (accepted.c.address == key)
        confirmed = self.connection.scalar(select(accepted.c.confirmed).where(this))
        added = {"added_at": self.now, "added_by": self.actor}
        if confirmed is None:
            new = insert(accepted).values(user_id=user_id, address=key, **added)
            self.connection.execute(new)
        elif not confirmed:
            again = (
                update(accepted)
                .where(this)
                .values(confirmed=True, in_force=True, **added)
            )
            self.connection.execute(again)
        return not confirmed

    def remove_address(self, user_id: int, key: str) -> bool:
        """Take an accepted address from a user; False: they did not have it."""
        accepted = schema.accepted_addresses
        this = (accepted.c.user_id == user_id) & (accepted.c.address == key)
        return bool(self.connection.execute(delete(accepted).where(this)).rowcount)

    def end_user(self, user: User) -> dict[str, Json]:
        """End everything that a user could use; return for the audit what it was."""
        accepted = schema.accepted_addresses
        senders = self.connection.scalars(
            select(accepted.c.address)
            .where(accepted.c.user_id == user.id)
            .order_by(accepted.c.id)
        ).all()
        for table in (accepted, schema.app_passwords, schema.api_tokens):
            self.connection.execute(delete(table).where(table.c.user_id == user.id))
        tokens = schema.relay_addresses
        live = (tokens.c.user_id == user.id) & tokens.c.ended_at.is_(None)
        ended = update(tokens).where(live)
        self.connection.execute(ended.values(expires_at=self.now, ended_at=self.now))
        users = schema.users
        self.connection.execute(
            update(users)
            .where(users.c.id == user.id)
            # No address key has a space in it, so that this one hinders nobody.
            .values(active=False, removed_at=self.now, email_key=f"removed {user.id}")
        )
        return {
            "name": user.name,
            "email": user.email,
            "active": user.active,
            "accepted": list(senders),
        }


def raise_revision(connection: Connection) -> int:
    """Raise the revision and return it."""
    meta = schema.meta
    raised = update(meta).values(revision=meta.c.revision + 1)
    return int(connection.execute(raised.returning(meta.c.revision)).scalar_one())


# ------------------------------------------------------------------ reading


def read_directory(connection: Connection, now: int) -> Directory:
    """Return the directory; call it within one transaction."""
    users = read_users(connection, now)
    accepted: dict[int, set[str]] = {user.id: set() for user in users}
    table = schema.accepted_addresses
    for user_id, address in connection.execute(
        select(table.c.user_id, table.c.address).where(table.c.in_force)
    ):
        accepted[user_id].add(address)
    passwords: dict[int, list[AppPassword]] = {}
    for password in read_app_passwords(connection):
        passwords.setdefault(password.user_id, []).append(password)
    return Directory(
        revision=connection.scalar(select(schema.meta.c.revision)) or 0,
        users={user.id: user for user in users},
        by_token={
            token: user.id
            for user in users
            for token in (user.relay_token, *(old.token for old in user.old_tokens))
            if token
        },
        accepted={user_id: frozenset(keys) for user_id, keys in accepted.items()},
        exclusions=tuple(read_exclusions(connection)),
        settings=read_settings(connection),
        app_passwords={user_id: tuple(own) for user_id, own in passwords.items()},
        ended_tokens=read_ended_tokens(connection),
    )


def read_ended_tokens(connection: Connection) -> dict[str, int]:
    """Return the relay addresses that take no mail any more, with their owners."""
    table = schema.relay_addresses
    query = select(table.c.token, table.c.user_id).where(table.c.ended_at.is_not(None))
    return {row.token: row.user_id for row in connection.execute(query)}


def read_users(connection: Connection, now: int, only: int | None = None) -> list[User]:
    """Return users by name, removed ones too; with `only`, that one if there is."""
    users, addresses = schema.users, schema.relay_addresses
    people = select(users).order_by(users.c.name, users.c.id)
    tokens = select(addresses).order_by(addresses.c.created_at)
    if only is not None:
        people = people.where(users.c.id == only)
        tokens = tokens.where(addresses.c.user_id == only)
    current: dict[int, str] = {}
    old: dict[int, list[OldToken]] = {}
    for row in connection.execute(tokens):
        if row.ended_at is not None:
            continue
        if row.expires_at is None:
            current[row.user_id] = row.token
        elif row.expires_at > now:
            ended = OldToken(row.token, moment(row.expires_at))
            old.setdefault(row.user_id, []).append(ended)
    return [
        User(
            id=row.id,
            name=row.name,
            email=row.email,
            role=Role(row.role),
            active=row.active,
            salesforce_id=row.salesforce_id,
            relay_token=current.get(row.id, ""),
            time_zone=row.time_zone,
            old_tokens=tuple(old.get(row.id, ())),
            removed_at=maybe_moment(row.removed_at),
            activated_at=maybe_moment(row.activated_at),
        )
        for row in connection.execute(people)
    ]


def read_app_passwords(
    connection: Connection, user_id: int | None = None
) -> list[AppPassword]:
    """Return the app passwords of a user, or of all users, oldest first."""
    table = schema.app_passwords
    query = select(table).order_by(table.c.user_id, table.c.id)
    if user_id is not None:
        query = query.where(table.c.user_id == user_id)
    return [
        AppPassword(
            row.user_id,
            row.name,
            row.hash,
            moment(row.added_at),
            row.added_by,
            None if row.used_at is None else moment(row.used_at),
        )
        for row in connection.execute(query)
    ]


def read_exclusions(connection: Connection) -> list[Exclusion]:
    """Return the exclusions, oldest first."""
    table = schema.exclusions
    return [
        Exclusion(row.pattern, row.user_id, SkipKind(row.skip), row.confirmed)
        for row in connection.execute(select(table).order_by(table.c.id))
    ]


def read_settings(connection: Connection) -> dict[str, Json]:
    """Return the settings by key."""
    rows = connection.execute(select(schema.settings).order_by(schema.settings.c.key))
    return {row.key: load(row.value) for row in rows}
