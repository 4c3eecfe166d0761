"""Mails that somebody forged, as data: what the stranger holds, and what must follow.

Each mail says that Ada wrote it, to one reader at least, and Ada did not. None may
become an activity. Names of published catalogues stand in `source`:

- espoofer: Chen, Paxson, Jiang, "Composition Kills: A Case Study of Email Sender
  Authentication" (USENIX Security 2020), with the tool's names of cases;
- Composition Kills: the same paper, by the group of its attacks;
- Weak Links: Shen and others, "Weak Links in Authentication Chains" (USENIX Security
  2021), by the number of its attacks A1 to A14;
- VU#517845: CERT/CC, customers of one host who send as each other;
- VU#302671: CERT/CC, SMTP smuggling.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from tests.fakes.signing import GMAIL, USUAL_FIELDS
from tests.forgery.ways import Delivery
from tests.forgery.world import (
    ADA,
    CORP,
    CORP_PEER,
    EVIL,
    EVIL_PEER,
    HOST_PEER,
    evil_signer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EVIL_SENDER: Final = "mallory@evil.example"
SOFT_ADA: Final = "ada@soft.example"
QUIET_ADA: Final = "ada@quiet.example"

NOTHING: Final = "the relay address"
DOMAIN: Final = "the relay address, and a domain with SPF, DKIM and DMARC"
SIGNED: Final = "the relay address, and a mail that Ada's server signed"
TENANT: Final = "the relay address, and an account at a host that Ada's company uses"
ACCOUNT: Final = "an account at the relay"


@dataclass(frozen=True)
class Attack:
    """One forged mail.

    Attributes:
        name: Of the attack, unique.
        holds: What the stranger has.
        make: Builds the mail; keys are made when they are needed.
        cause: What the journal says: a cause, or the reason of a refusal by protocol.
        without_peer: The cause where the mail comes without a peer, so that SPF cannot
            be asked: by HTTP and from files; empty: the same.
        source: The published case that it stands for.
        held: The mail is kept for Ada to look at, and not refused.
        smtp_only: Its point is the dialogue, or the line ends: no other way has them.
    """

    name: str
    holds: str
    make: Callable[[], bytes]
    cause: str
    without_peer: str = ""
    mail_from: str = EVIL_SENDER
    peer: str = EVIL_PEER
    helo: str = "mail.evil.example"
    utf8: bool = False
    source: str = ""
    held: bool = False
    smtp_only: bool = False

    @property
    def delivery(self) -> Delivery:
        """Return the mail with its envelope."""
        return Delivery(_made(self), self.mail_from, self.peer, self.helo, self.utf8)


@cache
def _made(attack: Attack) -> bytes:
    return attack.make()


BODY: Final = b"Dear Ben,\r\n\r\nplease pay to the new account.\r\n"


def mail(
    *sender: str | bytes, top: bytes = b"", body: bytes = BODY, **fields: str | bytes
) -> bytes:
    """Return a mail with these From lines, as they are; none of them is folded.

    A further field is named by keyword; an empty one is left out.
    """
    lines = [_bytes(one) for one in sender]
    usual: dict[str, str | bytes] = {
        "To": "Ben Buyer <ben@customer.example>",
        "Subject": "New account",
        "Date": format_datetime(datetime.now(UTC) - timedelta(minutes=1)),
        "Message-ID": "<1@corp.example>",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    lines += [
        name.encode() + b": " + _bytes(value) for name, value in usual.items() if value
    ]
    return top + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def plain(*sender: str | bytes, **fields: str | bytes) -> Callable[[], bytes]:
    """Return what builds an unsigned mail."""
    return lambda: mail(*sender, **fields)


FROM_ADA: Final = f"From: Ada Rep <{ADA}>"
FROM_SOFT: Final = f"From: Ada Rep <{SOFT_ADA}>"
FROM_QUIET: Final = f"From: Ada Rep <{QUIET_ADA}>"


def genuine(**fields: str | bytes) -> bytes:
    """Return a mail that Ada wrote to somebody, unsigned so far."""
    return mail(FROM_ADA, Subject="The offer", body=b"Here is the offer.\r\n", **fields)


def signed(fields: Sequence[str] = USUAL_FIELDS) -> bytes:
    """Return it, signed by her server."""
    return CORP.sign(genuine(), fields=fields)


def minimal() -> bytes:
    """Return it, signed by a server that signs little."""
    return signed(("from", "to", "subject", "date"))


def enough() -> bytes:
    """Return it, signed by a server that signs all that stands there."""
    return signed(("from", "to", "subject", "date", "content-type"))


def on_top(line: str, of: Callable[[], bytes] = minimal) -> Callable[[], bytes]:
    """Return what puts a line on top of a signed mail."""
    return lambda: _bytes(line) + b"\r\n" + of()


# ------------------------------------------------------------------ no proof at all

UNPROVEN: Final = (
    Attack(
        "nothing but a From",
        NOTHING,
        plain(FROM_ADA),
        "S211",
        mail_from=ADA,
        source="espoofer server_a1",
    ),
    Attack("null sender", NOTHING, plain(FROM_ADA), "S211", mail_from=""),
    Attack(
        "null sender, HELO of the stranger passes SPF",
        DOMAIN,
        plain(FROM_ADA),
        "S211",
        mail_from="",
        helo="evil.example",
        source="Composition Kills: HELO and MAIL FROM",
    ),
    Attack(
        "HELO of the company",
        NOTHING,
        plain(FROM_ADA),
        "S211",
        mail_from="",
        helo="mail.corp.example",
        source="espoofer server_a2",
    ),
    Attack(
        "HELO of the company passes, MAIL FROM of nobody",
        NOTHING,
        plain(FROM_ADA),
        "S211",
        mail_from="ada@nowhere.invalid",
        peer=CORP_PEER,
        helo="mail.corp.example",
        source="Composition Kills: HELO and MAIL FROM",
    ),
    Attack(
        "domain with p=none",
        NOTHING,
        plain(FROM_SOFT),
        "S210",
        "S201",
        mail_from=SOFT_ADA,
        source="Weak Links A2",
    ),
    Attack("domain without records", NOTHING, plain(FROM_QUIET), "S201", mail_from=""),
    Attack(
        "domain without records, MAIL FROM too",
        NOTHING,
        plain(FROM_QUIET),
        "S201",
        mail_from=QUIET_ADA,
    ),
    Attack(
        "sub-domain that does not exist",
        NOTHING,
        plain("From: ada@ghost.np.example"),
        "S211",
        mail_from="ada@ghost.np.example",
        source="Weak Links A3: sub-domain without a record",
    ),
    Attack(
        "company of another script",
        NOTHING,
        plain("From: ada@straße.example"),
        "S211",
        mail_from="",
        utf8=True,
    ),
    Attack(
        "name servers that do not answer",
        NOTHING,
        plain("From: ada@silent.example"),
        "S401",
        mail_from="ada@silent.example",
    ),
    Attack(
        "null sender, and bounce of the company in the body",
        NOTHING,
        plain(FROM_ADA, Content_Type="message/rfc822", body=b"From: x@y.example\r\n"),
        "S211",
        mail_from="",
    ),
)

# ------------------------------------------------------------------ SPF of others

OTHER_SPF: Final = (
    Attack("SPF of the stranger's domain", DOMAIN, plain(FROM_ADA), "S211"),
    Attack(
        "SPF of the stranger's domain, p=none",
        DOMAIN,
        plain(FROM_SOFT),
        "S202",
        "S201",
        source="espoofer server_a3",
    ),
    Attack(
        "SPF of the stranger's domain, no records",
        DOMAIN,
        plain(FROM_QUIET),
        "S202",
        "S201",
    ),
    Attack(
        "the company's name before the stranger's",
        DOMAIN,
        plain(FROM_SOFT),
        "S202",
        "S201",
        mail_from="ada@corp.example.evil.example",
        source="Weak Links A8",
    ),
    Attack(
        "the company's address as a quoted local part",
        DOMAIN,
        plain(FROM_SOFT),
        "S202",
        "S201",
        mail_from='"ada@soft.example"@evil.example',
        source="espoofer server_a13",
    ),
    Attack(
        "percent hack in MAIL FROM",
        DOMAIN,
        plain(FROM_SOFT),
        "S202",
        "S201",
        mail_from="ada%soft.example@evil.example",
    ),
    Attack(
        "source route in MAIL FROM",
        DOMAIN,
        plain(FROM_SOFT),
        "S202",
        "S201",
        mail_from="@soft.example:mallory@evil.example",
        source="espoofer server_a12",
    ),
    Attack(
        "source route of the stranger in MAIL FROM",
        DOMAIN,
        plain(FROM_ADA),
        "S211",
        mail_from="@evil.example:ada@corp.example",
    ),
    Attack(
        "MAIL FROM with a last dot",
        NOTHING,
        plain(FROM_ADA),
        "bad_syntax",
        mail_from="ada@corp.example.",
        smtp_only=True,
    ),
    Attack(
        "MAIL FROM with two at signs",
        DOMAIN,
        plain(FROM_ADA),
        "bad_syntax",
        mail_from="ada@corp.example@evil.example",
        smtp_only=True,
        source="Composition Kills: MAIL FROM",
    ),
    Attack(
        "MAIL FROM with a comment",
        DOMAIN,
        plain(FROM_ADA),
        "bad_syntax",
        mail_from="ada@corp.example(.evil.example",
        smtp_only=True,
        source="espoofer server_a4",
    ),
    Attack(
        "neighbour below a public suffix",
        DOMAIN,
        plain("From: ada@corp.pub.example"),
        "S211",
        mail_from="mallory@evil.pub.example",
        source="RFC 9989 section 4.10.2",
    ),
    Attack(
        "sub-domain in strange hands, strict alignment",
        DOMAIN,
        plain("From: ada@strict.example"),
        "S211",
        mail_from="mallory@old.strict.example",
    ),
    Attack(
        "look-alike with everything in order",
        DOMAIN,
        plain("From: ada@xn--crp-hed.example"),
        "S106",
        mail_from="ada@xn--crp-hed.example",
    ),
    Attack(
        "customer of the same host, own domain",
        TENANT,
        plain("From: ada@hosted.example"),
        "S211",
        mail_from="mallory@tenant.example",
        peer=HOST_PEER,
        source="VU#517845 (CVE-2024-7208)",
    ),
    Attack(
        "customer of the same host, the host's domain",
        TENANT,
        plain("From: ada@hosted.example"),
        "S211",
        mail_from="mallory@host.example",
        peer=HOST_PEER,
        source="VU#517845 (CVE-2024-7209)",
    ),
    Attack(
        "more SPF look-ups than a mail may have",
        DOMAIN,
        plain(FROM_ADA),
        "S211",
        mail_from="mallory@greedy.example",
    ),
)

# ------------------------------------------------------------------ DKIM of others


def by_evil(sender: str = FROM_ADA, **tags: bytes) -> Callable[[], bytes]:
    """Return what builds a mail of Ada's that the stranger signed, with such tags."""
    return lambda: EVIL.by_hand(mail(sender), **tags)


