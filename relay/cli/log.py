"""`relay log` and `relay show`: every message and refusal, and why it ended so."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli.activation import tell_if_off
from relay.cli.entry import (
    RelayCommand,
    open_store,
    run,
    settings,
    whole_id,
)
from relay.cli.filters import filter_options
from relay.cli.output import (
    SHORT_ID,
    clean,
    facts,
    json_option,
    moment,
    print_json,
    state_style,
    table,
    when,
)
from relay.cli.remote import GOES_ON, remote, remote_options
from relay.console.feed import cursor_now, look
from relay.console.mails import (
    log_filter,
    matched,
    plain_detail,
    plain_reason,
    raw_mail,
    whole_row,
)
from relay.core.errors import StoreUnavailable
from relay.core.filters import write
from relay.core.states import ActivityState, Event, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from relay.cli.remote import Remote
    from relay.config import Settings
    from relay.core.filters import Filter
    from relay.core.model import LogFilter
    from relay.store import Store

Row = dict[str, Any]

_LATEST: Final = 50
_POLL_S: Final = 1.0
_PAGE: Final = 1000
_STATE_WIDTH: Final = max(len(state) for state in State)


@click.command(cls=RelayCommand)
@filter_options()
@click.option("--refused", is_flag=True, help="Only refusals.")
@click.option(
    "--probes", is_flag=True, help="Also the refusals that `relay check` caused."
)
@click.option(
    "--follow", is_flag=True, help="Keep running, and show each change of state."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Show only the latest rows; default: {_LATEST}, with --json all.",
)
@remote_options
@json_option
def log(
    wanted: Filter,
    limit: int | None,
    url: str | None,
    token_file: Path | None,
    *,
    refused: bool,
    probes: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """List messages and refusals, oldest first.

    FILTER says in one text what the options say: state:dead user:ada@corp.com since:2h
    domain:acme.com "a text". An option that is given twice means any of both. Times
    are in UTC, unless they name a zone.
    """
    if refused and wanted.state:
        problem = "--refused lists refusals, which have no --state; give one of them"
        raise click.UsageError(problem)
    there = remote(url, token_file)
    if there is not None:
        if probes:
            raise click.UsageError("--probes cannot be asked over --url")
        with _until_stopped(follow=follow):
            _log_there(there, wanted, limit, refused, follow=follow, as_json=as_json)
        return
    loaded = settings()

    async def job() -> None:
        async with open_store(loaded) as store:
            await tell_if_off(store)
            asked = await log_filter(
                store, wanted, refused=True if refused else None, probes=probes
            )
            cursor = await cursor_now(store)
            if limit is None and as_json:
                await _print_all(store, asked)
                rows = []
            else:
                rows = await _latest(store, asked, limit or _LATEST)
                _print(rows, as_json=as_json, lines=follow)
            if follow:
                await follow_log(store, asked, rows, cursor, as_json=as_json)

    with _until_stopped(follow=follow):
        run(job())


@contextmanager
def _until_stopped(*, follow: bool) -> Iterator[None]:
    """Let Ctrl-C end what runs until then."""
    try:
        yield
    except KeyboardInterrupt:
        if not follow:
            raise


def _log_there(
    there: Remote,
    wanted: Filter,
    limit: int | None,
    refused: bool,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Do the same with a relay elsewhere."""
    query: dict[str, Any] = {"q": write(wanted)}
    if refused:
        query["state"] = "refused"
    most = limit if limit is not None or as_json else _LATEST
    if not follow:
        _print(there.latest(query, most), as_json=as_json, lines=False)
        return
    shown: dict[str, tuple[Any, ...]] = {}
    for name, row in there.events(query):
        if name == "begun":
            rows = there.latest(query, most)
            _print(rows, as_json=as_json, lines=True)
            shown = {row["id"]: _mark(row) for row in rows}
        elif name == "lost":
            click.echo("relay: some changes were missed; list again", err=True)
        elif name == "away":
            click.echo(f"relay: {clean(row)}; {GOES_ON}", err=True)
        elif shown.pop(row["id"], None) != _mark(row):
            _print([row], as_json=as_json, lines=True)


async def _print_all(store: Store, wanted: LogFilter) -> None:
    """Print every row, a page at a time, so that a long journal needs no memory."""
    more = True
    while more:
        page = await store.log.page(wanted, _PAGE)
        print_json(page.rows)
        more = page.after_id is not None
        wanted = replace(wanted, after_id=page.after_id)


async def _latest(store: Store, wanted: LogFilter, limit: int) -> list[Row]:
    """Return the latest rows, oldest first."""
    newest = replace(wanted, limit=limit, newest_first=True)
    return (await store.log.find(newest))[::-1]


