"""What the routes of the pages work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

    from relay.config import Settings
    from relay.console.feed import Feed
    from relay.console.replays import Replays
    from relay.core.access import Caller
    from relay.core.clock import Clock
    from relay.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """Store, settings, clock, and the live view of `relay.web.stream`.

    `replays` are the re-plays of this process; None: nothing can be tried.
    """

    store: Store
    settings: Settings
    clock: Clock
    feed: Feed
    replays: Replays | None = None


def who_asks(request: Request) -> Caller | None:
    """Return who is signed in; None: nobody."""
    found: Caller | None = getattr(request.state, "caller", None)
    return found


def caller_of(request: Request) -> Caller:
    """Return who is signed in, on a page that nobody else gets.

    Raises:
        AssertionError: The guard let somebody through who is not signed in.
    """
    found = who_asks(request)
    if found is None:
        raise AssertionError("a page was shown to nobody")
    return found
