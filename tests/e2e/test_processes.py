"""One relay, several processes: each may end at any time, and nothing else does."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, free_port, mail_to, send_in, wait_for

if TYPE_CHECKING:
    from tests.fakes.postgres import Postgres
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(120)


def children(relay: RelayProcess) -> dict[str, int]:
    """Return the pids of the processes below the supervisor, by their names."""
    main = relay.process._child.pid
    listed = Path(f"/proc/{main}/task/{main}/children").read_text("ascii")
    found = {}
    for pid in listed.split():
        name = Path(f"/proc/{pid}/comm").read_text("ascii").strip()
        found[name.removeprefix("relay ")] = int(pid)
    return found


def alive(pid: int) -> bool:
    """Say whether a process runs; one that is dead and not yet waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def page(relay: RelayProcess, path: str) -> str:
    """Return a page of the health listener."""
    url = f"http://{relay._keys['telemetry__listen']}{path}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def counted(relay: RelayProcess, name: str) -> float:
    """Return the value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", page(relay, "/metrics"), re.MULTILINE)
    assert found, name
    return float(found[1])


def serving(relay: RelayProcess) -> None:
    """Wait until every process serves: the port is open before."""

    def up() -> bool:
        assert relay.process
        assert relay.process.running, relay.output()
        return '"serving"' in relay.output()

    wait_for(up, message="serving")


def send(relay: RelayProcess, rcpt: str) -> str:
    """Send a mail as a mail server would: 421 means to come again."""
    while True:
        try:
            return relay.send(mail_to("kim@customer.example"), rcpt)
        except smtplib.SMTPResponseException as error:
            assert error.smtp_code == 421  # noqa: PT017 - others are failures
        except (smtplib.SMTPServerDisconnected, ConnectionResetError):
            pass  # It said so while we were speaking.


@pytest.fixture
def watched(idle: RelayProcess) -> RelayProcess:
    """Run a relay with a health listener."""
    idle.set(telemetry__listen=f"127.0.0.1:{free_port()}")
    idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    serving(idle)
    return idle


@pytest.fixture
def rcpt(watched: RelayProcess) -> str:
    """Return Ada's relay address."""
    return str(watched.json("user", "list")[0]["relay_address"])


