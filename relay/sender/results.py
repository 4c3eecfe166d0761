"""Authentication-Results: what another mail server found, read from its header field.

A relay behind a company's mail server cannot check SPF itself: its peer is that server.
The server writes what it found on top of the mail. Anybody can write such a field, so
only the topmost counts, and only of a configured server (authserv-id). Where the server
writes several fields, one for each check, their number is configured: one more would
let in a field that came with the mail. Whether the peer is that server, and not
somebody else, is for the policy to say.

`read_results` gives an `Authentication` of source `results`. It takes the server's
word: a signature that it calls good counts as covering the mail.

Source: RFC 8601; section 5 asks the server to remove fields of its own name from
outside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, domain_key, domain_of
from relay.core.authentication import (
    Authentication,
    DMARCCheck,
    Identity,
    Result,
    Signature,
    SPFCheck,
)
from relay.mail import header_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

RESULTS: Final = "results"
"""`Authentication.source` of what another server found."""
FIELD: Final = "authentication-results"

_MAX_BYTES: Final = 16_384
"""Of one field; a longer one is not read."""
_MAX_METHODS: Final = 64
_MAX_DEPTH: Final = 8
"""Of comments inside comments."""

_PART: Final = re.compile(
    r"""[ \t]+ | (?P<open>\() | "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<mark>[;=/])
    | (?P<word>[^ \t()";=/\\]+)""",
    re.VERBOSE,
)
_PROPERTY: Final = re.compile(r"(smtp|header|body|policy)\.([a-z0-9_.-]+)")

_DOMAIN_IN: Final = {
    "spf": ("smtp.mailfrom", "smtp.mfrom"),
    "dkim": ("header.d", "header.i"),
    "dmarc": ("header.from",),
}
_WORDS: Final = {
    "hardfail": Result.FAIL,
    "bestguesspass": Result.NEUTRAL,
    "pass": Result.PASS,
    "fail": Result.FAIL,
    "softfail": Result.SOFTFAIL,
    "neutral": Result.NEUTRAL,
    "none": Result.NONE,
    "policy": Result.POLICY,
    "temperror": Result.TEMPERROR,
    "permerror": Result.PERMERROR,
    "error": Result.PERMERROR,
    "invalid": Result.PERMERROR,
}
"""Result words, some of them older than RFC 8601. Every other word is `neutral`, never
a pass: `bestguesspass`, which Microsoft writes, means that there is no DMARC record."""


class _Unreadable(Exception):  # noqa: N818 - an answer
    """The field does not follow the grammar."""


@dataclass(frozen=True, slots=True)
class Method:
    """One statement, such as `dkim=pass header.d=acme.com`."""

    name: str
    result: Result
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """Return the domain that it is about, as an A-label; empty without one.

        Gmail names `header.i` alone for a signature: a domain that may be below d=.
        """
        for name in _DOMAIN_IN.get(self.name, ()):
            if (value := self.properties.get(name)) is not None:
                return domain_key(value.rpartition("@")[2].strip("<>"))
        return ""


@dataclass(frozen=True, slots=True)
class Results:
    """One field: who found what."""

    authserv_id: str
    methods: tuple[Method, ...] = ()


def read_results(
    head: bytes, authserv_ids: Iterable[str], author: str, *, fields: int = 1
) -> Authentication | None:
    """Return what the server of one of these names found; None: nothing of it counts.

    Never raises: a field that cannot be read does not count, nor do those below it.

    Args:
        head: The header block of the mail.
        authserv_ids: The configured names, compared without case.
        author: The address that is judged.
        fields: How many fields the server writes into a mail.
    """
    known = {name.casefold() for name in authserv_ids}
    block = topmost(head, known, fields)
    if not block:
        return None
    methods = [method for one in block for method in one.methods]
    domain = domain_of(address_key(author) or "")
    spf = tuple(_spf(one, domain) for one in methods if one.name == "spf")
    dkim = tuple(_dkim(one, domain) for one in methods if one.name == "dkim")
    dmarc = _dmarc(methods, domain)
    if dmarc is not None and dmarc.result is Result.PASS:
        dmarc = replace(
            dmarc,
            spf_aligned=any(one.aligned and one.result is Result.PASS for one in spf),
            dkim_aligned=any(one.aligned and one.counts for one in dkim),
        )
    return Authentication(
        author=author,
        source=RESULTS,
        source_detail=block[0].authserv_id,
        spf=spf,
        dkim=dkim,
        dmarc=dmarc,
    )


def topmost(head: bytes, known: set[str], fields: int) -> list[Results]:
    """Return the topmost fields, at most so many, all of one of the known servers.

    The first Authentication-Results field of the mail must be of a known server. The
    next ones belong to it while they are of the same server and no `Received` field
    comes between them: what stands below that was there when the mail came in.
    """
    block: list[Results] = []
    for name, value in header_fields(head):
        if name == "received" and block:
            break
        if name != FIELD:
            continue
        try:
            one = parse(value)
        except _Unreadable:
            break
        if one.authserv_id.casefold() not in known:
            break
        if block and one.authserv_id.casefold() != block[0].authserv_id.casefold():
            break
        block.append(one)
        if len(block) == fields:
            break
    return block


def is_spoiled(head: bytes) -> bool:
    """Say whether the first field of the mail cannot be read.

    A stranger may have written what does that into the envelope or a signature, and the
    server that wrote the field copied it.
    """
    for name, value in header_fields(head):
        if name == FIELD:
            try:
                parse(value)
            except _Unreadable:
                return True
            break
    return False


# ------------------------------------------------------------------ the grammar


def parse_methods(value: bytes) -> tuple[Method, ...]:
    """Read what follows the instance of an ARC-Authentication-Results field.

    What cannot be read says nothing (RFC 8617 section 4.1.1).
    """
    try:
        return parse(value).methods
    except _Unreadable:
        return ()


def parse(value: bytes) -> Results:
    """Read the value of a field (RFC 8601 section 2.2).

    Raises:
        _Unreadable: It does not follow the grammar, or is longer than any honest one.
    """
    if len(value) > _MAX_BYTES:
        raise _Unreadable
    statements: list[list[str]] = [[]]
    for kind, text in _tokens(value.decode("utf-8", "replace")):
        if kind == "mark" and text == ";":
            statements.append([])
        else:
            statements[-1].append(text if kind != "quoted" else _QUOTED + text)
    identity, *rest = statements
    # A version may stand behind the name of the server.
    if not identity or len(identity) > 2 or identity[1:] not in ([], ["1"]):  # noqa: PLR2004
        raise _Unreadable
    methods = tuple(_method(words) for words in rest[:_MAX_METHODS] if words)
    return Results(
        identity[0].removeprefix(_QUOTED),
        tuple(one for one in methods if one is not None),
    )


_QUOTED: Final = "\0"
"""Marks a quoted string, whose content is never a mark of the grammar. NUL cannot stand
in a field that got this far: see `_tokens`."""


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Give words, quoted strings and marks; comments and white space are passed over.

    Raises:
        _Unreadable: Something is neither.
    """
    if "\0" in text:
        raise _Unreadable
    position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if found is None:
            raise _Unreadable
        position = found.end()
        if found["open"]:
            position = _after_comment(text, position)
        elif found.lastgroup == "quoted":
            yield "quoted", re.sub(r"\\(.)", r"\1", found["quoted"])
        elif found.lastgroup is not None:
            yield found.lastgroup, found[found.lastgroup]


def _after_comment(text: str, position: int) -> int:
    depth = 1
    while position < len(text):
        letter = text[position]
        position += 2 if letter == "\\" else 1
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return position
        if depth > _MAX_DEPTH:
            break
    raise _Unreadable


def _method(words: Sequence[str]) -> Method | None:
    """Read `name[/version]=result [reason=…] {ptype.property=value}`.

    None is the statement `none`: nothing was checked.
    """
    if list(words) == ["none"]:
        return None
    if len(words) > 2 and words[1] == "/":  # noqa: PLR2004 - name, slash, version
        words = [words[0], *words[3:]]
    if len(words) < 3 or words[1] != "=":  # noqa: PLR2004 - name, mark, result
        raise _Unreadable
    name, result = words[0].lower(), words[2].lower()
    return Method(name, _WORDS.get(result, Result.NEUTRAL), _properties(words[3:]))


def _properties(words: Sequence[str]) -> dict[str, str]:
    """Read the properties; of one that stands twice, none counts.

    A value may hold `=` and `/`, which only quoted ones should.
    """
    found: dict[str, list[str]] = {}
    names: list[str] = []
    position = 0
    while position < len(words):
        name = words[position].lower()
        starts = words[position + 1 : position + 2] == ["="]
        if starts and (_PROPERTY.fullmatch(name) or name == "reason"):
            names.append(name)
            found[name] = []
            position += 2
        elif names:
            found[names[-1]].append(words[position])
            position += 1
        else:
            # Words before the first property: Microsoft writes `action=none` there.
            position += 1
    return {
        name: "".join(parts).removeprefix(_QUOTED).replace(_QUOTED, "")
        for name, parts in found.items()
        if names.count(name) == 1
    }


# ------------------------------------------------------------------ the facts


def _spf(method: Method, author_domain: str) -> SPFCheck:
    if domain := method.domain:
        return SPFCheck(
            Identity.MAIL_FROM,
            domain,
            method.result,
            f"told for {domain}",
            aligned=domain == author_domain,
        )
    helo = domain_key(method.properties.get("smtp.helo", ""))
    return SPFCheck(Identity.HELO, helo, method.result, f"told for {helo or 'nobody'}")


def _dkim(method: Method, author_domain: str) -> Signature:
    """Read a signature; Gmail names `header.i` alone, whose domain may be below d=.

    `i=` may be any name below `d=`, and the signer chooses it. So it shows at least
    that the owner of a domain above it has signed, which says nothing of its own name
    for somebody who can choose: only the very domain counts as aligned.
    """
    identity = method.properties.get("header.i", "")
    domain = method.domain
    passed = method.result is Result.PASS
    return Signature(
        domain=domain,
        selector=method.properties.get("header.s", ""),
        result=method.result,
        text=f"told for {domain or 'nobody'}",
        identity=identity or (f"@{domain}" if domain else ""),
        algorithm=method.properties.get("header.a", ""),
        covers=passed and bool(domain),
        aligned=domain == author_domain and bool(domain),
    )


def _dmarc(methods: Sequence[Method], author_domain: str) -> DMARCCheck | None:
    """Read DMARC, where it was told for the author's domain and only once.

    A pass may rest on domains that are aligned in a way that only the server knows:
    then neither `spf_aligned` nor `dkim_aligned` is set.
    """
    found = [one for one in methods if one.name == "dmarc"]
    if not found:
        return None
    domains = {one.domain for one in found}
    if len(found) > 1 or domains != {author_domain}:
        text = f"told for {', '.join(sorted(domains)) or 'nobody'}, not for the author"
        return DMARCCheck(author_domain, Result.NEUTRAL, text)
    return DMARCCheck(author_domain, found[0].result, f"told for {author_domain}")