OTHER_DKIM: Final = (
    Attack("signed by the stranger", DOMAIN, by_evil(), "S211", source="Weak Links A1"),
    Attack("signed by the stranger, p=none", DOMAIN, by_evil(FROM_SOFT), "S203"),
    Attack(
        "signed by a longer name",
        DOMAIN,
        lambda: evil_signer("corp.example.evil.example").sign(mail(FROM_ADA)),
        "S211",
    ),
    Attack(
        "signed by the top-level domain",
        DOMAIN,
        lambda: evil_signer("example").sign(mail(FROM_ADA)),
        "S211",
        source="Composition Kills: DKIM",
    ),
    Attack(
        "signed by the top-level domain, no records",
        DOMAIN,
        lambda: evil_signer("example").by_hand(mail(FROM_QUIET), i=b"@quiet.example"),
        "S203",
    ),
    Attack(
        "i= of the company",
        DOMAIN,
        by_evil(FROM_SOFT, i=b"ada@soft.example"),
        "S202",
        "S201",
        source="espoofer server_a6",
    ),
    Attack(
        "NUL in d=",
        DOMAIN,
        by_evil(d=b"corp.example\0.evil.example"),
        "S211",
        source="espoofer server_a5",
    ),
    Attack(
        "parenthesis in d=",
        DOMAIN,
        by_evil(d=b"corp.example(.evil.example"),
        "S211",
        source="espoofer server_a4",
    ),
    Attack(
        "quote in d=",
        DOMAIN,
        by_evil(d=b"corp.example'a.evil.example"),
        "S211",
        source="espoofer server_a4",
    ),
    Attack(
        "NUL in s=",
        DOMAIN,
        by_evil(d=b"corp.example", s=b"test._domainkey.evil.example.\0"),
        "S216",
        source="espoofer server_a5",
    ),
    Attack(
        "the stranger's name in s=",
        DOMAIN,
        by_evil(d=b"corp.example", s=b"test._domainkey.evil.example"),
        "S218",
    ),
    Attack(
        "two d=",
        DOMAIN,
        by_evil(d=b"evil.example; d=corp.example"),
        "S211",
        source="Composition Kills: DKIM",
    ),
    Attack(
        "folded d=",
        DOMAIN,
        by_evil(d=b"evil.example\r\n .corp.example"),
        "S216",
    ),
    Attack(
        "d= with a last dot",
        DOMAIN,
        by_evil(d=b"corp.example."),
        "S207",
    ),
    Attack(
        "d= of the company, key of the stranger",
        DOMAIN,
        by_evil(d=b"corp.example"),
        "S207",
        source="espoofer server_a7",
    ),
    Attack(
        "empty signature",
        NOTHING,
        lambda: (
            b"DKIM-Signature: v=1; a=rsa-sha256; d=corp.example; s=test; h=from;"
            b" bh=; b=\r\n" + mail(FROM_ADA)
        ),
        "S216",
    ),
    Attack(
        "algorithm none",
        DOMAIN,
        by_evil(d=b"corp.example", a=b"none"),
        "S216",
    ),
    Attack(
        "From is not signed",
        DOMAIN,
        by_evil(d=b"corp.example", h=b"to:subject"),
        "S216",
    ),
    Attack(
        "neighbour's signature, strict alignment",
        DOMAIN,
        lambda: evil_signer("old.strict.example").sign(
            mail("From: ada@strict.example")
        ),
        "S211",
    ),
    Attack(
        "hundred signatures of the stranger",
        DOMAIN,
        lambda: EVIL.field(mail(FROM_ADA)) * 100 + mail(FROM_ADA),
        "S211",
    ),
)

