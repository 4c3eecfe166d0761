"""The pitfalls of aiosmtpd 1.4.6 that would lose or let in mail, closed by name."""

from __future__ import annotations

import ast
import asyncio
import inspect
import socket
import textwrap

import pytest
from aiosmtpd.smtp import SMTP

from relay.smtp.wire import Wire
from tests.fakes.waiting import until

HEAD = b"From: ada@corp.example\r\n\r\n"


async def test_1_auth_and_dsn_parameters_are_tolerated(serve):
    """MAIL with AUTH=<>, RET, ENVID and RCPT with NOTIFY, ORCPT get 250, not 555."""
    talk = await (await serve())()
    await talk.reply()
    await talk.ask("EHLO client.example")
    reply = await talk.ask("MAIL FROM:<a@b.example> AUTH=<> RET=FULL ENVID=x")
    assert reply.startswith("250 ")
    reply = await talk.ask("RCPT TO:<log-ada@in.example> NOTIFY=NEVER ORCPT=rfc822;x")
    assert reply.startswith("250 ")


async def test_2_exceptions_are_451(serve, sink):
    """An exception of the store is 451, and its text stays inside."""
    sink.put_error = RuntimeError("database is locked")
    talk = await (await serve())()
    await talk.begin()
    await talk.send(HEAD + b".\r\n")
    reply = (await talk.reply())[0]
    assert reply.startswith("451 4.3.0 ")
    assert "locked" not in reply


async def test_3_end_of_input_does_not_cancel_the_commit(serve, sink):
    """A half-closed connection in the middle of a commit changes nothing."""
    sink.gate.clear()
    connect = await serve()
    talk = await connect()
    await talk.begin()
    (session,) = connect.server.connections.sessions
    await talk.send(HEAD + b".\r\n")
    await asyncio.wait_for(sink.begun.wait(), 3)
    talk.writer.write_eof()
    await until(lambda: session.wire.inbox._ended)
    sink.gate.set()
    assert (await talk.reply())[0].startswith("250 ")
    assert len(sink.stored) == 1


async def test_4_long_lines_are_taken(serve, sink):
    """A line of two megabytes is content like any other."""
    talk = await (await serve())()
    await talk.begin()
    await talk.send(HEAD + b"x" * 2_000_000 + b"\r\n.\r\n")
    assert (await talk.reply())[0].startswith("250 ")
    assert len(sink.stored[0][2]) == len(HEAD) + 2_000_002


async def test_5_nothing_is_decoded_in_the_envelope(serve, sink):
    """An encoded word in an envelope address is its letters, not what it decodes to."""
    talk = await (await serve())()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<=?utf-8?q?boss?=@corp.example>")
    reply = await talk.ask("RCPT TO:<=?utf-8?q?log-ada?=@in.example>")
    assert reply.startswith("550 5.1.1 ")
    assert sink.refused[0].mail_from == "=?utf-8?q?boss?=@corp.example"


async def test_6_null_sender_is_empty(serve, sink):
    """The null sender is kept as the empty text."""
    talk = await (await serve())()
    await talk.begin(mail_from="")
    await talk.send(HEAD + b".\r\n")
    await talk.reply()
    assert sink.stored[0][0].mail_from == ""


async def test_7_command_limits_do_not_drift(serve):
    """EHLO again and again, on many connections, changes no limit."""
    connect = await serve()
    line = "MAIL FROM:<" + "a" * 1000 + "@b.example>"
    for _ in range(3):
        talk = await connect()
        await talk.reply()
        for _ in range(5):
            await talk.ask("EHLO client.example")
            assert (await talk.ask(line)).startswith("250 ")


async def test_8_no_auth_is_announced(serve):
    """EHLO has no AUTH line, full or empty."""
    talk = await (await serve())()
    await talk.reply()
    await talk.send(b"EHLO client.example\r\n")
    assert not any("AUTH" in line for line in await talk.reply())


async def test_9_one_reply_for_data(serve, sink):
    """Over SMTP a mail for two has one reply, and the next command its own."""
    talk = await (await serve())()
    await talk.begin("log-ada@in.example", "postmaster@in.example")
    await talk.send(HEAD + b".\r\nNOOP\r\n")
    assert (await talk.reply())[0].startswith("250 2.0.0 OK 2 messages")
    assert await talk.reply() == ["250 2.0.0 OK"]


async def test_10_slow_data_is_not_cut_by_the_command_timer(serve, sink):
    """A mail that takes longer than `timeout_s`, but keeps coming, arrives."""
    talk = await (await serve(timeout_s=1, data_timeout_s=5, min_data_rate=0))()
    await talk.begin()
    await talk.send(HEAD)
    for _ in range(6):
        await asyncio.sleep(0.25)
        await talk.send(b"line\r\n")
    await talk.send(b".\r\n")
    assert (await talk.reply())[0].startswith("250 ")


async def test_host_name_is_never_looked_up(serve, monkeypatch):
    """No connection makes the server ask for its own name."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("getfqdn was called"))
    talk = await (await serve())()
    assert (await talk.reply())[0].startswith("220 mx.in.example ")


def _self_attributes(method, *, written):
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    kind = ast.Store if written else ast.Load
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and isinstance(node.ctx, kind)
    }


def test_constructor_sets_what_is_read():
    """Every attribute that aiosmtpd's constructor sets and its methods in use read is
    set by ours."""
    used = (
        SMTP.connection_made,
        SMTP._cb_client_connected,
        SMTP._create_session,
        SMTP._create_envelope,
        SMTP._set_rset_state,
        SMTP._set_post_data_state,
        SMTP.smtp_STARTTLS,
        SMTP.__del__,
    )
    set_by_original = _self_attributes(SMTP.__init__, written=True)
    read = set().union(*(_self_attributes(method, written=False) for method in used))
    ours = _self_attributes(Wire.__init__, written=True)
    assert (read & set_by_original) - ours == set()
