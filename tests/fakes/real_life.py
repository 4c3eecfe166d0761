# ruff: noqa: E501, RUF001 - a table: a case is a line, in whatever script it comes.
"""Mails as real programs make them, each of a kind that relays got wrong.

`KINDS` is one table: a kind, its members, and what is right (see `Member`). The unit
tests read them, the tests against the sandbox send them, the fuzzer begins with them.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class Member:
    """A mail and what is right; None means that nothing is said about it.

    `files` are names, with the content where it matters; `shown` and `hidden` are
    pieces that the text has, and has not.
    """

    name: str
    raw: bytes = field(repr=False)
    to: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    from_name: str | None = None
    subject: str | None = None
    date: datetime | None = None
    text: str | None = None
    shown: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    html: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes | None], ...] | None = None
    inline: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()


MARA = "mara@acme.example"
NOON = datetime(2026, 11, 27, 6, 30, tzinfo=UTC)


def head(
    *lines: str,
    to: str | bytes = f"Mara Voss <{MARA}>",
    sender: str = "Ada Berger <ada@seller.example>",
    subject: str | bytes = "Offer 4711",
    date: str = "Mon, 30 Nov 2026 04:00:00 +0000",
    ident: str = "x@mail.seller.example",
) -> bytes:
    """Return the header of a mail of Ada's, without the empty line."""
    fields: list[tuple[str, str | bytes]] = [
        ("From", sender), ("To", to), ("Subject", subject), ("Date", date),
        ("Message-ID", f"<{ident}>"), ("MIME-Version", "1.0"),
    ]  # fmt: skip
    out = b""
    for name, value in fields:
        raw = value.encode() if isinstance(value, str) else value
        out += name.encode() + b": " + raw + b"\r\n"
    return out + b"".join(line.encode() + b"\r\n" for line in lines)


def mail(body: bytes | str, *lines: str, **fields: str | bytes) -> bytes:
    """Return a mail of Ada's with this body and these further header lines."""
    raw = body.encode() if isinstance(body, str) else body
    return head(*lines, **fields) + b"\r\n" + raw  # type: ignore[arg-type]


def text(body: str, charset: str = "utf-8", **fields: str | bytes) -> bytes:
    """Return a mail with a plain text."""
    return mail(body, f"Content-Type: text/plain; charset={charset}", **fields)


def part(body: bytes | str, *lines: str) -> bytes:
    """Return a part with its header lines."""
    raw = body.encode() if isinstance(body, str) else body
    return b"".join(line.encode() + b"\r\n" for line in lines) + b"\r\n" + raw


def multi(kind: str, *parts: bytes, boundary: str = "B") -> tuple[str, bytes]:
    """Return the Content-Type line of a multipart, and its body."""
    line = f"--{boundary}".encode()
    body = b"".join(line + b"\r\n" + one + b"\r\n" for one in parts) + line + b"--\r\n"
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"', body


def mixed(*parts: bytes, kind: str = "mixed") -> bytes:
    """Return a mail of these parts."""
    line, body = multi(kind, *parts)
    return mail(body, line)


def nested(kind: str, *parts: bytes, boundary: str = "N") -> bytes:
    """Return a multipart as a part."""
    line, body = multi(kind, *parts, boundary=boundary)
    return part(body, line)


def b64(data: bytes) -> str:
    """Return base64 in lines."""
    return base64.encodebytes(data).decode().replace("\n", "\r\n")


PLAIN = "Content-Type: text/plain; charset=utf-8"
HTML = "Content-Type: text/html; charset=utf-8"
B64 = "Content-Transfer-Encoding: base64"
QP = "Content-Transfer-Encoding: quoted-printable"
LETTER = part("Hello Mara", PLAIN)
PDF = b"%PDF-1.4\n" + bytes(range(256)) * 8
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 120


# ---------------------------------------------------------------- formats of others


def tlv(tag: int, *values: bytes, open_end: bool = False) -> bytes:
    """Return a value of ASN.1, of known length or with an end mark."""
    body = b"".join(values)
    if open_end:
        return bytes([tag, 0x80]) + body + b"\0\0"
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def oid(dotted: str) -> bytes:
    """Return an object identifier."""
    first, second, *others = map(int, dotted.split("."))
    out = bytes([first * 40 + second])
    for number in others:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        out += bytes(reversed(digits))
    return tlv(0x06, out)


def signed(inner: bytes, *, chunks: int = 0) -> bytes:
    """Return what an opaque signature is made of, around an entity.

    With `chunks`, in octet strings of that size and without lengths, as programs that
    sign while they read write it.
    """
    open_end = bool(chunks)
    if chunks:
        octets = tlv(
            0x24,
            *(tlv(0x04, inner[i : i + chunks]) for i in range(0, len(inner), chunks)),
            open_end=True,
        )
    else:
        octets = tlv(0x04, inner)
    content = tlv(
        0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, octets, open_end=open_end),
        open_end=open_end,
    )  # fmt: skip
    data = tlv(
        0x30, tlv(0x02, b"\1"),
        tlv(0x31, tlv(0x30, oid("2.16.840.1.101.3.4.2.1"), tlv(0x05))),
        content, tlv(0x31, b""), open_end=open_end,
    )  # fmt: skip
    return tlv(
        0x30, oid("1.2.840.113549.1.7.2"), tlv(0xA0, data, open_end=open_end),
        open_end=open_end,
    )  # fmt: skip


def compressed(inner: bytes) -> bytes:
    """Return what S/MIME compresses."""
    content = tlv(
        0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, tlv(0x04, zlib.compress(inner)))
    )
    method = tlv(0x30, oid("1.2.840.113549.1.9.16.3.8"))
    data = tlv(0x30, tlv(0x02, b"\0"), method, content)
    return tlv(0x30, oid("1.2.840.113549.1.9.16.1.9"), tlv(0xA0, data))


