"""The page behind a release link: what is held, why, and one button.

GET shows, and changes nothing: mail scanners open every link. Only the form of the
page releases the mail (POST), with a value that stands in the page alone. The page
needs no JavaScript, loads nothing, and may not be framed; the link does not leave it by
a referrer. What a mail says is shown as text, without characters that change the
direction of what stands around them.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from html import escape
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse
from starlette.routing import Route

from relay.core.addresses import address_key, domain_of
from relay.core.errors import IllegalTransition, NotFound, StoreUnavailable
from relay.core.states import State
from relay.sender.release import PATH, LinkExpired, LinkInvalid, is_button
from relay.store.sender import BY_HAND, LinkUsed
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from relay.core.directory import Directory
    from relay.sender.release import Link, ReleaseLinks
    from relay.store import Store

log = get_logger(__name__)

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;"
    "padding:0 1rem;color:#1a1a1a;background:#fff}"
    "dt{color:#555}dd{margin:0 0 .6rem;overflow-wrap:anywhere}"
    "button{font:inherit;padding:.6rem 1.2rem;color:#fff;background:#0b5cad;"
    "border:0;border-radius:.3rem}button:focus{outline:3px solid #f0a500}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_LONGEST_FORM: Final = 4096
_LONGEST_SHOWN: Final = 300

_NOT_VALID: Final = (
    "This link is not valid",
    "It is not complete, or not ours. Open it from the mail it came with.",
)
_EXPIRED: Final = (
    "This link has expired",
    "Ask your administrator to release the mail, or send it again.",
)
_USED: Final = ("This mail is released", "It is on its way to Salesforce.")
_NOT_HELD: Final = (
    "This mail is not held any more",
    "There is nothing to do: it was released or given up before.",
)
_NOT_YOURS: Final = (
    "This address may not release the mail",
    "It is not one of the owner's accepted addresses any more. Ask your administrator.",
)
_LATER: Final = ("Not now", "The relay's store does not answer. Try again later.")


class ReleasePages:
    """Shows and answers release links."""

    def __init__(
        self, links: ReleaseLinks, store: Store, directory: Callable[[], Directory]
    ) -> None:
        """Take what reads links, the store, and who may send for whom."""
        self._links = links
        self._store = store
        self._directory = directory

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        path = f"{PATH}{{token}}"
        return [
            Route(path, self.show, methods=["GET"]),
            Route(path, self.release, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the held mail and the button; change nothing."""
        try:
            link = self._links.read(request.path_params["token"])
            row = await self._held(link)
        except _ANSWERS as error:
            return _answer(error)
        return _page(200, "Release this mail?", _facts(row, link) + _form(link))

    async def release(self, request: Request) -> Response:
        """Release the mail, if the button of the page was pressed."""
        try:
            link = self._links.read(request.path_params["token"])
            form = await _form_value(request)
            if not is_button(link, form):
                raise LinkInvalid
            await self._held(link)
            await self._store.sender.release(
                link.message_id,
                link.digest,
                link.expires_at,
                f"{link.address} by link",
            )
        except _ANSWERS as error:
            return _answer(error)
        log.info("message_released", message_id=link.message_id, address=link.address)
        return _page(200, _USED[0], f"<p>{escape(_USED[1])}</p>")

    async def _held(self, link: Link) -> Mapping[str, Any]:
        """Return the message, if the address may release it now.

        Raises:
            LinkUsed, NotFound, StoreUnavailable: As the store says.
            _NotHeld, _NotYours: It is not to be released by this link.
        """
        if await self._store.sender.is_used(link.digest):
            raise LinkUsed
        row = await self._store.log.show(link.message_id)
        if row.get("state") != State.HELD or row.get("reason") in BY_HAND:
            raise _NotHeld
        if not self._may(link.address, row):
            raise _NotYours
        return row

    def _may(self, address: str, row: Mapping[str, Any]) -> bool:
        """Say whether an address is on the list of the user whose mail it is."""
        directory = self._directory()
        key = address_key(address)
        owner = address_key(str(row.get("user") or ""))
        if key is None or owner is None:
            return False
        return any(
            user.active
            and address_key(user.email) == owner
            and not {key, f"*@{domain_of(key)}"}.isdisjoint(
                directory.accepted.get(user.id, frozenset())
            )
            for user in directory.users.values()
        )


class _NotHeld(Exception):  # noqa: N818 - an answer
    """The message does not wait."""


class _NotYours(Exception):  # noqa: N818 - an answer
    """The address is not the owner's."""


_ANSWERS: Final = (
    LinkInvalid,
    LinkExpired,
    LinkUsed,
    NotFound,
    IllegalTransition,
    StoreUnavailable,
    _NotHeld,
    _NotYours,
)
_PAGES: Final[Mapping[type[Exception], tuple[int, tuple[str, str]]]] = {
    LinkInvalid: (404, _NOT_VALID),
    LinkExpired: (410, _EXPIRED),
    LinkUsed: (200, _USED),
    NotFound: (410, _NOT_HELD),
    IllegalTransition: (410, _NOT_HELD),
    _NotHeld: (410, _NOT_HELD),
    _NotYours: (403, _NOT_YOURS),
    StoreUnavailable: (503, _LATER),
}


def _answer(error: Exception) -> Response:
    status, (title, text) = next(
        answer for kind, answer in _PAGES.items() if isinstance(error, kind)
    )
    return _page(status, title, f"<p>{escape(text)}</p>")


async def _form_value(request: Request) -> str:
    """Return the value of the form's one field; an empty text for anything else.

    Read by hand: the body has one short field, and everything longer is not ours.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return ""
    name, _, value = body.decode("latin-1").partition("=")
    return value if name == "button" else ""


def _facts(row: Mapping[str, Any], link: Link) -> str:
    verdict = row.get("verdict") or {}
    shown = (
        ("From", row["from"]),
        ("To", row["to"]),
        ("Subject", row["subject"]),
        ("Received (UTC)", str(row["received_at"])[:16].replace("T", " ")),
        ("Why it waits", verdict.get("text") or row["reason"]),
        ("This link works until (UTC)", f"{link.expires_at:%Y-%m-%d %H:%M}"),
    )
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(_plain(str(value)))}</dd>"
        for name, value in shown
    )
    return (
        "<p>The relay cannot tell whether you sent this mail, so it does not log it in "
        "Salesforce yet. Release it only if you sent it yourself; otherwise close this "
        f"page.</p><dl>{rows}</dl>"
    )


def _form(link: Link) -> str:
    return (
        '<form method="post"><input type="hidden" name="button" '
        f'value="{escape(link.button)}"><button type="submit">I sent it: release it'
        "</button></form>"
    )


def _page(status: int, title: str, body: str) -> Response:
    text = escape(title)
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{text}</h1>{body}</main></body></html>",
        status,
        headers=dict(_HEADERS),
    )


def _plain(text: str) -> str:
    """Return text without controls and marks of direction, cut to a sane length."""
    return "".join(
        c if c.isprintable() else " "
        for c in text[:_LONGEST_SHOWN]
        if unicodedata.category(c) != "Cf"
    )
