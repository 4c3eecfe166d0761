"""Mails that Ada wrote, in the shapes that real providers and programs give them.

Each is as the provider sends it: its header fields in its order, what its signatures
cover, its envelope sender, and the SPF, DKIM and DMARC records of its domain. None may
be refused by the rule that a new relay has: it is taken, or it is held, and says why.

What the big providers sign was read from mail in public archives of 2023 to 2026. None
of Gmail, Microsoft 365, iCloud and Yahoo signs all of Content-Type, To and Cc.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from tests.fakes.signing import USUAL_FIELDS, Signer
from tests.forgery.ways import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.fakes.dns import DNS

# ------------------------------------------------------------------ what is signed

GMAIL = (
    "content-transfer-encoding mime-version references in-reply-to message-id date "
    "subject cc to from from to cc subject date message-id reply-to"
).split()
MICROSOFT = (
    "from date subject message-id content-type mime-version x-ms-exchange-senderadcheck"
).split()
ICLOUD = "from to subject date message-id mime-version content-type".split()
YAHOO = "date from to cc subject references from subject reply-to".split()
FASTMAIL = (
    "cc content-transfer-encoding content-type content-type date date from from "
    "in-reply-to in-reply-to message-id mime-version references reply-to subject "
    "subject to to"
).split()
PROTON = (
    "date from to subject message-id in-reply-to references feedback-id from to cc "
    "date subject reply-to feedback-id message-id bimi-selector"
).split()
ZOHO = (
    "content-type content-type content-transfer-encoding date date from from "
    "in-reply-to mime-version references subject subject to to message-id reply-to cc"
).split()
SES = "date from to message-id subject mime-version content-type feedback-id".split()
SENDGRID = "content-type from mime-version subject to cc content-type".split()
MAILGUN = (
    "to to subject subject message-id from from date content-transfer-encoding "
    "mime-version content-type cc reply-to"
).split()
RSPAMD = (
    "from from reply-to date date message-id message-id to to cc mime-version "
    "mime-version content-type content-type content-transfer-encoding "
    "content-transfer-encoding in-reply-to references"
).split()

# ------------------------------------------------------------------ domains

_PEERS: Final = {
    # Domain: where its mail comes from.
    "gmail.com": "198.51.100.20",
    "outlook.com": "198.51.100.30",
    "icloud.com": "198.51.100.40",
    "yahoo.com": "198.51.100.50",
    "fastmail.com": "198.51.100.60",
    "proton.me": "198.51.100.70",
    "zohomail.com": "198.51.100.80",
    "amazonses.com": "198.51.100.90",
    "sendgrid.net": "198.51.100.91",
    "mailgun.org": "198.51.100.92",
}
OWN_PEER: Final = "192.0.2.10"
SMARTHOST: Final = "198.51.100.99"
FORWARDER: Final = "198.51.100.110"

ZONES: Final = """\
$ORIGIN firm.example.
@ IN TXT "v=spf1 ip4:192.0.2.10 -all"
@ IN MX 10 mail
_dmarc IN TXT "v=DMARC1; p=reject; rua=mailto:dmarc@firm.example"
em123 IN TXT "v=spf1 ip4:198.51.100.91 -all"
mg IN TXT "v=spf1 ip4:198.51.100.92 ~all"
bounce IN TXT "v=spf1 ip4:198.51.100.90 ~all"
$ORIGIN workspace.example.
@ IN TXT "v=spf1 include:_spf.google.com ~all"
_dmarc IN TXT "v=DMARC1; p=quarantine"
$ORIGIN nospf.example.
@ IN A 192.0.2.77
_dmarc IN TXT "v=DMARC1; p=none"
$ORIGIN office.example.
@ IN TXT "v=spf1 include:spf.protection.outlook.com -all"
_dmarc IN TXT "v=DMARC1; p=none"
$ORIGIN onprem.example.
@ IN TXT "v=spf1 mx include:smarthost.example -all"
@ IN MX 10 mail
mail IN A 192.0.2.20
$ORIGIN smarthost.example.
@ IN TXT "v=spf1 ip4:198.51.100.99 -all"
$ORIGIN own-cloud.example.
@ IN TXT "v=spf1 include:icloud.com include:spf.messagingengine.com ~all"
@ IN TXT "apple-domain=Xy12"
_dmarc IN TXT "v=DMARC1; p=none"
$ORIGIN plain.example.
@ IN TXT "v=spf1 a mx ip4:192.0.2.10 ?all"
$ORIGIN macro.example.
@ IN TXT "v=spf1 exists:%{i}._ok.%{d2} redirect=_all.macro.example"
*._ok IN A 127.0.0.2
_all IN TXT "v=spf1 -all"
$ORIGIN xn--bcher-kva.example.
@ IN TXT "v=spf1 ip4:192.0.2.10 -all"
_dmarc IN TXT "v=DMARC1; p=reject"
$ORIGIN six.example.
@ IN TXT "v=spf1 ip6:2001:db8:25::/48 -all"
$ORIGIN late.example.
@ IN TXT "v=spf1 ip4:192.0.2.10 -all"
$ORIGIN google.com.
_spf IN TXT "v=spf1 ip4:198.51.100.20 ~all"
$ORIGIN outlook.com.
spf.protection IN TXT "v=spf1 ip4:198.51.100.30 -all"
$ORIGIN messagingengine.com.
spf IN TXT "v=spf1 ip4:198.51.100.60 ?all"
$ORIGIN list.example.
@ IN TXT "v=spf1 ip4:198.51.100.110 -all"
_dmarc IN TXT "v=DMARC1; p=none"
$ORIGIN forwarder.example.
@ IN TXT "v=spf1 ip4:198.51.100.110 -all"
"""


def signer(domain: str, selector: str = "sel1", **more: object) -> Signer:
    """Return the signer of a domain."""
    return Signer(domain, selector, number=1, **more)


FIRM: Final = signer("firm.example")
SIGNERS: Final = {
    one.domain: one
    for one in (
        FIRM,
        *map(signer, _PEERS),
        *map(
            signer,
            (
                "workspace.example",
                "workspace-example.20230601.gappssmtp.com",
                "nospf.example",
                "office.example",
                "office.onmicrosoft.com",
                "own-cloud.example",
                "mg.firm.example",
                "xn--bcher-kva.example",
                "list.example",
            ),
        ),
    )
}
ED25519: Final = signer("firm.example", "ed", kind="ed25519")
SHORT: Final = signer("firm.example", "short", bits=1024)


def publish(dns: DNS) -> None:
    """Put the records of all these domains into a DNS."""
    dns.records(ZONES)
    for domain, peer in _PEERS.items():
        dns.txt(domain, f"v=spf1 ip4:{peer} ~all")
        dns.dmarc(domain, "v=DMARC1; p=none; sp=quarantine")
    for one in (*SIGNERS.values(), ED25519, SHORT):
        one.publish(dns)


ADDRESSES: Final = (
    "ada.rep@gmail.com",
    "ada.rep@outlook.com",
    "ada.rep@icloud.com",
    "ada.rep@yahoo.com",
    "ada@fastmail.com",
    "ada@proton.me",
    "ada@zohomail.com",
    "ada@firm.example",
    "ada@sales.firm.example",
    "adá@firm.example",
    "ada@workspace.example",
    "ada@nospf.example",
    "ada@office.example",
    "ada@onprem.example",
    "ada@own-cloud.example",
    "ada@plain.example",
    "ada@macro.example",
    "ada@xn--bcher-kva.example",
    "ada@six.example",
    "ada@late.example",
)
"""Of Ada: each shape comes from one of them."""

# ------------------------------------------------------------------ mails

_RECEIVED: Final = (
    "Received: from [10.0.0.5] (unknown [203.0.113.40])\r\n"
    "\tby {} (Postfix) with ESMTPSA id 4Q8x1z;\r\n\t{}\r\n"
)
TEXT: Final = b"Dear Ben,\r\n\r\nhere is the offer we spoke of.\r\n\r\n-- \r\nAda\r\n"
HTML: Final = b'<div dir="ltr">Dear Ben, here is the <b>offer</b>.</div>\r\n'


def two_parts(boundary: str, plain: bytes = TEXT, html: bytes = HTML) -> bytes:
    """Return the body of multipart/alternative."""
    mark = b"--" + boundary.encode()
    return (
        mark
        + b'\r\nContent-Type: text/plain; charset="UTF-8"\r\n\r\n'
        + plain
        + mark
        + b'\r\nContent-Type: text/html; charset="UTF-8"\r\n\r\n'
        + html
        + mark
        + b"--\r\n"
    )


def letter(*lines: str | None, body: bytes = TEXT) -> bytes:
    """Return a mail with these header lines; None leaves a place out.

    `{now}` is the date, `{id}` a Message-ID of its own.
    """
    now = format_datetime(datetime.now(UTC))
    ident = base64.b32encode(repr((lines, len(body))).encode())[-60:-10].decode()
    head = "".join(
        line.replace("{now}", now).replace("{id}", ident.strip("=")) + "\r\n"
        for line in lines
        if line is not None
    )
    return head.encode() + b"\r\n" + body


def usual(
    address: str,
    *more: str,
    to: str | None = "To: Ben Buyer <ben@customer.example>",
    subject: str | None = "Subject: The offer",
    ident: str | None = "Message-ID: <{id}@mail.firm.example>",
    kind: str | None = "Content-Type: text/plain; charset=utf-8",
    body: bytes = TEXT,
    sender: str = "",
) -> bytes:
    """Return a mail of an ordinary mail program."""
    return letter(
        f"From: {sender or f'Ada Rep <{address}>'}",
        to,
        subject,
        "Date: {now}",
        ident,
        "MIME-Version: 1.0",
        kind,
        *more,
        body=body,
    )


def signed(
    domain: str, raw: bytes, fields: Sequence[str] = USUAL_FIELDS, **how: object
) -> bytes:
    """Return a mail, signed by a domain."""
    return SIGNERS[domain].sign(raw, fields=fields, **how)


def gmail(address: str, *domains: str, **more: object) -> bytes:
    """Return what Gmail's web page sends, signed by these domains."""
    boundary = "000000000000a1b2c3062d4e5f60"
    raw = letter(
        "MIME-Version: 1.0",
        f"From: Ada Rep <{address}>",
        "Date: {now}",
        "X-Gm-Features: AWmQ_bl4",
        "Message-ID: <CAF{id}@mail.gmail.com>",
        "Subject: The offer",
        more.get("to", "To: Ben Buyer <ben@customer.example>"),
        f'Content-Type: multipart/alternative; boundary="{boundary}"',
        body=two_parts(boundary),
    )
    plain = raw
    for domain in domains:
        raw = SIGNERS[domain].field(plain, fields=GMAIL) + raw
    top = (
        "Received: by mail-wr1-f50.google.com with SMTP id ffacd0b85a97d;\r\n"
        f"        {format_datetime(datetime.now(UTC))}\r\n"
    )
    return top.encode() + b"X-Google-DKIM-Signature: v=1; a=rsa-sha256\r\n" + raw


