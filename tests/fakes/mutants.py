"""Mails that were damaged on the way, or made to hurt: for the fuzzer and the bench."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes.forwards import CORPUS as FORWARDS
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


def seeds() -> list[bytes]:
    """Return the mails that mutation begins with."""
    found = [path.read_bytes() for path in CORPUS]
    found += [case.raw for case in CASES if 0 < len(case.raw) < _LONGEST]
    found += [member.raw for _, member in MEMBERS if len(member.raw) < 4 * _LONGEST]
    return found + [mail.raw for mail in FORWARDS[::7]]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield mutated mails, the same for the same seed."""
    chance = random.Random(seed)
    starts = seeds()
    for _ in range(count):
        raw = mutate(chance.choice(starts), chance, starts)
        yield raw
        if not chance.randrange(20):
            starts.append(raw[:_LONGEST])


def mutate(raw: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Return a mail with one to six things done to it."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice([1, 2, 4, 16, 64]))
        match chance.randrange(7):
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
            case _:
                lines = bytes(data).split(b"\n")
                chance.shuffle(lines)
                data = bytearray(b"\n".join(lines))
    return bytes(data)
