"""Senders are proven end to end: a relay, its DNS, an org, and who opens a link."""

from __future__ import annotations

import asyncio
import re
import smtplib
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import load
from relay.core.clock import SystemClock
from relay.sender.release import ReleaseLinks
from relay.store import Store
from tests.e2e.test_processes import serving
from tests.fakes.dns import DNS, dns
from tests.fakes.processes import RelayProcess, free_port, mail_to, wait_for
from tests.fakes.signing import Signer

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

__all__ = ["dns"]

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def strict(idle: RelayProcess, dns: DNS) -> RelayProcess:
    """Run a relay with the default policy, which asks the test's DNS."""
    host, port = dns.address
    web = free_port()
    idle.set(
        sender__policy="aligned",
        dns__servers=[f"{host}:{port}"],
        web__listen=f"127.0.0.1:{web}",
        web__public_url=f"http://127.0.0.1:{web}",
    )
    idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    serving(idle)
    return idle


@pytest.fixture
def ada(strict: RelayProcess) -> str:
    """Return Ada's relay address."""
    return str(strict.json("user", "list")[0]["relay_address"])


def link_for(relay: RelayProcess, message_id: str, address: str) -> str:
    """Return the link that a notice would have."""

    async def make() -> str:
        settings = load(relay.config, {})
        store = await Store.open(settings.store, SystemClock())
        try:
            links = await ReleaseLinks.open(settings, store, SystemClock())
            assert links is not None
            return links.url(message_id, address)
        finally:
            await store.close()

    return asyncio.run(make())


def fetch(url: str, form: dict[str, str] | None = None) -> str:
    """Return a page; with a form, what it answers to that."""
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url, data, timeout=20) as answer:
        return str(answer.read().decode())


def verdict(relay: RelayProcess, id_: str) -> dict[str, Any]:
    """Return what was found about a mail."""
    (row,) = relay.json("show", id_)
    found: dict[str, Any] = row["verdict"]
    return found


def test_a_proven_mail_is_logged_and_a_forged_one_is_not(
    strict: RelayProcess, sandbox: SandboxProcess, ada: str, dns: DNS
) -> None:
    """SPF of the author's domain for one, nothing for the other, by the same peer."""
    sandbox.person("Contact", "kim@customer.example")
    dns.txt("corp.example", "v=spf1 ip4:127.0.0.1 -all")
    dns.txt("evil.example", "v=spf1 ip4:127.0.0.1 -all")
    row = strict.settled(strict.send(mail_to("kim@customer.example"), ada))
    assert row["state"] == "logged"
    assert "(SPF)" in verdict(strict, row["id"])["proof"]
    with pytest.raises(smtplib.SMTPDataError) as caught:
        strict.send(mail_to("kim@customer.example"), ada, sender="x@evil.example")
    assert caught.value.smtp_code == 550
    assert b"SPF passed for evil.example and not for corp.example" in (
        caught.value.smtp_error
    )
    (refused,) = strict.log("--refused")
    assert (refused["reason"], refused["cause"]) == ("spf_other_domain", "S202")
    assert len(sandbox.rows("EmailMessage")) == 1
    (report,) = strict.json("sender", "report")
    assert (report["accept"], report["refuse"]) == (1, 1)


def test_the_author_releases_a_held_mail(
    strict: RelayProcess, sandbox: SandboxProcess, ada: str, dns: DNS
) -> None:
    """A forwarder broke the signature: the mail waits, and one click has it logged."""
    sandbox.person("Contact", "kim@customer.example")
    signer = Signer("corp.example").publish(dns)
    mail = mail_to("kim@customer.example", Subject="Offer", X_Forwarded_To=ada)
    raw = signer.sign(mail.as_bytes().replace(b"\n", b"\r\n"))
    raw = raw.replace(b"Subject: Offer", b"Subject: [x] Offer")
    id_ = strict.send(raw, ada, sender="x@forwarder.example")
    (row,) = strict.log("--state", "held")
    assert (row["id"], row["reason"]) == (id_, "dkim_failed")
    link = link_for(strict, id_, "ada@corp.example")
    page = fetch(link)
    assert "[x] Offer" in page
    assert strict.json("show", id_)[0]["state"] == "held"
    (value,) = re.findall(r'name="button" value="(\w+)"', page)
    assert "is released" in fetch(link, {"button": value})
    assert strict.settled(id_)["state"] == "logged"
    (written,) = sandbox.rows("EmailMessage")
    assert written["Subject"] == "[x] Offer"


def test_the_log_names_the_policy_at_the_start(strict: RelayProcess) -> None:
    """So that an admin sees which one is in force, and the command for a loose one."""
    (line,) = strict.logged("sender_policy", process="smtp-0")
    assert line["policy"] == "aligned"
    strict.run("settings", "set", "sender.policy", "listed")
    strict.stop()
    strict.start()

    def hint() -> str | None:
        line = strict.logged("sender_policy", process="smtp-0")[-1]
        return line.get("hint")

    assert "relay settings set sender.policy aligned" in wait_for(
        hint, message="the policy in the log"
    )
