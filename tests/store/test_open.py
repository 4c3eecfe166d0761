"""Opening, creating and migrating a store, and an operator's mistakes with it."""

from __future__ import annotations

import os
import secrets
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from relay.config import StoreSettings
from relay.core.errors import ConfigError, StoreUnavailable
from relay.core.model import LogFilter
from relay.store import Store, migrate
from relay.store.database import masked, parse_url
from relay.store.schema import HEAD, metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the URL of a database that nobody has used before."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/relay.db"
    return request.getfixturevalue("postgres").create("t" + secrets.token_hex(8))


async def test_an_empty_store_is_made_and_opened_again(settings, clock):
    """The first open creates the newest schema, the second finds it."""
    for _ in range(2):
        store = await Store.open(settings, clock)
        assert await store.log.find(LogFilter()) == []
        await store.close()
    assert await Store.upgrade(settings) == (HEAD, HEAD)


async def test_upgrade_makes_an_empty_store(settings):
    """`relay db upgrade` on nothing creates everything."""
    assert await Store.upgrade(settings) == (None, HEAD)


async def test_migrations_make_the_schema_of_the_code(store):
    """A store made by the migrations equals the tables defined in `schema`."""

    def differences(connection):
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, metadata)

    assert await store.context.read(differences) == []


async def test_the_schema_of_the_code_makes_the_same_tables(store, settings):
    """Tables made straight from `schema` equal the migrated ones."""

    def described(connection):
        found = inspect(connection)
        return {
            table: (
                sorted(
                    (c["name"], str(c["type"]), c["nullable"], c["default"])
                    for c in found.get_columns(table)
                ),
                sorted(
                    (str(i["name"]), tuple(i["column_names"]))
                    for i in found.get_indexes(table)
                ),
                sorted(
                    tuple(u["column_names"])
                    for u in found.get_unique_constraints(table)
                ),
                sorted(
                    (tuple(f["constrained_columns"]), f["referred_table"])
                    for f in found.get_foreign_keys(table)
                ),
            )
            for table in metadata.tables
        }

    migrated = await store.context.read(described)

    def rebuild(connection):
        metadata.drop_all(connection)
        metadata.create_all(connection)
        return described(connection)

    assert await store.context.write(rebuild) == migrated


def test_head_is_the_newest_script():
    """The revision known to the code is the newest migration."""
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(migrate._config()).get_heads() == [HEAD]


@pytest.mark.parametrize(
    ("revision", "mend"), [("0000", "install the newer"), ("9999", "install the newer")]
)
async def test_a_schema_that_is_not_ours_is_refused(settings, clock, revision, mend):
    """A store of an unknown revision stops the start, and is not touched."""
    store = await Store.open(settings, clock)
    await store.context.write(
        lambda c: c.execute(
            text(f"UPDATE alembic_version SET version_num='{revision}'")
        )
    )
    await store.close()
    with pytest.raises(ConfigError, match=mend):
        await Store.open(settings, clock)
    with pytest.raises(ConfigError, match=mend):
        await Store.upgrade(settings)


def test_an_older_schema_names_the_command(monkeypatch):
    """An older, known revision names `relay db upgrade`."""
    monkeypatch.setattr(migrate, "_known", lambda: {"0000", HEAD})
    with pytest.raises(ConfigError, match="relay db upgrade"):
        migrate.check("0000")


async def test_a_database_of_another_program_is_left_alone(settings, clock):
    """Foreign tables without our version stop the start."""
    store = await Store.open(settings, clock)
    await store.context.write(lambda c: c.execute(text("DROP TABLE alembic_version")))
    await store.close()
    with pytest.raises(ConfigError, match="another program"):
        await Store.open(settings, clock)


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("nonsense", "is no database URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://root:secret@db/relay", "neither SQLite nor PostgreSQL"),
        ("sqlite:///{tmp}/no/such/relay.db", "make it first"),
        ("sqlite:///{tmp}", "is a folder"),
        ("sqlite:///{tmp}/text.db", "is not a SQLite database"),
    ],
)
async def test_mistakes_in_the_url_are_named(tmp_path, clock, url, mend):
    """Each mistake is one line with the key, the value and the mend, no password."""
    (tmp_path / "text.db").write_text("This is a letter, not a database. " * 100)
    settings = StoreSettings.model_construct(
        url=url.format(tmp=tmp_path),
        spool=None,
        busy_timeout_s=1.0,
        inline_bytes=1,
        min_free_bytes=0,
    )
    with pytest.raises(ConfigError, match=mend) as caught:
        await Store.open(settings, clock)
    assert "store.url" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_file_without_rights_is_named(tmp_path, clock):
    """A database this user may not write is a ConfigError."""
    path = tmp_path / "relay.db"
    path.touch(mode=0o400)
    with pytest.raises(ConfigError, match="right"):
        await Store.open(StoreSettings(url=f"sqlite:///{path}"), clock)


async def test_a_spool_that_is_a_file_is_named(tmp_path, clock):
    """A spool path that is no folder is a ConfigError that names its key."""
    (tmp_path / "spool").touch()
    settings = StoreSettings(
        url=f"sqlite:///{tmp_path}/relay.db", spool=tmp_path / "spool"
    )
    with pytest.raises(ConfigError, match=r"store\.spool"):
        await Store.open(settings, clock)


async def test_postgres_mistakes_are_named(postgres, clock, tmp_path):
    """A missing database is a mistake; a server that is down may come back."""
    missing = StoreSettings(url=postgres.url("nowhere"), spool=tmp_path)
    with pytest.raises(ConfigError, match="no such database"):
        await Store.open(missing, clock)
    away = StoreSettings(
        url=f"postgresql://u:secret@/relay?host={tmp_path}", spool=tmp_path
    )
    with pytest.raises(StoreUnavailable) as caught:
        await Store.open(away, clock)
    assert "secret" not in str(caught.value)


def test_passwords_are_masked():
    """A URL for people has no password; libpq's sslmode is understood."""
    url = "postgresql://relay:secret@db.example/relay?sslmode=require"
    assert "secret" not in masked(url)
    assert parse_url(url).query == {"ssl": "require"}


async def test_sqlite_is_set_up_for_durability(tmp_path, clock):
    """WAL, synchronous=FULL and foreign keys hold on the writing connection."""
    path = tmp_path / "relay.db"
    store = await Store.open(StoreSettings(url=f"sqlite:///{path}"), clock)
    names = ("journal_mode", "synchronous", "foreign_keys")

    def pragmas(connection):
        return [connection.scalar(text(f"PRAGMA {name}")) for name in names]

    assert await store.context.write(pragmas) == ["wal", 2, 1]
    with pytest.raises(StoreUnavailable):
        await store.context.read(
            lambda c: c.execute(text("UPDATE meta SET revision = 9"))
        )
    await store.close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    assert not path.with_name("relay.db-wal").exists()
