"""`relay check --dns` prints the records to publish, and which of them are."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import dns.asyncresolver
import dns.resolver
import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Answer:
    """One record, as the library gives it."""

    def __init__(self, text: str, *, strings: bool = False) -> None:
        self._text = text
        if strings:  # A TXT record comes in pieces of up to 255 bytes.
            self.strings = [text[:9].encode(), text[9:].encode()]

    def __str__(self) -> str:
        return self._text


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], list[Answer]]:
    """Answer from a table; what is not in it does not exist."""
    table: dict[tuple[str, str], list[Answer]] = {}

    async def resolve(name: str, kind: str, **_: object) -> list[Answer]:
        try:
            return table[name, kind]
        except KeyError:
            raise dns.resolver.NXDOMAIN from None

    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve)
    return table


@pytest.fixture
def secured(relay: Any, tmp_path: Path) -> str:
    """Set a certificate; return the digest of its key by another tool."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", "/CN=relay.test", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    public = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-noout", "-pubkey"],
        check=True,
        capture_output=True,
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"],
        input=public,
        check=True,
        capture_output=True,
    ).stdout
    text = relay.config.read_text("utf-8").replace(
        "[smtp]\n",
        f'[smtp]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n',
    )
    relay.config.write_text(text, "utf-8")
    return hashlib.sha256(der).hexdigest()


def rows(relay: Any) -> dict[str, dict[str, Any]]:
    return {f"{row['name']} {row['type']}": row for row in relay.json("check", "--dns")}


def test_every_record_is_there(relay: Any, zone: Any, secured: str) -> None:
    """MX, SPF, MTA-STS, TLS-RPT and DANE, with the key's own digest."""
    found = rows(relay)
    values = {name: row["value"] for name, row in found.items()}
    policy = values.pop("_mta-sts.in.relay.example TXT")
    assert values == {
        "in.relay.example MX": "10 relay.test.",
        "in.relay.example TXT": "v=spf1 -all",
        "_smtp._tls.in.relay.example TXT": (
            "v=TLSRPTv1; rua=mailto:postmaster@in.relay.example"
        ),
        "_25._tcp.relay.test TLSA": f"3 1 1 {secured}",
    }
    assert policy.startswith("v=STSv1; id=")
    assert len(policy.partition("id=")[2]) <= 32
    assert {row["published"] for row in found.values()} == {"no"}
    assert all(row["why"] for row in found.values())


def test_what_is_published_is_known(relay: Any, zone: Any, secured: str) -> None:
    """The same value is `yes`, another one `other`; foreign texts are passed by."""
    zone["in.relay.example", "MX"] = [Answer("10 mail.other.example.")]
    zone["in.relay.example", "TXT"] = [
        Answer("site-verification=1", strings=True),
        Answer("v=spf1 -all", strings=True),
    ]
    zone["_smtp._tls.in.relay.example", "TXT"] = [Answer("hello", strings=True)]
    zone["_25._tcp.relay.test", "TLSA"] = [Answer(f"3 1 1 {secured.upper()}")]
    found = rows(relay)
    assert found["in.relay.example MX"]["published"] == "other"
    assert found["in.relay.example MX"]["found"] == ["10 mail.other.example."]
    assert found["in.relay.example TXT"]["published"] == "yes"
    assert found["_smtp._tls.in.relay.example TXT"]["published"] == "no"
    assert found["_25._tcp.relay.test TLSA"]["published"] == "yes"


def test_without_a_certificate_nothing_promises_tls(relay: Any, zone: Any) -> None:
    """MTA-STS or DANE without TLS would keep all mail away."""
    text = relay("check", "--dns").stdout
    assert "STSv1" not in text
    assert "IN TLSA" not in text
    assert "no MTA-STS and no DANE" in text
    assert 'in.relay.example. IN TXT "v=spf1 -all"' in text.splitlines()


def test_people_get_lines_of_a_zone_file(relay: Any, zone: Any, secured: str) -> None:
    """All that is no record is a comment; the policy is printed as it is served."""
    zone["in.relay.example", "MX"] = [Answer("10 bad\x1b[31m.example.")]
    text = relay("check", "--dns").stdout
    lines = [line for line in text.splitlines() if not line.startswith(";")]
    assert len(lines) == 5
    assert all(" IN " in line for line in lines)
    assert "mode: testing" in text
    assert "\x1b" not in text


def test_no_dns_is_not_known(relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without DNS still prints what to publish."""

    async def resolve(*_: object, **__: object) -> None:
        raise dns.resolver.NoNameservers

    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve)
    lines = relay("check", "--dns", "--json").stdout.splitlines()
    assert {json.loads(line)["published"] for line in lines} == {"unknown"}


def test_the_name_of_the_machine_is_not_told_to_be_published(
    relay: Any, zone: Any
) -> None:
    """An MX to a name that only this machine knows leads nowhere."""
    text = relay.config.read_text("utf-8")
    relay.config.write_text(text.replace('hostname = "relay.test"\n', ""), "utf-8")
    assert "set smtp.hostname first" in relay("check", "--dns").stderr
    rows = [
        json.loads(line)
        for line in relay("check", "--json", status=1).stdout.splitlines()
    ]
    (hint,) = (row["hint"] for row in rows if row["check"] == "dns in.relay.example")
    assert hint.startswith("set smtp.hostname first")
    relay.config.write_text(text, "utf-8")
    assert relay("check", "--dns").stderr == ""
