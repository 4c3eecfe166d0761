"""Forwards: the mail within a mail, in the words of many programs and languages.

A forward shows itself by two of three things: the prefix of its subject (`Fwd:`), a
line above the forwarded mail (`Begin forwarded message:`), and a header in the text
(From, Date, To, Subject, in any language and order). A reply has such a header below
it, too: without prefix and line it is none. Where the signs do not agree, there is no
forward but a reason (`Unsure`): no guess names people that a mail is not about.

Only the outermost forward counts. The people of those within it are not in this mail;
they are read to `MAX_LEVELS` levels for identity and trace.

    no_header           a prefix or a line says forward, and no header follows
    no_address          the line of the sender names no address
    several_senders     it names several, and not who wrote on whose behalf
    no_mark             there is a header, and nothing says whether this is a reply
    reply_of_forward    the subject says reply, a line says forward

What is harmless changes nobody: quote marks before the lines, other line widths, blank
lines between them, a single `From:` line in a footer.

The cost is linear in the text, for a fixed number of levels.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core.addresses import address_key
from relay.core.model import Forward
from relay.mail.addresses import mailboxes
from relay.mail.forward_labels import (
    CC,
    DATE,
    FORWARDED,
    FROM,
    LABELS,
    LONGEST_LABEL,
    ON_BEHALF,
    ORIGINAL,
    OTHER,
    PREFIXES,
    REPLIES,
    SUBJECT,
    TO,
    WEAK,
)
from relay.mail.local_dates import parse_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from relay.core.model import Mailbox

MAX_LEVELS: Final = 8
"""How deep forwards within forwards are read."""

MAX_LINES: Final = 5_000
"""Within how many lines a forwarded mail must begin."""

_UNMARKED_LINES: Final = 2_000
_MAX_LINE: Final = 2_000
_MAX_FIELD: Final = 100_000
_MAX_OTHERS: Final = 8
_LABEL_WORDS: Final = 4
_NEAR: Final = 4
"""Lines between a line above a header, and the header."""

NO_HEADER: Final = "no_header"
NO_ADDRESS: Final = "no_address"
SEVERAL: Final = "several_senders"
NO_MARK: Final = "no_mark"
REPLY: Final = "reply_of_forward"

_KEY_LENGTH: Final = 512
_WIDE: Final = 50  # A line shorter than this was not broken by a program.
_MAX_MORE: Final = {FROM: 3, DATE: 1, SUBJECT: 3, TO: 400, CC: 400, OTHER: 3}

_QUOTE: Final = re.compile(r"[ \t]*(?:[>|] ?)+")
_BARE_QUOTE: Final = re.compile(r"[ \t]*[>|] ?")
_INVISIBLE: Final = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_RULE: Final = re.compile(r"[-_=*\u2010-\u2015\u2500]{8,}")
_AROUND: Final = (
    " \t-_=*~#<>|:\uff1a\u2010\u2011\u2012\u2013\u2014\u2015\u2500\u3010\u3011[]"
)
_DECORATED: Final = re.compile(r"[-=*_~\u2010-\u2015\u2500]{2,}")
_PREFIX: Final = re.compile(
    r"\s*(?:\[[^\[\]]{1,40}\]\s*)?\[?"
    r"([^\s:\uff1a\[\]()]{1,14}(?: [^\s:\uff1a\[\]()]{1,14})?)\s*"
    r"(?:\[\d{1,3}\]|\(\d{1,3}\))?\s*[:\uff1a]\s*"
)
_MAILTO: Final = re.compile(r"[\[<(]\s*mailto:([^\s\[\]<>()]+)\s*[\])>]", re.IGNORECASE)
_TWICE: Final = re.compile(r"<([^<>\s@]{1,64}@[^<>\s@]{1,255})<[^<>]{0,300}>>")
_DOUBLE: Final = re.compile(
    r"(?<!\S)([^\s@<>]{1,64}@[^\s@<>]{1,255})\s{1,9}<\1>", re.IGNORECASE
)
_LINK: Final = re.compile(
    r"<a\s[^<>]{0,300}?href=[\"']?mailto:([^\s\"'<>?]{3,254}+)[^<>]{0,300}+>"
    r"([^<>@]{0,200})(</a>)",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"\w+")
_TARGETS: Final = re.compile(
    r"<[^<>\s]{3,2000}>|https?://[^\s<>]+|\[(?:image|cid|https?|mailto):[^\[\]]*\]"
)
_WINDOWS: Final = (1536, 6144)
"""Characters within which the letters of a text are looked for."""
_ON_ONE_LINE: Final = re.compile(
    r"[ \t>|]{0,20}(-{3,20} [^-]{3,60} -{3,20})[ \t]{1,9}(\S.*)"
)
_COLON: Final = re.compile(r"[:\uff1a](?!\d)")
_GLUED: Final = re.compile(r"(?<=>)\w{1,20}(?= [^:\uff1a])")
_MAX_TRIES: Final = 3
_MAX_BROKEN: Final = 40
_MAX_COLONS: Final = 200
_INDENT: Final = "    "
_DAY: Final = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}")
_NO_PARENS: Final = str.maketrans("()", "  ")
_BLANKS: Final = re.compile(r"\s+")
_BY: Final = re.compile(
    r"forwarded (?:message from|by)\b|weitergeleitet von\b|transféré par\b",
    re.IGNORECASE,
)
_INVERTED: Final = frozenset({"ad\u0131na", "nevében", "の代理", "대신"})
"""Of these the one who is meant stands first: in Turkish, Hungarian, Japanese, Korean.
"""
_WROTE: Final = re.compile(r"[:\uff1a]\s*$")


class Unsure(NamedTuple):
    """Why a mail that looks like a forward is none that can be told."""

    reason: str


@dataclass(slots=True)
class _Header:
    """A header in a text: its fields, and the lines it takes."""

    fields: dict[str, str]
    languages: frozenset[str]
    start: int
    end: int
    above: str = ""  # what the line above says: forwarded, original, rule
    note_end: int = 0
    quoted: bool = False


def content_key(sender: str, subject: str, text: str) -> str:
    """Return the identity of a mail that may be forwarded: equal for each copy of it.

    Of the sender's address, the subject without its prefixes, and the letters and
    digits of the text's beginning: line ends, quote marks, blanks and the targets of
    links differ from one forward to another.
    """
    return digest_of(sender, bare_subject(subject), letters(text))


def digest_of(sender: str, subject: str, told: str) -> str:
    """Return the digest of a sender's address, a bare subject and letters."""
    parts = ("relay-forward-1", address_key(sender) or sender, subject.casefold(), told)
    return sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()


