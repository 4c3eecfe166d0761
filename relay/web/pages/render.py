"""Makes a page of a template: language, times, menu, security headers.

Templates escape everything by themselves, and a name that nobody gave them is an
error. In templates and routes alike, `_("…")` and `ngettext("…", "…", n)` are the texts
in the reader's language; values stand in them as `%(name)s`. What the rooms below say
in English goes through the filter `told`, or `ui.told`.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from babel.dates import (
    format_date,
    format_datetime,
    format_skeleton,
    format_time,
    format_timedelta,
    get_timezone_name,
)
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relay.console.mails import plain_detail, plain_reason
from relay.core.directory import Role
from relay.core.translate import LANGUAGES, SOURCE, best, texts
from relay.web.api.mails import RELAY_ADDRESS
from relay.web.pages.assets import asset
from relay.web.pages.context import who_asks
from relay.web.pages.navigation import menu
from relay.web.pages.rule_names import rule_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from starlette.requests import Request

    from relay.core.access import Caller

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
"""Of every page."""
LANGUAGE_COOKIE: Final = "relay_language"
ZONE_COOKIE: Final = "relay_zone"
"""The time zone of the browser, for who has none from Salesforce."""
_SAID_COOKIE: Final = "relay_said"
_MOST_SAID: Final = 1500
_PLAIN_PATH: Final = re.compile(r"(?:/[\w.~@+-]+)+", re.ASCII)
"""Of this host, however a browser reads it: no second slash, no backslash."""
UTC_ZONE: Final = ZoneInfo("UTC")
_FOLDER: Final = Path(__file__).parent.parent / "templates"


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a page is for: how texts and times are written.

    Attributes:
        language: One of `LANGUAGES`.
        zone: The time zone in which times are shown.
        base: The path below which the relay is reached; empty, or `/relay`.
        csrf: The token that every form sends back; empty: no session.
    """

    language: str = SOURCE
    zone: ZoneInfo = UTC_ZONE
    base: str = ""
    csrf: str = ""

    def gettext(self, text: str, **values: Any) -> str:
        """Return a text in the reader's language."""
        found = texts(self.language).gettext(text)
        return found % values if values else found

    def told(self, text: object) -> str:
        """Return what a lower room wrote in English, in the reader's language."""
        return texts(self.language).told("" if text is None else str(text))

    def ngettext(self, one: str, many: str, number: int, **values: Any) -> str:
        """Return the text that fits a number, which stands in it as `%(n)s`."""
        found = texts(self.language).ngettext(one, many, number)
        return found % {"n": self.number(number), **values}

    def number(self, value: float) -> str:
        """Return a number as the reader's language writes it."""
        return format_decimal(value, locale=self.language)

    def time(self, at: datetime | str | None, form: str = "medium") -> str:
        """Return a time in the reader's zone; empty for none."""
        moment = as_moment(at)
        if moment is None:
            return ""
        if form == "short":
            # 11/12 is two days to two readers: the month is written as a word.
            local = moment.astimezone(self.zone)
            now = datetime.now(self.zone)
            day = "MMMd" if local.year == now.year else "yMMMd"
            date = format_skeleton(day, local, locale=self.language)
            return f"{date}, {format_time(local, 'short', locale=self.language)}"
        return format_datetime(moment, form, tzinfo=self.zone, locale=self.language)

    def day(self, on: date | None, form: str = "medium") -> str:
        """Return a day as the reader's language writes it; empty for none."""
        return "" if on is None else format_date(on, form, locale=self.language)

    def ago(self, at: datetime | str | None, now: datetime) -> str:
        """Return how long ago a time is, or how far ahead."""
        moment = as_moment(at)
        if moment is None:
            return ""
        return format_timedelta(
            moment - now, add_direction=True, locale=self.language, threshold=1.2
        )

    @property
    def zone_name(self) -> str:
        """The name of the zone, for people."""
        if self.zone.key == "UTC":
            return "UTC"
        name: str = get_timezone_name(
            self.zone, width="long", locale=self.language, zone_variant="generic"
        )
        return name


_reader: ContextVar[Reader] = ContextVar("reader", default=Reader())  # noqa: B039 - frozen


def as_moment(at: datetime | str | None) -> datetime | None:
    """Return a time that the store wrote as text."""
    if at is None or at == "":
        return None
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def reader_of(request: Request) -> Reader:
    """Return whom an answer is for.

    The language: as `request.state.language` says, else what the user has chosen, else
    the cookie, else the browser.
    The zone: that of the user in Salesforce, else the browser's, else UTC.
    """
    who = who_asks(request)
    user = who.user if who is not None else None
    chosen = getattr(request.state, "language", None)
    own = user.language if user is not None else None
    language = str(chosen or own or request.cookies.get(LANGUAGE_COOKIE))
    if language not in LANGUAGES:
        language = best(request.headers.get("accept-language", ""))
    names = (
        user.time_zone if user is not None else None,
        request.cookies.get(ZONE_COOKIE),
    )
    return Reader(
        language,
        next((zone for name in names if name and (zone := _zone(name))), UTC_ZONE),
        request.scope.get("root_path", "").rstrip("/"),
        getattr(request.state, "csrf", ""),
    )


def _zone(name: str) -> ZoneInfo | None:
    with suppress(KeyError, ValueError, OSError):
        return ZoneInfo(name)
    return None


