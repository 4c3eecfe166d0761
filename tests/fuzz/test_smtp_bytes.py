"""Bytes into an SMTP session, in each of its states.

Invariant: whatever the bytes, the session does not break and logs no internal error;
each command line gets one reply, in order, that its verb may have; a mail is stored
if, and only if, its bytes came behind a 354, up to the first CR LF . CR LF, or were
counted by BDAT, and its reply was 250; what is stored is those bytes, behind a 354 with
the dots taken off, and nothing else.
Each input is had whole, byte by byte, and cut at random.

The seed of a run is printed when it fails; `FUZZ_SEED` repeats it and `FUZZ_SECONDS`
makes it longer.
"""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.fakes.dialogue_fuzz import converse, judge, whole_replies
from tests.fakes.intake import MemorySink, running
from tests.fakes.waiting import until

SECONDS = float(os.environ.get("FUZZ_SECONDS", "4"))
TROUBLE = {"smtp_session_broken", "smtp_internal_error"}

EHLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<ada@corp.example>\r\n"
RCPT = b"RCPT TO:<log-ada@in.example>\r\n"
DATA = b"DATA\r\n"
HEAD = b"From: ada@corp.example\r\n\r\n"
END = b"\r\n.\r\n"

STATES = {
    "greeting": [],
    "helo": [b"HELO client.example\r\n"],
    "ehlo": [EHLO],
    "mail": [EHLO, MAIL],
    "rcpt": [EHLO, MAIL, RCPT],
    "refused": [EHLO, MAIL, b"RCPT TO:<nobody@in.example>\r\n"],
    "data": [EHLO, MAIL, RCPT, DATA],
    "header": [EHLO, MAIL, RCPT, DATA, HEAD[:10]],
    "body": [EHLO, MAIL, RCPT, DATA, HEAD + b"text"],
    "half end": [EHLO, MAIL, RCPT, DATA, HEAD + b"text\r\n."],
    "taken": [EHLO, MAIL, RCPT, DATA, HEAD + END],
    "chunk": [EHLO, MAIL, RCPT, b"BDAT 26\r\n" + HEAD],
    "in a chunk": [EHLO, MAIL, RCPT, b"BDAT 40 LAST\r\n" + HEAD],
    "chunks taken": [EHLO, MAIL, RCPT, b"BDAT 26\r\n" + HEAD + b"BDAT 0 LAST\r\n"],
    "pipelined": [EHLO, MAIL + RCPT + DATA, HEAD + END + MAIL + RCPT],
}
"""What brings a session there, in pieces that each wait for their replies."""

SECOND = MAIL + RCPT + DATA + HEAD + b"smuggled" + END
LINE_ENDS = {
    "LF": b"\n",
    "CR": b"\r",
    "CRLF": b"\r\n",
    "CRCRLF": b"\r\r\n",
    "LFCR": b"\n\r",
    "CRNULLF": b"\r\0\n",
    "NUL": b"\0",
    "CRLFNUL": b"\r\n\0",
    "NULCRLF": b"\0\r\n",
    "NEL": b"\xc2\x85",
    "VT": b"\x0b",
    "FF": b"\x0c",
}
SMUGGLING = {
    f"{first}.{second}": one + b"." + two
    for first, one in LINE_ENDS.items()
    for second, two in LINE_ENDS.items()
    if END not in one + b"." + two
}
"""Each of these may be taken for the end of a mail by somebody; it must not be here."""
PIECES = [
    EHLO,
    MAIL,
    RCPT,
    DATA,
    HEAD,
    END,
    SECOND,
    b"HELO x\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
    b"VRFY x\r\n",
    b"HELP\r\n",
    b"STARTTLS\r\n",
    b"BDAT 5 LAST\r\nhello",
    b"BDAT 0 LAST\r\n",
    b"BDAT 9\r\nNOOP\r\n\n.\n",
    b"BDAT x\r\n",
    b"BDAT 99999999999999999999 LAST\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"AUTH PLAIN AAAA\r\n",
    b"MAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8\r\n",
    b"MAIL FROM:<a@b> SIZE=99999999\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"RCPT TO:<nobody@in.example>\r\n",
    b"RCPT TO:<@a.example:log-ada@in.example>\r\n",
    b"mail from:<ada@corp.example>\r\n",
    b"GET / HTTP/1.1\r\n",
    b"From: eve@evil.example\r\n",
    b"Received: x\r\n" * 60,
    b"X: y\r\n" * 400,
    b"x" * 300,
    b"x" * 3000,
    b"..\r\n",
    b".\r\n",
    b".",
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b" ",
    b":",
    b"<",
    b">",
    b"\t",
    *SMUGGLING.values(),
]


