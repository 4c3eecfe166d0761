"""A check of a large or hostile mail holds up nobody else.

Measured in processor time of the whole process between two turns of the loop: other
programs of the machine do not lengthen it.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from relay.core.authentication import Result
from tests.fakes.authentication import MAIL, request_for
from tests.fakes.signing import Signer

MIB = 1024 * 1024
LONGEST_S = 0.020
FIELD = Signer("corp.example").field(MAIL)


async def longest_block(checker, data):
    """Check a mail up to three times; return what was found, and the best time.

    The time is the longest without a turn of the loop. Chance only makes it longer.
    """
    await checker.check()  # Loads what is loaded once.
    request = request_for(data)
    best = float("inf")
    for _ in range(3):
        found, longest = await once(checker, request)
        best = min(best, longest)
        if best < LONGEST_S:
            break
    return found, best


async def once(checker, request):
    task = asyncio.ensure_future(checker.authenticator.authenticate(request))
    longest, last = 0.0, time.process_time()
    while not task.done():
        await asyncio.sleep(0)
        now = time.process_time()
        longest, last = max(longest, now - last), now
    return task.result(), longest


BODIES = {
    "lines": b"A line  of text \t and blanks. \r\n" * (25 * MIB // 32),
    "blanks": b" " * (25 * MIB),
    "empty lines": b"\r\n" * (25 * MIB // 2),
    "one line": b"x" * (25 * MIB),
}
HEADS = {
    "many signatures": FIELD * 400,
    "many fields": b"X-Field: some text here\r\n" * 1900,
    "long names": FIELD.replace(b"from :", b"from :" + b"a:" * 190, 1) * 100,
    "folding": b"DKIM-Signature: v=1; b=" + b"\r\n " * 60_000 + b"x\r\n",
}


@pytest.mark.parametrize("body", BODIES)
async def test_25_megabytes(dns, checker, body):
    """The body is hashed in pieces beside the loop, whatever it is made of."""
    Signer("corp.example").publish(dns)
    found, longest = await longest_block(checker, FIELD + MAIL + BODIES[body])
    assert found.dkim[0].result is (
        # Blank lines at the end are no part of a body.
        Result.PASS if body == "empty lines" else Result.FAIL
    )
    assert longest < LONGEST_S


@pytest.mark.parametrize("head", HEADS)
async def test_hostile_headers(dns, checker, head):
    """The header is read beside the loop, and its costly parts are bounded."""
    Signer("corp.example").publish(dns)
    _, longest = await longest_block(checker, HEADS[head] + FIELD + MAIL)
    assert longest < LONGEST_S


async def test_silent_dns_holds_nobody_up(dns, checker):
    """While one mail waits for an answer that never comes, others are checked."""
    dns.txt("corp.example", "v=spf1 ip4:192.0.2.1 -all")
    dns.fail("silence", "slow.example")
    slow = asyncio.ensure_future(
        checker.check(author="a@slow.example", helo="slow.example")
    )
    for _ in range(10):
        found = await checker.check()
        assert found.spf[0].result is Result.PASS
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