def letters(text: str) -> str:
    """Return the first letters and digits of a text, in lower case."""
    told = ""
    for window in _WINDOWS:
        part = text[:window]
        if "<" in part or "://" in part or "[" in part:
            part = _TARGETS.sub(" ", part)
        told = "".join(_WORD.findall(part.casefold()))[:_KEY_LENGTH]
        if len(told) == _KEY_LENGTH or len(text) <= window:
            break
    return told


def inline_keys(
    key: str, date: datetime | None, people: Iterable[Mailbox]
) -> tuple[str, str]:
    """Return what stands for K1 and K2 of a mail in the text of another.

    Args:
        key: Its content key.
        date: Its date, as far as it could be read.
        people: Its recipients.
    """
    named = sorted({address_key(box.address) or "" for box in people})
    told = "\n".join((key, date.isoformat() if date else "", *named)).encode()
    return (
        sha256(b"relay-inline-1\n" + told).hexdigest(),
        sha256(b"relay-inline-2\n" + told).hexdigest(),
    )


def bare_subject(subject: str) -> str:
    """Return a subject without the prefixes of replies and forwards."""
    for _ in range(MAX_LEVELS):
        prefix, rest = _prefix(subject)
        if not prefix:
            break
        subject = rest
    return _BLANKS.sub(" ", subject).strip(" []")


