# ruff: noqa: E501, RUF001 - a table: a case is a line, in whatever script it comes.
"""Mails that are hard to carry: each must arrive as it was sent, or be refused by rule.

`WIRE` is one table: a name, the bytes, and the enhanced code of the refusal where RFC
5321 or a documented limit asks for one. `CORPUS` is this table and the mails of
`tests.fakes.torture` that are badly made inside.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from tests.fakes.torture import CASES, deep, flat, mail, multipart, part

HEAD = b"From: ada@corp.example\r\nTo: zoe@customer.example\r\nSubject: S\r\n"
BODY = HEAD + b"\r\n"


@dataclass(frozen=True)
class WireMail:
    """A mail as a client has it, before its dots are stuffed.

    `refused` is the beginning of the reply where the mail may not be taken.
    """

    name: str
    raw: bytes = field(repr=False)
    refused: str = ""


def stuffed(raw: bytes) -> bytes:
    """Return the bytes that a client sends behind the 354 (RFC 5321 section 4.5.2).

    A mail without a last line end gets one: the end cannot be said without it.
    """
    data = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]
    return data + (b".\r\n" if raw.endswith(b"\r\n") or not raw else b"\r\n.\r\n")


def arrived(raw: bytes) -> bytes:
    """Return what must be stored of a mail that was sent `stuffed`."""
    return raw if raw.endswith(b"\r\n") or not raw else raw + b"\r\n"


DOTS = [
    WireMail("a line of one dot", BODY + b"a\r\n.\r\nb\r\n"),
    WireMail("a last line of one dot", BODY + b"a\r\n.\r\n"),
    WireMail("a first line of one dot", b".\r\n" + BODY),
    WireMail("nothing but a dot", b".\r\n"),
    WireMail("a dot without a line end", b"."),
    WireMail("two dots", BODY + b"..\r\n"),
    WireMail("lines of one to nine dots", BODY + b"".join(b"." * n + b"\r\n" for n in range(1, 10))),
    WireMail("10,000 lines of one dot", BODY + b".\r\n" * 10_000),
    WireMail("300,000 dots in a line", BODY + b"." * 300_000 + b"\r\n"),
    WireMail("a dot before text", BODY + b".text\r\n..text\r\n"),
    WireMail("a dot in the header", b".X: y\r\n" + BODY),
    WireMail("a header line of one dot", HEAD + b".\r\nX: y\r\n\r\nb\r\n"),
    WireMail("a dot behind a blank", BODY + b" .\r\n\t.\r\n"),
    WireMail("a dot before a blank", BODY + b". \r\n.\t\r\n"),
    WireMail("QUIT behind a dot", BODY + b".\r\nQUIT\r\nMAIL FROM:<a@b>\r\n"),
    WireMail("a whole dialogue as text", BODY + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<log-ada@in.example>\r\nDATA\r\nx\r\n.\r\n"),
    *(WireMail(f"a dot at byte {size}", BODY + b"x" * size + b"\r\n.\r\n.y\r\n") for size in (1020, 4092, 8190, 16382, 65533, 131070, 262141)),
]  # fmt: skip

SIZES = [
    *(WireMail(f"a line of {size} bytes", BODY + b"x" * size + b"\r\n") for size in (76, 77, 78, 510, 512, 996, 997, 998, 999, 1000, 1001, 2048, 4096, 8192, 65_535, 65_536)),
    WireMail("a line of 2 MB", BODY + b"x" * 2_000_000 + b"\r\n"),
    WireMail("a line of 2 MB without an end", BODY + b"x" * 2_000_000),
    WireMail("a header field of 200 kB", b"X-Long: " + b"x" * 200_000 + b"\r\n" + BODY),
    WireMail("a header field of 260 kB", b"X-Long: " + b"x" * 260_000 + b"\r\n" + BODY),
    WireMail("a header field of 300 kB", b"X-Long: " + b"x" * 300_000 + b"\r\n" + BODY, refused="552 5.3.4"),
    WireMail("2 MB of header", b"X: " + b"y" * 2_000_000 + b"\r\n" + BODY, refused="552 5.3.4"),
    WireMail("2,000 header fields", b"X: y\r\n" * 1997 + BODY),
    WireMail("2,001 header fields", b"X: y\r\n" * 1998 + BODY, refused="552 5.3.4"),
    WireMail("49 Received lines", b"Received: from a by b\r\n" * 49 + BODY),
    WireMail("50 Received lines", b"Received: from a by b\r\n" * 50 + BODY, refused="554 5.4.6"),
    WireMail("50 Received lines in the body", BODY + b"Received: from a by b\r\n" * 50),
    *(WireMail(f"a mail of {size} bytes", BODY + b"z" * (size - len(BODY) - 2) + b"\r\n") for size in (1024, 65_536, 262_143, 262_144, 262_145, 400_000, 1_048_576, 5_000_000)),
    WireMail("1,000 empty lines", BODY + b"\r\n" * 1000),
    WireMail("100,000 lines", BODY + b"line\r\n" * 100_000),
    WireMail("as large as allowed", BODY + b"z" * (8_000_000 - len(BODY) - 2) + b"\r\n"),
    WireMail("one byte too large", BODY + b"z" * (8_000_001 - len(BODY) - 2) + b"\r\n", refused="552 5.3.4"),
]  # fmt: skip

LINE_ENDS = [
    WireMail("no final newline", BODY + b"bye"),
    WireMail("a last CR", BODY + b"bye\r"),
    WireMail("a last LF", BODY + b"bye\n"),
    WireMail("a last CR LF CR", BODY + b"bye\r\n\r"),
    WireMail("bare LF in the body", BODY + b"a\nb\n\nc\r\n"),
    WireMail("bare LF everywhere", BODY.replace(b"\r\n", b"\n") + b"a\nb\n"),
    WireMail("bare CR in the body", BODY + b"a\rb\r\rc\r\n"),
    WireMail("bare CR everywhere", BODY.replace(b"\r\n", b"\r") + b"a\rb\r"),
    WireMail("LF CR", BODY + b"a\n\rb\r\n"),
    WireMail("CR CR LF", BODY + b"a\r\r\nb\r\r\n"),
    WireMail("CR NUL LF", BODY + b"a\r\0\nb\r\n"),
    WireMail("a dot line between bare LF and text", BODY + b"a\n.b\r\n"),
    WireMail("two dots between bare LF", BODY + b"a\n..\nb\r\n"),
    *(
        WireMail(f"a lone dot: {one!r}, {two!r}", BODY + b"a" + one + b"." + two + b"b\r\n", refused="554 5.5.2")
        for one in (b"\n", b"\r")
        for two in (b"\n", b"\r", b"\r\n")
    ),
    *(WireMail(f"{name} in text", BODY + b"a" + byte + b"b" + byte + b".\r\n") for name, byte in
      (("NUL", b"\0"), ("BEL", b"\a"), ("backspace", b"\b"), ("vertical tab", b"\v"), ("form feed", b"\f"), ("substitute", b"\x1a"), ("escape", b"\x1b[2J"), ("delete", b"\x7f"), ("next line", b"\x85"), ("line separator", b"\xe2\x80\xa8"))),
    WireMail("vertical tab and a dot", BODY + b"a\v.\vb\r\n"),
]  # fmt: skip

BYTES = [
    WireMail("nothing", b""),
    WireMail("one line end", b"\r\n"),
    WireMail("one byte", b"x"),
    WireMail("every byte", BODY + bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"),
    WireMail("every byte, 500 times", BODY + bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") * 500 + b"\r\n"),
    WireMail("NUL only", bytes(5000)),
    WireMail("NUL in the header", b"X: a\0b\r\n\0: c\r\n" + BODY),
    WireMail("1 MB of NUL", BODY + bytes(1_000_000)),
    WireMail("8-bit header", "From: Jürgen <jürgen@bücher.example>\r\nSubject: Grüße\r\n\r\nß\r\n".encode()),
    WireMail("8-bit header, latin-1", b"From: J\xfcrgen <j@b.example>\r\nSubject: Gr\xfc\xdfe\r\n\r\n\xdf\r\n"),
    WireMail("8-bit header, Shift JIS", "Subject: 東京\r\n\r\n東京\r\n".encode("shift_jis")),
    WireMail("8-bit header, KOI8-R", "Subject: Привет\r\n\r\nПривет\r\n".encode("koi8-r")),
    WireMail("UTF-16 body", BODY + "text\r\n".encode("utf-16")),
    WireMail("ISO-2022-JP body", BODY + "東京\r\n".encode("iso-2022-jp")),
    WireMail("invalid UTF-8", BODY + b"\xc3\x28\xff\xfe\x80\r\n"),
    WireMail("a UTF-8 mark first", b"\xef\xbb\xbf" + BODY),
    WireMail("binary, gzip-like", BODY + b"\x1f\x8b\x08\0" + bytes(range(128, 256)) * 30 + b"\r\n"),
    WireMail("yEnc", BODY + b"=ybegin line=128 size=3 name=x\r\n\x92\x93=}\r\n=yend size=3\r\n"),
    WireMail("uuencode", BODY + b"begin 644 x\r\n#0V%T\r\n`\r\nend\r\n"),
]  # fmt: skip

LEFTOVERS = [
    WireMail("mbox From_ line", b"From ada@corp.example Mon Jun  2 10:00:00 2025\r\n" + BODY + b"x\r\n"),
    WireMail("quoted mbox From_ line", b">From ada@corp.example Mon Jun  2 10:00:00 2025\r\n" + BODY),
    WireMail("From in the body", BODY + b"From here to there.\r\n>From there on.\r\n"),
    WireMail("two mails of an mbox", (b"From a@b Mon Jun  2 10:00:00 2025\r\n" + BODY + b"x\r\n\r\n") * 2),
    WireMail("mbox Status lines", b"Status: RO\r\nX-Status: A\r\nX-UID: 5\r\nContent-Length: 99999\r\n" + BODY),
    WireMail("MMDF marks", b"\x01\x01\x01\x01\r\n" + BODY + b"x\r\n\x01\x01\x01\x01\r\n"),
    WireMail("Maildir leftovers", b"Return-Path: <a@b.example>\r\nDelivered-To: c@d.example\r\n" + BODY),
    WireMail("Outlook winmail.dat", multipart(part(b"application/ms-tnef; name=winmail.dat", b"\x78\x9f\x3e\x22" + bytes(range(200)).replace(b"\r", b"").replace(b"\n", b"")))),
    WireMail("no header", b"just text\r\n"),
    WireMail("no body", HEAD),
    WireMail("folded first line", b" folded\r\n" + BODY),
    WireMail("white space before the empty line", HEAD + b" \t\r\n\r\nx\r\n"),
    WireMail("trailing blanks", BODY + b"a  \r\nb\t\r\n"),
    WireMail("form letter of 1,000 addresses", b"To: " + b",\r\n ".join(b"N%d <n%d@x.example>" % (n, n) for n in range(1000)) + b"\r\n" + BODY),
    WireMail("a reply of Salesforce's own", b"Message-ID: <x@sfdc.net>\r\n" + BODY + b"ref:_00D000._500000:ref\r\n"),
    WireMail("EICAR", BODY + rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*" + b"\r\n"),
    WireMail("nested multiparts", deep(60)),
    WireMail("1,500 parts", flat(1500)),
    WireMail("base64 of 3 MB", multipart(part(b"application/pdf; name=x.pdf", base64.encodebytes(bytes(2_200_000)).replace(b"\n", b"\r\n"), b"Content-Transfer-Encoding: base64"))),
    WireMail("base64 in one line", multipart(part(b"application/pdf", base64.b64encode(bytes(300_000)), b"Content-Transfer-Encoding: base64"))),
    WireMail("a signed mail with trailing blanks", multipart(part(b"text/plain", b"-- \r\nAda  "), part(b"application/pgp-signature", b"-----BEGIN PGP SIGNATURE-----"), kind=b"signed")),
    WireMail("an empty multipart", mail(b"Content-Type: multipart/mixed; boundary=x", body=b"--x--\r\n")),
]  # fmt: skip

WIRE = [*DOTS, *SIZES, *LINE_ENDS, *BYTES, *LEFTOVERS]

HEADER_LIMIT = 262_144
"""The default of `smtp.max_header_bytes`."""


def _header_size(raw: bytes) -> int:
    """Return where the first empty line is, or the size of the mail."""
    lines = raw.split(b"\n")
    size = 0
    for line in lines:
        if line in {b"", b"\r"}:
            return size
        size += len(line) + 1
    return len(raw)


CORPUS = [
    *WIRE,
    *(
        WireMail(
            f"torture: {case.name}",
            case.raw,
            "552 5.3.4" if _header_size(case.raw) > HEADER_LIMIT else "",
        )
        for case in CASES
    ),
]
