"""`relay status`: how much waits, for what, and since when."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli.entry import RelayCommand, open_store, run, settings
from relay.cli.output import (
    clean,
    facts,
    json_option,
    print_json,
    state_style,
    table,
    when,
)
from relay.cli.remote import GOES_ON, Away, remote, remote_options
from relay.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

_AGAIN_S: Final = 2


@click.command(cls=RelayCommand)
@click.option(
    "--watch", is_flag=True, help=f"Keep running, and look again every {_AGAIN_S} s."
)
@remote_options
@json_option
def status(
    url: str | None, token_file: Path | None, *, watch: bool, as_json: bool
) -> None:
    """Show how many messages wait, for what, and since when.

    Salesforce is not asked: relay check does that.
    """
    there = remote(url, token_file)
    ask = _here if there is None else lambda: there.get("status")
    seen = told = False
    try:
        while True:
            try:
                row = ask()
            except (Away, StoreUnavailable) as error:
                # With --watch the command goes on over a restart; without, it fails.
                if not (watch and seen):
                    raise
                if not told:
                    click.echo(f"relay: {clean(error)}; {GOES_ON}", err=True)
                told = True
                time.sleep(_AGAIN_S)
                continue
            seen, told = True, False
            if watch and sys.stdout.isatty() and not as_json:
                click.clear()
            if as_json:
                print_json([row])
            else:
                _print(row, watched=watch)
            if not watch:
                return
            sys.stdout.flush()
            time.sleep(_AGAIN_S)
    except KeyboardInterrupt:
        if not watch:
            raise


def _here() -> dict[str, Any]:
    """Return the status of the relay of the settings file."""
    from relay.console.status import status as ask  # noqa: PLC0415 - imports much

    loaded = settings()

    async def job() -> dict[str, Any]:
        async with open_store(loaded) as store:
            return (await ask(store, loaded, datetime.now(UTC))).as_json()

    return run(job())


def _print(row: dict[str, Any], *, watched: bool) -> None:
    from relay.console.mails import plain_reason  # noqa: PLC0415 - `--help` is fast
    from relay.core.shared import Pause  # noqa: PLC0415 - the same
    from relay.diagnose.activation import OrgSwitch  # noqa: PLC0415 - the same

    switch, pause = row["logging"], row["pause"]
    logging = OrgSwitch(switch["active"], _time(switch["since"]), switch["by"])
    text = "none"
    if pause is not None:
        since, until = _time(pause["since"]), _time(pause["until"])
        if since is None or until is None:
            raise AssertionError(pause)
        words = (pause["reason"], pause["code"], pause["text"])
        text = Pause(since, until, *words).report
    at = ("at (UTC)", when(row["at"]) if watched else "")
    facts([at, ("logging", clean(logging.text)), ("salesforce pause", text)])
    click.echo()
    table(
        ["state", "reason", "messages", "oldest (UTC)", "next try (UTC)"],
        (
            (
                one["state"],
                plain_reason(one["reason"]),
                one["count"],
                when(one["oldest_at"]),
                when(one["next_at"]),
            )
            for one in row["waiting"]
        ),
        whole=["state", "oldest (UTC)", "next try (UTC)"],
        fold=["reason"],
        empty="Nothing waits.",
        styles={"state": state_style},
    )


def _time(value: Any) -> datetime | None:
    """Return a time of the store, or of an answer."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
