"""One way to say which mails are meant: in the command line, the API and the console.

    state:dead user:ada since:yesterday until:2026-11-29T11:00 domain:acme.com offer

A condition is `key:value`; a value with spaces stands in double quotes, in which a
backslash keeps the next character. A word without a key is searched for as text, or
means the message where it is an id as the listings print it, whole or shortened. A key
that stands several times (or has values with commas between) means any of them;
different keys, and several texts, must all fit. `parse` reads it, `write` writes it.

Times are in UTC unless they name a zone: `10m`, `2h`, `3d`, `1w` ago, `2026-11-29`,
`2026-11-29T10:00`, `today`, `yesterday`, `yesterday 10:00`. `since` is the first
moment, `until` the one after the last; a day alone as `until` ends with that day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from relay.core.errors import InvalidInput
from relay.core.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED: Final = "refused"
"""The state shown for a refusal, which is no message and has no state of its own."""
STATES: Final = (*(state.value for state in State), REFUSED)
"""Every state that a listing shows, and that a filter takes."""
LONGEST: Final = 2000
"""Characters of a filter; more is no question that a person has."""
MOST: Final = 50
"""Conditions of a filter; each may cost the database a query of its own."""

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}
_DAYS: Final = {"today": 0, "yesterday": 1}
_DAY: Final = re.compile(r"(today|yesterday)(?:[t\s]+(\S+))?", re.IGNORECASE)
_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")
"""NUL and lone surrogates: no database finds them, and one refuses them."""
_ID: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{6,26}")
_PRINTED_ID: Final = re.compile(r"(?=.*[a-z])0[1-3][0-9a-hjkmnp-tv-z]{9,24}")
"""An id, or the beginning that a narrow terminal shows; it is no number."""
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a person asks for, as typed; empty: everything.

    Attributes:
        state: States of messages, or `refused`.
        user: Whose mail: e-mail addresses or names.
        address: Addresses of the sender or of a recipient.
        domain: Domains of the sender.
        text: Texts in the subject, the sender or the recipients.
        reason: Why it was refused, or how it ended.
        cause: What spoke against the sender, as the catalogue of causes numbers it.
        message_id: What the Message-ID header says, with or without its brackets.
        id: Ids of messages and refusals, or how they begin.
        since: From then on.
        until: Before then.
    """

    state: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    address: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    reason: tuple[str, ...] = ()
    cause: tuple[str, ...] = ()
    message_id: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def merged(self, other: Filter) -> Filter:
        """Return the filter with the conditions of both; the later of two times wins.

        So `parse(q).merged(options)` is what a search box and its fields mean together.
        """
        lists = {
            key: tuple(dict.fromkeys((*getattr(self, key), *getattr(other, key))))
            for key in _LISTS
        }
        return Filter(
            **lists,
            since=other.since or self.since,
            until=other.until or self.until,
        )


_LISTS: Final = tuple(
    one.name for one in fields(Filter) if one.name not in {"since", "until"}
)
KEYS: Final = tuple(one.name.replace("_", "-") for one in fields(Filter))
"""The keys of the syntax, as they are written."""
_KNOWN: Final = ", ".join(KEYS)


# ------------------------------------------------------------------ reading


def parse(text: str, now: datetime) -> Filter:
    """Return what a text asks for.

    Args:
        text: In the syntax that the module describes.
        now: The time, for times such as `2h`.

    Raises:
        InvalidInput: Something in it has no meaning; names it, and what fits.
    """
    if len(text) > LONGEST:
        raise InvalidInput(f"the filter has more than {LONGEST} characters")
    lists: dict[str, dict[str, None]] = {key: {} for key in _LISTS}
    times: dict[str, datetime] = {}
    for number, (key, value, quoted, *_) in enumerate(_conditions(text), 1):
        if number > MOST:
            raise InvalidInput(f"the filter has more than {MOST} conditions")
        name = key.replace("-", "_")
        if name in {"since", "until"}:
            if name in times:
                raise InvalidInput(f"{key}: stands twice", "write it once")
            times[name] = read_time(value, now, end=name == "until")
        else:
            whole = quoted or name == "text"
            parts = (
                (value,) if whole else tuple(filter(None, value.split(","))) or ("",)
            )
            for one in parts:
                lists[name][read_condition(name, one)] = None
    return Filter(
        **{key: tuple(found) for key, found in lists.items()},
        since=times.get("since"),
        until=times.get("until"),
    )


