"""Diagnostics: what Salesforce refuses, by code, and what `relay check` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from relay.console import diagnostics
from relay.console.checks import Checks
from relay.console.mails import act_of, whole_id
from relay.core.access import Scope
from relay.core.states import Event
from relay.web.pages.asked import done, query_of, shown, undo_path
from relay.web.pages.context import caller_of
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/diagnostics"


def routes(context: Context) -> list[Route]:
    """Return the routes of diagnostics."""
    pages = _Pages(context)
    return [
        Route(PATH, shown(pages.show), name="diagnostics"),
        Route(f"{PATH}/check", shown(pages.show_check), name="diagnostics_check"),
        Route(
            f"{PATH}/check",
            done(lambda *_: PATH, pages.check),
            methods=["POST"],
            name="diagnostics_check_do",
        ),
        Route(f"{PATH}/retry", shown(pages.ask_retry), name="diagnostics_retry"),
        Route(
            f"{PATH}/retry",
            done(lambda *_: PATH, pages.retry),
            methods=["POST"],
            name="diagnostics_retry_do",
        ),
        Route(
            f"{PATH}/retry/{{id}}",
            done(lambda *_: PATH, pages.retry_one),
            methods=["POST"],
            name="diagnostics_retry_one_do",
        ),
    ]


class _Pages:
    """The pages; they ask `relay.console.diagnostics` and `relay.console.checks`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._checks = Checks(context.settings, context.clock)

    async def show(self, request: Request) -> Response:
        """Show what fails, what is paused, and the latest check."""
        who = caller_of(request)
        return page(
            request,
            "diagnostics/list.html",
            failing=await diagnostics.failing(self._store, who),
            paused=await diagnostics.paused(self._store),
            run=self._checks.latest,
            may_retry=Scope.QUEUE_WRITE in who.scopes,
            may_check=Scope.SETTINGS_READ in who.scopes,
        )

    async def ask_retry(self, request: Request) -> Response:
        """Say how many messages would be tried again."""
        code = query_of(request).text("code")
        number = await diagnostics.count(self._store, caller_of(request), code)
        return page(request, "diagnostics/retry.html", code=code, count=number)

    async def retry(self, request: Request, form: Form) -> Response:
        """Try all messages again that fail with a code."""
        changes, number = await diagnostics.retry(
            *(self._store, caller_of(request), form.text("code")),
            form.number("count") or 0,
        )
        text = reader_of(request).ngettext(
            "%(n)s message is tried again.",
            "%(n)s messages are tried again.",
            len(changes),
        )
        return say_and_go(request, PATH, text, undo=undo_path(number))

    async def retry_one(self, request: Request, _form: Form) -> Response:
        """Try one message again."""
        who = caller_of(request)
        id_, _ = await whole_id(
            self._store, str(request.path_params["id"]), who.own_only
        )
        act = act_of(who)
        await self._store.queue.apply(Event.REQUEUE, [id_], None, act)
        text = reader_of(request).gettext("%(id)s is tried again.", id=id_)
        return say_and_go(request, PATH, text, undo=undo_path(act.number))

    async def check(self, request: Request, _form: Form) -> Response:
        """Begin a check in the background."""
        self._checks.start(caller_of(request).name)
        _ = reader_of(request).gettext
        text = _("The check runs; what it finds appears here.")
        return say_and_go(request, f"{PATH}/check", text)

    async def show_check(self, request: Request) -> Response:
        """Show how far the check is, or what it found; a part alone for a script."""
        is_part = request.headers.get("hx-request") == "true"
        template = (
            "diagnostics/check_part.html" if is_part else "diagnostics/check.html"
        )
        run = self._checks.latest
        return page(request, template, 404 if is_part and run is None else 200, run=run)
