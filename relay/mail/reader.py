"""The bytes of a mail become an `Email`.

`parse` gives an `Email`, or raises `UnparsableMessage` where the bytes hold no header
field at all: a mail without one says neither who wrote it nor to whom. Everything
else is read as far as it goes, and `Email.repairs` says what was wrong:

    header_cut, fields_cut          the header is longer than `fields` reads
    header_line_ignored             a line in the header is no field
    body_separator_missing          no empty line behind the header
    boundary_guessed, boundary_not_closed, multipart_without_parts
    parts_cut, depth_cut, delimiters_cut    limits of `parts`; the first parts are read
    byte_order_mark                 one stood before a field
    multipart_encoded, hidden_cut   a multipart in base64 as a whole; not read further
    encoding_unknown, charset_mended, text_cut
    base64_blocks, base64_damaged, base64_with_text, base64_missing
    alternative_left_out            the letter once more, in a form nobody needs
    data_images_taken_out, uuencode_taken_out, enriched_read
    tnef_opened, tnef_unreadable, smime_opened, smime_encrypted, smime_unreadable
    pgp_encrypted, pgp_signed       kept as it is
    from_missing, from_repeated     no From field, or several
    addresses_cut                   more entries in an address field than are read
    value_cut                       a field is longer than is read as text
    date_unreadable                 there is a Date field, and no date in it
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.core.automatic import AutomaticKind
from relay.core.errors import UnparsableMessage
from relay.core.model import Email, Forward
from relay.mail.addresses import is_cut, mailboxes
from relay.mail.automatic import passed_on, recognise
from relay.mail.body import read_body
from relay.mail.dates import parse_clock
from relay.mail.fields import joined, scan
from relay.mail.formats import no_header, not_a_mail
from relay.mail.forward import (
    MAX_LEVELS,
    Unsure,
    content_key,
    is_forward,
    letters,
    read_inline,
    same_address,
    with_addresses,
)
from relay.mail.forward_page import forwarded_page
from relay.mail.html import html_to_text
from relay.mail.identity import at_time, is_dated, keys
from relay.mail.parts import read_tree
from relay.mail.words import MAX_VALUE, clean, decode, decode_header

if TYPE_CHECKING:
    from datetime import datetime

    from relay.core.model import Mailbox
    from relay.mail.fields import Header
    from relay.mail.parts import Part, Tree

MAX_HEADERS: Final = 65_536
"""How many bytes of the header block are kept as text."""

MAX_INNER_BYTES: Final = 1 << 25
"""Encoded bytes of attached mails that are read, those within them included."""

MAX_INNER_MAILS: Final = 100
"""How many attached mails are read."""

_MAY_FORWARD: Final = frozenset(
    {
        AutomaticKind.AUTO_GENERATED,
        AutomaticKind.NULL_SENDER,
        AutomaticKind.REPLY_SUPPRESSED,
        AutomaticKind.CAMPAIGN,
    }
)
"""Kinds that a rule of a mailbox makes as well, when it forwards what a person wrote.
"""

_ALIKE: Final = 24
"""Letters in which a text and a page begin alike."""

_UNTYPED: Final = frozenset({"application/octet-stream", "message/partial"})
_TO: Final = ("to", "cc", "bcc", "reply-to")
_TEXTS: Final = ("subject", "message-id", "in-reply-to", "references")
_ADDRESSES: Final = ("from", *_TO)
_IN_BRACKETS: Final = re.compile(rb"<[^<>]*>")
_READ: Final = {
    "from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id",
    "in-reply-to", "references", "sensitivity",
}  # fmt: skip
_IDENT: Final = re.compile(r"<[^<>]+>")


def parse(raw: bytes) -> Email:
    """Read a mail, and those that it forwards; the time taken is linear in its size.

    Raises:
        UnparsableMessage: The bytes hold no header field, or are a file of another
            kind. Nothing else is raised, whatever the bytes are.
    """
    return _parse(raw, _Budget())


def _parse(raw: bytes, budget: _Budget) -> Email:
    if other := not_a_mail(raw):
        raise UnparsableMessage(other)
    header = scan(raw)
    if not header.fields:
        raise UnparsableMessage(no_header(raw))
    values: dict[str, list[bytes]] = {}
    for name, value in header.fields:
        if name in _READ:
            values.setdefault(name, []).append(value)
    tree = read_tree(raw, header)
    body = read_body(tree.parts)
    repairs = [*header.repairs, *tree.repairs, *body.repairs]
    date, clock = _date(values.get("date", []), repairs)
    senders = values.get("from", [])
    if len(senders) != 1:
        repairs.append("from_repeated" if senders else "from_missing")
    if any(is_cut(values[name]) for name in _ADDRESSES if name in values):
        repairs.append("addresses_cut")
    if any(len(one) > MAX_VALUE for name in _TEXTS for one in values.get(name, ())):
        repairs.append("value_cut")
    key1, key2 = keys(raw, header)
    people = {name: _recipients(raw, header, name, tree.charset) for name in _TO}
    ids = _idents(values.get("message-id", [])[:1])
    email = Email(
        from_=mailboxes(senders, tree.charset),
        to=people["to"],
        cc=people["cc"],
        bcc=people["bcc"],
        reply_to=people["reply-to"],
        subject=decode_header(values["subject"][0], tree.charset)
        if "subject" in values
        else "",
        date=date,
        local_date=clock,
        message_id=ids[0] if ids else None,
        in_reply_to=_idents(values.get("in-reply-to", [])),
        references=_idents(values.get("references", [])),
        text=body.text,
        html=body.html,
        attachments=body.attachments,
        headers=_header_text(raw, header),
        key1=key1,
        key2=key2,
        dated=is_dated(header),
        repairs=tuple(repairs),
        automatic=recognise(
            header.fields,
            next((part.method for part in tree.parts if part.method), ""),
        ),
        passed_on=passed_on(header.fields),
        sensitivity=decode_header(values["sensitivity"][0]).strip()
        if "sensitivity" in values
        else "",
    )
    return _with_forwards(email, tree, budget, of_page=body.of_page)


class _Budget:
    """What may still be read of mails within the mail."""

    def __init__(self) -> None:
        self.levels = MAX_LEVELS
        self.room = MAX_INNER_BYTES
        self.mails = MAX_INNER_MAILS


def _with_forwards(
    email: Email, tree: Tree, budget: _Budget, *, of_page: bool
) -> Email:
    """Return the mail with those that it forwards.

    `of_page` says that the text is that of the page, and nothing else.
    """
    if email.automatic and email.automatic.kind not in _MAY_FORWARD:
        return email
    sender = email.from_[0].address if email.from_ else ""
    found = read_inline(email.text, email.subject, sender)
    if isinstance(found, Unsure) and email.html:
        # The text of some programs has the names alone, the page the addresses.
        page = with_addresses(email.html)
        if not of_page or page != email.html:
            other = read_inline(html_to_text(page), email.subject, sender)
            found = other if isinstance(other, Forward) else found
    if isinstance(found, Forward):
        return replace(email, forwards=(_with_page(found, email, sender),))
    attached = [part for part in tree.parts if _is_mail(part)]
    only = len(attached) == len(email.attachments)
    if attached and (only or is_forward(email.subject)):
        forwards, reason = _attached(email, attached, sender, budget)
        return replace(email, forwards=forwards, forward_unsure=reason)
    return replace(email, forward_unsure=found.reason) if found else email


def _with_page(found: Forward, email: Email, sender: str) -> Forward:
    """Return an inline forward with its page, where that can be cut out for sure."""
    if not email.html:
        return found
    page = forwarded_page(email.html, found.text)
    if page is None:
        # The plain text may differ from the page: what the page says by itself counts.
        other = read_inline(html_to_text(email.html), email.subject, sender)
        if isinstance(other, Forward) and _is_one(found, other):
            page = forwarded_page(email.html, other.text)
    return replace(found, html=page) if page else found


def _is_one(one: Forward, other: Forward) -> bool:
    """Say whether text and page name the same author, and begin alike."""
    alike = letters(one.text)[:_ALIKE], letters(other.text)[:_ALIKE]
    return same_address(one.from_.address, other.from_.address) and (
        alike[0].startswith(alike[1]) or alike[1].startswith(alike[0])
    )


def _is_mail(part: Part) -> bool:
    """Say whether a part is a mail that somebody attached."""
    if part.media_type == "message/rfc822":
        return part.parent != "report"
    return part.media_type in _UNTYPED and part.name.lower().endswith(".eml")


def _attached(
    email: Email, parts: list[Part], sender: str, budget: _Budget
) -> tuple[tuple[Forward, ...], str]:
    """Read the mails that are attached; and say what could not be read."""
    forwards: list[Forward] = []
    reason = ""
    for part in parts:
        size = part.end - part.start
        if budget.levels <= 0 or budget.mails <= 0 or size > budget.room:
            reason = "attached_beyond_limits"
            break
        budget.room -= size
        budget.mails -= 1
        budget.levels -= 1
        try:
            inner = _parse(part.content(), budget)
        except UnparsableMessage:
            reason = "attached_unreadable"
            continue
        finally:
            budget.levels += 1
        if len(inner.from_) == 1:
            forwards.append(_attached_forward(email, part, inner, sender))
        else:
            reason = "attached_without_sender"
    return tuple(forwards), reason


def _attached_forward(email: Email, part: Part, inner: Email, sender: str) -> Forward:
    author = inner.from_[0]
    files = []
    for file in inner.attachments:
        steps = f"slice={file.start}+{file.end - file.start} {file.encoding}".split()
        start, end, encoding = part.place(*steps)
        files.append(replace(file, start=start, end=end, encoding=encoding))
    return Forward(
        how="attached",
        from_=author,
        to=inner.to,
        cc=inner.cc,
        subject=inner.subject,
        date=inner.date,
        text=inner.text,
        note=email.text.strip(),
        key=content_key(author.address, inner.subject, inner.text),
        message_id=inner.message_id,
        attachments=tuple(files),
        outbound=same_address(author.address, sender),
        inner=inner.forward,
        keys=(inner.key1, inner.key2),
        email=inner,
    )


def keys_of(email: Email, received_at: datetime) -> tuple[str, str]:
    """Return the keys under which a copy is joined to its mail.

    They are those of the Email; for one with neither Message-ID nor Date the time of
    receipt enters as well (`identity`).
    """
    if email.dated:
        return email.key1, email.key2
    return at_time(email.key1, email.key2, received_at)


def _recipients(
    raw: bytes, header: Header, name: str, charset: str
) -> tuple[Mailbox, ...]:
    values = header.values(name)
    inside = [one for value in values for one in _IN_BRACKETS.findall(value)]
    if any(b" " in one or b"\t" in one for one in inside):
        values = joined(raw, header, name)
    return mailboxes(values, charset, recipients=True)


def _date(
    values: list[bytes], repairs: list[str]
) -> tuple[datetime | None, datetime | None]:
    """Return the moment of the Date field, and the clock that it shows."""
    if not values:
        return None, None
    found = parse_clock(decode_header(values[0]))
    if found is None:
        repairs.append("date_unreadable")
        return None, None
    return found


def _idents(values: list[bytes]) -> tuple[str, ...]:
    """Return message ids with their angle brackets, in order (RFC 5322 section 3.6.4).

    Where no brackets are found, each word with an `@` gets them, or else, as some
    programs write ids without one, a single word.
    """
    found: list[str] = []
    for value in values:
        if len(value) > MAX_VALUE:
            # The first began the thread, the last is what this mail answers.
            half = MAX_VALUE // 2 - 1
            text = decode_header(value[:half] + b"<>" + value[-half:])
        else:
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
