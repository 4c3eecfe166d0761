"""The grammar of MAIL and RCPT arguments."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.envelope import (
    GrammarError,
    MailCommand,
    Path,
    mail_command,
    rcpt_command,
)
from tests.fakes.cpu import assert_cpu_below


@pytest.mark.parametrize(
    ("argument", "local", "domain"),
    [
        ("<a@b.example>", "a", "b.example"),
        (
            "<A.b-c+d=e!#$%&'*/?^_`{|}~@B.example>",
            "A.b-c+d=e!#$%&'*/?^_`{|}~",
            "B.example",
        ),
        ('<"a b"@c.example>', "a b", "c.example"),
        (r'<"a\"b\\c"@d.example>', r'a"b\c', "d.example"),
        ('<"a@b"@c.example>', "a@b", "c.example"),
        ('<""@c.example>', "", "c.example"),
        ('<"ab"@c.example>', "ab", "c.example"),
        ("<@x.example:a@b.example>", "a", "b.example"),
        ("<@x.example,@y.example:a@b.example>", "a", "b.example"),
        ("<a@[192.0.2.1]>", "a", "[192.0.2.1]"),
        ("<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]"),
        ("<a@[x-tag:content]>", "a", "[x-tag:content]"),
        ("<a@host_name.example>", "a", "host_name.example"),
        ("<a@localhost>", "a", "localhost"),
        (f"<{'l' * 300}@b.example>", "l" * 300, "b.example"),
        ("<>", "", ""),
    ],
)
def test_paths(argument, local, domain):
    """What RFC 5321 section 4.1.2 has is read, unquoted, routes dropped."""
    path = mail_command("FROM:" + argument).path
    assert path == Path(local, domain)


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "a@b.example",
        "<a>",
        "<a@>",
        "<@b.example>",
        "< a@b.example>",
        "<a@b.example >",
        "<a@b.example",
        "a@b.example>",
        "<a@b@c.example>",
        "<a..b@c.example>",
        "<.a@c.example>",
        "<a.@c.example>",
        "<a@b..example>",
        "<a@.b>",
        "<a@b.>",
        "<a@-b.example>",
        "<a@b-.example>",
        "<a@[1.2.3]>",
        "<a@[300.1.1.1]>",
        "<a@[IPv6:zz]>",
        "<a@[]>",
        "<a(comment)@b.example>",
        "<a@b.example(comment)>",
        '<"a@b.example>',
        '<"a"b@c.example>',
        '<"a\x01"@c.example>',
        "<a\x7f@b.example>",
        "<a\x85@b.example>",
        "<<a@b.example>>",
        "Ada <a@b.example>",
        "<@x.example a@b.example>",
        "<@x.example,a@b.example>",
        f"<a@{'x' * 256}>",
    ],
)
def test_no_paths(argument):
    """What the grammar does not have is refused with 501, never guessed."""
    for read, word in ((mail_command, "FROM:"), (_rcpt, "TO:")):
        with pytest.raises(GrammarError) as caught:
            read(word + argument)
        assert caught.value.reply.code == 501


def _rcpt(argument, *, utf8=False):
    return rcpt_command(argument, utf8=utf8)


def test_mail_parameters():
    """SIZE and SMTPUTF8 are read, the others only tolerated."""
    command = mail_command(
        "FROM: <a@b.example>  SIZE=10  BODY=8bitmime AUTH=<> RET=FULL ENVID=x smtputf8 "
    )
    assert command == MailCommand(Path("a", "b.example"), 10, utf8=True)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("SIZE=", 501),
        ("SIZE=x", 501),
        ("SIZE=-1", 501),
        ("SIZE=" + "9" * 21, 501),
        ("SIZE=²", 501),
        ("SIZE", 501),
        ("SIZE=1 size=2", 501),
        ("BODY=BINARYMIME", 501),
        ("BODY", 501),
        ("SMTPUTF8=yes", 501),
        ("=x", 501),
        ("A=B=C", 501),
        ("MT-PRIORITY=3", 555),
        ("REQUIRETLS", 555),
    ],
)
def test_bad_mail_parameters(parameters, code):
    """A bad value is 501, an unknown parameter 555 (RFC 5321 section 4.1.1.11)."""
    with pytest.raises(GrammarError) as caught:
        mail_command("FROM:<a@b.example> " + parameters)
    assert caught.value.reply.code == code


def test_rcpt_parameters():
    """Parameters of DSN are tolerated, others are 555."""
    assert _rcpt("TO:<a@b.example> NOTIFY=NEVER ORCPT=rfc822;a@b.example")
    with pytest.raises(GrammarError) as caught:
        _rcpt("TO:<a@b.example> SIZE=3")
    assert caught.value.reply.code == 555


@pytest.mark.parametrize(
    "text", ["<postmaster>", "<Postmaster>", " <POSTMASTER> NOTIFY=NEVER"]
)
def test_bare_postmaster(text):
    """Postmaster needs no domain at RCPT (RFC 5321 section 4.1.1.3)."""
    assert _rcpt("TO:" + text) == Path("postmaster", "")
    assert _rcpt("TO:" + text).address == "postmaster"


def test_null_path_only_at_mail():
    """The null path is a sender, never a recipient."""
    assert mail_command("FROM:<>").path.address == ""
    with pytest.raises(GrammarError) as caught:
        _rcpt("TO:<>")
    assert caught.value.reply.code == 501


def test_smtputf8_is_asked_for():
    """Letters beyond ASCII need the parameter (RFC 6531 section 3.5)."""
    assert mail_command("FROM:<jürgen@bücher.example> SMTPUTF8").path.local == "jürgen"
    assert _rcpt("TO:<jürgen@bücher.example>", utf8=True).domain == "bücher.example"
    for read, word in ((mail_command, "FROM:"), (_rcpt, "TO:")):
        for address in ("jürgen@b.example", "j@bücher.example"):
            with pytest.raises(GrammarError) as caught:
                read(f"{word}<{address}>")
            assert caught.value.reply.code == 553


@given(st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=20))
def test_quoting_round_trip(local):
    """The canonical form of any local part reads back as the same path."""
    path = Path(local, "b.example")
    assert mail_command(f"FROM:<{path.address}>").path == path


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    """No argument makes anything but a path or a GrammarError."""
    for read in (mail_command, _rcpt):
        for argument in (text, "FROM:<" + text + ">", "TO:<" + text):
            with suppress(GrammarError):
                assert read(argument)


@pytest.mark.parametrize(
    "argument",
    [
        "<" + "a" * 2000,
        "<" + "a." * 1000,
        "<a@" + "a-" * 1000,
        "<a@" + "-" * 2000,
        "<" + "@a.b," * 400 + ":",
        '<"' + "\\" * 2000,
        "<a@b.example>" + " A" * 1000,
    ],
)
def test_time_is_linear(argument):
    """No argument that fits a command line takes long."""

    def work():
        for _ in range(10):
            with pytest.raises(GrammarError):
                mail_command("FROM:" + argument)

    assert_cpu_below(0.5, work)
