"""The bytes of a mail become an `Email`.

`parse` gives an `Email`, or raises `UnparsableMessage` where the bytes hold no header
field at all: a mail without one says neither who wrote it nor to whom. Everything
else is read as far as it goes, and `Email.repairs` says what was wrong:

    header_cut, fields_cut          the header is longer than `fields` reads
    header_line_ignored             a line in the header is no field
    body_separator_missing          no empty line behind the header
    boundary_guessed, boundary_not_closed, multipart_without_parts
    parts_cut, depth_cut, delimiters_cut    limits of `parts`; the first parts are read
    encoding_unknown, charset_mended, text_cut
    from_missing, from_repeated     no From field, or several
    addresses_cut                   more entries in an address field than are read
    date_unreadable                 there is a Date field, and no date in it
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from relay.core.errors import UnparsableMessage
from relay.core.model import Email
from relay.mail.addresses import is_cut, mailboxes
from relay.mail.automatic import recognise
from relay.mail.body import read_body
from relay.mail.dates import parse_date
from relay.mail.fields import scan
from relay.mail.identity import keys
from relay.mail.parts import read_tree
from relay.mail.words import clean, decode, decode_header

if TYPE_CHECKING:
    from datetime import datetime

    from relay.mail.fields import Header

MAX_HEADERS: Final = 65_536
"""How many bytes of the header block are kept as text."""

_ADDRESSES: Final = ("from", "to", "cc", "bcc", "reply-to")
_READ: Final = {
    "from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id",
    "in-reply-to", "references",
}  # fmt: skip
_IDENT: Final = re.compile(r"<[^<>]+>")


def parse(raw: bytes) -> Email:
    """Read a mail; the time taken is linear in its size.

    Raises:
        UnparsableMessage: The bytes hold no header field. Nothing else is raised,
            whatever the bytes are.
    """
    header = scan(raw)
    if not header.fields:
        text = "the mail has no header field" if raw.strip() else "the mail is empty"
        raise UnparsableMessage(text)
    values: dict[str, list[bytes]] = {}
    for name, value in header.fields:
        if name in _READ:
            values.setdefault(name, []).append(value)
    tree = read_tree(raw, header)
    body = read_body(raw, tree.parts)
    repairs = [*header.repairs, *tree.repairs, *body.repairs]
    date = _date(values.get("date", []), repairs)
    senders = values.get("from", [])
    if len(senders) != 1:
        repairs.append("from_repeated" if senders else "from_missing")
    if any(is_cut(values[name]) for name in _ADDRESSES if name in values):
        repairs.append("addresses_cut")
    key1, key2 = keys(raw, header)
    ids = _idents(values.get("message-id", [])[:1])
    return Email(
        from_=mailboxes(senders),
        to=mailboxes(values.get("to", ())),
        cc=mailboxes(values.get("cc", ())),
        bcc=mailboxes(values.get("bcc", ())),
        reply_to=mailboxes(values.get("reply-to", ())),
        subject=decode_header(values["subject"][0]) if "subject" in values else "",
        date=date,
        message_id=ids[0] if ids else None,
        in_reply_to=_idents(values.get("in-reply-to", [])),
        references=_idents(values.get("references", [])),
        text=body.text,
        html=body.html,
        attachments=body.attachments,
        headers=_header_text(raw, header),
        key1=key1,
        key2=key2,
        repairs=tuple(repairs),
        automatic=recognise(
            header.fields,
            next((part.method for part in tree.parts if part.method), ""),
        ),
    )


def _date(values: list[bytes], repairs: list[str]) -> datetime | None:
    if not values:
        return None
    date = parse_date(decode_header(values[0]))
    if date is None:
        repairs.append("date_unreadable")
    return date


def _idents(values: list[bytes]) -> tuple[str, ...]:
    """Return message ids with their angle brackets, in order (RFC 5322 section 3.6.4).

    Where no brackets are found, each word with an `@` gets them, or else, as some
    programs write ids without one, a single word.
    """
    found: list[str] = []
    for value in values:
        text = decode_header(value)
        idents = ["".join(ident.split()) for ident in _IDENT.findall(text)]
        if not idents:
            split = text.replace("<", " ").replace(">", " ").split()
            idents = [f"<{w}>" for w in split if "@" in w or len(split) == 1]
        found += [ident for ident in idents if ident != "<>"]
    return tuple(found)


def _header_text(raw: bytes, header: Header) -> str:
    """Return the header block as clean text, cut behind a whole line."""
    block = raw[: header.end]
    if len(block) > MAX_HEADERS:
        cut = block.rfind(b"\n", 0, MAX_HEADERS) + 1
        block = block[: cut or MAX_HEADERS]
    return clean(decode(block)[0]).rstrip("\n")