def microsoft(address: str, *domains: str, sealed: bool = False) -> bytes:
    """Return what Exchange Online sends, signed by these domains."""
    boundary = "_000_AM0PR04MB1234"
    raw = letter(
        f"From: Ada Rep <{address}>",
        "To: Ben Buyer <ben@customer.example>",
        "CC: Carl Chief <carl@customer.example>",
        "Subject: The offer",
        "Thread-Topic: The offer",
        "Thread-Index: AQHbQ1==",
        "Date: {now}",
        "Message-ID: <AM0PR04{id}@AM0PR04MB1234.eurprd04.prod.outlook.com>",
        "Accept-Language: en-US",
        "Content-Language: en-US",
        "X-MS-Has-Attach:",
        "X-MS-TNEF-Correlator:",
        "x-ms-exchange-senderadcheck: 1",
        f'Content-Type: multipart/alternative;\r\n\tboundary="{boundary}"',
        "MIME-Version: 1.0",
        body=two_parts(boundary),
    )
    plain = raw
    for domain in domains:
        raw = SIGNERS[domain].field(plain, fields=MICROSOFT) + raw
    if sealed:
        domain = address.partition("@")[2]
        found = f"mx.microsoft.com; dkim=pass header.d={domain}"
        results = f"Authentication-Results: {found}\r\n".encode()
        raw = SIGNERS["outlook.com"].seal(results + raw, "mx.microsoft.com")
        raw = raw.replace(results, b"", 1)
    return raw


