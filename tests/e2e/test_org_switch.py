"""While logging is switched off no relay address accepts mail; all are told (R14)."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.fakes.children import listening
from tests.fakes.processes import free_port, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(90)


def get(place: str, page: str) -> str:
    """Return a page of the health listener; raises where it is no 200."""
    with urllib.request.urlopen(f"http://{place}{page}", timeout=10) as answer:
        return str(answer.read().decode())


def shows(place: str, line: str) -> None:
    """Wait until the metrics of all processes have a line."""
    wait_for(lambda: line in get(place, "/metrics"), message=line)


def test_the_switch_of_the_org(idle: RelayProcess, sandbox: SandboxProcess) -> None:
    """Off: refused for good, postmaster accepted; on: logged again."""
    relay, port = idle, free_port()
    place = f"127.0.0.1:{port}"
    relay.set(telemetry__listen=place)
    ada = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start()
    # Mail is taken as soon as it can be; the metrics may come a moment later.
    wait_for(lambda: listening(port), message="the health listener")
    shows(place, "\nrelay_logging_on 1.0")
    sandbox.person("Contact", "kim@customer.example")
    relay.run("deactivate")
    relay.heed()
    assert relay.logged("logging_switched", process="smtp-0")[-1]["on"] is False
    with pytest.raises(AssertionError, match=r"5\.2\.1 Your administrator has"):
        relay.send(mail_to("kim@customer.example"), ada)
    with relay.smtp() as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt("postmaster@in.relay.example")[0] == 250
    # Ready all the same: a load balancer must not turn postmaster's mail away.
    probe = json.loads(get(place, "/readyz"))["checks"]["logging"]
    assert (probe["ok"], probe["fatal"]) == (False, False)
    assert "relay activate" in probe["detail"]
    shows(place, "\nrelay_logging_on 0.0")
    (row,) = relay.json("log", "--refused")
    assert (row["reason"], row["user"]) == ("logging_off", "ada@corp.example")
    relay.run("activate")
    relay.heed()
    ident = relay.send(mail_to("kim@customer.example"), ada)
    assert relay.settled(ident)["state"] == "logged"
