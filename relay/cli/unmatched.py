"""`relay unmatched`: mail that no record fits, what may be meant, and what to do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from relay.cli.entry import (
    RelayGroup,
    open_store,
    run,
    settings,
    since_option,
    whole_id,
)
from relay.cli.output import clean, facts, json_option, print_json, table, when

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from relay.config import Settings
    from relay.core.unmatched import Scored
    from relay.salesforce import Org
    from relay.store import Store
    from relay.unmatched import Entry

_LATEST = 20


@click.group(cls=RelayGroup)
def unmatched() -> None:
    """Show mail that fits no record, with the records that may be meant."""


@asynccontextmanager
async def open_org(loaded: Settings) -> AsyncIterator[Org | None]:
    """Start the org and close it; None where no Salesforce is set."""
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.salesforce import Org  # noqa: PLC0415 - the HTTP library is slow

    if loaded.salesforce.instance_url is None:
        yield None
        return
    org = Org(loaded.salesforce, SystemClock())
    await org.start()
    try:
        yield org
    finally:
        await org.close()


@unmatched.command("list")
@click.option("--user", "who", metavar="USER", help="Only of this user.")
@click.option("--reason", metavar="WORD", help="Only with this reason: no_record, …")
@since_option("Only since then: 10m, 2h, 3d, or a time such as 2026-01-31.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_LATEST,
    show_default=True,
    help="Show only the latest messages.",
)
@json_option
def list_unmatched(
    who: str | None,
    reason: str | None,
    since: datetime | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List unmatched messages, the newest first, each with its likeliest record."""
    loaded = settings()
    from relay.core.unmatched import UnmatchedFilter  # noqa: PLC0415
    from relay.unmatched import Candidates  # noqa: PLC0415 - heavy libraries

    async def job() -> tuple[Entry, ...]:
        async with open_store(loaded) as store, open_org(loaded) as org:
            found = await store.directory.find_user(who, removed=True) if who else None
            wanted = UnmatchedFilter(
                user_id=found.id if found else None,
                reason=reason,
                since=since,
                limit=limit,
            )
            return await Candidates(store, org).entries(wanted)

    entries = run(job())
    if as_json:
        print_json(entry.as_json() for entry in entries)
        return
    table(
        ["received (UTC)", "id", "user", "subject", "without record", "reason", "best"],
        (
            (
                when(entry.message.received_at),
                entry.message.id,
                entry.message.user,
                entry.message.subject,
                ", ".join(one.person.address for one in entry.people),
                entry.message.reason,
                _brief(entry.best),
            )
            for entry in entries
        ),
        whole=["id"],
        drop=["received (UTC)", "user", "reason", "subject"],
        fold=["without record", "best"],
        empty="Nothing is unmatched.",
    )


def _brief(best: Scored | None) -> str:
    """Return a candidate in a few words."""
    if best is None:
        return ""
    return f"{best.score} {best.hit.object} {best.hit.name}"


@unmatched.command("show")
@click.argument("message_id", metavar="ID")
@json_option
def show_unmatched(message_id: str, *, as_json: bool) -> None:
    """Show an unmatched message, and for each address the records that may be meant.

    The score is from 0 to 100; the relay never logs by it.
    """
    loaded = settings()
    from relay.unmatched import Candidates  # noqa: PLC0415 - heavy libraries

    async def job() -> Entry:
        async with open_store(loaded) as store, open_org(loaded) as org:
            return await Candidates(store, org).entry(await _id(store, message_id))

    entry = run(job())
    if as_json:
        people = [one.as_json() for one in entry.people]
        print_json([entry.as_json() | {"people": people}])
        return
    _print_entry(entry)


async def _id(store: Store, text: str) -> str:
    found, _ = await whole_id(store, text)
    return found


def _print_entry(entry: Entry) -> None:
    message = entry.message
    facts(
        [
            ("id", message.id),
            ("received (UTC)", when(message.received_at)),
            ("user", message.user),
            ("from", message.sender),
            ("subject", message.subject),
            ("reason", f"{message.reason}: {message.detail}"),
        ]
    )
    for one in entry.people:
        click.echo()
        name = f"{one.person.name} " if one.person.name else ""
        title = f"{clean(name)}<{clean(one.person.address)}>"
        if one.candidates is None:
            click.echo(f"{title}: not searched, for want of Salesforce settings")
            continue
        table(
            ["score", "object", "id", "name", "account", "e-mail", "because"],
            (
                (
                    scored.score,
                    scored.hit.object,
                    scored.hit.id,
                    scored.hit.name,
                    scored.hit.account_name,
                    scored.hit.email,
                    "; ".join(scored.reasons),
                )
                for scored in one.candidates
            ),
            whole=["score", "object", "id"],
            title=title,
            wrap=True,
            empty=f"{title}: no record is near",
        )
