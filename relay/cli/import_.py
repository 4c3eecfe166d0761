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
from relay.cli.arguments import since as read_since
from relay.cli.entry import FAILED, Failure, RelayCommand
from relay.cli.opening import open_store, run, settings
from relay.cli.output import clean, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from relay.cli.mail_files import Found, Source
    from relay.config import Settings
    from relay.core.model import User
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
@click.option("--user", "who", required=True, help="For whom it is logged.")
@click.option("--since", metavar="TIME", help="Leave out mail dated before.")
@json_option
def import_(
    paths: tuple[Path, ...], who: str, since: str | None, *, as_json: bool
) -> None:
    """Queue mail from files: .eml, mbox, Maildir, or folders of them.

    Each mail is judged as if it had come by SMTP: its author must be an accepted
    address of the user. Interrupted, run it again: what is in the store already, by
    its content, is passed over.

    Exit status 1 if a mail was refused or a file could not be read.
    """
    loaded = settings()
    oldest = None if since is None else read_since(since, datetime.now(UTC))
    counts = run(_import(loaded, paths, who, oldest, as_json=as_json))
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
        user = await store.user_find(who)
        directory = await store.directory()
        batches = _Importer(
            user,
            Handover(
                loaded.smtp,
                store,
                SystemClock(),
                directory=lambda: directory,
                peer=PEER,
            ),
            await store.digests(user.id, PEER),
            oldest,
        )
        with _progress(sum(one.size_bytes for one in found), quiet=as_json) as step:
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
    ) -> None:
        self._user = user
        self._handover = handover
        self._known = known
        self._oldest = oldest

    async def run(
        self, sources: Sequence[Source]
    ) -> AsyncIterator[tuple[list[Row], int]]:
        """Return what came of each batch, and how many bytes of the files it was."""
        batch: list[Found] = []
        size = 0
        for source in sources:
            try:
                for found in mail_files.mails(source):
                    batch.append(found)
                    size += len(found.raw)
                    if len(batch) >= _TOGETHER or size >= _TOGETHER_BYTES:
                        yield await self._take(batch)
                        batch, size = [], 0
            except OSError as error:
                reason = error.strerror or type(error).__name__
                yield [_row(str(source.path), "unreadable", reason=reason)], 0
        if batch:
            yield await self._take(batch)

    async def _take(self, batch: Sequence[Found]) -> tuple[list[Row], int]:
        rows = await asyncio.gather(*(self._one(found) for found in batch))
        return list(rows), sum(found.read_bytes for found in batch)

    async def _one(self, found: Found) -> Row:
        from relay.smtp.handed import digest, with_crlf  # noqa: PLC0415

        if self._oldest is not None and _dated(found.raw) < self._oldest:
            return _row(found.place, "too_old")
        raw = with_crlf(found.raw)
        digested = digest(raw)
        if digested in self._known:
            return _row(found.place, "known")
        self._known.add(digested)
        came = await self._handover.take(self._user, raw, whence=found.place)
        if isinstance(came, str):
            return _row(found.place, "queued", ident=came)
        return _row(found.place, "refused", ident=came.id, reason=came.reason)


def _row(place: str, result: str, *, ident: str | None = None, reason: str = "") -> Row:
    return {"file": place, "result": result, "id": ident, "reason": reason}


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
