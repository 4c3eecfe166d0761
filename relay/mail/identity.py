"""The identity of a mail: two keys, the same for every copy of it.

Equal K1 or equal K2 is the same mail. The keys are kept in the store and compared with
those of mails that arrive years later, so **this recipe never changes**; the vectors
in the tests pin it.

    fold(b)   b with each run of ASCII white space replaced by one blank, none at either
              end (so that folding a header or changing line ends changes nothing)
    value(n)  fold of each field named n that is not empty, in order, joined by LF;
              the name without regard to case; raw bytes, encoded words not decoded
    id        value("message-id") without any white space; empty where it is `<>`
    body      the first 4,096 bytes of fold(everything behind the header block)
    digest(…) SHA-256 over each item as `<decimal length>:<bytes>,`, as hex digits

    K2 = digest("relay-key-2", value(from), value(date), value(subject), value(to),
                value(cc), body)
         and, where Date is empty, followed by id
    K1 = digest("relay-key-1", id, value(from), value(date))
         and, where id is empty, followed by K2

A mail with neither Message-ID nor Date does not say when it was sent: a report of the
same words every week would be one mail. So the time of receipt enters its keys, in
windows that overlap (`at_time`):

    K1 = digest("relay-key-1-at", K1, window), the number of the 8 hours since 1970
    K2 = digest("relay-key-2-at", K2, window), the same, counted 4 hours later

Of two copies that come within four hours, no window ends between both: they share a key
and are one mail. After eight hours they share none.

Why so: a Message-ID alone would miss a copy whose id was rewritten, and would let a
program that uses one id again swallow another mail. What servers add on the way
(Received and the like) does not enter, nor does Bcc. A list that adds a footer or a
subject tag changes K2 and leaves K1. Where the id is missing K1 says nothing that K2
does not; where the date is missing K2 needs the id, or every automatic mail of one
wording would be one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from relay.mail.fields import scan

if TYPE_CHECKING:
    from datetime import datetime

    from relay.mail.fields import Header

WINDOW_S: Final = 8 * 3600
"""For so long, at most, a mail without Message-ID and Date is the same mail again."""

BODY_BYTES: Final = 4096
"""How much of the folded body enters K2."""

_NAMES: Final = frozenset({"message-id", "from", "date", "subject", "to", "cc"})


def content_keys(raw: bytes) -> tuple[str, str]:
    """Return K1 and K2 of a mail, as hex digits; any bytes have keys.

    Equal in either is the same mail, whoever received the copy. The exact recipe
    stands at the top of this module, and never changes.
    """
    return keys(raw, scan(raw))


def is_dated(header: Header) -> bool:
    """Say whether a mail has a Message-ID or a Date that tells it from others."""
    return any(
        value.strip()
        and not (name == "message-id" and b"".join(value.split()) == b"<>")
        for name, value in header.fields
        if name in {"message-id", "date"}
    )


def at_time(key1: str, key2: str, received_at: datetime) -> tuple[str, str]:
    """Return the keys of a copy of a mail that is not dated, received at that time."""
    received = int(received_at.timestamp())
    windows = received // WINDOW_S, (received + WINDOW_S // 2) // WINDOW_S
    return (
        _digest([b"relay-key-1-at", key1.encode("ascii"), b"%d" % windows[0]]),
        _digest([b"relay-key-2-at", key2.encode("ascii"), b"%d" % windows[1]]),
    )


def keys(raw: bytes, header: Header) -> tuple[str, str]:
    """Return K1 and K2 of a mail whose header has been scanned already."""
    values: dict[str, bytes] = dict.fromkeys(_NAMES, b"")
    for name, value in header.fields:
        if name in _NAMES:
            folded = b" ".join(value.split())
            before = values[name]
            both = before and folded
            values[name] = before + b"\n" + folded if both else before or folded
    ident = b"".join(values["message-id"].split())
    if ident == b"<>":
        ident = b""
    sender, date = values["from"], values["date"]
    items = [
        b"relay-key-2", sender, date, values["subject"], values["to"], values["cc"],
        folded_body(raw, header.body),
    ]  # fmt: skip
    if not date:
        items.append(ident)
    key2 = _digest(items)
    items = [b"relay-key-1", ident, sender, date]
    if not ident:
        items.append(key2.encode("ascii"))
    return _digest(items), key2


def folded_body(raw: bytes, start: int) -> bytes:
    """Return the first bytes of the body, white space folded, as K2 takes them.

    A prefix of the body gives a prefix of the folded body, so a small window is enough
    unless the body is mostly white space.
    """
    window = 2 * BODY_BYTES
    while True:
        folded = b" ".join(raw[start : start + window].split())
        if len(folded) >= BODY_BYTES or start + window >= len(raw):
            return folded[:BODY_BYTES]
        window *= 4


def _digest(items: list[bytes]) -> str:
    return sha256(
        b"".join([b"%d:%b," % (len(item), item) for item in items])
    ).hexdigest()