def listed(raw: bytes, *, footer: bool) -> bytes:
    """Return a mail as a mailing list passes it on."""
    top = (
        b"List-Id: Sales team <sales.list.example>\r\n"
        b"List-Post: <mailto:sales@list.example>\r\nPrecedence: list\r\n"
        b"Sender: sales-bounces@list.example\r\n"
    )
    text = b"_______________\r\nsales mailing list\r\n" if footer else b""
    return top + raw + text


# ------------------------------------------------------------------ shapes


@dataclass(frozen=True)
class Shape:
    """A mail as somebody sends it.

    Attributes:
        name: Of the shape, unique.
        make: Builds the mail.
        mail_from: The envelope sender.
        proof: What proves it, in the words of the verdict.
        held: The cause where nothing does, and the mail is kept.
    """

    name: str
    make: Callable[[], bytes]
    mail_from: str
    peer: str = OWN_PEER
    proof: str = ""
    held: str = ""
    utf8: bool = False
    helo: str = "mail.firm.example"

    @property
    def delivery(self) -> Delivery:
        """Return the mail with its envelope."""
        return Delivery(
            self.make(), self.mail_from, self.peer, self.helo, utf8=self.utf8
        )


def direct(name: str, make: Callable[[], bytes], address: str, **more: str) -> Shape:
    """Return a shape that comes from a server of the author's domain."""
    domain = address.partition("@")[2]
    peer = _PEERS.get(domain, OWN_PEER)
    more.setdefault("mail_from", address)
    more.setdefault("proof", f"sent by a server of {domain} (SPF)")
    return Shape(name, make, **({"peer": peer} | more))


