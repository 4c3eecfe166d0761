"""What the routes share: who may, pages, ETags, and how values are written."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from fastapi import Depends, Header, Path, Query, Request
from starlette.responses import JSONResponse

from relay.core.access import MEANING, Caller, Scope
from relay.core.ascii_json import plain
from relay.store.edits import Stale, as_of
from relay.web.api.gate import of_request
from relay.web.api.models import MAX_NUMBER
from relay.web.api.problems import Problem

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.console.feed import Feed
    from relay.console.replays import Replays
    from relay.core.clock import Clock
    from relay.store import Store

T = TypeVar("T")
MOST: Final = 200
USUAL: Final = 50
_TRIES: Final = 5
"""How often a change is tried while others change something else."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the routes work with."""

    store: Store
    settings: Settings
    clock: Clock
    feed: Feed
    replays: Replays | None = None


def needs(scope: Scope) -> Any:
    """Return the dependency that lets only who has this right pass."""

    def check(request: Request) -> Caller:
        who = of_request(request.state)
        if scope not in who.scopes:
            detail = f"this token may not {MEANING[scope]}"
            hint = f"relay token add NAME --scope {scope}"
            if who.user is not None:
                hint += f", if the role {who.user.role} may"
            raise Problem(403, "not_allowed", detail, hint, scope=scope.value)
        return who

    return Depends(check)


Number = Annotated[int, Path(ge=1, le=MAX_NUMBER)]
"""The number of a row, in a path."""


# ------------------------------------------------------------------ answers


def answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a value as JSON, written as the command line writes it."""
    return JSONResponse(whole(value), status, headers=dict(headers or {}))


def whole(value: Any) -> Any:
    """Return a value with times as text."""
    return json.loads(json.dumps(value, default=plain))


def etag(value: Any) -> str:
    """Return the ETag of what is shown (RFC 9110 section 8.8.3)."""
    text = json.dumps(whole(value), sort_keys=True).encode()
    return f'"{hashlib.sha256(text).hexdigest()[:32]}"'


def tagged(value: Any, status: int = 200, **headers: str) -> JSONResponse:
    """Return a value with its ETag."""
    return answer(value, status, {"ETag": etag(value), **headers})


IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag of what was read, or *; without it: 428.",
    ),
]


def matches(sent: str | None, value: Any) -> None:
    """Pass a change of what its sender has read.

    Raises:
        Problem: No ETag was sent, or it is not that of today.
    """
    if sent is None:
        hint = "GET it, and send its ETag in the header If-Match"
        raise Problem(428, "if_match_missing", "the change names no ETag", hint)
    tags = {tag.strip() for tag in sent.split(",")}
    if "*" not in tags and etag(value) not in tags:
        hint = "GET it again, and send the change with its new ETag"
        raise Problem(412, "changed", "it was changed since it was read", hint)


async def in_step(context: Context, change: Callable[[], Awaitable[T]]) -> T:
    """Make a change of what was read, and read it again where somebody was faster.

    Args:
        context: Has the store.
        change: Reads, compares the ETag, and makes one edit; it may be called again.

    Raises:
        Stale: Somebody was faster each time.
        Problem: What was read is not what `If-Match` names.
    """
    for _ in range(_TRIES):
        revision = await context.store.directory.revision()
        # Any edit raises the revision; only one of the same thing changes its ETag.
        with as_of(revision), suppress(Stale):
            return await change()
    raise Stale


# ------------------------------------------------------------------ pages

Cursor = Annotated[
    str | None,
    Query(max_length=500, description="`next` of the page before; else the first."),
]
Limit = Annotated[int, Query(ge=1, le=MOST, description="Items of a page.")]
_LARGEST: Final = 10**17
"""More than any number, or microsecond, by which a list is ordered."""


def write_cursor(after: Any, asked: Any) -> str:
    """Return where the next page begins, for the same question alone."""
    text = json.dumps([after, _digest(asked)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, asked: Any, kind: type) -> Any:
    """Return where a page begins; None: at the beginning.

    Raises:
        Problem: The cursor is not one of this question.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        after, digest = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, TypeError):
        after, digest = None, ""
    fits = type(after) is kind
    if isinstance(after, int):
        fits &= abs(after) <= _LARGEST
    if not fits or digest != _digest(asked):
        hint = "leave cursor out, or send `next` with the same conditions"
        raise Problem(400, "bad_cursor", "this cursor is not of this question", hint)
    return after


def _digest(asked: Any) -> str:
    text = json.dumps(asked, default=plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def page_of(
    items: Sequence[Any],
    key: Callable[[Any], str],
    cursor: str | None,
    limit: int,
    asked: Any,
) -> dict[str, Any]:
    """Return a page of a list that is short enough to be read whole.

    In the order of a key that no two items share, so that pages stay whole while
    items come and go.
    """
    after = read_cursor(cursor, asked, str)
    ordered = sorted(items, key=key)
    rest = [one for one in ordered if after is None or key(one) > after]
    return first_page(rest, key, limit, asked)


def latest_first(number: int) -> str:
    """Return a key for `page_of` by which larger numbers come first."""
    return f"{_LARGEST - number:018}"


def page_of_rows(
    rows: Sequence[Any], cursor: str | None, limit: int, asked: Any
) -> dict[str, Any]:
    """Return a page of rows to whose end alone further ones are added."""
    begin = read_cursor(cursor, asked, int) or 0
    return first_page(rows[begin:], lambda _: begin + limit, limit, asked)


def first_page(
    found: Sequence[T], place: Callable[[T], Any], limit: int, asked: Any
) -> dict[str, Any]:
    """Return up to `limit` of what was found as a page; more of it: there is a next.

    Args:
        found: The items from the cursor on, at least one more than `limit` if there
            are so many.
        place: Where an item stands in the list.
        limit: The most items of a page.
        asked: The question, which a cursor is bound to.
    """
    items = found[:limit]
    more = len(found) > limit
    return {
        "items": list(items),
        "next": write_cursor(place(items[-1]), asked) if more else None,
    }