# ------------------------------------------------------------------ a signed mail


def cut() -> bytes:
    """Return a signed mail of which only the beginning counts, and more text."""
    return CORP.sign(genuine(), length=True) + b"And pay to the new account.\r\n"


REPLAYED: Final = (
    Attack("text behind l=", SIGNED, cut, "S204", source="Weak Links A13"),
    Attack(
        "text behind l=0",
        SIGNED,
        lambda: CORP.sign(mail(FROM_ADA, body=b""), length=True) + BODY,
        "S204",
    ),
    Attack("second From on top", SIGNED, on_top("From: eve@evil.example"), "S102"),
    Attack("same From on top", SIGNED, on_top(FROM_ADA), "S102"),
    Attack("second Subject on top", SIGNED, on_top("Subject: New account"), "S206"),
    Attack(
        "second Subject with a blank before the colon",
        SIGNED,
        on_top("Subject : New account"),
        "S217",
        source="espoofer server_a16",
    ),
    Attack("second To on top", SIGNED, on_top("To: carl@customer.example"), "S206"),
    Attack(
        "second Date on top",
        SIGNED,
        on_top("Date: Mon, 30 Nov 2026 11:00:00 +0000"),
        "S206",
    ),
    Attack("second Message-ID", SIGNED, on_top("Message-ID: <2@corp.example>"), "S206"),
    Attack("second MIME-Version", SIGNED, on_top("MIME-Version: 1.0"), "S206"),
    Attack(
        "Cc added",
        SIGNED,
        on_top("Cc: carl@customer.example"),
        "S205",
        held=True,
    ),
    Attack(
        "Cc added where it is signed as absent",
        SIGNED,
        on_top("Cc: carl@customer.example", lambda: signed(GMAIL)),
        "S207",
    ),
    Attack(
        "second Subject where it is signed twice",
        SIGNED,
        on_top("Subject: New account", lambda: signed(GMAIL)),
        "S207",
    ),
    Attack(
        "Content-Type that hides the text",
        SIGNED,
        lambda: _replaced(
            minimal(), b"text/plain; charset=utf-8", b"multipart/mixed; boundary=x"
        ),
        "S205",
        held=True,
    ),
    Attack(
        "Content-Disposition that makes the text a file",
        SIGNED,
        on_top("Content-Disposition: attachment; filename=offer.txt", enough),
        "S205",
        held=True,
    ),
    Attack(
        "Content-Transfer-Encoding added",
        SIGNED,
        on_top("Content-Transfer-Encoding: base64"),
        "S205",
        held=True,
    ),
    Attack(
        "Subject changed",
        SIGNED,
        lambda: _replaced(signed(), b"The off", b"No off"),
        "S207",
    ),
    Attack(
        "text changed",
        SIGNED,
        lambda: _replaced(signed(), b"Here is", b"Here was"),
        "S207",
    ),
    Attack("text added", SIGNED, lambda: signed() + b"And more.\r\n", "S207"),
    Attack(
        "To changed", SIGNED, lambda: _replaced(signed(), b"ben@", b"carl@"), "S207"
    ),
    Attack(
        "From changed to another of her addresses",
        SIGNED,
        lambda: _replaced(signed(), b"ada@corp", b"ada@soft"),
        "S202",
        "S201",
    ),
    Attack(
        "signature of one mail on another",
        SIGNED,
        lambda: CORP.field(genuine()) + mail(FROM_ADA),
        "S207",
    ),
    Attack(
        "signature of ten days ago",
        SIGNED,
        lambda: CORP.by_hand(genuine(), age_s=10 * 86_400),
        "S301",
        held=True,
    ),
    Attack(
        "signature of ten days ago without a time",
        SIGNED,
        lambda: CORP.by_hand(
            genuine(Date=format_datetime(datetime.now(UTC) - timedelta(days=10))),
            t=None,
        ),
        "S301",
        held=True,
    ),
    Attack(
        "expired signature",
        SIGNED,
        lambda: CORP.by_hand(genuine(), age_s=3 * 86_400, lasts_s=86_400),
        "S209",
    ),
    Attack(
        "signature of tomorrow",
        SIGNED,
        lambda: CORP.by_hand(genuine(), age_s=-86_400),
        "S216",
    ),
    Attack(
        "SHA-1",
        SIGNED,
        lambda: CORP.by_hand(genuine(), sha1=True),
        "S208",
        source="RFC 8301",
    ),
    Attack(
        "redirected in her name",
        SIGNED,
        lambda: (
            b"Resent-From: Ada Rep <ada@corp.example>\r\nResent-To: x@y.example\r\n"
            + EVIL.sign(mail("From: carl@customer.example"))
        ),
        "S212",
    ),
    Attack(
        "her own mail, redirected by a stranger to others",
        SIGNED,
        lambda: (
            b"Resent-From: mallory@evil.example\r\n"
            b"Resent-To: carl@customer.example\r\n" + minimal()
        ),
        "S205",
        held=True,
    ),
    Attack(
        "sealed by a stranger (ARC) who saw it pass",
        DOMAIN,
        lambda: EVIL.seal(
            b"Authentication-Results: mx.evil.example; dmarc=pass"
            b" header.from=corp.example; dkim=pass header.d=corp.example\r\n"
            + mail(FROM_ADA),
            "mx.evil.example",
        ),
        "S211",
    ),
    Attack(
        "sealed twice by strangers, as if it were forwarded",
        DOMAIN,
        lambda: (
            b"ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=evil.example; s=test;"
            b" b=AAAA\r\n" + mail(FROM_ADA)
        ),
        "S215",
        held=True,
    ),
    Attack(
        "as if a mailing list had passed it on",
        NOTHING,
        plain(FROM_ADA, List_Id="<offers.list.example>"),
        "S215",
        held=True,
    ),
    Attack(
        "as if a forwarder had passed it on",
        DOMAIN,
        plain(FROM_ADA),
        "S215",
        "S211",
        mail_from="SRS0=abcd=ef=corp.example=ada@evil.example",
        held=True,
    ),
    Attack(
        "sent to her mailbox, which forwards all to the relay",
        NOTHING,
        plain(FROM_ADA),
        "S215",
        "S211",
        mail_from="ada+caf_=log=in.example@corp.example",
        peer=CORP_PEER,
        held=True,
        source="Weak Links A11: forwarding",
    ),
    Attack(
        "sent to her mailbox, whose server forwards by itself",
        NOTHING,
        plain(FROM_ADA, top=b"X-Forwarded-To: log@in.example\r\n"),
        "S215",
        mail_from=ADA,
        peer=CORP_PEER,
        held=True,
        source="Weak Links A11: forwarding",
    ),
    Attack(
        "sent to her mailbox in her name, and sent on by a .forward file",
        NOTHING,
        plain(FROM_ADA, top=b"Delivered-To: ada@corp.example\r\n"),
        "S215",
        mail_from=ADA,
        peer=CORP_PEER,
        held=True,
        source="Weak Links A11: forwarding",
    ),
    Attack(
        "sent to her mailbox as a redirect of hers, and forwarded by its server",
        NOTHING,
        plain(
            "From: carl@customer.example",
            top=b"X-Forwarded-To: log@in.example\r\n"
            b"Resent-From: Ada Rep <ada@corp.example>\r\n",
        ),
        "S212",
        mail_from=ADA,
        peer=CORP_PEER,
        held=True,
        source="Weak Links A11: forwarding",
    ),
    Attack(
        "sent to her mailbox as a redirect of her own mail, and forwarded",
        NOTHING,
        plain(FROM_ADA, top=b"Resent-From: Ada Rep <ada@corp.example>\r\n"),
        "S212",
        mail_from="ada+caf_=log=in.example@corp.example",
        peer=CORP_PEER,
        held=True,
        smtp_only=True,
        source="Weak Links A11: forwarding",
    ),
    Attack(
        "sent to a list of her company",
        NOTHING,
        plain(FROM_ADA, List_Id="<all.lists.corp.example>"),
        "S215",
        mail_from="all-bounces@corp.example",
        peer=CORP_PEER,
        held=True,
        source="Weak Links A11: forwarding",
    ),
    Attack(
        "forged Authentication-Results",
        NOTHING,
        plain(
            FROM_ADA,
            top=b"Authentication-Results: mx.in.example; spf=pass"
            b" smtp.mailfrom=corp.example; dkim=pass header.d=corp.example;"
            b" dmarc=pass header.from=corp.example\r\n",
        ),
        "S211",
        source="espoofer server_a18",
    ),
    Attack(
        "forged Received-SPF and Return-Path",
        NOTHING,
        plain(
            FROM_ADA,
            top=b"Return-Path: <ada@corp.example>\r\nReceived-SPF: pass\r\n",
        ),
        "S211",
    ),
)


def _replaced(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert raw.count(old) >= 1, old
    return raw.replace(old, new)


PROOFS: Final = (*UNPROVEN, *OTHER_SPF, *OTHER_DKIM, *REPLAYED)
"""Mails of which nothing proves that they are hers, in the form that mails have."""
