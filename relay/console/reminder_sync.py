"""The sync of reminders with Salesforce tasks, as people handle it.

The switch of each user, how far it is, conflicts, and what could not be kept in step.

`relay reminder sync`, the API and the settings page call these functions alone. A rep
handles the rep's own, an admin everybody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core.access import Scope
from relay.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from relay.core.syncing import REMEDY, Phase, SyncUser
from relay.salesforce.errors import rule

if TYPE_CHECKING:
    from relay.console.reminders import Desk
    from relay.core.directory import User
    from relay.core.reminders import Reminder
    from relay.core.syncing import KeptClash, Pair

OFF: Final = "off"
"""The choice that holds until another one is saved (R15)."""
ON: Final = "on"
OPTIONS: Final = {
    OFF: "Do not sync to Salesforce tasks",
    ON: "Sync reminders with Salesforce tasks",
}
FIRST_RUN: Final = (
    "The first run imports the tasks that were created or updated in Salesforce in the "
    "last 24 hours. Reminders that are here already are not sent; those that are made "
    "from then on are."
)
"""What is said before it is switched on first (R17 to R20)."""
_WORDS: Final = {
    Phase.FIRST: "importing",
    Phase.CATCH_UP: "catching up",
    Phase.FULL: "comparing",
    Phase.STEADY: "in step",
}


@dataclass(frozen=True, slots=True)
class SyncView:
    """The sync of a user, for people.

    Attributes:
        user: Whose.
        sync: The switch; None: it was never on.
        counts: How many tasks are followed, wait, fail, and conflicts not undone.
    """

    user: User
    sync: SyncUser | None
    counts: dict[str, int]

    @property
    def state(self) -> str:
        """Return the word: off, importing, catching up, comparing, in step, stopped."""
        if self.sync is None or not self.sync.is_on:
            return OFF
        return "stopped" if self.sync.stopped else _WORDS[self.sync.phase]

    @property
    def hint(self) -> str:
        """Return what helps where it is stopped; empty where it is not."""
        return REMEDY[self.sync.stopped] if self.sync and self.sync.stopped else ""

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay reminder sync status --json` prints."""
        sync = self.sync
        stopped = sync.stopped if sync else None
        return {
            "user": self.user.email,
            "state": self.state,
            "on": bool(sync and sync.is_on),
            "since": sync.on_at if sync and sync.is_on else None,
            "last_round": sync.synced_at if sync else None,
            "imported": sync.imported if sync else 0,
            "sent": sync.pushed if sync else 0,
            "tasks": self.counts.get("tasks", 0),
            "waiting": self.counts.get("waiting", 0),
            "failing": self.counts.get("failing", 0),
            "conflicts": self.counts.get("conflicts", 0),
            "stopped": str(stopped) if stopped else None,
            "why": sync.stopped_text if sync and stopped else "",
            "hint": self.hint,
        }


# ------------------------------------------------------------------ the switch


async def views(desk: Desk) -> list[SyncView]:
    """Return the sync of everybody whom the caller may see, by address."""
    desk.need(Scope.REMINDERS_READ)
    known = {one.user_id: one for one in await desk.store.reminder_sync.users()}
    counts = await desk.store.reminder_sync.counts()
    own = desk.who.own_only
    users = await desk.store.directory.users()
    return [
        SyncView(user, known.get(user.id), counts.get(user.id, {}))
        for user in sorted(users, key=lambda one: one.email)
        if own in {None, user.id}
    ]


async def view(desk: Desk, user: User) -> SyncView:
    """Return the sync of a user.

    Raises:
        NotAllowed: A rep asks for another's.
    """
    desk.need(Scope.REMINDERS_READ)
    _own(desk, user.id)
    counts = await desk.store.reminder_sync.counts()
    sync = await desk.store.reminder_sync.user(user.id)
    return SyncView(user, sync, counts.get(user.id, {}))


async def switch(desk: Desk, user: User, *, on: bool) -> SyncView:
    """Switch the sync of a user on or off; it holds from now on (R16).

    Raises:
        NotAllowed: A rep asks for another's.
        InvalidInput: There is no Salesforce to sync with, or it has no such user.
    """
    desk.need(Scope.REMINDERS_WRITE)
    _own(desk, user.id)
    if on and desk.settings.salesforce.instance_url is None:
        raise InvalidInput(
            "there is no connection to Salesforce",
            "set salesforce.instance_url and the login; see docs/salesforce.md",
        )
    if on and not user.salesforce_id:
        raise InvalidInput(
            f"which Salesforce user {user.email} is, is not known",
            f"relay user set {user.email} --salesforce-id ID, or relay user import",
        )
    if on and not user.active:
        raise InvalidInput(
            f"{user.email} is {user.state}", f"relay user enable {user.email}"
        )
    await desk.store.reminder_sync.switch(
        user.id, user.salesforce_id or "", desk.who.name, on=on
    )
    return await view(desk, user)


