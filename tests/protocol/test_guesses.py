"""Who tries addresses is answered ever later, and is sent away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.telemetry.metrics import REGISTRY
from tests.fakes.dialog import Talk
from tests.fakes.intake import PEOPLE, running


@pytest.fixture
def waits():
    """The waits that a server was asked for, in seconds."""
    return []


async def begun(connect, waits):
    """Return a conversation in a mail; its server waits in no test."""

    async def sleep(seconds):
        waits.append(seconds)

    connect.server._services.rates.sleep = sleep
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<eve@evil.example>")
    return talk


def delayed():
    return REGISTRY.get_sample_value("relay_recipients_delayed_total") or 0


async def test_guesses_are_slowed_and_end_the_session(serve_strangers, sink, waits):
    """The reply is that of any unknown recipient; then the session is closed."""
    connect = await serve_strangers(max_unknown_recipients=6)
    before = delayed()
    talk = await begun(connect, waits)
    for number in range(6):
        reply = await talk.ask(f"RCPT TO:<log-guess{number}@in.example>")
        assert reply.startswith("550 5.1.1 ")
    assert (await talk.reply())[0].startswith("421 4.7.0 Too many unknown recipients")
    assert await talk.line() == ""
    assert waits == [0.5, 1, 2]
    assert delayed() == before + 3
    await connect.server.intake.recorder.close()
    assert sink.reasons.count("too_many_unknown_recipients") == 1
    assert sink.reasons.count("unknown_recipient") == 6


async def test_a_new_session_is_no_new_beginning(serve_strangers, waits):
    """Guesses count for the peer; a neighbour is not slowed for them."""
    connect = await serve_strangers(max_unknown_recipients=4)
    talk = await begun(connect, waits)
    for number in range(4):
        await talk.ask(f"RCPT TO:<log-guess{number}@in.example>")
    del waits[:]
    again = await begun(connect, waits)
    assert (await again.ask("RCPT TO:<log-x@in.example>")).startswith("550 ")
    assert (await again.reply())[0].startswith("421 ")
    assert waits == [0.5]
    other = await connect("198.51.100.9")
    await other.begin()


async def test_pipelined_guesses_are_answered_in_order(serve_strangers, waits):
    """What was answered before leaves before the wait, and nothing is lost."""
    connect = await serve_strangers(max_unknown_recipients=5)
    talk = await begun(connect, waits)
    lines = [f"RCPT TO:<log-{n}@in.example>\r\n".encode() for n in range(4)]
    await talk.send(b"".join([*lines, b"RCPT TO:<log-ada@in.example>\r\n"]))
    said = [(await talk.reply())[0][:3] for _ in range(5)]
    assert said == ["550", "550", "550", "550", "250"]
    assert waits == [0.5]


async def test_addresses_that_somebody_knew_are_no_guesses(sink, waits):
    """Late mail to an ended address, or to a disabled user, is no attack."""
    people = replace(PEOPLE, ended_tokens={"log-former": 1})
    listeners = [{"address": "127.0.0.1:0", "proxy_from": ["127.0.0.1"]}]
    async with running(
        sink,
        directory=lambda: people,
        listen=(),
        listeners=listeners,
        max_unknown_recipients=1,
    ) as server:
        talk = await Talk.connect(*server.listening[0])
        await talk.send(b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\r\n")
        await talk.reply()
        await talk.ask("EHLO client.example")
        await talk.ask("MAIL FROM:<ada@corp.example>")
        for local in ("log-former", "log-cleo") * 3:
            reply = await talk.ask(f"RCPT TO:<{local}@in.example>")
            assert reply.startswith("550 5.1.1 ")
        assert (await talk.ask("RCPT TO:<log-ada@in.example>")).startswith("250 ")
        await talk.close()
    assert {one.user_id for one in sink.refused} == {1, 3}
    assert sink.uses == {"log-former": (0, 3), "log-cleo": (0, 3)}


async def test_this_machine_is_not_slowed(serve, waits):
    """A mail server in front limits strangers itself, and passes all of them on."""
    connect = await serve(max_unknown_recipients=2)
    talk = await begun(connect, waits)
    for number in range(5):
        reply = await talk.ask(f"RCPT TO:<log-guess{number}@in.example>")
        assert reply.startswith("550 ")
    assert (await talk.ask("RCPT TO:<log-ada@in.example>")).startswith("250 ")
    assert waits == []


async def test_accepted_and_refused_mail_is_counted_for_the_address(serve, sink):
    """An admin sees which address is used, and which attracts strangers."""
    connect = await serve()
    talk = await connect()
    await talk.begin()
    await talk.send(b"From: ada@corp.example\r\n\r\nHi\r\n.\r\n")
    assert (await talk.reply())[0].startswith("250 ")
    for command in ("MAIL FROM:<eve@evil.example>", "RCPT TO:<LOG-ADA@in.example>"):
        await talk.ask(command)
    await talk.ask("DATA")
    await talk.send(b"From: eve@evil.example\r\n\r\nHi\r\n.\r\n")
    assert (await talk.reply())[0].startswith("550 ")
    await connect.server.intake.close()
    assert sink.uses == {"log-ada": (1, 1)}