# ------------------------------------------------------------------ pages


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates, with what all of them use."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "_": _gettext,
        "ngettext": _ngettext,
        "url": lambda path: _reader.get().base + path,
        "asset": lambda name: _reader.get().base + asset(name),
        "csrf": lambda: _reader.get().csrf,
        "zone_name": lambda: _reader.get().zone_name,
        "state_name": state_name,
        "role_name": role_name,
        "rule_name": lambda key: rule_name(_reader.get(), key),
        "languages": LANGUAGES,
    }
    filters: dict[str, Callable[..., str]] = {
        "number": lambda value: _reader.get().number(value),
        "time": _time,
        "iso": _iso,
        "day": _day,
        "reason": _reason,
        "told": lambda text: _reader.get().told(text),
        "plain": plain_detail,
    }
    made.filters |= filters
    return made


def _gettext(text: str, **values: Any) -> str:
    return _reader.get().gettext(text, **values)


def _ngettext(one: str, many: str, number: int, **values: Any) -> str:
    return _reader.get().ngettext(one, many, number, **values)


def _time(at: datetime | str | None, form: str = "medium") -> str:
    return _reader.get().time(at, form)


def _day(on: date | None, form: str = "medium") -> str:
    return _reader.get().day(on, form)


def state_name(state: str, reader: Reader | None = None) -> str:
    """Return the word for a state, in the reader's language.

    None: that of the page that is made.
    """
    _ = (reader or _reader.get()).gettext
    return {
        "queued": _("queued"),
        "claimed": _("in work"),
        "logged": _("logged"),
        "unmatched": _("unmatched"),
        "skipped": _("left out"),
        "held": _("held"),
        "dead": _("dead"),
        "discarded": _("discarded"),
        "refused": _("refused"),
        "removed": _("removed"),
    }.get(state, state)


def role_name(role: str) -> str:
    """Return the word for a role, in the language of the page that is made."""
    _ = _reader.get().gettext
    return {
        "admin": _("administrator"),
        "monitor": _("monitor"),
        "rep": _("representative"),
    }.get(role, role)


def _reason(reason: object) -> str:
    """Return a reason word for people, in the language of the page that is made."""
    return _reader.get().told(plain_reason(reason).replace("_", " "))


def _iso(at: datetime | str | None) -> str:
    moment = as_moment(at)
    return moment.isoformat() if moment else ""


def page(
    request: Request,
    template: str,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """Return a page.

    Args:
        request: Asks for it, and says who reads it.
        template: Its file, such as `log/list.html`.
        status: Of the answer.
        headers: More than every page has.
        values: What the template shows.
    """
    reader = reader_of(request)
    who = who_asks(request)
    paths: frozenset[str] = getattr(request.app.state, "page_paths", frozenset())
    said = _said(request)
    text = part(
        reader,
        template,
        reader=reader,
        who=who,
        menu=menu(who, paths),
        path=request.url.path.removeprefix(reader.base) or "/",
        searched=request.query_params.get("q", ""),
        said=said,
        **values,
    )
    text = without_secrets(who, text)
    answer = HTMLResponse(text, status, headers=HEADERS | dict(headers or {}))
    if said is not None:
        answer.delete_cookie(_SAID_COOKIE, path=reader.base or "/")
    return answer


def without_secrets(who: Caller | None, text: str) -> str:
    """Return a page for its reader: a monitor sees no relay address of others.

    One may stand in whatever a person has written, such as a subject.
    """
    user = None if who is None else who.user
    if user is None or user.role is not Role.MONITOR:
        return text
    own = {user.relay_token, *(old.token for old in user.old_tokens)}
    return RELAY_ADDRESS.sub(
        lambda found: found[0] if found[0].lower() in own else "log-…", text
    )


def part(_for: Reader, _template: str, **values: Any) -> str:
    """Return what a template makes of values, for a reader."""
    before = _reader.set(_for)
    try:
        return environment().get_template(_template).render(values)
    finally:
        _reader.reset(before)


def say_and_go(
    request: Request, path: str, text: str, *, kind: str = "done", undo: str = ""
) -> Response:
    """Send the reader to a page that shows a text once.

    Args:
        request: What was asked.
        path: Of the page, below the base path.
        text: In the reader's language, or as a lower room wrote it.
        kind: `done`, `warning` or `failed`.
        undo: The path to which a form posts that takes back what was done.
    """
    reader = reader_of(request)
    answer = RedirectResponse(reader.base + path, 303, headers=HEADERS)
    text = reader.told(text)[:_MOST_SAID]
    value = json.dumps({"text": text, "kind": kind, "undo": undo})
    answer.set_cookie(
        _SAID_COOKIE,
        base64.urlsafe_b64encode(value.encode()).decode(),
        max_age=60,
        path=reader.base or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def _said(request: Request) -> dict[str, str] | None:
    """Return what the page before wanted said; None: nothing that can be read."""
    sent = request.cookies.get(_SAID_COOKIE)
    if not sent:
        return None
    with suppress(ValueError, TypeError, KeyError):
        found = json.loads(base64.urlsafe_b64decode(sent))
        kind = found["kind"] if found["kind"] in {"warning", "failed"} else "done"
        undo = str(found["undo"])
        return {
            "text": str(found["text"]),
            "kind": kind,
            "undo": undo if _PLAIN_PATH.fullmatch(undo) else "",
        }
    return {"text": "", "kind": "done", "undo": ""}
