"""Asking a relay elsewhere over its API, for `log`, `show` and `status` with `--url`.

The token comes from a file or from RELAY_TOKEN, never from an option: what stands in a
command line is seen by every user of the machine. It is sent to `--url` alone, over
HTTPS, or over HTTP to this machine.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

import click

from relay.cli.entry import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeVar

    FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)

TOKEN: Final = "RELAY_TOKEN"  # noqa: S105 - the name of a variable
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TIMEOUT_S: Final = 60
"""For any answer, and between two lines of a live view, which comes each 15 s."""
_AGAIN_S: Final = 2.0
"""After how long a live view that was cut off is opened again."""
GOES_ON: Final = "it is asked again until it answers"
_PAGE: Final = 200
_OK: Final = range(200, 300)
_LATER: Final = frozenset({429, 500, 502, 503, 504})


def remote_options(command: FC) -> FC:
    """Add `--url` and `--token-file` to a command."""
    import pathlib  # noqa: PLC0415 - for the type alone

    for option in (
        click.option(
            "--token-file",
            metavar="FILE",
            type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
            help=f"With --url: the file of the API token; else ${TOKEN}.",
        ),
        click.option(
            "--url",
            metavar="URL",
            help="Ask the relay that serves its API there, such as "
            "https://relay.corp.com; no settings file is read.",
        ),
    ):
        command = option(command)
    return command


def remote(url: str | None, token_file: Path | None) -> Remote | None:
    """Return the relay that the options name; None: the one of the settings file.

    Raises:
        UsageError: The options do not fit together, or name no token.
    """
    if url is None:
        if token_file is not None:
            raise click.UsageError("--token-file goes with --url")
        return None
    token = os.environ.get(TOKEN, "")
    if token_file is not None:
        token = token_file.read_text("utf-8", "replace")
    if not token.strip():
        text = f"--url needs a token: name its file with --token-file, or set {TOKEN}"
        raise click.UsageError(text)
    return Remote(url, token.strip())


class Away(Failure):
    """The relay does not answer now; it may be starting again."""


class Remote:
    """The API of one relay."""

    def __init__(self, url: str, token: str) -> None:
        """Take the place and the token; nothing is asked yet.

        Raises:
            UsageError: It is no place that a token may be sent to.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not host or parts.query:
            problem = f"--url {url} is no address of an API; write https://HOST[:PORT]"
            raise click.UsageError(problem)
        if parts.scheme == "http" and host not in _LOCAL:
            problem = f"--url {url} would send the token in the clear; write https://"
            raise click.UsageError(problem)
        if not (token.isascii() and token.isprintable()):
            raise click.UsageError("the token has characters that no token has")
        self._secure = parts.scheme == "https"
        self._host, self._port = host, parts.port
        self._base = parts.path.rstrip("/").removesuffix("/api/v1")
        self._headers = {"Authorization": f"Bearer {token}"}
        self.url = url

    def get(self, *path: str, **query: Any) -> Any:
        """Return the JSON of an answer.

        Raises:
            Away: The relay does not answer now.
            Failure: It refuses; with its hint.
        """
        return json.loads(self.raw(*path, **query))

    def raw(self, *path: str, **query: Any) -> bytes:
        """Return the bytes of an answer; see `get`."""
        connection = self._connect()
        try:
            answer = self._ask(connection, path, query, {})
            body: bytes = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()
        if answer.status not in _OK:
            raise _refused(answer.status, body)
        return body

    def latest(self, query: dict[str, Any], limit: int | None) -> list[dict[str, Any]]:
        """Return the latest messages and refusals that fit, oldest first."""
        rows: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while limit is None or len(rows) < limit:
            most = _PAGE if limit is None else min(_PAGE, limit - len(rows))
            page = self.get("messages", **query, limit=most, **cursor)
            rows += page["items"]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        return rows[::-1]

    def events(self, query: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield what comes and changes, until Ctrl-C; first `begun`, once.

        Each is (`new` or `changed`, the row), or (`lost`, None) where too much came in
        between. A stream that is cut off is opened again where it was; (`away`, why) is
        told once where that is not possible at the first try.

        Raises:
            Away: The relay does not answer to begin with.
            Failure: It refuses.
        """
        last, told = "", False
        while True:
            away: Away | None = None
            opened = False
            connection = self._connect()
            try:
                sent = {"Last-Event-ID": last} if last else {}
                answer = self._ask(connection, ("events",), query, sent)
                if answer.status not in _OK:
                    away = _later(answer.status, answer.read())
                    if not last:
                        raise away
                else:
                    opened, told = True, False
                    for cursor, name, data in _events(answer):
                        if not last:
                            yield "begun", None
                        last = cursor or last
                        if name:
                            yield name, None if name == "lost" else json.loads(data)
            except (OSError, http.client.HTTPException) as error:
                if not last:
                    raise self._unreachable(error) from None
                away = None if opened else self._unreachable(error)
            finally:
                connection.close()
            time.sleep(_AGAIN_S)
            if away is not None and not told:
                told = True
                yield "away", str(away)

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host,
                self._port,
                timeout=_TIMEOUT_S,
                context=ssl.create_default_context(),
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        path: tuple[str, ...],
        query: dict[str, Any],
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        parts = "/".join(quote(part, safe="") for part in path)
        asked = urlencode({k: v for k, v in query.items() if v}, doseq=True)
        target = f"{self._base}/api/v1/{parts}{'?' if asked else ''}{asked}"
        connection.request("GET", target, headers={**self._headers, **headers})
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> Away:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        text = f"{self.url} cannot be asked ({reason}); see that web.listen leads there"
        return Away(text)


def _later(status: int, body: bytes) -> Away:
    """Return what to say where the relay may answer later.

    Raises:
        Failure: It will not.
    """
    problem = _refused(status, body)
    if not isinstance(problem, Away):
        raise problem
    return problem


def _refused(status: int, body: bytes) -> Failure:
    try:
        problem = json.loads(body)
        text = f"{problem['detail']}; {problem['hint']}"
    except (ValueError, KeyError, TypeError):
        text = f"the answer is {status}, and none of a relay's API; check --url"
    return Away(text) if status in _LATER else Failure(text)


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str, str]]:
    """Yield (cursor, name, data) of each event; a cursor alone has no name."""
    cursor = name = ""
    data: list[str] = []
    while raw := answer.readline():
        field, _, value = raw.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
        if field == "id":
            cursor = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not field and (cursor or name):
            yield cursor, name, "\n".join(data)
            cursor = name = ""
            data = []
