"""Unmatched mail: the list, what may be meant, and what a person decides.

One message and many are decided on the same page: it is told how many it is about, and
each decision names that number again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from relay.admin.inputs import address_pattern, email_address, message_id
from relay.console import unmatched
from relay.console.salesforce import need_org, open_org
from relay.core.access import Scope
from relay.core.errors import Conflict, InvalidInput, OrgPaused, TransientError
from relay.core.filters import read_time
from relay.core.unmatched import UnmatchedFilter
from relay.web.pages.asked import CONFIRMED, done, number_in, path_of, query_of, shown
from relay.web.pages.context import caller_of
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from relay.core.access import Caller
    from relay.core.unmatched import SearchHit, UnmatchedMessage
    from relay.unmatched import Entry
    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/unmatched"
_PAGE: Final = 50
_SHOWN: Final = 20
"""Messages that are named on the page of a decision."""
_FILTERS: Final = ("address", "domain", "user", "reason", "since")


def routes(context: Context) -> list[Route]:
    """Return the routes of unmatched mail."""
    pages = _Pages(context)
    return [
        Route(PATH, shown(pages.show), name="unmatched"),
        Route(f"{PATH}/decide", shown(pages.decide), name="unmatched_decide"),
        Route(
            f"{PATH}/remembered", shown(pages.remembered), name="unmatched_remembered"
        ),
        *(
            Route(
                f"{PATH}/{name}",
                done(back, work),
                methods=["POST"],
                name=f"unmatched_{name.partition('/')[0]}_do",
            )
            for name, back, work in (
                ("resolve", _back, pages.resolve),
                ("create", _back, pages.create),
                ("ignore", _back, pages.ignore),
                ("rematch", _back, pages.rematch),
                ("forget", lambda *_: f"{PATH}/remembered", pages.forget),
                ("undo/{numbers}", lambda *_: PATH, pages.undo),
            )
        ),
        Route(f"{PATH}/{{id}}", shown(pages.show_one), name="unmatched_one"),
    ]


def _back(_request: Request, form: Form) -> str:
    """Return the page on which the same messages are decided."""
    ids = form.all("id")
    if len(ids) == 1:
        return f"{PATH}/{ids[0]}"
    if ids:
        return path_of(f"{PATH}/decide") + "?" + "&".join(f"id={one}" for one in ids)
    asked = {name: form.text(name) for name in _FILTERS}
    return path_of(f"{PATH}/decide", asked, all="on")


class _Pages:
    """The pages; they ask `relay.console.unmatched`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._org_url = str(context.settings.salesforce.instance_url or "").rstrip("/")

    # ------------------------------------------------------------ looking

    async def show(self, request: Request) -> Response:
        """List unmatched messages; `search` asks Salesforce for those without one."""
        who, asked = caller_of(request), query_of(request)
        problem, wanted = "", UnmatchedFilter()
        try:
            wanted = await self._filter(who, asked)
        except InvalidInput as error:
            problem = str(error)
        count = 0 if problem else await self._count(who, wanted)
        page_of = replace(
            wanted, limit=_PAGE + 1, before_id=asked.text("before") or None
        )
        entries: Sequence[Entry] = ()
        if not problem:
            org_wanted = asked.has("search")
            async with open_org(self._context.settings, self._context.clock) as org:
                some = org if org_wanted else None
                entries = await unmatched.entries(self._store, some, who, page_of)
        filters = {name: asked.text(name) for name in _FILTERS}
        more = len(entries) > _PAGE
        entries = entries[:_PAGE]
        older = path_of(PATH, filters, before=entries[-1].message.id) if more else ""
        return page(
            request,
            "unmatched/list.html",
            entries=entries,
            count=count,
            filters=filters,
            filtered=any(filters.values()),
            problem=problem,
            older=older,
            org=self._org_url,
            has_org=bool(self._org_url),
            search_path=path_of(PATH, filters, search="on"),
            all_path=path_of(f"{PATH}/decide", filters, all="on"),
            may_decide=Scope.QUEUE_WRITE in who.scopes,
            sees_all=who.own_only is None,
            sees_remembered=Scope.SETTINGS_READ in who.scopes,
            path_of=path_of,
        )

    async def show_one(self, request: Request) -> Response:
        """Show one message, with the records that may be meant."""
        who = caller_of(request)
        id_ = message_id(request.path_params["id"])
        (message,) = await unmatched.named(self._store, who, [id_])
        return await self._decision(request, who, [message], {"id": [id_]})

    async def decide(self, request: Request) -> Response:
        """Show what can be decided about the messages that are named, or that fit."""
        who, asked = caller_of(request), query_of(request)
        messages = await self._chosen(who, asked)
        if not messages:
            text = reader_of(request).gettext("No message fits; choose one or more.")
            return say_and_go(request, PATH, text, kind="warning")
        if asked.all("id"):
            chosen: dict[str, Any] = {"id": [one.id for one in messages]}
        else:
            chosen = {name: [asked.text(name)] for name in _FILTERS}
            chosen |= {"all": ["on"], "count": [str(len(messages))]}
        return await self._decision(request, who, messages, chosen)

    async def _decision(
        self,
        request: Request,
        who: Caller,
        messages: Sequence[UnmatchedMessage],
        chosen: dict[str, list[str]],
    ) -> Response:
        asked = query_of(request)
        hits: tuple[SearchHit, ...] = ()
        people: list[Any] = []
        problem = ""
        text = asked.text("find")
        settings, clock = self._context.settings, self._context.clock
        async with open_org(settings, clock) as org:
            try:
                if text and org is not None:
                    hits = await org.search.by_text(text)
                first = await unmatched.entry(self._store, org, who, messages[0].id)
            except (InvalidInput, TransientError, OrgPaused) as error:
                problem = str(error)
                first = await unmatched.entry(self._store, None, who, messages[0].id)
        if len(messages) == 1:
            people = list(first.people)
        counted = Counter(p.address for one in messages for p in one.people)
        directory = settings.directory(await self._store.directory.load())
        fields = [(k, v) for k, some in chosen.items() for v in some if v]
        return page(
            request,
            "unmatched/decide.html",
            messages=messages[:_SHOWN],
            count=len(messages),
            first=messages[0],
            people=people,
            addresses=counted.most_common(_SHOWN),
            pairs=[(one, one) for one, _ in counted.most_common(_SHOWN)],
            domains=sorted({one.rpartition("@")[2] for one in counted})[:_SHOWN],
            hits=hits,
            find=text,
            find_path=request.url.path.removeprefix(reader_of(request).base),
            problem=problem,
            fields=fields,
            find_fields=[(k, v) for k, v in fields if k != "count"]
            if not request.path_params
            else [],
            org=self._org_url,
            may_decide=Scope.QUEUE_WRITE in who.scopes,
            may_remember=who.own_only is None and len(counted) >= 1,
            may_create=unmatched.may_create(settings, directory) and bool(counted),
            may_everybody=Scope.USERS_WRITE in who.scopes,
        )

    async def remembered(self, request: Request) -> Response:
        """List the addresses that belong to a record because somebody said so."""
        who = caller_of(request)
        return page(
            request,
            "unmatched/remembered.html",
            rows=await unmatched.remembered(self._store),
            org=self._org_url,
            may_forget=Scope.USERS_WRITE in who.scopes,
        )

    # ------------------------------------------------------------ deciding

    async def resolve(self, request: Request, form: Form) -> Response:
        """Have the messages logged on records."""
        who = caller_of(request)
        messages = await self._chosen(who, form)
        records = [*form.all("record"), *form.text("ids").replace(",", " ").split()]
        if not records:
            raise InvalidInput("no record is chosen", "choose one, or write its id")
        before = await unmatched.last_change(self._store)
        async with need_org(self._context.settings, self._context.clock) as org:
            found = await unmatched.resolve(
                *(self._store, org, who, [one.id for one in messages], records),
                address=form.text("for") or None,
                remember=form.has("remember"),
            )
        names = ", ".join(f"{one.object} {one.name}".strip() for one in found.records)
        text = reader_of(request).ngettext(
            "%(n)s message is queued, to be logged on %(records)s.",
            "%(n)s messages are queued, to be logged on %(records)s.",
            len(found.ids),
            records=names,
        )
        return await self._told(request, who, text, before)

    async def create(self, request: Request, form: Form) -> Response:
        """Make Leads or Contacts of the people without a record."""
        who, reader = caller_of(request), reader_of(request)
        _ = reader.gettext
        messages = await self._chosen(who, form)
        sobject = form.text("object")
        if sobject not in {"Lead", "Contact"}:
            raise InvalidInput("it is not said what to make", "choose Lead or Contact")
        async with need_org(self._context.settings, self._context.clock) as org:
            made = await unmatched.create(
                *(self._context.settings, self._store, org, who, messages, sobject),
                clock=self._context.clock,
                account=form.text("account") or None,
                only=form.text("of") or None,
            )
        words = {
            "created": _("created"),
            "known": _("known by now"),
            "refused": _("refused"),
        }
        lines = [
            f"{one.address}: {words[one.how]} {one.object} {one.id}".rstrip()
            + (f" ({reader.told(one.detail)})" if one.detail else "")
            for one in made
        ]
        kind = "warning" if any(one.how == "refused" for one in made) else "done"
        return say_and_go(request, PATH, "; ".join(lines), kind=kind)

    async def ignore(self, request: Request, form: Form) -> Response:
        """Leave the people of the messages out from now on."""
        who = caller_of(request)
        messages = await self._chosen(who, form)
        only = form.text("for")
        plan = await unmatched.plan_ignore(
            *(self._store, who, messages),
            whole_domain=form.text("what") == "domain",
            everybody=form.has("everybody"),
            only=address_pattern(only) if only else None,
        )
        before = await unmatched.last_change(self._store)
        ids = await unmatched.ignore(
            *(self._store, who, messages, plan), confirmed=form.has(CONFIRMED)
        )
        patterns = ", ".join(dict.fromkeys(pattern for pattern, _ in plan.rules))
        text = reader_of(request).ngettext(
            "Left out from now on: %(patterns)s; %(n)s message is decided anew.",
            "Left out from now on: %(patterns)s; %(n)s messages are decided anew.",
            len(ids),
            patterns=patterns,
        )
        return await self._told(request, who, text, before)

    async def rematch(self, request: Request, form: Form) -> Response:
        """Match the messages anew."""
        who = caller_of(request)
        ids = await unmatched.rematch(self._store, who, await self._chosen(who, form))
        text = reader_of(request).ngettext(
            "%(n)s message is queued to be matched anew.",
            "%(n)s messages are queued to be matched anew.",
            len(ids),
        )
        return say_and_go(request, PATH, text)

    async def forget(self, request: Request, form: Form) -> Response:
        """Let an address belong to no record any more."""
        address, _ = form.text("address"), reader_of(request).gettext
        await unmatched.forget(self._store, address, caller_of(request).name)
        text = _("%(address)s belongs to no record any more.", address=address)
        return say_and_go(request, f"{PATH}/remembered", text)

    async def undo(self, request: Request, _form: Form) -> Response:
        """Take a decision back."""
        sent = str(request.path_params["numbers"]).split("-")
        numbers = [n for one in sent if (n := number_in(one)) is not None]
        said = await unmatched.undo(self._store, caller_of(request), numbers)
        reader = reader_of(request)
        what = "; ".join(map(reader.told, said))
        text = reader.gettext("Taken back: %(what)s.", what=what)
        return say_and_go(request, PATH, text)

    async def _told(
        self, request: Request, who: Caller, text: str, before: int
    ) -> Response:
        numbers = await unmatched.changes_since(self._store, who, before)
        undo = "-".join(map(str, numbers))
        return say_and_go(
            request, PATH, text, undo=f"{PATH}/undo/{undo}" if undo else ""
        )

    # ------------------------------------------------------------ which ones

    async def _chosen(self, who: Caller, form: Form) -> list[UnmatchedMessage]:
        """Return the messages that are named, or all that fit where that was asked for.

        Raises:
            Conflict: Others fit by now than were shown.
        """
        if ids := form.all("id"):
            return await unmatched.named(
                self._store, who, [message_id(one) for one in ids]
            )
        if not form.has("all"):
            return []
        wanted = await self._filter(who, form)
        messages = await unmatched.fitting(self._store, who, wanted)
        expected = form.number("count")
        if expected is not None and expected != len(messages):
            text = (
                f"{len(messages)} messages fit by now, and not {expected}; nothing was "
                "changed"
            )
            raise Conflict(text)
        return messages

    async def _filter(self, who: Caller, asked: Form) -> UnmatchedFilter:
        """Return what is asked for; a rep asks for the rep's own."""
        given = {name: asked.text(name) for name in _FILTERS}
        user = None
        if given["user"] and who.own_only is None:
            user = await self._store.directory.find_user(given["user"], removed=True)
        domain = given["domain"].removeprefix("*").removeprefix("@")
        wanted = UnmatchedFilter(
            user_id=user.id if user else None,
            reason=given["reason"] or None,
            since=read_time(given["since"], self._context.clock.now())
            if given["since"]
            else None,
            address=email_address(given["address"]) if given["address"] else None,
            domain=email_address(f"x@{domain}")[2:] if domain else None,
        )
        return unmatched.own_filter(who, wanted)

    async def _count(self, who: Caller, wanted: UnmatchedFilter) -> int:
        return await self._store.unmatched.count(unmatched.own_filter(who, wanted))
