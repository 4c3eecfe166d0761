"""JSON bodies: written once, strictly, and read back, by orjson where it is installed.

Salesforce refuses a lone surrogate or NaN, or stores something else than was meant, so
that neither may leave: surrogates become U+FFFD, NaN and infinity are an error.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.model import Json

_HOLDS_NUMBERS: Final = (float, dict, list, tuple)
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def _slow_dump(value: Json) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


_dump: Callable[[Any], bytes] = _slow_dump
_load: Callable[[bytes], Any] = json.loads
try:
    import orjson
except ImportError:  # the extra `fast` is not installed
    pass
else:
    _dump, _load = orjson.dumps, orjson.loads


def write(value: Json) -> bytes:
    """Return the JSON of a value, UTF-8, without spaces.

    Raises:
        ValueError: Something in it has no JSON form: NaN, infinity, bytes, …
    """
    # The fast writer makes null of NaN, silently.
    if _has_nan(value):
        msg = "NaN and infinity have no JSON form"
        raise ValueError(msg)
    try:
        return _dump(value)
    except (TypeError, ValueError):
        pass
    try:
        return _dump(_mended(value))
    except (TypeError, ValueError, RecursionError):
        # Without the cause: its text quotes the value.
        msg = "a value has no JSON form"
        raise ValueError(msg) from None


def read(data: bytes) -> Json:
    """Parse JSON.

    Raises:
        ValueError: It is none.
    """
    try:
        return _load(data)
    except (ValueError, RecursionError):
        # Without the cause: it carries the whole document.
        msg = "the answer is not JSON"
        raise ValueError(msg) from None


def _has_nan(value: Json) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return any(_has_nan(v) for v in value if isinstance(v, _HOLDS_NUMBERS))


def _mended(value: Json) -> Json:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(k): _mended(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(v) for v in value]
    return value
