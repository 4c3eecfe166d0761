"""Address lists, read from raw header bytes.

Mailboxes are separated first and decoded afterwards, so that an encoded comma never
splits a name and an encoded word never makes an address. The address is what stands
in angle brackets: `boss@corp.example <evil@x.example>` is evil@x.example.

A recipient is never dropped where an address can be seen: unquoted commas in names,
missing commas, semicolons, groups, comments, quotes around whole addresses and blanks
around the `@` are all read. Where quotes or parentheses do not pair up, the value is
read once more as if they were plain characters: that finds more mailboxes, never
fewer, which is also the safe side for a From field that must hold exactly one.

At most `MAX_ENTRIES` separators and brackets are read, far more than real mail has;
`is_cut` says whether that left something out. No expression in here looks at a byte
more than a fixed number of times. The intake reads lists while a client waits, so the
plain form that most mail has is taken by one expression; it reads nothing that the
full reading would read otherwise.

Source: RFC 5322 sections 3.4 and 4.4; RFC 2047 section 5; RFC 6532 (raw UTF-8).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from relay.core.model import Mailbox
from relay.mail.words import decode, decode_header

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ENTRIES: Final = 40_000
"""How many separators and brackets in all fields of one name are read."""

# `First Last <local@domain>` or `local@domain`, ASCII, nothing quoted or encoded.
_EASY: Final = re.compile(
    rb"[ \t]*(?:([A-Za-z0-9][A-Za-z0-9 ._-]{0,60})?"
    rb"<([A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9.-]{1,255})>"
    rb"|([A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,255}))[ \t]*(?:,|\Z)"
)
_QUOTED = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN: Final = re.compile(
    rb"(?P<text>[^\"<(,;:\[]+|\[[^\[\]<>,;\"]*\]|\[|<(?![^<>]*>))"
    rb"|<(?P<bracket>[^<>]*)>"
    rb"|(?P<end>[,;])"
    rb"|(?P<quoted>" + _QUOTED + rb")"
    rb"|(?P<colon>:)"
    rb"|(?P<opening>[\"(])",  # a comment, or a quote that is never closed
    re.DOTALL,
)
# The same, where quotes and parentheses mean nothing.
_PLAIN_TOKEN: Final = re.compile(
    rb"(?P<text>[^<,;:\[]+|\[[^\[\]<>,;]*\]|\[|<(?![^<>]*>))"
    rb"|<(?P<bracket>[^<>]*)>|(?P<end>[,;])|(?P<colon>:)",
    re.DOTALL,
)
_MAX_EASY: Final = 16_384
_PAREN: Final = re.compile(rb"\\.|[()]", re.DOTALL)
_SIMPLE: Final = re.compile(rb"[!#-'*+\--9=?A-Z^-~]+@[!#-'*+\--9=?A-Z^-~]+")
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_BETWEEN: Final = re.compile(rb"[\s,;<>()\"\\]+")
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class _UnpairedError(Exception):
    """A quote or a parenthesis that is never closed."""


def mailboxes(values: Iterable[bytes]) -> tuple[Mailbox, ...]:
    """Return the mailboxes of all header fields of one name, in order; never raises.

    Groups are flattened. Names are decoded, clean, on one line; addresses are as
    written, never decoded, with U+FFFD in place of control characters. Entries in
    which no address can be seen are left out.
    """
    found: list[Mailbox] = []
    left = MAX_ENTRIES
    for value in values:
        plain = left > 0 and len(value) < _MAX_EASY
        easy = _read_easy(value) if plain else None
        if easy is not None:
            found += easy
            left -= 2 * len(easy)
            continue
        reader = _List(left)
        try:
            found += reader.read(value)
        except _UnpairedError:
            reader = _List(left)
            found += reader.read(value, plain=True)
        left = reader.left
    return tuple(found)


def is_cut(values: Iterable[bytes]) -> bool:
    """Say whether fields may hold more entries than `mailboxes` reads of them."""
    ends = 0
    for value in values:
        ends += 1
        if len(value) > MAX_ENTRIES:
            ends += value.count(b",") + value.count(b";") + value.count(b"<")
    return ends > MAX_ENTRIES


def _read_easy(value: bytes) -> list[Mailbox] | None:
    """Read a list in which every entry has the plain form; None: it is another list."""
    found: list[Mailbox] = []
    match = _EASY.match
    position, end = 0, len(value)
    while position < end:
        entry = match(value, position)
        if entry is None:
            return None
        name, bracket, bare = entry.groups()
        text = " ".join(name.decode("ascii").split()) if name else ""
        found.append(Mailbox(text, (bracket or bare).decode("ascii")))
        position = entry.end()
    return found


class _List:
    """One address list while it is read."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.found: list[Mailbox] = []
        # What stands before an angle bracket or a comma; quoted strings keep quotes.
        self.pending: list[bytes] = []
        self.solid = False  # something but blanks is pending
        self.at = False  # an `@` is pending
        self.bracket = False  # brackets without an address stood in this entry
        self.comment = b""
        # A comment behind the bracket names the mailbox if nothing before it did.
        self.nameless = False

    def read(self, value: bytes, *, plain: bool = False) -> list[Mailbox]:
        """Read a whole list."""
        scan = (_PLAIN_TOKEN if plain else _TOKEN).match
        position, end = 0, len(value)
        while position < end and self.left > 0:
            token = scan(value, position)
            if token is None:  # pragma: no cover - the tokens cover every byte
                break
            position = token.end()
            kind = token.lastgroup
            if kind in {"text", "quoted"}:
                self._text(token[0])
            elif kind == "bracket":
                self._bracket(token["bracket"])
            elif kind == "end":
                self._separate(token[0])
            elif kind == "colon":
                self._colon()
            else:
                position = self._comment(value, token.start())
        self._separate(b";")
        return self.found

    def _text(self, piece: bytes) -> None:
        """Put text aside until it is known what it belongs to."""
        if piece == b"<":  # a bracket that is never closed
            piece = b" "
        self.pending.append(piece)
        self.at = self.at or b"@" in piece
        self.solid = self.solid or not piece.isspace()

    def _clear(self) -> None:
        self.pending.clear()
        self.solid = self.at = self.bracket = False

    def _bracket(self, inner: bytes) -> None:
        """Take a mailbox whose address stands in angle brackets."""
        self.left -= 1
        addresses = _in_brackets(inner)
        if not addresses:
            self.bracket = True
            return
        self._note_comment()
        name = _name(self.pending) or _text(self.comment)
        self.nameless = not name
        self._take(name, addresses)

    def _separate(self, by: bytes) -> None:
        """Take what stands before a separator, if an address can be seen in it."""
        self.left -= 1
        if self.at:
            name, addresses = _bare(self.pending)
            self._take(name or _text(self.comment), addresses)
        elif by == b"," and self.solid and not self.bracket:
            # `Doe, John <john@x.example>`: the comma belongs to the name.
            self.pending.append(b",")
        else:
            self._note_comment()
            self._clear()
        self.nameless = False
        self.comment = b""

    def _take(self, name: str, addresses: list[bytes]) -> None:
        self.found += [
            Mailbox("" if index else name, _address(address))
            for index, address in enumerate(addresses)
        ]
        self._clear()
        self.comment = b""

    def _note_comment(self) -> None:
        """Give the mailbox just taken its name out of the comment behind it."""
        if self.nameless and self.comment:
            last = self.found[-1]
            self.found[-1] = Mailbox(_text(self.comment), last.address)
            self.comment = b""
        self.nameless = False

    def _colon(self) -> None:
        """End a group's name, or `mailto:`; elsewhere a colon is text."""
        if self.at:
            self.pending.append(b" ")
        else:
            self._clear()

    def _comment(self, value: bytes, start: int) -> int:
        """Read a comment, which may hold others; return where it ends.

        Raises:
            _UnpairedError: It never ends, or this is a quote that never does.
        """
        if value[start] == ord('"'):
            raise _UnpairedError
        depth = 0
        for found in _PAREN.finditer(value, start):
            if found[0] == b"(":
                depth += 1
            elif found[0] == b")":
                depth -= 1
                if not depth:
                    self.comment = value[start + 1 : found.start()]
                    self.pending.append(b" ")
                    return found.end()
        raise _UnpairedError


