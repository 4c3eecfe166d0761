"""The mail log: the list and its filters, one mail, acts on many, export."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from relay.console import mails
from relay.console.feed import TooManyWatchers, cursor_now
from relay.console.history import safe_cell
from relay.console.suggest import suggest
from relay.core.access import Scope
from relay.core.directory import Role
from relay.core.errors import (
    Conflict,
    IllegalTransition,
    InvalidInput,
    NotAllowed,
    NotFound,
    RawUnreadable,
)
from relay.core.filters import LONGEST, Filter, parse, pieces
from relay.core.states import TAKEN_BACK, TRANSITIONS, Event, State
from relay.diagnose.hints import hint_for
from relay.web.api.mails import EVENTS, event_of, own_filter, own_id, page_of_log, shown
from relay.web.api.problems import Problem
from relay.web.api.wire import Context as APIContext
from relay.web.pages.asked import undo_path
from relay.web.pages.context import caller_of
from relay.web.pages.hints import page_hint
from relay.web.pages.render import (
    HEADERS,
    page,
    part,
    reader_of,
    say_and_go,
    state_name,
)
from relay.web.stream import LAST, EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from starlette.requests import Request

    from relay.console.feed import Seen
    from relay.core.access import Caller
    from relay.core.queue import TakenBack
    from relay.web.pages.context import Context
    from relay.web.pages.render import Reader

_PAGE: Final = 50
_EXPORT: Final = 500
"""Rows that an export reads at once."""
_SOURCE: Final = 512 * 1024
"""Bytes of a mail that its page shows; the whole can be downloaded."""
_COPIES: Final = 20
_USERS: Final = re.compile(r" ?; `relay user list`.*")
_CHIP_STATES: Final = ("queued", "held", "unmatched", "dead", "refused", "logged")
_CHIP_TIMES: Final = ("1h", "24h", "7d")
_ERRORS: Final = (
    *(InvalidInput, NotFound, NotAllowed, Problem, Conflict),
    IllegalTransition,
)
COLUMNS: Final = (
    "received_at",
    "state",
    "id",
    "user",
    "from",
    "to",
    "subject",
    "reason",
    "cause",
    "records",
    "message_id",
)
"""Of an export."""


def routes(context: Context) -> list[Route]:
    """Return the routes of the mail log."""
    pages = LogPages(context)
    return [
        Route("/log", pages.show, name="log"),
        Route("/log/live", pages.live, name="log_live"),
        Route("/log/suggest", pages.suggest, name="log_suggest"),
        Route("/log/export.csv", pages.export, name="log_export"),
        Route("/log/many", pages.ask_many, name="log_many"),
        Route("/log/many", pages.do_many, methods=["POST"], name="log_many_do"),
        Route("/log/undo/{number:int}", pages.undo, methods=["POST"], name="log_undo"),
        Route("/log/{id}", pages.show_one, name="log_one"),
        Route("/log/{id}/source", pages.source, name="log_source"),
        Route("/log/{id}/raw", pages.raw, name="log_raw"),
        Route("/log/{id}/{act}", pages.act, methods=["POST"], name="log_act"),
    ]


@dataclass(frozen=True, slots=True)
class Chip:
    """A condition that one click adds or takes away.

    Attributes:
        text: What it says.
        query: The filter after the click.
        is_on: Whether it holds now.
        count: How many wait; None: not counted.
    """

    text: str
    query: str
    is_on: bool = False
    count: int | None = None


class LogPages:
    """Shows messages and refusals, and does to them what a person asks."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._clock = context.clock
        self._settings = context.settings
        self._feed = context.feed
        self._api = APIContext(
            context.store, context.settings, context.clock, context.feed
        )

    # -------------------------------------------------------------- the list

    async def show(self, request: Request) -> Response:
        """List what a filter fits, the latest first."""
        who = caller_of(request)
        query = request.query_params.get("q", "")[:LONGEST].strip()
        rows: Sequence[Mapping[str, Any]] = ()
        after, problem, status = None, "", 200
        # Before the list is read: what comes in between is seen twice, never missed.
        now = await cursor_now(self._store)
        try:
            wanted = parse(query, self._clock.now())
            rows, after = await page_of_log(
                self._api,
                who,
                wanted,
                "pages",
                cursor=request.query_params.get("cursor"),
                limit=_PAGE,
            )
        except _ERRORS as error:
            problem, status = words(error), 422
            reader = reader_of(request)
            full = reader.gettext("write the e-mail address in full")
            # The command that lists users is no help to somebody in a browser.
            problem = _USERS.sub(f"; {full}", reader.told(problem))
        return page(
            request,
            "log/list.html",
            status,
            rows=[shown(who, row) for row in rows],
            query=query,
            problem=problem,
            older=_path("/log", q=query, cursor=after) if after else "",
            is_first="cursor" not in request.query_params,
            chips=await self._chips(who, query),
            acts=acts_of(who, None),
            path_of=_path,
            live=_path("/log/live", q=query, after=now),
        )

    async def live(self, request: Request) -> Response:
        """Send rows as they come and change, from where the list was read."""
        who, reader = caller_of(request), reader_of(request)
        query = request.query_params.get("q", "")[:LONGEST].strip()
        after = request.headers.get(LAST) or request.query_params.get("after") or None
        try:
            wanted = parse(query, self._clock.now())
            asked = await own_filter(self._api, who, wanted)
            watch = self._feed.watch(who.name, asked, after)
            first = await anext(watch)
        except (*_ERRORS, StopAsyncIteration):
            # 204 tells a browser not to connect again.
            return Response(None, 204, headers=HEADERS)
        except TooManyWatchers:
            return Response(None, 503, headers={**HEADERS, "Retry-After": "30"})

        def written(seen: Seen) -> str:
            return part(reader, "log/row.html", row=shown(who, seen.row))

        return EventStream(
            first,
            watch,
            still=request.state.still,
            write=written,
            headers=HEADERS,
        )

    async def _chips(self, who: Caller, query: str) -> dict[str, list[Chip]]:
        """Return the conditions that hold, and those that are often wanted."""
        waiting: dict[str, int] = {}
        for one in await self._store.log.waiting(who.own_only):
            waiting[one.state] = waiting.get(one.state, 0) + one.count
        try:
            found = pieces(query)
        except InvalidInput:
            found = []

        def without(key: str, value: str) -> str:
            kept = [p.written for p in found if (p.key, p.value) != (key, value)]
            return " ".join(kept)

        states = [
            Chip(
                state,
                without("state", state)
                if any((p.key, p.value) == ("state", state) for p in found)
                else f"{query} state:{state}".strip(),
                any((p.key, p.value) == ("state", state) for p in found),
                waiting.get(state),
            )
            for state in _CHIP_STATES
        ]
        others = " ".join(p.written for p in found if p.key != "since")
        times = [
            Chip(
                time,
                others if _holds(found, time) else f"{others} since:{time}".strip(),
                _holds(found, time),
            )
            for time in _CHIP_TIMES
        ]
        rest = [
            Chip(p.written, without(p.key, p.value), is_on=True)
            for p in found
            if not (p.key == "state" and p.value in _CHIP_STATES)
            and not (p.key == "since" and p.value in _CHIP_TIMES)
        ]
        return {"states": states, "times": times, "others": rest}

    async def suggest(self, request: Request) -> Response:
        """Say what the filter that is typed may become."""
        text = request.query_params.get("q", "")[:LONGEST]
        found = await suggest(self._store, text, caller_of(request))
        return JSONResponse(found, headers=HEADERS)

    async def export(self, request: Request) -> Response:
        """Send all that a filter fits as CSV; the history says who took it."""
        who = caller_of(request)
        query = request.query_params.get("q", "")[:LONGEST].strip()
        try:
            wanted = parse(query, self._clock.now())
            asked = await own_filter(self._api, who, wanted)
        except _ERRORS as error:
            return say_and_go(
                request, _path("/log", q=query), words(error), kind="failed"
            )
        await self._store.history.note(
            "log_exported", query or "*", who.name, who.own_only
        )

        async def lines() -> AsyncIterator[str]:
            # A mark of byte order, or spreadsheets take UTF-8 for something else.
            yield "\ufeff" + csv_line(COLUMNS)
            more, after = True, None
            while more:
                found = await self._store.log.page(
                    replace(asked, newest_first=True, after_id=after), _EXPORT
                )
                yield "".join(csv_line(cells(shown(who, row))) for row in found.rows)
                after = found.after_id
                more = after is not None

        name = f"mail-log-{self._clock.now():%Y-%m-%d-%H%M}.csv"
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines(), headers=headers, media_type="text/csv")

    # -------------------------------------------------------------- many at once

    async def ask_many(self, request: Request) -> Response:
        """Say how many messages an act would change, before it is done."""
        who = caller_of(request)
        query = request.query_params.get("q", "")[:LONGEST].strip()
        act = request.query_params.get("act", "")
        return await self._ask(request, who, query, act)

    async def _ask(
        self, request: Request, who: Caller, query: str, act: str, changed: str = ""
    ) -> Response:
        problem, count = "", 0
        try:
            event = event_of(who, act)
            wanted = parse(query, self._clock.now())
            asked = await own_filter(self._api, who, wanted)
            count = await mails.count(self._store, event, asked)
        except _ERRORS as error:
            problem = words(error)
        return page(
            request,
            "log/many.html",
            422 if problem else 409 if changed else 200,
            query=query,
            act=act,
            count=count,
            problem=problem,
            changed=changed,
            days=self._settings.store.discard_keep_days,
            path_of=_path,
        )

    async def do_many(self, request: Request) -> Response:
        """Do it to all that fit, if they are still as many as the person was told."""
        who, form = caller_of(request), await request.form()
        query, act = str(form.get("q", ""))[:LONGEST], str(form.get("act", ""))
        reader = reader_of(request)
        try:
            event = event_of(who, act)
            wanted = parse(query, self._clock.now())
            asked = await own_filter(self._api, who, wanted)
            count = await mails.count(self._store, event, asked)
            if str(count) != str(form.get("expected", "")):
                return await self._ask(request, who, query, act, changed="count")
            done = mails.act_of(who)
            changes = await mails.apply(self._store, event, asked, done)
        except _ERRORS as error:
            return say_and_go(
                request, _path("/log", q=query), words(error), kind="failed"
            )
        text = done_text(reader.ngettext, act, len(changes))
        undo = undo_path(done.number)
        return say_and_go(request, _path("/log", q=query), text, undo=undo)

    async def undo(self, request: Request) -> Response:
        """Take back what was done to many, or to one."""
        who, number = caller_of(request), request.path_params["number"]
        try:
            done = await mails.take_back(self._store, who, number)
        except _ERRORS as error:
            return say_and_go(request, "/log", words(error), kind="failed")
        kept = await self._store.acts.find(number)
        alone = kept.message_id if kept else None
        back = f"/log/{alone}" if alone else "/log"
        text = taken_back_text(reader_of(request), done)
        return say_and_go(request, back, text, kind="warning" if done.left else "done")

    # -------------------------------------------------------------- one

    async def show_one(self, request: Request) -> Response:
        """Show one message or refusal: what was decided, why, and what was written."""
        who = caller_of(request)
        try:
            id_, kind = await own_id(self._api, who, request.path_params["id"])
            row = await mails.whole_row(self._store, id_)
        except (NotFound, InvalidInput) as error:
            return page(request, "log/none.html", 404, problem=str(error))
        hint = await hint_for(self._store, row)
        attempts = await self._store.log.attempts(id_) if kind == "message" else []
        copies: Sequence[Mapping[str, Any]] = ()
        if row.get("message_id"):
            same = Filter(message_id=(str(row["message_id"]),))
            asked = await own_filter(self._api, who, same)
            found = await self._store.log.page(
                replace(asked, newest_first=True), _COPIES
            )
            copies = [shown(who, one) for one in found.rows if one["id"] != id_]
        row = shown(who, row)
        state = str(row["state"])
        return page(
            request,
            "log/one.html",
            row=row,
            hint=page_hint(reader_of(request), who, row, shown(who, hint)),
            matched=mails.matched(row.get("trace") or ()),
            stages=stages(row.get("trace") or ()),
            attempts=shown(who, attempts),
            copies=copies,
            acts=acts_of(who, state) if kind == "message" else [],
            days=self._settings.store.discard_keep_days,
            may_read=kind == "message" and Scope.RAW_READ in who.scopes,
            org=str(self._settings.salesforce.instance_url or "").rstrip("/"),
            path_of=_path,
        )

    async def source(self, request: Request) -> Response:
        """Show the mail itself as text; the history says who read it."""
        found = await self._read(request)
        if isinstance(found, Response):
            return found
        id_, data = found
        return page(
            request,
            "log/source.html",
            id=id_,
            text=data[:_SOURCE].decode("utf-8", "replace"),
            size=len(data),
            is_cut=len(data) > _SOURCE,
        )

    async def raw(self, request: Request) -> Response:
        """Send the mail itself, byte by byte; the history says who took it."""
        found = await self._read(request)
        if isinstance(found, Response):
            return found
        id_, data = found
        headers = {
            **HEADERS,
            "Content-Disposition": f'attachment; filename="{id_}.eml"',
        }
        return Response(data, headers=headers, media_type="message/rfc822")

    async def _read(self, request: Request) -> tuple[str, bytes] | Response:
        who = caller_of(request)
        try:
            id_, _ = await own_id(self._api, who, request.path_params["id"])
            if Scope.RAW_READ not in who.scopes:
                text = "a monitor sees no bodies"
                return page(request, "log/none.html", 403, problem=text)
            data = await mails.raw_mail(self._store, id_)
        except (NotFound, InvalidInput, RawUnreadable) as error:
            return page(request, "log/none.html", 404, problem=str(error))
        _, user_id = await self._store.log.owner(id_)
        await self._store.history.note("mail_read", id_, who.name, user_id)
        return id_, data

    async def act(self, request: Request) -> Response:
        """Retry, hold, release or discard one message."""
        who, reader = caller_of(request), reader_of(request)
        act, back = request.path_params["act"], "/log"
        try:
            event = event_of(who, act)
            id_, kind = await own_id(self._api, who, request.path_params["id"])
            back = f"/log/{id_}"
            if kind != "message":
                raise NotFound(f"{id_} is a refusal: nothing was stored")
            done = mails.act_of(who)
            changes = await self._store.queue.apply(event, [id_], None, done)
        except _ERRORS as error:
            return say_and_go(request, back, words(error), kind="failed")
        text = done_text(reader.ngettext, act, len(changes))
        return say_and_go(request, back, text, undo=undo_path(done.number))