def tnef(*attributes: tuple[int, int, bytes]) -> bytes:
    """Return a winmail.dat of attributes (level, id, value)."""
    out = struct.pack("<IH", 0x223E9F78, 1)
    for level, ident, value in attributes:
        out += struct.pack("<BII", level, ident, len(value)) + value
        out += struct.pack("<H", sum(value) & 0xFFFF)
    return out


def properties(*values: tuple[int, int, bytes | int]) -> bytes:
    """Return MAPI properties (type, id, value)."""
    out = struct.pack("<I", len(values))
    for kind, ident, value in values:
        out += struct.pack("<HH", kind, ident)
        if isinstance(value, int):
            out += struct.pack("<I", value)
        else:
            out += struct.pack("<II", 1, len(value)) + value + bytes(-len(value) % 4)
    return out


RTF = (
    rb"{\rtf1\ansi\ansicpg1252\fromtext{\fonttbl{\f0 Arial;}}{\colortbl;\red0;}"
    rb"\pard Hello \b Mara\b0 ,\par the price is 12\'80 \u8211?\tab now.\par {\*\gen x}}"
)


def packed_rtf(rtf: bytes = RTF) -> bytes:
    """Return RTF as MAPI packs it, without any reference back."""
    out = b""
    for at in range(0, len(rtf), 8):
        out += b"\0" + rtf[at : at + 8]
    return struct.pack("<II4sI", len(out) + 12, len(rtf), b"LZFu", 0) + out


TNEF_BODY, TNEF_PAGE, TNEF_PROPS = 0x2800C, 0x69007, 0x69003
TNEF_NEW, TNEF_TITLE, TNEF_DATA, TNEF_ABOUT = 0x69002, 0x18010, 0x6800F, 0x69005
TNEF_FILE = (
    (2, TNEF_NEW, bytes(14)),
    (2, TNEF_TITLE, b"OFFER~1.PDF\0"),
    (2, TNEF_DATA, PDF),
    (2, TNEF_ABOUT, properties(
        (0x03, 0x0E20, 7), (0x1F, 0x3707, "Angebot für Mara.pdf\0".encode("utf-16-le")),
        (0x1E, 0x370E, b"application/pdf\0"), (0x1E, 0x3712, b"f1@x\0"))),
)  # fmt: skip


def uu(data: bytes, name: str = "prices.csv", mode: str = "644") -> str:
    """Return a uuencoded file."""
    lines = [
        binascii.b2a_uu(data[i : i + 45]).decode().rstrip("\n")
        for i in range(0, len(data), 45)
    ]
    return "\r\n".join([f"begin {mode} {name}", *lines, "`", "end", ""])


# ---------------------------------------------------------------- the table

_CSV = b"item;price\n1;10\n2;20\n" * 6
_THAI = "สวัสดีครับ"
_JIS = b"\x1b$B-!\x1b(B \x1b$BG<4|\x1b(B"
_ENTITY = part("Hello Mara, signed.", PLAIN)
_ENTITY_FILE = part(
    *reversed(
        multi(
            "mixed",
            LETTER,
            part(b64(PDF), "Content-Type: application/pdf; name=o.pdf", B64),
            boundary="S",
        )
    )
)
_LOGO = "data:image/png;base64," + base64.b64encode(PNG * 6).decode()
_WINMAIL = "Content-Type: application/ms-tnef; name=winmail.dat"
_P7M = "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"
_LIST = multi(
    "mixed", LETTER, part(b64(PDF), 'Content-Type: application/pdf; name="o.pdf"', B64)
)

