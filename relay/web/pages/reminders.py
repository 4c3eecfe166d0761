"""Reminders: the Command Center, the list of all, one with its history, the calendar.

The Command Center shows what is due today and tomorrow where the reader is (R22), and
apart from that, what is overdue. Each act is a plain form; htmx sends it without
leaving the page.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from relay.accounts.service import console_url
from relay.console import reminders
from relay.console.reminders import Desk
from relay.core.access import Scope
from relay.core.errors import InvalidInput, NotFound
from relay.core.reminders import (
    Kind,
    Priority,
    ReminderFilter,
    Source,
    Status,
    section,
)
from relay.web.api.gate import Rate
from relay.web.pages.asked import done, number_in, path_of, query_of, shown
from relay.web.pages.context import caller_of
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from datetime import date

    from starlette.requests import Request

    from relay.core.directory import User
    from relay.core.reminders import Reminder
    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/reminders"
_KEPT: Final = ("name", "due", "person", "record", "details")
_TYPED: Final = 500
"""Characters of a field that go back into the form; an address bar takes few more."""
_PAGE: Final = 100
_PER_MINUTE: Final = 30
"""Requests for one calendar, and wrong secrets of one peer; each process by itself."""
_EDITED: Final[tuple[str, ...]] = (
    "name",
    "due",
    "priority",
    "type",
    "details",
    "person",
    "record",
    "assignee",
)


def routes(context: Context) -> list[Route]:
    """Return the routes of reminders."""
    pages = _Pages(context)
    acts = (
        ("complete", pages.complete),
        ("reopen", pages.reopen),
        ("snooze", pages.snooze),
        ("edit", pages.edit),
        ("remove", pages.remove),
        ("retry", pages.retry),
        ("undo/{version}", pages.undo),
        ("conflict/{number}", pages.undo_clash),
    )
    return [
        Route(PATH, shown(pages.show), name="reminders"),
        Route(f"{PATH}/all", shown(pages.show_all), name="reminders_all"),
        Route(f"{PATH}/calendar", shown(pages.calendar), name="reminders_calendar"),
        Route(
            f"{PATH}/calendar",
            done(_to_calendar, pages.new_calendar),
            methods=["POST"],
            name="reminders_calendar_do",
        ),
        Route(
            f"{PATH}/calendar/end",
            done(_to_calendar, pages.end_calendar),
            methods=["POST"],
            name="reminders_calendar_end",
        ),
        Route(f"{PATH}/feed/{{secret}}.ics", pages.feed, name="reminders_feed"),
        Route(
            f"{PATH}/add",
            done(_back_as_typed, pages.add),
            methods=["POST"],
            name="reminders_add",
        ),
        Route(f"{PATH}/{{id}}", shown(pages.show_one), name="reminders_one"),
        *(
            Route(
                f"{PATH}/{{id}}/{name}",
                done(_back, work),
                methods=["POST"],
                name=f"reminders_{name.partition('/')[0]}",
            )
            for name, work in acts
        ),
    ]


def _back(_request: Request, form: Form) -> str:
    """Return the page that the form was on: one of ours, or the Command Center."""
    back = form.text("back")
    known = back.startswith((f"{PATH}/", f"{PATH}?", "/log/")) or back == PATH
    return back if known and "\\" not in back else PATH


def _back_as_typed(request: Request, form: Form) -> str:
    """Return the page before; the Command Center with what was typed, to mend it."""
    back = _back(request, form)
    if back != PATH:
        return back
    typed = {name: form.text(name)[:_TYPED] for name in ("message", *_KEPT)}
    return path_of(PATH, typed)


def _to_calendar(_request: Request, _form: Form) -> str:
    return f"{PATH}/calendar"


class _Pages:
    """The pages; they ask `relay.console.reminders`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._org = str(context.settings.salesforce.instance_url or "").rstrip("/")
        self._rate = Rate(_PER_MINUTE, context.clock)

    def _desk(self, request: Request) -> Desk:
        return Desk(
            self._store,
            self._context.settings,
            caller_of(request),
            Source.PERSON,
            self._context.clock.now(),
        )

    # ------------------------------------------------------------ looking

    async def show(self, request: Request) -> Response:
        """Show what the reader is to do today and tomorrow, and what is overdue."""
        desk = self._desk(request)
        me = _me(desk)
        found = await reminders.command_center(desk, me)
        return await self._page(
            request,
            desk,
            "reminders/center.html",
            center=found,
            me=me,
            back=PATH,
            typed={name: query_of(request).text(name) for name in _KEPT},
            message=request.query_params.get("message", ""),
        )

    async def show_all(self, request: Request) -> Response:
        """List every reminder that the reader may see, by day."""
        desk, asked = self._desk(request), query_of(request)
        status = asked.text("status") or Status.OPEN.value
        problem, rows = "", []
        user: User | None = None
        try:
            if asked.text("user"):
                user = await self._store.directory.find_user(asked.text("user"))
            rows = await reminders.find(
                desk,
                ReminderFilter(
                    assignee=user.id if user else None,
                    status=None if status == "all" else Status(status),
                    text=asked.text("q"),
                    by_due=True,
                    limit=_PAGE + 1,
                ),
            )
        except (InvalidInput, NotFound, ValueError) as error:
            problem = str(error)
        filters = {name: asked.text(name) for name in ("status", "q", "user")}
        return await self._page(
            request,
            desk,
            "reminders/all.html",
            rows=rows[:_PAGE],
            is_cut=len(rows) > _PAGE,
            most=_PAGE,
            filters=filters,
            wanted=status,
            statuses=[
                *_pairs(request, Status),
                ("all", reader_of(request).gettext("any")),
            ],
            problem=problem,
            sees_all=desk.who.own_only is None,
            back=path_of(f"{PATH}/all", filters),
        )

    async def show_one(self, request: Request) -> Response:
        """Show one reminder with its values, its history, and its Task."""
        desk = self._desk(request)
        ident = await reminders.whole_id(desk, request.path_params["id"])
        one = await reminders.get(desk, ident, removed=True)
        history = await reminders.history(desk, ident)
        undone = {row["undoes"] for row in history}
        versions: dict[int, list[dict[str, Any]]] = {}
        for row in history:
            versions.setdefault(row["version"], []).append(row)
        return await self._page(
            request,
            desk,
            "reminders/one.html",
            one=one,
            edits=sorted(versions.items(), reverse=True),
            undone=undone,
            task=await reminders.task_of(desk, ident),
            colleagues=await self._colleagues(desk, one),
            back=f"{PATH}/{ident}",
        )

    async def _colleagues(self, desk: Desk, one: Reminder) -> list[tuple[str, str]]:
        """Return whom it may be given to."""
        users = (await desk.users()).values()
        known = {one.assignee_user_id, one.owner_user_id}
        return [
            (user.email, user.name) for user in users if user.active or user.id in known
        ]

    async def _page(
        self, request: Request, desk: Desk, template: str, **values: Any
    ) -> Response:
        users = await desk.users()
        me = _me(desk)
        day = desk.today(me)
        return page(
            request,
            template,
            users=users,
            day=day,
            zone=desk.zone_of(me).key,
            section_of=lambda one: _section(one, day),
            org=self._org,
            may_write=Scope.REMINDERS_WRITE in desk.who.scopes,
            priorities=_pairs(request, Priority),
            kinds=_pairs(request, Kind),
            name_of=_names(request).__getitem__,
            path_of=path_of,
            **values,
        )

    # ------------------------------------------------------------ doing

    async def add(self, request: Request, form: Form) -> Response:
        """Make a reminder of what was typed."""
        desk = self._desk(request)
        usual = Kind.EMAIL if form.text("message") else Kind.CUSTOM
        made = await reminders.add(
            desk,
            reminders.Draft(
                name=form.text("name"),
                details=form.text("details"),
                due=form.text("due") or None,
                priority=form.text("priority") or Priority.NORMAL.value,
                kind=form.text("type") or usual.value,
                person=form.text("person"),
                record=form.text("record"),
                assignee=form.text("assignee"),
                message=form.text("message"),
            ),
        )
        _ = reader_of(request).gettext
        return self._said(
            request,
            form,
            made,
            _("Made: %(name)s, due %(due)s.")
            if made.due
            else _("Made: %(name)s, without a day."),
        )

    async def complete(self, request: Request, form: Form) -> Response:
        """Say that it is done."""
        ident, version = self._which(request, form)
        one = await reminders.complete(self._desk(request), ident, version=version)
        _ = reader_of(request).gettext
        return self._said(request, form, one, _("Done: %(name)s."))

    async def reopen(self, request: Request, form: Form) -> Response:
        """Say that it is still to be done."""
        ident, version = self._which(request, form)
        desk = self._desk(request)
        one = await reminders.complete(desk, ident, version=version, done=False)
        _ = reader_of(request).gettext
        return self._said(request, form, one, _("Open again: %(name)s."))

    async def snooze(self, request: Request, form: Form) -> Response:
        """Put it off to a day."""
        ident, version = self._which(request, form)
        one = await reminders.snooze(
            self._desk(request), ident, form.text("until"), version=version
        )
        _ = reader_of(request).gettext
        return self._said(request, form, one, _("Put off to %(due)s: %(name)s."))

    async def edit(self, request: Request, form: Form) -> Response:
        """Change what the form has; what it does not have stays."""
        ident, version = self._which(request, form)
        sent = {key for key, _value in form.fields}
        changes = {name: form.text(name) for name in _EDITED if name in sent}
        one = await reminders.edit(self._desk(request), ident, changes, version=version)
        _ = reader_of(request).gettext
        return self._said(request, form, one, _("Saved: %(name)s."))

    async def remove(self, request: Request, form: Form) -> Response:
        """Remove it; it can be brought back."""
        ident, version = self._which(request, form)
        one = await reminders.remove(self._desk(request), ident, version=version)
        _ = reader_of(request).gettext
        return self._said(request, form, one, _("Removed: %(name)s."))

    async def undo(self, request: Request, form: Form) -> Response:
        """Take back the edit that made a version."""
        version = number_in(request.path_params["version"]) or 0
        ident = request.path_params["id"]
        one = await reminders.undo(self._desk(request), ident, version)
        _ = reader_of(request).gettext
        return self._said(request, form, one, _("Taken back: %(name)s."))

    async def undo_clash(self, request: Request, form: Form) -> Response:
        """Give the value that lost back."""
        one = await reminders.undo_clash(
            self._desk(request),
            request.path_params["id"],
            number_in(request.path_params["number"]) or 0,
        )
        _ = reader_of(request).gettext
        return self._said(request, form, one, _("Taken back: %(name)s."))

    async def retry(self, request: Request, form: Form) -> Response:
        """Try at once again what failed."""
        _ = reader_of(request).gettext
        tried = await reminders.retry(self._desk(request), request.path_params["id"])
        text = _("It is tried again.") if tried else _("Nothing has failed.")
        return say_and_go(request, _back(request, form), text)

    @staticmethod
    def _which(request: Request, form: Form) -> tuple[str, int | None]:
        """Return the id, and the version that the reader saw."""
        return request.path_params["id"], form.number("version")

    @staticmethod
    def _said(request: Request, form: Form, one: Reminder, text: str) -> Response:
        """Tell what was done, with the way back."""
        reader = reader_of(request)
        values = {"name": one.name[:80], "due": reader.day(one.due)}
        undo = f"{PATH}/{one.id}/undo/{one.version}"
        if form.number("version") == one.version:
            # An undo would take back what somebody did before.
            text, undo = reader.gettext("Nothing changed: %(name)s."), ""
        return say_and_go(request, _back(request, form), text % values, undo=undo)

    # ------------------------------------------------------------ the calendar

    async def calendar(self, request: Request) -> Response:
        """Show whether the reader's calendar can be subscribed to."""
        return await self._calendar(request, "")

    async def new_calendar(self, request: Request, _form: Form) -> Response:
        """Make a secret address, and show it this once."""
        desk = self._desk(request)
        secret = await reminders.new_feed(desk, _me(desk))
        base = f"{request.url.scheme}://{request.url.netloc}{reader_of(request).base}"
        if self._context.settings.web.public_url is not None:
            base = console_url(self._context.settings)
        return await self._calendar(request, f"{base}{reminders.feed_path(secret)}")

    async def _calendar(self, request: Request, url: str) -> Response:
        desk = self._desk(request)
        feed = await self._store.reminders.feed(_me(desk).id)
        return await self._page(
            request, desk, "reminders/calendar.html", feed=feed, address=url
        )

    async def end_calendar(self, request: Request, _form: Form) -> Response:
        """End the secret address."""
        desk = self._desk(request)
        await reminders.end_feed(desk, _me(desk))
        text = reader_of(request).gettext("The address works no more.")
        return say_and_go(request, f"{PATH}/calendar", text)

    async def feed(self, request: Request) -> Response:
        """Give a calendar to who knows its secret; no cookie is asked for.

        The address is the only secret, so it is answered 404 whatever is wrong with it,
        and 429 where it is asked for too often.
        """
        from relay.console.calendar import calendar_of  # noqa: PLC0415 - used by few

        secret = request.path_params["secret"]
        digest = reminders.digest_of(secret)
        wait_s = self._rate.wait_s(digest)
        # By place alone: what a program calls itself, it may change each time.
        peer = request.state.peer.network
        if wait_s:
            return _too_many(wait_s)
        events = request.query_params.get("as") == "events"
        now = self._context.clock.now()
        found = await calendar_of(
            self._store, self._context.settings, secret, now, events=events
        )
        if found is None:
            wait_s = self._rate.wait_s(f"wrong {peer}")
            return _too_many(wait_s) if wait_s else Response(None, 404)
        etag = f'"{sha256(found).hexdigest()[:32]}"'
        headers = {
            "ETag": etag,
            "Cache-Control": "private, no-cache",
            "Content-Disposition": 'inline; filename="reminders.ics"',
        }
        if etag in _tags(request.headers.get("if-none-match", "")):
            return Response(None, 304, headers)
        return Response(found, 200, headers, "text/calendar; charset=utf-8")


