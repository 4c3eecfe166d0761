"""Which parts of a mail are its body, which are attachments, and the text of the body.

Body is every text/plain and text/html part that is not marked as an attachment; of
several of one kind, those without a file name (a text file sent inline is a file). The
text is made of them in the order of the mail: plain text as it is, HTML as text where
the multipart/alternative it stands in has no plain text with anything in it, or where
it stands in none. So a footer that a list appends to an HTML mail does not become the
whole text.

All text of a mail together is held to `MAX_TEXT` characters, and so is its HTML; what
is longer is cut, and noted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.core.model import Attachment
from relay.mail import params, words
from relay.mail.decode import measure
from relay.mail.fields import header_fields
from relay.mail.html import html_to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.mail.parts import Part

MAX_TEXT: Final = 1 << 20
"""How many characters of text, and of HTML, are kept of a mail."""

_PLAIN: Final = "text/plain"
_HTML: Final = "text/html"
_IDENTITY: Final = frozenset({"", "7bit", "8bit", "binary"})
_ENCODINGS: Final = _IDENTITY | {"base64", "quoted-printable"}
_NAMED_BYTES: Final = 65_536
_SUBJECT_LENGTH: Final = 80
_NOT_IN_NAMES: Final = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))


@dataclass(slots=True)
class Body:
    """What a person reads of a mail, and what hangs on it."""

    text: str = ""
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    repairs: list[str] = field(default_factory=list)


def read_body(raw: bytes, parts: Sequence[Part]) -> Body:
    """Read text, HTML and the list of attachments from the leaves of a mail."""
    body = Body()
    texts: list[tuple[Part, str]] = []
    attachments: list[Attachment] = []
    room = {_PLAIN: MAX_TEXT, _HTML: MAX_TEXT}
    seen: set[str] = set()
    for part in parts:
        kind = part.media_type
        if kind not in room or not _is_body(part, seen):
            attachments.append(_attachment(raw, part))
            continue
        seen.add(kind)
        text = _read(raw, part, room[kind], body.repairs)
        room[kind] -= len(text)
        texts.append((part, text))
    with_text = {part.choice for part, text in texts if _counts(part, text)}
    pieces = []
    pages = []
    for part, text in texts:
        if part.media_type == _PLAIN:
            pieces.append(text)
        else:
            pages.append(text)
            if not part.choice or part.choice not in with_text:
                pieces.append(html_to_text(text))
    body.text = pieces[0] if len(pieces) == 1 else _join(pieces)
    if pages:
        body.html = "\n".join(pages)
    body.attachments = tuple(attachments)
    return body


def _is_body(part: Part, seen: set[str]) -> bool:
    if part.disposition == "attachment":
        return False
    return not (part.name and part.disposition and part.media_type in seen)


def _counts(part: Part, text: str) -> bool:
    """Say whether a part is plain text with something in it."""
    return part.media_type == _PLAIN and not (not text or text.isspace())


def _join(pieces: list[str]) -> str:
    return "\n".join([piece.rstrip("\n") for piece in pieces if piece.strip()])


def _read(raw: bytes, part: Part, room: int, repairs: list[str]) -> str:
    """Return the clean text of a part, at most `room` characters of it."""
    # The longest encoding of a character that is met: 4 bytes, `=F0=9F=98=80`.
    limit = 12 * room
    data = part.content(raw, limit)
    if part.encoding not in _ENCODINGS:
        _note(repairs, "encoding_unknown")
    if data.isascii() and b"\x1b" not in data and not part.charset.startswith("utf-"):
        text = words.clean_bytes(data).decode("ascii")
    else:
        text, right = words.decode(data, part.charset)
        if not right:
            _note(repairs, "charset_mended")
        text = words.clean(text)
    if len(text) > room or part.end - part.start > limit:
        _note(repairs, "text_cut")
        text = text[:room]
    return text


def _attachment(raw: bytes, part: Part) -> Attachment:
    name = part.name
    if not name and part.media_type == "message/rfc822":
        name = _forwarded_name(raw, part)
    elif not name and part.media_type == "text/calendar":
        name = "invite.ics"
    size, digest = measure(raw, part.start, part.end, part.encoding)
    return Attachment(
        name=name,
        content_type=part.media_type,
        size_bytes=size,
        content_id=part.content_id or None,
        inline=part.disposition == "inline"
        or bool(part.content_id and part.related and not part.disposition),
        start=part.start,
        end=part.end,
        encoding=part.encoding,
        sha256=digest,
    )


def _forwarded_name(raw: bytes, part: Part) -> str:
    """Name a forwarded mail after its subject."""
    head = part.content(raw, _NAMED_BYTES)
    for name, value in header_fields(head):
        if name == "subject":
            subject = words.decode_header(value)[:_SUBJECT_LENGTH].strip(" .")
            if subject:
                return params.shorten(subject.translate(_NOT_IN_NAMES) + ".eml")
            break
    return "message.eml"


def _note(repairs: list[str], repair: str) -> None:
    if repair not in repairs:
        repairs.append(repair)
