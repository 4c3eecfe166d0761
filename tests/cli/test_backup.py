"""`relay db backup` and `relay db restored`, as an administrator types them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from relay.store.backup import BACKUP_OF


def test_a_backup_is_made_and_can_be_opened(relay: Any, ada: Any) -> None:
    """Its file, size and moment are told; it holds what the store holds."""
    (id_,) = relay.put("One")
    file = relay.folder / "copy.db"
    (made,) = relay.json("db", "backup", str(file))
    assert made["file"] == str(file)
    assert made["size_bytes"] == file.stat().st_size
    assert (made["spool"], made["spool_files"], made["spool_bytes"]) == (None, 0, 0)
    assert file.stat().st_mode & 0o077 == 0
    text = relay.config.read_text("utf-8")
    relay.config.write_text(text.replace("relay.db", "copy.db"), "utf-8")
    assert [row["id"] for row in relay.json("log")] == [id_]
    kept = datetime.fromisoformat(
        relay.in_store(lambda store: store.shared.get(BACKUP_OF))
    )
    at = datetime.fromisoformat(made["at"])
    assert abs(kept - at) < timedelta(seconds=1)


def test_people_read_where_it_is_and_what_else_to_keep(relay: Any, ada: Any) -> None:
    """The settings and keys are no part of the store."""
    done = relay("db", "backup", "copy.db")
    assert "copy.db (" in done.stdout
    assert "as of (UTC)" in done.stdout
    assert "settings file" in done.stderr
    assert "is there already" in relay.error("db", "backup", "copy.db", status=1)


def test_postgresql_is_led_to_its_own_program(relay: Any) -> None:
    """The line can be copied; it has no password."""
    text = relay.config.read_text("utf-8")
    url = f"sqlite:///{relay.folder}/relay.db"
    new = text.replace(url, "postgresql://relay:secret@db.corp.example/mails")
    relay.config.write_text(new, "utf-8")
    said = relay.error("db", "backup", "copy.dump", status=1)
    assert "pg_dump -Fc --file copy.dump" in said
    assert "secret" not in said


def test_a_backup_of_another_program_is_named(relay: Any, ada: Any) -> None:
    """From when it is; a time that is to come is none."""
    (row,) = relay.json("db", "restored", "2h")
    at = datetime.fromisoformat(row["backup_of"])
    assert abs(datetime.now(UTC) - timedelta(hours=2) - at) < timedelta(minutes=5)
    kept = relay.in_store(lambda store: store.shared.get(BACKUP_OF))
    assert abs(datetime.fromisoformat(kept) - at) < timedelta(seconds=1)
    assert "is looked for" in relay("db", "restored", "yesterday 02:00").stdout
    assert "not over" in relay.error("db", "restored", "2999-01-01", status=2)
    assert "is no time" in relay.error("db", "restored", "soon", status=2)
