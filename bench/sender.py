"""What the checks of a sender cost, beside dkimpy alone.

    python bench/sender.py [--json] [--mails N]

Processor time of one signature of a 4 KB and of a 10 MB mail, by the relay and by
dkimpy alone; of the whole check of a 4 KB mail with a warm DNS cache; and the longest
time that a 25 MB mail holds up the event loop, in processor time of the process between
two turns of the loop, which other programs of the machine do not lengthen. The DNS is
the sandbox's own.

Times differ between machines and minutes: read the ratios. The least of several rounds
counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import dkim

from relay.core.authentication import Result
from relay.core.model import RawMail
from relay.sender import dkim as ours
from relay.sender.canonical import body_hashes
from tests.fakes.authentication import Checker, head_of, request_for
from tests.fakes.dns import DNS
from tests.fakes.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = (
    b"From: Ada <ada@corp.example>\r\nTo: Ben <ben@customer.example>\r\n"
    b"Subject: The offer\r\nDate: Mon, 30 Nov 2026 11:00:00 +0000\r\n"
    b"Message-ID: <1@corp.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
)
LINE = b"A line  of text with some\tblanks, as mails have them. \r\n"
MIB = 1024 * 1024
SIGNER = Signer("corp.example")


def mail(size: int) -> bytes:
    """Return a signed mail of about that size."""
    return SIGNER.sign(HEAD + LINE * (size // len(LINE)))


def by_relay(data: bytes) -> bool:
    """Verify the signature as the relay does, the key at hand."""
    head = head_of(data)
    lines, (one,) = ours.read_signatures(head, "corp.example", datetime.now(UTC))
    key = ours.read_key(SIGNER.record().encode(), "rsa")
    bodies = body_hashes(RawMail(len(data), "", data=data), len(head), [one.body_form])
    return ours.judge(one, lines, key, bodies).result is Result.PASS


def by_dkimpy(data: bytes) -> bool:
    """Verify it with the library alone."""
    return bool(dkim.verify(data, dnsfunc=lambda *_, **__: SIGNER.record().encode()))


def cpu_ms(work: Callable[[bytes], bool], data: bytes, rounds: int) -> float:
    """Return the processor time of one call, the least of some rounds."""
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        for _ in range(rounds):
            assert work(data)
        best = min(best, (time.process_time() - begin) / rounds * 1000)
    return best


async def whole_check_ms(dns: DNS, data: bytes, mails: int) -> float:
    """Return the processor time of SPF, DKIM and DMARC of one mail, the cache warm."""
    checker = Checker(dns)
    best = float("inf")
    for _ in range(4):
        begin = time.process_time()
        for _ in range(mails):
            found = await checker.check(data)
            assert found.dmarc is not None
            assert found.dmarc.result is Result.PASS
        best = min(best, (time.process_time() - begin) / mails * 1000)
    await checker.close()
    return best


async def longest_block_ms(dns: DNS, data: bytes) -> float:
    """Return the longest time between two turns of the loop while a mail is checked."""
    checker = Checker(dns)
    await checker.check(mail(4096))
    longest = 0.0
    request = request_for(data)
    task = asyncio.ensure_future(checker.authenticator.authenticate(request))
    last = time.process_time()
    while not task.done():
        await asyncio.sleep(0)
        now = time.process_time()
        longest = max(longest, now - last)
        last = now
    assert task.result().dkim[0].counts
    await checker.close()
    return longest * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mails", type=int, default=200)
    args = parser.parse_args()
    rows: dict[str, float] = {}
    for name, size, rounds in (("4_kb", 4096, 50), ("10_mb", 10 * MIB, 1)):
        data = mail(size)
        relay, alone = cpu_ms(by_relay, data, rounds), cpu_ms(by_dkimpy, data, rounds)
        rows[f"dkim_{name}_relay_ms"] = round(relay, 2)
        rows[f"dkim_{name}_dkimpy_ms"] = round(alone, 2)
        rows[f"dkim_{name}_ratio"] = round(relay / alone, 2)
    with DNS() as dns:
        dns.txt("corp.example", "v=spf1 ip4:192.0.2.1 -all")
        dns.dmarc("corp.example")
        SIGNER.publish(dns)
        rows["whole_check_4_kb_ms"] = round(
            asyncio.run(whole_check_ms(dns, mail(4096), args.mails)), 2
        )
        data = mail(25 * MIB)
        rows["longest_block_25_mb_ms"] = round(
            min(asyncio.run(longest_block_ms(dns, data)) for _ in range(3)), 2
        )
    if args.json:
        print(json.dumps(rows))
        return
    for name, value in rows.items():
        print(f"{name:28} {value:10}")


if __name__ == "__main__":
    main()
