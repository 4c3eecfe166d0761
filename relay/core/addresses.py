"""E-mail addresses as they come in traffic: told apart, and compared.

Traffic holds addresses that strict validators refuse (`a..b@`, quoted local parts,
underscores in domains); a recipient is never dropped for that. So there are two
doors: `address_key` for what other people wrote, and, for what an admin enters,
`email-validator` at the command line and the console, whose result is passed
through `address_key` as well, so that both sides compare equal.
"""

from __future__ import annotations

import re
from typing import Final

MAX_ADDRESS: Final = 254
"""Longest forward-path that fits RFC 5321 section 4.5.3.1.3, without brackets."""

_HOST: Final = re.compile(r"[a-z0-9_.-]+")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f<>]")


def address_key(address: str) -> str | None:
    """Return the form under which two spellings of an address are equal, or None.

    The whole address is case-folded (Salesforce compares without case, and no mail
    system in use tells two people apart by case); an internationalised domain becomes
    its ASCII form, so that `@bücher.example` equals `@xn--bcher-kva.example`. None
    means that the text is no address at all: no `@`, an empty side, or white space,
    control characters or angle brackets in it.
    """
    address = address.strip()
    local, at, domain = address.rpartition("@")
    if not (at and local and domain) or _FORBIDDEN.search(address):
        return None
    domain = domain.rstrip(".")
    if not domain:
        return None
    return f"{_fold_local(local)}@{domain_key(domain)}"


def ascii_domain(address: str) -> str:
    """Return an address as it is, but for an internationalised domain in ASCII form.

    What has no such form, or is no address, stays as it is.
    """
    local, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    return f"{local}@{domain_key(domain)}"


def domain_key(domain: str) -> str:
    """Return the case-folded ASCII form of a domain; a strange one is only folded."""
    domain = domain.casefold().rstrip(".")
    if domain.isascii():
        return domain
    try:
        name = domain.encode("idna").decode("ascii").rstrip(".")
    except UnicodeError:
        return domain
    # IDNA makes an `@` of a full-width one, and a blank of a lone diaeresis.
    return name if _HOST.fullmatch(name) else domain


def _fold_local(local: str) -> str:
    """Fold case, and unquote a quoted local part that needed no quotes."""
    local = local.casefold()
    if len(local) > len('""') and local[0] == local[-1] == '"':
        inner = re.sub(r"\\(.)", r"\1", local[1:-1])
        if re.fullmatch(r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]+", inner):
            return inner
    return local


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
