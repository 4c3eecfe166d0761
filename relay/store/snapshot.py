"""Reads people, addresses, exclusions and settings as of one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from relay.core.directory import (
    AppPassword,
    Directory,
    Exclusion,
    OldToken,
    Role,
    SkipKind,
    User,
)
from relay.store import schema
from relay.store.values import load, moment

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from relay.core.model import Json


def read_directory(connection: Connection, now: int) -> Directory:
    """Return the directory; call it within one transaction."""
    users = read_users(connection, now)
    accepted: dict[int, set[str]] = {user.id: set() for user in users}
    table = schema.accepted_addresses
    for user_id, address in connection.execute(
        select(table.c.user_id, table.c.address).where(table.c.confirmed)
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
        },
        accepted={user_id: frozenset(keys) for user_id, keys in accepted.items()},
        exclusions=tuple(read_exclusions(connection)),
        settings=read_settings(connection),
        app_passwords={user_id: tuple(own) for user_id, own in passwords.items()},
    )


def read_users(connection: Connection, now: int, only: int | None = None) -> list[User]:
    """Return users by name; with `only`, that one if there is one."""
    users, addresses = schema.users, schema.relay_addresses
    people = select(users).order_by(users.c.name, users.c.id)
    tokens = select(addresses).order_by(addresses.c.created_at)
    if only is not None:
        people = people.where(users.c.id == only)
        tokens = tokens.where(addresses.c.user_id == only)
    current: dict[int, str] = {}
    old: dict[int, list[OldToken]] = {}
    for row in connection.execute(tokens):
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
            relay_token=current[row.id],
            time_zone=row.time_zone,
            old_tokens=tuple(old.get(row.id, ())),
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
