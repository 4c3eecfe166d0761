"""What an admin enters, turned into values; one error class says what does not fit.

The command line, the API and the console read the same input with these functions, so
that an address, a name or a time means the same wherever it was typed.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from relay.core.addresses import MAX_ADDRESS, address_key, domain_of
from relay.core.errors import InvalidInput, NotFound
from relay.core.filters import read_span, read_time
from relay.core.ids import record_id
from relay.core.passwords import hash_password, new_password

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from relay.core.directory import User

_USER_PREFIX: Final = "005"
"""Key prefix of User (Salesforce Help, "Standard Field Record ID Prefix Decoder")."""
_MAX_NAME: Final = 200
SHORTEST_ID: Final = 6
"""Characters of an id that a person must give."""
_ID: Final = re.compile(rf"[0-9a-hjkmnp-tv-z]{{{SHORTEST_ID},26}}")
_MARK: Final = "relay_"
"""Scanners of source code find a token that was published by mistake by its prefix."""
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Secret:
    """A new token or password: shown once, and kept as a digest alone."""

    text: str
    digest: str


# ------------------------------------------------------------------ times and ids


def since(text: str, now: datetime) -> datetime:
    """Return the time that `10m`, `2h`, `3d` ago or an ISO 8601 time names.

    A time without a zone is in UTC, as the listings are.

    Raises:
        InvalidInput: It is neither.
    """
    return read_time(text, now)


def until(text: str, now: datetime) -> datetime:
    """Return the time that `30d` from now, a day (its end) or an ISO 8601 time names.

    Raises:
        InvalidInput: It is none, or over.
    """
    hint = "write 30d, or a day that is to come"
    try:
        span = read_span(text)
        at = read_time(text, now, end=True) if span is None else now + span
    except OverflowError:
        raise InvalidInput(f"{text!r} is no time", hint) from None
    if at <= now:
        raise InvalidInput(f"{text!r} is over", hint)
    return at


def silence(text: str) -> timedelta:
    """Return how long `14d` or `2w` is.

    Raises:
        InvalidInput: It is no such time.
    """
    try:
        span = read_span(text)
    except OverflowError:
        span = None
    if span is None:
        raise InvalidInput(f"{text!r} is no length of time", "write 14d, 2w or 12h")
    return span


def message_id(text: str) -> str:
    """Return an id of a message or refusal, or its first characters, in lower case.

    Raises:
        NotFound: No id can begin so.
    """
    found = text.strip().lower()
    if not _ID.fullmatch(found):
        problem = (
            f"{found!r} is no message id, nor the first {SHORTEST_ID} or more "
            "characters of one; `relay log` lists them"
        )
        raise NotFound(problem)
    return found


# ------------------------------------------------------------------ addresses


def email_address(text: str) -> str:
    """Return an e-mail address in its compared form, or say what is wrong with it.

    Names that exist only inside a company (`.local`, `.test`) are fine: the DNS is not
    asked.

    Raises:
        InvalidInput: No mail program would take it.
    """
    from email_validator import (  # noqa: PLC0415 - only few commands need it
        SPECIAL_USE_DOMAIN_NAMES,
        EmailNotValidError,
        validate_email,
    )

    last_label = text.strip().rpartition("@")[2].rpartition(".")[2].lower()
    # The library refuses names that the public DNS has not got; a company's own
    # network may have them. Put below an ordinary name, they are read like any other.
    tail = ".example" if last_label in SPECIAL_USE_DOMAIN_NAMES else ""
    try:
        validate_email(text.strip() + tail, check_deliverability=False)
    except EmailNotValidError as error:
        raise InvalidInput(f"{text!r} is no e-mail address: {error}") from None
    # The library's form has the local part in Unicode's NFC, which makes a `k` of the
    # Kelvin sign; mail is compared as it is written, and so is this.
    key = address_key(text)
    if key is None or len(key) > MAX_ADDRESS or not domain_of(key).isascii():
        problem = f"{text!r} is no e-mail address of at most {MAX_ADDRESS} characters"
        raise InvalidInput(problem)
    if "*" in key:
        # A literal asterisk is allowed in mail, and nobody has one: it is always meant
        # to stand for something.
        problem = f"{text!r}: an asterisk stands for no part of an address"
        hint = "write each address; only an accepted address may be '*@domain'"
        raise InvalidInput(problem, hint)
    domain = domain_of(key)
    if "." not in domain and domain != "localhost":
        problem = f"{text!r} names no whole domain"
        raise InvalidInput(problem, f"write {key}.com or what it is")
    return key


def address_pattern(text: str) -> str:
    """Return an address, or `*@domain` for everybody in a domain.

    Raises:
        InvalidInput: It is neither.
    """
    text = text.strip()
    if text.startswith("*@"):
        return "*@" + email_address(f"x@{text[2:]}")[2:]
    if text.startswith("@") or ("@" not in text and "." in text):
        domain = text.removeprefix("@")
        hint = f"for a whole domain write '*@{domain}'"
        raise InvalidInput(f"{text!r} is no address", hint)
    if "*" in text.rpartition("@")[2]:
        hint = "'*@domain' covers that domain alone"
        raise InvalidInput(f"{text!r}: name each domain", hint)
    return email_address(text)


def known_pattern(text: str) -> str:
    """Return what is to be removed: anything that may stand in the store."""
    text = text.strip()
    if text.startswith("*@"):
        return address_pattern(text)
    return address_key(text) or address_pattern(text)


# ------------------------------------------------------------------ people


def salesforce_user_id(text: str) -> str:
    """Return the 18-character id of a Salesforce user.

    Raises:
        InvalidInput: It is no record id, or not one of a User.
    """
    found = record_id(text.strip())
    if found is None:
        hint = "copy the 15 or 18 characters of the user"
        raise InvalidInput(f"{text!r} is no record id", hint)
    if not found.startswith(_USER_PREFIX):
        hint = f"ids of users begin with {_USER_PREFIX}"
        raise InvalidInput(f"{text!r} is no User", hint)
    return found


def person_name(text: str) -> str:
    """Return a name on one line.

    Raises:
        InvalidInput: It is empty, too long, or holds control characters.
    """
    name = " ".join(text.split())
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidInput(f"write 1 to {_MAX_NAME} printable characters")
    return name


def relay_address(domains: Sequence[str], user: User) -> str | None:
    """Return a user's relay address; None: no domain is set, or the user is removed."""
    if not (domains and user.relay_token):
        return None
    return f"{user.relay_token}@{domains[0]}"


# ------------------------------------------------------------------ secrets


def new_app_password() -> Secret:
    """Make the password of a mail program; its digest is slow to guess from."""
    password = new_password()
    return Secret(password, hash_password(password))


def new_api_token() -> Secret:
    """Make the token of a program; it is random enough for a plain digest."""
    token = _MARK + secrets.token_urlsafe(_TOKEN_BYTES)
    return Secret(token, sha256(token.encode()).hexdigest())
