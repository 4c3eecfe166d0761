"""Every page, asked as every role and as nobody: one table says who may."""

from __future__ import annotations

import re

import pytest
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from relay.accounts import Accounts
from relay.console.feed import Feed
from relay.core.access import OF_ROLE, Scope, scopes_of
from relay.core.directory import Role
from relay.core.errors import NotAllowed, NotFound, StoreUnavailable
from relay.web.pages.app import create_pages
from relay.web.pages.context import Context
from relay.web.pages.guard import OPEN, ROUTES, Guard, Needs, local_path
from tests.web.pages.conftest import AnyCaller, person

ROLES = (*Role, None)
_VALUES = {"int": "987654", "": "987654", "str": "987654", "path": "987654"}


def path_of(route):
    """Return a path that fits a route, with ids that nobody has."""
    return re.sub(r"\{\w+:?(\w*)\}", lambda found: _VALUES[found[1]], route.path)


def may(role, needs):
    """Say what the table says."""
    if needs is OPEN:
        return True
    if role is None:
        return False
    return needs in Needs or needs in OF_ROLE[role]


@pytest.fixture
def routes(console):
    """Return the routes of all pages that stand behind the guard."""
    made = create_pages(
        Context(console.store, console.settings, console.clock, Feed(console.store))
    )
    return {route.name: route for route in made if route.name != "asset"}


async def test_the_table_is_whole(routes):
    """Each page has a row, and each row a page."""
    assert set(routes) == set(ROUTES)


async def test_a_page_without_a_row_does_not_start(console):
    """Nor one whose name another has."""
    guard = AnyCaller(None, console.settings)

    async def show(_request):
        return PlainTextResponse("")

    with pytest.raises(ValueError, match="no row in ROUTES"):
        guard.protect([Route("/new", show)])
    with pytest.raises(ValueError, match="two pages"):
        guard.protect([Route("/a", show, name="home"), Route("/b", show, name="home")])


class Emptied(AnyCaller):
    """The guard before pages that show one word and do nothing."""

    def _guarded(self, _endpoint, needs):
        async def show(_request):
            return PlainTextResponse("let in")

        return super()._guarded(show, needs)


@pytest.mark.parametrize("role", ROLES, ids=str)
async def test_each_page_lets_in_whom_the_table_says(console, role):
    """Every route as every role; a stranger is sent to the sign-in."""
    context = Context(
        console.store, console.settings, console.clock, Feed(console.store)
    )
    guard = Emptied(Accounts(console.store, console.settings), console.settings)
    made = [route for route in create_pages(context, guard) if route.name != "asset"]
    console.app.router.routes[:] = made
    who = None if role is None else person("Someone", role)
    asked = 0
    for route in made:
        for method in sorted(route.methods - {"HEAD"}):
            answer = await console._ask(method, path_of(route), who)
            asked += 1
            needs = ROUTES[route.name]
            if may(role, needs):
                assert (answer.status_code, answer.text) == (200, "let in"), route.name
            elif role is None:
                assert answer.status_code == 303, route.name
                assert answer.headers["Location"].startswith("/sign-in")
            else:
                assert answer.status_code == 403, route.name
                assert "Your role has no right" in answer.text
    assert asked >= len(ROUTES)


async def test_a_right_of_the_table_is_asked_for(console):
    """A row with a right refuses the roles that do not have it."""

    async def show(_request):
        return PlainTextResponse("shown")

    guard = AnyCaller(None, console.settings)
    for scope in Scope:
        endpoint = guard._guarded(show, scope)
        console.app.router.routes.insert(0, Route(f"/needs-{scope.name}", endpoint))
        for role in Role:
            answer = await console.get(f"/needs-{scope.name}", person("Someone", role))
            allowed = scope in OF_ROLE[role]
            assert answer.status_code == (200 if allowed else 403)
            assert (answer.text == "shown") is allowed


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (NotFound("no such mail"), 404, "not yours to see"),
        (NotAllowed("theirs", "", word="not_yours"), 404, "not yours to see"),
        (NotAllowed("never", ""), 403, "Your role has no right"),
        (StoreUnavailable("down"), 503, "The database does not answer"),
        (HTTPException(400, "There was an error parsing the body"), 400, "be read"),
    ],
    ids=str,
)
async def test_what_a_page_cannot_do_is_said(console, error, status, text):
    """With all headers, and without the text of the error: it may name something."""

    async def show(_request):
        raise error

    endpoint = AnyCaller(None, console.settings)._guarded(show, OPEN)
    console.app.router.routes.insert(0, Route("/broken", endpoint))
    answer = await console._ask("GET", "/broken", None)
    assert answer.status_code == status
    assert text in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert str(error) not in answer.text


def test_a_monitor_reads_mails_only_where_that_is_allowed():
    """`web.monitor_sees_bodies`; no other role gains by it."""
    for role in Role:
        plain = scopes_of(role, monitor_sees_bodies=False)
        more = scopes_of(role, monitor_sees_bodies=True)
        assert plain == OF_ROLE[role]
        assert more - plain == ({Scope.RAW_READ} if role is Role.MONITOR else set())


@pytest.mark.parametrize("path", ["/", "/log?q=a&b=%2F", "/people/7"])
def test_local_paths_stay(path):
    """With their query."""
    assert local_path(path) == path


def test_the_guard_of_tests_is_the_guard():
    """What decides is not replaced in tests, only who asks."""
    changed = {name for name in vars(AnyCaller) if not name.startswith("__")}
    assert changed == {"identify", "is_foreign", "may_go_on"}
    assert issubclass(AnyCaller, Guard)
