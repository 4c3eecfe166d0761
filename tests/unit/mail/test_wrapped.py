# ruff: noqa: E501 - bytes of formats, a structure to a line.
"""What other formats wrap up is found in any form, in bounded time, or left alone."""

from __future__ import annotations

import importlib
import struct
import sys
import zlib

import pytest

from relay.mail import decode, decoded, parse, parts, rtf, smime, tnef
from relay.mail.decode import whole
from tests.fakes.cpu import assert_cpu_below
from tests.fakes.real_life import (
    B64,
    PDF,
    TNEF_ABOUT,
    TNEF_BODY,
    TNEF_DATA,
    TNEF_FILE,
    TNEF_NEW,
    TNEF_PROPS,
    TNEF_TITLE,
    b64,
    mail,
    multi,
    oid,
    part,
    properties,
    signed,
    tlv,
)
from tests.fakes.real_life import tnef as winmail

HELLO = b"{\\rtf1 Hello\\par Hello}"


# ---------------------------------------------------------------- decoding


@pytest.mark.parametrize("size", [1, 3, 50, 1000])
def test_steps_do_not_depend_on_the_pieces(size: int) -> None:
    """Slices, octet strings, uuencode and zlib read the same, however they are cut."""
    inner = bytes(range(256)) * 3
    chunked = tlv(0x24, *(tlv(0x04, inner[i : i + 200]) for i in range(0, 768, 200)))
    for raw, steps in (
        (b"..." + inner + b"...", "slice=3+768"),
        (chunked, "octets"),
        (zlib.compress(inner), "inflate"),
        (b"#0V%T\r\n#\r\n\r\n#9&]G\r\n", "uuencode"),
        (b"%41b%20c", "percent"),
        (b"x", "unheard-of slice=0"),
    ):
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
        right = {
            "uuencode": b"Cat\0\0\0dog",
            "percent": b"Ab c",
            "unheard-of slice=0": b"x",
        }
        assert b"".join(decoded(pieces, steps)) == right.get(steps, inner)


def test_what_is_damaged_gives_what_comes_before_it() -> None:
    """No step raises; memory has a limit."""
    assert whole(b"\x04\x85\x01", "octets") == b""
    assert whole(b"no zlib", "inflate") == b""
    bomb = zlib.compress(bytes(1 << 22))
    assert len(whole(bomb, "inflate", limit=1000)) == 1000
    assert whole(b"YWJj", "base64", limit=2) == b"ab"
    assert whole(b"\n\nYWJj\n\n", "base64") == b"abc"
    assert whole(b"\r\n=\r\nYWJj", "base64") == b"abc"


def test_base64_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pybase64 the standard library decodes, and gives the same."""
    monkeypatch.setitem(sys.modules, "pybase64", None)
    try:
        slow = importlib.reload(decode)
        assert b"".join(slow.decoded([b64(PDF).encode()], "base64")) == PDF
        assert slow.whole(b"SGk=IQ==", "base64") == b"Hi!"
    finally:
        monkeypatch.undo()
        importlib.reload(decode)


def test_empty_lines_come_in_pieces_of_their_own() -> None:
    """An empty line may be all that a piece holds."""
    pieces = [b"YWJj\n", b"\n", b"\n", b"ZGVm\n"]
    assert b"".join(decoded(pieces, "base64")) == b"abcdef"
    assert b"".join(decoded([b"\n", b"YWJj"], "base64")) == b"abc"


# ---------------------------------------------------------------- hidden parts


def test_what_hides_parts_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond them it stays a file, and the limit is told."""
    line, body = multi("mixed", part("Hello", "Content-Type: text/plain"))
    hidden = mail(b64(body), line, B64)
    wrapped = mail(b64(signed(part("Hello", "Content-Type: text/plain"))),
                   "Content-Type: application/pkcs7-mime; name=smime.p7m", B64)  # fmt: skip
    monkeypatch.setattr(parts, "MAX_HIDDEN", 0)
    for raw in (hidden, wrapped):
        email = parse(raw)
        assert "hidden_cut" in email.repairs
        assert len(email.attachments) == 1
    source = parts.Source(b"x", 1, 2, "base64")
    assert source.place(3, 5, "7bit") == (1, 2, "base64 slice=3+2")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        tlv(0x30, oid("1.2.3")),
        tlv(0x30, b"\x30\x80"),
        b"\x30\x89" + bytes(20),
        tlv(0x30, oid("1.2.840.113549.1.7.2")),
        signed(b"x" * 90, chunks=10)[:60],
        tlv(
            0x30,
            oid("1.2.840.113549.1.7.2"),
            tlv(0xA0, tlv(0x30, tlv(0x02, b"\1"), b"\x31\x80")),
        ),
    ],
)
def test_broken_envelopes_are_left_alone(data: bytes) -> None:
    """What is no S/MIME, or ends before its content, is told."""
    assert smime.read(data) == smime.Found(smime.UNREADABLE)


