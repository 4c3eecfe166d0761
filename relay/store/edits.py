"""What an admin edits: reading it as of one moment, edits, and their audit.

An edit changes rows, raises the revision of the directory (so that a running relay sees
the edit within its next look) and leaves an audit row with the old and the new value.
Rows of the audit are never changed. Editors are serialised by the lock on the row of
`meta`.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import delete, insert, select, update

from relay.core.directory import (
    AppPassword,
    Directory,
    Exclusion,
    OldToken,
    Role,
    SkipKind,
    Source,
    User,
)
from relay.core.errors import Conflict, NotFound
from relay.core.mailboxes import DEFAULT_ADDRESS_RULES, AddressRules, senders
from relay.core.unmatched import Alias
from relay.store import schema
from relay.store.values import dump, iso, load, maybe_moment, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Row

    from relay.core.model import Json
    from relay.store.context import StoreContext

T = TypeVar("T")


class Stale(Conflict):
    """Somebody changed the directory in between; nothing was changed."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("somebody changed it in between; read it again")


ADDRESS_RULES: Final = "user.address_rules"
"""The setting that says which spellings are one mailbox."""


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
    undoes: int | None = None,
) -> int:
    """Write which actor changed what; rows of the audit are never changed.

    Returns:
        The number of the change.
    """
    subject, old, new = change
    row = insert(schema.audit).values(
        at=now,
        actor=actor,
        action=action,
        subject=subject,
        old=None if old is None else dump(old),
        new=None if new is None else dump(new),
        user_id=user_id,
        undoes=undoes,
    )
    return int(connection.execute(row.returning(schema.audit.c.id)).scalar_one())


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


_AS_OF: Final[ContextVar[int | None]] = ContextVar("as_of", default=None)


@contextmanager
def as_of(revision: int) -> Iterator[None]:
    """Let the next edit in the block be made only if the directory is still so.

    Who decided by what they saw passes the revision they saw; `Stale` says that
    somebody was faster.
    """
    token = _AS_OF.set(revision)
    try:
        yield
    finally:
        _AS_OF.reset(token)


async def edit_directory(
    context: StoreContext, actor: str, work: Callable[[Edit], T]
) -> T:
    """Run an edit in one transaction; return what `work` returns.

    Raises:
        Stale: The directory is not what `as_of` says; nothing was changed.
        StoreUnavailable: Nothing was changed, or the transaction was not answered in
            time and may still be committed.
    """
    now, expected = context.now(), _AS_OF.get()

    def edit(connection: Connection) -> T:
        one = Edit(connection, actor, now)
        if expected is not None and one.revision != expected:
            raise Stale
        return work(one)

    return await context.write(edit)