def _prefix(subject: str) -> tuple[str, str]:
    """Return what the prefix of a subject says (`forward`, `reply`), and the rest."""
    found = _PREFIX.match(subject)
    if not found:
        return "", subject
    word = found[1].casefold().strip("*_")
    rest = subject[found.end() :]
    if word in WEAK:
        return word, rest
    if word in PREFIXES:
        return "forward", rest
    return ("reply", rest) if word in REPLIES else ("", subject)


def is_forward(subject: str) -> bool:
    """Say whether a subject has the prefix of a forward."""
    return _prefix(subject)[0] == "forward"


def may_be_forward(subject: str) -> bool:
    """Say whether a subject has a prefix that in some language is that of a forward."""
    mark = _prefix(subject)[0]
    return bool(mark) and mark != "reply"


def history_start(lines: Sequence[str]) -> int | None:
    """Return the line at which the mail begins that a reply quotes below its text.

    It is the line above the header of that mail, or the header; None where there is
    none, or it stands within quote marks, or is that of a forward.
    """
    header = _find(lines[:MAX_LINES])
    if header is None or header.quoted or header.above == "forwarded":
        return None
    return header.note_end


def quoted_from(lines: Sequence[str]) -> int | None:
    """Return the line at which a text may begin to be another person's; None: none is.

    Any header of a mail counts, and any line that says forwarded or original mail.
    """
    header = _find(lines)
    ends = [header.note_end] if header else []
    said = (n for n, raw in enumerate(lines) if (line := _plain(raw)) and _says(line))
    ends += islice(said, 1)
    return min(ends, default=None)


def _says(line: str) -> bool:
    return _above(line) in {"forwarded", "original"}


def with_addresses(html: str) -> str:
    """Return a page with the addresses of its links where people can see them."""
    return _LINK.sub(r"\2 &lt;\1&gt;\3", html) if "mailto:" in html else html


def read_inline(text: str, subject: str, sender: str = "") -> Forward | Unsure | None:
    """Return the mail that a text forwards; Unsure if the signs do not agree.

    Args:
        text: The text of the mail.
        subject: Its subject.
        sender: The forwarder's address.
    """
    return _read(text.split("\n"), subject, sender, MAX_LEVELS)


def _read(
    lines: list[str], subject: str, sender: str, levels: int
) -> Forward | Unsure | None:
    mark, rest = _prefix(subject)
    lines = _with_lines(lines)
    header = _find(lines[: MAX_LINES if mark else _UNMARKED_LINES])
    if header is None:
        if mark != "forward":
            return None
        return _quoted_mail(lines, rest, sender) or Unsure(NO_HEADER)
    if mark in WEAK:
        spoken = header.languages & WEAK[mark]
        mark = "forward" if spoken or header.above == "forwarded" else "reply"
    if mark == "reply":
        forwarded = header.above == "forwarded" and not header.quoted
        return Unsure(REPLY) if forwarded else None
    if mark != "forward" and header.above != "forwarded":
        return Unsure(NO_MARK)
    return _forward(lines, header, rest, sender, levels)


def _forward(
    lines: list[str], header: _Header, subject: str, sender: str, levels: int
) -> Forward | Unsure:
    """Make the forward of a header and what stands below it."""
    author = _author(header.fields[FROM])
    if isinstance(author, Unsure):
        return author
    below = lines[header.end :]
    if header.quoted:
        below = [_BARE_QUOTE.sub("", line, count=1) for line in below]
    text = "\n".join(below).strip("\n")
    subject = header.fields.get(SUBJECT) or bare_subject(subject)
    inner = _read(below, subject, author.address, levels - 1) if levels > 1 else None
    to, cc = (_people(header.fields.get(name, "")) for name in (TO, CC))
    date = parse_local(header.fields.get(DATE, ""), header.languages)
    key = content_key(author.address, subject, text)
    return Forward(
        how="inline",
        from_=author,
        to=to,
        cc=cc,
        subject=subject,
        date=date,
        text=text,
        note=_note(lines[: header.note_end], header),
        key=key,
        keys=inline_keys(key, date, (*to, *cc)),
        outbound=same_address(author.address, sender),
        inner=inner if isinstance(inner, Forward) else None,
    )