def test_content_in_nested_chunks_is_found() -> None:
    """Octet strings may stand in each other, with and without a length."""
    inner = tlv(
        0x24,
        tlv(0x24, tlv(0x04, b"Hel"), open_end=True),
        tlv(0x04, b"lo"),
        open_end=True,
    )
    content = tlv(0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, inner))
    algorithms = tlv(0x31, tlv(0x30, b""), open_end=True)
    data = tlv(0x30, tlv(0x02, b"\1"), algorithms, content)
    found = smime.read(tlv(0x30, oid("1.2.840.113549.1.7.2"), tlv(0xA0, data)))
    assert found.note == smime.OPENED
    whole_data = tlv(0x30, oid("1.2.840.113549.1.7.2"), tlv(0xA0, data))
    assert whole(whole_data, found.steps) == b"Hello"
    assert not smime.is_envelope("application/pkcs7-mime", "smime.p7s")


# ---------------------------------------------------------------- winmail.dat


def test_properties_of_every_form_are_passed_over() -> None:
    """Named, many-valued and wide properties do not hide what comes behind them."""
    named = (
        struct.pack("<HH", 0x1E, 0x8001)
        + bytes(16)
        + struct.pack("<II", 1, 6)
        + b"a\0b\0\0\0"
        + bytes(2)
    )
    named += struct.pack("<II", 1, 4) + b"abc\0"
    numbered = (
        struct.pack("<HH", 0x03, 0x8002) + bytes(16) + struct.pack("<III", 0, 7, 9)
    )
    many = struct.pack("<HHI", 0x1003, 0x3000, 3) + struct.pack("<III", 1, 2, 3)
    wide = struct.pack("<HH", 0x40, 0x0039) + bytes(8)
    text = struct.pack("<HHII", 0x1E, 0x1000, 1, 5) + b"Hello" + bytes(3)
    data = winmail(
        (1, TNEF_PROPS, struct.pack("<I", 5) + named + numbered + many + wide + text)
    )
    found = tnef.read(data)
    assert found
    assert found.text == "Hello"


@pytest.mark.parametrize(
    "properties_of_it",
    [
        b"",
        struct.pack("<IHH", 1, 0x0999, 1),
        struct.pack("<IHHII", 1, 0x1E, 0x1000, 9, 1 << 30),
        struct.pack("<IHH", 9, 0x03, 0x1000),
    ],
)
def test_broken_properties_hold_nothing(properties_of_it: bytes) -> None:
    """What has no known form, or ends too early, ends the list."""
    assert tnef.read(winmail((1, TNEF_PROPS, properties_of_it))) is None


def test_a_letter_is_taken_from_where_it_stands() -> None:
    """The text before the page, the page before RTF; files that are empty are none."""
    both = winmail((1, TNEF_BODY, b"plain"), (1, TNEF_PROPS, properties((0x1E, 0x1000, b"text"), (0x03, 0x1009, 5), (0x1E, 0x0037, b"x"))))  # fmt: skip
    found = tnef.read(both)
    assert found
    assert found.text == "text"
    assert tnef.read(winmail((2, TNEF_NEW, b""), (2, TNEF_TITLE, b"a\0"))) is None
    assert tnef.read(
        winmail((2, TNEF_TITLE, b"a\0"), (1, 0x123, b""), (1, TNEF_BODY, b"x"))
    )
    assert tnef.read(winmail((1, TNEF_BODY, b"x")) + b"\x09" + bytes(20)).text == "x"  # type: ignore[union-attr]


