"""Quoted history: the earlier mails that a reply carries along below its own words.

`without_quotes` takes it off text and HTML where it is sure: in the text a header, in
any language in which forwards are read, with the line above it (`-----Original
Message-----`), or lines with `>` below one that says who wrote when; in HTML the
elements in which Gmail, Outlook, Apple Mail, Thunderbird, Yahoo and others put it.
Nothing may follow it.

Unsure keeps the text: answers between quotes, a quotation without an author, history
above the answer with more of it below, and every forward, whose quoted mail is what it
is about. Where one of the two forms is sure, the other follows it, so that what was
taken off the text is not shown by the HTML.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.mail.forward import (
    MAX_LINES,
    history_start,
    may_be_forward,
    quoted_from,
)
from relay.mail.html import html_to_text

if TYPE_CHECKING:
    from relay.core.model import Email

_QUOTED: Final = re.compile(r"[ \t]*>")
_DATED: Final = re.compile(
    r"@|\b(?:19|20|25)\d\d(?!\d)|\d{1,2}[./-]\d{1,2}|\d{1,2}:\d\d"
)
"""What the line that introduces a quoted mail has: an address, a date or a time."""
_INTRO_LINES: Final = 3
_LONGEST_INTRO: Final = 400
_NEAR: Final = 4
"""Lines from the top of a part to the header of the mail that is quoted there."""
_MAX_PARTS: Final = 5
"""Parts of HTML that are looked into for such a header."""
_DIRECTION: Final = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

_TAG: Final = re.compile(
    r"<(div|blockquote|section|hr)\b([^<>]{1,1000})", re.IGNORECASE
)
_HOLDS: Final = re.compile(
    r"(?<![\w-])(?:gmail_quote|gmail_extra|yahoo_quoted|protonmail_quote|tutanota_quote"
    r"|moz-cite-prefix|zmail_extra|OLK_SRC_BODY_SECTION"
    r"|(?:ms-outlook-mobile|mail-editor)-reference-message(?:-container)?)(?![\w-])"
    r"|(?<![\w-])type=[\"']?cite(?![\w-])|(?<![\w-])name=[\"']?quote(?![\w-])",
    re.IGNORECASE,
)
"""Attributes of an element that holds the quoted mails, client by client."""
_ABOVE: Final = re.compile(
    r"(?<![\w-])id=[\"']?(?:divRplyFwdMsg|appendonsend|zwchr)(?![\w-])"
    r"|border-top:\s?solid",
    re.IGNORECASE,
)
"""Attributes of what stands above the header of a mail that goes on to the end."""
_BLOCKQUOTE: Final = re.compile(r"<blockquote\b", re.IGNORECASE)


def without_quotes(email: Email) -> Email:
    """Return a mail without those that it quotes; the same where that is not sure."""
    if may_be_forward(email.subject):
        return email
    text = text_without_quotes(email.text)
    html = html_without_quotes(email.html) if email.html else None
    if text is None:
        if html is None:
            return email
        text = html_to_text(html)
    return replace(email, text=text, html=html)


# ---------------------------------------------------------------- text


def text_without_quotes(text: str) -> str | None:
    """Return a text without its quoted history; None where there is none for sure."""
    lines = text.split("\n")
    starts = (history_start(lines), _trailing_quote(lines))
    found = [start for start in starts if start is not None]
    own = lines[: min(found)] if found else _below_a_quote(lines)
    return "\n".join(own).strip("\n") or None


def own_text(text: str) -> str:
    """Return what of a text stands above its quoted history; all of it if unsure."""
    found = text_without_quotes(text)
    return text if found is None else found


def own_words(email: Email) -> str:
    """Return what the author of a mail wrote for sure, for what must be their own will.

    Here unsure is another's: any line with `>`, whatever follows a line that says who
    wrote when, and all from the first header of a mail on, of a forward as well.
    """
    lines = without_quotes(email).text.split("\n")[:MAX_LINES]
    lines = lines[: quoted_from(lines)]
    for number, line in enumerate(lines):
        if line.rstrip()[-1:] not in {":", "\uff1a"} or _QUOTED.match(line):
            continue
        below = next(filter(str.strip, lines[number + 1 :]), ">")
        told = " ".join(lines[max(0, number + 1 - _INTRO_LINES) : number + 1])
        if not _QUOTED.match(below) and _DATED.search(told[-_LONGEST_INTRO:]):
            lines = lines[:number]
            break
    return "\n".join(line for line in lines if not _QUOTED.match(line))


def _trailing_quote(lines: list[str]) -> int | None:
    """Return where the quote begins that ends a text, its introduction included."""
    end = len(lines)
    while end and (not lines[end - 1].strip() or _QUOTED.match(lines[end - 1])):
        end -= 1
    first = next((n for n in range(end, len(lines)) if _QUOTED.match(lines[n])), None)
    return None if first is None else _introduction(lines, first)


def _below_a_quote(lines: list[str]) -> list[str]:
    """Return what stands below the one quote with which a text begins; else nothing."""
    first = next((n for n, line in enumerate(lines) if _QUOTED.match(line)), None)
    start = None if first is None else _introduction(lines, first)
    if first is None or start is None or any(map(str.strip, lines[:start])):
        return []
    end = first
    while end < len(lines) and (_QUOTED.match(lines[end]) or not lines[end].strip()):
        end += 1
    rest = lines[end:]
    return [] if any(map(_QUOTED.match, rest)) else rest


def _introduction(lines: list[str], first: int) -> int | None:
    """Return where the lines begin that say who wrote what is quoted, and when.

    Without any the quote is no mail, or is one that brings its header along.
    """
    at = first
    while at and not lines[at - 1].strip():
        at -= 1
    told = ""
    for start in range(at - 1, max(-1, at - 1 - _INTRO_LINES), -1):
        line = lines[start].strip(_DIRECTION).strip()
        if not line or len(told) > _LONGEST_INTRO:
            break
        if not told and line[-1] not in ":\uff1a":
            break
        told = f"{line} {told}"
        if _DATED.search(told):
            return start
    inside = [_QUOTED.sub("", line, count=1) for line in lines[first:]]
    return first if history_start(inside) in range(_NEAR) else None


# ---------------------------------------------------------------- HTML


def html_without_quotes(html: str) -> str | None:
    """Return HTML without its quoted history; None where there is none for sure."""
    parts = 0
    for found in _TAG.finditer(html):
        if _HOLDS.search(found[2]):
            ends_here = _is_last(html, found[1], found.start())
        elif parts < _MAX_PARTS and _ABOVE.search(found[2]):
            parts += 1
            ends_here = _begins_with_header(html[found.start() :])
        else:
            continue
        if ends_here:
            own = html[: found.start()]
            return own if html_to_text(own).strip() else None
        if _HOLDS.search(found[2]):
            return None
    return None


def _is_last(html: str, name: str, start: int) -> bool:
    """Say whether an element holds one quoted mail, and nothing is written below it.

    What is written between quotes would be lost with them.
    """
    inner = _BLOCKQUOTE.search(html, start)
    if inner:
        name, start = "blockquote", inner.start()
    return not html_to_text(html[_end_of(html, name, start) :]).strip()


def _end_of(html: str, name: str, start: int) -> int:
    """Return where an element ends that begins at `start`; nested ones are counted."""
    depth = 0
    for found in re.compile(rf"<(/?){name}\b", re.IGNORECASE).finditer(html, start):
        depth += -1 if found[1] else 1
        if depth == 0:
            return html.find(">", found.end()) + 1 or len(html)
    return len(html)


def _begins_with_header(html: str) -> bool:
    lines = html_to_text(html).split("\n")
    lines = [line for line in lines if line.strip("-_ ")]
    return history_start(lines) in range(_NEAR)