def test_intake_and_worker_are_processes_of_their_own(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """A lone mail wakes the other process: it is logged at once, not at a poll."""
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.set(worker__poll_s=60)
    idle.start()
    serving(idle)
    assert sorted(children(idle)) == ["smtp-0", "worker-0"]
    idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    for number in (2, 3):
        idle.send(mail_to("kim@customer.example"), rcpt)
        wait_for(lambda n=number: len(sandbox.rows("EmailMessage")) == n, timeout_s=10)


def test_a_killed_child_is_started_again(
    watched: RelayProcess, sandbox: SandboxProcess, rcpt: str
) -> None:
    """Connections wait for the new intake; the new worker goes on; counters stay."""
    sandbox.person("Contact", "kim@customer.example")
    first = watched.send(mail_to("kim@customer.example"), rcpt)
    assert watched.settled(first)["state"] == "logged"
    assert counted(watched, "relay_messages_accepted_total") == 1
    before = children(watched)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    # The port never closes: this waits in the backlog of the process to come.
    second = watched.send(mail_to("kim@customer.example"), rcpt)
    assert watched.settled(second)["state"] == "logged"
    after = children(watched)
    assert sorted(after) == sorted(before)
    assert not set(after.values()) & set(before.values())
    assert counted(watched, "relay_messages_accepted_total") == 2
    assert '"process_ended"' in watched.output()


def test_no_child_outlives_the_supervisor(watched: RelayProcess) -> None:
    """SIGKILL of the main process ends all of them, and the port is free."""
    before = children(watched)
    assert sorted(before) == ["smtp-0", "worker-0"]
    watched.kill()
    wait_for(lambda: not any(map(alive, before.values())), timeout_s=5)
    watched.start()
    # A process has its name once it has come up.
    after = wait_for(lambda: (c := children(watched)).keys() == before.keys() and c)
    assert not set(after.values()) & set(before.values())


def test_a_hangup_replaces_the_children(
    watched: RelayProcess, sandbox: SandboxProcess, rcpt: str
) -> None:
    """SIGHUP: new ones first; the old ones finish what they have; the port is always
    open, no mail is lost or doubled, and the new settings hold."""
    sandbox.person("Contact", "kim@customer.example")
    before = children(watched)
    with closing(smtplib.SMTP("127.0.0.1", watched.port, timeout=20)) as client:
        client.ehlo()
        client.mail("ada@corp.example")
        client.rcpt(rcpt)
        client.putcmd("data")
        assert client.getreply()[0] == 354
        watched.set(smtp__max_message_bytes=1_000_000)
        assert watched.process
        os.kill(watched.process._child.pid, signal.SIGHUP)
        while '"restarted"' not in watched.output():
            try:
                send(watched, rcpt)
            except AssertionError as busy:
                # Caught between two mails by the old ones' end: mail programs come
                # again (RFC 5321 section 3.8).
                assert "4.3.2 Restarting" in str(busy)  # noqa: PT017 - one reply is fine
        with watched.smtp() as other:
            other.ehlo()
            assert other.esmtp_features["size"] == "1000000"
        assert alive(before["smtp-0"])
        client.send(mail_to("kim@customer.example").as_bytes().replace(b"\n", b"\r\n"))
        client.send(b"\r\n.\r\n")
        code, reply = client.getreply()
        assert code == 250, reply
        message = reply.decode().split()[-1]
    wait_for(lambda: not any(alive(pid) for pid in before.values()))
    assert watched.settled(message)["state"] == "logged"
    assert counted(watched, "relay_messages_accepted_total") == len(watched.log())
    assert watched.stop() == 0


def test_a_hangup_with_a_mistake_changes_nothing(watched: RelayProcess) -> None:
    """Settings that are wrong, or that need a whole restart, are refused in the log."""
    before = children(watched)
    assert watched.process
    for number, keys in enumerate(
        ({"smtp__max_recipients": 0}, {"smtp__listen": ["127.0.0.1:1"]}), 1
    ):
        kept = dict(watched._keys)
        watched.set(**keys)
        os.kill(watched.process._child.pid, signal.SIGHUP)
        wait_for(lambda n=number: watched.output().count('"restart_refused"') == n)
        watched._keys = kept
    assert children(watched) == before
    assert watched.stop() == 0


def test_a_part_that_cannot_start_stops_all(idle: RelayProcess) -> None:
    """What a child finds wrong is one line and exit status 2, as if it were alone."""
    (idle.folder / "relay.db").write_bytes(b"this is no database" * 100)
    done = idle.run("serve", status=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith(b"relay: ")]
    assert len(lines) == 1
    assert b"store.url" in lines[0]


@pytest.mark.parametrize("role", ["smtp", "worker"])
def test_a_role_alone_runs_alone(
    idle: RelayProcess, sandbox: SandboxProcess, role: str
) -> None:
    """Two services, one for each role, are one relay: the one wakes the other."""
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start(roles="smtp")
    serving(idle)
    assert list(children(idle)) == ["smtp-0"]
    message = idle.send(mail_to("kim@customer.example"), rcpt)
    if role == "worker":
        from tests.fakes.processes import Process

        worker = Process(
            ["serve", "--config", str(idle.config), "--roles", "worker"],
            idle.folder / "worker.log",
            idle.folder,
        )
        try:
            assert idle.settled(message)["state"] == "logged"
        finally:
            assert worker.stop() == 0
    # A worker would have been woken by the mail, and log it before it ends.
    assert idle.stop() == 0
    expected = "logged" if role == "worker" else "queued"
    assert idle.json("show", message)[0]["state"] == expected


def test_several_intake_processes_share_a_port(
    tmp_path: Path, sandbox: SandboxProcess, postgres: Postgres
) -> None:
    """On PostgreSQL each takes its share; what they take is logged once, counted once,
    and goes on while one of them is dead."""
    relay = RelayProcess(
        tmp_path / "relay",
        sandbox.url,
        store_url=postgres.create("processes"),
        serve__processes=3,
        telemetry__listen=f"127.0.0.1:{free_port()}",
    )
    sandbox.person("Contact", "kim@customer.example")
    rcpt = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start()
    try:
        serving(relay)
        below = children(relay)
        assert sorted(below) == ["smtp-0", "smtp-1", "smtp-2", "worker-0"]
        for number in range(60):
            if number == 30:
                os.kill(below["smtp-1"], signal.SIGKILL)
            with relay.smtp() as client:
                send_in(client, mail_to("kim@customer.example").as_bytes(), rcpt)
        wait_for(lambda: len(relay.log("--state", "logged", "--limit", "100")) == 60)
        subjects = [row["Subject"] for row in sandbox.rows("EmailMessage")]
        assert len(subjects) == len(set(subjects)) == 60
        # Nobody had looked at what the killed process had counted.
        assert counted(relay, "relay_messages_accepted_total") == 60
        assert counted(relay, "relay_smtp_connections") == 0
        assert relay.stop() == 0
    finally:
        if relay.process and relay.process.running:
            relay.kill()