def test_mails_within_mails_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of inner mails count to a depth; what is no mail within is passed over."""
    key = bytes.fromhex("0703020000000000c000000000000046")
    inner = winmail(*TNEF_FILE)
    for _ in range(5):
        holder = properties((0x0D, 0x3701, key + inner), (0x1E, 0x3001, b"name"))
        inner = winmail((2, TNEF_NEW, b""), (2, TNEF_ABOUT, holder))
    assert tnef.read(inner) is None
    broken = properties((0x0D, 0x3701, key + b"nothing"))
    other = properties((0x0D, 0x3701, bytes(16) + b"ole"))
    data = winmail((2, TNEF_NEW, b""), (2, TNEF_ABOUT, broken), (2, TNEF_NEW, b""), (2, TNEF_ABOUT, other), *TNEF_FILE)  # fmt: skip
    found = tnef.read(data)
    assert found
    assert [file.name for file in found.files] == ["Angebot für Mara.pdf"]
    monkeypatch.setattr(tnef, "MAX_FILES", 1)
    found = tnef.read(winmail(*TNEF_FILE, (2, TNEF_NEW, b""), (2, TNEF_DATA, b"abc")))
    assert found
    assert len(found.files) == 1


# ---------------------------------------------------------------- RTF


def test_references_back_are_followed() -> None:
    """A packed text repeats what it had, or what every text begins with."""
    # `{\\rtf1 ` stands at the start of the window, `Hello` at 207 + 8.
    first = bytes([0b0000_0001]) + struct.pack(">H", 0 << 4 | 5) + b" Hello "
    head = struct.pack("<II4sI", 60, 21, b"LZFu", 0)
    assert rtf.unpacked(head + first) == b"{\\rtf1\\ Hello "
    assert (
        rtf.unpacked(struct.pack("<II4sI", 60, len(HELLO), b"MELA", 0) + HELLO) == HELLO
    )
    assert rtf.unpacked(b"") == b""
    assert rtf.unpacked(head + b"\x01\x00") == b""
    ends = head + bytes([0b10]) + b"a" + struct.pack(">H", 208 << 4)
    assert rtf.unpacked(ends) == b"a"
    ahead = head + bytes([0b10]) + b"a" + struct.pack(">H", 4000 << 4 | 1)
    assert rtf.unpacked(ahead) == b"a   "


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (HELLO, "Hello\nHello"),
        (rb"{\rtf1 a\u8364?b\uc0\u8364c}", "a\u20acb\u20acc"),
        (rb"{\rtf1\uc2 a\u8364\'3f\'3fb\~\_\{x\}\\}", "a\u20acb\u00a0\u2011{x}\\"),
        (rb"{\rtf1\ansicpg1251 \'cf\'f0\tab\emdash x\-y}", "\u041f\u0440\t\u2014xy"),
        (
            rb"{\rtf1{\*\htmltag <p>}\htmlrtf hidden \emdash\u65?\htmlrtf0 shown}}}",
            "shown",
        ),
        (b"{\\rtf1 \\u-10179?\\u-8703?}", "\U0001f601"),
        (rb"{\rtf1 \'e4", "\u00e4"),
        (b"", ""),
    ],
)
def test_rtf_is_read(document: bytes, text: str) -> None:
    """Paragraphs, code pages, signs and what is hidden."""
    assert rtf.to_text(document) == text


def test_hostile_documents_end() -> None:
    """Braces, words and references are looked at once."""
    for piece in (b"{", b"}", b"\\", rb"\u1", rb"\'4", b"{\\*", b"a" * 50):
        assert_cpu_below(
            3, lambda piece=piece: rtf.to_text(piece * (60_000 // len(piece)))
        )  # type: ignore[misc]
    data = struct.pack("<II4sI", 0, 1 << 30, b"LZFu", 0) + b"\xff\x00\x0f" * 30_000
    assert_cpu_below(3, lambda: rtf.unpacked(data))
    assert_cpu_below(3, lambda: smime.read(b"\x30\x80" * 60_000))
    assert_cpu_below(3, lambda: tnef.read(winmail(*((2, TNEF_NEW, b""),) * 10_000)))
