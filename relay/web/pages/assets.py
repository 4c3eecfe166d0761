"""Style, scripts and icons of the pages, under addresses that hold their digest.

A browser keeps a file for a year: a changed file has another address. `MANIFEST` names
the SHA-256 of every file, so that a foreign one cannot be changed unseen.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER: Final = Path(__file__).parent.parent / "assets"
PATH: Final = "/assets"
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served, by the end of its name; nothing else is."""
_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    """Return digest and bytes of each file by its name; read once."""
    found = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in KINDS:
            data = path.read_bytes()
            found[path.name] = (hashlib.sha256(data).hexdigest()[:16], data)
    return found


def asset(name: str) -> str:
    """Return the path of a file, below the base path.

    Raises:
        KeyError: There is no such file.
    """
    return f"{PATH}/{_files()[name][0]}/{name}"


async def _serve(request: Request) -> Response:
    name = request.path_params["name"]
    digest, data = _files().get(name, ("", b""))
    if digest != request.path_params["digest"]:
        return Response("not found", 404, {"Cache-Control": "no-store"})
    return Response(data, 200, dict(_HEADERS), KINDS[Path(name).suffix])


def routes() -> list[Route]:
    """Return the route of the files; it is open to everybody."""
    return [Route(f"{PATH}/{{digest}}/{{name}}", _serve, name="asset")]