def _note(lines: list[str], header: _Header) -> str:
    """Return what the forwarder wrote above a header."""
    if header.quoted:
        lines = [_BARE_QUOTE.sub("", line, count=1) for line in lines]
    return "\n".join(lines).strip()


# ---------------------------------------------------------------- the header


def _with_lines(lines: list[str]) -> list[str]:
    """Put a header that stands on one line on lines of its own.

    Yahoo writes the line above and all fields without any gap in its plain text:
    `----- Forwarded Message ----- From: A <a@x.example>To: B <b@x.example>Sent: …`. A
    gateway may have broken that into several lines, the last with the subject.
    """
    tries = 0
    for number, line in enumerate(lines[:MAX_LINES]):
        found = _ON_ONE_LINE.match(line[:_MAX_FIELD])
        if not found or _above(found[1]) != "forwarded":
            continue
        tries += 1
        if tries > _MAX_TRIES:
            break
        more = [found[2]]
        for other in lines[number + 1 : number + _MAX_BROKEN]:
            plain = _plain(other)
            if not plain or sum(map(len, more)) > _MAX_FIELD:
                break
            more.append(plain)
        fields, used = _fields(more)
        if len(fields) > 1:
            quote = _QUOTE.match(line)
            mark = quote[0] if quote else ""
            made = [mark + field for field in (found[1], *fields, "")]
            return [*lines[:number], *made, *lines[number + used :]]
    return lines


def _fields(lines: list[str]) -> tuple[list[str], int]:
    """Cut lines before each label of a header; return the fields, and lines used."""
    lines = [_GLUED.sub(_with_colon, line) for line in lines]
    text = " ".join(lines)
    starts: list[int] = []
    kinds: set[str] = set()
    for found in islice(_COLON.finditer(text), _MAX_COLONS):
        end = found.start()
        for start in range(max(0, end - LONGEST_LABEL), end):
            known = LABELS.get(text[start:end].strip().casefold())
            if not known or known[0] in kinds or known[0] == OTHER:
                continue
            # Behind an address a label begins; behind the date one without a gap.
            before = text[:start].rstrip()
            if before and before[-1] not in '>")' and known[0] != SUBJECT:
                continue
            starts.append(start)
            kinds.add(known[0])
            break
        if SUBJECT in kinds:
            break
    if not starts or starts[0]:
        return [], 1
    used, read = 0, 0
    while used < len(lines) and read <= starts[-1]:
        read += len(lines[used]) + 1
        used += 1
    ends = [*starts[1:], max(starts[-1], read - 1)]
    return [text[at:end].strip() for at, end in zip(starts, ends, strict=True)], used


def _with_colon(found: re.Match[str]) -> str:
    """Put the colon behind a label that lacks it, in Polish and Portuguese."""
    known = LABELS.get(found[0].casefold())
    return f"{found[0]}:" if known and known[0] != OTHER else found[0]


def _find(lines: Sequence[str]) -> _Header | None:
    """Return the first header that stands in a text."""
    above, above_at = "", -_NEAR - 1
    for number, raw in enumerate(lines):
        line = _plain(raw)
        if not line:
            continue
        said = _above(line)
        if said:
            # A rule below a line that says more does not say less.
            if said != "rule" or number - above_at > _NEAR or not above:
                above, above_at = said, number
            continue
        label = _label(line, bare=above == "forwarded" and number - above_at <= _NEAR)
        if label is None or label.kind == OTHER:
            continue
        near = above if number - above_at <= _NEAR else ""
        header = _header(lines, number, near)
        if header:
            header.note_end = above_at if near else number
            return header
    return None


