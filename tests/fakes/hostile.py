# ruff: noqa: E501, RUF001 - a table: a family is a line, in whatever bytes it comes.
"""Mails that were made to hurt whoever reads them, in families that grow.

Each family is a function that returns a mail of about so many bytes. Reading one must
take time in proportion to its size, at whatever size: twice as long for twice the
bytes, and never more than a second of CPU for ten megabytes.
"""

from __future__ import annotations

import base64
import random
import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Family = Callable[[int], bytes]

HEAD: Final = (
    b"From: Ada <ada@seller.example>\r\nTo: mara@acme.example\r\n"
    b"Subject: Fwd: Offer\r\nDate: Wed, 25 Nov 2026 16:58:00 +0100\r\n"
    b"Message-ID: <h@seller.example>\r\nMIME-Version: 1.0\r\n"
)
PLAIN: Final = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
HTML: Final = b"Content-Type: text/html; charset=utf-8\r\n\r\n"
CLEAR: Final = "---------- Forwarded message ---------\n"

FAMILIES: Final[dict[str, Family]] = {}


def family(work: Family) -> Family:
    """Add a function to the families, under its name."""
    FAMILIES[work.__name__] = work
    return work


def filled(piece: bytes, size: int) -> bytes:
    """Return a piece again and again, up to a size."""
    return piece * max(1, size // len(piece))


def repeated(name: str, head: bytes, piece: bytes, tail: bytes = b"") -> None:
    """Add a family that repeats one piece behind a head."""
    FAMILIES[name] = lambda size: head + filled(piece, size) + tail


def in_field(name: str, field: bytes, piece: bytes, tail: bytes = b"") -> None:
    """Add a family that repeats one piece in one field of the header."""
    end = tail + b"\r\n" + PLAIN + b"Hello\r\n"
    FAMILIES[name] = lambda size: HEAD + field + filled(piece, size) + end


def b64(data: bytes) -> bytes:
    """Return base64 in lines."""
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


# ---------------------------------------------------------------- header

_WORD = b"=?utf-8?b?TWFyYQ==?="
for _name, _field in {
    "subject": b"Subject: ",
    "to": b"To: ",
    "date": b"Date: ",
}.items():
    in_field(f"{_name}_of_words", _field, _WORD + b" ")
    in_field(f"{_name}_of_short_words", _field, b"=?a?q??= ")
    in_field(f"{_name}_of_words_in_turn", _field, b"=?utf-8?q?a?= =?latin1?q?b?= ")
    in_field(f"{_name}_of_jis_words", _field, b"=?iso-2022-jp?b?GyRCJCIbKEI=?= ")
    in_field(f"{_name}_of_open_words", _field, b"=?utf-8?q?a ")
    in_field(f"{_name}_of_begun_words", _field, b"=?")
    in_field(f"{_name}_of_hex_ends", _field, b"=?utf-8?q?a?=41")
    in_field(f"{_name}_of_bytes", _field, b"\xe4\xf6\xfc \xff")
    in_field(f"{_name}_of_gbk", _field, "報価 ".encode("gbk"))
    in_field(f"{_name}_of_escapes", _field, b'\x1b$B$"\x1b(B')
    in_field(f"{_name}_of_escapes_alone", _field, b"\x1b$B\x1b(I")
    in_field(f"{_name}_of_blanks", _field, b" ", b"x")
    in_field(f"{_name}_of_tabs_and_digits", _field, b"\t1 ")
    in_field(f"{_name}_of_folds", _field, b"x\r\n ")
    in_field(f"{_name}_of_digits", _field, b"1")
    in_field(f"{_name}_of_wide_utf16", _field, b"=?utf-16?q?=00a=00?= ")
in_field("to_of_addresses", b"To: ", b"a@b.example, ")
in_field("to_of_named", b"To: ", b'"Low, Tim" <t@a.example>, ')
in_field("to_of_word_named", b"To: ", _WORD + b" <t@a.example>, ")
in_field("to_of_encoded_addresses", b"To: ", b"=?utf-8?q?Mara_<m=40a.example>?=, ")
in_field("to_of_comments", b"To: ", b"(x) a@b.example (y), ")
in_field("to_of_open_comments", b"To: ", b"(")
in_field("to_of_closed_comments", b"To: ", b"()")
in_field("to_of_deep_comments", b"To: " + b"a@b.example ", b"(a", b")")
in_field("to_of_escaped_comments", b"To: ", b"(\\)")
in_field("to_of_quotes", b"To: ", b'"')
in_field("to_of_quoted", b"To: ", b'"a" ')
in_field("to_of_odd_quotes", b"To: ", b'"a\\" ', b'"')
in_field("to_of_local_quotes", b"To: ", b'"a b" @x.example ')
in_field("to_of_backslashes", b"To: ", b"\\")
in_field("to_of_open_brackets", b"To: ", b"<")
in_field("to_of_open_addresses", b"To: ", b"<a@b.example ")
in_field("to_of_closed_brackets", b"To: ", b">")
in_field("to_of_empty_brackets", b"To: ", b"<>")
in_field("to_of_blank_brackets", b"To: ", b"<a b@c.example>\r\n ")
in_field("to_of_one_bracket", b"To: <", b"a@b.example ", b">")
in_field("to_of_one_bracket_of_ats", b"To: <", b"@", b">")
in_field("to_of_one_bracket_of_comments", b"To: <", b"(a)", b"@b.example>")
in_field("to_of_one_bracket_of_parens", b"To: <", b"(", b"@b.example>")
in_field("to_of_square_brackets", b"To: ", b"[a")
in_field("to_of_literals", b"To: ", b"a@[1.2.3.4], ")
in_field("to_of_groups", b"To: ", b"friends: a@b.example; ")
in_field("to_of_open_groups", b"To: ", b"a:")
in_field("to_of_ats", b"To: ", b"@")
in_field("to_of_spaced_ats", b"To: ", b"a @ ")
in_field("to_of_commas", b"To: ", b",")
in_field("to_of_names_and_commas", b"To: ", b"a,")
in_field("to_of_semicolons", b"To: ", b"a;")
in_field("to_of_one_address", b"To: ", b"a", b"@b.example")
in_field("to_of_one_domain", b"To: a@", b"b.", b"example")
in_field("to_of_a_name", b"To: ", b"Mara ", b"<m@a.example>")
in_field("to_of_nulls", b"To: ", b"\x001\x00")
in_field("to_of_no_break_spaces", b"To: ", b"\xc2\xa0", b"a@b.example")
in_field("to_of_invisible", b"To: ", b"\xe2\x80\x8b", b"a@b.example")
in_field("to_of_apostrophes", b"To: ", b"'")
in_field("to_of_quoted_apostrophes", b"To: ", b"'a@b.example' ")
in_field("from_of_addresses", b"From: ", b"a@b.example, ")
in_field("from_of_words", b"From: ", b"=?utf-8?q?a@b?= ")
in_field("date_of_commas", b"Date: ", b"Mon, ")
in_field("date_of_times", b"Date: ", b"10:00:00 ")
in_field("references_of_ids", b"References: ", b"<a@b> ")
in_field("references_of_open_ids", b"References: ", b"<")
in_field("references_of_closed_ids", b"References: ", b">")
in_field("references_of_words", b"References: ", b"a@b ")
in_field("message_id_of_words", b"Message-ID: ", _WORD)
in_field("automatic_of_comments", b"Auto-Submitted: ", b"(a")
in_field("automatic_of_semicolons", b"Precedence: ", b";")
for _name, _field in {
    "content_type": b"Content-Type: text/plain",
    "disposition": b"Content-Disposition: attachment",
}.items():
    in_field(f"{_name}_of_parameters", _field, b"; a=b")
    in_field(f"{_name}_of_segments", _field, b"; filename*0*=utf-8''a")
    in_field(f"{_name}_of_quotes", _field + b'; name="', b"a\\")
    in_field(f"{_name}_of_semicolons", _field, b";")
    in_field(f"{_name}_of_equals", _field, b"=")
    in_field(f"{_name}_of_comments", _field, b"(a)")
    in_field(f"{_name}_of_blanks", _field + b";", b" ", b"x=y")
    in_field(f"{_name}_of_words", _field + b'; name="', _WORD, b'"')
in_field("boundary_of_blanks", b'Content-Type: multipart/mixed; boundary="', b" ", b'"')
repeated("fields", HEAD, b"X: y\r\n", PLAIN)
repeated("fields_of_one_byte", HEAD, b":\r\n", PLAIN)
repeated("to_fields", HEAD, b"To: a@b.example\r\n", PLAIN)
repeated("to_fields_with_words", HEAD, b"To: " + _WORD + b" <a@b.example>\r\n", PLAIN)
repeated("to_fields_with_blanks", HEAD, b"To: <a\r\n b@c.example>\r\n", PLAIN)
repeated("date_fields", HEAD, b"Date: x\r\n", PLAIN)
repeated("subject_fields", HEAD, b"Subject: " + _WORD + b"\r\n", PLAIN)
repeated("received_fields", HEAD, b"Received: from a by b;\r\n\tx\r\n", PLAIN)
repeated("content_type_fields", HEAD, b"Content-Type: text/plain; a=b\r\n", b"\r\nx")
repeated("header_without_fields", HEAD, b"no field here\r\n")
repeated("header_without_fields_but_one", HEAD, b"no field here\r\n", b"X: y\r\n\r\nx")
repeated("header_without_colons", HEAD, b"a", b"\r\n\r\nx")
repeated("header_of_marks", HEAD, b"\xef\xbb\xbf", b"X: y\r\n\r\nx")
repeated("header_of_marks_in_lines", HEAD, b"\xef\xbb\xbf\r\n", b"X: y\r\n\r\nx")
repeated("header_of_blank_lines", HEAD + b"X: y\r\n", b" \r\n", b"Y: z\r\n\r\nx")
repeated("header_of_returns", HEAD, b"\r", b"\r\n\r\nx")
repeated("header_of_names", HEAD, b"Name\t ", b": x\r\n\r\nx")
repeated("keywords", HEAD, b"Precedence: (((bulk\r\nAuto-Submitted: (a(b)\r\n", PLAIN)
repeated(
    "lists", HEAD, b"List-Id: =?utf-8?b?TWFyYQ==?=\r\nX-Forwarded-To: x\r\n", PLAIN
)

# ---------------------------------------------------------------- MIME

MIXED: Final = HEAD + b'Content-Type: multipart/mixed; boundary="B"\r\n\r\n'
repeated("parts", MIXED, b"--B\r\n\r\na\r\n")
repeated("empty_parts", MIXED, b"--B\n")
repeated("html_parts", MIXED, b"--B\r\nContent-Type: text/html\r\n\r\n<p>a\r\n")
repeated(
    "named_parts",
    MIXED,
    b'--B\r\nContent-Disposition: x; filename="=?a?q?a?="\r\n\r\na\r\n',
)
repeated(
    "base64_parts", MIXED, b"--B\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n"
)
repeated(
    "mail_parts",
    MIXED,
    b"--B\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@b.example\r\n\r\nx\r\n",
)
repeated(
    "tnef_parts",
    MIXED,
    b"--B\r\nContent-Type: application/ms-tnef\r\n\r\n\x78\x9f\x3e\x22\r\n",
)
repeated(
    "smime_parts",
    MIXED,
    b"--B\r\nContent-Type: application/pkcs7-mime\r\n\r\n0\x80\x06\r\n",
)
repeated(
    "alternatives",
    MIXED,
    b"--B\r\nContent-Type: multipart/alternative; boundary=C\r\n\r\n--C\r\n\r\na\r\n--C--\r\n",
)
repeated(
    "multiparts_without_parts",
    MIXED,
    b"--B\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\na\r\n",
)
repeated("part_fields", MIXED + b"--B\r\n", b"X: y\r\n", b"\r\nx\r\n--B--")
repeated("part_of_folds", MIXED + b"--B\r\nX: ", b"y\r\n ", b"\r\n\r\nx\r\n--B--")
repeated("delimiters", MIXED, b"--C\r\n")
repeated("short_delimiters", MIXED, b"\n--")
repeated("delimiters_of_blanks", MIXED, b"--B" + b" " * 900 + b"x\r\n")
repeated("dashes", MIXED, b"-")
repeated("closings", MIXED, b"--B--\r\n")
repeated(
    "boundary_to_guess", HEAD + b"Content-Type: multipart/mixed\r\n\r\n", b"--a b\r\n"
)
repeated(
    "boundary_to_guess_of_blanks",
    HEAD + b"Content-Type: multipart/mixed\r\n\r\n--a",
    b" " * 200 + b"x\r\n--a",
)
repeated(
    "mail_in_mail", HEAD, b"Content-Type: message/rfc822\r\n\r\nFrom: a@b.example\r\n"
)
repeated(
    "eml_in_eml",
    HEAD,
    b'Content-Disposition: attachment; filename="a.eml"\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@b.example\r\n',
)


@family
def multipart_in_multipart(size: int) -> bytes:
    """Multiparts within each other, each with a boundary of its own."""
    parts = [
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
        for n in range(size // 60)
    ]
    return HEAD + b"".join(parts) + PLAIN + b"x"


@family
def multipart_in_mail_in_multipart(size: int) -> bytes:
    """Attached mails within each other, in multiparts."""
    parts = [
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n\r\nFwd\r\n--%d\r\n'
        b"Content-Type: message/rfc822\r\n\r\nFrom: a@b.example\r\nSubject: Fwd: x\r\n"
        % (n, n, n)
        for n in range(size // 160)
    ]
    return HEAD + b"".join(parts) + PLAIN + b"x"


@family
def large_mail_in_mail(size: int) -> bytes:
    """Eight mails within each other, around one that is as large as it can be."""
    parts = [
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\nContent-Type: message/rfc822\r\n\r\n'
        b"From: a@b.example\r\nSubject: Fwd: x\r\n" % (n, n)
        for n in range(10)
    ]
    return HEAD + b"".join(parts) + PLAIN + filled(b"Hello Mara\r\n", size)


@family
def base64_of_base64(size: int) -> bytes:
    """A multipart in base64, eight times over."""
    inner = b"--B\r\n\r\n" + filled(b"Hello Mara\r\n", int(size / 1.37**8)) + b"--B--"
    for _ in range(8):
        kind = b"Content-Type: multipart/mixed; boundary=%s\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        inner = b"--A\r\n" + kind % b"A" + b64(inner) + b"\r\n--A--"
    return HEAD + kind % b"A" + b64(inner)


@family
def base64_mails(size: int) -> bytes:
    """Attached mails in base64, within each other."""
    inner = HEAD + PLAIN + filled(b"Hello Mara\r\n", int(size / 1.37**8))
    for _ in range(8):
        kind = (
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        )
        inner = MIXED + b"--B\r\n" + kind + b64(inner) + b"--B--"
    return inner


@family
def hidden_multiparts(size: int) -> bytes:
    """Many multiparts in base64, side by side."""
    inner = b64(b"--C\r\n\r\n" + b"x" * 200 + b"\r\n--C--")
    kind = b"--B\r\nContent-Type: multipart/mixed; boundary=C\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return MIXED + filled(kind + inner, size)


@family
def hidden_in_quotes(size: int) -> bytes:
    """A multipart in quoted-printable, as large as it can be."""
    kind = b'Content-Type: multipart/mixed; boundary="="\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return HEAD + kind + filled(b"--=3D\r\n\r\na=\r\n", size)


def der(tag: int, content: bytes) -> bytes:
    """Return a value of ASN.1 with its length before it."""
    length = len(content)
    size = (length.bit_length() + 7) // 8
    head = (
        bytes([length])
        if length < 0x80
        else bytes([0x80 | size]) + length.to_bytes(size, "big")
    )
    return bytes([tag]) + head + content


SIGNED: Final = der(0x06, bytes.fromhex("2a864886f70d010702"))
COMPRESSED: Final = der(0x06, bytes.fromhex("2a864886f70d010910010 9".replace(" ", "")))
DATA: Final = der(0x06, bytes.fromhex("2a864886f70d010701"))
VERSION: Final = der(0x02, b"\x01")
OPAQUE: Final = b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\n"


def signed(content: bytes) -> bytes:
    """Return a mail part with an opaque signature around it."""
    inner = der(0x30, DATA + der(0xA0, der(0x04, content)))
    return der(0x30, SIGNED + der(0xA0, der(0x30, VERSION + der(0x31, b"") + inner)))


def compressed(content: bytes) -> bytes:
    """Return a mail part that S/MIME has compressed."""
    inner = der(0x30, DATA + der(0xA0, der(0x04, zlib.compress(content, 9))))
    return der(
        0x30, COMPRESSED + der(0xA0, der(0x30, VERSION + der(0x30, b"") + inner))
    )


@family
def smime_in_smime(size: int) -> bytes:
    """Opaque signatures around each other."""
    inner = PLAIN + filled(b"Hello Mara\r\n", size)
    for _ in range(12):
        inner = OPAQUE + b"\r\n" + signed(inner)
    return HEAD + inner


@family
def smime_bomb(size: int) -> bytes:
    """What S/MIME has compressed, of zeros; and within itself."""
    inner = PLAIN + bytes(min(200 * size, 1 << 28))
    for _ in range(3):
        inner = OPAQUE + b"\r\n" + compressed(inner)
    return HEAD + inner + b"\r\n" + filled(b"x", size - len(inner))


@family
def smime_bombs(size: int) -> bytes:
    """Many of them side by side."""
    part = b"--B\r\n" + OPAQUE + b"\r\n" + compressed(PLAIN + bytes(1 << 20)) + b"\r\n"
    return MIXED + filled(part, size)


@family
def smime_of_chunks(size: int) -> bytes:
    """An octet string in chunks of one byte, with end marks in place of lengths."""
    chunks = b"\x24\x80" + filled(b"\x04\x01a", size) + bytes(2)
    body = (
        b"\x30\x80"
        + VERSION
        + der(0x31, b"")
        + b"\x30\x80"
        + DATA
        + b"\xa0\x80"
        + chunks
    )
    raw = b"\x30\x80" + SIGNED + b"\xa0\x80" + body + bytes(10)
    return HEAD + OPAQUE + b"Content-Transfer-Encoding: base64\r\n\r\n" + b64(raw)


@family
def smime_of_open_chunks(size: int) -> bytes:
    """Octet strings within each other that never end."""
    body = b"\x30\x80" + VERSION + der(0x31, b"") + b"\x30\x80" + DATA + b"\xa0\x80"
    raw = b"\x30\x80" + SIGNED + b"\xa0\x80" + body + filled(b"\x24\x80", size)
    return HEAD + OPAQUE + b"\r\n" + raw


# ---------------------------------------------------------------- winmail.dat

TNEF: Final = b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\n"
MESSAGE: Final = bytes.fromhex("0703020000000000c000000000000046")


def attribute(level: int, number: int, data: bytes) -> bytes:
    """Return an attribute of TNEF."""
    return struct.pack("<BII", level, number, len(data)) + data + bytes(2)


def tnef(*attributes: bytes) -> bytes:
    """Return a winmail.dat."""
    return b"\x78\x9f\x3e\x22\x01\x00" + b"".join(attributes)


def blob(kind: int, number: int, data: bytes) -> bytes:
    """Return a property of variable length."""
    head = struct.pack("<HHII", kind, number, 1, len(data))
    return head + data + bytes(-len(data) % 4)


def properties(*values: bytes) -> bytes:
    """Return a list of properties."""
    return struct.pack("<I", len(values)) + b"".join(values)


@family
def tnef_in_tnef(size: int) -> bytes:
    """Mails within each other, as Outlook packs them."""
    inner = tnef(attribute(2, 0x00069002, b""), attribute(2, 0x0006800F, bytes(size)))
    for _ in range(200):
        value = blob(0x000D, 0x3701, MESSAGE + inner)
        inner = tnef(
            attribute(2, 0x00069002, b""), attribute(2, 0x00069005, properties(value))
        )
    return HEAD + TNEF + inner


@family
def tnef_wide(size: int) -> bytes:
    """Mails in a mail, each with mails in it: the number grows with each level."""
    inner = tnef(attribute(2, 0x00069002, b""), attribute(2, 0x0006800F, b"x"))
    for _ in range(6):
        value = blob(0x000D, 0x3701, MESSAGE + inner)
        files = attribute(2, 0x00069002, b"") + attribute(
            2, 0x00069005, properties(value)
        )
        count = max(1, min(60, size // len(files)))
        inner = tnef(files * count)
    return HEAD + TNEF + inner[:size]


@family
def tnef_files(size: int) -> bytes:
    """Very many files."""
    one = attribute(2, 0x00069002, b"") + attribute(2, 0x0006800F, b"x")
    return HEAD + TNEF + tnef(filled(one, size))


@family
def tnef_attributes(size: int) -> bytes:
    """Very many attributes that say nothing, and the body again and again."""
    one = attribute(
        1, 0x00069003, properties(blob(0x001E, 0x1000, b"text"))
    ) + attribute(1, 9, b"")
    return HEAD + TNEF + tnef(filled(one, size))


@family
def tnef_bodies(size: int) -> bytes:
    """The letter again and again in its properties, each time all of it."""
    value = blob(0x001E, 0x1000, b"\xe4" * (size // 40))
    return HEAD + TNEF + tnef(attribute(1, 0x00069003, properties(*[value] * 40)))


@family
def tnef_properties(size: int) -> bytes:
    """One list of very many properties, and very many values in one."""
    many = struct.pack("<HHI", 0x1003, 0x6666, size // 8) + bytes(size // 2)
    values = [struct.pack("<HHI", 3, 0x6667, 0)] * (size // 32)
    return HEAD + TNEF + tnef(attribute(1, 0x00069003, properties(many, *values)))


@family
def tnef_rtf(size: int) -> bytes:
    """A letter in compressed RTF that names itself again and again."""
    packed = (
        struct.pack("<II", size, 1 << 30)
        + b"LZFu"
        + bytes(4)
        + filled(b"\xff" + b"\x0d\x7f" * 8, size)
    )
    return (
        HEAD
        + TNEF
        + tnef(attribute(1, 0x00069003, properties(blob(0x0102, 0x1009, packed))))
    )


def rtf(name: str, piece: bytes) -> None:
    """Add a family that repeats a piece in an RTF letter."""

    def work(size: int) -> bytes:
        plain = b"{\\rtf1 " + filled(piece, size)
        packed = struct.pack("<II", size, len(plain)) + b"MELA" + bytes(4) + plain
        return (
            HEAD
            + TNEF
            + tnef(attribute(1, 0x00069003, properties(blob(0x0102, 0x1009, packed))))
        )

    FAMILIES[name] = work


rtf("rtf_of_groups", b"{")
rtf("rtf_of_codes", b"\\'e4 ")
rtf("rtf_of_characters", b"\\u8364?")
rtf("rtf_of_words", b"\\a0 ")
rtf("rtf_of_pages", b"\\ansicpg932\\'e4")

# ---------------------------------------------------------------- text

BASE64: Final = (
    HEAD + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
)
QUOTED: Final = (
    HEAD
    + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
)
FLOWED: Final = HEAD + b"Content-Type: text/plain; format=flowed; delsp=yes\r\n\r\n"
ENRICHED: Final = HEAD + b"Content-Type: text/enriched\r\n\r\n"
FILE: Final = (
    HEAD + b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
)
for _name, _start in {"text": BASE64, "file": FILE}.items():
    repeated(f"base64_{_name}_in_short_lines", _start, b"A\r\n")
    repeated(f"base64_{_name}_in_groups", _start, b"QQ==\r\n")
    repeated(f"base64_{_name}_in_groups_on_one_line", _start, b"QQ==")
    repeated(f"base64_{_name}_on_one_line", _start, b"QUJD")
    repeated(f"base64_{_name}_of_equals", _start, b"=")
    repeated(f"base64_{_name}_of_damage", _start, b"QUJ!D*\r\n")
    repeated(f"base64_{_name}_of_damage_on_one_line", _start, b"Q!")
    repeated(f"base64_{_name}_of_words", _start, b"not base64 at all, is it\r\n")
    repeated(f"base64_{_name}_of_blanks", _start, b" \r\n")
    repeated(f"base64_{_name}_of_blanks_and_digits", _start, b"A ")
    repeated(
        f"base64_{_name}_with_bars",
        _start,
        b"QUJDQUJDQUJDQUJDQUJDQUJDQUJD|QUJDQUJDQUJD\r\n",
    )
repeated("quoted_of_equals", QUOTED, b"=")
repeated("quoted_of_breaks", QUOTED, b"=\r\n")
repeated("quoted_of_blanks", QUOTED, b"=" + b" " * 70)
repeated("quoted_of_blank_equals", QUOTED, b"= ")
repeated("quoted_of_blanks_alone", QUOTED, b" ")
repeated("quoted_of_long_blanks", QUOTED + b"=", b" ", b"x")
repeated("quoted_of_bytes", QUOTED, b"=FF")
repeated("quoted_of_nulls", QUOTED, b"=00")
repeated("quoted_of_utf8", QUOTED, b"=E4=BD=A0=\r\n")
repeated("flowed_of_blanks", FLOWED, b"a \r\n")
repeated("flowed_of_quotes", FLOWED, b"> a \r\n>> b \r\n")
repeated("flowed_of_marks", FLOWED, b">")
repeated("flowed_of_short_marks", FLOWED, b">" * 500 + b" \r\n")
repeated("flowed_of_signatures", FLOWED, b"-- \r\n")
repeated("enriched_of_tags", ENRICHED, b"<b>")
repeated("enriched_of_brackets", ENRICHED, b"<")
repeated("enriched_of_params", ENRICHED, b"<param>")
repeated("enriched_of_lines", ENRICHED, b"\r\n")
for _label in (
    "iso-2022-jp", "iso-2022-jp-2", "iso-2022-kr", "iso-2022-cn", "hz-gb-2312", "utf-7", "utf-16",
    "utf-32", "gb18030", "big5", "euc-jp", "euc-kr", "shift_jis", "koi8-u", "johab", "x-user-defined", "unknown-9",
):  # fmt: skip
    _start = HEAD + b"Content-Type: text/plain; charset=%s\r\n\r\n" % _label.encode()
    repeated(f"{_label}_of_switches", _start, b"\x1b$B\x1b(B\x1b$)C\x0e\x0f")
    repeated(f"{_label}_of_escapes", _start, b"\x1b$(D01\x1b.A\x1bN")
    repeated(f"{_label}_of_shifts", _start, b"\x0e!!\x0f")
    repeated(f"{_label}_of_bytes", _start, b"\x8f\xa1\xff\x80 \x81")
    repeated(f"{_label}_of_signs", _start, b"~{~}+A-&")
    repeated(f"{_label}_of_text", _start, b"\x24\x22\xb0\xa1\x82\xa0")
for _label in ("", "; charset=utf-8", "; charset=us-ascii"):
    _start = HEAD + b"Content-Type: text/plain%s\r\n\r\n" % _label.encode()
    for _codec in ("gb18030", "big5", "euc_jp", "cp932", "cp949", "cp1251"):
        repeated(
            f"{_codec}_as{_label or '_nothing'}",
            _start,
            "日本漢字".encode(_codec, "ignore") or "Привет ".encode(_codec),
        )
    repeated(
        f"damaged_utf8_as{_label or '_nothing'}",
        _start,
        "Größe ".encode() * 3 + b"\xff\x81",
    )
TEXT: Final = HEAD + PLAIN
repeated("lines_of_one_letter", TEXT, b"a\n")
repeated("lines_of_one_letter_crlf", TEXT, b"a\r\n")
repeated("lines_of_nothing", TEXT, b"\r\n")
repeated("lines_of_returns", TEXT, b"\r")
repeated("lines_of_form_feeds", TEXT, b"\f\v\x85")
repeated("lines_of_separators", TEXT, "\u2028\u2029\u0085".encode())
repeated("lines_of_controls", TEXT, b"\x00\x01\x7f")
repeated("lines_of_c1", TEXT, "\u0081\u009f".encode())
repeated("lines_of_blanks", TEXT, b" ")
repeated("one_line", TEXT, b"a")
repeated("one_line_of_words", TEXT, "größe ".encode())
repeated("emoji", TEXT, "👩‍👩‍👧‍👦".encode())
repeated("uu_begins", TEXT, b"begin 644 a\r\n")
repeated("uu_begins_and_lines", TEXT, b"begin 644 a\r\n#0V%T\r\n")
repeated("uu_blocks", TEXT, b"begin 644 a\r\n#0V%T\r\n`\r\nend\r\n")
repeated("uu_blanks", TEXT + b"begin 644 a\r\n", b"#   " + b" " * 300 + b"\r\n")
repeated("uu_one_begin", TEXT + b"begin 644 a\r\n", b"#0V%T\r\n")
repeated("uu_bomb", TEXT + b"begin 644 a\r\n", b"M\r\n", b"`\r\nend\r\n")
repeated("uu_begin_of_blanks", TEXT, b"begin 644 a" + b" " * 200 + b"x\r\n")
repeated("uu_base64", TEXT, b"begin-base64 644 a\r\nQQ==\r\n====\r\n")
repeated("uu_base64_open", TEXT + b"begin-base64 644 a\r\n", b"QUJD\r\n")
repeated("uu_base64_begins", TEXT, b"begin-base64 644 a\r\nQUJD\r\n")
repeated("data_in_text", TEXT, b"data:image/png;base64,")
repeated("data_in_text_of_slashes", TEXT, b"data:" + b"a" * 59 + b"/")
repeated("pgp", TEXT, b"-----BEGIN PGP MESSAGE-----\r\n")

# ---------------------------------------------------------------- pages

PAGE: Final = HEAD + HTML
for _name, _piece in {
    "deep": b"<div>", "deep_tables": b"<table><tr><td>", "deep_lists": b"<ul><li>", "deep_pre": b"<pre>\n",
    "closings": b"</div>", "brackets": b"<", "tags": b"<a", "attributes": b" a=b", "quotes": b'<a b="',
    "odd_quotes": b"<a '>\"", "comments": b"<!--", "comment_ends": b"<!-->", "declarations": b"<!x", "instructions": b"<?",
    "scripts": b"<script>", "titles": b"<title>", "titles_in_turn": b"<title></titl", "selects": b"<select><svg><math>",
    "styles": b"<style></style>", "empty_scripts": b"<svg/>", "entities": b"&amp;", "numbers": b"&#x1F600;",
    "open_entities": b"&a", "long_entities": b"&#" + b"1" * 60, "zeros": b"&#0;", "blanks": b"&nbsp; ", "breaks": b"<br>",
    "rules": b"<hr>", "paragraphs": b"<p>", "cells": b"<td>a", "slashes": b"</", "nulls": b"<\0a>", "ends": b">",
    "ampersands": b"&", "semicolons": b"&;", "metas": b"<meta charset", "meta_blanks": b"<meta " + b" " * 299, "xml": b"<?xml ",
    "cids": b'<img src="cid:a">', "cid_blanks": b"cid:" * 9, "links": b'<a href="mailto:a@b.example">a</a>',
    "open_links": b'<a href="mailto:', "long_links": b"<a " + b"x" * 250 + b"href=mailto:", "links_of_blanks": b"<a " + b" " * 290,
    "forwards": b"<br>From: a<br>Date: b<br>To: c", "data": b'<img src="data:image/png;base64,QUJD">',
    "open_data": b'<img src="data:image/png;base64,', "data_blanks": b"=" + b" " * 19, "data_options": b"=data:image/png" + b";a" * 6,
    "data_percent": b'="data:image/png,%41%41">', "data_quotes": b"=&quot;data:a/b,", "data_types": b"=data:" + b"a" * 59 + b"/",
    "invisible": "\u200b\u034f".encode(), "wide": "<p>größe</p>".encode(), "lines": b"\r\n", "words": b"<p>some words of a letter</p>\r\n",
    "quotes_of_mail": b"<blockquote>", "spans": b"<span style='x'>a</span>", "percent_names": b"<a%", "xmp": b"<xmp><iframe><object>",
}.items():  # fmt: skip
    repeated(f"page_of_{_name}", PAGE, _piece)
repeated(
    "page_in_utf16",
    HEAD + b"Content-Type: text/html; charset=utf-16be\r\n\r\n",
    "<p>".encode("utf-16-be"),
)
repeated("page_of_one_attribute", PAGE + b"<a b='", b"x", b"'>y")
repeated("page_of_attributes_in_a_tag", PAGE + b"<a", b" b='c'", b">y")
repeated("page_of_one_name", PAGE + b"<", b"a", b">")
repeated("page_of_one_comment", PAGE + b"<!--", b"- ", b"-->y")
repeated("page_of_one_entity", PAGE + b"&#", b"1", b";")
repeated("page_of_one_hex_entity", PAGE + b"&#x", b"F", b";")
repeated(
    "page_of_one_image", PAGE + b'<img src="data:image/png;base64,', b"QUJD", b'">'
)
repeated(
    "page_of_one_percent_image", PAGE + b'<img src="data:image/png,', b"%41", b'">'
)

# ---------------------------------------------------------------- forwards

GMAIL: Final = TEXT + CLEAR.encode()
for _name, _piece in {
    "from": b"From: Mara <mara@acme.example>\n", "labels": b"From: a\nDate: b\nTo: c\n", "lines_above": CLEAR.encode(), "rules": b"________\n",
    "decorations": b"-- x --\n", "stars": b"*" * 119 + b"\n", "quotes": b"> " * 200 + b"\n", "bars": b"|>" * 60 + b"From: a\n",
    "to": b"To: a@b.example,\n", "others": b"Reply-To: a\n", "colons": b":\n", "bare": b"From a\n", "tabs": b"\tFrom:\t\n",
    "blank_lines": b"From: a@b.example\n\n", "long_lines": b"From: " + b"a" * 1900 + b"\n", "quoted_from": b"> From: a@b.example\n> To: b\n",
    "wrote": b"On x, a@b.example wrote:\n> x\n", "empty_quotes": b"> \n", "empty_quotes_of_blanks": b">" + b" " * 99 + b"\n", "of_wide": "From：a\n".encode(),
}.items():  # fmt: skip
    repeated(f"forward_{_name}", TEXT, _piece)
    repeated(f"forward_of_{_name}", GMAIL, _piece)
    repeated(f"page_forward_{_name}", PAGE, b"<div>" + _piece.replace(b"\n", b"</div>"))
for _name, _piece in {
    "words": b"words that go on\n", "addresses": b"Mara <mara@acme.example>,\n", "mailto": b"[mailto:a@b.example] [mailto:\n", "twice": b"<a@b.example<x>> <a@b<\n",
    "double": b"a@b.example <a@b.example>\n", "ats": b"a@ @a\n", "brackets": b"<\n", "open_twice": b"<a@b<" * 50 + b"\n", "opens": b"<a@" + b"b" * 200 + b"\n",
    "doubles": b"a@b a@b a@b a@b <\n", "groups": b"a:b;\n", "parens": b"(" * 99 + b"\n", "quotes": b'"a' * 50 + b"\n", "blanks": b"a@b" + b" " * 99 + b"<\n",
    "tabs": b"\ta\n",
}.items():  # fmt: skip
    _start = GMAIL + b"From: Mara <mara@acme.example>\nDate: x\nSubject: y\n"
    repeated(f"forward_to_{_name}", _start + b"To: ", b"\t" + _piece)
    repeated(f"forward_from_{_name}", GMAIL + b"Date: x\nFrom: ", b"\t" + _piece)
    repeated(
        f"forward_subject_{_name}",
        GMAIL + b"From: Mara <mara@acme.example>\nDate: x\nSubject: ",
        b"\t" + _piece,
    )
    _line = _piece.replace(b"\n", b" ")
    repeated(f"forward_to_line_{_name}", _start + b"To: ", _line)
    _long = 1990 // len(_line) * _line + b",\n"
    repeated(f"forward_to_long_{_name}", _start + b"To: ", b"\t" + _long)
    repeated(f"forward_from_long_{_name}", GMAIL + b"Date: x\nFrom: ", b"\t" + _long)
    repeated(
        f"forward_date_long_{_name}",
        GMAIL + b"From: Mara <mara@acme.example>\nDate: ",
        b"\t" + _long,
    )


@family
def forward_in_forward(size: int) -> bytes:
    """Forwards within each other, as many as there is room for."""
    one = (
        CLEAR
        + "From: Mara <mara@acme.example>\nDate: x\nSubject: Fwd: y\nTo: b@c.example\n\n"
    )
    return TEXT + filled(one.encode(), size)


@family
def forward_quoted_in_forward(size: int) -> bytes:
    """Forwards within each other, each with a quote mark more."""
    one = (
        CLEAR
        + "From: Mara <mara@acme.example>\nDate: x\nSubject: Fwd: y\nTo: b@c.example\n"
    )
    levels = [
        "".join("> " * level + line + "\n" for line in one.splitlines())
        for level in range(40)
    ]
    return TEXT + filled("".join(levels).encode(), size)


in_field("subject_of_prefixes", b"Subject: ", b"Fwd: ")
in_field("subject_of_marks", b"Subject: ", b"[a] ")
in_field("subject_of_brackets", b"Subject: ", b"[")
in_field("from_of_one_address", b"From: ", b"a", b"@b.example")

# ---------------------------------------------------------------- anything

repeated("nothing_but_returns", b"", b"\r")
repeated("nothing_but_line_ends", b"", b"\n")
repeated("nothing_but_colons", b"", b":")
repeated("nothing_but_letters", b"", b"a")
repeated("nothing_but_blanks", b"", b" ")
repeated("nothing_but_fields", b"", b"a:\n")
repeated("nothing_but_words", b"", b"=?a?q?b?=\n")
repeated("nothing_but_nulls", b"", b"\0")


@family
def noise(size: int) -> bytes:
    """Bytes without any order behind a header."""
    return TEXT + random.Random(size).randbytes(size)


@family
def noise_as_page(size: int) -> bytes:
    """The same as a page."""
    return PAGE + random.Random(size).randbytes(size)


@family
def noise_as_header(size: int) -> bytes:
    """The same as a header."""
    return HEAD + b"X: " + random.Random(size).randbytes(size)
