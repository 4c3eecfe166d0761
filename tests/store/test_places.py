"""Files of the store: whose they are, and what is said of a wrong place."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from relay.config.settings import StoreSettings
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.errors import ConfigError, StoreUnavailable
from relay.store import Store
from relay.store.database import prepare_file
from relay.store.spool import Spool, give_to_owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder of root's that other users may look into."""
    with tempfile.TemporaryDirectory(prefix="relay-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


CHANGES_USER = """
import contextlib, io, os, sys
from relay.cli import main

def run(config):
    try:
        main(["--config", config, *sys.argv[3:]], prog_name="relay")
    except SystemExit as end:
        return end.code

# Python itself may be out of reach later: what a command imports is imported now.
with contextlib.redirect_stdout(io.StringIO()):
    run(sys.argv[1])
os.setgroups([])
os.setgid({group})
os.setuid({owner})
sys.exit(run(sys.argv[2]))
"""


def as_another(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the user whom the service would have."""
    with tempfile.TemporaryDirectory() as other:
        scratch = write_settings(Path(other), Path(other))
        code = CHANGES_USER.format(owner=OWNER, group=GROUP)
        given = [str(scratch), f"{folder}/relay.toml", *arguments]
        return subprocess.run(
            [sys.executable, "-c", code, *given],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def write_settings(folder: Path, place: Path) -> Path:
    """Write the settings of a store in a place; return their file."""
    file = folder / "relay.toml"
    file.write_text(
        f'[store]\nurl = "sqlite:///{place}/relay.db"\nmin_free_bytes = 0\n'
        '[smtp]\ndomains = ["in.relay.example"]\n',
        "utf-8",
    )
    return file


async def root_was_first(folder: Path, place: Path) -> Store:
    """Let root make the store, and return it open."""
    write_settings(folder, place)
    url = f"sqlite:///{place}/relay.db"
    store = await Store.open(StoreSettings(url=url), SystemClock())
    await store.directory.add_user("Ada", "ada@corp.example", Role.REP, None, "root")
    return store


@pytest.mark.timeout(120)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
async def test_the_first_command_of_root_locks_nobody_out(shared: Path) -> None:
    """The other user reads and writes the store, also while root has it open."""
    place = shared / "store"
    place.mkdir()
    os.chown(place, OWNER, GROUP)
    store = await root_was_first(shared, place)
    done = await asyncio.to_thread(
        as_another, shared, "user", "add", "Bob", "--email", "bob@corp.example"
    )
    assert (done.returncode, done.stderr) == (0, "")
    await store.directory.add_user("Cy", "cy@corp.example", Role.REP, None, "root")
    await store.close()
    listed = await asyncio.to_thread(as_another, shared, "user", "list", "--json")
    emails = [json.loads(line)["email"] for line in listed.stdout.splitlines()]
    assert [email.partition("@")[0] for email in emails] == ["ada", "bob", "cy"]


@pytest.mark.timeout(120)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
async def test_a_store_of_roots_names_the_command_that_gives_it(shared: Path) -> None:
    """A folder of root's says nothing of the service; what is said then mends it."""
    store = await root_was_first(shared, shared)
    await store.close()
    refused = await asyncio.to_thread(as_another, shared, "user", "list")
    assert refused.returncode == 2
    command = f"chown -R {OWNER} {shared}/relay.db*"
    assert f"it belongs to root; as root: {command}" in refused.stderr
    await asyncio.to_thread(subprocess.run, command, shell=True, check=True)
    refused = await asyncio.to_thread(as_another, shared, "user", "list")
    assert "a folder of this user's own" in refused.stderr
    os.chown(shared, OWNER, GROUP)
    done = await asyncio.to_thread(as_another, shared, "user", "list")
    assert (done.returncode, "ada@corp.example" in done.stdout) == (0, True)


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
