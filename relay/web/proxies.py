"""What a proxy in front of the relay says of a request, where the proxy is trusted.

X-Forwarded-For and X-Forwarded-Proto can be written by anybody: they count only from a
peer in `web.trusted_proxies`. Of several addresses the last one counts that is no
proxy of ours: what stands before it is what the client itself has sent. The base path
is taken off here, whether the proxy has done so or not. `Forwarded` (RFC 7239) is not
read: a proxy that does not write it passes on what the client has sent.

Source: RFC 7239 section 8.1; the headers are what nginx, Caddy and Apache write.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from relay.config.values import IPNetwork

_MOST: Final = 20
"""Addresses of X-Forwarded-For that are looked at, from the last one on."""
_SCHEMES: Final = frozenset({"http", "https"})
_WITH_PORT: Final = re.compile(r"\[([^]]*)\](?::\d{1,5})?|([^:]*):\d{1,5}")
"""As Azure and IIS write an address: `192.0.2.1:567`, `[2001:db8::1]:567`."""


class Proxies:
    """An ASGI application around the whole of HTTP."""

    def __init__(
        self, app: ASGIApp, trusted: Sequence[IPNetwork], base_path: str
    ) -> None:
        """Stand before an application.

        Args:
            app: The application behind.
            trusted: Whose headers are believed.
            base_path: Such as `/relay`; empty: none.
        """
        self._app = app
        self._trusted = tuple(trusted)
        self._base = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            scope = {**scope, "root_path": self._base}
            path = scope["path"]
            if self._base and (path == self._base or path.startswith(f"{self._base}/")):
                scope["path"] = path[len(self._base) :] or "/"
            peer = (scope.get("client") or ("",))[0]
            if self._is_trusted(peer):
                self._believe(scope, Headers(scope=scope))
        await self._app(scope, receive, send)

    def _believe(self, scope: Scope, headers: Headers) -> None:
        scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip()
        if scheme.lower() in _SCHEMES:
            scope["scheme"] = scheme.lower()
        sent = ",".join(headers.getlist("x-forwarded-for")).split(",")
        for text in reversed(sent[-_MOST:]):
            address = _address(text)
            if address is None:
                return
            scope["client"] = (str(address), 0)
            if not self._is_trusted(str(address)):
                return

    def _is_trusted(self, text: str) -> bool:
        found = _address(text) if self._trusted else None
        return found is not None and any(found in network for network in self._trusted)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, without the port that some proxies write behind it."""
    found = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address(found[1] or found[2] if found else text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
