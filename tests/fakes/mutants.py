# ruff: noqa: E501 - tables of what is done to a mail.
"""Mails that were damaged on the way, or made to hurt: for the fuzzer and the bench."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes.forwards import CORPUS as FORWARDS
from tests.fakes.labelled import CORPUS as LABELLED
from tests.fakes.real_life import MEMBERS
from tests.fakes.torture import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus" / "mail").glob("*.eml"))
_LONGEST = 4_000

PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\x1b$B",
    b"=",
    b"==",
    b"=?",
    b"?=",
    b"=?utf-8?b?",
    b'"',
    b"\\",
    b"<",
    b">",
    b"(",
    b")",
    b",",
    b";",
    b":",
    b"@",
    b"--",
    b"%",
    b"*0*=",
    b"''",
    b"<!--",
    b"&#",
    b"\t",
    b" " * 50,
    b"A" * 300,
    b"Content-Type: ",
    b"Content-Transfer-Encoding: base64\r\n",
    b"From: x@y.example\r\n",
    b"boundary=",
    b"charset=utf-16",
    b"charset=utf-7",
    b"message/rfc822",
    b"multipart/mixed; boundary=b",
]

_CHARSETS = [
    b"utf-16", b"utf-8", b"iso-8859-1", b"iso-2022-jp", b"gb18030", b"big5", b"utf-7", b"koi8-r",
    b"windows-1251", b"shift_jis", b"euc-kr", b"us-ascii",
]  # fmt: skip
_WORDS = [
    (b"boundary=", b"boundary ="), (b'boundary="', b'boundary="x'), (b"\r\n--", b"\r\n-"), (b"--\r\n", b"\r\n"),
    (b"base64", b"quoted-printable"), (b"quoted-printable", b"base64"), (b"8bit", b"base64"),
    (b"text/plain", b"text/html"), (b"text/html", b"text/enriched"), (b"text/plain", b"message/rfc822"),
    (b"text/plain", b"multipart/mixed; boundary=x"), (b"multipart/alternative", b"message/rfc822"),
    (b"message/rfc822", b"application/ms-tnef"), (b"text/plain", b"application/pkcs7-mime"),
    (b"\r\n", b"\n"), (b"\r\n", b"\r"), (b": ", b":"), (b"<", b"<<"), (b">", b""), (b"@", b"@@"), (b"=?", b"=?="),
    (b"\r\n ", b" "), (b"From", b"> From"), (b"\r\n", b"\r\n> "), (b",", b";"), (b'"', b""), (b" ", b"\xc2\xa0"),
]  # fmt: skip


def seeds() -> list[bytes]:
    """Return the mails that mutation begins with."""
    found = [path.read_bytes() for path in CORPUS]
    found += [case.raw for case in CASES if 0 < len(case.raw) < _LONGEST]
    found += [member.raw for _, member in MEMBERS if len(member.raw) < 4 * _LONGEST]
    return found + [mail.raw for mail in (*FORWARDS, *LABELLED)]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield mutated mails, the same for the same seed."""
    chance = random.Random(seed)
    starts = seeds()
    for _ in range(count):
        raw = mutate(chance.choice(starts), chance, starts)
        yield raw
        if raw and not chance.randrange(20):
            starts.append(raw[:_LONGEST])


def mutate(raw: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Return a mail with one to six things done to it."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice([1, 2, 4, 16, 64]))
        match chance.randrange(13):
            case 0:
                data[at:to] = b""
            case 1:
                data[at:at] = chance.choice(PIECES)
            case 2:
                data[at:to] = chance.randbytes(to - at)
            case 3:
                data[at:at] = data[at:to] * chance.randint(1, 20)
            case 4:
                other = chance.choice(others)
                start = chance.randrange(len(other))
                data[at:to] = other[start : start + chance.randint(1, 200)]
            case 5:
                del data[at + 20 :]
            case 6:
                lines = bytes(data).split(b"\n")
                chance.shuffle(lines)
                data = bytearray(b"\n".join(lines))
            case 7 if at < to:
                data[at] ^= 1 << chance.randrange(8)
            case _:
                data = chance.choice(_CHANGES)(data, chance)
    return bytes(data)


def _changed_lines(data: bytearray, chance: random.Random) -> bytearray:
    """Cut, repeat or swap lines."""
    lines = bytes(data).split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(3):
        case 0:
            del lines[min(one, other) : max(one, other)]
        case 1:
            lines[one:one] = lines[other : other + 5] * chance.randint(1, 50)
        case _:
            lines[one], lines[other] = lines[other], lines[one]
    return bytearray(b"\n".join(lines))


def _repeated_field(data: bytearray, chance: random.Random) -> bytearray:
    """Repeat one field of the header, many times now and then."""
    head, end, body = bytes(data).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    line = chance.choice(lines)
    lines[0:0] = [line] * chance.choice([1, 1, 2, 50, 500])
    return bytearray(b"\r\n".join(lines) + end + body)


def _in_another_charset(data: bytearray, chance: random.Random) -> bytearray:
    """Name another charset, or write the bytes in one."""
    label = chance.choice(_CHARSETS)
    if chance.randrange(2):
        return bytearray(
            re.sub(rb"charset=\"?[\w-]+", b"charset=" + label, bytes(data))
        )
    text = bytes(data).decode("utf-8", "replace")
    return bytearray(text.encode(label.decode("ascii"), "replace"))


def _changed_word(data: bytearray, chance: random.Random) -> bytearray:
    """Break a boundary, an encoding, a media type or a mark, everywhere or once."""
    old, new = chance.choice(_WORDS)
    return bytearray(bytes(data).replace(old, new, chance.choice([1, 2, -1])))


_CHANGES = (_changed_lines, _repeated_field, _in_another_charset, _changed_word)