def _in_brackets(inner: bytes) -> list[bytes]:
    """Return the addresses between angle brackets: one, as a rule."""
    if _SIMPLE.fullmatch(inner) and inner[:1] != b"'":
        return [inner]
    inner = inner.strip()
    if inner.startswith(b'"'):
        local, quote, domain = inner.rpartition(b'"')
        domain = b"".join(domain.split())
        if len(local) > 1 and quote and domain.startswith(b"@") and domain != b"@":
            return [local + quote + domain]
    if b":" in inner and b"[" not in inner:
        inner = inner.rpartition(b":")[2]  # a source route, or `mailto:`
    return _seen(inner)


def _bare(pieces: list[bytes]) -> tuple[str, list[bytes]]:
    """Return the addresses in text without angle brackets, and a name beside them."""
    whole = b"".join(pieces).strip()
    if _SIMPLE.fullmatch(whole) and whole[:1] != b"'":
        return "", [whole]
    addresses: list[bytes] = []
    rest: list[bytes] = []
    local = b""
    for piece in pieces:
        if piece[:1] == b'"':
            rest.append(piece)
            local = piece
            continue
        text = piece
        if local and piece.lstrip().startswith(b"@"):
            # A quoted local part: `"john doe"@x.example`, blanks around the `@` or not.
            domain, *others = piece.lstrip()[1:].split(None, 1) or [b""]
            if domain:
                addresses.append(local + b"@" + domain)
                rest.pop()
            text = b"".join(others)
        seen = _seen(text)
        addresses += seen
        rest += [word for word in text.split() if not seen or b"@" not in word]
        local = b""
    if addresses:
        return _name([b" ".join(rest)]), addresses
    # Only inside quotes, or with blanks around the `@`.
    return "", _seen(whole.replace(b'"', b" "))


