"""Puts the pages together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.accounts import Accounts
from relay.accounts.factors import Factors
from relay.accounts.sealing import Sealer
from relay.web.pages import (
    account,
    alerts,
    assets,
    diagnostics,
    history,
    home,
    log,
    people,
    reminders,
    rules,
    salesforce,
    sign_in,
    unmatched,
)
from relay.web.pages.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import Route

    from relay.web.pages.context import Context

THINGS = (
    home,
    log,
    unmatched,
    people,
    reminders,
    alerts,
    diagnostics,
    history,
    salesforce,
    rules,
)
"""Each file with routes of pages; one a line, in the order of the menu."""


def create_pages(context: Context, guard: Guard | None = None) -> list[Route]:
    """Return the routes of all pages, and of the files that they load.

    Args:
        context: What the pages work with.
        guard: Stands before each page; None: by sessions of the store.

    Raises:
        ValueError: A page has no row in `guard.ROUTES`.
    """
    guard = guard or Guard(Accounts(context.store, context.settings), context.settings)
    routes = [route for thing in THINGS for route in thing.routes(context)]
    key = context.settings.web.factor_key
    sealer = Sealer(key.get_secret_value() if key else None)
    factors = Factors(guard.accounts, context.store, sealer)
    routes += sign_in.routes(context, guard.accounts, factors)
    routes += account.routes(context, guard.accounts, factors)
    return [*assets.routes(), *guard.protect(routes)]


def page_paths(routes: Sequence[Route]) -> frozenset[str]:
    """Return the paths that a menu may lead to."""
    return frozenset(route.path for route in routes)
