"""What is said of certificates, disks and DNS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from relay.config import Settings
from relay.diagnose import Level, dns, machine

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def _certificate(
    *names: str, begin: datetime = NOW, days: int = 365
) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
    )
    if names:
        hosts = [x509.DNSName(one) for one in names]
        builder = builder.add_extension(
            x509.SubjectAlternativeName(hosts), critical=False
        )
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("certificate", "result", "part"),
    [
        (_certificate("mx.example"), Level.OK, "valid until"),
        (_certificate("*.example"), Level.OK, "valid until"),
        (_certificate("mx.example", days=20), Level.WARN, "valid until"),
        (_certificate("other.example"), Level.WARN, "not for mx.example"),
        (_certificate("*.mx.example"), Level.WARN, "not for mx.example"),
        (_certificate(), Level.WARN, "no name"),
        (
            _certificate("mx.example", begin=NOW - timedelta(days=9), days=8),
            Level.FAIL,
            "expired on 2026-03-03",
        ),
        (
            _certificate("mx.example", begin=NOW + timedelta(days=1)),
            Level.FAIL,
            "not valid before",
        ),
    ],
)
def test_certificates_are_judged_by_time_and_name(
    certificate: x509.Certificate, result: Level, part: str
) -> None:
    """An end that is near warns, one that has passed fails; so does a wrong clock."""
    (finding,) = machine._certificate("mx.example", certificate, NOW)
    assert finding.level is result
    assert part in finding.text


@pytest.mark.parametrize(
    ("free", "result"), [(99, Level.FAIL), (150, Level.WARN), (200, Level.OK)]
)
def test_a_full_disk_is_seen_before_mail_is_refused(free: int, result: Level) -> None:
    """Below the floor it fails, near it it warns."""
    assert machine._disk(free, 100).level is result


def test_the_mx_should_be_this_relay() -> None:
    """An MX elsewhere is a warning: a company's own server may pass mail on."""
    found = dns._mx_finding("dns", ["mx.example"], "MX.example")
    assert found.level is Level.OK
    found = dns._mx_finding("dns", ["mail.example"], "mx.example")
    assert found.level is Level.WARN
    assert "mx.example" in found.hint


def test_a_certificate_with_a_cn_alone_has_its_hint() -> None:
    """No sender looks at the CN; the hint names the option that is missing."""
    (finding,) = machine._certificate("mx.example", _certificate(), NOW)
    assert "a CN does not count" in finding.text
    assert "-addext subjectAltName=DNS:mx.example" in finding.hint


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, []),
        ({"listen": "127.0.0.1:8080"}, []),
        ({"listen": "0.0.0.0:8080"}, ["plain HTTP"]),
        (
            {"listen": "0.0.0.0:8080", "trusted_proxies": ["10.0.0.1"]},
            ["public_url is not set"],
        ),
        (
            {"listen": "127.0.0.1:8080", "public_url": "https://relay.example.com"},
            ["no proxy is trusted"],
        ),
        (
            {
                "listen": "127.0.0.1:8080",
                "public_url": "https://relay.example.com",
                "trusted_proxies": ["127.0.0.1"],
            },
            [],
        ),
    ],
)
def test_how_people_reach_the_console_is_judged(values, said):
    """Over plain HTTP, without a name, or behind a proxy that nobody trusts."""
    settings = Settings.model_validate({"web": values})
    found = machine.config(settings, None)
    about = [one for one in found if one.area == "web"]
    assert len(about) == len(said)
    for one, part in zip(about, said, strict=True):
        assert one.level is Level.WARN
        assert part in one.text
        assert one.hint
