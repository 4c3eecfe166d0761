"""The listening sockets, bound apart from whoever accepts on them.

A supervisor binds them once, several times with SO_REUSEPORT where several processes
take mail, and hands them down: a process that is started anew finds the same sockets,
so that no connection in their backlog is lost. Without a supervisor the intake binds
its own.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Final

from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config import HostPort

BACKLOG: Final = 512
"""Connections that the kernel keeps for us while the loop is busy."""
_TAKEN_POLL_S: Final = 0.05


def bind(
    place: HostPort,
    *,
    key: str = "smtp.listen",
    reuse_port: bool = False,
    patience_s: float = 0.0,
) -> list[socket.socket]:
    """Return a listening socket for each address that a place stands for.

    Args:
        place: Where; port 0 is any free one.
        key: The setting that it came from, for the error line.
        reuse_port: Let further sockets share the port (SO_REUSEPORT, socket(7)).
        patience_s: How long a taken port is tried again: a relay that was killed
            just now may still be on its way out.

    Raises:
        ConfigError: It cannot be listened on.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            return _bind(place, reuse_port=reuse_port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < end:
                time.sleep(_TAKEN_POLL_S)
                continue
            what = error.strerror or str(error)
            text = (
                f"{key} = {str(place)!r}: cannot listen there ({what}); give "
                "an address of this machine and a port that is free and allowed"
            )
            raise ConfigError(text) from error


def _bind(place: HostPort, *, reuse_port: bool) -> list[socket.socket]:
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


def close(sockets: list[socket.socket]) -> None:
    """Close them; what others hold of them stays open."""
    for listener in sockets:
        listener.close()


class Bound:
    """Sockets that somebody else has bound, by the place they were bound for."""

    def __init__(self, fds: Mapping[str, list[int]] | None = None) -> None:
        """Take over file descriptors that were inherited."""
        self._sockets = {
            place: [socket.socket(fileno=fd) for fd in found]
            for place, found in (fds or {}).items()
        }

    def take(self, place: HostPort, *, key: str = "smtp.listen") -> list[socket.socket]:
        """Return the sockets of a place; bind them where nobody has.

        Raises:
            ConfigError: As `bind`.
        """
        given = self._sockets.pop(str(place), None)
        return bind(place, key=key) if given is None else given
