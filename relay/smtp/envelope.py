"""The envelope of a mail, and the grammar of MAIL and RCPT: paths and parameters.

An envelope address decides whose relay address was used, so it is read by the letter:
no RFC 2047 words, no comments, no folding, no missing brackets; what is no path is
refused, never guessed. Three liberties, none of which can change an address: blanks
behind the colon of `FROM:` and `TO:`, an underscore in a domain, and no limit on the
local part beyond that of the line (return paths of mailing lists pass 64 octets).
Source routes are read over, as RFC 5321 appendix C asks.

Source: RFC 5321 sections 4.1.2 and 4.1.3; RFC 6531 section 3.3; RFC 1870; RFC 6152;
parameters only tolerated: RFC 3461 (DSN), RFC 4954 section 5 (AUTH).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.core.addresses import fold_ascii
from relay.smtp import replies

if TYPE_CHECKING:
    from relay.intake import Addressee
    from relay.smtp.replies import Reply

# Everything above U+009F may stand where RFC 6531 has UTF8-non-ascii; the C1 control
# characters below may not.
_UTF8 = "\xa0-\U0010ffff"
# Repeated groups stand in atomic ones, so that reading stays linear. Possessive groups,
# `(?:…)*+`, would say the same, but before Python 3.11.5 (Debian 12 has 3.11.2) they
# keep half of an iteration that has failed: `a.` would be read as a dot-string.
_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_UTF8}-]++"
_DOT_STRING = rf"(?>{_ATOM}(?:\.{_ATOM})*)"
_QUOTED = rf'(?>"(?:[\x20\x21\x23-\x5b\x5d-\x7e{_UTF8}]|\\[\x20-\x7e])*")'
_LABEL = rf"(?>[A-Za-z0-9_{_UTF8}](?:-*[A-Za-z0-9_{_UTF8}])*)"
_DOMAIN = rf"(?>{_LABEL}(?:\.{_LABEL})*)"
_LITERAL = r"\[[\x21-\x5a\x5e-\x7e]++\]"
_ROUTE = rf"(?>@{_DOMAIN}(?:,@{_DOMAIN})*:)"
_PATH: Final = re.compile(
    rf"<(?:{_ROUTE})?"
    rf"(?P<local>{_DOT_STRING}|{_QUOTED})@(?P<domain>{_DOMAIN}|{_LITERAL})>"
)
_POSTMASTER: Final = re.compile(r"<postmaster>", re.IGNORECASE | re.ASCII)
_PARAMETER: Final = re.compile(
    rf"(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[\x21-\x3c\x3e-\x7e{_UTF8}]+))?"
)
_PLAIN_LOCAL: Final = re.compile(_DOT_STRING)
_MAX_DOMAIN: Final = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""
_MAX_SIZE_DIGITS: Final = 20
"""Digits of a SIZE value (RFC 1870 section 4)."""


class GrammarError(Exception):
    """The argument is refused; `reply` says how, `values` are the fields of its text.

    `reason` is the stable word for journal and metrics.
    """

    def __init__(self, reply: Reply, **values: object) -> None:
        """Take the row of the reply table, and the fields of its text."""
        super().__init__(reply.line(**values))  # type: ignore[arg-type]  # none is ref
        self.reply = reply
        self.values = values
        utf8 = reply is replies.NEEDS_SMTPUTF8
        self.reason = "needs_smtputf8" if utf8 else "bad_syntax"


@dataclass(frozen=True, slots=True)
class Path:
    """An envelope address. `local` is unquoted; `domain` is as written.

    The null path has both empty; bare `postmaster` has a local part alone.
    """

    local: str
    domain: str

    @property
    def address(self) -> str:
        """Return the address in canonical form: quoted only where it must be."""
        if not self.domain:
            return self.local
        if _PLAIN_LOCAL.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        quoted = re.sub(r'(["\\])', r"\\\1", self.local)
        return f'"{quoted}"@{self.domain}'


NULL_PATH: Final = Path("", "")


@dataclass(frozen=True, slots=True)
class MailCommand:
    """What MAIL said. `size_bytes` is the client's own estimate, 0 if it gave none."""

    path: Path
    size_bytes: int
    utf8: bool


@dataclass(slots=True)
class Transaction:
    """The envelope so far.

    `size_bytes` is the size that MAIL announced, 0 if it did not (RFC 1870); `refused`
    counts RCPTs that were. `accepted` are the RCPTs that were answered 250, in order,
    one as often as it was named: LMTP answers each.
    """

    mail_from: str
    utf8: bool
    size_bytes: int = 0
    addressees: list[Addressee] = field(default_factory=list)
    refused: int = 0
    accepted: list[str] = field(default_factory=list)

    def add(self, addressee: Addressee) -> None:
        """Add a recipient; one that is named again is the same, and one message."""
        rcpt = fold_ascii(addressee.rcpt)
        self.accepted.append(rcpt)
        if all(rcpt != fold_ascii(known.rcpt) for known in self.addressees):
            self.addressees.append(addressee)


