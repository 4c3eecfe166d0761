"""Files of the store: whose they are, and what is said of a wrong place."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from relay.config.settings import StoreSettings
from relay.core.clock import SystemClock
from relay.core.errors import ConfigError, StoreUnavailable
from relay.store import Store
from relay.store.database import prepare_file
from relay.store.spool import Spool, give_to_owner_of

if TYPE_CHECKING:
    from pathlib import Path

OWNER, GROUP = 12345, 12346


def _rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_spool_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask lets others read."""
    before = os.umask(0)
    try:
        spool = Spool(tmp_path / "spool")
        path = spool.write_temporary(b"x")
        kept = spool.folder / spool.keep(path, "0" * 26)
    finally:
        os.umask(before)
    assert _rights(kept) == 0o600
    assert _rights(spool.folder) == 0o700
    assert kept.read_bytes() == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_makes_belongs_to_the_owner_of_the_folder(
    tmp_path: Path,
) -> None:
    """The first command may be root's; the service opens the store all the same."""
    folder = tmp_path / "store"
    folder.mkdir()
    os.chown(folder, OWNER, GROUP)
    url = f"sqlite:///{folder}/relay.db"
    store = await Store.open(StoreSettings(url=url), SystemClock())
    spool = store.context.spool
    kept = spool.folder / spool.keep(spool.write_temporary(b"x"), "0" * 26)
    await store.context.database.wake.listen(lambda: None)
    made = [*folder.iterdir(), kept]
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in made}
    await store.close()
    assert len(owners) >= 4
    assert set(owners.values()) == {(OWNER, GROUP)}


def test_nobody_else_gives_files_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary user may not, and need not."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "chown", lambda *_: pytest.fail("tried"))
    give_to_owner_of(tmp_path, tmp_path / "file")


def test_a_slash_too_few_is_told(tmp_path: Path) -> None:
    """`sqlite:///var/lib/…` is below the folder of the settings file."""
    inside = "/etc/relay" + str(tmp_path)
    with pytest.raises(ConfigError) as caught:
        prepare_file(make_url(f"sqlite:///{inside}/relay.db"))
    assert f"sqlite:///{tmp_path}/relay.db" in str(caught.value)
    assert "four slashes" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        prepare_file(make_url(f"sqlite:///{tmp_path}/no/relay.db"))
    assert "four slashes" not in str(caught.value)


async def test_a_server_that_is_down_is_named() -> None:
    """Host and port, and no password."""
    url = "postgresql://ada:secret@127.0.0.1:9/relay"
    with pytest.raises(StoreUnavailable) as caught:
        await Store.open(StoreSettings(url=url), SystemClock())
    assert "127.0.0.1:9; see that PostgreSQL runs there" in str(caught.value)
    assert "secret" not in str(caught.value)
