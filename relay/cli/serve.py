"""`relay serve`, the relay itself, and `relay db`: upgrades and backups of its store.

An empty store is made at the first start without a migration.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from relay.cli.entry import (
    RelayCommand,
    RelayGroup,
    checked,
    open_store,
    run,
    settings,
)
from relay.cli.output import facts, json_option, print_json, when
from relay.core.errors import ConfigError, InvalidInput
from relay.core.filters import read_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import Settings
    from relay.store.backup import Backup

ROLES: Final = ("smtp", "worker", "web")
DEFAULT: Final = frozenset({"smtp", "worker"})


@click.command(cls=RelayCommand)
@click.option(
    "--roles", metavar="ROLE,…", help="smtp, worker, web. Default: all that are set up."
)
def serve(roles: str | None) -> None:
    """Take mail in and log it in Salesforce, until SIGTERM or Ctrl-C.

    Each role runs in its own process; this process restarts one that ends. SIGHUP
    replaces the processes by new ones, which read the settings again.
    """
    from relay.serve import child, supervisor  # noqa: PLC0415 - pydantic, 0.2 s

    wanted = read_roles(roles)

    def load() -> Settings:
        loaded = settings(quiet=False)
        if "smtp" in wanted:
            loaded.require_domains()
        if "worker" in wanted and not all_by_bcc(loaded):
            loaded.require_salesforce()
        if "web" in wanted:
            if loaded.web.listen is None:
                problem = (
                    "web.listen (not set): the role web needs an address; write "
                    'for instance "127.0.0.1:8080"'
                )
                raise ConfigError(problem)
            loaded.require_domains()
        return loaded

    mine = child.ticket()
    if mine is not None:
        sys.exit(child.main(mine, load, _loop_factory()))
    loaded = load()
    if roles is None and loaded.web.listen is not None:
        wanted |= {"web"}
    supervisor.supervise(loaded, wanted, load)


def all_by_bcc(loaded: Settings) -> bool:
    """Say whether an admin has decided that no mail needs Salesforce's API.

    The store is asked only where there is a smarthost, and no org is named. It is asked
    in a thread: who calls may have a loop of its own.
    """
    if loaded.notices.smarthost is None or loaded.salesforce.instance_url is not None:
        return False
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    from relay.core.log_by import WHO_DECIDES, WhoDecides  # noqa: PLC0415

    async def ask() -> bool:
        async with open_store(loaded) as store:
            found = await store.directory.setting(WHO_DECIDES)
            return bool(found == WhoDecides.BCC_ONLY)

    with ThreadPoolExecutor(1) as aside:
        return aside.submit(lambda: asyncio.run(ask())).result()


def read_roles(text: str | None) -> frozenset[str]:
    """Return the parts to run.

    Raises:
        click.BadParameter: A word is no part at all.
    """
    if text is None:
        return DEFAULT
    wanted = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(wanted - set(ROLES))
    if unknown or not wanted:
        problem = f"{text!r}: write one or more of {', '.join(ROLES)}"
        raise click.BadParameter(problem, param_hint="--roles")
    return wanted


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster event loop where the extra `fast` is installed."""
    try:
        module = import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = module.new_event_loop
    return factory


# ------------------------------------------------------------------ the store


@click.group(cls=RelayGroup)
def db() -> None:
    """Manage the database."""


@db.command()
@json_option
def upgrade(*, as_json: bool) -> None:
    """Upgrade the database schema to this version. Stop the relay first."""
    from relay.store import Store  # noqa: PLC0415

    loaded = settings()
    before, after = run(Store.upgrade(loaded.store))

    async def doubtful() -> int:
        async with open_store(loaded) as store:
            accepted = await store.directory.addresses()
            return sum(not one.confirmed for one in accepted)

    waiting = run(doubtful()) if before not in {None, after} else 0
    if as_json:
        print_json([{"before": before, "after": after}])
    elif before == after:
        click.echo(f"The store is at revision {after} already; nothing to do.")
    else:
        click.echo(f"Upgraded the store from {before or 'nothing'} to {after}.")
        if waiting:
            doubt = "may be kept in a wrong spelling: relay check names each"
            click.echo(f"Accepted addresses that {doubt}: {waiting}.")


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def backup(file: Path, *, as_json: bool) -> None:
    """Copy the SQLite store to FILE while the relay runs.

    Large mails are copied to FILE.spool. Both can be read by you alone. The copy is a
    store: to restore it, stop the relay and put both in the place of the old ones.
    """
    from relay.store.backup import backup as make  # noqa: PLC0415 - SQLAlchemy

    made = make(settings().store, file)
    if as_json:
        print_json(
            [
                {
                    "file": str(made.file),
                    "size_bytes": made.size_bytes,
                    "spool": None if made.spool is None else str(made.spool),
                    "spool_files": made.files,
                    "spool_bytes": made.spool_bytes,
                    "at": made.at,
                }
            ]
        )
        return
    large = "none" if made.spool is None else f"{made.spool} ({_sizes(made)})"
    facts(
        [
            ("database", f"{made.file} ({made.size_bytes} bytes)"),
            ("large mails", large),
            ("as of (UTC)", when(made.at)),
        ]
    )
    click.echo("Back up the settings file too, and the keys that it names.", err=True)


def _sizes(made: Backup) -> str:
    many = "s" if made.files > 1 else ""
    return f"{made.files} file{many}, {made.spool_bytes} bytes"


def _past(text: str) -> datetime:
    """Read the time of a backup, which is over."""
    now = datetime.now(UTC)
    at = read_time(text, now)
    if at > now:
        raise InvalidInput(f"{text!r} is not over yet", "write when the backup began")
    return at


@db.command()
@click.argument("at", metavar="TIME", callback=checked(_past))
@json_option
def restored(at: datetime, *, as_json: bool) -> None:
    """Say that the store is a backup of TIME, which another program made.

    What waited then may be in Salesforce by now: the relay looks for it before it
    writes it. Do this before the relay starts; copies of 'relay db backup' know it.
    """
    from relay.store.backup import BACKUP_OF  # noqa: PLC0415 - SQLAlchemy

    loaded = settings()

    async def job() -> None:
        async with open_store(loaded) as store:
            await store.shared.set(BACKUP_OF, at.isoformat())

    run(job())
    if as_json:
        print_json([{"backup_of": at}])
    else:
        click.echo(
            f"Mail received until {when(at)} UTC is looked for in Salesforce before it "
            "is written."
        )
