"""The original mail without its secret: relay addresses in the header are masked.

A relay address is a secret that names its user; mail programs leave it in Bcc, mail
servers write it into Received. Letters and digits of its local part become `x`, so
that every byte keeps its place. The body is left alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_HEADER: Final = 1 << 20
"""Bytes in which the end of the header is looked for; intake allows fewer."""

_BODY: Final = re.compile(rb"\r?\n\r?\n")


def masked(pieces: Iterable[bytes], domains: Iterable[str]) -> Iterator[bytes]:
    """Yield the mail, as long as it was, with relay addresses masked.

    Args:
        pieces: The raw mail.
        domains: The domains of relay addresses.
    """
    names = b"|".join(re.escape(domain.encode("idna")) for domain in domains)
    secret = re.compile(rb"[^\s<>@:;,\"()]+(?=@(?:" + names + rb")\b)", re.IGNORECASE)
    rest = iter(pieces)
    head = b""
    for piece in rest:
        head += piece
        if _BODY.search(head) or len(head) >= MAX_HEADER:
            break
    found = _BODY.search(head)
    end = found.start() if found else len(head)
    yield (
        secret.sub(lambda match: b"x" * len(match[0]), head[:end])
        if names
        else (head[:end])
    )
    if head[end:]:
        yield head[end:]
    yield from rest
