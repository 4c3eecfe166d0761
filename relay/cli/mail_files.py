"""Mails that lie in files: `.eml` files, mbox files, Maildir folders.

One mail at a time is in memory. What cannot be read is the caller's to tell: the names
come first, the bytes when they are asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FROM: Final = b"From "
_QUOTED: Final = re.compile(rb"^>(>*From )", re.MULTILINE)
_MAILDIR: Final = ("cur", "new")
_SUFFIXES: Final = (".eml", ".mbox")


@dataclass(frozen=True, slots=True)
class Source:
    """A file with one mail, or an mbox with many."""

    path: Path
    is_mbox: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """One mail: where it stands, its bytes as they are there, and how far that is."""

    place: str
    raw: bytes
    read_bytes: int


def sources(paths: Iterable[Path]) -> Iterator[Source]:
    """Return the files that hold mail, in a lasting order.

    Below a folder, what lies in `cur` or `new` of a Maildir counts, and every `.eml`
    and `.mbox` file.

    Raises:
        OSError: A path is not there or cannot be read.
    """
    for path in paths:
        if not path.is_dir():
            yield _source(path)
            continue
        files = [
            file
            for file in sorted(path.rglob("*"))
            if file.is_file()
            and (file.parent.name in _MAILDIR or file.suffix.lower() in _SUFFIXES)
        ]
        yield from map(_source, files)


def _source(path: Path) -> Source:
    with path.open("rb") as file:
        is_mbox = file.read(len(_FROM)) == _FROM
    return Source(path, is_mbox, path.stat().st_size)


def mails(source: Source) -> Iterator[Found]:
    """Return the mails of a file.

    Raises:
        OSError: It cannot be read any further.
    """
    if not source.is_mbox:
        yield Found(str(source.path), source.path.read_bytes(), source.size_bytes)
        return
    for number, (raw, read) in enumerate(_split(source.path), 1):
        yield Found(f"{source.path}#{number}", raw, read)


def _split(path: Path) -> Iterator[tuple[bytes, int]]:
    """Cut an mbox at each `From ` line after an empty one; undo its `>From ` (mboxrd).

    Source: RFC 4155 appendix A.
    """
    lines: list[bytes] = []
    read = 0
    empty = True
    with path.open("rb") as file:
        for line in file:
            if empty and line.startswith(_FROM):
                if lines:
                    yield _mail(lines), read
                    read = 0
                lines = []
            else:
                lines.append(line)
            read += len(line)
            empty = line in {b"\n", b"\r\n"}
    if lines:
        yield _mail(lines), read


def _mail(lines: list[bytes]) -> bytes:
    if lines[-1] in {b"\n", b"\r\n"}:
        lines = lines[:-1]  # Belongs to the mbox, not to the mail.
    return _QUOTED.sub(rb"\1", b"".join(lines))
