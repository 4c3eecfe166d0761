"""Mail of users who log by BCC, through real processes: once, whatever is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, mail_to, wait_for
from tests.fakes.smarthost import running_smarthost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.processes import SandboxProcess
    from tests.fakes.smarthost import Smarthost

pytestmark = pytest.mark.timeout(120)

ADA = "ada@corp.example"
PLACE = "emailtosalesforce@abc.in.salesforce.com"
ANNA = "anna@customer.example"


@pytest.fixture
def host() -> Iterator[Smarthost]:
    """Run a smarthost."""
    with running_smarthost() as server:
        yield server


def with_host(relay: RelayProcess, host: Smarthost) -> str:
    """Give a relay the smarthost, and Ada, who logs by BCC; return her address."""
    relay.set(
        notices__smarthost=f"127.0.0.1:{host.port}",
        notices__tls="none",
        notices__from_address="relay@corp.example",
        notices__level="none",
        notices__digest=False,
    )
    address = relay.add_user("Ada Rep", ADA)
    relay.run("user", "logging", ADA, "--by", "bcc", "--address", PLACE)
    return address


def test_a_mail_is_copied_and_not_logged_beside(
    idle: RelayProcess, sandbox: SandboxProcess, host: Smarthost
) -> None:
    """R8; whoever goes over to the API later has no double of it."""
    sandbox.person("Contact", ANNA)
    address = with_host(idle, host)
    idle.start()
    ident = idle.send(mail_to(ANNA, Subject="The offer"), address)
    assert idle.settled(ident)["state"] == "logged"
    ((sender, recipients, _),) = host.mails
    assert (sender, recipients) == (ADA, [PLACE])
    assert host.messages[0]["Subject"] == "The offer"
    idle.run("user", "logging", ADA, "--by", "api")
    idle.heed()
    idle.run("retry", ident)
    assert idle.settled(ident)["state"] == "logged"
    assert not sandbox.rows("Task")
    assert not sandbox.rows("EmailMessage")
    second = idle.send(mail_to(ANNA, Subject="Another"), address)
    assert idle.settled(second)["state"] == "logged"
    assert sandbox.rows("EmailMessage") or sandbox.rows("Task")
    assert len(host.mails) == 1


def test_a_kill_while_the_smarthost_has_it_sends_no_second(
    idle: RelayProcess, host: Smarthost
) -> None:
    """Nobody knows whether it came: a person looks, and has it tried again."""
    address = with_host(idle, host)
    host.data_replies = ["hang"]
    idle.start()
    ident = idle.send(mail_to(ANNA), address)
    wait_for(lambda: host.mails, message="no copy")
    idle.kill()
    idle.start()
    assert idle.settled(ident)["state"] == "dead"
    assert idle.json("show", ident)[0]["reason"] == "copy_unknown"
    assert b"look into Salesforce" in idle.run("show", ident).stdout
    assert len(host.mails) == 1
    idle.run("retry", ident)
    wait_for(lambda: len(host.mails) > 1, message="no second copy")
    assert idle.settled(ident)["state"] == "logged"


def test_an_org_without_api_access_is_served(tmp_path: Path, host: Smarthost) -> None:
    """For everybody by BCC: no login, no call."""
    relay = RelayProcess(tmp_path / "relay", "")
    for name in ("instance_url", "client_id", "client_secret", "timeout_s", "settle_s"):
        relay._keys.pop(f"salesforce__{name}")
    relay.set()
    try:
        address = with_host(relay, host)
        refused = relay.run("serve", status=2)
        assert b"salesforce.instance_url" in refused.stderr
        relay.run("settings", "set", "log_by", "bcc_only")
        relay.start()
        ident = relay.send(mail_to(ANNA), address)
        assert relay.settled(ident)["state"] == "logged"
        assert len(host.mails) == 1
        checks = {one["check"]: one for one in relay.json("check")}
        assert checks["salesforce"]["result"] == "ok"
        assert checks["ways to Salesforce"]["detail"] == "bcc_only: 0 by api, 1 by bcc"
        assert relay.stop() == 0
    finally:
        if relay.process and relay.process.running:
            relay.kill()
