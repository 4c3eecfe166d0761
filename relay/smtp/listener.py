"""The listeners: what one's settings mean for its sessions, and its sockets.

Sockets are bound apart from the server that accepts on them. A supervisor binds them
once, several times with SO_REUSEPORT where several processes take mail, and hands them
down: a process that is started anew finds the same sockets, so that no connection in
their backlog is lost. Without a supervisor the server binds its own.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Final

from relay.config import HostPort
from relay.core.errors import ConfigError
from relay.smtp import replies
from relay.smtp.tls import ServerTLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from relay.config import ListenerSettings, SMTPSettings
    from relay.config.values import Place

LOCAL: Final = "local"
"""The peer of a Unix socket."""
_MAPPED: Final = "::ffff:"
BACKLOG: Final = 512
"""Connections that the kernel keeps for us while the loop is busy."""
_KEY: Final = "smtp.listen"
_MODE: Final = "660"
_PROBE_S: Final = 1.0

Shared = dict[str, list[socket.socket]]
"""The sockets of one process, by the place they were bound for."""


class Listener:
    """What sessions of one listener share.

    Attributes:
        settings: Its table.
        name: Its address as it was set, for logs.
        tls: Its certificate, None where TLS is not spoken.
        greeting: The first line of a session.
        lmtp: RFC 2033 instead of RFC 5321.
        submission: Mail only from who has logged in.
        implicit: TLS from the first byte.
    """

    def __init__(
        self, settings: ListenerSettings, smtp: SMTPSettings, tls: ServerTLS | None
    ) -> None:
        """Prepare; nothing is opened."""
        self.settings = settings
        self.name = str(settings.address)
        self.tls = tls
        self.lmtp = settings.protocol == "lmtp"
        self.submission = settings.protocol == "submission"
        self.implicit = settings.tls == "implicit"
        reply = replies.GREETING_LMTP if self.lmtp else replies.GREETING
        self.greeting = reply.line(hostname=smtp.hostname).encode("ascii") + b"\r\n"
        self._smtp = smtp
        self._hello: dict[tuple[bool, bool], bytes] = {}

    def hello(self, *, starttls: bool, login: bool) -> bytes:
        """Return the reply to EHLO or LHLO (RFC 5321 section 4.1.1.1)."""
        wanted = (starttls, login)
        if wanted not in self._hello:
            self._hello[wanted] = self._extensions(starttls=starttls, login=login)
        return self._hello[wanted]

    def _extensions(self, *, starttls: bool, login: bool) -> bytes:
        words = [
            self._smtp.hostname,
            "PIPELINING",
            f"SIZE {self._smtp.max_message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            *(["STARTTLS"] if starttls else []),
            *(["AUTH PLAIN LOGIN"] if login else []),
        ]
        last = len(words) - 1
        return b"".join(
            f"250{' ' if at == last else '-'}{word}\r\n".encode("ascii")
            for at, word in enumerate(words)
        )

    def expects_header(self, peer: str) -> bool:
        """Say whether a connection from there must begin with a PROXY header."""
        if not self.settings.proxy_from:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.settings.proxy_from)


def listeners(smtp: SMTPSettings) -> list[Listener]:
    """Return every listener of the settings, with its certificate loaded.

    Raises:
        ConfigError: A file does not load.
    """
    by_ca: dict[Path | None, ServerTLS] = {}
    found: list[Listener] = []
    for settings in smtp.all_listeners():
        tls = None
        wanted = settings.tls != "none" and isinstance(settings.address, HostPort)
        if wanted and smtp.tls_certificate is not None:
            ca = settings.client_ca
            tls = by_ca[ca] if ca in by_ca else ServerTLS(smtp, ca)
            by_ca[ca] = tls
        found.append(Listener(settings, smtp, tls))
    return found


def is_this_machine(peer: str) -> bool:
    """Say whether a peer is on this machine, so that nobody can listen in between."""
    if peer == LOCAL:
        return True
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def peer_address(name: object) -> str:
    """Return the IP address of a peer as text, `local` for a Unix socket."""
    if not isinstance(name, tuple) or not name:
        return LOCAL
    return plain_address(str(name[0]).partition("%")[0])


def plain_address(host: str) -> str:
    """Return an address as text; an IPv4 one in IPv6 clothes as IPv4."""
    if host.startswith(_MAPPED):
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        return str(mapped or host)
    return host


# ------------------------------------------------------------------ sockets


def bind(
    place: Place, *, key: str = _KEY, mode: str = _MODE, reuse_port: bool = False
) -> list[socket.socket]:
    """Return a listening socket for each address that a place stands for.

    Args:
        place: Where; port 0 is any free one.
        key: The setting that it came from, for the error line.
        mode: Rights of a Unix socket, in octal.
        reuse_port: Let further sockets share the port (SO_REUSEPORT, socket(7)).

    Raises:
        ConfigError: It cannot be listened on.
    """
    try:
        if isinstance(place, HostPort):
            return _bind_port(place, reuse_port=reuse_port)
        return [_bind_path(place.path, mode)]
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"{key} = {str(place)!r}: cannot listen there ({reason}); {_hint(place)}"
        raise ConfigError(text) from error


def key_of(settings: SMTPSettings, place: Place) -> str:
    """Return the setting that names a place where mail is taken, for error lines."""
    return _KEY if place in settings.listen else "smtp.listeners"


def bind_shared(settings: SMTPSettings, processes: int) -> list[Shared]:
    """Return the sockets of each of several processes that share all listeners.

    A port gets one socket for each process, so that the kernel spreads connections; a
    Unix socket is the same for all.

    Raises:
        ConfigError: A place cannot be listened on; nothing is left open.
    """
    made: list[Shared] = [{} for _ in range(processes)]
    try:
        for listener in settings.all_listeners():
            place = listener.address
            key = key_of(settings, place)
            if not isinstance(place, HostPort) or processes == 1:
                first = bind(place, key=key, mode=listener.socket_mode)
                for shared in made:
                    shared[str(place)] = [*first, *shared.get(str(place), [])]
                continue
            # SO_REUSEPORT would let us in beside another relay: ask without it first.
            probe = bind(place, key=key)
            port = probe[0].getsockname()[1]
            close(probe)
            for shared in made:
                chosen = HostPort(place.host, port)
                found = bind(chosen, key=key, reuse_port=True)
                shared[str(place)] = [*shared.get(str(place), []), *found]
    except ConfigError:
        for shared in made:
            for found in shared.values():
                close(found)
        raise
    return made


def _hint(place: Place) -> str:
    if isinstance(place, HostPort):
        return "give an address of this machine and a port that is free and allowed"
    return (
        "give a path that no program listens on, in a folder that exists and that the "
        "relay's user may write to"
    )


def _bind_port(place: HostPort, *, reuse_port: bool) -> list[socket.socket]:
    found = socket.getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # "[::]" beside "0.0.0.0" is two listeners of one port.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError:
        close(bound)
        raise
    return bound


def _bind_path(path: Path, mode: str) -> socket.socket:
    """Listen on a Unix socket, in place of a stale one."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_S)
            if path.is_socket() and not probe.connect_ex(str(path)):
                text = "another program listens there"
                raise OSError(errno.EADDRINUSE, text)  # noqa: TRY301 - reads in order
            if path.is_socket():
                path.unlink()
        before = os.umask(0o777)  # Nobody gets in before the rights are set.
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(int(mode, 8))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def close(sockets: Iterable[socket.socket]) -> None:
    """Close them in this process; other processes keep theirs."""
    for listener in sockets:
        listener.close()


class Bound:
    """Sockets that the supervisor has bound, by the place they were bound for."""

    def __init__(self, fds: Mapping[str, Sequence[int]] | None = None) -> None:
        """Take over file descriptors that were inherited."""
        self._sockets: Shared = {}
        for place, found in (fds or {}).items():
            self._sockets[place] = [socket.socket(fileno=fd) for fd in found]
            for listener in self._sockets[place]:
                listener.setblocking(False)

    def take(
        self, place: Place, *, key: str = _KEY, mode: str = _MODE
    ) -> list[socket.socket]:
        """Return the sockets of a place; bind them where the supervisor did not.

        Raises:
            ConfigError: As `bind`.
        """
        given = self._sockets.pop(str(place), None)
        return bind(place, key=key, mode=mode) if given is None else given
