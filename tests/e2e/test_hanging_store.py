"""A PostgreSQL that hangs: mail is put off in time, and the relay says it is not ready.

SIGSTOP freezes the server's processes behind the relay's connections: they answer
nothing and break nothing off, as a machine that has lost its disk or its network.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_processes import serving
from tests.e2e.test_trouble import readiness
from tests.fakes.processes import RelayProcess, free_port, mail_to, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.postgres import Postgres
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(120)


@contextmanager
def frozen(database: str) -> Iterator[None]:
    """Stop every process of the server that serves this database."""
    title = f"postgres: relay {database} "
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().decode("utf-8", "replace").startswith(title):
                pids.append(int(path.parent.name))
        except OSError:
            continue  # It has ended meanwhile.
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_mail_is_put_off_and_comes_again(
    tmp_path: Path, sandbox: SandboxProcess, postgres: Postgres
) -> None:
    """Frozen: 451 within the limit, /readyz 503. Then by new connections, as before."""
    relay = RelayProcess(
        tmp_path / "relay",
        sandbox.url,
        store_url=postgres.create("hanging"),
        store__timeout_s=4,
        telemetry__listen=f"127.0.0.1:{free_port()}",
    )
    sandbox.person("Contact", "kim@customer.example")
    rcpt = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start()
    try:
        serving(relay)
        first = relay.settled(relay.send(mail_to("kim@customer.example"), rcpt))
        assert first["state"] == "logged"
        assert readiness(relay)[0] == 200
        mail = mail_to("kim@customer.example").as_bytes().replace(b"\n", b"\r\n")
        with relay.smtp() as client, frozen("hanging"):
            client.ehlo()
            client.mail("ada@corp.example")
            client.rcpt(rcpt)
            assert client.docmd("DATA")[0] == 354
            client.send(mail + b"\r\n.\r\n")
            # The intake has taken the mail before it answers the next peer: the mail is
            # being committed when the probe comes.
            with relay.smtp() as other:
                assert other.noop()[0] == 250
            status, answer = readiness(relay)
            assert (status, answer["checks"]["store"]["ok"]) == (503, False)
            assert client.getreply()[0] == 451
            # What is frozen stays so: the server starts others for new connections.
            wait_for(lambda: readiness(relay)[0] == 200, message="ready again")
            again = relay.send(mail_to("kim@customer.example"), rcpt)
            assert relay.settled(again)["state"] == "logged"
        assert relay.stop() == 0
    finally:
        if relay.process and relay.process.running:
            relay.kill()
