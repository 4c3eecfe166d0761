"""`relay alerts` lists what is wrong, and sends a test to those whom alerts go to."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from relay.cli.entry import Failure, RelayCommand, RelayGroup, open_store, run, settings
from relay.cli.output import (
    clean,
    json_option,
    moment,
    print_json,
    state_style,
    table,
    when,
)

if TYPE_CHECKING:
    from relay.console.alerts import Alerting
    from relay.store import Store
    from relay.store.alerts import Telling

_LOOK_AGAIN_S = 0.5


@click.group(cls=RelayGroup)
def alerts() -> None:
    """List what is wrong, and send a test to those whom alerts go to."""


@alerts.command("list", cls=RelayCommand)
@click.option("--open", "open_only", is_flag=True, help="Only what holds now.")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=1000),
    default=50,
    show_default=True,
    help="Show only the latest.",
)
@json_option
def list_(limit: int, *, open_only: bool, as_json: bool) -> None:
    """List alerts: what holds now first, then what has ended.

    Exit status 0, whatever is wrong; relay check looks at everything anew.
    """
    from relay.console.alerts import alerting  # noqa: PLC0415 - imports much

    loaded = settings()

    async def job() -> Alerting:
        async with open_store(loaded) as store:
            return await alerting(store, loaded, open_only=open_only, limit=limit)

    found = run(job())
    rows = [one.as_json() for one in found.alerts]
    if as_json:
        print_json(rows)
        return
    table(
        ["id", "state", "since (UTC)", "ended (UTC)", "what", "what to do"],
        (
            (
                row["id"],
                row["state"],
                when(row["raised_at"]),
                when(row["cleared_at"]),
                clean(row["text"]),
                row["hint"] if row["state"] == "raised" else "",
            )
            for row in rows
        ),
        whole=["id", "state", "since (UTC)"],
        drop=["what to do", "ended (UTC)"],
        empty="Nothing is wrong.",
        styles={"state": lambda cell: state_style("dead") if cell == "raised" else ""},
    )
    failing = [one for one in found.calls if one.error]
    if failing:
        last = failing[-1]
        said = (
            f"relay: the webhook failed last at {moment(last.created_at)}: {last.error}"
        )
        click.echo(said, err=True)
    if not found.ways:
        said = "relay: alerts are told to nobody; set notices.smarthost or "
        click.echo(said + "alerts.webhook_url", err=True)


@alerts.command(cls=RelayCommand)
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(min=0, max=600),
    default=30,
    show_default=True,
    help="Seconds to wait for a running relay to send it.",
)
@json_option
def test(wait_s: int, *, as_json: bool) -> None:
    """Send a test by each way that alerts are told, and say what came of it.

    The running relay sends it, as it sends alerts.
    """
    from relay.console import alerts as console  # noqa: PLC0415 - imports much

    loaded = settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            directory = loaded.directory(await store.directory.load())
            now = datetime.now(UTC)
            telling = await console.test(store, loaded, directory, now)
            end_s = time.monotonic() + wait_s
            rows = await _fates(store, telling)
            while time.monotonic() < end_s and any(one["waits"] for one in rows):
                await asyncio.sleep(_LOOK_AGAIN_S)
                rows = await _fates(store, telling)
            return rows

    rows = run(job())
    if as_json:
        print_json([{k: v for k, v in row.items() if k != "waits"} for row in rows])
    else:
        table(
            ["way", "to", "state", "answer"],
            (
                (row["way"], row["to"], row["state"], clean(row["answer"]))
                for row in rows
            ),
            whole=["way", "state"],
            empty="",
        )
    if any(row["waits"] and not row["answer"] for row in rows):
        problem = f"no relay has sent it within {wait_s} s; is relay serve running?"
        raise Failure(problem)
    if any(row["state"] != "sent" for row in rows):
        raise Failure("the test did not arrive by each way; see above")


async def _fates(store: Store, telling: Telling) -> list[dict[str, Any]]:
    """Return what became of each part of a test."""
    words = {"planned": "waits", "written": "sent", "refused": "refused"}
    rows: list[dict[str, Any]] = []
    for call in await store.alerts.calls(list(telling.calls)):
        answer = call.error or f"{call.status} {call.response}".strip()
        is_planned = call.state.value == "planned"
        rows.append(
            {
                "way": "webhook",
                "to": call.key,
                "state": words[call.state.value],
                "answer": "" if is_planned and not call.error else answer,
                "waits": is_planned and not call.error,
            }
        )
    rows += [
        {
            "way": "mail",
            "to": notice.recipient,
            "state": words[notice.state.value],
            "answer": notice.error,
            "waits": notice.state.value == "planned" and not notice.error,
        }
        for notice in await store.notices.find(limit=200)
        if notice.key in telling.mails
    ]
    return rows