# fmt: off
KINDS: dict[str, list[Member]] = {
    "byte order mark": [
        Member("first", b"\xef\xbb\xbf" + text("Hello"), to=(MARA,), text="Hello", repairs=("byte_order_mark",)),
        Member("behind Received", b"Received: from a by b; Mon, 30 Nov 2026 04:00:00 +0000\r\n\xef\xbb\xbf" + text("Hello"), to=(MARA,), text="Hello"),
        Member("twice", b"\xef\xbb\xbf\xef\xbb\xbf" + text("Hello"), to=(MARA,), text="Hello"),
        Member("in a part", mixed(b"\xef\xbb\xbf" + LETTER), text="Hello Mara"),
    ],
    "file beside a letter": [
        Member("inline HTML", mixed(LETTER, part("<h1>FORM</h1>", 'Content-Type: text/html; name="form.html"', 'Content-Disposition: inline; filename="form.html"')), text="Hello Mara", hidden=("FORM",), files=(("form.html", b"<h1>FORM</h1>"),)),
        Member("no disposition", mixed(LETTER, part(b64(b"<h1>LIST</h1>"), 'Content-Type: text/html; name="list.html"', B64), part(b64(b"Terms"), 'Content-Type: text/plain; name="terms.txt"', B64)), text="Hello Mara", files=(("list.html", b"<h1>LIST</h1>"), ("terms.txt", b"Terms"))),
        Member("text file beside HTML", mixed(part("<p>Hello Mara</p>", HTML), part("log", 'Content-Type: text/plain; name="x.log"')), text="Hello Mara", files=(("x.log", b"log"),)),
        Member("file before the letter", mixed(part("log", 'Content-Type: text/plain; name="x.log"', "Content-Disposition: inline"), LETTER), text="Hello Mara", files=(("x.log", b"log"),)),
        Member("HTML with a name, alone", mail("<p>Hello Mara</p>", 'Content-Type: text/html; charset=utf-8; name="body.html"'), text="Hello Mara", files=(), html=("Hello Mara",)),
        Member("alternatives with names", mixed(part("Hello Mara", 'Content-Type: text/plain; name="a.txt"'), part("<p>Hello Mara</p>", 'Content-Type: text/html; name="a.html"'), kind="alternative"), text="Hello Mara", files=(), html=("Hello Mara",)),
        Member("two with names", mixed(part("Hello", 'Content-Type: text/plain; name="a.txt"'), part("more", 'Content-Type: text/plain; name="b.txt"')), text="Hello", files=(("b.txt", b"more"),)),
        Member("XHTML", mail("<html><body><p>Hello Mara</p></body></html>", "Content-Type: application/xhtml+xml; charset=utf-8"), text="Hello Mara", files=()),
        Member("markdown alone", mail("# Hello", "Content-Type: text/markdown"), text="# Hello", files=()),
        Member("markdown beside a letter", mixed(LETTER, part("# Hello", "Content-Type: text/markdown; name=readme.md")), text="Hello Mara", files=(("readme.md", b"# Hello"),)),
    ],
    "type without subtype": [
        Member("base64", mixed(LETTER, part(b64(PDF), 'Content-Type: base64; name="contract.pdf"', B64)), text="Hello Mara", files=(("contract.pdf", PDF),)),
        Member("application", mixed(LETTER, part(b64(PDF), 'Content-Type: application; name="c.pdf"', B64)), text="Hello Mara", files=(("c.pdf", PDF),)),
        Member("name alone", mixed(LETTER, part(b64(PDF), 'Content-Type: name="c.pdf"', B64)), text="Hello Mara", files=(("c.pdf", PDF),)),
        Member("no name", mixed(LETTER, part(b64(PDF), "Content-Type: pdf", B64)), text="Hello Mara", files=(("", PDF),)),
        Member("text", mail("Hello Mara", "Content-Type: text; charset=utf-8"), text="Hello Mara", files=()),
        Member("html", mail("<p>Hello Mara</p>", "Content-Type: html"), text="Hello Mara", files=()),
        Member("multipart", mail(_LIST[1], 'Content-Type: multipart; boundary="B"'), text="Hello Mara", files=(("o.pdf", PDF),)),
        Member("nonsense", mail("Hello Mara", "Content-Type: unknown"), text="Hello Mara", files=()),
        Member("empty", mail("Hello Mara", "Content-Type:"), text="Hello Mara", files=()),
    ],
    "data images": [
        Member("above the offer", mail(f'<p><img alt="logo" src="{_LOGO}"></p><p>Hello Mara, 12,000.</p>', HTML), text="Hello Mara, 12,000.", html=("12,000", 'alt="logo"'), files=(("image-1.png", PNG * 6),), inline=("image-1.png",), repairs=("data_images_taken_out",)),
        Member("in base64", mail(b64(f"<img src='{_LOGO}'>Hello".encode()), HTML, B64), text="Hello", html=("Hello",), files=(("image-1.png", PNG * 6),)),
        Member("in a style", mail(f'<div style="background:url({_LOGO})">Hello</div>', HTML), text="Hello", html=("Hello",), files=(("image-1.png", PNG * 6),)),
        Member("in a style, with entities", mail(f'<div style="background:url(&quot;{_LOGO}&quot;)">Hello</div>', HTML), text="Hello", html=("Hello",), files=(("image-1.png", PNG * 6),)),
        Member("no quotes", mail(f"<img src={_LOGO} alt=logo>Hello", HTML), text="Hello", html=("alt=logo",), files=(("image-1.png", PNG * 6),)),
        Member("percent signs", mail('<img src="data:image/svg+xml,%3Csvg%3E' + "x" * 200 + '">Hello', HTML), text="Hello", files=(("image-1.svg", b"<svg>" + b"x" * 200),)),
        Member("escaped base64", mail('<img src="data:image/gif;base64,' + "%2B" * 4 + "A" * 400 + '">Hello', HTML), text="Hello", files=(("image-1.gif", None),)),
        Member("a dot and a font", mail('<img src="data:image/gif;base64,R0lGODlh">Hello<style>@font-face{src:url(data:font/woff2;base64,AAAA)}</style>', HTML), text="Hello", files=(), html=("Hello",)),
        Member("in plain text", mail(f"[{_LOGO}] Hello", PLAIN), text="[] Hello", files=()),
        Member("never closed", mail(f'Hello<img src="{_LOGO}', HTML), text="Hello", files=(("image-1.png", PNG * 6),)),
        Member("capitals", mail(f'<IMG SRC="{_LOGO.replace("data:", "DATA:")}">Hello', HTML), text="Hello", files=(("image-1.png", PNG * 6),)),
        Member("only written about", mail("<p>A data: address is data:, or so.</p>", HTML), text="A data: address is data:, or so.", files=()),
    ],
    "base64 in blocks": [
        Member("text", mail(b64(b"Hello,\r\n").rstrip() + "\r\n" + b64(b"until Friday. " * 9), PLAIN, B64), text="Hello,\n" + "until Friday. " * 9, repairs=("base64_blocks",)),
        Member("one line", mail("SGVsbG8=IE1hcmE=", PLAIN, B64), text="Hello Mara", repairs=("base64_blocks",)),
        Member("file", mixed(LETTER, part(b64(b"item;1\n") + b64(b"2;20\n3;30\n"), "Content-Type: text/csv; name=p.csv", B64)), files=(("p.csv", b"item;1\n2;20\n3;30\n"),), repairs=("base64_blocks",)),
        Member("empty line between", mail("SGVsbG8g\r\n\r\nTWFyYQ==\r\n", PLAIN, B64), text="Hello Mara"),
    ],
    "base64 with plain text": [
        Member("footer", mail("R3LDvMOfIEdvdHQ\r\n\r\n--\r\nThis message was scanned.\r\n", PLAIN, B64), text="Grüß Gott", repairs=("base64_with_text",)),
        Member("footer behind padding", mail(b64("Grüße".encode()) + "_____\r\nMailing list\r\nhttp://x.example\r\n", PLAIN, B64), text="Grüße", repairs=("base64_with_text",)),
        Member("footer of one word", mail(b64("Grüße!".encode() * 9 + b"x") + "Confidential\r\n", PLAIN, B64), text="Grüße!" * 9 + "x", repairs=("base64_with_text",)),
        Member("banner", mail("[EXTERNAL] Be careful.\r\n" + b64("Grüße".encode()), PLAIN, B64), text="Grüße", repairs=("base64_with_text",)),
        Member("no base64 at all", mail("Hello Mara, nothing is encoded here.\r\n", PLAIN, B64), text="Hello Mara, nothing is encoded here.\n", repairs=("base64_missing",)),
        Member("words, then more", mail("Grüße\r\nand the rest of it\r\n", PLAIN, B64), shown=("and the rest",), repairs=("base64_missing",)),
        Member("blanks between groups", mail("SGVs bG8g TWFy YQ==", PLAIN, B64), text="Hello Mara"),
        Member("damage", mail(b64("Grüße ".encode() * 30).replace("\r\n", "!\r\n"), PLAIN, B64), text="Grüße " * 30, repairs=("base64_damaged",)),
    ],
    "head and quote": [
        Member("never closed", mail('<html><head><meta name="x"><body><p>Yes.</p><blockquote><html><head><title>t</title></head><body><p>Old?</p></body></html></blockquote></body></html>', HTML), text="Yes.\n\nOld?"),
        Member("no body tag", mail("<html><head><title>t</title><style>p{}</style><p>Yes.</p><div><head></head>Old?</div>", HTML), text="Yes.\n\nOld?", hidden=("p{}",)),
        Member("head twice", mail("<head></head><body>Yes.</body><head><style>b{}</style></head><body>Old?</body>", HTML), shown=("Yes.", "Old?"), hidden=("b{}",)),
        Member("closed late", mail("<html><head><body>Yes.<br>Old?</body></head></html>", HTML), text="Yes.\nOld?"),
    ],
    "Japanese": [
        Member("circled digits", mail(_JIS, "Content-Type: text/plain; charset=ISO-2022-JP", subject="=?ISO-2022-JP?B?GyRCOCtAUS0hGyhC?="), subject="見積①", text="① 納期"),
        Member("half-width kana", mail(b"\x1b(I1=3\x1b(B", "Content-Type: text/plain; charset=iso-2022-jp"), text="ｱｽｳ"),
        Member("kana shifted in", mail(b"a\x0e1=3\x0fb", "Content-Type: text/plain; charset=cp50222"), text="aｱｽｳb"),
        Member("cp50221", mail(_JIS, "Content-Type: text/plain; charset=cp50221"), text="① 納期"),
        Member("nothing declared", mail(_JIS, "Content-Type: text/plain"), text="① 納期"),
        Member("declared ASCII", mail(_JIS, "Content-Type: text/plain; charset=us-ascii"), text="① 納期", repairs=("charset_mended",)),
        Member("Roman", mail(b"\x1b(J\\100\x1b(B\\", "Content-Type: text/plain; charset=iso-2022-jp"), text="¥100\\"),
        Member("JIS X 0212", mail(b"\x1b$(D0!\x1b(B", "Content-Type: text/plain; charset=iso-2022-jp-1"), text="丂"),
        Member("EUC-JP", mail("① 納期 ｱ".encode("cp932") .decode("cp932") .translate({}) .encode("euc_jis_2004"), "Content-Type: text/plain; charset=EUC-JP"), text="① 納期 ｱ"),
        Member("wave dash", mail(b"\x1b$B!A\x1b(B", "Content-Type: text/plain; charset=iso-2022-jp"), text="～"),
        Member("a byte lost", mail(b"\x1b$BG<4|G\x1b(B " + b"ok " * 20, "Content-Type: text/plain; charset=iso-2022-jp"), shown=("納期", "ok"), repairs=("charset_mended",)),
        Member("line end within", mail(b"\x1b$BG<\r\n4|\x1b(B", "Content-Type: text/plain; charset=iso-2022-jp"), text="納\n期"),
    ],
    "labels": [
        Member("windows-874", mail(_THAI.encode("cp874"), "Content-Type: text/plain; charset=windows-874"), text=_THAI),
        Member("windows-936", mail("合同 € 报价".encode("gb18030"), "Content-Type: text/plain; charset=windows-936"), text="合同 € 报价"),
        Member("windows-950", mail("合約報價".encode("cp950"), "Content-Type: text/plain; charset=windows-950"), text="合約報價"),
        Member("x-mac-cyrillic", mail("Привет".encode("mac_cyrillic"), "Content-Type: text/plain; charset=x-mac-cyrillic"), text="Привет"),
        Member("koi8-u", mail("Їжак".encode("koi8_u") + b" \xae", "Content-Type: text/plain; charset=koi8-u"), text="Їжак ў"),
        Member("iso-ir-144", mail("Привет".encode("iso8859_5"), "Content-Type: text/plain; charset=iso-ir-144"), text="Привет"),
        Member("ks_c_5601-1987", mail("견적서 똠".encode("cp949"), "Content-Type: text/plain; charset=ks_c_5601-1987"), text="견적서 똠"),
        Member("quoted and spaced", mail("Привет".encode("cp1251"), "Content-Type: text/plain; charset=\" 'Windows-1251' \""), text="Привет"),
        Member("an undefined byte", mail("Привет, Мара, как дела?".encode("cp1251") + b"\x98", "Content-Type: text/plain; charset=windows-1251"), shown=("Привет, Мара",)),
        Member("iso-2022-cn", mail(b"\x1b$)A\x0e:OM,\x0f ok", "Content-Type: text/plain; charset=iso-2022-cn"), text="合同 ok"),
        Member("x-user-defined", mail(b"ok \x80", "Content-Type: text/plain; charset=x-user-defined"), text="ok \uf780"),
        Member("UTF-16 that is none", mail("Hello Mara", "Content-Type: text/plain; charset=utf-16"), text="Hello Mara"),
        Member("UTF-16", mail("Grüße".encode("utf-16"), "Content-Type: text/plain; charset=utf-16"), text="Grüße"),
    ],
    "charset elsewhere": [
        Member("meta http-equiv", mail('<html><head><meta http-equiv="Content-Type" content="text/html; charset=windows-1251"></head><p>Добрый день</p>'.encode("cp1251"), "Content-Type: text/html"), text="Добрый день"),
        Member("meta charset", mail('<meta charset="koi8-r"><p>Добрый день</p>'.encode("koi8_r"), "Content-Type: text/html"), text="Добрый день"),
        Member("XML declaration", mail('<?xml version="1.0" encoding="iso-8859-2"?><p>Příloha</p>'.encode("iso8859_2"), "Content-Type: text/html"), text="Příloha"),
        Member("meta behind a label of ASCII", mail('<meta charset="windows-1253"><p>Προσφορά</p>'.encode("cp1253"), "Content-Type: text/html; charset=us-ascii"), text="Προσφορά"),
        Member("declared before meta", mail('<meta charset="koi8-r"><p>Добрый день</p>'.encode("cp1251"), "Content-Type: text/html; charset=windows-1251"), text="Добрый день"),
        Member("UTF-8 before all", mail('<meta charset="koi8-r"><p>Добрый день</p>', "Content-Type: text/html; charset=windows-1251"), text="Добрый день"),
        Member("raw header", mail("Добрый день".encode("cp1251"), "Content-Type: text/plain; charset=windows-1251", subject="Предложение".encode("cp1251"), to='"Мара Фосс" <mara@acme.example>'.encode("cp1251")), subject="Предложение", names=("Мара Фосс",)),
        Member("raw header in UTF-8", mail("x".encode("cp1251"), "Content-Type: text/plain; charset=windows-1251", subject="Предложение"), subject="Предложение"),
        Member("raw header, multipart", mail(multi("mixed", part("Добрый".encode("koi8_r"), "Content-Type: text/plain; charset=koi8-r"), part("x", 'Content-Type: application/pdf; name="Счёт.pdf"') .decode() .encode("koi8_r"))[1], 'Content-Type: multipart/mixed; boundary="B"', subject="Счёт".encode("koi8_r")), subject="Счёт", files=(("Счёт.pdf", None),)),
        Member("nobody says: Japanese", mail("お見積りの件について".encode("cp932"), "Content-Type: text/plain"), text="お見積りの件について"),
        Member("nobody says: windows-1252", mail("Grüße – €".encode("cp1252"), "Content-Type: text/plain"), text="Grüße – €"),
    ],
    "dates": [
        Member(date_text, text("x", date=date_text), date=NOON)
        for date_text in (
            "Fri, 27 Nov 2026 01:30:00 -05:00",
            "Fri, 27 Nov 2026 01:30:00 GMT-0500",
            "Fri, 27 Nov 2026 01:30:00 UTC-5",
            "Fri, 27 Nov 2026 01:30:00 (GMT-05:00)",
            "2026-11-27T07:30:00+01:00",
            "2026-11-27 06:30:00Z",
            "20261127T063000Z",
            "2026-11-27T06:30:00.123+00:00",
            "Fri Nov 27 01:30:00 EST 2026",
            "Fri Nov 27 06:30:00 2026",
            "Fri Nov 27 01:30:00 -0500 2026",
            "Fri, 27-Nov-26 01:30:00-05:00",
            "Fri, 27 Nov 2026 12:30:00 PM +0600",
            "27 Nov 2026 07:30 CET",
            "Fri, 27 Nov 2026 01:30:00 \u22120500",
            "Fri, 27 Nov 2026 01.30.00 -0500 (EST)",
            "Fri, November 27, 2026 1:30 AM -05",
        )
    ],
    "encoded words": [
        Member("question mark at the end", text("x", subject="=?UTF-8?Q?Mittag_am_M=C3=B6rike-Platz??="), subject="Mittag am Mörike-Platz?"),
        Member("question mark inside", text("x", subject="=?UTF-8?Q?Can_we_meet?_Caf=C3=A9_or_office?=", to='=?UTF-8?Q?Mara_"who?"_V=C3=B6ss?= <mara@acme.example>'), subject="Can we meet? Café or office", to=(MARA,), names=('Mara "who?" Vöss',)),
        Member("before a byte", text("x", subject="=?UTF-8?Q?Caf=C3=A9?=C3=B6l?="), subject="Café?öl"),
        Member("two words", text("x", subject="=?UTF-8?Q?Who??= =?UTF-8?Q?_Me??="), subject="Who? Me?"),
        Member("blanks inside", text("x", subject="=?UTF-8?Q?Who is it? M=C3=B6rike?="), subject="Who is it? Mörike"),
        Member("never closed, then one that is", text("x", subject="=?UTF-8?Q?Who =?UTF-8?Q?M=C3=B6?="), subject="=?UTF-8?Q?Who Mö"),
        Member("never closed", text("x", subject="=?UTF-8?Q?Who"), subject="=?UTF-8?Q?Who"),
        Member("specials in a name", text("x", sender="=?iso-8859-1?Q?Berger;_Ada_(Verk=E4uf)?= <ada@seller.example>", to="=?iso-8859-1?Q?Acme;_R=EDo.?= <mara@acme.example>, =?utf-8?Q?Tim:_L=C3=B6w,_Jr?= <tim@leads.example>"), from_name="Berger; Ada (Verkäuf)", to=(MARA, "tim@leads.example"), names=("Acme; Río.", "Tim: Löw, Jr")),
        Member("brackets in a name", text("x", to='"=?utf-8?Q?Mara_<V>_[=C3=B6]?=" <mara@acme.example>'), to=(MARA,), names=("Mara <V> [ö]",)),
    ],
    "whole address encoded": [
        Member("base64", text("x", to="=?utf-8?b?TWFyYSBWw7ZzcyA8bWFyYUBhY21lLmV4YW1wbGU+?="), to=(MARA,), names=("Mara Vöss",)),
        Member("quoted name", text("x", to="=?utf-8?B?Ik1hcmEgVm9zcyIgPG1hcmFAYWNtZS5leGFtcGxlPg==?="), to=(MARA,), names=("Mara Voss",)),
        Member("Q, raw", text("x", to="=?utf-8?Q?Mara_V=C3=B6ss_<mara@acme.example>?=, tim@leads.example"), to=(MARA, "tim@leads.example")),
        Member("several in one", text("x", to="=?utf-8?Q?Mara_<mara@acme.example>,_Tim_<tim@leads.example>?="), to=(MARA, "tim@leads.example")),
        Member("address alone", text("x", to="=?utf-8?Q?mara=40acme.example?="), to=(MARA,)),
        Member("in brackets", text("x", to="Mara <=?utf-8?Q?mara=40acme.example?=>"), to=(MARA,)),
        Member("in two words", text("x", to="=?utf-8?Q?Mara_V=C3=B6ss_?= =?utf-8?Q?<mara=40acme.example>?="), to=(MARA,)),
        Member("name with a comma", text("x", to="=?utf-8?Q?V=C3=B6ss?=, =?utf-8?Q?Mara?= <mara@acme.example>"), to=(MARA,), names=("Vöss, Mara",)),
        Member("not in From", text("x", sender="=?utf-8?b?QWRhIDxhZGFAc2VsbGVyLmV4YW1wbGU+?="), from_name=""),
        Member("a name that looks like one", text("x", to="=?utf-8?Q?evil=40x.example?= <mara@acme.example>"), to=(MARA,)),
    ],
    "what is inline": [
        Member("screenshot in plain mail", mixed(LETTER, part(b64(PNG), "Content-Type: image/png; name=s.png", "Content-Disposition: inline; filename=s.png", B64)), files=(("s.png", PNG),), inline=()),
        Member("shown by cid", mixed(part('<img src="cid:l%40x">', HTML), part(b64(PNG), "Content-Type: image/png; name=l.png", "Content-ID: <l@x>", B64)), files=(("l.png", PNG),), inline=("l.png",)),
        Member("held by related", mixed(part("<p>Hello</p>", HTML), part(b64(PNG), "Content-Type: image/png", "Content-Disposition: inline", B64), kind="related"), files=(("", PNG),), inline=("",)),
        Member("attached within related", mixed(part("<p>Hello</p>", HTML), part(b64(PNG), "Content-Type: image/png; name=s.png", "Content-Disposition: attachment", B64), kind="related"), files=(("s.png", PNG),), inline=()),
        Member("with an id that nothing shows", mixed(part("<p>Hello</p>", HTML), part(b64(PNG), "Content-Type: image/png; name=s.png", "Content-ID: <s@x>", B64)), files=(("s.png", PNG),), inline=()),
    ],
    "alternatives": [
        Member("AMP", mixed(LETTER, part("<html amp4email>", "Content-Type: text/x-amp-html"), part("<p>Hello Mara</p>", HTML), kind="alternative"), text="Hello Mara", files=(), repairs=("alternative_left_out",)),
        Member("watch", mixed(LETTER, part("<b>Hi</b>", "Content-Type: text/watch-html"), kind="alternative"), text="Hello Mara", files=()),
        Member("RTF", mixed(LETTER, part("{\\rtf1}", "Content-Type: text/rtf"), part("<p>Hello Mara</p>", HTML), kind="alternative"), text="Hello Mara", files=()),
        Member("enriched", mixed(LETTER, part("<bold>Hello</bold>", "Content-Type: text/enriched"), kind="alternative"), text="Hello Mara", files=()),
        Member("invitation", mixed(LETTER, part("BEGIN:VCALENDAR", "Content-Type: text/calendar; method=REQUEST"), kind="alternative"), files=(("invite.ics", None),)),
        Member("file within it", mixed(LETTER, part(b64(PDF), "Content-Type: application/pdf; name=o.pdf", B64), kind="alternative"), files=(("o.pdf", PDF),)),
        Member("related within it", mixed(LETTER, nested("related", part("<img src=cid:l>", HTML), part(b64(PNG), "Content-Type: image/png", "Content-ID: <l>", B64)), kind="alternative"), files=(("", PNG),), inline=("",)),
        Member("no letter in it", mixed(part(b64(PNG), "Content-Type: image/png", B64), kind="alternative"), files=(("", PNG),)),
    ],
    "addresses": [
        Member("folded in the middle", text("x", to="Tim <tim@leads.example>, Mara <mara@acme.exam\r\n ple>"), to=("tim@leads.example", MARA)),
        Member("folded in the local part", text("x", to="Mara <ma\r\n\tra@acme.example>"), to=(MARA,)),
        Member("folded twice", text("x", to="<mara@\r\n acme.\r\n example>"), to=(MARA,)),
        Member("a fold between names", text("x", to="Mara\r\n Voss\r\n <mara@acme.example>,\r\n tim@leads.example"), to=(MARA, "tim@leads.example"), names=("Mara Voss", "")),
        Member("zero-width blanks", text("x", to="Mara\u00a0 <\u200bmara@acme.example\u200b>"), to=(MARA,), names=("Mara",)),
        Member("bare, with marks", text("x", to="\u200bmara@acme.example\ufeff, tim@leads.example\u00a0"), to=(MARA, "tim@leads.example")),
        Member("no-break blank before it", text("x", to="Mara\u00a0mara@acme.example"), to=(MARA,), names=("Mara",)),
        Member("marks of direction", text("x", to="<\u202amara@acme.example\u202c>"), to=(MARA,)),
        Member("blank in it", text("x", to="Anna Maria <anna mara@acme.example>"), to=()),
        Member("blank in the domain", text("x", to="<mara@acme.exam ple>, tim@leads.example"), to=("tim@leads.example",)),
        Member("tab in it", text("x", to="<anna\tmara@acme.example>"), to=()),
        Member("name in the brackets", text("x", to="<Mara Voss mara@acme.example>"), to=()),
        Member("no-break blank in it", text("x", to="<anna\u00a0mara@acme.example>"), to=()),
        Member("two in the brackets", text("x", to="<mara@acme.example, tim@leads.example>"), to=(MARA, "tim@leads.example")),
        Member("blanks around it", text("x", to="< mara @ acme.example >"), to=(MARA,)),
        Member("comment in the brackets", text("x", to="<mara@acme.example (at work)>"), to=(MARA,)),
        Member("sharp s", text("x", to="Mara <mara@straße.example>, weiß@acme.example"), to=("mara@straße.example", "weiß@acme.example")),
        Member("221 of them", text("x", to=",\r\n ".join([*(f'"Guest {n}" <g{n}@party.example>' for n in range(220)), f"Mara <{MARA}>"])), to=(*(f"g{n}@party.example" for n in range(220)), MARA)),
    ],
    "quoted-printable": [
        Member("blank behind a soft break", mail("see https://x.example/enc= \r\noder?id=3D1 now", PLAIN, QP), text="see https://x.example/encoder?id=1 now"),
        Member("tab behind it", mail("one=\t\r\ntwo", PLAIN, QP), text="onetwo"),
        Member("several, and bare line ends", mail("one=   \ntwo", PLAIN, QP), text="onetwo"),
        Member("at the end", mail("one= ", PLAIN, QP), text="one"),
    ],
    "flowed": [
        Member("delsp", mail("see https://x.example/6f1c/ \r\nrecipients?a=1\r\n\r\nThis holds  \r\nuntil Friday.\r\n\r\n-- \r\nAda\r\n", "Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes"), text="see https://x.example/6f1c/recipients?a=1\n\nThis holds until Friday.\n\n-- \nAda\n"),
        Member("without delsp", mail("This holds \r\nuntil Friday.\r\n", "Content-Type: text/plain; format=flowed"), text="This holds until Friday.\n"),
        Member("quotes", mail("> You \r\n> wrote:\r\n>> first \r\n> not more\r\nYes.\r\n", "Content-Type: text/plain; format=Flowed"), text="> You wrote:\n>> first\n> not more\nYes.\n"),
        Member("stuffed", mail(" From here\r\n >no quote\r\n", "Content-Type: text/plain; format=flowed"), text="From here\n>no quote\n"),
        Member("blank at the very end", mail("This holds ", "Content-Type: text/plain; format=flowed"), text="This holds"),
        Member("fixed", mail("a \r\nb", "Content-Type: text/plain; format=fixed"), text="a \nb"),
    ],
    "uuencode": [
        Member("in the text", text("Hello Mara.\r\n\r\n" + uu(_CSV) + "Ada\r\n"), text="Hello Mara.\n\nAda\n", files=(("prices.csv", _CSV),), repairs=("uuencode_taken_out",)),
        Member("in base64", mail(b64(("Hello\r\n" + uu(_CSV)).encode()), PLAIN, B64), text="Hello\n", files=(("prices.csv", _CSV),)),
        Member("two of them", text("Hello\r\n" + uu(b"one", "a.txt") + uu(b"two", "b b.txt")), text="Hello\n", files=(("a.txt", b"one"), ("b b.txt", b"two"))),
        Member("blanks cut off", text("Hello\r\n" + uu(bytes(40), "z.bin") .replace("`", " ") .replace(" \r\n", "\r\n") .replace("  ", "")), files=(("z.bin", bytes(40)),)),
        Member("base64 of it", text("Hello\r\nbegin-base64 644 a.csv\r\n" + b64(_CSV) + "====\r\n"), text="Hello\n", files=(("a.csv", _CSV),)),
        Member("never ended", text("Hello\r\nbegin 644 a.csv\r\nM:71E\r\nand so on"), shown=("begin 644 a.csv", "and so on"), files=()),
        Member("only the word", text("begin 644 words\r\nwith this\r\nend\r\n"), text="begin 644 words\nwith this\nend\n", files=()),
        Member("nothing in it", text("begin 644 a.txt\r\nend\r\n"), text="begin 644 a.txt\nend\n", files=()),
    ],
    "winmail.dat": [
        Member("text and file", mixed(part("", PLAIN), part(b64(tnef((1, TNEF_PAGE, struct.pack("<II", 1252, 0)), (1, TNEF_BODY, "Grüße, Mara\0".encode("cp1252")), *TNEF_FILE)), _WINMAIL, B64)), text="Grüße, Mara", files=(("Angebot für Mara.pdf", PDF),), repairs=("tnef_opened",)),
        Member("properties", mixed(part(b64(tnef((1, TNEF_PROPS, properties((0x1F, 0x1000, "Hello Mara\0".encode("utf-16-le")), (0x102, 0x1013, b"<p>Hello <b>Mara</b></p>"))), *TNEF_FILE)), "Content-Type: application/octet-stream; name=WINMAIL.DAT", B64)), text="Hello Mara", html=("<b>Mara</b>",), files=(("Angebot für Mara.pdf", PDF),)),
        Member("HTML alone", mixed(part(b64(tnef((1, TNEF_PROPS, properties((0x102, 0x1013, b"<p>Hello Mara</p>"))))), _WINMAIL, B64)), text="Hello Mara", html=("<p>Hello Mara</p>",), files=()),
        Member("RTF alone", mixed(part(b64(tnef((1, TNEF_PROPS, properties((0x102, 0x1009, packed_rtf()))))), _WINMAIL, B64)), text="Hello Mara,\nthe price is 12€ –\tnow.", files=()),
        Member("beside a letter", mixed(LETTER, part(b64(tnef((1, TNEF_BODY, b"Other\0"), *TNEF_FILE, (2, TNEF_NEW, b""), (2, TNEF_TITLE, b"a.txt\0"), (2, TNEF_DATA, b"abc"))), _WINMAIL, B64)), text="Hello Mara", files=(("Angebot für Mara.pdf", PDF), ("a.txt", b"abc"))),
        Member("a mail within", mixed(LETTER, part(b64(tnef((2, TNEF_NEW, b""), (2, TNEF_ABOUT, properties((0x0D, 0x3701, bytes.fromhex("0703020000000000c000000000000046") + tnef((1, TNEF_BODY, b"inner"), *TNEF_FILE)))))), _WINMAIL, B64)), text="Hello Mara", files=(("Angebot für Mara.pdf", PDF),)),
        Member("data as a property", mixed(LETTER, part(b64(tnef((2, TNEF_NEW, b""), (2, TNEF_ABOUT, properties((0x1E, 0x3704, b"C.TXT\0"), (0x102, 0x3701, b"abc"), (0x1E, 0x3001, b"shown.txt\0"))))), _WINMAIL, B64)), files=(("C.TXT", b"abc"),)),
        Member("broken off", mixed(LETTER, part(b64(tnef(*TNEF_FILE)[:-50]), _WINMAIL, B64)), text="Hello Mara", files=(("Angebot für Mara.pdf", PDF),)),
        Member("none", mixed(LETTER, part("x\x9f", _WINMAIL)), text="Hello Mara", files=(("winmail.dat", None),), repairs=("tnef_unreadable",)),
    ],
    "S/MIME": [
        Member("opaque", mail(b64(signed(_ENTITY)), _P7M, "Content-Disposition: attachment; filename=smime.p7m", B64), text="Hello Mara, signed.", files=(), repairs=("smime_opened",)),
        Member("in chunks", mail(b64(signed(_ENTITY_FILE, chunks=100)), _P7M, B64), text="Hello Mara", files=(("o.pdf", PDF),)),
        Member("with a file", mail(b64(signed(_ENTITY_FILE)), "Content-Type: application/x-pkcs7-mime; name=smime.p7m", B64), text="Hello Mara", files=(("o.pdf", PDF),)),
        Member("compressed", mail(b64(compressed(_ENTITY_FILE)), "Content-Type: application/pkcs7-mime; smime-type=compressed-data; name=smime.p7z", B64), text="Hello Mara", files=(("o.pdf", PDF),)),
        Member("signed twice", mail(b64(signed(part(b64(signed(_ENTITY)), _P7M, B64))), _P7M, B64), text="Hello Mara, signed.", files=()),
        Member("broken off", mail(b64(signed(_ENTITY)[:-10]), _P7M, B64), shown=("Hello Mara",), files=()),
        Member("encrypted", mail(b64(tlv(0x30, oid("1.2.840.113549.1.7.3"), tlv(0xA0, bytes(40)))), "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", B64), text="", files=(("smime.p7m", None),), repairs=("smime_encrypted",)),
        Member("zeros", mail(b64(bytes(200)), _P7M, B64), files=(("smime.p7m", bytes(200)),), repairs=("smime_unreadable",)),
        Member("named only", mail(b64(signed(_ENTITY)), "Content-Type: application/octet-stream; name=smime.p7m", B64), text="Hello Mara, signed.", files=()),
    ],
    "PGP": [
        Member("encrypted", mixed(part("Version: 1", "Content-Type: application/pgp-encrypted"), part("-----BEGIN PGP MESSAGE-----", "Content-Type: application/octet-stream; name=encrypted.asc"), kind="encrypted; protocol=application/pgp-encrypted"), text="", files=(("", None), ("encrypted.asc", None)), repairs=("pgp_encrypted",)),
        Member("inline", text("-----BEGIN PGP MESSAGE-----\r\nabc\r\n-----END PGP MESSAGE-----"), shown=("abc",), repairs=("pgp_encrypted",)),
        Member("signed text", text("-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nHello"), shown=("Hello",), repairs=("pgp_signed",)),
    ],
    "text/enriched": [
        Member("alone", mail("<bold>Hello</bold> Mara,\r\n\r\nthe price is <italic>12,000</italic>.", "Content-Type: text/enriched"), text="Hello Mara,\nthe price is 12,000.", files=(), repairs=("enriched_read",)),
        Member("parameters", mail("<color><param>red</param>Hello</color> <<Mara>", "Content-Type: text/enriched"), text="Hello <Mara>", files=()),
        Member("lines kept", mail("<nofill>a\r\nb</nofill>\r\nc<verbatim>d\r\ne</verbatim>", "Content-Type: text/enriched"), text="a\nb cd\ne", files=()),
        Member("richtext", mail("<bold>Hello</bold><nl>Mara<lt>x<paragraph>y</paragraph>z<comment>no <lt> no</comment>", "Content-Type: text/richtext"), text="Hello\nMara<xy\nz", files=()),
        Member("never closed", mail("a<param>b<< c", "Content-Type: text/enriched"), text="a", files=()),
    ],
    "multipart in base64": [
        Member("the whole mail", mail(b64(_LIST[1]), _LIST[0], B64), text="Hello Mara", files=(("o.pdf", PDF),), repairs=("multipart_encoded",)),
        Member("quoted-printable", mail(_LIST[1].replace(b"--B", b"--=_B").replace(b"=", b"=3D"), _LIST[0].replace('"B"', '"=_B"'), QP), text="Hello Mara", files=(("o.pdf", PDF),)),
        Member("a part", mixed(part(b64(_LIST[1].replace(b"--B", b"--X")), _LIST[0].replace('"B"', '"X"'), B64)), text="Hello Mara", files=(("o.pdf", PDF),)),
        Member("twice", mail(b64(multi("mixed", part(b64(_LIST[1].replace(b"--B", b"--X")), _LIST[0].replace('"B"', '"X"'), B64))[1]), _LIST[0], B64), text="Hello Mara", files=(("o.pdf", PDF),)),
    ],
}

MEMBERS = [(kind, member) for kind, members in KINDS.items() for member in members]
