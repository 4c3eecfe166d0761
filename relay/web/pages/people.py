"""People: users with their roles, addresses, delegates and exclusions.

An admin sees and edits everybody, a monitor sees everybody, a rep the rep's own page;
there a rep may prove a further address by a code. Each edit is a row of the history and
can be taken back from the page that follows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from relay.admin.concerns import concerns
from relay.admin.inputs import address_pattern, email_address, known_pattern, silence
from relay.console import claims, people, salesforce_users, sign_in
from relay.core.access import Scope
from relay.core.accounts import may_sign_in
from relay.core.directory import Role, SkipKind
from relay.core.errors import Conflict, InvalidInput, NeedsConfirmation, NotFound
from relay.core.notices import NoticeLevel
from relay.core.translate import LANGUAGES
from relay.web.pages import people_import
from relay.web.pages.account import browser_name
from relay.web.pages.asked import CONFIRMED, done, query_of, sentence, shown
from relay.web.pages.context import caller_of
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.console.people import UserView
    from relay.core.access import Caller
    from relay.core.directory import User
    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/people"
_FILTERS: Final = ("q", "role", "state", "console", "silent", "removed")


def routes(context: Context) -> list[Route]:
    """Return the routes of people."""
    pages = _Pages(context)

    def act(path: str, name: str, work: Any, back: Any = None) -> Route:
        where = back or (lambda request, _form: f"{PATH}/{request.path_params['id']}")
        return Route(
            f"{PATH}{path}",
            done(where, work),
            methods=["POST"],
            name=f"people_{name}_do",
        )

    return [
        Route(PATH, shown(pages.show), name="people"),
        Route(f"{PATH}/new", shown(pages.new), name="people_new"),
        act("/new", "new", pages.add, lambda *_: f"{PATH}/new"),
        *people_import.routes(context),
        Route(f"{PATH}/exclusions", shown(pages.exclusions), name="people_exclusions"),
        act("/exclusions", "exclude", pages.exclude, _of_exclusion),
        act("/exclusions/remove", "include", pages.include, _of_exclusion),
        Route(f"{PATH}/{{id}}", shown(pages.show_one), name="people_one"),
        act("/{id}", "edit", pages.edit),
        act("/{id}/active", "active", pages.set_active),
        act("/{id}/remove", "remove", pages.remove),
        act("/{id}/rotate", "rotate", pages.rotate),
        act("/{id}/addresses", "accept", pages.accept),
        act("/{id}/addresses/remove", "refuse", pages.refuse),
        act("/{id}/invite", "invite", pages.invite),
        act("/{id}/link", "link", pages.make_link),
        act("/{id}/sessions/end", "sessions", pages.end_sessions),
        act("/{id}/sessions/{session:int}/end", "session", pages.end_session),
        act("/{id}/claims", "claim", pages.claim),
        act("/{id}/claims/prove", "prove", pages.prove),
    ]


def _of_exclusion(_request: Request, form: Form) -> str:
    user = form.text("user")
    return f"{PATH}/{user}" if user.isdigit() else f"{PATH}/exclusions"


class _Pages:
    """The pages; they ask `relay.console.people`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._settings = context.settings
        self._org_url = str(context.settings.salesforce.instance_url or "").rstrip("/")

    # ------------------------------------------------------------ looking

    async def show(self, request: Request) -> Response:
        """List users; a rep is sent to the rep's own page."""
        who, asked = caller_of(request), query_of(request)
        if who.own_only is not None:
            base = reader_of(request).base
            return RedirectResponse(f"{base}{PATH}/{who.own_only}", 303)
        now, problem, span = self._context.clock.now(), "", None
        try:
            span = silence(asked.text("silent")) if asked.text("silent") else None
        except InvalidInput as error:
            problem = sentence(str(error))
        found = await people.users(
            *(self._store, self._settings),
            removed=asked.has("removed"),
            silent=span,
            now=now,
        )
        rows = [one for one in found if _fits(one, asked)]
        filters = {name: asked.text(name) for name in _FILTERS}
        return page(
            request,
            "people/list.html",
            rows=rows,
            every=len(found),
            filters=filters,
            filtered=any(filters.values()),
            problem=problem,
            role_pairs=_role_pairs(request),
            days={one.user.id: people.silent_days(one, now) for one in rows},
            may_edit=Scope.USERS_WRITE in who.scopes,
        )

    async def show_one(self, request: Request) -> Response:
        """Show a user with all that belongs to them."""
        who = caller_of(request)
        view = await self._find(request)
        one, now = view.user, self._context.clock.now()
        knows = who.sees_relay_address(one.id)
        directory = self._settings.directory(await self._store.directory.load())
        relays = await self._store.directory.relay_addresses(one.id) if knows else []
        accepted = await self._store.directory.addresses(one.id)
        is_removed = one.removed_at is not None
        sees_sessions = not is_removed and (
            who.user is None or who.user.role is Role.ADMIN
        )
        mine = who.user is not None and who.user.id == one.id
        return page(
            request,
            "people/one.html",
            view=view,
            one=one,
            removed=is_removed,
            way_in=await sign_in.way_in(self._store, one.id),
            lacks_for_mail=sign_in.lacks_for_mail(self._settings),
            can_sign_in=may_sign_in(one),
            sessions=await self._store.accounts.sessions(one.id)
            if sees_sessions
            else [],
            browser_name=partial(browser_name, reader_of(request)),
            relay_address=view.relay_address if knows else None,
            relays=[
                people.relay_row(self._settings.smtp.domains, relay) for relay in relays
            ],
            grace_days=self._settings.user.rotation_grace_days,
            accepted=[
                (row, [c.text for c in concerns(row.address, directory, one.id)])
                for row in accepted
            ],
            claims=await self._store.claims.open(one.id),
            can_claim=claims.code_sender(self._settings, self._store) is not None,
            exclusions=await people.exclusions(self._store, one.id),
            days=people.silent_days(view, now),
            role_pairs=_role_pairs(request),
            skips=[kind.value for kind in SkipKind],
            languages=LANGUAGES,
            org=self._org_url,
            may_edit=Scope.USERS_WRITE in who.scopes and not is_removed,
            may_invite=Scope.USERS_INVITE in who.scopes and not is_removed,
            may_claim=(mine or Scope.USERS_WRITE in who.scopes) and not is_removed,
            sees_all=who.own_only is None,
        )

    async def new(self, request: Request) -> Response:
        """Show the form of a new user."""
        return page(
            request,
            "people/new.html",
            role_pairs=_role_pairs(request),
            lacks_for_mail=sign_in.lacks_for_mail(self._settings),
        )

    async def exclusions(self, request: Request) -> Response:
        """List what is left out for everybody."""
        who = caller_of(request)
        rows = await people.exclusions(self._store, who.own_only)
        return page(
            request,
            "people/exclusions.html",
            rows=rows,
            skips=[kind.value for kind in SkipKind],
            may_edit=Scope.USERS_WRITE in who.scopes,
        )

    # ------------------------------------------------------------ users

    async def add(self, request: Request, form: Form) -> Response:
        """Add a user; says at once whether Salesforce knows them."""
        before, invites = await self._last(), form.has("invite")
        if invites:
            sign_in.need_mail(self._settings)
        added = await people.add_user(
            *(self._store, self._settings, caller_of(request).name),
            name=form.text("name"),
            email=form.text("email"),
            role=_role(form.text("role")),
            salesforce_id=form.text("salesforce_id") or None,
            activate=form.has("activate"),
            confirmed=form.has(CONFIRMED),
        )
        _ = reader_of(request).gettext
        text = _("%(name)s is added.", name=added.name)
        known = await salesforce_users.ask(self._settings, added, self._context.clock)
        if known.text:
            told = reader_of(request).told
            hint = sentence(told(known.hint))
            text = f"{text} {sentence(told(known.text))} {hint}"
        if invites:
            who = caller_of(request)
            await sign_in.invite(self._store, self._settings, added, who.name)
            mailed = _(
                "A link to sign in is mailed to %(address)s.", address=added.email
            )
            text = f"{text} {mailed}"
        kind = "warning" if known.text else "done"
        return await self._told(request, added, text, before, kind=kind)

    async def edit(self, request: Request, form: Form) -> Response:
        """Change what the form shows; what is as it was stays."""
        view = await self._editable(request)
        one = view.user
        sent: dict[str, Any] = {
            "name": form.text("name"),
            "email": form.text("email"),
            "role": _role(form.text("role") or one.role.value),
            "salesforce_id": form.text("salesforce_id") or None,
            "time_zone": form.text("time_zone") or None,
            "notify": _notify(form.text("notify")),
            "language": form.text("language") or None,
        }
        changes = people.read_changes(sent)
        now = {name: getattr(one, name) for name in changes}
        changes = {name: new for name, new in changes.items() if new != now[name]}
        if not changes:
            text = reader_of(request).gettext("Nothing was changed.")
            return say_and_go(request, f"{PATH}/{one.id}", text)
        if email := changes.get("email"):
            await people.need_confirmation(
                *(self._store, self._settings, email, one.id),
                confirmed=form.has(CONFIRMED),
            )
        before = await self._last()
        changed = await self._store.directory.update_user(
            *(one.id, changes, caller_of(request).name), keep_old=form.has("keep_old")
        )
        _ = reader_of(request).gettext
        text, kind = _("Saved: %(what)s.", what=", ".join(changes)), "done"
        if {"email", "salesforce_id"} & set(changes):
            known = await salesforce_users.ask(
                self._settings, changed, self._context.clock
            )
            if known.text:
                said = sentence(reader_of(request).told(known.text))
                text, kind = f"{text} {said}", "warning"
        return await self._told(request, changed, text, before, kind=kind)

    async def set_active(self, request: Request, form: Form) -> Response:
        """Let the relay address take mail, or not."""
        view = await self._editable(request)
        before, active = await self._last(), form.text("active") == "on"
        changed = await self._store.directory.set_active(
            view.user.id, active, caller_of(request).name
        )
        _ = reader_of(request).gettext
        text = (
            _("The relay address of %(name)s takes mail.", name=changed.name)
            if active
            else _(
                "The relay address of %(name)s takes no mail now; queued mail is still "
                "logged.",
                name=changed.name,
            )
        )
        return await self._told(request, changed, text, before)

    async def remove(self, request: Request, form: Form) -> Response:
        """Remove a user, once the consequences were read."""
        view = await self._editable(request)
        who = caller_of(request)
        if who.user is not None and who.user.id == view.user.id:
            text = "you cannot remove yourself; another administrator can"
            raise Conflict(text)
        if not form.has(CONFIRMED):
            raise NeedsConfirmation(people.what_ends(view))
        before = await self._last()
        gone = await self._store.directory.remove_user(view.user.id, who.name)
        text = reader_of(request).gettext("%(name)s is removed.", name=gone.name)
        return await self._told(request, gone, text, before)

    async def rotate(self, request: Request, form: Form) -> Response:
        """Give a user a new relay address."""
        view = await self._editable(request)
        at_once = form.has("at_once")
        changed = await people.rotate(
            *(self._store, self._settings, view.user.id, caller_of(request).name),
            at_once=at_once,
        )
        _, ngettext = reader_of(request).gettext, reader_of(request).ngettext
        if at_once:
            text = _(
                "%(name)s has a new relay address; old ones take no mail any more.",
                name=changed.name,
            )
        else:
            text = ngettext(
                "%(name)s has a new relay address; the old one works %(n)s day more.",
                "%(name)s has a new relay address; the old one works %(n)s days more.",
                self._settings.user.rotation_grace_days,
                name=changed.name,
            )
        return say_and_go(request, f"{PATH}/{changed.id}", text)

    # ------------------------------------------------------------ the console

    async def invite(self, request: Request, _form: Form) -> Response:
        """Mail a user a link to sign in."""
        view, who = await self._editable(request), caller_of(request)
        user = view.user
        await sign_in.invite(self._store, self._settings, user, who.name)
        _ = reader_of(request).gettext
        text = _("A link to sign in is mailed to %(address)s.", address=user.email)
        return say_and_go(request, f"{PATH}/{user.id}", text)

    async def make_link(self, request: Request, _form: Form) -> Response:
        """Show a link to sign in, once: it stands in this answer alone."""
        view, who = await self._editable(request), caller_of(request)
        url, ends = await sign_in.show_link(self._store, self._settings, who, view.user)
        return page(request, "people/link.html", one=view.user, link=url, ends=ends)

    async def end_session(self, request: Request, _form: Form) -> Response:
        """Sign a user out of one browser."""
        view, who = await self._editable(request), caller_of(request)
        sign_in.own_or_admin(who, view.user)
        number = request.path_params["session"]
        await self._store.accounts.end_session(view.user.id, number, who.name)
        text = reader_of(request).gettext("That browser is signed out.")
        return say_and_go(request, f"{PATH}/{view.user.id}", text)

    async def end_sessions(self, request: Request, _form: Form) -> Response:
        """Sign a user out everywhere."""
        view, who = await self._editable(request), caller_of(request)
        sign_in.own_or_admin(who, view.user)
        count = await self._store.accounts.end_sessions(view.user.id, who.name)
        text = reader_of(request).ngettext(
            "%(n)s browser is signed out.", "%(n)s browsers are signed out.", count
        )
        return say_and_go(request, f"{PATH}/{view.user.id}", text)

    # ------------------------------------------------------------ addresses

    async def accept(self, request: Request, form: Form) -> Response:
        """Let an address send for a user, or a delegate from it."""
        view = await self._editable(request)
        key = address_pattern(form.text("address"))
        before = await self._last()
        new = await people.accept(
            *(self._store, self._settings, view.user.id, key, caller_of(request).name),
            delegate=form.text("delegate"),
            confirmed=form.has(CONFIRMED),
        )
        if not new:
            text = f"{key} may send for {view.user.email} already"
            raise Conflict(text)
        _ = reader_of(request).gettext
        text = _("%(address)s may send for %(name)s.", address=key, name=view.user.name)
        return await self._told(request, view.user, text, before)

    async def refuse(self, request: Request, form: Form) -> Response:
        """Refuse mail from an address from now on."""
        view = await self._editable(request)
        key = known_pattern(form.text("address"))
        before = await self._last()
        await self._store.directory.remove_address(
            view.user.id, key, caller_of(request).name
        )
        _ = reader_of(request).gettext
        text = _(
            "%(address)s may no longer send for %(name)s.",
            address=key,
            name=view.user.name,
        )
        return await self._told(request, view.user, text, before)

    async def claim(self, request: Request, form: Form) -> Response:
        """Mail a code to an address that the user says is theirs."""
        view = await self._own_or_editable(request)
        key = email_address(form.text("address"))
        await claims.begin(
            *(self._settings, self._store, view.user, key),
            now=self._context.clock.now(),
            actor=caller_of(request).name,
        )
        _ = reader_of(request).gettext
        text = _("A code was mailed to %(address)s; enter it here.", address=key)
        return say_and_go(request, f"{PATH}/{view.user.id}", text)

    async def prove(self, request: Request, form: Form) -> Response:
        """Let the address send whose code this is."""
        view = await self._own_or_editable(request)
        before = await self._last()
        try:
            key = await claims.prove(
                *(self._settings, self._store, view.user, form.text("code")),
                actor=caller_of(request).name,
            )
        except NotFound as error:  # Of the code, not of the page.
            raise Conflict(str(error)) from None
        _ = reader_of(request).gettext
        text = _("%(address)s may send for %(name)s.", address=key, name=view.user.name)
        return await self._told(request, view.user, text, before)

    # ------------------------------------------------------------ exclusions

    async def exclude(self, request: Request, form: Form) -> Response:
        """Leave an address out, for a user or for everybody."""
        user = await self._whose(request, form)
        pattern = address_pattern(form.text("pattern"))
        skip = form.text("skip")
        if skip not in {kind.value for kind in SkipKind}:
            raise InvalidInput(f"{skip!r} is no way to leave out", "choose one")
        before = await self._last()
        who = caller_of(request)
        await people.exclude(self._store, pattern, user, skip, who.name)
        text = reader_of(request).gettext("Left out: %(what)s.", what=pattern)
        return await self._told(request, user, text, before)

    async def include(self, request: Request, form: Form) -> Response:
        """Take an exclusion away."""
        user = await self._whose(request, form)
        pattern = known_pattern(form.text("pattern"))
        before = await self._last()
        await self._store.directory.remove_exclusion(
            pattern, user.id if user else None, caller_of(request).name
        )
        text = reader_of(request).gettext(
            "Not left out any more: %(what)s.", what=pattern
        )
        return await self._told(request, user, text, before)

    # ------------------------------------------------------------ shared

    async def _find(self, request: Request) -> UserView:
        ident = str(request.path_params["id"])
        who = caller_of(request)
        return await people.find_for(self._store, self._settings, who, ident)

    async def _editable(self, request: Request) -> UserView:
        view = await self._find(request)
        people.not_removed(view)
        return view

    async def _own_or_editable(self, request: Request) -> UserView:
        """Return the user themselves, or anybody for who may change users."""
        view, who = await self._editable(request), caller_of(request)
        mine = who.user is not None and who.user.id == view.user.id
        if not mine and Scope.USERS_WRITE not in who.scopes:
            raise people.not_yours()
        return view

    async def _whose(self, request: Request, form: Form) -> User | None:
        ident = form.text("user")
        if not ident:
            return None
        who = caller_of(request)
        view = await people.find_for(self._store, self._settings, who, ident)
        return view.user

    async def _last(self) -> int:
        rows = await self._store.history.find(limit=1)
        return int(str(rows[0]["id"])) if rows else 0

    async def _told(
        self,
        request: Request,
        user: User | None,
        text: str,
        before: int,
        *,
        kind: str = "done",
    ) -> Response:
        """Tell what was done, with a button that takes it back for who may."""
        who: Caller = caller_of(request)
        numbers: list[str] = []
        if Scope.AUDIT_WRITE in who.scopes:
            rows = await self._store.history.find(by=who.name, limit=20)
            numbers = [
                str(row["id"])
                for row in rows
                if int(str(row["id"])) > before
                and row["actor"] == who.name
                and row["action"] != "sign_in_link"
            ]
        undo = f"/history/{'-'.join(numbers)}/undo" if numbers else ""
        where = f"{PATH}/{user.id}" if user else f"{PATH}/exclusions"
        return say_and_go(request, where, text, kind=kind, undo=undo)


def _fits(one: UserView, asked: Form) -> bool:
    """Say whether a user fits the filters that are no question to the store."""
    return people.fits(
        one,
        text=asked.text("q"),
        role=asked.text("role"),
        state=asked.text("state"),
        way_in=asked.text("console"),
    )


def _role_pairs(request: Request) -> list[tuple[str, str]]:
    """Return the roles with their names in the reader's language."""
    _ = reader_of(request).gettext
    return [
        (Role.REP.value, _("representative")),
        (Role.MONITOR.value, _("monitor")),
        (Role.ADMIN.value, _("administrator")),
    ]


def _role(text: str) -> str:
    if text not in {role.value for role in Role}:
        raise InvalidInput(f"{text!r} is no role", f"choose one of {', '.join(Role)}")
    return text


def _notify(text: str) -> str | None:
    if text and text not in {level.value for level in NoticeLevel}:
        raise InvalidInput(f"{text!r} is no level of notices", "choose one")
    return text or None
