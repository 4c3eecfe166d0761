"""Sees whether each address answers as this relay, or could be listened on.

A relay that runs holds its ports, so a port in use is only a failure where somebody
else answers there. Nothing is changed: a Unix socket is not made, nor one removed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from relay.cli.finding import Finding, Result, fail, ok, warn
from relay.cli.output import clean
from relay.config import HostPort

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import ListenerSettings, Settings, SMTPSettings

_CONNECT_S: Final = 2.0
ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is looked for
_MOST: Final = 4096
"""Bytes of an answer that are looked at."""
_SMTP_READY: Final = b"220"
"""First reply of a server that takes mail (RFC 5321 section 4.3.2; LMTP: RFC 2033)."""
_PROBES: Final = {
    "telemetry": ("/healthz", b'"alive"'),
    "web": ("/messages", b'"method_not_allowed"'),
}
"""Path to GET, and what only a relay says to it; by the section of the setting."""
_MENDS: Final = {
    errno.EADDRINUSE: "another program has the port: stop it or take another",
    errno.EACCES: "ports below 1024 need rights: CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address: correct it",
}


async def listeners(loaded: Settings) -> list[Finding]:
    """Return a line for each way in, in the order of the settings."""
    smtp = loaded.smtp
    # Together: each may take its time before it greets.
    found = list(
        await asyncio.gather(
            *(_smtp(one, smtp) for one in smtp.all_listeners() if not one.proxy_from)
        )
    )
    running = any(_answers(finding) for finding in found)
    found += [
        await _behind_proxy(one, running=running)
        for one in smtp.all_listeners()
        if one.proxy_from
    ]
    for name, place in (
        ("telemetry", loaded.telemetry.listen),
        ("web", loaded.web.listen),
    ):
        if place is not None:
            found.append(await _http(name, place))
    return found


def _answers(finding: Finding) -> bool:
    return finding.result is Result.OK and finding.detail.startswith("this relay")


async def _smtp(listener: ListenerSettings, smtp: SMTPSettings) -> Finding:
    """Tell this relay from another mail server by the name in its greeting."""
    place = listener.address
    check = f"{listener.protocol} {place}"
    greeting = b""
    try:
        if not isinstance(place, HostPort) or place.port:
            greeting = await _ask(listener, _CONNECT_S + smtp.greeting_wait_s)
    except PermissionError as error:
        mend = "run relay check as the relay's user"
        return fail(check, f"cannot be asked: {error.strerror}", mend)
    words = greeting.decode("ascii", "replace").split()
    if not greeting.startswith(_SMTP_READY) or not words[1:]:
        if isinstance(place, HostPort):
            key = "smtp.listen" if place in smtp.listen else "smtp.listeners"
            return await _free(check, place, key)
        return await asyncio.to_thread(_free_path, check, place.path)
    if words[1].lower() == smtp.hostname.lower():
        return ok(check, f"this relay answers: it greets as {smtp.hostname}")
    mend = (
        f"stop it or take another port; a relay of yours would greet as {smtp.hostname}"
    )
    return fail(check, f"another mail server answers: {clean(words[1])}", mend)


async def _behind_proxy(listener: ListenerSettings, *, running: bool) -> Finding:
    """Look at a port that talks to load balancers alone, so that it is not asked."""
    place = listener.address
    check = f"{listener.protocol} {place}"
    if not isinstance(place, HostPort):
        raise TypeError
    finding = await _free(check, place, "smtp.listeners")
    if finding.mend != _MENDS[errno.EADDRINUSE]:
        return finding
    if running:
        return ok(check, "is in use, and the relay is running")
    mend = "if no relay runs, another program has the port: stop it or take another"
    return warn(check, "is in use, and answers load balancers alone", mend)


async def _http(name: str, place: HostPort) -> Finding:
    """Tell whether a port is free, or a relay answers there already."""
    check = f"{name} {place}"
    path, sign = _PROBES[name]
    question = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = b""
    if place.port:
        with suppress(OSError, ValueError):
            async with asyncio.timeout(_CONNECT_S):
                answer = await _get(place, question.encode("ascii"))
    if sign in answer:
        return ok(check, "is answering: a relay runs there")
    return await _free(check, place, f"{name}.listen")


async def _free(check: str, place: HostPort, key: str) -> Finding:
    try:
        await asyncio.to_thread(_bind, place)
    except OSError as error:
        reason = error.strerror or str(error)
        mend = _MENDS.get(error.errno or 0, f"correct {key}")
        return fail(check, f"cannot be listened on: {reason}", mend)
    return ok(check, "is free to listen on")


def _free_path(check: str, path: Path) -> Finding:
    """Say whether `relay serve` could make its Unix socket; it replaces a dead one."""
    folder = path.parent
    if not folder.is_dir():
        mend = f"make it: mkdir -p {shlex.quote(str(folder))}"
        if folder.is_relative_to("/run"):
            mend += "; /run is empty after a boot: RuntimeDirectory= in a systemd unit"
        return fail(check, f"there is no folder {folder} for {path.name}", mend)
    if not os.access(folder, os.W_OK | os.X_OK):
        mend = "let the relay's user write there, or take another path"
        return fail(check, f"{folder} cannot be written", mend)
    if path.is_socket() and _is_live(path):
        mend = "stop it, or take another path"
        return fail(check, "another program listens there", mend)
    if path.exists() and not path.is_socket():
        mend = "move it away, or take another path"
        return fail(check, f"{path} is there, and no socket", mend)
    return ok(check, "is free to listen on")


def _is_live(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_S)
        return not probe.connect_ex(str(path))


async def _ask(listener: ListenerSettings, patience_s: float) -> bytes:
    """Return the line with which a server begins, nothing where none does.

    Raises:
        PermissionError: A Unix socket is not for this user.
    """
    place = listener.address
    try:
        async with asyncio.timeout(patience_s):
            if isinstance(place, HostPort):
                context = any_certificate() if listener.tls == "implicit" else None
                reader, writer = await asyncio.open_connection(
                    ANYWHERE.get(place.host, place.host), place.port, ssl=context
                )
            else:
                reader, writer = await asyncio.open_unix_connection(place.path)
            try:
                return await reader.readline()
            finally:
                writer.close()
    except PermissionError:
        raise
    except (OSError, ValueError):  # TimeoutError and ssl.SSLError are OSErrors
        return b""


async def _get(place: HostPort, question: bytes) -> bytes:
    host = ANYWHERE.get(place.host, place.host)
    reader, writer = await asyncio.open_connection(host, place.port)
    try:
        writer.write(question)
        answer = b""
        while len(answer) < _MOST and (part := await reader.read(_MOST)):
            answer += part
        return answer
    finally:
        writer.close()


def any_certificate() -> ssl.SSLContext:
    """Take what is served: its names and end are a check of their own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _bind(place: HostPort) -> None:
    """Listen for a moment on each address that a place stands for, as serve does."""
    found = socket.getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, kind, protocol, _, address in dict.fromkeys(found):
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(1)
