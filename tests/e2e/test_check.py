"""`relay check` beside a running relay: each listener is proved by a real session."""

from __future__ import annotations

import re
import smtplib
import socket
import subprocess
import threading
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_processes import serving  # the port is open before it is served
from tests.fakes.processes import RelayProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)


def sessions(relay: RelayProcess, status: int) -> dict[str, dict[str, str]]:
    """Return the findings about sessions, by their listener."""
    return {
        row["check"].removeprefix("session "): row
        for row in relay.json("check", status=status)
        if row["check"].startswith("session ")
    }


def test_every_kind_of_listener_is_tried(idle: RelayProcess, tmp_path: Path) -> None:
    """STARTTLS, implicit TLS, LMTP on a Unix socket and submission, as a stranger."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-days", "90", "-subj", "/CN=relay.test"),
            *("-addext", "subjectAltName=DNS:relay.test"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    implicit, submission = free_port(), free_port()
    idle.set(smtp__tls_certificate=str(certificate), smtp__tls_key=str(key))
    with idle.config.open("a", encoding="utf-8") as config:
        config.write(
            "[[smtp.listeners]]\n"
            f'address = "127.0.0.1:{implicit}"\ntls = "implicit"\n'
            "[[smtp.listeners]]\n"
            f'address = "unix:{tmp_path}/lmtp"\nprotocol = "lmtp"\n'
            "[[smtp.listeners]]\n"
            f'address = "127.0.0.1:{submission}"\nprotocol = "submission"\n'
        )
    idle.start()
    serving(idle)
    found = sessions(idle, 0)
    assert {row["result"] for row in found.values()} == {"ok"}
    assert "TLSv1.3" in found[f"127.0.0.1:{idle.port}"]["detail"]
    assert "550 5.1.1" in found[f"127.0.0.1:{idle.port}"]["detail"]
    assert "550 5.1.1" in found[f"127.0.0.1:{implicit}"]["detail"]
    assert "550 5.1.1" in found[f"unix:{tmp_path}/lmtp"]["detail"]
    assert "530" in found[f"127.0.0.1:{submission}"]["detail"]
    # These refusals are kept apart, and say where they come from when they are shown.
    assert idle.json("log", "--refused") == []
    probes = idle.json("log", "--refused", "--probes")
    senders = {row["mail_from"] for row in probes}
    assert senders == {"relay-check@relay.test"}
    count = sum(row["count"] for row in probes)
    assert count == 4
    assert "recorded as a probe" in found[f"127.0.0.1:{submission}"]["detail"]
    said = {row["check"]: row["detail"] for row in idle.json("check")}
    # The next check adds to the same rows.
    again = idle.json("log", "--refused", "--probes")
    assert len(again) == len(probes)
    assert sum(row["count"] for row in again) == 8
    assert idle.json("log") == []
    for check in (
        f"smtp 127.0.0.1:{idle.port}",
        f"smtp 127.0.0.1:{implicit}",
        f"lmtp unix:{tmp_path}/lmtp",
        f"submission 127.0.0.1:{submission}",
    ):
        assert said[check].startswith("this relay answers")


def test_no_stranger_can_pass_for_a_probe(idle: RelayProcess) -> None:
    """A sender like the check's, without its token, hides nothing."""
    health = free_port()
    idle.set(telemetry__listen=f"127.0.0.1:{health}")
    idle.start()
    serving(idle)

    def refusals() -> float:
        url = f"http://127.0.0.1:{health}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(r"^relay_refusals_total\{.*\} (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    idle.json("check", status=0)
    assert refusals() == 0
    senders = ["relay-check@relay.test", f"relay-check+{'0' * 32}@relay.test"]
    for sender in senders:
        with smtplib.SMTP("127.0.0.1", idle.port, timeout=20) as client:
            client.ehlo()
            client.mail(sender)
            assert client.rcpt("check-0123456789abcdef@relay.test")[0] == 550
    shown = [row["mail_from"] for row in idle.json("log", "--refused")]
    assert shown == senders
    assert refusals() == 2


def test_a_healthy_relay_with_every_port_passes(idle: RelayProcess) -> None:
    """What the relay holds itself is not in its way: web, health, a load balancer's."""
    web, health, proxied = free_port(), free_port(), free_port()
    idle.set(web__listen=f"127.0.0.1:{web}", telemetry__listen=f"127.0.0.1:{health}")
    with idle.config.open("a", encoding="utf-8") as config:
        config.write(
            "[[smtp.listeners]]\n"
            f'address = "127.0.0.1:{proxied}"\nproxy_from = ["192.0.2.0/24"]\n'
        )
    idle.start()
    serving(idle)
    found = {row["check"]: row["detail"] for row in idle.json("check", status=0)}
    assert "a relay runs there" in found[f"web 127.0.0.1:{web}"]
    assert "a relay runs there" in found[f"telemetry 127.0.0.1:{health}"]
    assert "the relay is running" in found[f"smtp 127.0.0.1:{proxied}"]


def test_a_server_that_takes_anything_fails(idle: RelayProcess) -> None:
    """Whoever takes an unknown address is not this relay."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        thread = threading.Thread(target=take_anything, args=(server,), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        idle.set(smtp__listen=[f"127.0.0.1:{port}"])
        found = sessions(idle, 1)[f"127.0.0.1:{port}"]
        thread.join(10)
    assert found["result"] == "fail"
    assert "is taken" in found["detail"]


def take_anything(server: socket.socket) -> None:
    """Say yes to all that comes: a look at the greeting, then a session."""
    for _ in range(2):
        try:
            peer, _ = server.accept()
        except OSError:
            return  # The test has failed before, and closed its end.
        with peer, peer.makefile("rwb", buffering=0) as lines:
            lines.write(b"220 relay.test ESMTP\r\n")
            while lines.readline():
                lines.write(b"250 fine\r\n")


def test_a_relay_that_greets_late_passes(idle: RelayProcess) -> None:
    """A wait before the greeting is no other program's silence."""
    idle.set(smtp__greeting_wait_s=5)
    idle.start()
    serving(idle)
    found = {row["check"]: row for row in idle.json("check", status=0)}
    for check in ("smtp", "session"):
        assert found[f"{check} 127.0.0.1:{idle.port}"]["result"] == "ok"
