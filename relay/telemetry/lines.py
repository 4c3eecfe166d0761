"""The two forms of a log line, cheap: a line is written for every mail.

`PlainLines` writes what structlog's console renderer writes without colours, and
`JSONLines` the object its JSON renderer writes, at a fraction of their cost; tests
compare them. What is rare (a traceback, a line of another library) is left to
structlog itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from relay.core.ascii_json import ascii_json

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_RARE: Final = frozenset({"exception", "stack", "exc_info", "logger", "logger_name"})
_QUOTED: Final = frozenset(" \t=\r\n\"'")
_LEVEL_WIDTH: Final = 9
_EVENT_WIDTH: Final = 30


class PlainLines:
    """The structlog processor for people, where there are no colours."""

    def __init__(self) -> None:
        """Prepare structlog's own renderer for what is rare."""
        self._full = structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Return the line of an event."""
        if not _RARE.isdisjoint(event) or "timestamp" not in event:
            return str(self._full(logger, method, event))
        time, level = event.pop("timestamp"), event.pop("level", "")
        name = str(event.pop("event", ""))
        words = [f"{time} [{level:<{_LEVEL_WIDTH}}] {name:<{_EVENT_WIDTH}}"]
        for key in sorted(event):
            value = event[key]
            if isinstance(value, str) and _QUOTED.isdisjoint(value):
                words.append(f"{key}={value}")
            else:
                words.append(f"{key}={value!r}")
        return " ".join(words)


class JSONLines:
    """The structlog processor for machines: one JSON object, in ASCII."""

    def __init__(self) -> None:
        """Prepare structlog's own renderer for what orjson would write otherwise."""
        self._full = structlog.processors.JSONRenderer(sort_keys=False)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Return the line of an event."""
        # Other scripts are escaped, so that any terminal and any locale can show the
        # line; that is the slower way.
        line = ascii_json(event)
        return str(self._full(logger, method, event)) if line is None else line
