"""Mails that lie in files: `.eml` files, mbox files, Maildir folders.

One mail at a time is in memory, and of one that is too large only its beginning. What
cannot be read is a value, so that it keeps nothing else back.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.cli import mbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAILDIR: Final = ("cur", "new")
_SUFFIXES: Final = (".eml", ".mbox")
_APPLE: Final = ("mbox", ".mbox")
"""Name of the file, and suffix of the folder around it, that Apple Mail exports."""
_MAY_BE_SEVERAL: Final = (
    "it may be several mails, lines that could begin one: {}; "
    "write >From where it is text, and an empty line in front where it is not"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file with one mail, or an mbox with many."""

    path: Path
    is_mbox: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder, or the rest of one, that cannot be read."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """One mail.

    Attributes:
        place: Where it stands.
        raw: Its bytes as they are there; only some of them if they are too many.
        size_bytes: How many there are.
        read_bytes: How far in the file that is.
        note: What could be read in another way; empty: nothing.
    """

    place: str
    raw: bytes
    size_bytes: int
    read_bytes: int
    note: str = ""


def sources(paths: Iterable[Path]) -> Iterator[Source | Unreadable]:
    """Return the files that hold mail, in a lasting order.

    Below a folder, what lies in `cur` or `new` of a Maildir counts, and every `.eml`
    and `.mbox` file.
    """
    for path in paths:
        if path.is_dir():
            yield from _below(path)
        else:
            yield _source(path)


def _below(folder: Path) -> Iterator[Source | Unreadable]:
    closed: list[Unreadable] = []

    def note(error: OSError) -> None:
        closed.append(Unreadable(Path(error.filename), _reason(error)))

    for where, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        here = Path(where)
        for name in sorted(names):
            file = here / name
            if (
                here.name in _MAILDIR
                or file.suffix.lower() in _SUFFIXES
                or (name, here.suffix.lower()) == _APPLE
            ):
                yield _source(file)
    yield from closed


def _source(path: Path) -> Source | Unreadable:
    try:
        facts = path.stat()
        # A pipe would be waited for.
        if not stat.S_ISREG(facts.st_mode):
            return Unreadable(path, "it is no file")
        with path.open("rb") as file:
            return Source(path, mbox.is_mbox(file), facts.st_size)
    except OSError as error:
        return Unreadable(path, _reason(error))


def mails(source: Source, limit: int) -> Iterator[Found | Unreadable]:
    """Return the mails of a file; one larger than `limit` bytes is not kept whole."""
    try:
        if source.is_mbox:
            yield from _of_mbox(source, limit)
        else:
            yield _whole(source, limit)
    except OSError as error:
        yield Unreadable(source.path, _reason(error))


def _whole(source: Source, limit: int) -> Found:
    size = source.size_bytes
    with source.path.open("rb") as file:
        raw = file.read(limit + 1 if size <= limit else mbox.BEGINNING)
    return Found(str(source.path), raw, max(size, len(raw)), size)


def _of_mbox(source: Source, limit: int) -> Iterator[Found | Unreadable]:
    with source.path.open("rb") as file, source.path.open("rb") as again:
        done = 0
        for number, span in enumerate(mbox.spans(file), 1):
            place = f"{source.path}#{number}"
            if span.doubtful:
                yield Unreadable(Path(place), _MAY_BE_SEVERAL.format(span.doubtful))
                continue
            raw, size = mbox.read(again, span, limit)
            note = ""
            if span.noted:
                note = f"lines taken as text that begin with From: {span.noted}"
            yield Found(place, raw, size, span.stop - done, note)
            done = span.stop


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