def _too_many(wait_s: int) -> Response:
    return Response(None, 429, {"Retry-After": str(wait_s)})


def _tags(text: str) -> set[str]:
    """Return the entity tags of If-None-Match (RFC 9110 section 13.1.2)."""
    return {one.strip().removeprefix("W/") for one in text.split(",")}


def _me(desk: Desk) -> User:
    """Return who reads.

    Raises:
        NotFound: It is no user.
    """
    if desk.who.user is None:
        raise NotFound("reminders are for users")
    return desk.who.user


def _section(one: Reminder, day: date) -> str:
    return section(one.due, day).value


def _names(request: Request) -> dict[Priority | Status | Kind, str]:
    """Return the words for the values of a reminder in the reader's language."""
    _ = reader_of(request).gettext
    return {
        Priority.NORMAL: _("Normal"),
        Priority.HIGH: _("High"),
        Status.OPEN: _("open"),
        Status.COMPLETE: _("complete"),
        Kind.EMAIL: _("Email"),
        Kind.CALL: _("Call"),
        Kind.INMAIL: _("InMail"),
        Kind.CUSTOM: _("Other"),
    }


def _pairs(
    request: Request, kind: type[Priority | Status | Kind]
) -> list[tuple[str, str]]:
    """Return the values of a choice with their words."""
    names = _names(request)
    return [(one.value, names[one]) for one in kind]
