"""JSON as ASCII in one fast step, where orjson is installed and the value allows it.

What it does not allow (other scripts, a lone surrogate, a number beyond 64 bits) is
left to the caller's slower way, which escapes it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import orjson

    _dump: Callable[[object], bytes] | None = orjson.dumps
except ImportError:  # the extra `fast` is not installed
    _dump = None


def plain(value: object) -> str | list[Any]:
    """Return what JSON has no form for as it is shown: times are ISO 8601 in UTC.

    For `json.dumps(…, default=plain)`: listings and the API write values alike.
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value)
    return str(value)


def ascii_json(value: object) -> str | None:
    """Return compact JSON in ASCII, or None where only the slower way can write it."""
    if _dump is None:
        return None
    try:
        line = _dump(value)
    except TypeError:
        return None
    return line.decode("ascii") if line.isascii() else None
