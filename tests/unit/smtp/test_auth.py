"""AUTH: what credentials are, and who they fit."""

from __future__ import annotations

import base64

import pytest

from relay.core.errors import StoreUnavailable
from relay.smtp import replies
from relay.smtp.auth import AuthRefused, Credentials, Logins, exchange
from tests.fakes.intake import ADA, BEN, CLEO, PEOPLE, MemorySink


def encoded(*words):
    """Return words with NUL between them, as AUTH sends them."""
    return base64.b64encode(b"\0".join(word.encode() for word in words)).decode()


async def read(argument, *answers):
    """Run an exchange; the answers are those of the client."""
    waiting = list(answers)

    async def ask(challenge):
        return waiting.pop(0).encode()

    return await exchange(argument, ask)


async def test_plain_and_login_say_the_same():
    """Both mechanisms, with and without an initial response, give the credentials."""
    expected = Credentials("ada@corp.example", "secret")
    assert "secret" not in repr(expected)
    plain = encoded("", "ada@corp.example", "secret")
    same = encoded("ada@corp.example", "ada@corp.example", "secret")
    name, password = encoded("ada@corp.example"), encoded("secret")
    assert await read(f"PLAIN {plain}") == expected
    assert await read(f"plain {same}") == expected
    assert await read("PLAIN", plain) == expected
    assert await read("LOGIN", name, password) == expected
    assert await read(f"LOGIN {name}", password) == expected


@pytest.mark.parametrize(
    ("argument", "answers", "reply"),
    [
        ("CRAM-MD5", (), replies.UNKNOWN_MECHANISM),
        ("PLAIN *", (), replies.AUTH_CANCELLED),
        ("PLAIN", ("*",), replies.AUTH_CANCELLED),
        ("LOGIN", ("YQ==", "*"), replies.AUTH_CANCELLED),
        ("PLAIN =", (), replies.BAD_AUTH),
        ("PLAIN a", (), replies.BAD_AUTH),
        ("PLAIN YQ== YQ==", (), replies.BAD_AUTH),
        (f"PLAIN {encoded('a', 'b')}", (), replies.BAD_AUTH),
        (f"PLAIN {encoded('a', 'b', 'c', 'd')}", (), replies.BAD_AUTH),
        (f"PLAIN {encoded('ben', 'ada', 'x')}", (), replies.LOGIN_FAILED),
        (f"PLAIN {encoded('', 'ada', 'x' * 300)}", (), replies.LOGIN_FAILED),
        ("LOGIN /w==", ("YQ==",), replies.BAD_AUTH),
        ("PLAIN ä", (), replies.BAD_AUTH),
    ],
)
async def test_what_is_no_login(argument, answers, reply):
    """Each thing that cannot be read has its reply."""
    with pytest.raises(AuthRefused) as caught:
        await read(argument, *answers)
    assert caught.value.reply is reply


async def test_who_logs_in(tmp_path):
    """Name and app password must both fit an active user; either wrong is nobody."""
    sink = MemorySink(tmp_path)
    logins = Logins(sink)
    try:
        for name, password, user in (
            (ADA.email, "AAAA bbbb", ADA),
            (ADA.email.upper(), "aaaabbbb", ADA),
            (ADA.email, "wrong", None),
            (BEN.email, "aaaabbbb", None),
            (CLEO.email, "aaaabbbb", None),
            ("nobody@corp.example", "aaaabbbb", None),
            ("", "", None),
        ):
            credentials = Credentials(name, password)
            assert await logins.check(credentials, PEOPLE) == user
    finally:
        logins.close()


async def test_a_known_password_costs_no_hash(tmp_path, monkeypatch):
    """A right password is hashed once; the store's trouble does not lock people out."""
    sink = MemorySink(tmp_path)

    async def fail(*_):
        raise StoreUnavailable("locked")

    sink.credentials.app_password_used = fail
    logins = Logins(sink)
    try:
        right = Credentials(ADA.email, "aaaabbbb")
        assert await logins.check(right, PEOPLE) == ADA
        monkeypatch.setattr("relay.smtp.auth.verify_password", lambda *_: False)
        assert await logins.check(right, PEOPLE) == ADA
        wrong = Credentials(ADA.email, "aaaabbbc")
        assert await logins.check(wrong, PEOPLE) is None
    finally:
        logins.close()