async def resume(desk: Desk, user: User, *, keep: bool = False) -> SyncView:
    """Go on after a stop: its deletions are meant, or with `keep` they are not.

    Raises:
        NotAllowed: A rep asks for another's.
        Conflict: It is not stopped.
        InvalidInput: Which Salesforce user it is, is not known.
    """
    desk.need(Scope.REMINDERS_WRITE)
    _own(desk, user.id)
    if not user.salesforce_id:
        raise InvalidInput(
            f"which Salesforce user {user.email} is, is not known",
            f"relay user set {user.email} --salesforce-id ID",
        )
    if not await desk.store.reminder_sync.user(user.id):
        raise Conflict(f"the sync of {user.email} is off")
    await desk.store.reminder_sync.resume(
        user.id, user.salesforce_id, desk.who.name, keep=keep
    )
    return await view(desk, user)


def calls_a_day(desk: Desk) -> int:
    """Return the calls that the sync of all users together costs a day, at most."""
    settings = desk.settings.reminders
    always = timedelta(days=1).total_seconds() / settings.poll_s
    return min(settings.calls_per_day, round(always))


def _own(desk: Desk, user_id: int) -> None:
    if desk.who.own_only not in {None, user_id}:
        hint = "a rep handles the rep's own reminders"
        raise NotAllowed("this is another user's", hint, word="not_yours")


# ------------------------------------------------------------------ conflicts


async def conflicts(
    desk: Desk, user: User | None = None, *, reminder_id: str = ""
) -> list[dict[str, Any]]:
    """Return conflicts with both values, the latest first."""
    desk.need(Scope.REMINDERS_READ)
    number = user.id if user else desk.who.own_only
    if number is not None:
        _own(desk, number)
    users = await desk.users()
    found = await desk.store.reminder_sync.clashes(number, reminder_id=reminder_id)
    return [_conflict(one, users) for one in found]


def _conflict(one: KeptClash, users: dict[int, User]) -> dict[str, Any]:
    return {
        "id": one.id,
        "reminder": one.reminder_id,
        "user": users[one.user_id].email if one.user_id in users else "",
        "task": one.task_id,
        "field": one.field,
        "here": one.here,
        "salesforce": one.there,
        "kept": str(one.kept),
        "at": one.at,
        "undone_at": one.undone_at,
        "undone_by": one.undone_by or None,
    }


async def undo_conflict(desk: Desk, ident: int) -> Reminder:
    """Give the value that lost back to the reminder.

    Raises:
        NotFound: There is no such conflict, or it is another user's.
        Conflict: It was undone before.
        InvalidInput: Its value cannot be given back.
    """
    desk.need(Scope.REMINDERS_WRITE)
    found = await desk.store.reminder_sync.clash(ident)
    if found is None or desk.who.own_only not in {None, found.user_id}:
        raise NotFound(
            f"there is no conflict {ident}; `relay reminder sync conflicts` lists all"
        )
    return await desk.store.reminder_sync.undo_clash(ident, desk.by)


# ------------------------------------------------------------------ failures


async def failures(desk: Desk, user: User | None = None) -> list[dict[str, Any]]:
    """Return what could not be kept in step: code, meaning, and what helps."""
    desk.need(Scope.REMINDERS_READ)
    number = user.id if user else desk.who.own_only
    if number is not None:
        _own(desk, number)
    users = await desk.users()
    found = await desk.store.reminder_sync.failures(number)
    return [_failure(one, users) for one in found]


def _failure(one: Pair, users: dict[int, User]) -> dict[str, Any]:
    twin = one.twin
    if twin is None:
        raise AssertionError
    known = users.get(twin.user_id)
    return {
        "reminder": one.reminder.id,
        "name": one.reminder.name,
        "user": known.email if known else "",
        "task": twin.task_id,
        "code": twin.code,
        "text": twin.error,
        "meaning": rule(twin.code).sentence,
        "failures": twin.failures,
        "next_try": twin.due_at,
    }


async def retry(desk: Desk, user: User | None = None, *, reminder_id: str = "") -> int:
    """Let what failed be tried again with the next round; return how many."""
    desk.need(Scope.REMINDERS_WRITE)
    number = user.id if user else desk.who.own_only
    if number is not None:
        _own(desk, number)
    return await desk.store.reminder_sync.retry(number, reminder_id)