def mail_command(argument: str) -> MailCommand:
    """Read the argument of MAIL, from `FROM:` on.

    Raises:
        GrammarError: The argument is refused.
    """
    path, rest = _path(
        _behind(argument, "FROM:", "MAIL FROM:<address>"), replies.BAD_SENDER
    )
    size_bytes = 0
    utf8 = False
    for name, value in _parameters(rest, "MAIL FROM:<address> [parameters]").items():
        if name == "SIZE":
            if not (value.isascii() and value.isdigit()):
                raise GrammarError(replies.BAD_PARAMETER, name=name)
            if len(value) > _MAX_SIZE_DIGITS:
                raise GrammarError(replies.BAD_PARAMETER, name=name)
            size_bytes = int(value)
        elif name == "BODY":
            # BINARYMIME is not announced (RFC 3030 section 3).
            if value.upper() not in {"7BIT", "8BITMIME"}:
                raise GrammarError(replies.BAD_PARAMETER, name=name)
        elif name == "SMTPUTF8":
            if value:
                raise GrammarError(replies.BAD_PARAMETER, name=name)
            utf8 = True
        elif name not in {"AUTH", "RET", "ENVID"}:
            raise GrammarError(replies.UNKNOWN_PARAMETER, name=name)
    if not utf8 and not (path.local.isascii() and path.domain.isascii()):
        raise GrammarError(replies.NEEDS_SMTPUTF8)
    return MailCommand(path, size_bytes, utf8)


def rcpt_command(argument: str, *, utf8: bool) -> Path:
    """Read the argument of RCPT, from `TO:` on.

    Args:
        argument: What stands behind the verb.
        utf8: Whether MAIL had the SMTPUTF8 parameter.

    Raises:
        GrammarError: The argument is refused; the null path always is.
    """
    text = _behind(argument, "TO:", "RCPT TO:<address>")
    bare = _POSTMASTER.match(text)
    if bare:
        path, rest = Path("postmaster", ""), text[bare.end() :]
    else:
        path, rest = _path(text, replies.BAD_RECIPIENT)
    if path == NULL_PATH:
        raise GrammarError(replies.BAD_RECIPIENT)
    for name in _parameters(rest, "RCPT TO:<address> [parameters]"):
        if name not in {"NOTIFY", "ORCPT"}:
            raise GrammarError(replies.UNKNOWN_PARAMETER, name=name)
    if not utf8 and not (path.local.isascii() and path.domain.isascii()):
        raise GrammarError(replies.NEEDS_SMTPUTF8)
    return path


def _behind(argument: str, keyword: str, syntax: str) -> str:
    if argument[: len(keyword)].upper() != keyword:
        raise GrammarError(replies.BAD_ARGUMENT, syntax=syntax)
    return argument[len(keyword) :].lstrip(" ")


def _path(text: str, complaint: Reply) -> tuple[Path, str]:
    """Return the path that text begins with, and the rest."""
    if text.startswith("<>"):
        return NULL_PATH, text[2:]
    match = _PATH.match(text)
    if not match:
        raise GrammarError(complaint)
    local, domain = match["local"], match["domain"]
    if len(domain.encode()) > _MAX_DOMAIN:
        raise GrammarError(complaint)
    if domain[0] == "[" and not _is_literal(domain[1:-1]):
        raise GrammarError(complaint)
    if local[0] == '"':
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return Path(local, domain), text[match.end() :]


def _is_literal(text: str) -> bool:
    """Say whether text is an address of RFC 5321 section 4.1.3."""
    tag, colon, value = text.partition(":")
    try:
        if not colon:
            ipaddress.IPv4Address(text)
        elif tag.upper() == "IPV6":
            ipaddress.IPv6Address(value)
    except ValueError:
        return False
    # Any other tag is a General-address-literal: well-formed, and never one of ours.
    return True


def _parameters(rest: str, syntax: str) -> dict[str, str]:
    """Return parameters by upper-case name; a value is empty where there was none."""
    result: dict[str, str] = {}
    if not rest:
        return result
    if rest[0] != " ":
        raise GrammarError(replies.BAD_ARGUMENT, syntax=syntax)
    for word in rest.split():
        match = _PARAMETER.fullmatch(word)
        if not match:
            raise GrammarError(replies.BAD_ARGUMENT, syntax=syntax)
        name = match["name"].upper()
        if name in result:
            raise GrammarError(replies.BAD_PARAMETER, name=name)
        result[name] = match["value"] or ""
    return result
