"""Users are told by mail what became of their mail, whatever is killed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import mail_to, wait_for
from tests.fakes.smarthost import running_smarthost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.processes import RelayProcess, SandboxProcess
    from tests.fakes.smarthost import Smarthost

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def host() -> Iterator[Smarthost]:
    """Run a smarthost."""
    with running_smarthost() as server:
        yield server


@pytest.fixture
def telling(idle: RelayProcess, sandbox: SandboxProcess, host: Smarthost) -> Any:
    """Run a relay that sends notices, with Ada; return it and her relay address."""
    assert sandbox.url
    idle.set(
        notices__smarthost=f"127.0.0.1:{host.port}",
        notices__tls="none",
        notices__from_address="relay@corp.example",
        notices__gather_s=0,
        notices__interval_s=0,
        notices__digest=False,
        worker__retry_first_s=1,
    )
    ada = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    # From the first look at the journal on, what happens is told.
    wait_for(lambda: begun(idle), message="the journal is not read yet")
    return idle, ada


def begun(relay: RelayProcess) -> bool:
    """Say whether the relay has begun to read the journal."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(relay.folder / "relay.db")) as database:
        query = "SELECT 1 FROM notes WHERE key = 'notices.seen'"
        return database.execute(query).fetchone() is not None


def written(relay: RelayProcess) -> list[dict[str, Any]]:
    """Return the notices that are out."""
    return relay.json("notices", "list", "--state", "written")


def test_an_unmatched_mail_is_told_to_its_user(telling: Any, host: Smarthost) -> None:
    """One mail to the user's own address, automatic, from the null sender."""
    relay, ada = telling
    ident = relay.send(mail_to("nobody@customer.example", Subject="The offer"), ada)
    assert relay.settled(ident)["state"] == "unmatched"
    wait_for(lambda: host.mails, message="no notice")
    sender, recipients, _ = host.mails[0]
    assert (sender, recipients) == ("<>", ["ada@corp.example"])
    (message,) = host.messages
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "The offer" in text
    assert ident in text
    (row,) = wait_for(lambda: written(relay), message="not settled")
    assert (row["kind"], row["about"]) == ("unmatched", [ident])


def test_a_notice_that_comes_back_makes_no_other(telling: Any, host: Smarthost) -> None:
    """By a rule of the mailbox that sends all on to the relay address: no loop."""
    relay, ada = telling
    first = relay.send(mail_to("nobody@customer.example"), ada)
    relay.settled(first)
    wait_for(lambda: host.mails, message="no notice")
    _, _, raw = host.mails[0]
    with relay.smtp() as client:
        client.ehlo()
        client.mail("")
        client.rcpt(ada)
        assert client.data(raw)[0] == 550
    # As if Ada's program had sent it on in her name.
    own = raw.replace(b"relay@corp.example", b"ada@corp.example", 1)
    back = relay.send(own, ada)
    row = relay.settled(back)
    assert (row["state"], row["reason"]) == ("skipped", "own_notice")
    second = relay.send(mail_to("nobody@customer.example"), ada)
    relay.settled(second)
    rows = wait_for(
        lambda: (rows := written(relay)) and len(rows) == 2 and rows,
        message="the second notice",
    )
    assert [row["about"] for row in rows] == [[first], [second]]


def test_nothing_is_lost_when_the_relay_is_killed_while_it_sends(
    telling: Any, host: Smarthost
) -> None:
    """The smarthost has the mail, and its answer never came: it is sent once more."""
    relay, ada = telling
    host.data_replies = ["hang"]
    ident = relay.send(mail_to("nobody@customer.example"), ada)
    relay.settled(ident)
    wait_for(lambda: host.mails, message="the session that hangs")
    relay.kill()
    assert written(relay) == []
    (row,) = relay.json("notices", "list")
    assert row["state"] == "planned"
    relay.start()
    wait_for(lambda: written(relay), message="it is not sent again")
    first, second = host.messages
    assert first["Message-ID"] == second["Message-ID"]


def test_check_tries_the_smarthost(idle: RelayProcess, host: Smarthost) -> None:
    """It logs in and sends nothing; without one it says that notices are off."""

    def line(status: int = 0) -> dict[str, Any]:
        rows = {row["check"]: row for row in idle.json("check", status=status)}
        return rows["notices"]

    assert line()["result"] == "ok"
    assert line()["detail"].startswith("off: notices.smarthost is not set")
    idle.set(
        notices__smarthost=f"127.0.0.1:{host.port}",
        notices__tls="none",
        notices__from_address="relay@corp.example",
    )
    assert line()["result"] == "ok"
    assert "answers 250" in line()["detail"]
    assert host.commands == []
    idle.set(notices__tls="starttls")
    found = line(status=1)
    assert found["result"] == "fail"
    assert "notices.tls" in found["hint"]