async def follow_log(
    store: Store, wanted: LogFilter, shown: list[Row], cursor: str, *, as_json: bool
) -> None:
    """Print rows that are new or changed behind a cursor, until Ctrl-C.

    Args:
        store: The open store.
        wanted: What fits.
        shown: Rows that were printed after the cursor was taken: one that stands in the
            feed as it was printed is not printed again.
        cursor: Where to begin.
        as_json: A JSON object per line.
    """
    marks = {row["id"]: _mark(row) for row in shown}
    while True:
        try:
            found = await look(store, wanted, cursor)
        except StoreUnavailable:
            await asyncio.sleep(_POLL_S)  # A busy moment; nothing is missed.
            continue
        cursor = found.cursor
        if found.lost:
            click.echo("relay: some changes were missed; list again", err=True)
        fresh = [
            s.row for s in found.seen if marks.pop(s.row["id"], None) != _mark(s.row)
        ]
        _print(fresh, as_json=as_json, lines=True)
        if not found.more:
            await asyncio.sleep(_POLL_S)


def _mark(row: Row) -> tuple[Any, ...]:
    """Return what makes a row worth showing again."""
    return row.get("state"), row.get("reason"), row.get("count")


def _print(rows: list[Row], *, as_json: bool, lines: bool) -> None:
    if as_json:
        print_json(rows)
    elif lines:
        for row in rows:
            at, state, *rest = (clean(cell) for cell in _cells(row))
            if row.get("changed_at"):
                rest.append(f"changed {moment(row['changed_at'])}")
            line = "  ".join([f"{at} UTC", f"{state:{_STATE_WIDTH}}", *rest])
            click.echo(line.rstrip())
    else:
        table(
            ["received (UTC)", "state", "id", "user", "from", "subject", "result"],
            (_cells(row) for row in rows),
            whole=["received (UTC)", "state", "id"],
            drop=["subject", "from", "user"],
            fold=["result"],
            short={"id": SHORT_ID},
            empty="Nothing to show.",
            styles={"state": state_style},
        )


def _cells(row: Row) -> list[object]:
    return [
        when(row.get("received_at")),
        row.get("state") or "refused",
        row["id"],
        row.get("user") or row.get("rcpt") or "",
        _author(row),
        row.get("subject") or "",
        result(row),
    ]


def _author(row: Row) -> str:
    author = str(row.get("from") or row.get("mail_from") or "<>")
    return f"{author} ({row['sent_by']})" if row.get("sent_by") else author


def result(row: Row) -> str:
    """Return what came of a message or refusal, in a few words."""
    count = row.get("count") or 1
    times = f" ({count} times)" if count > 1 else ""
    if row.get("kind") == "refusal":
        # The codes of the reply; its text is long and `show` has it.
        codes = str(row.get("reply") or "").split()[:2]
        return " ".join([*codes, str(row.get("reason") or "")]) + times
    written = records(row)
    if written and row.get("copy_of"):
        written += f" (copy of {row['copy_of']})"
    return ", ".join(
        part for part in (written, files(row), plain_reason(row.get("reason"))) if part
    )


def records(row: Row) -> str:
    """Return the records of a message, counted by object."""
    kinds = [str(record["object"]) for record in row.get("records") or ()]
    return ", ".join(
        kind if kinds.count(kind) == 1 else f"{kinds.count(kind)} {kind}s"
        for kind in dict.fromkeys(kinds)
    )


def files(row: Row) -> str:
    """Return the files of a message, those that are not there yet by their state."""
    states = [str(file["state"]) for file in row.get("files") or ()]
    there = states.count(ActivityState.LINKED)
    words = [f"{there} file{'s' if there > 1 else ''}"] if there else []
    return ", ".join(
        words
        + [
            f"{count} file{'s' if count > 1 else ''} {state}"
            for state in ActivityState
            if state is not ActivityState.LINKED and (count := states.count(state))
        ]
    )


