"""What speaks against accepting an address: pointed out, and left to the admin.

None of it is wrong in itself, so none is refused: a rep may own a mailbox at Gmail that
another rep uses too. But each is how a stranger gets into the CRM, so the command line,
the API and the console show it and ask for a confirmation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.addresses import address_key, domain_of, unicode_domain
from relay.core.free_mail import is_free_mail
from relay.core.looks import looks_like, mixed_scripts
from relay.core.mailboxes import entry_for

if TYPE_CHECKING:
    from relay.core.directory import Directory


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that an admin should know; `word` is stable, `text` a sentence."""

    word: str
    text: str


def concerns(key: str, directory: Directory, user_id: int | None) -> list[Concern]:
    """Return what speaks against letting an address send for a user.

    Args:
        key: An address key, or `*@domain`.
        directory: Everybody, and what is accepted.
        user_id: For whom it shall send; None: for a user who is about to be added.
    """
    found = []
    domain = domain_of(key)
    if key.startswith("*@") and is_free_mail(domain):
        text = f"anybody may open a mailbox at {domain}, and could send"
        found.append(Concern("free_mail_domain", text))
    for user in directory.users.values():
        if user.id == user_id or user.removed_at:
            continue
        if address_key(user.email) == key:
            if user_id is None:  # The store refuses a second user with an address.
                continue
            text = f"{key} is the address of {user.name} <{user.email}>"
            found.append(Concern("other_user", text))
        elif entry_for(directory.accepted.get(user.id, ()), key) not in {"", _all(key)}:
            text = f"{key} sends for {user.name} <{user.email}> already"
            found.append(Concern("other_user", text))
    if mixed := mixed_scripts(key):
        names = " and ".join(sorted(name.capitalize() for name in mixed))
        text = f"{_shown(key)} mixes letters of {names}"
        found.append(Concern("mixed_scripts", text))
    known = {entry for entries in directory.accepted.values() for entry in entries}
    if alike := looks_like(key, sorted(known)):
        text = f"{_shown(key)} looks like {_shown(alike)}, and is another domain"
        found.append(Concern("looks_alike", text))
    return found


def _all(key: str) -> str:
    """Return the entry of the whole domain: it is no claim to one mailbox."""
    return "" if key.startswith("*@") else f"*@{domain_of(key)}"


def _shown(key: str) -> str:
    """Return an address in both spellings, where they differ."""
    local, _, domain = key.rpartition("@")
    people = unicode_domain(domain)
    return key if people == domain else f"{local}@{people} ({domain})"