class Edit:
    """One edit in its transaction; `done` raises the revision and writes the audit.

    `undoes` is the change that this edit takes back.
    """

    def __init__(self, connection: Connection, actor: str, now: int) -> None:
        self.connection = connection
        self.actor = actor
        self.now = now
        self.undoes: int | None = None
        # Locks out other editors on PostgreSQL; SQLite has one writer at a time anyway.
        locked = select(schema.meta.c.revision).with_for_update()
        self.revision = connection.scalar(locked)

    def done(
        self,
        action: str,
        about: User | str,
        old: Json,
        new: Json,
    ) -> None:
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
            undoes=self.undoes,
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

    def add_address(
        self,
        user_id: int,
        key: str,
        source: Source = Source.ADMIN,
        delegate: str = "",
    ) -> bool:
        """Accept an address; False: it was accepted already, just so.

        One that is there already keeps its source: an address that an admin added
        must not go because it stood in Salesforce for a while.
        """
        accepted = schema.accepted_addresses
        this = (accepted.c.user_id == user_id) & (accepted.c.address == key)
        row = self.connection.execute(select(accepted).where(this)).first()
        added = {"added_at": self.now, "added_by": self.actor, "delegate": delegate}
        if row is None:
            new = insert(accepted).values(
                user_id=user_id, address=key, source=source.value, **added
            )
            self.connection.execute(new)
            return True
        if row.confirmed and row.delegate == delegate:
            return False
        again = update(accepted).where(this)
        self.connection.execute(again.values(confirmed=True, in_force=True, **added))
        return True

    def accepted(self, user_id: int, key: str) -> Json:
        """Return an accepted address as the audit keeps it; None: there is none.

        What an admin added is its key alone; with another source, or a delegate, it is
        a table.
        """
        table = schema.accepted_addresses
        this = (table.c.user_id == user_id) & (table.c.address == key)
        row = self.connection.execute(select(table).where(this)).first()
        if row is None:
            return None
        if row.source == Source.ADMIN and not row.delegate:
            return key
        return {"address": key, "source": row.source, "delegate": row.delegate}

    def excluded(self, pattern: str, user_id: int | None) -> Json:
        """Return an exclusion as the audit keeps it; None: there is none."""
        table = schema.exclusions
        this = table.c.pattern == pattern
        this &= table.c.user_id.is_not_distinct_from(user_id)
        skip = self.connection.scalar(select(table.c.skip).where(this))
        return None if skip is None else [pattern, skip]

    def alias(self, key: str) -> Json:
        """Return what an address belongs to, as the audit keeps it; None: nothing."""
        table = schema.aliases
        row = self.connection.execute(select(table).where(table.c.key == key)).first()
        return None if row is None else [row.record_id, row.object, row.name]

    def set_alias(self, key: str, value: Json) -> None:
        """Let an address belong to a record as `alias` returns it; None: to none."""
        table = schema.aliases
        self.connection.execute(delete(table).where(table.c.key == key))
        if value is not None:
            record_id, sobject, name = value
            new = insert(table).values(
                key=key,
                record_id=record_id,
                object=sobject,
                name=name,
                added_at=self.now,
                added_by=self.actor,
            )
            self.connection.execute(new)

    def is_from_salesforce(self, user_id: int, key: str) -> bool:
        """Say whether an accepted address is one that Salesforce alone named."""
        return self._source(user_id, key) == Source.SALESFORCE

    def is_own(self, user_id: int, key: str) -> bool:
        """Say whether an accepted address came onto the list as the user's own."""
        return self._source(user_id, key) == Source.OWN

    def _source(self, user_id: int, key: str) -> str | None:
        table = schema.accepted_addresses
        this = (table.c.user_id == user_id) & (table.c.address == key)
        return self.connection.scalar(select(table.c.source).where(this))

    def remove_address(self, user_id: int, key: str) -> bool:
        """Take an accepted address from a user; False: they did not have it."""
        accepted = schema.accepted_addresses
        this = (accepted.c.user_id == user_id) & (accepted.c.address == key)
        return bool(self.connection.execute(delete(accepted).where(this)).rowcount)

    def end_user(self, user: User) -> dict[str, Json]:
        """End everything that a user could use; return for the audit what it was."""
        accepted = schema.accepted_addresses
        keys = self.connection.scalars(
            select(accepted.c.address)
            .where(accepted.c.user_id == user.id)
            .order_by(accepted.c.id)
        ).all()
        listed = [self.accepted(user.id, key) for key in keys]
        for table in (
            accepted,
            schema.address_claims,
            schema.app_passwords,
            schema.api_tokens,
            schema.passwords,
            schema.sign_in_links,
            schema.sign_ins,
            schema.sessions,
            schema.totp_secrets,
            schema.recovery_codes,
            schema.passkeys,
        ):
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
            "accepted": listed,
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
    delegates: dict[int, dict[str, str]] = {}
    table = schema.accepted_addresses
    for user_id, address, delegate in connection.execute(
        select(table.c.user_id, table.c.address, table.c.delegate).where(
            table.c.in_force
        )
    ):
        accepted[user_id].add(address)
        if delegate:
            delegates.setdefault(user_id, {})[address] = delegate
    settings = read_settings(connection)
    rules = AddressRules.of(settings.get(ADDRESS_RULES, DEFAULT_ADDRESS_RULES))
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
        accepted={user_id: senders(keys, rules) for user_id, keys in accepted.items()},
        exclusions=tuple(read_exclusions(connection)),
        settings=settings,
        app_passwords={user_id: tuple(own) for user_id, own in passwords.items()},
        ended_tokens=read_ended_tokens(connection),
        delegates=delegates,
        address_rules=rules,
        aliases=read_aliases(connection),
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
            notify=row.notify,
            language=row.language,
            log_by=row.log_by,
            salesforce_address=row.salesforce_address,
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


def read_aliases(connection: Connection) -> dict[str, Alias]:
    """Return the remembered addresses of records, by address key."""
    query = select(schema.aliases).order_by(schema.aliases.c.key)
    return {
        row.key: Alias(
            row.key,
            row.record_id,
            row.object,
            row.name,
            row.added_by,
            moment(row.added_at),
        )
        for row in connection.execute(query)
    }


def read_settings(connection: Connection) -> dict[str, Json]:
    """Return the settings by key."""
    rows = connection.execute(select(schema.settings).order_by(schema.settings.c.key))
    return {row.key: load(row.value) for row in rows}
