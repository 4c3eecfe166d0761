"""`relay import`: log mail that was written before the relay was there."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli import mail_files
from relay.cli.entry import FAILED, Failure, RelayCommand, since_option
from relay.cli.opening import open_store, run, settings
from relay.cli.output import clean, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from relay.cli.mail_files import Found, Source, Unreadable
    from relay.config import Settings
    from relay.core.directory import User
    from relay.smtp.handed import Handover

PEER: Final = "import"
_TOGETHER: Final = 64
"""Mails that share a commit."""
_TOGETHER_BYTES: Final = 16 * 1024 * 1024
_DATE: Final = "date"

Row = dict[str, Any]


@click.command("import", cls=RelayCommand)
@click.argument(
    "paths",
    metavar="PATH…",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True),
)
@click.option(
    "--user", "who", metavar="USER", required=True, help="For whom it is logged."
)
@since_option("Leave out mail dated before.", "TIME")
@json_option
def import_(
    paths: tuple[Path, ...], who: str, since: datetime | None, *, as_json: bool
) -> None:
    """Queue mail from files: .eml, mbox, Maildir, or folders of them.

    Each mail is judged as if it had come by SMTP: its author must be an accepted
    address of the user. Interrupted, run it again: what is in the store already, by
    its content, is passed over.

    Exit status 1 if a mail was refused or a file could not be read.
    """
    loaded = settings()
    counts = run(_import(loaded, paths, who, since, as_json=as_json))
    if not as_json:
        click.echo(
            f"{counts['queued']} queued, {counts['known']} known already, "
            f"{counts['too_old']} too old, {counts['refused']} refused, "
            f"{counts['unreadable']} unreadable."
        )
        if counts["refused"]:
            click.echo("Why: relay log --refused", err=True)
    if counts["refused"] or counts["unreadable"]:
        sys.exit(FAILED)


async def _import(
    loaded: Settings,
    paths: Sequence[Path],
    who: str,
    oldest: datetime | None,
    *,
    as_json: bool,
) -> Counter[str]:
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.smtp.handed import Handover  # noqa: PLC0415 - aiosmtpd

    loaded.require_domains()
    counts: Counter[str] = Counter()
    found = list(mail_files.sources(paths))
    if not found:
        text = "no mail found: name .eml or mbox files, or folders with .eml or Maildir"
        raise Failure(text)
    async with open_store(loaded) as store:
        user = await store.directory.find_user(who)
        directory = await store.directory.load()
        batches = _Importer(
            user,
            Handover(
                loaded.smtp,
                store,
                SystemClock(),
                directory=lambda: directory,
                peer=PEER,
            ),
            await store.messages.digests(user.id, PEER),
            oldest,
            loaded.smtp.max_message_bytes,
        )
        with _progress(_size(found), quiet=as_json) as step:
            async for rows, read in batches.run(found):
                step(read)
                _tell(rows, counts, as_json=as_json)
    return counts


class _Importer:
    """Hands mails over, as many at a time as share a commit."""

    def __init__(
        self,
        user: User,
        handover: Handover,
        known: set[str],
        oldest: datetime | None,
        limit: int,
    ) -> None:
        self._limit = limit
        self._user = user
        self._handover = handover
        self._known = known
        self._oldest = oldest

    async def run(
        self, sources: Sequence[Source | Unreadable]
    ) -> AsyncIterator[tuple[list[Row], int]]:
        """Return what came of each batch, and how many bytes of the files it was."""
        batch: list[Found] = []
        size = 0
        for found in self._found(sources):
            if isinstance(found, mail_files.Unreadable):
                place = str(found.path)
                yield [_row(place, "unreadable", reason=found.reason)], 0
                continue
            batch.append(found)
            size += len(found.raw)
            if len(batch) >= _TOGETHER or size >= _TOGETHER_BYTES:
                yield await self._take(batch)
                batch, size = [], 0
        if batch:
            yield await self._take(batch)

    def _found(
        self, sources: Sequence[Source | Unreadable]
    ) -> Iterator[Found | Unreadable]:
        for source in sources:
            if isinstance(source, mail_files.Unreadable):
                yield source
            else:
                yield from mail_files.mails(source, self._limit)

    async def _take(self, batch: Sequence[Found]) -> tuple[list[Row], int]:
        rows = await asyncio.gather(*(self._one(found) for found in batch))
        return list(rows), sum(found.read_bytes for found in batch)

    async def _one(self, found: Found) -> Row:
        from relay.smtp.handed import digest, with_crlf  # noqa: PLC0415

        place, note = found.place, found.note
        if self._oldest is not None and _dated(found.raw) < self._oldest:
            return _row(place, "too_old", note=note)
        if found.size_bytes > self._limit:
            came = await self._handover.refuse_size(self._user)
            return _row(place, "refused", ident=came.id, reason=came.reason, note=note)
        raw = with_crlf(found.raw)
        digested = digest(raw)
        if digested in self._known:
            return _row(place, "known", note=note)
        self._known.add(digested)
        taken = await self._handover.take(self._user, raw, whence=place)
        if isinstance(taken, str):
            return _row(place, "queued", ident=taken, note=note)
        return _row(place, "refused", ident=taken.id, reason=taken.reason, note=note)


def _row(
    place: str,
    result: str,
    *,
    ident: str | None = None,
    reason: str = "",
    note: str = "",
) -> Row:
    return {
        "file": place,
        "result": result,
        "id": ident,
        "reason": reason,
        "note": note,
    }


def _size(found: Sequence[Source | Unreadable]) -> int:
    return sum(
        0 if isinstance(one, mail_files.Unreadable) else one.size_bytes for one in found
    )


def _dated(raw: bytes) -> datetime:
    """Return the date of a mail; one without a date that can be read is of today."""
    from relay.mail import header_fields  # noqa: PLC0415

    for name, value in header_fields(raw):
        if name == _DATE:
            try:
                date = parsedate_to_datetime(value.decode("ascii", "replace").strip())
            except (ValueError, OverflowError):
                break
            return date if date.tzinfo else date.replace(tzinfo=UTC)
    return datetime.now(UTC)


def _tell(rows: Sequence[Row], counts: Counter[str], *, as_json: bool) -> None:
    counts.update(row["result"] for row in rows)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if row["result"] in {"refused", "unreadable"}:
            text = f"{row['file']}: {row['result']}, {row['reason']}"
            click.echo(clean(text), err=True)
        if row["note"]:
            click.echo(clean(f"{row['file']}: {row['note']}"), err=True)


@contextmanager
def _progress(total_bytes: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how far the files are read, where somebody looks."""
    from rich.console import Console  # noqa: PLC0415 - 50 ms
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    with Progress(
        console=console, disable=quiet or not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("importing", total=max(1, total_bytes))
        yield lambda read: progress.advance(task, read)