# ------------------------------------------------------------------ for the templates


def _path(path: str, **query: Any) -> str:
    """Return a path with its query; what is empty is left out."""
    kept = {key: value for key, value in query.items() if value not in {None, ""}}
    return f"{path}?{urlencode(kept)}" if kept else path


def _holds(found: Sequence[Any], time: str) -> bool:
    return any((piece.key, piece.value) == ("since", time) for piece in found)


def words(error: Exception) -> str:
    """Return what is wrong, and what helps."""
    if isinstance(error, Problem):
        detail, hint = str(error.body["detail"]), str(error.body["hint"])
        return f"{detail}; {hint}" if hint else detail
    return str(error)


def acts_of(who: Caller, state: str | None) -> list[str]:
    """Return what somebody may do to messages in a state; None: to messages at all."""
    if Scope.QUEUE_WRITE not in who.scopes:
        return []
    is_admin = who.user is None or who.user.role is Role.ADMIN
    events = TRANSITIONS[State(state)] if state is not None else None
    return [
        act
        for act, event in EVENTS.items()
        if (events is None or event in events)
        and (event is not Event.RELEASE or is_admin)
    ]


def done_text(ngettext: Any, act: str, count: int) -> str:
    """Say what was done to how many messages."""
    text: str = {
        "retry": ngettext(
            "%(n)s message is tried again.", "%(n)s messages are tried again.", count
        ),
        "hold": ngettext("%(n)s message is held.", "%(n)s messages are held.", count),
        "release": ngettext(
            "%(n)s message is released.", "%(n)s messages are released.", count
        ),
        "discard": ngettext(
            "%(n)s message is given up.", "%(n)s messages are given up.", count
        ),
    }[act]
    return text


