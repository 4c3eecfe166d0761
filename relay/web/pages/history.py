"""The history: who changed what, what it was before, and taking it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from relay.console import history
from relay.console.mails import is_own_act
from relay.core.access import Scope
from relay.core.errors import InvalidInput, NotFound
from relay.web.pages.asked import (
    done,
    path_of,
    query_of,
    sentence,
    shown,
    undo_path,
)
from relay.web.pages.context import caller_of
from relay.web.pages.render import HEADERS, page, reader_of, say_and_go

if TYPE_CHECKING:
    from starlette.requests import Request

    from relay.core.access import Caller
    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/history"
_PAGE: Final = 50
_MOST: Final = 50_000
"""Changes of one export."""
_MOST_TOGETHER: Final = 20
KINDS: Final = (
    "address",
    "alias",
    "api_token",
    "app_password",
    "exclude",
    "message",
    "record",
    "setting",
    "settings",
    "unmatched",
    "user",
)
"""First words of changes, as the filter offers them."""


def routes(context: Context) -> list[Route]:
    """Return the routes of the history."""
    pages = _Pages(context)
    return [
        Route(PATH, shown(pages.show), name="history"),
        Route(f"{PATH}/export.csv", shown(pages.export), name="history_export"),
        Route(
            f"{PATH}/{{id}}/undo",
            done(lambda *_: PATH, pages.undo),
            methods=["POST"],
            name="history_undo",
        ),
        Route(f"{PATH}/{{id}}", shown(pages.show_one), name="history_one"),
    ]


def _asked(form: Form) -> history.Asked:
    return history.Asked(
        *(form.text(name) for name in ("user", "by", "change", "since", "until"))
    )


class _Pages:
    """The pages; they ask `relay.console.history`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store

    async def show(self, request: Request) -> Response:
        """List changes, the latest first."""
        who, form = caller_of(request), query_of(request)
        asked, tell = _asked(form), reader_of(request).told
        rows, problem = [], ""
        try:
            rows = await history.find(
                *(self._store, self._context.settings, who, asked),
                now=self._context.clock.now(),
                before_id=form.number("before"),
                limit=_PAGE + 1,
            )
        except (InvalidInput, NotFound) as error:
            problem = sentence(str(error))
        more = len(rows) > _PAGE
        rows = rows[:_PAGE]
        values = asked.as_json()
        return page(
            request,
            "history/list.html",
            rows=rows,
            asked=asked,
            filtered=bool(values),
            kinds=KINDS,
            problem=problem,
            older=path_of(PATH, values, before=rows[-1]["id"]) if more else "",
            export_path=path_of(f"{PATH}/export.csv", values),
            sees_all=who.own_only is None,
            undo_of={row["id"]: await self._undo_path(who, row) for row in rows},
            is_act=history.is_act,
            words=partial(history.action_words, tell=tell),
            value_words=partial(history.value_words, tell=tell),
        )

    async def show_one(self, request: Request) -> Response:
        """Show one change, and what taking it back would do."""
        who = caller_of(request)
        number = history.number_of(request.path_params["id"])
        row = await history.one(self._store, who, number)
        tell = reader_of(request).told
        return page(
            request,
            "history/one.html",
            row=row,
            undo=await self._undo_path(who, row),
            is_act=history.is_act(row),
            words=partial(history.action_words, tell=tell),
            value_words=partial(history.value_words, tell=tell),
        )

    async def undo(self, request: Request, _form: Form) -> Response:
        """Take a change back, or several that were made together."""
        sent = str(request.path_params["id"]).split("-")[:_MOST_TOGETHER]
        numbers = [history.number_of(one) for one in sent]
        said, made = [], []
        for number in sorted(numbers, reverse=True):
            words, row = await history.undo(self._store, caller_of(request), number)
            said.append(words)
            made.append(row)
        reader = reader_of(request)
        what = "; ".join(map(reader.told, said))
        text = reader.gettext("Taken back: %(what)s.", what=what)
        again = "-".join(str(row["id"]) for row in made if history.can_undo(row))
        undo = f"{PATH}/{again}/undo" if again else ""
        return say_and_go(request, PATH, text, undo=undo)

    async def export(self, request: Request) -> Response:
        """Return the changes that fit as CSV; that somebody did so is a change."""
        who, asked = caller_of(request), _asked(query_of(request))
        rows = await history.find(
            *(self._store, self._context.settings, who, asked),
            now=self._context.clock.now(),
            limit=_MOST,
        )
        user_id = who.user.id if who.user else None
        await self._store.history.note("history_export", "history", who.name, user_id)
        return Response(
            history.as_csv(rows),
            headers=HEADERS
            | {"Content-Disposition": 'attachment; filename="history.csv"'},
            media_type="text/csv; charset=utf-8",
        )

    async def _undo_path(self, who: Caller, row: dict[str, Any]) -> str:
        """Return where a change is taken back; empty: it is not by this reader."""
        if not history.can_undo(row):
            return ""
        number = int(row["id"])
        if Scope.AUDIT_WRITE in who.scopes:
            return f"{PATH}/{number}/undo"
        if history.is_act(row) and await is_own_act(self._store, who, number):
            return undo_path(number)
        return ""
