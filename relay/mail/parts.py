"""The MIME tree of a mail, as its leaves and where each lies in the bytes.

One pass over the bytes from boundary line to boundary line; nothing is decoded and
nothing copied but header fields. A forwarded mail (`message/rfc822`) is one leaf: it
is an attachment, and its inside is not read.

Limits keep the cost of a hostile tree bounded: `MAX_PARTS` leaves, `MAX_DEPTH` levels
and `MAX_DELIMITERS` lines that look like boundaries. Beyond them the parts found so far
stand, and a repair is noted. A tree whose boundary is missing or wrong is read by the
boundary that its body begins with, or else as one text.

Source: RFC 2046 section 5.1; RFC 2045 section 5.2 (defaults).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.mail import params
from relay.mail.fields import scan_part
from relay.mail.words import from_base64

if TYPE_CHECKING:
    from relay.mail.fields import Fields, Header

MAX_PARTS: Final = 1_000
"""How many leaves of a mail are read."""

MAX_DEPTH: Final = 100
"""How many multiparts may stand in each other."""

MAX_DELIMITERS: Final = 500_000
"""How many lines beginning with `--` are looked at."""

_MAX_BOUNDARY: Final = 1_000  # RFC 2046 allows 70; programs use more
_MULTIPART: Final = "multipart/"
_CALENDAR: Final = "text/calendar"
_GUESS: Final = re.compile(rb"^--([^\s-][^\r\n]{0,200}?)[ \t]*\r?$", re.MULTILINE)
_GUESS_BYTES: Final = 65_536
_ENCODING: Final = re.compile(rb"[A-Za-z0-9-]*")


@dataclass(slots=True)
class Part:
    """A leaf: what its header says, and where its encoded content lies.

    `choice` numbers the multipart/alternative that it stands in, 0 is none; `related`
    says that it stands in a multipart/related. `method` is that of a text/calendar
    part, in lower case (RFC 6047 section 2.4).
    """

    media_type: str
    charset: str
    encoding: str
    disposition: str
    name: str
    content_id: str
    start: int
    end: int
    choice: int = 0
    related: bool = False
    method: str = ""

    def content(self, raw: bytes, limit: int) -> bytes:
        """Return the decoded content of at most `limit` encoded bytes; never fails."""
        data = raw[self.start : min(self.end, self.start + limit)]
        if self.encoding == "base64":
            return from_base64(data)
        if self.encoding == "quoted-printable":
            return binascii.a2b_qp(data)
        return data


@dataclass(slots=True)
class _Open:
    """A multipart that is open while its parts are read."""

    boundary: bytes
    digest: bool
    choice: int
    related: bool
    start: int
    shadows: int | None
    parts: int = 0


@dataclass(slots=True)
class Tree:
    """The leaves of a mail in order, and what had to be repaired."""

    parts: list[Part] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)


def read_tree(raw: bytes, header: Header) -> Tree:
    """Find the leaves of a mail whose header has been read; linear in its size."""
    return _Reader(raw).read(header)


class _Reader:
    """One walk from boundary to boundary."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.tree = Tree()
        self.open: list[_Open] = []
        self.levels: dict[bytes, int] = {}  # boundary → the innermost level it opens
        self.leaf: Part | None = None
        self.choices = 0

    def read(self, header: Header) -> Tree:
        self._begin(header.fields, header.body)
        if not self.open:
            return self._finish()
        raw, levels = self.raw, self.levels
        # The line end before the body counts as the one before its first boundary.
        at = raw.find(b"\n--", max(header.body - 1, 0))
        seen = 0
        while at >= 0 and levels:
            start = at + 3
            stop = raw.find(b"\n", start)
            if stop < 0:
                stop = len(raw)
            text = raw[start : min(stop, start + _MAX_BOUNDARY)].rstrip()
            level, closing = levels.get(text), False
            if level is None and text.endswith(b"--"):
                level, closing = levels.get(text[:-2].rstrip()), True
            if level is not None:
                self._end_leaf(at)
                self._close(level + (not closing), at)
                if not closing:
                    if len(self.tree.parts) >= MAX_PARTS:
                        self._note("parts_cut")
                        return self._finish(whole=False)
                    self.open[level].parts += 1
                    fields, body = scan_part(raw, min(stop + 1, len(raw)))
                    self._begin(fields, body)
                    stop = max(stop, body - 1)
            seen += 1
            if seen >= MAX_DELIMITERS:
                self._note("delimiters_cut")
                break
            at = raw.find(b"\n--", stop)
        return self._finish()

    def _begin(self, fields: Fields, body: int) -> None:
        """Begin a part behind its header: a further multipart, or a leaf."""
        inside = self.open[-1] if self.open else None
        default = "message/rfc822" if inside and inside.digest else "text/plain"
        part, boundary = _describe(fields, default, body)
        if inside:
            part.choice, part.related = inside.choice, inside.related
        if part.media_type.startswith(_MULTIPART):
            if len(self.open) >= MAX_DEPTH:
                self._note("depth_cut")
            else:
                boundary = boundary[:_MAX_BOUNDARY].rstrip()
                if not inside:
                    boundary = self._check(boundary, body)
                if boundary:
                    self._push(part, boundary, body)
                    return
                self._note("multipart_without_parts")
                part.media_type = "text/plain"
        self.leaf = part

    def _check(self, boundary: bytes, body: int) -> bytes:
        """Return the boundary of the whole mail, or the one its body begins with."""
        raw = self.raw
        if boundary and raw.find(b"--" + boundary, body) >= 0:
            return boundary
        guess = _GUESS.search(raw[body : body + _GUESS_BYTES])
        if not guess:
            return b""
        self._note("boundary_guessed")
        return guess[1]

    def _push(self, part: Part, boundary: bytes, body: int) -> None:
        kind = part.media_type.removeprefix(_MULTIPART)
        if kind == "alternative":
            self.choices += 1
            part.choice = self.choices
        self.open.append(
            _Open(
                boundary=boundary,
                digest=kind == "digest",
                choice=part.choice,
                related=part.related or kind == "related",
                start=body,
                shadows=self.levels.get(boundary),
            )
        )
        self.levels[boundary] = len(self.open) - 1

    def _end_leaf(self, at: int) -> None:
        """End the leaf before the line end at `at`, which belongs to the boundary."""
        leaf, self.leaf = self.leaf, None
        if leaf:
            if at > leaf.start and self.raw[at - 1 : at] == b"\r":
                at -= 1
            leaf.end = max(leaf.start, at)
            self.tree.parts.append(leaf)

    def _close(self, level: int, at: int) -> None:
        """Close every multipart from `level` inwards."""
        while len(self.open) > level:
            closed = self.open.pop()
            if closed.shadows is None:
                del self.levels[closed.boundary]
            else:
                self.levels[closed.boundary] = closed.shadows
            if not closed.parts and at > closed.start:
                # Its boundary never came: what is in there is not lost.
                self._note("multipart_without_parts")
                part, _ = _describe([], "text/plain", closed.start)
                part.choice, part.related = closed.choice, closed.related
                self.leaf = part
                self._end_leaf(at)

    def _finish(self, *, whole: bool = True) -> Tree:
        """End what is open at the end of the mail."""
        if whole:
            end = len(self.raw)
            if self.leaf and self.open:
                self._note("boundary_not_closed")
            if self.leaf:
                self.leaf.end = max(self.leaf.start, end)
                self.tree.parts.append(self.leaf)
            self._close(0, end)
        return self.tree

    def _note(self, repair: str) -> None:
        if repair not in self.tree.repairs:
            self.tree.repairs.append(repair)


def _describe(fields: Fields, default: str, body: int) -> tuple[Part, bytes]:
    """Read the fields that say what a part is; return it, and its boundary."""
    content: dict[str, bytes] = {}
    disposition: dict[str, bytes] = {}
    media_type, kind, encoding, content_id = default, "", "", ""
    for name, value in reversed(fields):  # the first of several counts
        if name == "content-type":
            token, content = params.read(value)
            media_type = params.media_type(token, "text/plain")
        elif name == "content-transfer-encoding":
            found = _ENCODING.match(value.strip())
            encoding = found[0].decode("ascii").lower() if found else ""
        elif name == "content-disposition":
            kind, disposition = params.read(value)
        elif name == "content-id":
            content_id = params.text({"": value[:_MAX_BOUNDARY]}, "").strip("<> ")
    part = Part(
        media_type=media_type,
        charset=content.get("charset", b"").decode("ascii", "replace"),
        encoding=encoding,
        disposition=kind,
        name=params.file_name(disposition, content) if disposition or content else "",
        content_id=content_id,
        start=body,
        end=body,
    )
    if media_type == _CALENDAR:
        part.method = params.text(content, "method").lower()
    return part, content.get("boundary", b"")
