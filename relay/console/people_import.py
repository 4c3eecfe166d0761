"""Users and accepted addresses from elsewhere: first a plan, then just that plan.

Users come from a CSV file or are those of Salesforce: who is new is added, and who is
there is changed where that was asked for; accepted addresses follow each
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
from relay.core.errors import Conflict, InvalidInput, NotFound

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
CSV, SALESFORCE = "csv", "salesforce"
"""Where users come from."""
MOST: Final = 2000
"""Users of one import."""
LONGEST: Final = 1024 * 1024
"""Characters of a CSV file."""
_NEW: Final = -1
"""The number of a user who is to be added."""


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

    Attributes:
        name: As it would be.
        email: As it would be, or as it was entered where it does not fit.
        role: As it would be, or as it was entered.
        salesforce_id: As it would be; None: found by the address.
        change: `add`, `change`, or `skip`.
        reason: Why somebody is skipped, or what changes, in words.
        line: Of the file; 0: there is none.
        is_wrong: Skipped because the line does not fit; else there is nothing to do.
        user_id: Who is to be changed.
        changes: What is to change, by the names of `User`.
    """

    name: str
    email: str
    role: str
    salesforce_id: str | None
    change: str
    reason: str = ""
    line: int = 0
    is_wrong: bool = False
    user_id: int | None = None
    changes: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        return {
            "name": self.name,
            "email": self.email,
            "role": self.role,
            "salesforce_id": self.salesforce_id,
            "change": self.change,
            "reason": self.reason,
            "line": self.line or None,
            "error": self.is_wrong,
        }


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a plan.

    Attributes:
        added: The new users.
        changed: How many were changed.
        overtaken: How many were left, since somebody was faster.
    """

    added: tuple[User, ...] = ()
    changed: int = 0
    overtaken: int = 0


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


async def planned(
    store: Store,
    settings: Settings,
    source: str,
    text: str = "",
    *,
    update: bool = False,
    clock: Clock | None = None,
) -> list[UserStep]:
    """Return what becomes of everybody whom a source names.

    Args:
        store: The open store.
        settings: The settings.
        source: `csv` or `salesforce`.
        text: The CSV file.
        update: Users who are there are changed to what the source says.
        clock: The time.

    Raises:
        InvalidInput: It is no such source, or no such file.
        NoSalesforce: No Salesforce is set.
        SalesforceUnavailable, OrgPaused: It could not be asked.
    """
    if source == CSV:
        entered = read_csv(text)
    elif source == SALESFORCE:
        entered = await from_salesforce(settings, clock)
    else:
        raise InvalidInput("it is not said where users come from", "choose one")
    directory = settings.directory(await store.directory.load())
    return plan_users(directory, entered, update=update)


def plan_users(
    directory: Directory, entered: Iterable[Entered], *, update: bool = False
) -> list[UserStep]:
    """Return what becomes of each, in their order.

    Who is a user already is skipped, or with `update` changed to what was entered; an
    empty role or id changes nothing. Who stands twice, or against whose address
    something speaks, is skipped; the last can be added alone, with a confirmation.
    """
    plan = _Plan(directory, update=update)
    return [plan.step(one) for one in entered]


class _Plan:
    """Plans one line after the other, each knowing those before."""

    def __init__(self, directory: Directory, *, update: bool) -> None:
        there = [user for user in directory.users.values() if not user.removed_at]
        self._directory = directory
        self._update = update
        self._users = {address_key(user.email) or user.email: user for user in there}
        self._owners = {
            user.salesforce_id: user.id for user in there if user.salesforce_id
        }
        self._seen: set[str] = set()

    def step(self, one: Entered) -> UserStep:
        """Return what becomes of one line."""
        role = one.role.lower()

        def skip(reason: str, *, is_wrong: bool = True) -> UserStep:
            where = f"line {one.line}: " if one.line else ""
            return UserStep(
                *(one.name, one.email, role or Role.REP.value, None, "skip"),
                reason=f"{where}{reason}",
                line=one.line,
                is_wrong=is_wrong,
            )

        try:
            name, email = person_name(one.name), email_address(one.email)
            owner = salesforce_user_id(one.salesforce_id) if one.salesforce_id else None
        except InvalidInput as error:
            return skip(str(error))
        if role not in {"", *(role.value for role in Role)}:
            return skip(f"{role!r} is no role; write one of {', '.join(Role)}")
        if email in self._seen:
            return skip("the address stands twice")
        self._seen.add(email)
        user = self._users.get(email)
        if user is not None and not self._update:
            return skip("there is a user with this address", is_wrong=False)
        if owner and self._owners.get(owner, me := user and user.id) != me:
            return skip("there is a user with this Salesforce id")
        if user is not None:
            return self._change(one, user, name, role, owner) or skip(
                "nothing changes", is_wrong=False
            )
        if against := concerns(email, self._directory, None):
            return skip("; ".join(found.text for found in against))
        if owner:
            self._owners[owner] = _NEW
        return UserStep(
            name, email, role or Role.REP.value, owner, "add", line=one.line
        )

    @staticmethod
    def _change(
        one: Entered, user: User, name: str, role: str, owner: str | None
    ) -> UserStep | None:
        """Return what changes of a user; None: nothing does."""
        now = {
            "name": user.name,
            "role": user.role.value,
            "salesforce_id": user.salesforce_id,
        }
        sent = {"name": name, "role": role, "salesforce_id": owner}
        new = {key: text for key, text in sent.items() if text and text != now[key]}
        if not new:
            return None
        words = (f"{key}: {now[key] or '-'} → {text}" for key, text in new.items())
        return UserStep(
            *(name, user.email, role or user.role.value),
            salesforce_id=owner or user.salesforce_id,
            change="change",
            reason="; ".join(words),
            line=one.line,
            user_id=user.id,
            changes=tuple(new.items()),
        )


def counts(steps: Sequence[UserStep]) -> dict[str, int]:
    """Return how many a plan adds, changes and leaves, and how many lines are wrong."""
    return {
        "add": sum(one.change == "add" for one in steps),
        "change": sum(one.change == "change" for one in steps),
        "left": sum(one.change == "skip" for one in steps),
        "errors": sum(one.is_wrong for one in steps),
    }


def digest(steps: Sequence[UserStep]) -> str:
    """Return the identity of a plan: it changes with what would be done, to whom."""
    text = repr([one for one in steps if one.change != "skip"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def carry_out(
    store: Store,
    steps: Sequence[UserStep],
    actor: str,
    *,
    activate: bool = True,
) -> Imported:
    """Add and change the users of a plan, one edit each.

    Whom somebody has added or removed in the same moment is left.
    """
    added, changed, overtaken = [], 0, 0
    for one in steps:
        try:
            if one.change == "add":
                user = await store.directory.add_user(
                    *(one.name, one.email, Role(one.role), one.salesforce_id, actor),
                    activate=activate,
                )
                added.append(user)
            elif one.user_id is not None:
                await store.directory.update_user(one.user_id, dict(one.changes), actor)
                changed += 1
        except (Conflict, NotFound):
            overtaken += 1
    return Imported(tuple(added), changed, overtaken)


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