def by_key(name: str, make: Callable[[], bytes], **more: object) -> Shape:
    """Return a shape whose envelope is somebody else's: only a signature proves it."""
    more.setdefault("mail_from", "ada@elsewhere.invalid")
    more.setdefault("peer", FORWARDER)
    if not more.get("held"):
        more.setdefault("proof", "signed by firm.example, aligned with the From")
    return Shape(name, make, **more)


FIRM_ADA: Final = "ada@firm.example"


def of_firm(*more: str, **parts: object) -> Callable[[], bytes]:
    """Return what builds an ordinary mail of the firm's, signed with care."""
    return lambda: signed("firm.example", usual(FIRM_ADA, *more, **parts))


_ICS: Final = (
    b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@firm.example\r\n"
    b"ORGANIZER:mailto:ada@firm.example\r\nDTSTART:20261201T100000Z\r\n"
    b"END:VEVENT\r\nEND:VCALENDAR\r\n"
)
_BIG: Final = (b"x" * 998 + b"\r\n") * 10_486


def _ses(address: str) -> bytes:
    raw = usual(address, "Feedback-ID: ::1.eu-west-1.AbC=:AmazonSES")
    own = SIGNERS["firm.example"].field(raw, fields=SES)
    return own + signed("amazonses.com", raw, SES)


def _twice() -> bytes:
    raw = usual(FIRM_ADA)
    return ED25519.field(raw) + signed("firm.example", raw)


def _one_expired() -> bytes:
    raw = usual(FIRM_ADA)
    old = FIRM.by_hand(raw, age_s=3 * 86_400, lasts_s=86_400)
    return old[: -len(raw)] + signed("firm.example", raw)


def _outgoing_gateway() -> bytes:
    """Sign, then let a gateway of the firm add its marks and fold what it likes."""
    raw = signed("firm.example", usual(FIRM_ADA))
    marks = b"X-Proofpoint-Spam-Details: rule=outbound_notspam score=0\r\n"
    return marks + raw.replace(
        b"\r\nSubject: The offer", b"\r\nSubject:\r\n The  offer"
    )


