"""A small world for mails that are forged and mails that are not.

Domains with their DNS and their keys, a relay with one user who owns addresses at
several of them, and a stranger who has a domain, a mail server and patience.

| domain | what it publishes |
| --- | --- |
| corp.example | SPF `-all`, DKIM, DMARC `p=reject` |
| soft.example | SPF `~all`, DKIM, DMARC `p=none` |
| quiet.example | nothing |
| strict.example | as corp.example, with `aspf=s` and `adkim=s` |
| ghost.np.example | does not exist; np.example says `p=none` and `np=reject` |
| corp.pub.example | DMARC `p=reject`, below pub.example, a public suffix (`psd=y`) |
| hosted.example | SPF of a host that it shares with strangers, DMARC `p=reject` |
| straße.example | SPF, DKIM, DMARC `p=reject`; strasse.example is the stranger's |
| silent.example | name servers that never answer |
| evil.example and others | the stranger's: SPF `+all`, DKIM and DMARC, all in order |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fakes.signing import Signer

if TYPE_CHECKING:
    from tests.fakes.dns import DNS

ADA: Final = "ada@corp.example"
ADDRESSES: Final = (
    "ada@soft.example",
    "ada@quiet.example",
    "ada@strict.example",
    "ada@ghost.np.example",
    "ada@corp.pub.example",
    "ada@hosted.example",
    "ada@xn--strae-oqa.example",
    "ada@silent.example",
)
"""Ada's accepted addresses beside her own."""

CORP_PEER: Final = "192.0.2.10"
SOFT_PEER: Final = "192.0.2.11"
HOST_PEER: Final = "198.51.100.5"
"""Of a host that sends for many customers, strangers among them."""
EVIL_PEER: Final = "203.0.113.66"
EVIL_DOMAINS: Final = (
    "evil.example",
    "corp.example.evil.example",
    "strasse.example",
    "evil.pub.example",
    "xn--crp-hed.example",
    "old.strict.example",
    "tenant.example",
)
"""Domains of which the stranger has the DNS and the mail servers."""

ZONES: Final = """\
$ORIGIN corp.example.
@ IN TXT "v=spf1 ip4:192.0.2.10 -all"
@ IN A 192.0.2.10
@ IN MX 10 mail
mail IN A 192.0.2.10
mail IN TXT "v=spf1 a -all"
_dmarc IN TXT "v=DMARC1; p=reject"
$ORIGIN soft.example.
@ IN TXT "v=spf1 ip4:192.0.2.11 ~all"
_dmarc IN TXT "v=DMARC1; p=none"
$ORIGIN quiet.example.
@ IN A 192.0.2.12
$ORIGIN strict.example.
@ IN TXT "v=spf1 ip4:192.0.2.13 -all"
_dmarc IN TXT "v=DMARC1; p=reject; aspf=s; adkim=s"
$ORIGIN np.example.
@ IN A 192.0.2.14
_dmarc IN TXT "v=DMARC1; p=none; np=reject"
$ORIGIN pub.example.
_dmarc IN TXT "v=DMARC1; p=none; psd=y"
_dmarc.corp IN TXT "v=DMARC1; p=reject"
corp IN TXT "v=spf1 ip4:192.0.2.15 -all"
_dmarc.evil IN TXT "v=DMARC1; p=none"
$ORIGIN hosted.example.
@ IN TXT "v=spf1 include:_spf.host.example -all"
_dmarc IN TXT "v=DMARC1; p=reject"
$ORIGIN host.example.
@ IN TXT "v=spf1 ip4:198.51.100.5 -all"
_spf IN TXT "v=spf1 ip4:198.51.100.5 -all"
$ORIGIN xn--strae-oqa.example.
@ IN TXT "v=spf1 ip4:192.0.2.16 -all"
_dmarc IN TXT "v=DMARC1; p=reject"
"""

CORP: Final = Signer("corp.example", number=1)
SOFT: Final = Signer("soft.example", number=1)
STRICT: Final = Signer("strict.example", number=1)
EVIL: Final = Signer("evil.example", number=2)


def evil_signer(domain: str) -> Signer:
    """Return the stranger's signer for a domain of theirs."""
    return Signer(domain, number=2)


PUBLISHED: Final = (
    CORP,
    SOFT,
    STRICT,
    # The registry of a top-level domain cannot speak for those below it.
    evil_signer("example"),
    *map(evil_signer, EVIL_DOMAINS),
)


def publish(dns: DNS) -> None:
    """Put the world's records into a DNS (`tests.fakes.dns.DNS`)."""
    dns.records(ZONES)
    for domain in EVIL_DOMAINS:
        dns.txt(domain, "v=spf1 +all")
        if domain not in {"evil.pub.example", "old.strict.example"}:
            dns.dmarc(domain)
    for signer in PUBLISHED:
        signer.publish(dns)
    for name in ("", "_dmarc.", "test._domainkey."):
        dns.fail("servfail", f"{name}silent.example")


def long_ago(days: float) -> float:
    """Return days in seconds, for signatures that are old."""
    return days * 86_400