def _header(lines: Sequence[str], start: int, above: str) -> _Header | None:
    """Read a header that may begin at a line; None if it is none."""
    fields: dict[str, str] = {}
    spoken: Counter[str] = Counter()
    last = ""
    more = blanks = others = 0
    spaced = True  # So far every field stood by itself, between empty lines.
    width = 0
    number = start
    end = start
    bare = above == "forwarded"
    while number < len(lines):
        line = _plain(lines[number], _MAX_FIELD)
        label = _label(line, bare=bare) if line else None
        if not line:
            blanks += 1
            if blanks > 1 or not _goes_on(lines, number + 1, fields):
                break
            if not spaced and _is_whole(fields):
                break  # What follows is the mail, which may begin with a label.
            number += 1
            continue
        if label and label.kind not in fields and others < _MAX_OTHERS:
            spaced = spaced and (not last or blanks > 0)
            last, more = label.kind, 0
            others += last == OTHER
            if last != OTHER:
                fields[last] = label.value
                spoken.update(label.languages)
        elif label or not last or blanks or more >= _MAX_MORE[last]:
            break
        elif last == OTHER or _continues(
            last, fields[last], lines[number], line, width
        ):
            more += 1
            if last != OTHER and len(fields[last]) < _MAX_FIELD:
                fields[last] = f"{fields[last]} {line}".strip()
        else:
            break
        width = len(line)
        blanks = 0
        number += 1
        end = number
    enough = len(fields) > 1 if above == "forwarded" else _is_whole(fields)
    if FROM not in fields or not enough:
        return None
    best = max(spoken.values(), default=0)
    languages = frozenset(name for name, count in spoken.items() if count == best)
    quoted = _QUOTE.match(lines[start]) is not None
    return _Header(fields, languages, start, end, above, start, quoted)


def _is_whole(fields: dict[str, str]) -> bool:
    """Say whether fields can be those of a mail, with nothing above to say so."""
    return FROM in fields and DATE in fields and (TO in fields or SUBJECT in fields)


def _goes_on(lines: Sequence[str], number: int, fields: dict[str, str]) -> bool:
    """Say whether a header goes on behind an empty line."""
    if number >= len(lines):
        return False
    label = _label(_plain(lines[number]))
    return label is not None and label.kind not in fields and label.kind != OTHER


def _continues(kind: str, value: str, raw: str, line: str, width: int) -> bool:
    """Say whether a line is the rest of a field that was broken."""
    if not value or raw[:1] == "\t":
        return True
    if kind in {TO, CC}:
        open_end = value.endswith((",", ";")) or value.count("<") > value.count(">")
        return open_end or ("@" in line and line.endswith((";", ",", ">")))
    if kind == FROM:
        return "@" not in value or value.count("<") > value.count(">")
    return width >= _WIDE


class _Label(NamedTuple):
    kind: str
    languages: frozenset[str]
    value: str


def _label(line: str, *, bare: bool = False) -> _Label | None:
    """Read a line that begins with a label."""
    head = line[: LONGEST_LABEL + 12]
    end = _colon(head)
    known = LABELS.get(head[:end].strip(" *_|\t.").casefold()) if end >= 0 else None
    if known is None:
        return _bare_label(line, head) if bare else None
    return _Label(known[0], known[1], line[end + 1 :].strip(" *_|\t"))


def _colon(text: str) -> int:
    """Return where the first colon stands, of either width; -1: there is none."""
    ends = [at for at in (text.find(":"), text.find("\uff1a")) if at >= 0]
    return min(ends, default=-1)


def _bare_label(line: str, head: str) -> _Label | None:
    """Read a label without a colon, below a line that says forward (eM Client)."""
    words = head.split(None, _LABEL_WORDS)
    for count in range(min(_LABEL_WORDS, len(words) - 1), 0, -1):
        known = LABELS.get(" ".join(words[:count]).casefold())
        if known and known[0] != OTHER:
            rest = line.split(None, count)[count]
            return _Label(known[0], known[1], rest)
    return None


def _plain(raw: str, limit: int = _MAX_LINE) -> str:
    """Return a line without quote marks, marks of direction and blanks."""
    line = raw[:limit]
    if not line.isascii():
        line = _INVISIBLE.sub("", line).replace("\u00a0", " ").replace("\u202f", " ")
    quote = _QUOTE.match(line)
    if quote:
        line = line[quote.end() :]
    return line.strip()


