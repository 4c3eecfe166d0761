"""Address lists, read from raw header bytes.

Mailboxes are separated first and decoded afterwards, so that an encoded comma never
splits a name and an encoded word never makes an address; an encoded word is one piece,
whatever stands in it. The address is what stands in angle brackets:
`boss@corp.example <evil@x.example>` is evil@x.example. It is all of what stands there
or nothing: half of `<anna mara@acme.example>` is another person.

A recipient is never dropped where an address can be seen: unquoted commas in names,
missing commas, semicolons, groups, comments, quotes around whole addresses and blanks
around the `@` are all read; among recipients also an entry that a program encoded
whole, name and address in one encoded word. In From that stays refused: most readers of
such a mail see no address there, or another. Where quotes or parentheses do not pair
up, the value is read once more as if they were plain characters: that finds more
mailboxes, never fewer, which is also the safe side for a From field that must hold
exactly one.

At most `MAX_ENTRIES` separators and brackets are read, `MAX_TOKENS` pieces in all and
`MAX_WORDS` encoded words, far more than real mail has; `is_cut` says whether that may
have left something out. No expression in here looks at a byte
more than a fixed number of times. The intake reads lists while a client waits, so the
plain form that most mail has is taken by one expression; it reads nothing that the
full reading would read otherwise.

Source: RFC 5322 sections 3.4 and 4.4; RFC 2047 section 5; RFC 6532 (raw UTF-8).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from relay.core.model import Mailbox
from relay.mail.words import decode_header, encoded_words

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ENTRIES: Final = 40_000
"""How many separators and brackets in all fields of one name are read."""

MAX_TOKENS: Final = 200_000
"""How many pieces in all fields of one name are read: texts, quotes, marks."""

MAX_WORDS: Final = 20_000
"""How many encoded words of a field are read; what stands behind them is left out."""

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
_ENDS: Final = (b",", b";", b"<")
_MARKS: Final = (b'"', b"(", b":", b"[")
_MAX_EASY: Final = 16_384
_PAREN: Final = re.compile(rb"\\.|[()]", re.DOTALL)
_SIMPLE: Final = re.compile(rb"[!#-'*+\--9=?A-Z^-~]+@[!#-'*+\--9=?A-Z^-~]+")
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_BETWEEN: Final = re.compile(rb"[\s,;<>()\"\\]+")
_MASK: Final = re.compile(rb"\x00(\d+)\x00")
_COMMENT: Final = re.compile(rb"\([^()]*\)")
# Blanks and marks that nobody sees, and that were copied along with an address.
_INVISIBLE: Final = (
    "\u00a0\u00ad\u034f\u061c\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u3000\ufeff"
)
_NBSP: Final = b"\xc2\xa0"
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class _UnpairedError(Exception):
    """A quote or a parenthesis that is never closed."""


def mailboxes(
    values: Iterable[bytes], charset: str = "", *, recipients: bool = False
) -> tuple[Mailbox, ...]:
    """Return the mailboxes of all header fields of one name, in order; never raises.

    Groups are flattened. Names are decoded, clean, on one line; addresses are as
    written, never decoded, with U+FFFD in place of control characters. Entries in
    which no address can be seen are left out.

    Args:
        values: Raw values, unfolded.
        charset: Label of the body's charset; names that are raw and no UTF-8 are in it.
        recipients: Read entries as well that are one encoded word, address included.
    """
    found: list[Mailbox] = []
    left, tokens = MAX_ENTRIES, MAX_TOKENS
    for value in values:
        plain = left > 0 and len(value) < _MAX_EASY
        easy = _read_easy(value) if plain else None
        if easy is not None:
            found += easy
            left -= 2 * len(easy)
            continue
        masked, words = _masked(value, recipients=recipients)
        reader = _List(left, words, charset, tokens, recipients=recipients)
        try:
            found += reader.read(masked)
        except _UnpairedError:
            reader = _List(left, words, charset, tokens, recipients=recipients)
            found += reader.read(masked, plain=True)
        left, tokens = reader.left, reader.tokens
    return tuple(found)


def is_cut(values: Iterable[bytes]) -> bool:
    """Say whether fields may hold more entries than `mailboxes` reads of them."""
    ends = tokens = words = 0
    for value in values:
        ends += 1
        if len(value) > MAX_ENTRIES:
            here = sum(map(value.count, _ENDS))
            ends += here
            tokens += 2 * (here + sum(map(value.count, _MARKS)))
            words = max(words, value.count(b"=?"))
    return ends > MAX_ENTRIES or tokens > MAX_TOKENS or words > MAX_WORDS


def _masked(value: bytes, *, recipients: bool) -> tuple[bytes, list[bytes]]:
    """Put a mark in place of each encoded word, so that nothing in it separates.

    In From a word that has a raw `@` in it stays as it is: there, finding more
    mailboxes is the safe side.
    """
    if not value.isascii() and _NBSP in value:
        try:
            value.decode("utf-8")
        except UnicodeError:
            pass
        else:
            value = value.replace(_NBSP, b" ")
    if b"=?" not in value:
        return value, []
    value = value.replace(b"\0", b"\x01")
    words: list[bytes] = []
    pieces: list[bytes] = []
    position = 0
    for word in encoded_words(value):
        raw = value[word.start : word.end]
        if b"@" in raw and not recipients:
            continue
        pieces += (value[position : word.start], b"\0%d\0" % len(words))
        words.append(raw)
        position = word.end
        if len(words) == MAX_WORDS:
            return b"".join(pieces), words
    pieces.append(value[position:])
    return b"".join(pieces), words


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

    def __init__(
        self,
        left: int,
        words: list[bytes],
        charset: str,
        tokens: int = MAX_TOKENS,
        *,
        recipients: bool,
    ) -> None:
        self.left = left
        self.tokens = tokens
        self.words = words  # what the marks stand for
        self.charset = charset
        self.recipients = recipients
        self.found: list[Mailbox] = []
        # What stands before an angle bracket or a comma; quoted strings keep quotes.
        self.pending: list[bytes] = []
        self.since = 0  # where what follows the last comma begins
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
        while position < end and self.left > 0 and self.tokens > 0:
            self.tokens -= 1
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
        self.since = 0
        self.solid = self.at = self.bracket = False

    def _bracket(self, inner: bytes) -> None:
        """Take a mailbox whose address stands in angle brackets."""
        self.left -= 1
        addresses = _in_brackets(inner)
        if not addresses and self.words and self._encoded(inner):
            return
        if not addresses:
            self.bracket = True
            return
        self._note_comment()
        name = self._name(self.pending) or self._decoded(self.comment)
        self.nameless = not name
        self._take(name, addresses)

    def _separate(self, by: bytes) -> None:
        """Take what stands before a separator, if an address can be seen in it."""
        self.left -= 1
        if self.at:
            rest, addresses = _bare(self.pending)
            name = self._name([b" ".join(rest)])
            self._take(name or self._decoded(self.comment), addresses)
        elif self.words and self._encoded(b"".join(self.pending[self.since :])):
            self.comment = b""
        elif by == b"," and self.solid and not self.bracket:
            # `Doe, John <john@x.example>`: the comma belongs to the name.
            self.pending.append(b",")
            self.since = len(self.pending)
        else:
            self._note_comment()
            self._clear()
        self.nameless = False
        self.comment = b""

    def _take(self, name: str, addresses: list[bytes]) -> None:
        self.found += [
            Mailbox("" if index else name, _address(self._unmasked(address)))
            for index, address in enumerate(addresses)
        ]
        self._clear()
        self.comment = b""

    def _unmasked(self, raw: bytes) -> bytes:
        """Put the encoded words back where their marks stand."""
        if b"\0" not in raw or not self.words:
            return raw
        return _MASK.sub(self._word, raw)

    def _word(self, mark: re.Match[bytes]) -> bytes:
        return self.words[int(mark[1])]

    def _encoded(self, raw: bytes) -> bool:
        """Take an entry, or what stands in brackets, that is an encoded address."""
        if not self.recipients or not _MASK.search(raw):
            return False
        text = decode_header(self._unmasked(raw.replace(b'"', b" ")), self.charset)
        inner = mailboxes([text.encode("utf-8", "replace")]) if "@" in text else ()
        if not inner:
            return False
        self.found += inner
        self._clear()
        return True

    def _name(self, pieces: list[bytes]) -> str:
        """Return a display name; quoted strings among the pieces lose their quotes."""
        raw = b"".join(
            [
                _ESCAPED.sub(rb"\1", piece[1:-1]) if piece[:1] == b'"' else piece
                for piece in pieces
            ]
        )
        return self._decoded(raw.replace(b'"', b""))

    def _decoded(self, raw: bytes) -> str:
        return _text(self._unmasked(raw), self.charset) if raw else ""

    def _note_comment(self) -> None:
        """Give the mailbox just taken its name out of the comment behind it."""
        if self.nameless and self.comment:
            last = self.found[-1]
            self.found[-1] = Mailbox(self._decoded(self.comment), last.address)
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
    if b"(" in inner:
        inner = _COMMENT.sub(b" ", inner)
    inner = b"@".join([side.strip() for side in inner.split(b"@")])
    words = [word for word in _BETWEEN.split(inner) if word]
    # All of it or nothing: what is beside an address may be the rest of it.
    return _seen(b" ".join(words)) if all(map(_is_address, words)) else []


def _bare(pieces: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the addresses in text without brackets, and the pieces of a name."""
    whole = b"".join(pieces).strip()
    if _SIMPLE.fullmatch(whole) and whole[:1] != b"'":
        return [], [whole]
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
        return rest, addresses
    # Only inside quotes, or with blanks around the `@`.
    return [], _seen(whole.replace(b'"', b" "))


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


def _text(raw: bytes, charset: str) -> str:
    text = " ".join(decode_header(raw, charset).split())
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1].strip()
    return text.strip(", ")


def _address(raw: bytes) -> str:
    if raw.isascii() and _SIMPLE.fullmatch(raw):
        return raw.decode("ascii")
    try:
        text = raw.decode("utf-8")
    except UnicodeError:
        text = raw.decode("cp1252", "replace")  # No guess: the `@` must stay.
    seen = text.strip(_INVISIBLE)
    if seen[:1] == "@" or seen[-1:] == "@":
        seen = text  # There is nothing else on that side.
    return _UNSEEN.sub("\ufffd", seen)
