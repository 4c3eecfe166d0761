"""The MIME tree of a mail, as its leaves and where each lies in the bytes.

One pass over the bytes from boundary line to boundary line; nothing is copied but
header fields, and only what hides parts is decoded: a multipart that stands in base64
as a whole, against RFC 2045 section 6.4, and what S/MIME has signed or compressed. Its
parts lie in a `Source` of their own, which says where that is in the mail. A forwarded
mail (`message/rfc822`) is one leaf: it is an attachment, and its inside is not read.

Limits keep the cost of a hostile tree bounded: `MAX_PARTS` leaves, `MAX_DEPTH` levels,
`MAX_DELIMITERS` lines that look like boundaries, `MAX_HIDDEN` levels and
`MAX_HIDDEN_BYTES` bytes of what was decoded to be read. Beyond them the parts found so
far stand, and a repair is noted. A tree whose boundary is missing or wrong is read by
the boundary that its body begins with, or else as one text.

Source: RFC 2046 section 5.1; RFC 2045 sections 5.2 (defaults) and 6.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.mail import params, smime
from relay.mail.decode import MAX_CONTENT, whole
from relay.mail.fields import scan_part

if TYPE_CHECKING:
    from relay.mail.fields import Fields, Header

MAX_PARTS: Final = 1_000
"""How many leaves of a mail are read."""

MAX_DEPTH: Final = 100
"""How many multiparts may stand in each other."""

MAX_DELIMITERS: Final = 500_000
"""How many lines beginning with `--` are looked at."""

MAX_HIDDEN: Final = 8
"""How many times what was decoded may hide parts again."""

MAX_HIDDEN_BYTES: Final = 1 << 25
"""How many bytes are decoded to find the parts in them."""

IDENTITY: Final = frozenset({"", "7bit", "8bit", "binary"})
"""Encodings that encode nothing."""

_MAX_BOUNDARY: Final = 1_000  # RFC 2046 allows 70; programs use more
_MULTIPART: Final = "multipart/"
_CALENDAR: Final = "text/calendar"
_GUESS: Final = re.compile(rb"^--([^\s-][^\r\n]{0,200}?)[ \t]*\r?$", re.MULTILINE)
_GUESS_BYTES: Final = 65_536
_ENCODING: Final = re.compile(rb"[A-Za-z0-9-]*")
_HIDING: Final = frozenset({"base64", "quoted-printable"})
# What programs write that leave half of a media type out.
_MEANT: Final = {
    "": "text/plain", "text": "text/plain", "text/": "text/plain",
    "plain": "text/plain", "html": "text/html", "htm": "text/html",
    "multipart": "multipart/mixed", "multipart/": "multipart/mixed",
}  # fmt: skip
_UNKNOWN: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes that parts lie in: the mail itself, or what a part of it was decoded to.

    Of the latter, the bytes of the mail from `start` to `end` hold it in `encoding`.
    """

    raw: bytes
    start: int = 0
    end: int = 0
    encoding: str | None = None

    def place(self, start: int, end: int, encoding: str) -> tuple[int, int, str]:
        """Return where the mail holds what lies here, and in which encoding."""
        if self.encoding is None:
            return start, end, encoding
        words = [self.encoding, f"slice={start}+{end - start}"]
        if encoding not in IDENTITY:
            words.append(encoding)
        return self.start, self.end, " ".join(words).strip()


@dataclass(slots=True)
class Part:
    """A leaf: what its header says, and where its encoded content lies.

    `choice` numbers the multipart/alternative that it stands in, 0 is none; `related`
    says that it stands in a multipart/related; `parent` is the kind of multipart that
    it stands in directly. `method` is that of a text/calendar part, in lower case
    (RFC 6047 section 2.4).
    """

    media_type: str
    charset: str
    encoding: str
    disposition: str
    name: str
    content_id: str
    start: int
    end: int
    source: Source
    choice: int = 0
    related: bool = False
    method: str = ""
    parent: str = ""
    flowed: bool = False
    delsp: bool = False

    def content(
        self, limit: int = MAX_CONTENT, repairs: list[str] | None = None
    ) -> bytes:
        """Return the decoded content of at most `limit` encoded bytes; never fails."""
        data = self.source.raw[self.start : min(self.end, self.start + limit)]
        return (
            data if self.encoding in IDENTITY else whole(data, self.encoding, repairs)
        )

    def place(self, *steps: str) -> tuple[int, int, str]:
        """Return where the mail holds this part, or what `steps` find in it."""
        words = steps if self.encoding in IDENTITY else (self.encoding, *steps)
        return self.source.place(self.start, self.end, " ".join(words))


