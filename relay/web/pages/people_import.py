"""Users from a CSV file or from Salesforce, and addresses that follow Salesforce.

First a plan is shown; the form under it carries out that plan, and nothing if it is
another by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import UploadFile
from starlette.routing import Route

from relay.console import people_import, sign_in
from relay.core.errors import InvalidInput
from relay.web.pages.asked import done, shown
from relay.web.pages.context import caller_of
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.console.people_import import UserStep
    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/people/import"
ADDRESSES: Final = "addresses"


def routes(context: Context) -> list[Route]:
    """Return the routes of imports."""
    pages = _Pages(context)

    def back(*_: object) -> str:
        return PATH

    def act(path: str, name: str, work: object) -> Route:
        return Route(
            f"{PATH}{path}",
            done(back, work),  # type: ignore[arg-type]
            methods=["POST"],
            name=f"people_{name}_do",
        )

    return [
        Route(PATH, shown(pages.show), name="people_import"),
        act("/plan", "plan", pages.plan),
        act("", "import", pages.carry_out),
        act("/follow", "follow", pages.follow),
    ]


class _Pages:
    """The pages; they ask `relay.console.people_import`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._settings = context.settings

    async def show(self, request: Request) -> Response:
        """Show where users can come from."""
        return page(
            request,
            "people/import.html",
            has_org=self._settings.salesforce.instance_url is not None,
            columns=",".join(people_import.COLUMNS),
        )

    async def plan(self, request: Request, form: Form) -> Response:
        """Show what an import would do."""
        source = form.text("source")
        if source == ADDRESSES:
            steps = await people_import.plan_addresses(
                self._settings, self._store, self._context.clock
            )
            return page(request, "people/plan_addresses.html", steps=steps)
        text = await _csv(request) if source == people_import.CSV else ""
        update = form.has("update")
        planned = await self._planned(source, text, update=update)
        return page(
            request,
            "people/plan_users.html",
            steps=planned,
            counts=people_import.counts(planned),
            digest=people_import.digest(planned),
            source=source,
            csv=text,
            update=update,
            lacks_for_mail=sign_in.lacks_for_mail(self._settings),
        )

    async def carry_out(self, request: Request, form: Form) -> Response:
        """Add and change the users of the plan that was shown."""
        text, who = await _csv(request), caller_of(request)
        planned = await self._planned(
            form.text("source"), text, update=form.has("update")
        )
        people_import.need_same(planned, form.text("digest"))
        invites = form.has("invite")
        if invites:
            sign_in.need_mail(self._settings)
        done = await people_import.carry_out(
            *(self._store, planned, who.name), activate=form.has("activate")
        )
        reader = reader_of(request)
        said = [
            reader.ngettext(
                "%(n)s user is added.", "%(n)s users are added.", len(done.added)
            )
        ]
        if done.changed:
            said.append(
                reader.ngettext(
                    "%(n)s user is changed.", "%(n)s users are changed.", done.changed
                )
            )
        if invites:
            count = await sign_in.invite_all(
                self._store, self._settings, done.added, who.name
            )
            said.append(
                reader.ngettext(
                    "%(n)s invitation is mailed.",
                    "%(n)s invitations are mailed.",
                    count,
                )
            )
        return say_and_go(request, "/people", " ".join(said))

    async def follow(self, request: Request, form: Form) -> Response:
        """Bring the accepted addresses in step with Salesforce."""
        steps = await people_import.plan_addresses(
            self._settings, self._store, self._context.clock
        )
        expected = form.number("count")
        if expected != len(people_import.changing(steps)):
            hint = "look at the plan again"
            raise InvalidInput("the plan is another by now; nothing was changed", hint)
        count = await people_import.follow(self._store, steps, caller_of(request).name)
        said = reader_of(request).ngettext(
            "%(n)s address is changed.", "%(n)s addresses are changed.", count
        )
        return say_and_go(request, "/people", said)

    async def _planned(self, source: str, text: str, *, update: bool) -> list[UserStep]:
        return await people_import.planned(
            *(self._store, self._settings, source, text),
            update=update,
            clock=self._context.clock,
        )


async def _csv(request: Request) -> str:
    """Return the CSV that was sent as a file, or as text.

    Raises:
        InvalidInput: The file is not UTF-8.
    """
    form = await request.form()
    sent = form.get("file")
    if isinstance(sent, UploadFile) and sent.filename:
        data = await sent.read(people_import.LONGEST + 1)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            hint = "save it as CSV UTF-8"
            raise InvalidInput("the file is not UTF-8", hint) from None
    text = form.get("csv")
    return text if isinstance(text, str) else ""