SHAPES: Final = (
    # ------------------------------------------------ Google
    direct("Gmail", lambda: gmail("ada.rep@gmail.com", "gmail.com"),
           "ada.rep@gmail.com"),
    direct(
        "Gmail on a telephone",
        lambda: signed(
            "gmail.com",
            letter(
                "Content-Type: text/plain; charset=us-ascii",
                "Content-Transfer-Encoding: 7bit",
                "From: Ada Rep <ada.rep@gmail.com>",
                "Mime-Version: 1.0 (1.0)",
                "Date: {now}",
                "Message-Id: <{id}@gmail.com>",
                "Subject: The offer",
                "To: ben@customer.example",
                "X-Mailer: iPhone Mail (23B85)",
                body=TEXT + b"\r\nSent from my iPhone\r\n",
            ),
            GMAIL,
        ),
        "ada.rep@gmail.com",
    ),
    direct(
        "Workspace with its own signature",
        lambda: gmail("ada@workspace.example", "workspace.example"),
        "ada@workspace.example",
        peer=_PEERS["gmail.com"],
    ),
    direct(
        "Workspace without its own signature",
        lambda: gmail(
            "ada@workspace.example", "workspace-example.20230601.gappssmtp.com"
        ),
        "ada@workspace.example",
        peer=_PEERS["gmail.com"],
    ),
    by_key(
        "Workspace, signed, without SPF",
        lambda: gmail("ada@nospf.example", "nospf.example"),
        mail_from="ada@nospf.example",
        peer=_PEERS["gmail.com"],
        held="S205",
    ),
    by_key(
        "Gmail that forwards by a filter",
        lambda: b"X-Forwarded-To: log@in.example\r\nX-Forwarded-For: ada.rep@gmail.com"
        b" log@in.example\r\n" + gmail("ada.rep@gmail.com", "gmail.com"),
        mail_from="ada.rep+caf_=log=in.example@gmail.com",
        peer=_PEERS["gmail.com"],
        held="S205",
    ),
    # ------------------------------------------------ Microsoft
    direct(
        "Microsoft 365 with its own signature",
        lambda: microsoft("ada@office.example", "office.example"),
        "ada@office.example",
        peer=_PEERS["outlook.com"],
    ),
    direct(
        "Microsoft 365 without its own signature",
        lambda: microsoft("ada@office.example", "office.onmicrosoft.com"),
        "ada@office.example",
        peer=_PEERS["outlook.com"],
    ),
    direct(
        "Microsoft 365 with its seal (ARC)",
        lambda: microsoft("ada@office.example", "office.example", sealed=True),
        "ada@office.example",
        peer=_PEERS["outlook.com"],
    ),
    by_key(
        "Microsoft 365, signed, through a filter that SPF does not know",
        lambda: microsoft("ada@office.example", "office.example"),
        mail_from="ada@office.example",
        held="S205",
    ),
    direct(
        "Outlook.com",
        lambda: microsoft("ada.rep@outlook.com", "outlook.com"),
        "ada.rep@outlook.com",
    ),
    direct(
        "Exchange on premises through a smarthost",
        lambda: microsoft("ada@onprem.example"),
        "ada@onprem.example",
        peer=SMARTHOST,
    ),
    direct(
        "Exchange on premises by itself",
        lambda: microsoft("ada@onprem.example"),
        "ada@onprem.example",
        peer="192.0.2.20",
    ),
    # ------------------------------------------------ others
    direct(
        "iCloud",
        lambda: signed(
            "icloud.com",
            usual("ada.rep@icloud.com", "X-Mailer: Apple Mail (2.3826.700.81)"),
            ICLOUD,
        ),
        "ada.rep@icloud.com",
    ),
    direct(
        "iCloud with an own domain",
        lambda: signed("own-cloud.example", usual("ada@own-cloud.example"), ICLOUD),
        "ada@own-cloud.example",
        peer=_PEERS["icloud.com"],
    ),
    direct(
        "Yahoo",
        lambda: signed(
            "yahoo.com",
            usual("ada.rep@yahoo.com", "X-Mailer: WebService/1.1.24652 YMailNovation"),
            YAHOO,
        ),
        "ada.rep@yahoo.com",
    ),
    direct(
        "Fastmail",
        lambda: signed("fastmail.com", usual("ada@fastmail.com"), FASTMAIL),
        "ada@fastmail.com",
    ),
    by_key(
        "Fastmail with an own domain, passed on as it is",
        lambda: signed("own-cloud.example", usual("ada@own-cloud.example"), FASTMAIL),
        mail_from="ada@own-cloud.example",
        proof="signed by own-cloud.example, aligned",
    ),
    direct(
        "Proton",
        lambda: signed("proton.me", usual("ada@proton.me"), PROTON),
        "ada@proton.me",
    ),
    direct(
        "Zoho",
        lambda: signed("zohomail.com", usual("ada@zohomail.com"), ZOHO),
        "ada@zohomail.com",
    ),
    Shape(
        "Amazon SES with an own MAIL FROM domain",
        lambda: _ses(FIRM_ADA),
        "0102019@bounce.firm.example",
        _PEERS["amazonses.com"],
        proof="sent by a server of bounce.firm.example (SPF)",
    ),
    Shape(
        "Amazon SES without one",
        lambda: _ses(FIRM_ADA),
        "0102019@amazonses.com",
        _PEERS["amazonses.com"],
        proof="signed by firm.example, aligned",
    ),
    Shape(
        "SendGrid",
        lambda: signed("firm.example", usual(FIRM_ADA), SENDGRID),
        "bounces+1-ab=log=in.example@em123.firm.example",
        _PEERS["sendgrid.net"],
        proof="sent by a server of em123.firm.example (SPF)",
    ),
    Shape(
        "Mailgun",
        lambda: signed("mg.firm.example", usual(FIRM_ADA), MAILGUN),
        "bounce+1.2-log=in.example@mg.firm.example",
        _PEERS["mailgun.org"],
        proof="sent by a server of mg.firm.example (SPF)",
    ),
    # ------------------------------------------------ on the way
    by_key(
        "mailing list that changes nothing",
        lambda: listed(signed("firm.example", usual(FIRM_ADA)), footer=False),
        mail_from="sales-bounces@list.example",
    ),
    by_key(
        "mailing list with a footer",
        lambda: listed(signed("firm.example", usual(FIRM_ADA)), footer=True),
        mail_from="sales-bounces@list.example",
        held="S207",
    ),
    by_key(
        "mailing list that takes signatures off",
        lambda: listed(usual(FIRM_ADA), footer=True),
        mail_from="sales-bounces@list.example",
        held="S215",
    ),
    by_key(
        "forwarder with SRS",
        of_firm(),
        mail_from="SRS0=Ab1c=XY=firm.example=ada@forwarder.example",
    ),
    by_key(
        "forwarder with SRS, of Gmail",
        lambda: gmail("ada.rep@gmail.com", "gmail.com"),
        mail_from="SRS0=Ab1c=XY=gmail.com=ada.rep@forwarder.example",
        held="S205",
    ),
    by_key("forwarder without SRS", of_firm(), mail_from=FIRM_ADA),
    by_key(
        "forwarder that seals (ARC) and changes the text",
        lambda: b"ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=forwarder.example; b=A\r\n"
        + signed("firm.example", usual(FIRM_ADA))
        + b"Scanned.\r\n",
        held="S207",
    ),
    direct(
        "redirect of a customer's mail",
        lambda: b"Resent-From: Ada Rep <ada@firm.example>\r\n"
        b"Resent-To: log@in.example\r\nResent-Message-ID: <r1@firm.example>\r\n"
        + usual("ben@customer.example", sender="Ben <ben@customer.example>"),
        FIRM_ADA,
    ),
    direct(
        "redirect of her own mail",
        lambda: b"Resent-From: ada@firm.example\r\nResent-To: log@in.example\r\n"
        + signed("firm.example", usual(FIRM_ADA)),
        FIRM_ADA,
    ),
    by_key(
        "redirect, signed again",
        lambda: signed(
            "firm.example",
            b"Resent-From: ada@firm.example\r\nResent-To: log@in.example\r\n"
            + usual("ben@customer.example", sender="Ben <ben@customer.example>"),
        ),
        proof="signed by firm.example, aligned with the Resent-From",
    ),
    # ------------------------------------------------ what people write
    by_key("blind copy without a Bcc field", of_firm()),
    by_key("blind copy with its Bcc field", of_firm("Bcc: log@in.example")),
    by_key(
        "all recipients hidden", of_firm(to="To: undisclosed-recipients:;")
    ),
    by_key("no To at all", of_firm(to=None)),
    by_key("no Message-ID", of_firm(ident=None)),
    by_key("no subject", of_firm(subject=None)),
    by_key("no text", of_firm(body=b"")),
    by_key("Reply-To elsewhere", of_firm("Reply-To: offers@other.example")),
    by_key("sent by her assistant", of_firm("Sender: Bo Desk <bo@firm.example>")),
    by_key("answer in a long thread", of_firm(
        "In-Reply-To: <a@customer.example>",
        "References: " + "\r\n\t".join(f"<{n}.a@customer.example>" for n in range(40)),
    )),
    by_key("220 recipients, folded", of_firm(
        to="To: " + ",\r\n ".join(f"P {n} <p{n}@customer.example>" for n in range(220)),
    )),
    by_key("name of another language", of_firm(
        sender="=?utf-8?b?w4Fkw6EgUsOpcA==?= <ada@firm.example>",
    )),
    by_key("name with a comma", of_firm(sender='"Rep, Ada" <ada@firm.example>')),
    by_key("name as a comment", of_firm(sender="ada@firm.example (Ada Rep)")),
    by_key("address as the name", of_firm(
        sender='"ada@firm.example" <ada@firm.example>')),
    by_key("bare address", of_firm(sender="ada@firm.example")),
    by_key("address in large letters", of_firm(sender="Ada Rep <Ada@Firm.Example>")),
    by_key("UTF-8 in name, subject and text", lambda: signed(
        "firm.example",
        usual(FIRM_ADA, sender="Ádá Rép <ada@firm.example>",
              subject="Subject: Angebot für Öl",
              body="Grüße\r\n".encode()),
    ), utf8=True),
    direct("UTF-8 in the address", lambda: usual("adá@firm.example"),
           "adá@firm.example", utf8=True),
    direct("internationalised domain as people write it",
           lambda: signed("xn--bcher-kva.example", usual("ada@bücher.example")),
           "ada@bücher.example", utf8=True,
           proof="sent by a server of xn--bcher-kva.example (SPF)"),
    by_key("internationalised domain as DNS has it",
           lambda: signed("xn--bcher-kva.example", usual("ada@xn--bcher-kva.example")),
           proof="signed by xn--bcher-kva.example, aligned"),
    by_key("calendar invitation", of_firm(
        kind="Content-Type: text/calendar; charset=utf-8; method=REQUEST", body=_ICS,
    )),
    by_key("signed with S/MIME", of_firm(
        kind="Content-Type: multipart/signed;\r\n"
        ' protocol="application/pkcs7-signature";'
        ' micalg=sha-256; boundary="sig"',
        body=b"--sig\r\nContent-Type: text/plain\r\n\r\nHello\r\n--sig\r\n"
        b"Content-Type: application/pkcs7-signature\r\n\r\nMIIB\r\n--sig--\r\n",
    )),
    by_key("encrypted with PGP", of_firm(
        kind='Content-Type: multipart/encrypted; boundary="pgp";\r\n'
        ' protocol="application/pgp-encrypted"',
        body=b"--pgp\r\nContent-Type: application/pgp-encrypted\r\n\r\n"
        b"Version: 1\r\n--pgp--\r\n",
    )),
    by_key("eight bits", of_firm("Content-Transfer-Encoding: 8bit",
                                 body=b"Gr\xfc\xdfe\r\n.\r\n..\r\n")),
    by_key("ten megabytes", of_firm(body=_BIG)),
    # ------------------------------------------------ how people sign
    by_key("Ed25519 and RSA", _twice),
    by_key("simple form of header and text", lambda: signed(
        "firm.example", usual(FIRM_ADA), canonicalize="simple/simple")),
    by_key("relaxed header, simple text", lambda: signed(
        "firm.example", usual(FIRM_ADA), canonicalize="relaxed/simple")),
    by_key("all fields signed once more than they stand", lambda: signed(
        "firm.example", usual(FIRM_ADA), [*RSPAMD, "subject", "subject"])),
    by_key("a second signature that has expired", _one_expired),
    by_key("clock half an hour ahead",
           lambda: FIRM.by_hand(usual(FIRM_ADA), age_s=-1800)),
    by_key("queued for two days", lambda: FIRM.by_hand(usual(FIRM_ADA), age_s=172_800)),
    by_key("key of 1024 bits", lambda: SHORT.sign(usual(FIRM_ADA))),
    by_key("identity below the domain", lambda: signed(
        "firm.example", usual(FIRM_ADA), identity="ada@sales.firm.example")),
    by_key("address below the signing domain", lambda: signed(
        "firm.example", usual("ada@sales.firm.example"))),
    by_key("gateway behind the signer", _outgoing_gateway),
    direct("SPF alone, without DMARC", lambda: usual("ada@plain.example"),
           "ada@plain.example"),
    direct("SPF by macros", lambda: usual("ada@macro.example"), "ada@macro.example"),
    direct("IPv6", lambda: usual("ada@six.example"), "ada@six.example",
           peer="2001:db8:25::25"),
    direct("bounce address with a tag", lambda: usual(FIRM_ADA), FIRM_ADA,
           mail_from="ada+log=in.example@firm.example"),
    direct("quoted local part in MAIL FROM", lambda: usual(FIRM_ADA), FIRM_ADA,
           mail_from='"ada rep"@firm.example'),
)  # fmt: skip


def slow_dns() -> Shape:
    """Return a mail of a domain whose name servers do not answer at first."""
    shape = direct("DNS that comes back", lambda: usual("ada@late.example"), "")
    return replace(
        shape,
        mail_from="ada@late.example",
        proof="sent by a server of late.example (SPF)",
    )
