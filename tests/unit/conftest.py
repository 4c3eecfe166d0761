"""Unit tests talk to nobody: a socket that connects or listens fails the test."""

from __future__ import annotations

import socket

import pytest
import urllib3.util.connection  # noqa: F401 - tries IPv6 with a socket when imported


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every connection, listener and name look-up."""

    def refuse(*_args, **_kwargs):
        pytest.fail("a unit test used the network", pytrace=True)

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
