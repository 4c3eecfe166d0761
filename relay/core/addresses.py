"""E-mail addresses as they come in traffic: taken apart, and compared.

Traffic holds addresses that strict validators refuse (`a..b@`, quoted local parts,
underscores in domains); a recipient is never dropped for that. `address_key` reads what
other people wrote and what an admin enters alike, so that both sides compare equal; for
an admin's input `email-validator` checks first.

Domains are read by IDNA 2008 with the mapping of UTS 46, non-transitional:
`straße.example` is `xn--strae-oqa.example`, and never `strasse.example`, which may
belong to another owner. (Python's codec `idna` is IDNA 2003 and takes both for one.)
The same holds for ς, ZWJ and ZWNJ. A domain that IDNA 2008 has no form for (an emoji,
a joiner out of place, a label of more than 63 octets) stays as it was written, ASCII
letters small: it equals only itself, since every encoded domain is ASCII.

Only ASCII letters of a local part are compared without case: `weiß` is not `weiss`, and
the Kelvin sign is not `k`. Which other spellings name one mailbox, only the server of
that mailbox knows (RFC 5321 section 2.4; RFC 6532 section 3.1).

Source: RFC 5891 section 4; Unicode Technical Standard 46 section 4.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_ADDRESS: Final = 254
"""Longest forward-path that fits RFC 5321 section 4.5.3.1.3, without brackets."""

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f<>]")
_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")
"""What separates labels (RFC 3490 section 3.1, still read by UTS 46 section 2.3)."""
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
"""A label that needs no encoding; with the underscore that real domains have."""
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_MAX_DOMAIN: Final = 255
"""Characters of a domain that may have an ASCII form (RFC 1035 section 2.3.4)."""
_REMEMBERED: Final = 4096
"""Domains whose other form is remembered: encoding one takes some 20 µs."""


def address_key(address: str) -> str | None:
    """Return the form under which two spellings of an address are equal, or None.

    ASCII letters become small (Salesforce compares without case, and no mail system
    in use tells two people apart by it); an internationalised domain becomes its ASCII
    form, so that `@bücher.example` equals `@xn--bcher-kva.example`. None means that the
    text is no address at all: no `@`, an empty side, or white space, control characters
    or angle brackets in it. A key is its own key.
    """
    address = address.strip()
    local, at, domain = address.rpartition("@")
    if not (at and local) or _FORBIDDEN.search(address):
        return None
    domain = domain_key(domain)
    if not domain:
        return None
    return f"{_fold_local(local)}@{domain}"


def domain_key(domain: str) -> str:
    """Return the ASCII form of a domain, in small letters and without a last dot.

    A domain that has none is returned as written, ASCII letters small.
    """
    if domain.isascii():
        return domain.lower().rstrip(".")
    if len(domain) > _MAX_DOMAIN:
        return _written(domain)
    return _encoded(domain)


def ascii_domain(address: str) -> str:
    """Return an address as it is, but for an internationalised domain in ASCII form.

    What has no such form, or is no address, stays as it is.
    """
    local, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    key = domain_key(domain)
    return f"{local}@{key}" if key.isascii() else address


def unicode_domain(domain: str) -> str:
    """Return a domain key as people read it: A-labels become U-labels.

    A label that only looks like an A-label stays, and so does a domain with an empty
    label: `domain_key` leads back.
    """
    if "xn--" not in domain:
        return domain
    shown = _decoded(domain)
    return shown if domain_key(shown) == domain else domain


def spellings(key: str) -> tuple[str, ...]:
    """Return the forms in which an address may be kept in Salesforce, the key first.

    Salesforce keeps what was typed and does not know that `a@xn--bcher-kva.example` and
    `a@bücher.example` are one address: both have to be asked for.
    """
    local, _, domain = key.rpartition("@")
    shown = unicode_domain(domain)
    return (key,) if shown == domain else (key, f"{local}@{shown}")


def fold_ascii(text: str) -> str:
    """Return a text with ASCII letters small, all others as they are."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


def domain_of(key: str) -> str:
    """Return the domain of an address key."""
    return key.rpartition("@")[2]


def covers(pattern: str, key: str) -> bool:
    """Say whether a pattern (an address key, or `*@domain`) covers an address key.

    `*@domain` covers that domain alone, not its sub-domains.
    """
    if pattern.startswith("*@"):
        return domain_of(key) == pattern[2:]
    return pattern == key


def _fold_local(local: str) -> str:
    """Fold ASCII case, and unquote a quoted local part that needed no quotes."""
    local = fold_ascii(local)
    if len(local) > len('""') and local[0] == local[-1] == '"':
        inner = re.sub(r"\\(.)", r"\1", local[1:-1])
        if re.fullmatch(r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]+", inner):
            return inner
    return local


def _written(domain: str) -> str:
    return fold_ascii(_DOTS.sub(".", domain)).rstrip(".")


@lru_cache(_REMEMBERED)
def _encoded(domain: str) -> str:
    written = _written(domain)
    if written.isascii():
        return written
    labels = [_a_label(label) for label in written.split(".")]
    known = [label for label in labels if label is not None]
    return ".".join(known) if len(known) == len(labels) else written


@lru_cache(_REMEMBERED)
def _decoded(domain: str) -> str:
    return ".".join([_u_label(label) for label in domain.split(".")])


def _a_label(label: str) -> str | None:
    """Return the ASCII form of one label; None: IDNA 2008 has none."""
    import idna  # noqa: PLC0415 - 15 ms, and most relays never meet such a domain

    if label.isascii():
        return label if _LABEL.fullmatch(label) else None
    try:
        mapped = idna.uts46_remap(label, std3_rules=True)
        return idna.alabel(mapped).decode("ascii")
    except idna.IDNAError:
        return None


def _u_label(label: str) -> str:
    """Return the U-label of an A-label; any other label as it is."""
    import idna  # noqa: PLC0415 - see `_a_label`

    if not label.startswith("xn--"):
        return label
    try:
        shown = idna.ulabel(label)
    except idna.IDNAError:
        return label
    return shown if _a_label(shown) == label else label