def taken_back_text(reader: Reader, done: TakenBack) -> str:
    """Say for how many messages an act was taken back, and for which it was not."""
    back, left = sum(done.back.values()), sum(done.left.values())
    text: str = reader.ngettext(
        "Taken back for %(n)s message.", "Taken back for %(n)s messages.", back
    )
    if left:
        states = ", ".join(
            f"{reader.number(count)} {state_name(state, reader)}"
            for state, count in sorted(done.left.items())
        )
        text += " " + reader.ngettext(
            "%(n)s of %(all)s has moved on since and stays: %(states)s.",
            "%(n)s of %(all)s have moved on since and stay: %(states)s.",
            left,
            all=reader.number(back + left),
            states=states,
        )
    return text


_STAGES: Final = {
    "received": "rcpt size connection line_ends http part refused counted parse",
    "sender": "sender",
    "left out": "kind;left out;rules",
    "looked for": "people tags look-up",
    "match": "match user",
}
"""The parts of a decision in their order, with their steps. Others write it down, and
an outcome ends an attempt."""
_STAGE_OF: Final = {
    step: stage
    for stage, steps in _STAGES.items()
    for step in steps.split(";" if ";" in steps else " ")
}
_BY_PEOPLE: Final = {*Event, TAKEN_BACK}
_ORDER: Final = (*_STAGES, "written", "outcome")


def stages(
    trace: Sequence[Mapping[str, Any]],
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the steps of a trace by the part of the decision that they belong to.

    What came before the first attempt, and each attempt, has its parts in their order.
    """
    attempts: list[dict[str, list[Mapping[str, Any]]]] = [{}]
    for number, step in enumerate(trace):
        word = str(step["step"])
        stage = _STAGE_OF.get(word, "written" if number else "received")
        if word.startswith("policy "):
            stage = "sender"
        if word == "attempt" or word in EVENTS or word in _BY_PEOPLE:
            stage = "outcome"
        attempts[-1].setdefault(stage, []).append(step)
        if stage == "outcome":
            attempts.append({})
    return [
        (stage, attempt[stage])
        for attempt in attempts
        for stage in _ORDER
        if stage in attempt
    ]


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of a row of the export."""
    found = dict(row)
    found["records"] = " ".join(str(one["id"]) for one in row.get("records") or ())
    return ["" if found[name] is None else str(found[name]) for name in COLUMNS]


def csv_line(values: Sequence[str]) -> str:
    """Return a line of CSV (RFC 4180) in which no cell is a formula."""
    out = io.StringIO()
    csv.writer(out).writerow(map(safe_cell, values))
    return out.getvalue()
