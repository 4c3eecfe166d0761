"""A check of a large or hostile mail holds up nobody else.

Processor time of the whole process is compared, so that other programs of the machine
change nothing: the longest time between two turns of the loop with that of the whole
check. How long it is in milliseconds, `bench/sender.py` measures.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from relay.core.authentication import Result
from tests.fakes.authentication import MAIL, request_for
from tests.fakes.signing import Signer

MIB = 1024 * 1024
LARGEST_SHARE = 0.25
"""Of a check in one piece, nearly all is one block."""
HEADER_S = 0.25
"""Without its bounds, each of these headers takes seconds."""
FIELD = Signer("corp.example").field(MAIL)


async def blocks(checker, data):
    """Check a mail; return what was found, the longest block, and the whole time.

    Of three times, the one with the smallest block: chance only makes it longer.
    """
    await checker.check()  # Loads what is loaded once.
    request = request_for(data)
    return min([await once(checker, request) for _ in range(3)], key=lambda one: one[1])


async def once(checker, request):
    task = asyncio.ensure_future(checker.authenticator.authenticate(request))
    started = last = time.process_time()
    longest = 0.0
    while not task.done():
        await asyncio.sleep(0)
        now = time.process_time()
        longest, last = max(longest, now - last), now
    return task.result(), longest, last - started


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
    found, longest, whole = await blocks(checker, FIELD + MAIL + BODIES[body])
    assert found.dkim[0].result is (
        # Blank lines at the end are no part of a body.
        Result.PASS if body == "empty lines" else Result.FAIL
    )
    assert longest < LARGEST_SHARE * whole


@pytest.mark.parametrize("head", HEADS)
async def test_hostile_headers(dns, checker, head):
    """The header is read beside the loop, and its costly parts are bounded."""
    Signer("corp.example").publish(dns)
    _, longest, _ = await blocks(checker, HEADS[head] + FIELD + MAIL)
    assert longest < HEADER_S


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