@dataclass(slots=True)
class _Open:
    """A multipart that is open while its parts are read."""

    boundary: bytes
    kind: str
    choice: int
    related: bool
    start: int
    shadows: int | None
    parts: int = 0


@dataclass(slots=True)
class Tree:
    """The leaves of a mail in order, and what had to be repaired.

    `charset` is the label of the first text: what is raw in a header is in it.
    """

    parts: list[Part] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    charset: str = ""
    choices: int = 0
    depth: int = 0
    room: int = MAX_HIDDEN_BYTES


def read_tree(raw: bytes, header: Header) -> Tree:
    """Find the leaves of a mail whose header has been read; linear in its size."""
    tree = Tree()
    _Reader(Source(raw), tree).read(header.fields, header.body)
    return tree


class _Reader:
    """One walk from boundary to boundary."""

    def __init__(self, source: Source, tree: Tree, within: Part | None = None) -> None:
        self.source = source
        self.raw = source.raw
        self.tree = tree
        self.within = within  # the part whose content this is
        self.open: list[_Open] = []
        self.levels: dict[bytes, int] = {}  # boundary → the innermost level it opens
        self.leaf: Part | None = None
        self.hidden: Fields | None = None  # the header of a leaf that hides a multipart

    def read(self, fields: Fields, body: int) -> None:
        """Add the leaves behind a header to the tree."""
        self._begin(fields, body)
        if not self.open:
            self._finish()
            return
        raw, levels = self.raw, self.levels
        # The line end before the body counts as the one before its first boundary.
        at = raw.find(b"\n--", max(body - 1, 0))
        first = not body and raw.startswith(b"--")
        if first:
            at = -1  # Content without a header has no such line end.
        seen = 0
        while levels and (at >= 0 or first):
            first = False
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
                        self._finish(whole=False)
                        return
                    self.open[level].parts += 1
                    fields, body = scan_part(raw, min(stop + 1, len(raw)))
                    self._begin(fields, body)
                    stop = max(stop, body - 1)
            seen += 1
            if seen >= MAX_DELIMITERS:
                self._note("delimiters_cut")
                break
            at = self._next(stop)
        self._finish()

    def _next(self, position: int) -> int:
        """Return where the next line that begins with `--` has its line end before it.

        There is no hyphen in base64: a single character is looked for much faster.
        """
        raw = self.raw
        if self.leaf and self.leaf.encoding == "base64":
            hyphen = raw.find(b"-", position + 1)
            if hyphen < 0 or raw.startswith(b"\n--", hyphen - 1):
                return max(hyphen - 1, -1)
        return raw.find(b"\n--", position)

    def _begin(self, fields: Fields, body: int) -> None:
        """Begin a part behind its header: a further multipart, or a leaf."""
        inside = self.open[-1] if self.open else None
        digest = inside and inside.kind == "digest"
        default = "message/rfc822" if digest else "text/plain"
        part, boundary = self._describe(fields, default, body)
        if part.media_type.startswith(_MULTIPART):
            if len(self.open) >= MAX_DEPTH:
                self._note("depth_cut")
            else:
                boundary = boundary[:_MAX_BOUNDARY].rstrip()
                if self._hides(part, boundary):
                    self.leaf, self.hidden = part, fields
                    return
                if not inside:
                    boundary = self._check(boundary, body)
                if boundary:
                    self._push(part, boundary, body)
                    return
                self._note("multipart_without_parts")
                part.media_type = "text/plain"
        self.leaf = part

    def _hides(self, part: Part, boundary: bytes) -> bool:
        """Say whether a multipart is encoded as a whole, against the standard."""
        near = part.start + _GUESS_BYTES
        return (
            part.encoding in _HIDING
            and bool(boundary)
            and self.raw.find(b"--" + boundary, part.start, near) < 0
        )

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
            self.tree.choices += 1
            part.choice = self.tree.choices
        self.open.append(
            _Open(
                boundary=boundary,
                kind=kind,
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
            self._add(leaf)

    def _add(self, leaf: Part) -> None:
        """Add a leaf to the tree, or the leaves that it hides."""
        fields, self.hidden = self.hidden, None
        if fields is not None:
            self._open_encoded(leaf, fields)
        elif smime.is_envelope(leaf.media_type, leaf.name):
            self._open_smime(leaf)
        else:
            self.tree.parts.append(leaf)

    def _open_encoded(self, leaf: Part, fields: Fields) -> None:
        """Read a multipart that stands in base64 as a whole."""
        content = self._content(leaf)
        if content is None:
            leaf.media_type = _UNKNOWN
            self.tree.parts.append(leaf)
            return
        self._note("multipart_encoded")
        kept = [(n, v) for n, v in fields if n != "content-transfer-encoding"]
        self._within(leaf, content, "", kept)

    def _open_smime(self, leaf: Part) -> None:
        """Read what S/MIME has signed or compressed; what it encrypted is a file."""
        content = self._content(leaf)
        if content is None:
            self.tree.parts.append(leaf)
            return
        found = smime.read(content)
        self._note(found.note)
        if not found.steps:
            self.tree.parts.append(leaf)
            return
        inner = whole(content, found.steps, limit=MAX_HIDDEN_BYTES)
        self.tree.room -= len(inner)
        self._within(leaf, inner, found.steps)

    def _content(self, leaf: Part) -> bytes | None:
        """Return the content of what hides parts; None: a limit is reached."""
        if self.tree.depth >= MAX_HIDDEN or leaf.end - leaf.start > self.tree.room:
            self._note("hidden_cut")
            return None
        content = leaf.content(repairs=self.tree.repairs)
        self.tree.room -= len(content)
        return content

    def _within(
        self, leaf: Part, content: bytes, steps: str, fields: Fields | None = None
    ) -> None:
        """Read the parts in the content of a leaf."""
        start, end, encoding = leaf.place(*steps.split())
        body = 0
        if fields is None:
            fields, body = scan_part(content, 0)
        self.tree.depth += 1
        source = Source(content, start, end, encoding)
        _Reader(source, self.tree, leaf).read(fields, body)
        self.tree.depth -= 1

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
                part, _ = self._describe([], "text/plain", closed.start)
                part.choice, part.related = closed.choice, closed.related
                self.leaf = part
                self._end_leaf(at)

    def _finish(self, *, whole: bool = True) -> None:
        """End what is open at the end of the mail."""
        if whole:
            end = len(self.raw)
            if self.leaf and self.open:
                self._note("boundary_not_closed")
            if self.leaf:
                self.leaf.end = max(self.leaf.start, end)
                self._add(self.leaf)
            self._close(0, end)

    def _note(self, repair: str) -> None:
        if repair not in self.tree.repairs:
            self.tree.repairs.append(repair)

    def _describe(self, fields: Fields, default: str, body: int) -> tuple[Part, bytes]:
        """Read the fields that say what a part is; return it, and its boundary."""
        content: dict[str, bytes] = {}
        disposition: dict[str, bytes] = {}
        token, kind, encoding, content_id = None, "", "", ""
        for name, value in reversed(fields):  # the first of several counts
            if name == "content-type":
                token, content = params.read(value)
            elif name == "content-transfer-encoding":
                found = _ENCODING.match(value.strip())
                encoding = found[0].decode("ascii").lower() if found else ""
            elif name == "content-disposition":
                kind, disposition = params.read(value)
            elif name == "content-id":
                content_id = params.text({"": value[:_MAX_BOUNDARY]}, "").strip("<> ")
        label = content.get("charset", b"").decode("ascii", "replace")
        file_name = ""
        if disposition or content:
            raw_in = self.tree.charset or label
            file_name = params.file_name(disposition, content, raw_in)
        media_type = default if token is None else params.media_type(token, "")
        if not media_type:
            media_type = _MEANT.get(token or "", "")
            if file_name and not media_type.startswith(_MULTIPART):
                media_type = _UNKNOWN
            elif not media_type:
                file = kind == "attachment" or encoding == "base64"
                media_type = _UNKNOWN if file else "text/plain"
        if label and media_type.startswith("text/") and not self.tree.charset:
            self.tree.charset = label
        inside = self.open[-1] if self.open else self.within
        calendar = media_type == _CALENDAR
        part = Part(
            media_type=media_type,
            charset=label,
            encoding=encoding,
            disposition=kind,
            name=file_name,
            content_id=content_id,
            start=body,
            end=body,
            source=self.source,
            method=params.text(content, "method").lower() if calendar else "",
            flowed=content.get("format", b"").lower() == b"flowed",
            delsp=content.get("delsp", b"").lower() == b"yes",
        )
        if inside:
            part.choice, part.related = inside.choice, inside.related
            part.parent = inside.kind if isinstance(inside, _Open) else inside.parent
        return part, content.get("boundary", b"")
