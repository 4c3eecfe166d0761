"""Plain text in the forms that mail gives it: flowed, enriched, with blocks in it.

`unflowed` joins the lines of `format=flowed`; `enriched_to_text` takes the markup off
text/enriched and text/richtext; `uu_blocks` finds uuencoded files in plain text.

Source: RFC 3676 (flowed); RFC 1896 (enriched); RFC 1341 section 7.1.3 (richtext); POSIX
uuencode.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BLOCKS: Final = 200
"""How many uuencoded files of a text are taken out."""

MAX_BLOCK_LINES: Final = 500_000
"""Lines of a uuencoded file that is taken out: 22 MB, as programs write it."""

_SIGNATURE: Final = "-- "
_QUOTES: Final = re.compile(r">*")
_ENRICHED_TAG: Final = re.compile(r"<<|<(/?)([A-Za-z0-9-]{1,60})>")
_LINE_ENDS: Final = re.compile(r"\n+")
_RICH_SIGNS: Final = {"lt": "<", "nl": "\n", "np": "\n\n"}
_BEGIN: Final = re.compile(
    rb"^begin(-base64)? [0-7]{3,4} ([^\r\n]{1,300}+)\r?$", re.MULTILINE
)
# The lines of a block, and the line that ends it; no line can be both.
_UU: Final = re.compile(
    rb"((?:(?:[!-M][ -`]*[ \t]*|[` ]?)\r?\n)*+)end[ \t]*\r?(?=\n|\Z)"
)
_BASE64: Final = re.compile(
    rb"((?:[A-Za-z0-9+/]+={0,2}[ \t]*\r?\n)*+)====[ \t]*\r?(?=\n|\Z)"
)


def unflowed(text: str, *, delsp: bool) -> str:
    r"""Join the lines of a flowed text; its lines end with `\n`.

    A line that ends in a blank goes on in the next one of the same quote depth, but for
    the line that begins a signature. Quotes keep their marks.

    Args:
        text: The text.
        delsp: The blank at the end was put there to mark it, and is taken off.
    """
    out: list[str] = []
    pending: list[str] = []
    depth = 0
    for raw in text.split("\n"):
        quotes = _QUOTES.match(raw)
        level = quotes.end() if quotes else 0
        line = raw[level:].removeprefix(" ")
        if pending and (level != depth or line == _SIGNATURE):
            out.append(_quoted(depth, pending))
            pending = []
        depth = level
        if line.endswith(" ") and line != _SIGNATURE:
            pending.append(line[:-1] if delsp else line)
        else:
            pending.append(line)
            out.append(_quoted(depth, pending))
            pending = []
    if pending:
        out.append(_quoted(depth, pending))
    return "\n".join(out)


def _quoted(depth: int, pieces: list[str]) -> str:
    text = "".join(pieces)
    if not depth:
        return text if text == _SIGNATURE else text.rstrip(" ")
    return (">" * depth + " " + text).rstrip(" ")


def enriched_to_text(text: str) -> str:
    """Return text/enriched, or text/richtext, without its markup."""
    pieces: list[str] = []
    position = hidden = plain = 0
    for tag in _ENRICHED_TAG.finditer(text):
        if not hidden:
            pieces.append(_folded(text[position : tag.start()], plain=plain > 0))
        position = tag.end()
        if not tag[2]:
            pieces.append("" if hidden else "<")
            continue
        name, step = tag[2].lower(), -1 if tag[1] else 1
        if name in {"param", "comment"}:
            hidden = max(0, hidden + step)
        elif name in {"nofill", "verbatim"}:
            plain = max(0, plain + step)
        elif hidden:
            continue
        elif step > 0:
            pieces.append(_RICH_SIGNS.get(name, ""))
        elif name in {"paragraph", "flushleft", "center"}:
            pieces.append("\n")
    if not hidden:
        pieces.append(_folded(text[position:], plain=plain > 0))
    return "".join(pieces).strip("\n")


def _folded(text: str, *, plain: bool) -> str:
    """One line end is a blank, two are one (RFC 1896, "Line Break Rules")."""
    if plain:
        return text
    return _LINE_ENDS.sub(lambda run: "\n" * (len(run[0]) - 1) or " ", text)


class Block(NamedTuple):
    """A file in a text: the whole block, its name, and its encoded content."""

    start: int
    end: int
    name: bytes
    first: int
    last: int
    encoding: str


def uu_blocks(data: bytes) -> Iterator[Block]:
    """Yield the uuencoded files in plain text, in order.

    A block counts if it has an end and each of its lines is of its form: people write
    `begin` at the start of a line, too.
    """
    position = count = 0
    while (found := _BEGIN.search(data, position)) and count < MAX_BLOCKS:
        position = first = found.end() + 1
        block = (_BASE64 if found[1] else _UU).match(data, first)
        if not block or not 0 < block[1].count(b"\n") < MAX_BLOCK_LINES:
            continue
        count += 1
        position = min(block.end() + 1, len(data))
        yield Block(
            found.start(),
            position,
            found[2].strip(),
            first,
            block.end(1),
            "base64" if found[1] else "uuencode",
        )