async def check(sink, intake, pieces, cuts):
    """Have one conversation and hold it against the invariant."""
    with capture_logs() as events:
        said = await converse(intake, sink, cuts)
    sent = b"".join(pieces)
    assert not [event for event in events if event["event"] in TROUBLE], events
    return judge(sent, said), said


def ways(prefix, data, chance):
    """Return the ways to send some bytes behind a prefix."""
    whole = [*prefix, data]
    everything = b"".join(whole)
    single = [everything[at : at + 1] for at in range(len(everything))]
    cuts = sorted(chance.choices(range(len(data) + 1), k=3))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return whole, single, [*prefix, *(part for part in parts if part)]


async def try_all(folder, inputs, states=tuple(STATES), seed=1):
    """Try each input in each state and each way; return how many mails were taken."""
    chance = random.Random(seed)
    sink = MemorySink(folder)
    mails = 0
    limits = {
        "max_message_bytes": 20_000,
        "max_header_bytes": 3000,
        "max_header_fields": 300,
        "inline_bytes": 500,
        "max_received": 50,
        "timeout_s": 60,
        "data_timeout_s": 60,
        "max_mails_per_minute_per_peer": 10**9,
        "max_mails_per_minute_per_user": 10**9,
    }
    async with running(sink, **limits) as intake:
        for data in inputs:
            for state in states:
                for cuts in ways(STATES[state], data, chance):
                    pieces = [*STATES[state], data]
                    try:
                        taken, _ = await check(sink, intake, pieces, cuts)
                    except Exception as error:
                        error.add_note(f"state {state!r}, sent as {cuts!r}")
                        raise
                    mails += taken
        await until(lambda: not intake.connections.sessions)
    assert not list(folder.iterdir())
    return mails


@pytest.mark.timeout(60)
@pytest.mark.parametrize("state", STATES)
async def test_pieces_in_each_state(state, tmp_path):
    """Each piece of the dialogue, and each attack, in this state."""
    await try_all(tmp_path, PIECES, (state,))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("dot", SMUGGLING.values(), ids=SMUGGLING.keys())
async def test_smuggling_in_each_way(dot, tmp_path):
    """No sequence but CR LF . CR LF ends a mail, whole, byte by byte, or cut."""
    sink = MemorySink(tmp_path)
    prefix = STATES["data"]
    body = HEAD + b"first" + dot + MAIL + RCPT + b"DATA\r\nX: y\r\n\r\nz" + END
    async with running(sink) as intake:
        for cuts in ways(prefix, body, random.Random(2)):
            _, said = await check(sink, intake, [*prefix, body], cuts)
            # The second mail is content of the first, or refused together with it.
            assert len(said.stored) <= 1
            for content in said.stored:
                assert content.count(b"MAIL FROM") == 1
    lone = {b"\n", b"\r", b"\r\n"}
    if dot in {a + b"." + b for a in lone for b in lone}:
        assert set(sink.reasons) == {"bare_dot"}
        assert sink.stored == []


