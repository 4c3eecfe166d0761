"""Which parts of a mail are its letter, which are files, and the text of the letter.

The letter is every text/plain and text/html part that is not marked as an attachment
and has no file name; where all of them have one, the first of them, with its
alternatives: a text that has a name beside one that has none is a file, inline or not
(RFC 2183 section 2.10). The text is made of them in the order of the mail: plain text
as it is, HTML as text where the multipart/alternative it stands in has no plain text
with anything in it, or where it stands in none. So a footer that a list appends to an
HTML mail does not become the whole text. An unnamed part of a multipart/alternative
is the letter once more (AMP, watch-html, RTF), and no file.

What a letter holds in itself is taken out of it: uuencoded files, `data:` images, the
letter and the files of a winmail.dat. An image is inline if the page shows it by its
`cid:`, or if multipart/related holds it, whatever its disposition says.

All text of a mail together is held to `MAX_TEXT` characters, and so is its HTML; what
is longer is cut, and noted.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from relay.core.model import Attachment
from relay.mail import charsets, images, params, tnef, words
from relay.mail.decode import FOOTER, MISSING, measure, whole
from relay.mail.fields import header_fields
from relay.mail.flowed import enriched_to_text, unflowed, uu_blocks
from relay.mail.html import html_to_text
from relay.mail.parts import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.mail.parts import Part

MAX_TEXT: Final = 1 << 20
"""How many characters of text, and of HTML, are kept of a mail."""

_PLAIN: Final = "text/plain"
_HTML: Final = "text/html"
_ENRICHED: Final = frozenset({"text/enriched", "text/richtext"})
_WRITTEN: Final = frozenset({"text/markdown", "text/x-markdown"})
_MAIN: Final = frozenset({_PLAIN, _HTML, "application/xhtml+xml"})
_LETTER: Final = _MAIN | _ENRICHED | _WRITTEN
_TNEF: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_KEPT: Final = frozenset({"text/calendar", "text/vcard", "text/x-vcard"})
_ENCODINGS: Final = IDENTITY | {"base64", "quoted-printable"}
_PER_CHARACTER: Final = 4
"""Bytes of the longest character that is met."""
_FOREIGN_BYTES: Final = 1 << 18
"""How much of a text is read that is not UTF-8: its charset may have to be guessed."""
_MIN_IMAGE_BYTES: Final = 128
"""Smaller images of a page are dots that hold a place."""
_NAMED_BYTES: Final = 65_536
_META_BYTES: Final = 4_096
_SUBJECT_LENGTH: Final = 80
_NOT_IN_NAMES: Final = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))
_META: Final = re.compile(
    rb"<(?:meta\s[^>]{0,300}?charset|\?xml\s[^>]{0,100}?encoding)\s*=\s*[\"']?\s*"
    rb"([A-Za-z0-9_.:-]{1,40})",
    re.IGNORECASE,
)
_CID: Final = re.compile(r"cid:([^\"'\s<>)]{1,300})", re.IGNORECASE)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_PGP: Final = {
    "-----BEGIN PGP MESSAGE-----": "pgp_encrypted",
    "-----BEGIN PGP SIGNED MESSAGE-----": "pgp_signed",
}


@dataclass(slots=True)
class Body:
    """What a person reads of a mail, and what hangs on it.

    `of_page` says that the text is that of the page, and nothing else.
    """

    text: str = ""
    html: str | None = None
    of_page: bool = False
    attachments: tuple[Attachment, ...] = ()
    repairs: list[str] = field(default_factory=list)


def read_body(parts: Sequence[Part]) -> Body:
    """Read text, HTML and the list of attachments from the leaves of a mail."""
    return _Reader(parts).read()


class _Reader:
    """The letter and the files while they are gathered."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.letter = _letter(parts)
        self.repairs: list[str] = []
        self.files: list[Attachment] = []
        self.room = {False: MAX_TEXT, True: MAX_TEXT}  # by whether it is HTML
        self.tnef: tnef.Content | None = None

    def read(self) -> Body:
        chosen = {id(part) for part in self.letter}
        choices = {part.choice for part in self.letter if part.choice}
        texts: list[tuple[Part, str]] = []
        for part in self.parts:
            if id(part) in chosen:
                texts.append((part, self._text(part)))
            elif _once_more(part, choices):
                self._note("alternative_left_out")
            elif _is_tnef(part):
                self._open_tnef(part)
            else:
                self._attach(part)
        body = Body(repairs=self.repairs)
        self._compose(body, texts)
        body.attachments = _with_inline(self.files, body.html)
        return body

    def _compose(self, body: Body, texts: list[tuple[Part, str]]) -> None:
        """Make one text, and one page, of the letter."""
        with_text = {
            part.choice
            for part, text in texts
            if not _is_html(part) and text and not text.isspace()
        }
        pieces = []
        pages = []
        for part, text in texts:
            if not _is_html(part):
                pieces.append(text)
            else:
                pages.append(text)
                if not part.choice or part.choice not in with_text:
                    pieces.append(html_to_text(text))
        body.text = pieces[0] if len(pieces) == 1 else _join(pieces)
        if pages:
            body.html = "\n".join(pages)
            body.of_page = len(texts) == 1
        if self.tnef and not body.text.strip():
            body.text = self.tnef.text or html_to_text(self.tnef.html)
            body.text = body.text[:MAX_TEXT]
        if self.tnef and self.tnef.html and not body.html:
            body.html = self.tnef.html[:MAX_TEXT]
        for mark, note in _PGP.items():
            if mark in body.text:
                self._note(note)

    # ------------------------------------------------------------ text

    def _text(self, part: Part) -> str:
        """Return the clean text of a part, as much of it as there is room for."""
        is_html = _is_html(part)
        room = self.room[is_html]
        data, cut = self._content(part, room)
        inside = ""
        if is_html and (found := _META.search(data[:_META_BYTES])):
            inside = found[1].decode("ascii")
        codec = charsets.codec_of(part.charset) if part.charset else None
        if len(data) > _FOREIGN_BYTES and _is_foreign(data):
            data, cut = data[:_FOREIGN_BYTES], True
        if data.isascii() and b"\x1b" not in data and codec not in charsets.SEVEN_BIT:
            text = words.clean_bytes(data).decode("ascii")
        else:
            text, right = words.decode(data, part.charset, inside)
            if not right:
                self._note("charset_mended")
            text = words.clean(text)
        if len(text) > room or cut:
            self._note("text_cut")
            text = text[:room]
        if part.media_type in _ENRICHED:
            text = enriched_to_text(text)
            self._note("enriched_read")
        elif part.flowed:
            text = unflowed(text, delsp=part.delsp)
        self.room[is_html] -= len(text)
        return text

    def _content(self, part: Part, room: int) -> tuple[bytes, bool]:
        """Return the bytes of a letter without the files in it; and if they are cut."""
        if part.encoding not in _ENCODINGS:
            self._note("encoding_unknown")
        repairs: list[str] = []
        data = part.content(repairs=repairs)
        if MISSING in repairs or (FOOTER in repairs and _CONTROL.search(data)):
            # It was never base64: what was decoded is no text.
            data = part.source.raw[part.start : part.end]
            repairs = [MISSING]
        else:
            data = self._without_files(part, data)
        for repair in repairs:
            self._note(repair)
        limit = _PER_CHARACTER * room
        return data[:limit], len(data) > limit

    def _without_files(self, part: Part, data: bytes) -> bytes:
        """Take out of a letter what files it holds in itself."""
        if _is_html(part):
            if b"data:" not in data and b"DATA:" not in data:
                return data
            kept, found = images.take_out(data)
            for number, one in enumerate(found, 1):
                self._embedded(
                    part, data, (one.start, one.end), one.encoding,
                    name=one.name(number), media_type=one.media_type,
                )  # fmt: skip
            if len(kept) < len(data):
                self._note("data_images_taken_out")
            return kept
        if b"begin" in data:
            kept_pieces, position = [], 0
            for block in uu_blocks(data):
                kept_pieces.append(data[position : block.start])
                position = block.end
                self._embedded(
                    part, data, (block.first, block.last), block.encoding,
                    name=_only_name(words.decode_header(block.name, part.charset)),
                )  # fmt: skip
                self._note("uuencode_taken_out")
            data = b"".join([*kept_pieces, data[position:]])
        return images.without(data)

    # ------------------------------------------------------------ files

    def _embedded(
        self, part: Part, data: bytes, place: tuple[int, int], encoding: str,
        *, name: str, media_type: str = "application/octet-stream",
    ) -> None:  # fmt: skip
        """Add a file that the content of a part holds between two offsets."""
        start, end = place
        content = whole(data[start:end], encoding) if encoding else data[start:end]
        if media_type.startswith("image/") and len(content) < _MIN_IMAGE_BYTES:
            return
        steps = f"slice={start}+{end - start} {encoding}".strip()
        first, last, chain = part.place(steps)
        self.files.append(
            Attachment(
                name=name,
                content_type=media_type,
                size_bytes=len(content),
                inline=media_type.startswith("image/"),
                start=first,
                end=last,
                encoding=chain,
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )

    def _open_tnef(self, part: Part) -> None:
        """Take the letter and the files out of a winmail.dat."""
        data = part.content()
        found = tnef.read(data)
        if found is None:
            self._note(tnef.UNREADABLE)
            self._attach(part)
            return
        self._note(tnef.OPENED)
        self.tnef = self.tnef or found
        for one in found.files:
            media_type = one.media_type.lower() or "application/octet-stream"
            self._embedded(
                part, data, (one.start, one.end), "",
                name=_only_name(one.name), media_type=media_type,
            )  # fmt: skip

    def _attach(self, part: Part) -> None:
        """Add a part as a file."""
        if part.media_type == "application/pgp-encrypted":
            self._note("pgp_encrypted")
        name = part.name
        if not name and part.media_type == "message/rfc822":
            name = _forwarded_name(part)
        elif not name and part.media_type == "text/calendar":
            name = "invite.ics"
        size, digest = measure(
            part.source.raw, part.start, part.end, part.encoding, self.repairs
        )
        start, end, encoding = part.place()
        self.files.append(
            Attachment(
                name=name,
                content_type=part.media_type,
                size_bytes=size,
                content_id=part.content_id or None,
                inline=part.related and part.disposition != "attachment",
                start=start,
                end=end,
                encoding=encoding,
                sha256=digest,
            )
        )

    def _note(self, repair: str) -> None:
        if repair not in self.repairs:
            self.repairs.append(repair)


def _letter(parts: Sequence[Part]) -> list[Part]:
    """Return the parts that are the letter, in the order of the mail."""
    texts = [
        part
        for part in parts
        if part.media_type in _LETTER and part.disposition != "attachment"
    ]
    if not all(part.name for part in texts):
        texts = [part for part in texts if not part.name]
    elif texts:
        first = texts[0]
        texts = [
            p for p in texts if p is first or (p.choice and p.choice == first.choice)
        ]
    main = [part for part in texts if part.media_type in _MAIN]
    return main or texts


def _once_more(part: Part, choices: set[int]) -> bool:
    """Say whether a part is the letter in a form that nobody needs."""
    return (
        part.parent == "alternative"
        and part.choice in choices
        and not part.name
        and part.disposition != "attachment"
        and part.media_type not in _KEPT
        and not part.media_type.startswith("message/")
    )


def _is_foreign(data: bytes) -> bool:
    """Say whether a text is not UTF-8, or switches charsets by escapes."""
    if b"\x1b" in data or b"\x0e" in data:
        return True
    try:
        data.decode("utf-8")
    except UnicodeError:
        return True
    return False


def _is_html(part: Part) -> bool:
    return part.media_type in {_HTML, "application/xhtml+xml"}


def _is_tnef(part: Part) -> bool:
    return part.media_type in _TNEF or part.name.lower() == "winmail.dat"


def _with_inline(files: list[Attachment], html: str | None) -> tuple[Attachment, ...]:
    """Mark the files that the page shows."""
    shown = {unquote(cid).lower() for cid in _CID.findall(html)} if html else set()
    return tuple(
        replace(one, inline=True)
        if one.content_id and not one.inline and one.content_id.lower() in shown
        else one
        for one in files
    )


def _join(pieces: list[str]) -> str:
    return "\n".join([piece.rstrip("\n") for piece in pieces if piece.strip()])


def _only_name(name: str) -> str:
    """Return a file name without folders."""
    return params.shorten(re.split(r"[/\\]", name.rstrip("/\\"))[-1].strip())


def _forwarded_name(part: Part) -> str:
    """Name a forwarded mail after its subject."""
    head = part.content(_NAMED_BYTES)
    for name, value in header_fields(head):
        if name == "subject":
            subject = words.decode_header(value)[:_SUBJECT_LENGTH].strip(" .")
            if subject:
                return params.shorten(subject.translate(_NOT_IN_NAMES) + ".eml")
            break
    return "message.eml"