def read_condition(name: str, value: str) -> str:
    """Return one value of a list of `Filter` as it is compared.

    Args:
        name: The attribute of `Filter`.
        value: As typed.

    Raises:
        InvalidInput: It cannot be one.
    """
    if _NO_TEXT.search(value):
        problem = f"{name.replace('_', '-')}: has a character that no text has"
        raise InvalidInput(problem, "leave it out")
    value = " ".join(value.split()) if name != "message_id" else value.strip()
    if not value:
        raise InvalidInput(f"{name.replace('_', '-')}: is empty", "write a value")
    if name == "state":
        value = value.lower()
        if value not in STATES:
            problem = f"{value!r} is no state"
            raise InvalidInput(problem, f"write one of {', '.join(STATES)}")
    elif name == "id":
        value = value.lower()
        if not _ID.fullmatch(value):
            problem = f"{value!r} is no id of a message, nor its first six characters"
            raise InvalidInput(problem, "copy one from a listing")
    elif name == "domain":
        value = value.lower().removeprefix("*").removeprefix("@")
    elif name == "message_id":
        value = f"<{value.removeprefix('<').removesuffix('>')}>"
    return value


@dataclass(frozen=True, slots=True)
class Piece:
    """One condition of a filter as it was typed.

    Attributes:
        key: Such as `state` or `message-id`; `text` where none was typed.
        value: Without its quotes.
        written: All of it, as it stands in the filter.
    """

    key: str
    value: str
    written: str


def pieces(text: str) -> list[Piece]:
    """Return the conditions of a filter in their order, to leave one out or add one.

    Raises:
        InvalidInput: A quote is not closed, or a key is not known.
    """
    return [
        Piece(key, value, text[begin:end])
        for key, value, _, begin, end in _conditions(text)
    ]


def _conditions(text: str) -> Iterator[tuple[str, str, bool, int, int]]:
    """Yield (key, value, whether it was quoted, begin, end) of each condition.

    Raises:
        InvalidInput: A quote is not closed, or a key is not known.
    """
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        begin, key = at, "text"
        found = re.match(r"([A-Za-z_-]+):", text[at:])
        if found:
            key = found[1].lower().replace("_", "-")
            if key not in KEYS:
                hint = f'known: {_KNOWN}; to search for it as text: "{found[0]}…"'
                raise InvalidInput(f"{found[1]!r} is no key of a filter", hint)
            at += len(found[0])
        value, at, quoted = _value(text, at)
        if not (found or quoted) and _PRINTED_ID.fullmatch(value):
            key = "id"
        yield key, value, quoted, begin, at


def _value(text: str, at: int) -> tuple[str, int, bool]:
    """Return a value, where it ends, and whether it was quoted."""
    if text[at : at + 1] != '"':
        end = at
        while end < len(text) and not text[end].isspace():
            end += 1
        return text[at:end], end, False
    value, at = "", at + 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        value += text[at]
        at += 1
    if at == len(text):
        raise InvalidInput("a quote is not closed", 'write "…" around a text')
    return value, at + 1, True


def read_span(text: str) -> timedelta | None:
    """Return how long `10m`, `2h`, `3d` or `1w` is; None: it is no such text."""
    found = _AGO.fullmatch(text.strip().lower())
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def read_time(text: str, now: datetime, *, end: bool = False) -> datetime:
    """Return the time that a text names, in UTC.

    Args:
        text: As the module describes.
        now: The time now.
        end: It ends a period: a day alone means the moment after it.

    Raises:
        InvalidInput: It names no time.
    """
    text = text.strip()
    day = _DAY.fullmatch(text)
    try:
        if (ago := read_span(text)) is not None:
            return now - ago
        if day:
            date = now.astimezone(UTC).date() - timedelta(_DAYS[day[1].lower()])
            clock = time.fromisoformat(day[2]) if day[2] else time()
            at = datetime.combine(date, clock)
        else:
            at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        whole_day = not day[2] if day else bool(_DATE.fullmatch(text))
        return at + timedelta(days=1) if end and whole_day else at
    except (ValueError, OverflowError):
        hint = "write 10m, 2h, 3d, yesterday, 2026-01-31 or 2026-01-31T09:00"
        raise InvalidInput(f"{text!r} is no time", hint) from None


# ------------------------------------------------------------------ writing


def write(wanted: Filter) -> str:
    """Return a filter in the syntax; `parse` reads the same from it."""
    words = [
        f"{key.replace('_', '-')}:{_quoted(value)}"
        for key in _LISTS
        for value in getattr(wanted, key)
    ]
    for key, at in (("since", wanted.since), ("until", wanted.until)):
        if at is not None:
            words.append(f"{key}:{at.astimezone(UTC).isoformat()}")
    return " ".join(words)


def _quoted(value: str) -> str:
    if re.fullmatch(r'[^\s",\\]+', value):
        return value
    inside = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inside}"'
