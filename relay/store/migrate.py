"""Brings the schema to the newest revision, and checks it at each start.

Alembic runs inside our own transaction, on either database, without an ini file. It is
imported only when there is something to migrate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import inspect, text

from relay.core.errors import ConfigError
from relay.store.schema import HEAD

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK: Final = 0x72656C6179
"""Advisory lock on PostgreSQL: two relays must not migrate at once."""


def revision_of(connection: Connection) -> str | None:
    """Return the schema's revision; None for an empty database.

    Raises:
        ConfigError: The database holds tables of something else.
    """
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        found: str | None = connection.scalar(
            text("SELECT version_num FROM alembic_version")
        )
        if found is not None:
            return found
    if set(tables) - {"alembic_version"}:
        raise ConfigError(
            "store.url: the database holds tables of another program; name an empty one"
        )
    return None


def check(revision: str) -> None:
    """Refuse a schema that this version of the relay was not written for.

    Raises:
        ConfigError: Names what to run.
    """
    if revision == HEAD:
        return
    if revision in _known():
        hint = f"older than this relay's ({HEAD}); run: relay db upgrade"
    else:
        hint = f"unknown to this relay ({HEAD}); install the newer relay that made it"
    text = f"store.url: the store's schema is revision {revision}, {hint}"
    raise ConfigError(text)


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """Bring the schema to `HEAD` within the open transaction; return (from, to).

    Raises:
        ConfigError: The schema is newer than this relay, or not ours.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    before = revision_of(connection)
    if before == HEAD:
        return before, HEAD
    if before is not None and before not in _known():
        check(before)
    from alembic import command  # noqa: PLC0415 - see the module's docstring

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, HEAD


def _config() -> Any:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "relay.store:migrations")
    return config


def _known() -> set[str]:
    """Return the revisions that this relay has scripts for."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions()}
