"""Relay addresses made unreadable in what others may read.

A relay address is a secret that names its user: who knows it may log for that user.
Yet mail programs leave it in Bcc, servers write it into Received, and whoever answers
all quotes it. Its local part becomes a row of `x`; everything keeps its place and its
length.

An address is found although HTML, a URL or quoted-printable encode its `@` and its
dots, or break it where lines may end. What stands in base64, or is spelt out (`at`),
is not.
"""

from __future__ import annotations

import functools
import re
from html import unescape
from typing import TYPE_CHECKING, Final

from relay.core.addresses import domain_key, unicode_domain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

MAX_LOCAL: Final = 256
"""Characters before the `@` that are looked at: 64 (RFC 5321), encoded and broken."""
OVERLAP: Final = 4096
"""Bytes kept back between pieces; no encoded address is as long."""

_TAG: Final = r"</?(?:b|i|u|em|strong|span|font|mark)(?:\s[^<>]{0,100})?>|</a>"
_BREAK: Final = (
    "[\u00ad\u200b-\u200d\u2060\ufeff]|<wbr ?/?>|=\r?\n"
    "|&(?:shy|ZeroWidthSpace|#0*(?:173|8203|8288)|#x0*(?:ad|200b|2060));"
)
_AT: Final = "(?:@|&#0*64;|&#x0*40;|&commat;|%40|=40)"
_DOT: Final = r"(?:\.|&#0*46;|&#x0*2e;|&period;|%2e|=2e)"
_GAP: Final = f"(?:{_BREAK}){{0,4}}"
_ENTITY: Final = r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,30});"
_PLUS: Final = "[%=]2b"
"""The plus before a record id, as URLs and quoted-printable encode it."""
_LOCAL: Final = re.compile(
    rf"(?:[\w.+~-]|{_BREAK}|{_TAG}|{_ENTITY}|{_PLUS})+", re.IGNORECASE
)
_PIECE: Final = re.compile(rf"{_BREAK}|{_TAG}|{_ENTITY}|.", re.IGNORECASE | re.DOTALL)
_ATOM: Final = re.compile(r"[\w.+~-]")
_BREAKS: Final = re.compile(_BREAK, re.IGNORECASE)
_QUOTES: Final = ('"', "&quot;", "&#34;")


class Mask:
    """Masks the addresses of some domains."""

    def __init__(self, domains: Collection[str]) -> None:
        """Prepare to look for addresses in these domains, not in those below them."""
        names = {form for domain in domains for form in _forms(domain)}
        # Most mails are done with here: each address has its longest label unbroken.
        self._labels = {max(name.split("."), key=len).casefold() for name in names}
        patterns = (
            f"{_GAP}{_DOT}{_GAP}".join(map(re.escape, name.split(".")))
            for name in sorted(names)
        )
        domain = rf"{_AT}(?:{_BREAK}|{_TAG}){{0,4}}(?:{'|'.join(patterns)})(?![\w-])"
        self._in_text = re.compile(rf"{domain}(?!\.\w)", re.IGNORECASE)
        self._in_name = re.compile(domain, re.IGNORECASE)

    def text(self, text: str) -> str:
        """Return the text with each local part masked, as long as it was."""
        return self._masked(self._in_text, text)

    def name(self, name: str) -> str:
        """Return the name of a file masked; what follows a dot is no domain there."""
        return self._masked(self._in_name, name)

    def _masked(self, pattern: re.Pattern[str], text: str) -> str:
        folded = text.casefold()
        if not any(label in folded for label in self._labels):
            return text
        done, parts = 0, []
        for found in pattern.finditer(text):
            start = max(done, found.start() - MAX_LOCAL)
            before = text[start : found.start()]
            kept, local = _local_part(before)
            parts += [text[done:start], kept, _masked(local), found[0]]
            done = found.end()
        return "".join([*parts, text[done:]]) if parts else text

    def pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield a raw mail masked, as long as it was; holds a few bytes back."""
        rest = ""
        for piece in pieces:
            # Latin-1 makes a character of each byte, and back.
            rest += piece.decode("latin-1")
            if len(rest) > 2 * OVERLAP:
                yield self.text(rest)[:-OVERLAP].encode("latin-1")
                rest = rest[-OVERLAP:]
        if rest:
            yield self.text(rest).encode("latin-1")


@functools.lru_cache(maxsize=8)
def mask(domains: frozenset[str]) -> Mask:
    """Return the mask for these domains, made once."""
    return Mask(domains)


def masked(pieces: Iterable[bytes], domains: Iterable[str]) -> Iterator[bytes]:
    """Yield the mail, as long as it was, with relay addresses masked.

    Args:
        pieces: The raw mail.
        domains: The domains of relay addresses.
    """
    names = frozenset(domains)
    return mask(names).pieces(pieces) if names else iter(pieces)


def _forms(domain: str) -> set[str]:
    """Return a domain in ASCII and as people read it; the same unless it is an IDN."""
    key = domain_key(domain)
    return {key, unicode_domain(key)}


def _local_part(before: str) -> tuple[str, str]:
    """Split what stands before an `@` into what is kept and the local part."""
    quote = next((q for q in _QUOTES if before.endswith(q)), "")
    body = before[: len(before) - len(quote)]
    last = None
    for run in _LOCAL.finditer(body):
        last = run
    if last is None or last.end() != len(body):
        return before, ""
    # An entity that is no part of an address, such as `&lt;`, ends what is before it.
    start = last.start()
    for piece in _PIECE.finditer(body, start):
        if piece[0].startswith("&") and not (_is_break(piece[0]) or _is_atom(piece[0])):
            start = piece.end()
    return before[:start], before[start:]


def _is_break(piece: str) -> bool:
    return _BREAKS.fullmatch(piece) is not None


def _is_atom(piece: str) -> bool:
    return _ATOM.fullmatch(unescape(piece)) is not None


def _masked(local: str) -> str:
    return "".join(
        "x" * len(piece) if _is_atom(piece) else piece
        for piece in _PIECE.findall(local)
    )
