"""Users and accepted addresses from elsewhere: first a plan, then just that plan.

Users come from a CSV file or are those of Salesforce; accepted addresses follow each
user's `User.Email` (`relay.admin.salesforce_addresses`). What is shown as a plan is
what is done: who carries it out names what they saw, and others' edits in between make
the plan new.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.admin.concerns import concerns
from relay.admin.inputs import email_address, person_name, salesforce_user_id
from relay.console.salesforce import need_org
from relay.core.addresses import address_key
from relay.core.directory import Role
from relay.core.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.admin.salesforce_addresses import ImportStep
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory, User
    from relay.core.org import SalesforceUser
    from relay.store import Store

COLUMNS: Final = ("name", "email", "role", "salesforce_id")
"""Of a CSV file; the last two may be left out."""
MOST: Final = 2000
"""Users of one import."""
LONGEST: Final = 1024 * 1024
"""Characters of a CSV file."""


@dataclass(frozen=True, slots=True)
class Entered:
    """A user as a file or Salesforce names them, not checked yet."""

    name: str
    email: str
    role: str = ""
    salesforce_id: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class UserStep:
    """One line of the plan.

    `change` is `add` or `skip`; `reason` says in words why somebody is skipped.
    """

    name: str
    email: str
    role: str
    salesforce_id: str | None
    change: str
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        return {
            "name": self.name,
            "email": self.email,
            "role": self.role,
            "salesforce_id": self.salesforce_id,
            "change": self.change,
            "reason": self.reason,
        }


# ------------------------------------------------------------------ users


def read_csv(text: str) -> list[Entered]:
    """Return the users of a CSV file, whose first line names the columns.

    Commas, semicolons or tabs stand between the values; columns that are not known are
    passed over.

    Raises:
        InvalidInput: It is no such file, or too large.
    """
    if len(text) > LONGEST:
        raise InvalidInput("the file is too large", f"at most {LONGEST} characters")
    text = text.removeprefix("\ufeff").replace("\x00", "")
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    except csv.Error as error:
        raise InvalidInput(f"this is no CSV file: {error}") from None
    names = [name.strip().lower().replace(" ", "_") for name in rows[0]] if rows else []
    if not {"name", "email"} <= set(names):
        hint = "write name,email,role,salesforce_id into the first line"
        raise InvalidInput("the first line does not name the columns", hint)
    found = []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        values = dict(zip(names, (cell.strip() for cell in row), strict=False))
        known = {name: values.get(name, "") for name in COLUMNS}
        found.append(Entered(**known, line=number))
    if not 0 < len(found) <= MOST:
        raise InvalidInput(f"the file names {len(found)} users", f"1 to {MOST} at once")
    return found


async def from_salesforce(
    settings: Settings, clock: Clock | None = None
) -> list[Entered]:
    """Return the active users of the org.

    Raises:
        NoSalesforce: No Salesforce is set.
        SalesforceUnavailable, OrgPaused: It could not be asked.
    """
    async with need_org(settings, clock) as org:
        found = await org.lookup.everybody()
    return [Entered(one.name, one.email_key, salesforce_id=one.id) for one in found]


def plan_users(directory: Directory, entered: Iterable[Entered]) -> list[UserStep]:
    """Return what becomes of each, in their order.

    Who is a user already, stands twice, or against whose address something speaks, is
    skipped; the last can be added alone, with a confirmation.
    """
    taken = {
        address_key(user.email) or user.email
        for user in directory.users.values()
        if not user.removed_at
    }
    owners = {
        user.salesforce_id
        for user in directory.users.values()
        if user.salesforce_id and not user.removed_at
    }
    steps = []
    for one in entered:
        step = _step(one, directory, taken, owners)
        if step.change == "add":
            taken.add(step.email)
        steps.append(step)
    return steps


def _step(
    one: Entered, directory: Directory, taken: set[str], owners: set[str]
) -> UserStep:
    role = one.role.lower() or Role.REP.value
    where = f"line {one.line}: " if one.line else ""

    def skip(reason: str) -> UserStep:
        return UserStep(one.name, one.email, role, None, "skip", f"{where}{reason}")

    try:
        name, email = person_name(one.name), email_address(one.email)
        owner = salesforce_user_id(one.salesforce_id) if one.salesforce_id else None
    except InvalidInput as error:
        return skip(str(error))
    if role not in {role.value for role in Role}:
        return skip(f"{role!r} is no role; write one of {', '.join(Role)}")
    if email in taken:
        return skip("there is a user with this address")
    if owner in owners:
        return skip("there is a user with this Salesforce id")
    if against := concerns(email, directory, None):
        return skip("; ".join(found.text for found in against))
    return UserStep(name, email, role, owner, "add")


def digest(steps: Sequence[UserStep]) -> str:
    """Return a word that changes with what a plan would add."""
    text = repr([one for one in steps if one.change == "add"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def add_users(
    store: Store,
    steps: Sequence[UserStep],
    actor: str,
    *,
    activate: bool = True,
) -> list[User]:
    """Add the users of a plan, one edit each; return them.

    Raises:
        Conflict: One of them is there by now; those before were added.
    """
    added = []
    for one in steps:
        if one.change == "add":
            user = await store.directory.add_user(
                *(one.name, one.email, Role(one.role), one.salesforce_id, actor),
                activate=activate,
            )
            added.append(user)
    return added


def need_same(steps: Sequence[UserStep], seen: str) -> None:
    """Pass a plan that is the one that was seen.

    Raises:
        Conflict: It is another by now; nothing was changed.
    """
    if digest(steps) != seen:
        text = "the plan is another by now; look at it again, nothing was changed"
        raise Conflict(text)


# ------------------------------------------------------------------ accepted addresses


async def plan_addresses(
    settings: Settings, store: Store, clock: Clock | None = None
) -> list[ImportStep]:
    """Return what has to change so that each user has their `User.Email`.

    Raises:
        NoSalesforce: No Salesforce is set.
        SalesforceUnavailable, OrgPaused: It could not be asked.
    """
    from relay.admin.salesforce_addresses import (  # noqa: PLC0415 - few need it
        plan_import,
    )

    directory = settings.directory(await store.directory.load())
    ids = sorted({u.salesforce_id for u in directory.users.values() if u.salesforce_id})
    found = await salesforce_users(settings, ids, clock) if ids else []
    return plan_import(directory, await store.directory.addresses(), found)


async def salesforce_users(
    settings: Settings, ids: Sequence[str], clock: Clock | None = None
) -> list[SalesforceUser]:
    """Return Users of the org by their ids."""
    async with need_org(settings, clock) as org:
        return list((await org.lookup.users(ids)).values())


def changing(steps: Sequence[ImportStep]) -> list[tuple[int, str, bool]]:
    """Return the changes of a plan: user, address, and whether it comes."""
    return [
        (step.user.id, step.address, step.change == "add")
        for step in steps
        if step.change != "skip"
    ]


async def follow(store: Store, steps: Sequence[ImportStep], actor: str) -> int:
    """Carry a plan of `plan_addresses` out; return how many were changed."""
    return await store.directory.follow_salesforce(changing(steps), actor)
