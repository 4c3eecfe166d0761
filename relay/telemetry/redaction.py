"""What a log line may hold: no secret, no mail body, no address where masking is on.

A relay address is a secret (anyone who knows it may log for its user), so it is always
masked, in every text; the log in the store has it whole, for admins.

The processors work on names and on text. A field whose name says that it is a secret
is masked, whatever it holds, at any depth; a field that would be mail content, and any
bytes, become their length. So a careless `log.info("x", settings=…)` leaks nothing that
has a telling name. Text is shortened and freed of control characters: a stranger's
header can neither forge a line nor move the cursor of the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sized
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

MASK: Final = "***"
LONGEST_TEXT: Final = 2000
"""Characters of one text; longer ones are cut. A traceback gets ten times as much."""
_DEEPEST: Final = 4
_MOST_ITEMS: Final = 50

_SECRET: Final = re.compile(
    r"secret|passw|token|authorization|cookie|assertion|credential|private_?key|api_?key"
    r"|session_?id|^sid$",
    re.IGNORECASE,
)
_CONTENT: Final = re.compile(
    r"(?:^|_)(?:body|html|raw|payload|attachments?|content|mail_text|headers)$",
    re.IGNORECASE,
)
# Both sides are bounded, so that the search stays linear on hostile text.
_ADDRESS: Final = re.compile(
    r"([^\s@<>\"'(),;:\[\]]{1,64})@((?:[\w-]{1,63}\.){0,8}[\w-]{1,63})"
)
_TOKEN: Final = re.compile(r"([lL][oO][gG]-[a-zA-Z2-7]{2})[a-zA-Z2-7]{18}")
"""The local part of a relay address, as `relay.store` makes them."""
_TOKEN_LENGTH: Final = 24
_CONTROL: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]"
)
_CONTROL_IN_LINES: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]"
)


def mask_addresses(text: str) -> str:
    """Return a text with each address cut to its first character and its domain."""
    return _ADDRESS.sub(lambda hit: f"{hit[1][0]}…@{hit[2]}", text)


def mask_tokens(text: str) -> str:
    """Return a text with relay addresses cut: enough to tell them apart by eye."""
    if len(text) < _TOKEN_LENGTH or ("g-" not in text and "G-" not in text):
        return text
    return _TOKEN.sub(_cut_token, text)


def clean(text: str, *, limit: int = LONGEST_TEXT) -> str:
    """Return a text on one line, without control characters, at most `limit` long."""
    if len(text) <= limit and text.isprintable():
        # Most texts: nothing that the search below would find is printable.
        return text
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text)} characters)"
    return _CONTROL.sub(_escape, text)


def _clean_lines(text: str) -> str:
    """Clean a traceback: lines stay, each set in, so that none looks like an event."""
    text = text[-10 * LONGEST_TEXT :]
    return "\n".join(
        "  " + line for line in _CONTROL_IN_LINES.sub(_escape, text).split("\n")
    )


@lru_cache(maxsize=1024)
def _kind(name: str) -> str:
    """Return how a field is masked by its name; most are not."""
    if name[:1] == "_":  # structlog's own, taken out before rendering
        return "own"
    if name in {"exception", "stack"}:
        return "lines"
    if _SECRET.search(name):
        return "secret"
    return "content" if _CONTENT.search(name) else ""


def _cut_token(hit: re.Match[str]) -> str:
    return hit[1] + "…"


def _escape(hit: re.Match[str]) -> str:
    code = ord(hit[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004


class Redactor:
    """The structlog processor that makes an event safe to read for everybody."""

    def __init__(self, *, mask: bool) -> None:
        """Prepare; `mask` also masks addresses in every text."""
        self._mask = mask

    def __call__(
        self, _logger: WrappedLogger, _method: str, event: EventDict
    ) -> EventDict:
        """Return the event with every field cleaned."""
        clean_event: EventDict = {}
        for name, value in event.items():
            if (
                type(value) is str
                and len(value) <= LONGEST_TEXT
                and not self._mask
                and not _kind(name)
                and value.isprintable()
            ):
                clean_event[name] = mask_tokens(
                    value
                )  # nearly every field of nearly every event
            else:
                clean_event[name] = self._field(name, value)
        return clean_event

    def _field(self, name: str, value: object) -> Any:
        kind = _kind(name)
        if kind == "own":
            return value
        if kind == "lines" and isinstance(value, str):
            lines = mask_tokens(_clean_lines(value))
            return mask_addresses(lines) if self._mask else lines
        return self._value(name, value, 0)

    def _value(self, name: str, value: object, depth: int) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        kind = _kind(name)
        if kind == "secret":
            return MASK
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(value)} bytes>"
        if kind == "content":
            size = len(value) if isinstance(value, Sized) else "?"
            return f"<left out, {size} long>"
        if not isinstance(value, str) and isinstance(
            value, (Mapping, list, tuple, set, frozenset)
        ):
            return self._items(value, depth) if depth < _DEEPEST else "…"
        # Masked first: a cut must not leave most of a secret.
        text = clean(mask_tokens(str(value)))
        return mask_addresses(text) if self._mask else text

    def _items(self, value: Collection[Any], depth: int) -> Any:
        if isinstance(value, Mapping):
            pairs = islice(value.items(), _MOST_ITEMS)
            return {
                clean(str(key)): self._value(str(key), inner, depth + 1)
                for key, inner in pairs
            }
        return [
            self._value("", inner, depth + 1) for inner in islice(value, _MOST_ITEMS)
        ]