def _seen(text: bytes) -> list[bytes]:
    """Return every word of a text that is an address."""
    if b"@" not in text:
        return []
    words = [word for word in _BETWEEN.split(text) if _is_address(word)]
    if not words:
        joined = b"@".join([side.strip() for side in text.split(b"@")])
        words = [word for word in _BETWEEN.split(joined) if _is_address(word)]
    return [_bare_word(word) for word in words]


def _is_address(word: bytes) -> bool:
    local, at, domain = word.partition(b"@")
    return bool(at and local.strip(b"'") and domain.strip(b"'."))


def _bare_word(word: bytes) -> bytes:
    """Take off the quotes that some programs put around an address."""
    if word[:1] == word[-1:] == b"'":
        return word[1:-1]
    return word


def _name(pieces: list[bytes]) -> str:
    """Return a display name; quoted strings among the pieces lose their quotes."""
    raw = b"".join(
        [
            _ESCAPED.sub(rb"\1", piece[1:-1]) if piece[:1] == b'"' else piece
            for piece in pieces
        ]
    )
    return _text(raw.replace(b'"', b""))


def _text(raw: bytes) -> str:
    if not raw:
        return ""
    text = " ".join(decode_header(raw).split())
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1].strip()
    return text.strip(", ")


def _address(raw: bytes) -> str:
    if raw.isascii() and _SIMPLE.fullmatch(raw):
        return raw.decode("ascii")
    return _UNSEEN.sub("\ufffd", decode(raw)[0])
