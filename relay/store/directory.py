"""People, addresses, exclusions and settings: what an admin edits at run time.

Every edit is one transaction that changes the rows, raises the revision (so that a
running relay sees it within its next look), and leaves an audit row with the old and
the new value. Editors are serialised by the lock on the row of `meta`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, exists, insert, or_, select, update

from relay.core.addresses import address_key, fold_ascii
from relay.core.copies import NO_ADDRESS
from relay.core.directory import (
    AcceptedAddress,
    Directory,
    Exclusion,
    RelayAddress,
    Role,
    SkipKind,
    Source,
    User,
)
from relay.core.errors import NotFound
from relay.core.states import NO_SALESFORCE_USER, State
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import (
    audit_row,
    edit_directory,
    raise_revision,
    read_directory,
    read_exclusions,
    read_settings,
    read_users,
)
from relay.store.values import SECOND, iso, maybe_moment, moment, replace_value, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import ColumnElement, Connection, Row

    from relay.core.directory import AddressUse
    from relay.core.model import Json
    from relay.store.edits import Edit

_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_TOKEN_LENGTH: Final = 20
_READ_WITHIN_S: Final = 2
"""A running relay looks for edits each second (`relay.app`)."""
SYSTEM: Final = "relay"
"""The actor in the audit where the relay itself made the change."""


def new_token() -> str:
    """Return the local part of a new relay address; 100 random bits, not guessable."""
    return "log-" + "".join(secrets.choice(_BASE32) for _ in range(_TOKEN_LENGTH))


class DirectoryStore(Part):
    """Operations on the directory."""

    async def load(self) -> Directory:
        """Return all users and all else that an admin edits, as of one moment."""
        now = self._context.now()
        return await self._context.read(
            lambda connection: read_directory(connection, now)
        )

    async def revision(self) -> int:
        """Return a number that rises with every edit; cheap, made to be asked often.

        Relay addresses whose grace time is over are ended here, which is an edit.
        """
        now = self._context.now()
        lapsed = exists().where(_lapsed(now))
        query = select(schema.meta.c.revision, lapsed)
        revision, due = await self._context.read(lambda c: c.execute(query).one())
        if due:
            revision = await self._context.write(lambda c: _end_lapsed(c, now))
        return int(revision)

    # ---------------------------------------------------------------- users

    async def users(self, *, removed: bool = False) -> list[User]:
        """Return all users, by name; with `removed`, also those who were removed."""
        now = self._context.now()
        found = await self._context.read(lambda connection: read_users(connection, now))
        return [user for user in found if removed or user.removed_at is None]

    async def find_user(self, text: str, *, removed: bool = False) -> User:
        """Return the user with this e-mail address, or with this name if only one has.

        Args:
            text: The address or the name.
            removed: Where no user of today fits, look among the removed ones too.

        Raises:
            NotFound: No user has it, or several have the name; the text says which.
        """
        users = await self.users(removed=removed)
        key = address_key(text)
        if key is not None:
            found = [user for user in users if address_key(user.email) == key]
        else:
            name = text.strip().casefold()
            found = [user for user in users if user.name.casefold() == name]
        found = [user for user in found if user.removed_at is None] or found
        if len(found) == 1:
            return found[0]
        if found:
            emails = ", ".join(user.email for user in found)
            problem = f"{len(found)} users are named {text!r}: {emails}"
        elif key is None:
            problem = f"there is no user named {text!r}; `relay user list` shows all"
        else:
            problem = (
                f"there is no user with the address {text!r}; "
                "`relay user list` shows all"
            )
        raise NotFound(problem)

    async def add_user(
        self,
        name: str,
        email: str,
        role: Role,
        salesforce_id: str | None,
        actor: str,
        *,
        activate: bool = True,
    ) -> User:
        """Add a user with a relay address; their own address may send at once.

        Without `activate` the address accepts no mail until the user is activated.

        Raises:
            Conflict: A user with this address exists; nothing was changed.
        """
        key = address_key(email) or fold_ascii(email)

        def work(edit: Edit) -> User:
            users = schema.users
            edit.refuse_if(
                select(users.c.id).where(users.c.email_key == key),
                f"there is a user with the address {email!r} already",
            )
            new = {"name": name, "email": email, "role": role.value}
            result = edit.connection.execute(
                insert(users).values(
                    **new,
                    email_key=key,
                    active=activate,
                    salesforce_id=salesforce_id,
                    created_at=edit.now,
                    activated_at=edit.now if activate else None,
                )
            )
            (user_id,) = result.inserted_primary_key or (0,)
            edit.connection.execute(
                insert(schema.relay_addresses).values(
                    token=new_token(), user_id=user_id, created_at=edit.now
                )
            )
            edit.add_address(user_id, key, Source.OWN)
            user = edit.user(user_id)
            edit.done("user_add", user, None, {**new, "salesforce_id": salesforce_id})
            return user

        return await edit_directory(self._context, actor, work)

    async def set_active(
        self,
        user_id: int,
        active: bool,  # noqa: FBT001 - a value, no switch
        actor: str,
    ) -> User:
        """Let a user's relay address accept mail, or not.

        The first time that it does, the user has been activated.

        Raises:
            NotFound: There is no such user.
        """

        def work(edit: Edit) -> User:
            _change_active(edit, user_id, active=active)
            return edit.user(user_id)

        return await edit_directory(self._context, actor, work)

    async def set_salesforce_id(
        self, user_id: int, salesforce_id: str | None, actor: str = SYSTEM
    ) -> User:
        """Say which Salesforce user this user is.

        Raises:
            NotFound: There is no such user.
        """
        return await self._user_set(user_id, "salesforce_id", salesforce_id, actor)

    async def set_role(self, user_id: int, role: Role, actor: str) -> User:
        """Say what a user may do in the relay.

        Raises:
            NotFound: There is no such user.
        """
        return await self._user_set(user_id, "role", role.value, actor)

    async def set_time_zone(
        self, user_id: int, zone: str | None, actor: str = SYSTEM
    ) -> User:
        """Set the user's time zone, an IANA name.

        Raises:
            NotFound: There is no such user.
        """
        return await self._user_set(user_id, "time_zone", zone, actor)

    async def set_notify(self, user_id: int, level: str | None, actor: str) -> User:
        """Say which notices a user gets; None: as the settings say.

        Raises:
            NotFound: There is no such user.
        """
        return await self._user_set(user_id, "notify", level, actor)

    async def set_language(
        self, user_id: int, language: str | None, actor: str
    ) -> User:
        """Say in which language the relay writes to a user; None: the common one.

        Raises:
            NotFound: There is no such user.
        """
        return await self._user_set(user_id, "language", language, actor)

    async def set_log_by(
        self, user_id: int, way: str | None, address: str | None, actor: str
    ) -> User:
        """Say by which way a user's mail goes, and to which address by BCC.

        Args:
            user_id: Whose.
            way: `api` or `bcc`; None: not chosen.
            address: Of Email to Salesforce; None: none.
            actor: Who says so.

        Raises:
            NotFound: There is no such user.
        """
        changes = {"log_by": way, "salesforce_address": address}
        return await self.update_user(user_id, changes, actor)

    async def rename(self, user_id: int, name: str, actor: str) -> User:
        """Give a user another name.

        Raises:
            NotFound: There is no such user.
        """
        return await self._user_set(user_id, "name", name, actor)

    async def set_email(
        self, user_id: int, email: str, actor: str, *, keep_old: bool = False
    ) -> User:
        """Give a user another address of their own, which may send at once.

        The former one may send no longer, unless `keep_old`: a mailbox that somebody
        has left may be given to another.

        Raises:
            NotFound: There is no such user.
            Conflict: Another user has the address; nothing was changed.
        """

        def work(edit: Edit) -> User:
            _change_email(edit, user_id, email, keep_old=keep_old)
            return edit.user(user_id)

        return await edit_directory(self._context, actor, work)

    async def update_user(
        self,
        user_id: int,
        changes: Mapping[str, Any],
        actor: str,
        *,
        keep_old: bool = False,
    ) -> User:
        """Change several things of a user together, all or none, each in the history.

        Args:
            user_id: Whose.
            changes: By the names of `User`: `name`, `email`, `role`, `active`,
                `salesforce_id`, `time_zone`, `notify`, `language`, `log_by`,
                `salesforce_address`.
            actor: Who changes them.
            keep_old: With another `email`: the former one may send on.

        Raises:
            NotFound: There is no such user.
            Conflict: Another user has the address; nothing was changed.
        """

        def work(edit: Edit) -> User:
            edit.user(user_id)
            for name, value in changes.items():
                if name == "email":
                    _change_email(edit, user_id, value, keep_old=keep_old)
                elif name == "active":
                    _change_active(edit, user_id, active=value)
                elif name in _COLUMNS:
                    _change_column(edit, user_id, name, value)
                else:
                    raise ValueError(name)
            return edit.user(user_id)

        return await edit_directory(self._context, actor, work)

    async def remove_user(self, user_id: int, actor: str) -> User:
        """Remove a user; their messages stay, and show whose they are.

        Relay addresses, accepted addresses, app passwords and API tokens end at once.
        Mail that was accepted is still logged. The address is free for a new user.

        Raises:
            NotFound: There is no such user.
        """

        def work(edit: Edit) -> User:
            user = edit.user(user_id)
            gone = edit.end_user(user)
            edit.done("user_remove", user, gone, None)
            return user

        return await edit_directory(self._context, actor, work)

    async def rotate_address(self, user_id: int, grace: timedelta, actor: str) -> User:
        """Give the user a new relay address; the old one works for `grace` longer.

        No older one outlives it: with a grace of zero the new one alone works.

        Raises:
            NotFound: There is no such user.
        """

        def work(edit: Edit) -> User:
            user = edit.user(user_id)
            addresses = schema.relay_addresses
            until = edit.now + int(grace.total_seconds() * SECOND)
            edit.connection.execute(
                update(addresses)
                .where(
                    addresses.c.user_id == user_id,
                    or_(
                        addresses.c.expires_at.is_(None),
                        addresses.c.expires_at > until,
                    ),
                )
                .values(expires_at=until)
            )
            edit.connection.execute(
                insert(addresses).values(
                    token=new_token(), user_id=user_id, created_at=edit.now
                )
            )
            # The tokens are secrets, so that the audit says until when, not which.
            edit.done("user_rotate", user, None, {"old_until": iso(until)})
            return edit.user(user_id)

        return await edit_directory(self._context, actor, work)

    async def relay_addresses(self, user_id: int) -> list[RelayAddress]:
        """Return the relay addresses of a user, the current one first, then newest."""
        now = self._context.now()
        table = schema.relay_addresses
        query = (
            select(table)
            .where(table.c.user_id == user_id)
            .order_by(table.c.created_at.desc(), table.c.token)
        )

        def read(connection: Connection) -> list[RelayAddress]:
            found = [_relay_address(row, now) for row in connection.execute(query)]
            return sorted(found, key=lambda one: one.until is not None)

        return await self._context.read(read)

    async def count_uses(self, uses: Mapping[str, AddressUse]) -> None:
        """Add to the counts of relay addresses, by token; no edit.

        Raises:
            StoreUnavailable: Nothing was added, or all.
        """
        c = schema.relay_addresses.c

        def work(connection: Connection) -> None:
            # In one order, so that two processes do not wait for each other.
            for token, use in sorted(uses.items()):
                changed: dict[str, Any] = {
                    "accepted": c.accepted + use.accepted,
                    "refused": c.refused + use.refused,
                }
                if use.accepted_at is not None:
                    changed["accepted_at"] = stamp(use.accepted_at)
                if use.refused_at is not None:
                    changed["refused_at"] = stamp(use.refused_at)
                this = update(schema.relay_addresses).where(c.token == token)
                connection.execute(this.values(changed))

        await self._context.write(work)

    async def _user_set(
        self, user_id: int, column: str, value: Any, actor: str
    ) -> User:
        def work(edit: Edit) -> User:
            _change_column(edit, user_id, column, value)
            return edit.user(user_id)

        return await edit_directory(self._context, actor, work)

    # ---------------------------------------------------------------- addresses

    async def addresses(self, user_id: int | None = None) -> list[AcceptedAddress]:
        """Return the accepted addresses of a user, or of all users."""
        accepted = schema.accepted_addresses
        query = select(accepted).order_by(accepted.c.user_id, accepted.c.id)
        if user_id is not None:
            query = query.where(accepted.c.user_id == user_id)
        return await self._context.read(
            lambda connection: [
                AcceptedAddress(
                    row.user_id,
                    row.address,
                    moment(row.added_at),
                    row.added_by,
                    row.confirmed,
                    row.in_force,
                    Source(row.source),
                    row.delegate,
                )
                for row in connection.execute(query)
            ]
        )

    async def add_address(
        self,
        user_id: int,
        key: str,
        actor: str,
        *,
        source: Source = Source.ADMIN,
        delegate: str = "",
    ) -> bool:
        """Let an address key, or `*@domain`, send for a user; False: it may already.

        One that is not confirmed is confirmed by this.

        Args:
            user_id: For whom it sends.
            key: The address key, or `*@domain`.
            actor: Who adds it.
            source: How it is known.
            delegate: Who sends from it for the user; empty: the user.

        Raises:
            NotFound: There is no such user.
        """

        def work(edit: Edit) -> bool:
            user = edit.user(user_id)
            old = edit.accepted(user_id, key)
            if not edit.add_address(user_id, key, source, delegate):
                return False
            edit.done("address_add", user, old, edit.accepted(user_id, key))
            return True

        return await edit_directory(self._context, actor, work)

    async def remove_address(self, user_id: int, key: str, actor: str) -> None:
        """Take an accepted address from a user.

        Raises:
            NotFound: There is no such user, or the user does not have it.
        """

        def work(edit: Edit) -> None:
            user = edit.user(user_id)
            old = edit.accepted(user_id, key)
            if not edit.remove_address(user_id, key):
                text = (
                    f"{user.email} has no accepted address {key!r}; `relay address "
                    f"list {user.email}` shows all"
                )
                raise NotFound(text)
            edit.done("address_remove", user, old, None)

        await edit_directory(self._context, actor, work)

    async def follow_salesforce(
        self, changes: Sequence[tuple[int, str, bool]], actor: str
    ) -> int:
        """Bring addresses from Salesforce in step; return how many were changed.

        All or none; a change that is not needed any more is passed over.

        Args:
            changes: User, address key, and whether it comes (else it goes).
            actor: Who asked for it.

        Raises:
            NotFound: One of the users is gone; nothing was changed.
        """

        def work(edit: Edit) -> int:
            count = 0
            for user_id, key, comes in changes:
                user = edit.user(user_id)
                old = edit.accepted(user_id, key)
                if comes and old is None:
                    edit.add_address(user_id, key, Source.SALESFORCE)
                    edit.done("address_add", user, None, edit.accepted(user_id, key))
                    count += 1
                elif not comes and edit.is_from_salesforce(user_id, key):
                    edit.remove_address(user_id, key)
                    edit.done("address_remove", user, old, None)
                    count += 1
            return count

        return await edit_directory(self._context, actor, work)

    # ---------------------------------------------------------------- exclusions

    async def exclusions(self) -> list[Exclusion]:
        """Return the exclusions, oldest first."""
        return await self._context.read(
            lambda connection: list(read_exclusions(connection))
        )

    async def add_exclusion(
        self, pattern: str, user_id: int | None, skip: SkipKind, actor: str
    ) -> bool:
        """Leave an address key, or `*@domain`, out; False: it is left out already.

        One that is left out in another way is left out in this way from now on.

        Raises:
            NotFound: There is no such user.
        """
        new = Exclusion(pattern, user_id, skip)

        def work(edit: Edit) -> bool:
            whose = edit.whose(user_id)
            if new in read_exclusions(edit.connection):
                return False
            table = schema.exclusions
            before = edit.excluded(pattern, user_id)
            edit.connection.execute(
                delete(table).where(
                    table.c.pattern == pattern,
                    table.c.user_id.is_not_distinct_from(user_id),
                )
            )
            edit.connection.execute(
                insert(table).values(
                    pattern=pattern,
                    user_id=user_id,
                    skip=skip.value,
                    added_at=edit.now,
                    added_by=edit.actor,
                )
            )
            edit.done("exclude_add", whose, before, [pattern, skip.value])
            return True

        return await edit_directory(self._context, actor, work)

    async def remove_exclusion(
        self, pattern: str, user_id: int | None, actor: str
    ) -> None:
        """Take an exclusion away, whatever it skips.

        Raises:
            NotFound: There is no such exclusion, or no such user.
        """

        def work(edit: Edit) -> None:
            whose = edit.whose(user_id)
            table = schema.exclusions
            before = edit.excluded(pattern, user_id)
            gone = edit.connection.execute(
                delete(table).where(
                    table.c.pattern == pattern,
                    table.c.user_id.is_not_distinct_from(user_id),
                )
            )
            if not gone.rowcount:
                name = whose if isinstance(whose, str) else whose.email
                text = (
                    f"there is no exclusion {pattern!r} ({name}); `relay exclude list` "
                    "shows all"
                )
                raise NotFound(text)
            edit.done("exclude_remove", whose, before, None)

        await edit_directory(self._context, actor, work)

    # ---------------------------------------------------------------- settings

    async def settings(self) -> dict[str, Json]:
        """Return what admins have set at run time, by key."""
        return await self._context.read(read_settings)

    async def setting(self, key: str) -> Json:
        """Return a setting, None where it is not set."""
        return (await self.settings()).get(key)

    async def set_setting(self, key: str, value: Json, actor: str) -> None:
        """Set a setting; None takes it back to its default."""

        def work(edit: Edit) -> None:
            old = read_settings(edit.connection).get(key)
            if old == value:
                return
            replace_value(edit.connection, schema.settings, key, value)
            edit.done("setting_set", key, old, value)

        await edit_directory(self._context, actor, work)

    async def set_settings(
        self, values: Mapping[str, Json], about: str, actor: str
    ) -> bool:
        """Set several settings as one change; False: they are so already.

        Args:
            values: By key; None takes a setting back to the file or its default.
            about: What the change is, for the history: the name of a preset.
            actor: Who changes it.
        """

        def work(edit: Edit) -> bool:
            kept = read_settings(edit.connection)
            old = {key: kept.get(key) for key in values}
            changed = {k: v for k, v in values.items() if old[k] != v}
            for key, value in changed.items():
                replace_value(edit.connection, schema.settings, key, value)
            if changed:
                before = {key: old[key] for key in changed}
                edit.done("settings_set", about, before, changed)
            return bool(changed)

        return await edit_directory(self._context, actor, work)

    async def setting_changed(self, key: str) -> tuple[datetime, str] | None:
        """Return when a setting was changed last, and by whom; None: never."""
        audit = schema.audit
        query = (
            select(audit.c.at, audit.c.actor)
            .where(audit.c.action == "setting_set", audit.c.subject == key)
            .order_by(audit.c.id.desc())
            .limit(1)
        )
        row = await self._context.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else (moment(row.at), row.actor)

    async def audit(self, limit: int = 100) -> list[dict[str, Json]]:
        """Return the latest edits, newest first, each with actor, old and new value."""
        query = select(schema.audit).order_by(schema.audit.c.id.desc()).limit(limit)

        def read(connection: Connection) -> list[dict[str, Json]]:
            return [audit_row(row) for row in connection.execute(query)]

        return await self._context.read(read)


_COLUMNS: Final = frozenset(
    {"name", "role", "salesforce_id", "time_zone", "notify", "language"}
    | {"log_by", "salesforce_address"}
)
"""What stands in a column of the user, and nowhere else."""


def _change_email(edit: Edit, user_id: int, email: str, *, keep_old: bool) -> None:
    user = edit.user(user_id)
    if user.email == email:
        return
    key = address_key(email) or fold_ascii(email)
    users = schema.users
    edit.refuse_if(
        select(users.c.id).where(users.c.email_key == key, users.c.id != user_id),
        f"there is a user with the address {email!r} already",
    )
    edit.connection.execute(
        update(users).where(users.c.id == user_id).values(email=email, email_key=key)
    )
    former = address_key(user.email) or fold_ascii(user.email)
    edit.add_address(user_id, key, Source.OWN)
    if former != key and not keep_old:
        edit.remove_address(user_id, former)
    new: Json = {"email": email, "keep_old": keep_old}
    edit.done("user_email", user, {"email": user.email}, new)
    if not user.salesforce_id:
        _wake(edit, user_id)


def _wake(edit: Edit, user_id: int) -> None:
    """Let mail that waits for what is known of this user now be tried at once.

    Not before every relay has read this edit, or the mail would only wait again.
    """
    due = edit.now + _READ_WITHIN_S * SECOND
    edit.connection.execute(
        update(schema.messages)
        .where(
            schema.messages.c.user_id == user_id,
            schema.messages.c.state == State.QUEUED,
            schema.messages.c.reason.in_([NO_SALESFORCE_USER, NO_ADDRESS]),
            schema.messages.c.next_attempt_at > due,
        )
        .values(next_attempt_at=due)
    )


def _change_active(edit: Edit, user_id: int, *, active: bool) -> None:
    user = edit.user(user_id)
    if user.active == active:
        return
    new: dict[str, Any] = {"active": active}
    if active and user.activated_at is None:
        new["activated_at"] = edit.now
    users = schema.users
    edit.connection.execute(update(users).where(users.c.id == user_id).values(new))
    if not active:
        # Who is disabled is signed out, and stays so when enabled again.
        for table in (schema.sessions, schema.sign_in_links):
            edit.connection.execute(delete(table).where(table.c.user_id == user_id))
    edit.done("user_active", user, user.active, active)


def _change_column(edit: Edit, user_id: int, column: str, value: Any) -> None:
    user = edit.user(user_id)
    old = getattr(user, column)
    if old != value:
        users = schema.users
        edit.connection.execute(
            update(users).where(users.c.id == user_id).values({column: value})
        )
        if column == "salesforce_address":  # A secret: the history tells the place.
            old, value = _place(old), _place(value)
        edit.done(f"user_{column}", user, old, value)
        if column in {"salesforce_id", "salesforce_address"} and value:
            _wake(edit, user_id)


def _place(address: str | None) -> str | None:
    """Return what may be told of a secret address: its domain."""
    return address and f"…@{address.rpartition('@')[2]}"


def _relay_address(row: Row[Any], now: int) -> RelayAddress:
    return RelayAddress(
        row.token,
        moment(row.created_at),
        maybe_moment(row.ended_at if row.ended_at is not None else row.expires_at),
        row.ended_at is not None
        or (row.expires_at is not None and row.expires_at <= now),
        row.accepted,
        row.refused,
        maybe_moment(row.accepted_at),
        maybe_moment(row.refused_at),
    )


def _lapsed(now: int) -> ColumnElement[bool]:
    """Return the condition for relay addresses that end now."""
    addresses = schema.relay_addresses.c
    return addresses.ended_at.is_(None) & (addresses.expires_at <= now)


def _end_lapsed(connection: Connection, now: int) -> int:
    """End them; they stay known, so that late mail is shown under its user."""
    addresses = schema.relay_addresses
    ended = update(addresses).where(_lapsed(now))
    connection.execute(ended.values(ended_at=addresses.c.expires_at))
    return raise_revision(connection)
