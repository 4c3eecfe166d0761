"""What people type, turned into values, or into a sentence that names the mend."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from relay.core.addresses import MAX_ADDRESS, address_key, domain_of
from relay.core.ids import record_id

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}
_USER_PREFIX: Final = "005"
"""Key prefix of User (Salesforce Help, "Standard Field Record ID Prefix Decoder")."""
_MAX_NAME: Final = 200


def since(text: str, now: datetime) -> datetime:
    """Return the time that `10m`, `2h`, `3d` ago or an ISO 8601 time names.

    A time without a zone is in UTC, as the listings are.

    Raises:
        click.BadParameter: It is neither.
    """
    ago = _AGO.fullmatch(text.strip().lower())
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        problem = f"{text!r} is no time; write 10m, 2h, 3d or 2026-01-31T09:00"
        raise click.BadParameter(problem, param_hint="--since") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def email_address(text: str, *, hint: str = "ADDRESS") -> str:
    """Return an e-mail address in its compared form, or say what is wrong with it.

    Names that exist only inside a company (`.local`, `.test`) are fine: nobody asks
    the DNS.

    Raises:
        click.BadParameter: No mail program would take it.
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
        problem = f"{text!r} is no e-mail address: {error}"
        raise click.BadParameter(problem, param_hint=hint) from None
    # `valid` has the local part in Unicode's form NFC, which makes a `k` of the Kelvin
    # sign; mail is compared as it is written, and so is this.
    key = address_key(text)
    if key is None or len(key) > MAX_ADDRESS or not domain_of(key).isascii():
        problem = f"{text!r} is no e-mail address of at most {MAX_ADDRESS} characters"
        raise click.BadParameter(problem, param_hint=hint)
    domain = domain_of(key)
    if "." not in domain and domain != "localhost":
        problem = f"{text!r} names no whole domain; write {key}.com or what it is"
        raise click.BadParameter(problem, param_hint=hint)
    return key


def address_pattern(text: str, *, hint: str = "ADDRESS") -> str:
    """Return an address, or `*@domain` for everybody in a domain.

    Raises:
        click.BadParameter: It is neither.
    """
    text = text.strip()
    if text.startswith("*@"):
        return "*@" + email_address(f"x@{text[2:]}", hint=hint)[2:]
    if text.startswith("@") or ("@" not in text and "." in text):
        domain = text.removeprefix("@")
        problem = f"{text!r} is no address; for a whole domain write '*@{domain}'"
        raise click.BadParameter(problem, param_hint=hint)
    if "*" in text.rpartition("@")[2]:
        problem = f"{text!r}: name each domain; '*@domain' covers that domain alone"
        raise click.BadParameter(problem, param_hint=hint)
    return email_address(text, hint=hint)


def known_pattern(text: str, *, hint: str = "ADDRESS") -> str:
    """Return what is to be removed: anything that may stand in the store."""
    text = text.strip()
    if text.startswith("*@"):
        return address_pattern(text, hint=hint)
    return address_key(text) or address_pattern(text, hint=hint)


def salesforce_user_id(text: str) -> str:
    """Return the 18-character id of a Salesforce user.

    Raises:
        click.BadParameter: It is no record id, or not one of a User.
    """
    hint = "--salesforce-id"
    found = record_id(text.strip())
    if found is None:
        problem = f"{text!r} is no record id; copy the 15 or 18 characters of the user"
        raise click.BadParameter(problem, param_hint=hint)
    if not found.startswith(_USER_PREFIX):
        problem = f"{text!r} is no User; ids of users begin with {_USER_PREFIX}"
        raise click.BadParameter(problem, param_hint=hint)
    return found


def person_name(text: str) -> str:
    """Return a name on one line.

    Raises:
        click.BadParameter: It is empty, too long, or holds control characters.
    """
    name = " ".join(text.split())
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        problem = f"write 1 to {_MAX_NAME} printable characters"
        raise click.BadParameter(problem, param_hint="NAME")
    return name
