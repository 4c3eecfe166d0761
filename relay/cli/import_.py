"""`relay import`: log mail that was written before the relay was there."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli import mail_files
from relay.cli.entry import (
    FAILED,
    Failure,
    RelayCommand,
    open_store,
    run,
    settings,
    since_option,
)
from relay.cli.output import clean, json_option, print_json
from relay.core.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from relay.cli.mail_files import Found, Source, Unreadable
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import User
    from relay.intake import Accepted, Intake, Refused

PEER: Final = "import"
_TOGETHER: Final = 64
"""Mails that share a commit."""
_TOGETHER_BYTES: Final = 16 * 1024 * 1024
_DATE: Final = "date"
_STOPS: Final = {"disk_full": StoreFull, "store_unavailable": StoreUnavailable}
"""Reasons that end the import: the next mail would be refused for the same."""

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
    "--user",
    "who",
    metavar="USER",
    required=True,
    help="The user for whom the mail is logged.",
)
@since_option("Skip mail with an earlier Date.", "TIME")
@json_option
def import_(
    paths: tuple[Path, ...], who: str, since: datetime | None, *, as_json: bool
) -> None:
    """Queue mail from files: .eml, mbox, Maildir, or folders of them.

    The rules are those of SMTP: the author of a mail must be an accepted address of the
    user. After an interruption, run the command again: it skips mail that the store
    already has with the same content.

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
        if counts["held"]:
            click.echo(
                f"{counts['held']} held, because nothing proves their author: "
                "relay log --state held"
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
    from relay.intake import Intake, Senders  # noqa: PLC0415 - reads mail, 0.1 s
    from relay.sender.authenticate import Authenticator  # noqa: PLC0415 - dkimpy
    from relay.sender.resolver import resolver_of  # noqa: PLC0415 - dnspython
    from relay.smtp.replies import reply_line  # noqa: PLC0415 - aiosmtpd

    loaded.require_domains()
    counts: Counter[str] = Counter()
    found = list(mail_files.sources(paths))
    if not found:
        text = "no mail found: name .eml or mbox files, or folders with .eml or Maildir"
        raise Failure(text)
    async with open_store(loaded) as store:
        user = await store.directory.find_user(who)
        directory = loaded.directory(await store.directory.load())
        clock = SystemClock()
        resolver = resolver_of(loaded.dns, clock)
        authenticator = Authenticator(
            resolver, clock, sealers=loaded.sender.arc_sealers
        )
        intake = Intake(
            loaded.smtp,
            store,
            clock,
            directory=lambda: directory,
            inline_bytes=loaded.store.inline_bytes,
            min_free_bytes=loaded.store.min_free_bytes,
            reply_line=reply_line,
            senders=Senders(
                loaded.sender,
                clock,
                settings=lambda: directory.settings,
                facts=store.sender,
                authenticator=authenticator,
            ),
        )
        known = await store.messages.digests(user.id, PEER)
        limit = loaded.smtp.max_message_bytes
        importer = _Importer(user, intake, clock, known, oldest, limit)
        try:
            with _progress(_size(found), quiet=as_json) as step:
                async for rows, read in importer.run(found):
                    step(read)
                    _report(rows, counts, as_json=as_json)
        finally:
            await intake.close()
            await authenticator.close()
            await resolver.close()
    return counts


class _Importer:
    """Gives mails to the intake, as many at a time as share a commit."""

    def __init__(
        self,
        user: User,
        intake: Intake,
        clock: Clock,
        known: set[str],
        oldest: datetime | None,
        limit: int,
    ) -> None:
        self._limit = limit
        self._addressees = [intake.relay_address(user)]
        self._intake = intake
        self._clock = clock
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
        from relay.intake import Refused, with_crlf  # noqa: PLC0415

        place, note = found.place, found.note
        if self._oldest is not None and _dated(found.raw) < self._oldest:
            return _row(place, "too_old", note=note)
        raw = with_crlf(found.raw)
        if found.size_bytes <= self._limit:
            digest = hashlib.sha256(raw).hexdigest()
            if digest in self._known:
                return _row(place, "known", note=note)
            self._known.add(digest)
        outcome = await self._accept(place, raw, found.size_bytes)
        if not isinstance(outcome, Refused):
            (kept, *_) = outcome.recipients
            result = "held" if kept.held_for else "queued"
            return _row(
                place, result, ident=kept.message_id, reason=kept.held_for, note=note
            )
        refusal = outcome.refusals[0]
        if refusal.reason in _STOPS:
            raise _STOPS[refusal.reason](refusal.detail)
        return _row(
            place, "refused", ident=refusal.id, reason=refusal.reason, note=note
        )

    async def _accept(
        self, place: str, raw: bytes, size_bytes: int
    ) -> Accepted | Refused:
        """Give one mail to the intake; of one that is too large `raw` is the beginning.

        Its size is known, so the intake refuses it before its first byte.
        """
        from relay.core.model import Step  # noqa: PLC0415
        from relay.intake import Origin, Rejection  # noqa: PLC0415

        step = Step(self._clock.now(), PEER, "accepted", place)
        origin = Origin(PEER, step, door=PEER, door_detail=place)
        mail = self._intake.begin(origin, self._addressees, expected_bytes=size_bytes)
        if isinstance(mail, Rejection):
            return await self._intake.refuse(origin, self._addressees, mail)
        if mail.content.add(raw):
            await mail.content.flush()
        return await self._intake.accept(mail)


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


def _report(rows: Sequence[Row], counts: Counter[str], *, as_json: bool) -> None:
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
