"""Each way in: is its address free or served by this relay, and what does it answer?

A running relay holds its ports, so a port in use is a failure only where another
program answers there. Nothing is changed: no Unix socket is made or removed.

Where a listener answers, a real SMTP session is held with it. `relay check` is another
process than the relay, so what answers here answers senders too, as far as this
machine's own firewall goes. The session asks for an address that does not exist and
sends no mail. A one-time token, announced in the store and shown in the sender, marks
the refusal as a probe: the relay keeps it apart from real ones. A token that is left
over shows that the listener does not write into this store.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shlex
import smtplib
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from relay.config import HostPort
from relay.core.errors import RelayError
from relay.diagnose.finding import Finding, Level, fail, ok, warn
from relay.intake import probe_sender

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from relay.config import ListenerSettings, Settings, SMTPSettings
    from relay.store import Store

_CONNECT_S: Final = 2.0
_SESSION_S: Final = 4.0
_UNKNOWN: Final = 550
_NEEDS_LOGIN: Final = 530
_FINE: Final = 250
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
_HINTS: Final = {
    errno.EADDRINUSE: "another program has the port: stop it or take another",
    errno.EACCES: "ports below 1024 need rights: CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address: correct it",
}


# ------------------------------------------------------------------ ports


async def ports(settings: Settings) -> list[Finding]:
    """Return a line for each way in, in the order of the settings."""
    smtp = settings.smtp
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
        ("telemetry", settings.telemetry.listen),
        ("web", settings.web.listen),
    ):
        if place is not None:
            found.append(await _http(name, place))
    return found


def _answers(finding: Finding) -> bool:
    return finding.level is Level.OK and finding.text.startswith("this relay")


async def _smtp(listener: ListenerSettings, smtp: SMTPSettings) -> Finding:
    """Distinguish this relay from another mail server by the name in its greeting."""
    place = listener.address
    area = f"{listener.protocol} {place}"
    greeting = b""
    try:
        if not isinstance(place, HostPort) or place.port:
            greeting = await _ask(listener, _CONNECT_S + smtp.greeting_wait_s)
    except PermissionError as error:
        hint = "run relay check as the relay's user"
        return fail(area, f"cannot be asked: {error.strerror}", hint)
    words = greeting.decode("ascii", "replace").split()
    if not greeting.startswith(_SMTP_READY) or not words[1:]:
        if isinstance(place, HostPort):
            key = "smtp.listen" if place in smtp.listen else "smtp.listeners"
            return await _free(area, place, key)
        return await asyncio.to_thread(_free_path, area, place.path)
    if words[1].lower() == smtp.hostname.lower():
        return ok(area, f"this relay answers: it greets as {smtp.hostname}")
    hint = (
        f"stop it or take another port; a relay of yours would greet as {smtp.hostname}"
    )
    return fail(area, f"another mail server answers: {words[1]}", hint)


async def _behind_proxy(listener: ListenerSettings, *, running: bool) -> Finding:
    """Look at a port that talks to load balancers alone, so that it is not asked."""
    place = listener.address
    area = f"{listener.protocol} {place}"
    if not isinstance(place, HostPort):
        raise TypeError
    finding = await _free(area, place, "smtp.listeners")
    if finding.hint != _HINTS[errno.EADDRINUSE]:
        return finding
    if running:
        return ok(area, "is in use, and the relay is running")
    hint = "if no relay runs, another program has the port: stop it or take another"
    return warn(area, "is in use, and answers load balancers alone", hint)


async def _http(name: str, place: HostPort) -> Finding:
    """Say whether a port is free, or a relay answers there already."""
    area = f"{name} {place}"
    path, sign = _PROBES[name]
    question = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = b""
    if place.port:
        with suppress(OSError, ValueError):
            async with asyncio.timeout(_CONNECT_S):
                answer = await _get(place, question.encode("ascii"))
    if sign in answer:
        return ok(area, "is answering: a relay runs there")
    return await _free(area, place, f"{name}.listen")


async def _free(area: str, place: HostPort, key: str) -> Finding:
    try:
        await asyncio.to_thread(_bind, place)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = _HINTS.get(error.errno or 0, f"correct {key}")
        return fail(area, f"cannot be listened on: {reason}", hint)
    return ok(area, "is free to listen on")


def _free_path(area: str, path: Path) -> Finding:
    """Say whether `relay serve` could make its Unix socket; it replaces a dead one."""
    folder = path.parent
    if not folder.is_dir():
        hint = f"make it: mkdir -p {shlex.quote(str(folder))}"
        if folder.is_relative_to("/run"):
            hint += "; /run is empty after a boot: RuntimeDirectory= in a systemd unit"
        return fail(area, f"there is no folder {folder} for {path.name}", hint)
    if not os.access(folder, os.W_OK | os.X_OK):
        hint = "let the relay's user write there, or take another path"
        return fail(area, f"{folder} cannot be written", hint)
    if path.is_socket() and _is_live(path):
        hint = "stop it, or take another path"
        return fail(area, "another program listens there", hint)
    if path.exists() and not path.is_socket():
        hint = "move it away, or take another path"
        return fail(area, f"{path} is there, and no socket", hint)
    return ok(area, "is free to listen on")


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
    """Accept any certificate: `machine.tls` checks its names and its end."""
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


# ------------------------------------------------------------------ sessions


async def sessions(
    settings: Settings, store: Store | None, failed: Collection[str] = ()
) -> list[Finding]:
    """Hold a session with each listener that answers.

    `store` is the relay's, None where it cannot be used; `failed` names listeners, as
    `str(place)`, that are known not to be this relay.
    """
    found = await asyncio.gather(
        *(
            _probe(listener, settings.smtp, store)
            for listener in settings.smtp.all_listeners()
            if str(listener.address) not in failed
        )
    )
    return [finding for finding in found if finding is not None]


async def _probe(
    listener: ListenerSettings, smtp: SMTPSettings, store: Store | None
) -> Finding | None:
    """Hold one session, with a token if the store takes one; None: nothing listens."""
    area = f"session {listener.address}"
    if isinstance(listener.address, HostPort) and not listener.address.port:
        return None
    if listener.proxy_from or listener.require_client_certificate:
        return ok(area, "not tried: it serves a load balancer or known clients only")
    token = await _announced(store)
    sender = probe_sender(token, smtp.hostname)
    finding = await asyncio.to_thread(_session, area, listener, smtp, sender)
    if store is None or not token:
        return finding
    try:
        left = await store.refusals.take_probe(token)
    except RelayError:
        return finding
    if finding is None or finding.level is not Level.OK:
        return finding
    if left:
        hint = "a relay with another store.url answers, or one of an older version"
        return warn(area, f"{finding.text} (not recorded in this store)", hint)
    return ok(area, f"{finding.text} (recorded as a probe)")


async def _announced(store: Store | None) -> str:
    """Return a token that the store knows; empty where it takes none now."""
    token = secrets.token_hex(16)
    try:
        if store is None:
            return ""
        await store.refusals.announce_probe(token)
    except RelayError:
        return ""  # The line of the store says why.
    return token


def _session(
    area: str, listener: ListenerSettings, smtp: SMTPSettings, sender: str
) -> Finding | None:
    """Return what came of a session; None where no program listens."""
    try:
        return _talk(area, listener, smtp, sender)
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    except (OSError, smtplib.SMTPException) as error:
        text = f"the session broke: {str(error) or type(error).__name__}"
        return fail(area, text, "see the log of relay serve at this time")


def _talk(
    area: str, listener: ListenerSettings, smtp: SMTPSettings, sender: str
) -> Finding:
    client = _connect(listener, _SESSION_S + smtp.greeting_wait_s)
    try:
        client.ehlo()
        secured = isinstance(client, smtplib.SMTP_SSL)
        wanted = smtp.tls_certificate is not None and listener.tls == "starttls"
        if wanted and isinstance(listener.address, HostPort):
            if not client.has_extn("starttls"):
                text = "STARTTLS is not offered, though a certificate is set"
                return fail(area, text, "restart the relay: kill -HUP, or stop, serve")
            client.starttls(context=any_certificate())
            client.ehlo()
            secured = True
        version = (
            client.sock.version() if isinstance(client.sock, ssl.SSLSocket) else ""
        )
        how = f"{version}, " if secured else ""
        if listener.protocol == "submission":
            return _submission(area, client, sender, how)
        return _stranger(area, client, smtp, sender, how)
    finally:
        with suppress(OSError, smtplib.SMTPException):
            client.quit()
        client.close()


def _stranger(
    area: str, client: smtplib.SMTP, smtp: SMTPSettings, sender: str, how: str
) -> Finding:
    """Ask for a relay address that no user has."""
    if not smtp.domains:
        return warn(area, f"{how}answers", "set smtp.domains")
    rcpt = f"check-{secrets.token_hex(8)}@{smtp.domains[0]}"
    code, reply = client.mail(sender)
    if code == _FINE:
        code, reply = client.rcpt(rcpt)
    said = f"{code} {_line(reply)}"
    if code == _UNKNOWN:
        return ok(area, f"{how}an unknown address gets {said}")
    if code in {_FINE, 251, 252}:  # RFC 5321 section 4.2.2
        hint = "it is no relay, or not this one: see who listens there"
        return fail(area, f"{how}an unknown address is taken: {said}", hint)
    hint = "550 was expected; see relay log --refused"
    return warn(area, f"{how}an unknown address gets {said}", hint)


def _submission(area: str, client: smtplib.SMTP, sender: str, how: str) -> Finding:
    code, reply = client.mail(sender)
    said = f"{code} {_line(reply)}"
    if code == _NEEDS_LOGIN:
        return ok(area, f"{how}without a login: {said}")
    hint = "530 was expected: a client may not submit without a login"
    return fail(area, f"{how}without a login: {said}", hint)


def _line(reply: bytes) -> str:
    """Return a reply of any number of lines as one line."""
    return " ".join(reply.decode("utf-8", "replace").split())


def _connect(listener: ListenerSettings, timeout_s: float) -> smtplib.SMTP:
    place = listener.address
    if not isinstance(place, HostPort):
        return smtplib.LMTP(str(place.path), timeout=timeout_s)
    host = ANYWHERE.get(place.host, place.host)
    if listener.tls == "implicit":
        return smtplib.SMTP_SSL(
            host, place.port, timeout=timeout_s, context=any_certificate()
        )
    if listener.protocol == "lmtp":
        return smtplib.LMTP(host, place.port, timeout=timeout_s)
    return smtplib.SMTP(host, place.port, timeout=timeout_s)