@click.command(cls=RelayCommand)
@click.argument("message_id", metavar="ID")
@click.option(
    "--raw", is_flag=True, help="Only the mail itself, byte by byte, as it came."
)
@remote_options
@json_option
def show(
    message_id: str,
    url: str | None,
    token_file: Path | None,
    *,
    raw: bool,
    as_json: bool,
) -> None:
    """Show one message or refusal: what was checked, tried and written.

    ID is the id at the end of the 250 reply, and in `relay log`; its first characters
    are enough if no other id begins with them.
    """
    if raw and as_json:
        raise click.UsageError("--raw gives the mail itself; leave --json out")
    there = remote(url, token_file)
    if there is not None:
        if raw:
            click.echo(there.raw("messages", message_id, "raw"), nl=False)
            return
        row = there.get("messages", message_id)
        hint, org = row.pop("hint", ""), row.pop("org_url", "")
        if as_json:
            print_json([row])
        else:
            _print_whole(row, hint, org)
        return
    loaded = settings()
    if raw:
        click.echo(run(_raw(loaded, message_id)), nl=False)
        return

    from relay.diagnose.hints import hint_for  # noqa: PLC0415 - imports relay.mail

    async def job() -> tuple[Row, str]:
        async with open_store(loaded) as store:
            id_, _ = await whole_id(store, message_id)
            row = await whole_row(store, id_)
            return row, await hint_for(store, row)

    row, hint = run(job())
    if as_json:
        print_json([row])
    else:
        _print_whole(row, hint, str(loaded.salesforce.instance_url or ""))


async def _raw(loaded: Settings, text: str) -> bytes:
    async with open_store(loaded) as store:
        id_, _ = await whole_id(store, text)
        return await raw_mail(store, id_)


def _print_whole(row: Row, hint: str, org: str = "") -> None:
    """Print all that is known; records are links into `org` where that is known."""
    facts([*_facts(row), ("hint", hint)])
    if row.get("records"):
        click.echo()
        table(
            ["record", "id", "rule"],
            ((r["object"], r["id"], r.get("rule")) for r in row["records"]),
            whole=["id"],
            wrap=True,
        )
        for record in row["records"] if org else ():
            click.echo(f"{org.rstrip('/')}/{clean(record['id'])}")
    if on := matched(row.get("trace") or ()):
        click.echo()
        base = f"{org.rstrip('/')}/" if org else ""
        table(
            ["matched with", "name", "link" if org else "id"],
            ((kind, name, f"{base}{ident}") for kind, ident, name in on),
            whole=["link" if org else "id"],
            fold=["name"],
        )
    if row.get("files"):
        click.echo()
        table(
            ["file", "bytes", "state", "id", "on record", "error"],
            (
                (
                    f["name"],
                    f["size_bytes"],
                    f["state"],
                    f["id"],
                    f["record_id"],
                    f["error"],
                )
                for f in row["files"]
            ),
            whole=["state", "id"],
            drop=["on record"],
            fold=["file", "error"],
        )
    for planned in row.get("planned") or ():
        click.echo(f"\nplanned, not written: {clean(planned['object'])}")
        facts((f"  {key}", value) for key, value in planned["fields"].items())
        facts([("  rule", planned["rule"])])
    click.echo()
    table(
        ["at (UTC)", "step", "result", "detail"],
        (
            (
                when(step["at"]),
                step["step"],
                _outcome(step),
                plain_detail(step.get("detail")),
            )
            for step in row.get("trace") or ()
        ),
        whole=["at (UTC)"],
        wrap=True,
        empty="No trace.",
    )


def _outcome(step: Row) -> str:
    """Return the result of a step, for people."""
    if step["result"] == Event.GIVE_BACK:
        return "put back, does not count"
    return str(step["result"])


def _sender(verdict: Row) -> Iterator[tuple[str, object]]:
    """Say in words what was found about the author, and what came of it."""
    from relay.core.authentication import describe, from_json  # noqa: PLC0415

    outcome, policy = verdict["outcome"], verdict["policy"]
    yield "sender", f"{verdict['address']}: {outcome}, by the policy {policy}"
    if verdict["proof"]:
        yield "proof", verdict["proof"]
    if verdict["cause"]:
        yield "because", verdict["text"]
    if other := verdict["monitor"]:
        would = " ".join(word for word in (other["outcome"], other["cause"]) if word)
        yield "watched policy", f"{other['policy']} would: {would}"
    if found := verdict["authentication"]:
        for line in describe(from_json(found)):
            yield "checked", line


def _facts(row: Row) -> Iterable[tuple[str, object]]:
    for name, value in row.items():
        if name in {"trace", "records", "planned", "files", "message_id"}:
            continue
        if name == "verdict":
            yield from _sender(value)
            continue
        if name == "received_at":
            yield "received (UTC)", when(value)
        elif name == "next_attempt_at":
            yield "next try (UTC)", when(value)
        elif name == "reason":
            yield "reason", plain_reason(value)
        elif name == "rfc_message_id":
            # Our own id is `id`; this one the mail program wrote.
            yield "Message-ID header", value
        else:
            yield name.replace("_", " "), value