def _above(line: str) -> str:
    """Say what a line above a header says: `forwarded`, `original`, `rule`."""
    if _RULE.fullmatch(line):
        return "rule"
    if len(line) > 120:  # noqa: PLR2004 - no phrase comes near it
        return ""
    decorated = _DECORATED.match(line) is not None
    if not decorated and line[-1] not in ":\uff1a" and line[0] not in "[<\u3010":
        return ""
    phrase = line.strip(_AROUND).casefold()
    if phrase in FORWARDED or _BY.match(phrase):
        return "forwarded"
    if phrase in ORIGINAL:
        return "original"
    return "rule" if decorated and line[-2:] == line[:2] else ""


# ---------------------------------------------------------------- people


def _author(value: str) -> Mailbox | Unsure:
    """Return who wrote a mail: of two, the one in whose name it was sent."""
    folded = value.casefold()
    for phrase in ON_BEHALF:
        at = folded.find(phrase)
        if at >= 0 and len(folded) == len(value):
            after = value[at + len(phrase) :]
            if phrase in _INVERTED:
                after = value[:at]
            named = _people(after)
            return named[0] if len(named) == 1 else Unsure(SEVERAL)
    people = _people(value)
    if not people:
        return Unsure(NO_ADDRESS)
    return people[0] if len(people) == 1 else Unsure(SEVERAL)


def _people(value: str) -> tuple[Mailbox, ...]:
    """Return the mailboxes of a line, each address once."""
    if "@" not in value:
        return ()
    value = _TWICE.sub(r"<\1>", _MAILTO.sub(r"<\1>", _TWICE.sub(r"<\1>", value)))
    value = _DOUBLE.sub(r"<\1>", value)
    found = mailboxes([value.encode("utf-8", "replace")])
    once: dict[str, Mailbox] = {}
    for box in found:
        key = address_key(box.address)
        if key and (key not in once or (box.name and not once[key].name)):
            once[key] = box
    return tuple(once.values())


def same_address(one: str, other: str) -> bool:
    """Say whether two addresses are one."""
    key = address_key(one)
    return key is not None and key == address_key(other)


# ---------------------------------------------------------------- plain quotes


def _quoted_mail(lines: list[str], subject: str, sender: str) -> Forward | None:
    """Read a forward that only quotes: a line names the author, quotes follow.

    Outlook for Mac marks no lines, but sets them in by four blanks; as people do that
    as well, the line above must name a day.
    """
    for number, line in enumerate(lines[:MAX_LINES]):
        marked = _BARE_QUOTE.match(line) is not None
        set_in = line.startswith(_INDENT) and number > 0 and not lines[number - 1]
        if not (marked or set_in) or not line.strip("> \t|"):
            continue
        first = number
        while first and not lines[first - 1].strip():
            first -= 1
        intro = ""
        for above in range(first - 1, max(-1, first - 4), -1):
            intro = f"{lines[above].strip()} {intro}".strip()
            says = _WROTE.search(intro) and (marked or _DAY.search(intro))
            people = _named_in(intro) if says else ()
            if len(people) == 1:
                rest = lines[first:]
                text = "\n".join(
                    _BARE_QUOTE.sub("", one, count=1)
                    if marked
                    else one.removeprefix(_INDENT)
                    for one in rest
                )
                text = text.strip("\n")
                author = _named(people[0])
                key = content_key(author.address, subject, text)
                return Forward(
                    how="inline", from_=author, to=(), cc=(),
                    subject=bare_subject(subject), date=None, text=text,
                    note="\n".join(lines[:above]).strip(),
                    key=key,
                    keys=inline_keys(key, None, ()),
                    outbound=same_address(author.address, sender),
                )  # fmt: skip
        if marked:
            return None
    return None


def _named_in(intro: str) -> tuple[Mailbox, ...]:
    """Return whom the line above a quote names; the address may be in parentheses."""
    intro = intro.rstrip(":\uff1a ")
    return _people(intro) or _people(intro.translate(_NO_PARENS))


def _named(box: Mailbox) -> Mailbox:
    """Return the author of a quote: what stands before the name is no name."""
    words = box.name.rpartition(",")[2].strip()
    return replace(box, name=words if words and not re.search(r"\d", words) else "")
