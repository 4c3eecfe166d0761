"""Places that cannot be listened on: the error names their key and how to mend it."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from relay.config import SMTPSettings
from relay.core.errors import ConfigError
from relay.smtp import listener as sockets
from tests.fakes.intake import running

PORT_MEND = "give an address of this machine and a port that is free and allowed"
PATH_MEND = (
    "give a path that no program listens on, in a folder that exists and that the "
    "relay's user may write to"
)


@pytest.fixture
def taken():
    """Return a port of loopback that is in use."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield other.getsockname()[1]


def table(address):
    """Return settings with one listener in a table of its own."""
    return {"listen": (), "listeners": [{"address": address}]}


@pytest.mark.parametrize("processes", [1, 2])
def test_busy_port_of_a_table(taken, processes):
    """A table is not taken for `smtp.listen`, however many processes share it."""
    settings = SMTPSettings(**table(f"127.0.0.1:{taken}"))
    with pytest.raises(ConfigError) as caught:
        sockets.bind_shared(settings, processes)
    assert str(caught.value) == (
        f"smtp.listeners = '127.0.0.1:{taken}': cannot listen there (Address already "
        f"in use); {PORT_MEND}"
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_busy_port_of_the_list(taken, processes):
    """The short way to name a listener has its own key."""
    settings = SMTPSettings(listen=[f"127.0.0.1:{taken}"])
    with pytest.raises(ConfigError, match=r"^smtp\.listen = '127\.0\.0\.1:"):
        sockets.bind_shared(settings, processes)


async def test_path_in_a_folder_that_is_not_there(sink, tmp_path):
    """Nobody is sent to look for a port where a folder is missing."""
    place = f"unix:{tmp_path}/nowhere/x.sock"
    expected = (
        f"smtp.listeners = {place!r}: cannot listen there (No such file or directory); "
        f"{PATH_MEND}"
    )
    with pytest.raises(ConfigError) as caught:
        sockets.bind_shared(SMTPSettings(**table(place)), 2)
    assert str(caught.value) == expected
    with pytest.raises(ConfigError) as caught:
        await running(sink, **table(place)).__aenter__()
    assert str(caught.value) == expected


def test_path_that_another_program_listens_on(tmp_path_factory):
    """A live socket is not taken over, and the line says so."""
    path = tmp_path_factory.mktemp("s") / "x"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        settings = SMTPSettings(**table(f"unix:{path}"))
        with pytest.raises(ConfigError, match=r"another program listens there.*a path"):
            sockets.bind_shared(settings, 1)
        assert path.is_socket()
