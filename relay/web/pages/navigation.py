"""The menu: what stands in it, in which order, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.access import Scope
from relay.core.directory import Role

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.core.access import Caller


def _(text: str) -> str:
    """Mark a text for the catalogues; it is translated where it is shown."""
    return text


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the menu.

    Attributes:
        path: Where it leads.
        label: English; translated where it is shown.
        icon: A name of `templates/parts/icons.html`.
        group: Its heading; empty: none.
        scope: Who may not do this does not see it.
        roles: Who sees it.
    """

    path: str
    label: str
    icon: str
    group: str = ""
    scope: Scope | None = None
    roles: frozenset[Role] = frozenset(Role)


_TEAM: Final = frozenset({Role.ADMIN, Role.MONITOR})
_REPS: Final = frozenset({Role.REP})
ITEMS: Final = (
    Item("/", _("Home"), "home"),
    Item("/log", _("Mail log"), "log", scope=Scope.LOG_READ),
    Item("/unmatched", _("Unmatched"), "unmatched", scope=Scope.LOG_READ),
    Item("/reminders", _("Reminders"), "clock", scope=Scope.REMINDERS_READ),
    Item("/people", _("My addresses"), "people", "", Scope.USERS_READ, _REPS),
    Item("/people", _("People"), "people", _("Team"), Scope.USERS_READ, _TEAM),
    Item("/diagnostics", _("Diagnostics"), "pulse", _("Team"), Scope.STATUS_READ),
    Item("/alerts", _("Alerts"), "bell", _("Team"), Scope.STATUS_READ),
    Item("/history", _("History"), "history", _("Team"), Scope.AUDIT_READ),
    Item("/settings/salesforce", _("Salesforce"), "cloud", _("Settings")),
    Item("/settings/rules", _("Rules"), "rules", _("Settings"), Scope.SETTINGS_READ),
    Item("/account", _("My account"), "person", _("Settings")),
)


def menu(who: Caller | None, paths: Collection[str]) -> list[tuple[str, list[Item]]]:
    """Return the lines that somebody sees, under their headings.

    Args:
        who: Who is signed in; None: nobody, who sees none.
        paths: The pages that there are.
    """
    found: dict[str, list[Item]] = {}
    for item in ITEMS if who is not None else ():
        if _sees(who, item) and item.path in paths:
            found.setdefault(item.group, []).append(item)
    return list(found.items())


def _sees(who: Caller | None, item: Item) -> bool:
    if who is None or (item.scope is not None and item.scope not in who.scopes):
        return False
    return who.user is None or who.user.role in item.roles
