"""A live view over HTTP: Server-Sent Events, for the API and for the pages.

Each event has the cursor behind it as its id; a browser sends the last one back in
`Last-Event-ID` when it connects again, and goes on there. Events are `new`, `changed`,
and `lost`, after which the reader lists anew. Every few seconds the cursor comes alone,
so that a proxy keeps the connection and a reader of rare mail stays up to date.

The stream ends when its reader goes, when the reader may not see it any more, and when
the feed is closed, since a server waits for open answers before it stops.

Source: HTML Standard, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from relay.core.ascii_json import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from relay.console.feed import Look, Seen

TYPE: Final = "text/event-stream"
LAST: Final = "Last-Event-ID"
RETRY_MS: Final = 2000
"""After how long a browser connects again."""
STUCK_S: Final = 30.0
"""How long a reader may take no more; then it is left."""


def as_json(seen: Seen) -> str:
    """Return the data of an event for programs."""
    return json.dumps(seen.row, default=plain)


class EventStream(Response):
    """The answer that does not end by itself."""

    media_type = TYPE

    def __init__(
        self,
        first: Look,
        watch: AsyncIterator[Look],
        *,
        still: Callable[[], Awaitable[bool]],
        write: Callable[[Seen], str] = as_json,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take over a watch that has begun.

        Args:
            first: What it has yielded already.
            watch: Of `relay.console.feed.Feed`.
            still: Says whether the reader may go on; asked before anything is sent.
            write: Returns the data of an event.
            headers: Further headers.
        """
        super().__init__(None, 200, {"X-Accel-Buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._first = first
        self._watch = watch
        self._still = still
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until it ends."""
        del scope
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await _sent(
                send,
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                },
            )
            await _sent(send, _body(f"retry: {RETRY_MS}\n\n{self._text(self._first)}"))
            while (found := await self._next(gone)) is not None:
                if not await self._still():
                    break
                await _sent(send, _body(self._text(found)))
            await _sent(send, _body("", more=False))
        finally:
            gone.cancel()
            close: Any = getattr(self._watch, "aclose", None)
            if close is not None:
                await close()

    async def _next(self, gone: asyncio.Task[None]) -> Look | None:
        """Return what comes next; None: the stream ends."""
        coming = asyncio.ensure_future(anext(self._watch, None))
        await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
        if coming.done():
            return coming.result()
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming
        return None

    def _text(self, found: Look) -> str:
        events = []
        if found.lost:
            events.append(_event("lost", "list anew", found.cursor))
        for seen in found.seen:
            name = "new" if seen.is_new else "changed"
            events.append(_event(name, self._write(seen), seen.cursor))
        # Without data it moves the reader's place, and no event is seen.
        events.append(f"id: {found.cursor}\n\n")
        return "".join(events)


def _event(name: str, data: str, cursor: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"id: {cursor}\nevent: {name}\n{lines}\n"


def _body(text: str, *, more: bool = True) -> dict[str, Any]:
    body = text.encode("utf-8", "replace")
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _sent(send: Send, message: dict[str, Any]) -> None:
    """Send, unless the reader has taken nothing for too long.

    Raises:
        TimeoutError: It has.
    """
    async with asyncio.timeout(STUCK_S):
        await send(message)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
