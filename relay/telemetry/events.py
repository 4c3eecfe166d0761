"""The log: one event a line, a fixed name with fields beside it, on standard error.

    log = get_logger(__name__)
    with bound(message_id=claimed.id):
        log.info("message_settled", state="logged", records=2)

`bound` puts fields on every event of the code inside it, awaited calls and threads of
`asyncio.to_thread` included; so one message id goes through all stages. `redaction`
decides what a line may hold. Libraries that log through `logging` come out
in the same form, from WARNING up: below it they write queries, URLs and mail.

A log that cannot be written (a closed pipe, a full disk) is dropped: mail goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import structlog
from structlog.contextvars import bound_contextvars

from relay.core.ascii_json import ascii_json
from relay.telemetry.redaction import Redactor

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from structlog.typing import (
        EventDict,
        FilteringBoundLogger,
        Processor,
        WrappedLogger,
    )

    from relay.config import TelemetrySettings

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_RARE: Final = frozenset({"exception", "stack", "exc_info", "logger", "logger_name"})
_QUOTED: Final = frozenset(" \t=\r\n\"'")
_LEVEL_WIDTH: Final = 9
_EVENT_WIDTH: Final = 30


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module; cheap, and safe to make at import."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=name))


def bound(**fields: Any) -> AbstractContextManager[Any]:
    """Put fields, such as `message_id`, on every event of the code inside."""
    return bound_contextvars(**fields)


def configure_logging(
    settings: TelemetrySettings, *, stream: TextIO | None = None
) -> None:
    """Set form, level and masking for the whole process; a second call replaces them.

    Args:
        settings: `telemetry.log_format`, `.log_level`, `.mask_addresses`.
        stream: Where to write; None: standard error, as it is at each write.
    """
    _configure(
        _LEVELS[settings.log_level],
        as_json=settings.log_format == "json",
        mask=settings.mask_addresses,
        stream=stream,
    )


class _Sink:
    """Writes lines, and drops those that cannot be written."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """Write one line whole, so that threads do not mix theirs."""
        stream = self._stream or sys.stderr
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.write(line + "\n")
            stream.flush()

    msg = debug = info = warning = error = critical = exception = fatal = write

    def __call__(self, *_: object) -> _Sink:
        """Serve as structlog's logger factory."""
        return self


class _SinkHandler(logging.Handler):
    """Passes lines of the standard library's `logging` to the sink."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__()
        self.sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a broken one says so in its place."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a library's bad format string is no failure
            line = f"unreadable log record of {record.name}"
        self.sink.write(line)


# A line is written for every mail, so it must be cheap. `PlainLines` writes what
# structlog's console renderer writes without colours, and `JSONLines` the object its
# JSON renderer writes, at a fraction of their cost; tests compare them. What is rare (a
# traceback, a line of another library) is left to structlog itself.


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


def _is_terminal(stream: TextIO | None) -> bool:
    """Say whether colours make sense; a closed stream is no terminal."""
    try:
        return stream is not None and stream.isatty() and "NO_COLOR" not in os.environ
    except ValueError:
        return False


def _traceback(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Put the traceback of an exception, without local variables, into its event."""
    if "exc_info" not in event:
        return event
    return structlog.processors.format_exc_info(logger, method, event)


def _configure(level: int, *, as_json: bool, mask: bool, stream: TextIO | None) -> None:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _traceback,
        Redactor(mask=mask),
    ]
    renderer: Processor
    if as_json:
        renderer = JSONLines()
    elif _is_terminal(stream or sys.stderr):
        renderer = structlog.dev.ConsoleRenderer(
            colors=True, exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = PlainLines()
    sink = _Sink(stream)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=sink,
        cache_logger_on_first_use=False,
    )
    handler = _SinkHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_logger_name,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *shared[1:],
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _SinkHandler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))


# Until the settings are read, and for commands that never configure the log, warnings
# go to standard error; structlog's own default is standard output, where results go.
_configure(logging.WARNING, as_json=False, mask=False, stream=None)
