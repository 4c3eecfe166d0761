"""The first page: a rep's own things; for the others, how the relay is."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from relay.admin.inputs import relay_address
from relay.console import people
from relay.console.feed import cursor_now
from relay.console.figures import figures
from relay.console.reminders import Desk, command_center
from relay.console.status import status, waiting_row
from relay.core.access import Scope
from relay.core.directory import Role
from relay.core.filters import Filter, write
from relay.core.reminders import Source
from relay.core.states import State
from relay.web.api.mails import page_of_log, shown
from relay.web.api.wire import Context as APIContext
from relay.web.pages.asked import path_of
from relay.web.pages.charts import of_figures, upper
from relay.web.pages.context import caller_of
from relay.web.pages.render import HEADERS, page, reader_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from relay.console.reminders import CommandCenter
    from relay.core.access import Caller
    from relay.core.model import Waiting
    from relay.web.pages.context import Context

_LAST: Final = 8
_REASONS: Final = 8
SILENT: Final = timedelta(days=7)
"""Who has logged nothing for so long is named."""
_WAITING: Final = (State.UNMATCHED, State.HELD, State.DEAD, State.QUEUED)


def routes(context: Context) -> list[Route]:
    """Return the routes of the first page."""
    pages = HomePages(context)
    return [
        Route("/", pages.show, name="home"),
        Route("/relay.vcf", pages.card, name="home_card"),
    ]


class HomePages:
    """Shows what matters to who asks."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._settings = context.settings
        self._clock = context.clock
        self._api = APIContext(
            context.store, context.settings, context.clock, context.feed
        )

    async def show(self, request: Request) -> Response:
        """Show the first page."""
        who, now = caller_of(request), self._clock.now()
        found = await figures(self._store, self._settings, now, who.own_only)
        after = await cursor_now(self._store)
        last, _ = await page_of_log(
            self._api, who, Filter(), "home", cursor=None, limit=_LAST
        )
        is_monitor = who.user is not None and who.user.role is Role.MONITOR
        waits = await self._store.log.waiting(who.own_only)
        refusals = list(found.refusals.items())[:_REASONS]
        values: dict[str, Any] = {
            "address": self._address(who),
            "drawn": of_figures(found, reader_of(request)),
            "figures": found,
            "refusals": refusals,
            "refusals_rows": [
                (
                    reader_of(request).told(reason.replace("_", " ")),
                    *(count, "bad", f"/log?q=reason:{reason}"),
                )
                for reason, count in refusals
            ],
            "refusals_top": upper(max((count for _, count in refusals), default=0)),
            "last": [shown(who, row) for row in last],
            "waiting": _by_state(waits),
            "waits": [_waits(one) for one in waits],
            "live": f"/log/live?after={after}" if is_monitor else "",
            "health": None,
            "silent": None,
            "days": {},
            "alerts": None,
            "center": await self._center(who),
        }
        if Scope.STATUS_READ in who.scopes:
            values["health"] = await status(self._store, self._settings, now)
            values["alerts"] = await self._store.alerts.find(open_only=True)
        if Scope.USERS_READ in who.scopes and who.own_only is None:
            quiet = await people.users(
                self._store, self._settings, silent=SILENT, now=now
            )
            values["silent"] = quiet
            values["days"] = {
                one.user.id: people.silent_days(one, now) for one in quiet
            }
        return page(request, "home/home.html", **values)

    async def _center(self, who: Caller) -> CommandCenter | None:
        """Return what who asks is to do today; None: they have no reminders."""
        if who.user is None or Scope.REMINDERS_READ not in who.scopes:
            return None
        desk = Desk(self._store, self._settings, who, Source.PERSON, self._clock.now())
        return await command_center(desk, who.user)

    def _address(self, who: Caller) -> str:
        """Return the relay address of who asks; empty: none that takes mail."""
        user = who.user
        if user is None or not user.active:
            return ""
        return relay_address(self._settings.smtp.domains, user) or ""

    async def card(self, request: Request) -> Response:
        """Send the relay address as a contact for an address book."""
        address = self._address(caller_of(request))
        if not address:
            return page(request, "log/none.html", 404, problem="no relay address")
        name = reader_of(request).gettext("Salesforce log")
        headers = {
            **HEADERS,
            "Content-Disposition": 'attachment; filename="relay.vcf"',
        }
        return Response(vcard(name, address), headers=headers, media_type="text/vcard")


def _by_state(waits: Iterable[Waiting]) -> dict[str, int]:
    """Return how many messages wait in each state."""
    found = {state.value: 0 for state in _WAITING}
    for one in waits:
        name = State.QUEUED if one.state is State.CLAIMED else one.state
        found[name.value] += one.count
    return found


def _waits(one: Waiting) -> dict[str, Any]:
    """Return a count with the address of the mails that it counts."""
    reason = (one.reason,) if one.reason else ()
    wanted = write(Filter(state=(one.state.value,), reason=reason))
    return {**waiting_row(one), "path": path_of("/log", {"q": wanted})}


def vcard(name: str, address: str) -> str:
    """Return a contact of one address.

    Source: RFC 6350 (version 4 is not read by Outlook, so 3 of RFC 2426 is written).
    """
    name, address = (re.sub(r"([\\,;])", r"\\\1", one) for one in (name, address))
    lines = (
        "BEGIN:VCARD",
        "VERSION:3.0",
        f"N:{name};;;;",
        f"FN:{name}",
        f"EMAIL;TYPE=INTERNET:{address}",
        "END:VCARD",
    )
    return "".join(f"{line}\r\n" for line in lines)
