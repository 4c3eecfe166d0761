"""Accepted addresses from Salesforce: each user's `User.Email`, kept in step.

The preview and the change are one plan: what is shown is what is done. An address that
came from Salesforce goes when `User.Email` changes or its User is no longer active; one
that an admin added, or that is the user's own, stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.admin.concerns import concerns
from relay.core.addresses import address_key
from relay.core.directory import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.core.directory import AcceptedAddress, Directory, User
    from relay.core.org import SalesforceUser


@dataclass(frozen=True, slots=True)
class ImportStep:
    """One line of the preview.

    `change` is `add`, `remove` or `skip`; `reason` says why, in words.
    """

    user: User
    address: str
    change: str
    reason: str = ""

    @property
    def row(self) -> dict[str, str]:
        """Return the names that `--json` prints."""
        return {
            "user": self.user.email,
            "address": self.address,
            "change": self.change,
            "reason": self.reason,
        }


def plan_import(
    directory: Directory,
    accepted: Sequence[AcceptedAddress],
    found: Iterable[SalesforceUser],
) -> list[ImportStep]:
    """Return what has to change so that each user has their `User.Email`, by name.

    Args:
        directory: Users, and what is accepted.
        accepted: All accepted addresses, with their source.
        found: The Salesforce users that belong to the users.
    """
    known = {one.id: one for one in found}
    imported: dict[int, list[str]] = {}
    for one in accepted:
        if one.source is Source.SALESFORCE:
            imported.setdefault(one.user_id, []).append(one.address)
    steps: list[ImportStep] = []
    for user in sorted(directory.users.values(), key=lambda one: (one.name, one.id)):
        if user.removed_at or not user.salesforce_id:
            continue
        person = known.get(user.salesforce_id)
        steps += _steps(user, person, imported.get(user.id, []), directory)
    return steps


def _steps(
    user: User,
    person: SalesforceUser | None,
    imported: Sequence[str],
    directory: Directory,
) -> list[ImportStep]:
    key = person.email_key if person and person.is_active else ""
    if person is None:
        # Not seen is not gone: a right may be missing. Nothing is taken away for it.
        reason = f"Salesforce shows no user {user.salesforce_id}"
        return [ImportStep(user, "", "skip", reason)]
    why = "User.Email is another now" if person.is_active else "the User is not active"
    steps = [
        ImportStep(user, old, "remove", why) for old in sorted(imported) if old != key
    ]
    if not key or address_key(key) is None:
        return steps
    if key in directory.accepted.get(user.id, frozenset()):
        return steps
    if against := concerns(key, directory, user.id):
        reason = "; ".join(one.text for one in against)
        return [*steps, ImportStep(user, key, "skip", reason)]
    return [*steps, ImportStep(user, key, "add", "User.Email")]
