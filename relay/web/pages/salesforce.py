"""Settings → Salesforce → Sync settings: how mail gets there, and reminders with it.

The cards hold what the originals of this page have (R3 to R8, R12, R15, R27, D30):
logging by Salesforce's API or by Email to Salesforce, the sync of reminders, and for
administrators who decides, what mail is logged on, and the subject. Each form changes
what it shows, when it is saved, and nothing before (R6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse
from starlette.routing import Route

from relay.activity import preview
from relay.console import log_by, rules, syncing
from relay.console.history import undo
from relay.core import subjects
from relay.core.access import Scope
from relay.core.errors import InvalidInput
from relay.core.log_by import LogBy
from relay.diagnose.machine import StoreAccess
from relay.diagnose.org import salesforce
from relay.match import with_stored
from relay.web.pages.asked import done, form_of, shown
from relay.web.pages.context import caller_of
from relay.web.pages.render import HEADERS, page, part, reader_of, say_and_go

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.core.directory import User
    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/settings/salesforce"
_OPPORTUNITIES: Final = ("all", "newest", "mine", "primary", "none")
_PEOPLE: Final = ("contact", "lead", "person_account")


def routes(context: Context) -> list[Route]:
    """Return the routes of this page."""
    pages = _Pages(context)
    forms = {
        "own": pages.save_own,
        "activate": pages.activate,
        "team": pages.save_team,
        "on": pages.save_on,
        "subject": pages.save_subject,
        "reminders": pages.save_reminders,
    }
    return [
        Route(PATH, shown(pages.show), name="salesforce"),
        Route(f"{PATH}/check", shown(pages.check), name="salesforce_check"),
        Route(f"{PATH}/sync", shown(pages.sync), name="salesforce_sync"),
        Route(
            f"{PATH}/preview",
            shown(pages.preview),
            methods=["POST"],
            name="salesforce_preview",
        ),
        *(
            Route(
                f"{PATH}/{name}",
                done(_back, work),
                methods=["POST"],
                name=f"salesforce_{name}",
            )
            for name, work in forms.items()
        ),
        Route(
            f"{PATH}/undo/{{number:int}}",
            done(_back, pages.undo),
            methods=["POST"],
            name="salesforce_undo",
        ),
    ]


def _back(_request: Request, form: Form) -> str:
    return f"{PATH}?tab=bcc" if form.text("tab") == "bcc" else PATH


class _Pages:
    """The page and its forms; they ask `relay.console.log_by`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._settings = context.settings

    # ------------------------------------------------------------ looking

    async def show(self, request: Request) -> Response:
        """Show the cards: an administrator's, and those of who is signed in."""
        who, now = caller_of(request), self._context.clock.now()
        store, settings = self._store, self._settings
        directory = settings.directory(await store.directory.load())
        match = with_stored(settings.match, directory)
        sees_team = Scope.SETTINGS_READ in who.scopes
        own = None
        sync = None
        if who.user is not None:
            own = await log_by.own(store, settings, who.user, now)
            sync = await store.reminder_sync.user(who.user.id)
        tab = request.query_params.get("tab", "")
        if tab not in {"api", "bcc"}:
            tab = "bcc" if own is not None and own.way is LogBy.BCC else "api"
        return page(
            request,
            "settings/salesforce.html",
            tab=tab,
            own=own,
            sync=sync,
            team=await log_by.team(store, settings, now) if sees_team else None,
            may_change=Scope.SETTINGS_WRITE in who.scopes,
            org=str(settings.salesforce.instance_url or ""),
            has_smarthost=settings.notices.smarthost is not None,
            match=match,
            opportunities=_OPPORTUNITIES,
            subject=match.subject,
            subjects=subjects.FIELDS,
            example=preview(match.subject, _example(request)),
            reminders_logged="reminders" in match.kinds,
            sync_missing=syncing.missing(settings, who.user) if who.user else "",
        )

    async def check(self, request: Request) -> Response:
        """Log in to Salesforce, and say what is missing (R1, R2)."""
        found = await salesforce(self._settings, StoreAccess(self._store))
        return page(request, "settings/check.html", findings=found)

    async def sync(self, request: Request) -> Response:
        """Show how far the first sync is: a part of the page, or the page (R16)."""
        user = caller_of(request).user
        if "hx-request" not in request.headers or user is None:
            return await self.show(request)
        state = await self._store.reminder_sync.user(user.id)
        text = part(reader_of(request), "settings/sync.html", sync=state)
        return HTMLResponse(text, headers=HEADERS)

    async def preview(self, request: Request) -> Response:
        """Show what a template makes of a subject: a part of the page, or the page."""
        sent = await form_of(request)
        template = " ".join(sent.text("template").split())
        example = sent.text("example") or _example(request)
        wrong = subjects.problem(template)
        values: dict[str, Any] = {
            "problem": "; ".join(wrong) if wrong else "",
            "example": None if wrong else preview(template, example),
        }
        if "hx-request" not in request.headers:
            return page(
                request,
                "settings/subject.html",
                typed=template,
                **values,
            )
        text = part(reader_of(request), "settings/preview.html", **values)
        return HTMLResponse(text, headers=HEADERS)

    async def _me(self, request: Request) -> User:
        """Return who is signed in, as the store has the user now.

        Raises:
            InvalidInput: A program, that has no mail of its own.
        """
        user = caller_of(request).user
        if user is None:  # pragma: no cover - a browser is a user's
            raise InvalidInput("only a user has mail of their own")
        return (await self._store.directory.load()).users.get(user.id, user)

    # ------------------------------------------------------------ changing

    async def save_own(self, request: Request, form: Form) -> Response:
        """Save by which way the mail of who is signed in goes (R6)."""
        user, who = await self._me(request), caller_of(request)
        way = form.text("way") or user.log_by
        await log_by.choose(
            self._store,
            self._settings,
            user,
            way=way,
            address=user.salesforce_address,
            actor=who.name,
        )
        _ = reader_of(request).gettext
        return say_and_go(request, PATH, _("Saved."))

    async def activate(self, request: Request, form: Form) -> Response:
        """Keep the address, and log by Email to Salesforce from now on (R7)."""
        user, who = await self._me(request), caller_of(request)
        _ = reader_of(request).gettext
        address = form.text("address") or user.salesforce_address or ""
        fixed = (
            await log_by.own(
                self._store, self._settings, user, self._context.clock.now()
            )
        ).fixed
        stop = bool(form.text("stop"))
        way = user.log_by if fixed else (LogBy.API if stop else LogBy.BCC)
        if not address and not stop:
            raise InvalidInput(_("enter your Email to Salesforce address"))
        await log_by.choose(
            self._store,
            self._settings,
            user,
            way=way,
            address=address,
            actor=who.name,
        )
        text = _("Mail is logged by Salesforce's API.") if stop else _("Activated.")
        if fixed:
            text = _("Saved.")
        return say_and_go(request, f"{PATH}?tab=bcc", text)

    async def save_team(self, request: Request, form: Form) -> Response:
        """Save who decides."""
        who = caller_of(request)
        await log_by.choose_for_team(
            self._store, self._settings, form.text("decides"), who.name
        )
        return await self._saved(request, {})

    async def save_on(self, request: Request, form: Form) -> Response:
        """Save on which records mail is logged, and which kinds are (D14, D25, D26)."""
        store, settings = self._store, self._settings
        directory = settings.directory(await store.directory.load())
        match = with_stored(settings.match, directory)
        people = [one for one in _PEOPLE if form.has(one)]
        if "contact" in people and "person_account" in match.objects:
            people.append("person_account")
        kinds = form.all("kind")
        changes = {
            "match.objects": ", ".join(dict.fromkeys(people)),
            "match.opportunities": form.text("opportunities"),
            "match.accounts": form.text("accounts"),
            "match.kinds": ", ".join(kinds) or "none",
        }
        if not people:
            _ = reader_of(request).gettext
            raise InvalidInput(_("choose Contacts, Leads, or both"))
        return await self._saved(request, changes)

    async def save_subject(self, request: Request, form: Form) -> Response:
        """Save the template of subjects (D1, D30)."""
        return await self._saved(request, {"match.subject": form.text("template")})

    async def save_reminders(self, request: Request, form: Form) -> Response:
        """Switch the sync of reminders on or off (R15, R16, R27)."""
        user, who = await self._me(request), caller_of(request)
        on = form.text("sync") == "on"
        await syncing.switch(self._store, self._settings, user, on=on, actor=who.name)
        _ = reader_of(request).gettext
        text = (
            _("The sync begins now; the first run may take a while.")
            if on
            else _("Reminders are not synced.")
        )
        return say_and_go(request, PATH, text)

    async def undo(self, request: Request, _form: Form) -> Response:
        """Take a change of this page back."""
        number = int(request.path_params["number"])
        text, _ = await undo(self._store, caller_of(request), number)
        return say_and_go(request, PATH, f"{text[:1].upper()}{text[1:]}.")

    async def _saved(self, request: Request, changes: dict[str, str]) -> Response:
        """Save settings that differ, all checked before the first is kept."""
        who = caller_of(request)
        number = await rules.save(self._store, self._settings, changes, who.name)
        _ = reader_of(request).gettext
        path = f"{PATH}/undo/{number}" if number else ""
        return say_and_go(request, PATH, _("Saved."), undo=path)


def _example(request: Request) -> str:
    """Return the subject that a preview shows."""
    return reader_of(request).gettext("Offer for 2027")