@given(
    state=st.sampled_from(sorted(STATES)),
    pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=6),
    seed=st.integers(0, 1000),
)
@pytest.mark.timeout(300)
def test_any_sequence(tmp_path_factory, state, pieces, seed):
    """Any sequence of pieces and bytes, in any state, holds to the invariant."""
    folder = tmp_path_factory.mktemp("fuzz")
    asyncio.run(try_all(folder, [b"".join(pieces)], (state,), seed))


@pytest.mark.timeout(60 + 2 * SECONDS)
async def test_mutated_dialogues(tmp_path):
    """Mutations of whole dialogues hold to the invariant, for a bounded time."""
    seed = int(os.environ.get("FUZZ_SEED") or random.randrange(1 << 32))
    chance = random.Random(seed)
    until = time.monotonic() + SECONDS
    whole = [b"".join(pieces) + HEAD + END + b"QUIT\r\n" for pieces in STATES.values()]
    mails = count = 0
    data = b""
    try:
        while time.monotonic() < until:
            inputs = [mutated(chance.choice(whole), chance) for _ in range(10)]
            for data in inputs:
                mails += await try_all(tmp_path, [data], ("greeting", "data"), seed)
                count += 1
    except Exception as error:
        error.add_note(f"seed {seed}, input {count}: {data!r}")
        raise
    assert mails > 0
    assert count > 2 * SECONDS


def as_lmtp(sent):
    """Return the same with LMTP's word of greeting."""
    return sent.replace(b"EHLO", b"LHLO").replace(b"HELO", b"LHLO")


LOGIN = b"AUTH PLAIN AGFkYUBjb3JwLmV4YW1wbGUAYWFhYWJiYmI=\r\n"
LHLO = as_lmtp(EHLO)
OTHERS = {
    "lmtp": ([LHLO], [LHLO, MAIL, RCPT, RCPT]),
    "submission": ([EHLO, LOGIN], [EHLO, LOGIN, MAIL, RCPT]),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("protocol", OTHERS)
async def test_pieces_over_lmtp_and_submission(protocol, tmp_path):
    """LMTP and submission neither break nor say what is no reply, whatever comes; a
    mail that LMTP takes is answered for each RCPT."""
    states = OTHERS[protocol]
    chance = random.Random(3)
    table = {"address": "127.0.0.1:0", "protocol": protocol}
    sink = MemorySink(tmp_path)
    pieces = [as_lmtp(one) if protocol == "lmtp" else one for one in PIECES]
    pieces += [LOGIN, b"AUTH LOGIN\r\n*\r\n", b"AUTH PLAIN\r\n\xff\r\n"]
    async with running(sink, listen=(), listeners=[table], inline_bytes=50) as intake:
        for state in states:
            for piece in pieces:
                more = chance.choice(pieces)
                for cuts in ways(state, piece + more, chance):
                    with capture_logs() as events:
                        said = await converse(intake, sink, cuts)
                    names = {event["event"] for event in events}
                    assert not names & TROUBLE, (cuts, events)
                    whole_replies(said.replies)
        for content in (HEAD + END, HEAD + b"x" + END):
            cuts = [*states[-1], DATA, content]
            said = await converse(intake, sink, cuts)
            taken = [line for line in said.replies if "2.0.0 OK 0" in line]
            assert len(taken) == (2 if protocol == "lmtp" else 1), said
            assert len(said.stored) == 1


def mutated(data, chance):
    """Return a dialogue with some things done to it."""
    work = bytearray(data)
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(work) + 1)
        to = min(len(work), at + chance.choice([1, 2, 5, 30]))
        match chance.randrange(5):
            case 0:
                work[at:to] = b""
            case 1:
                work[at:at] = chance.choice(PIECES)
            case 2:
                work[at:to] = chance.randbytes(to - at)
            case 3:
                work[at:at] = work[at:to] * chance.randint(1, 5)
            case _:
                lines = bytes(work).split(b"\r\n")
                one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                work = bytearray(b"\r\n".join(lines))
    return bytes(work)
