"""`relay explain` reads a file or its input; the usual slips are plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay import app

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings

SALESFORCE = """\
[salesforce]
instance_url = "http://127.0.0.1:9"
client_id = "id"
client_secret = "secret"
"""
ANSWER = {
    "state": "logged",
    "reason": "",
    "people": [{"address": "c@x.example", "name": "C\x1b", "place": "to"}],
    "unknown": ["d@x.example"],
    "activities": [
        {"object": "Task", "rule": "Contact.Email", "fields": {"Subject": "Hi"}}
    ],
}


@pytest.fixture
def asked(relay: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, str]]:
    """Answer in place of the org, and keep what was asked."""
    seen: list[tuple[bytes, str]] = []

    async def explain(
        _: Settings, raw: bytes, who: str | None, part: int, rcpt: str
    ) -> dict[str, Any]:
        seen.append((raw, who or rcpt))
        return ANSWER

    monkeypatch.setattr(app, "explain", explain)
    with relay.config.open("a") as config:
        config.write(SALESFORCE)
    return seen


def test_a_file_is_read_as_it_is(relay: Any, asked: Any, tmp_path: Path) -> None:
    """The bytes of the file, line ends and all, are what is explained."""
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"Subject: x\r\n\r\n\xff")
    assert relay.json("explain", str(mail), "--user", "Ada") == [ANSWER]
    assert asked == [(b"Subject: x\r\n\r\n\xff", "Ada")]


def test_a_dash_is_the_input(relay: Any, asked: Any) -> None:
    """A mail can be piped in; people get tables without escape sequences."""
    text = relay("explain", "-", "--user", "Ada", stdin=b"Subject: y\n\nz").stdout
    assert asked == [(b"Subject: y\n\nz", "Ada")]
    assert "logged" in text
    assert "Subject: Hi" in text
    assert "C\\x1b" in text


def test_a_relay_address_stands_for_its_user(relay: Any, asked: Any) -> None:
    """`--rcpt` names the user, and goes with a mail alone."""
    rcpt = "log-x+006000000000001AAA@in.example"
    relay("explain", "-", "--rcpt", rcpt, stdin=b"Subject: y\n\nz")
    assert asked == [(b"Subject: y\n\nz", rcpt)]
    line = relay.error("explain", "--rules", "new.toml", "--rcpt", rcpt, status=2)
    assert "--rcpt goes with a saved mail" in line
    line = relay.error("explain", "-", status=2)
    assert "'--user' or '--rcpt'" in line


def test_a_missing_file_is_named(relay: Any, asked: Any) -> None:
    """Exit 1 with the file's name."""
    assert "no.eml" in relay.error("explain", "no.eml", "--user", "Ada", status=1)


def test_without_salesforce_there_is_nothing_to_ask(relay: Any, tmp_path: Path) -> None:
    """The missing key is named, with exit 2."""
    (tmp_path / "mail.eml").write_bytes(b"Subject: x\r\n\r\n")
    line = relay.error("explain", "mail.eml", "--user", "Ada", status=2)
    assert "salesforce.instance_url" in line


def test_a_mail_that_the_relay_has_is_named_by_its_id(
    relay: Any, ada: Any, asked: Any
) -> None:
    """Its bytes and its user are known; another user may be named."""
    (id_,) = relay.put("One")
    relay("explain", id_[:13])
    relay("explain", id_, "--user", "Ben")
    raw = b"Subject: One\r\n\r\nHello\r\n"
    assert asked == [(raw, ada["email"]), (raw, "Ben")]
    assert "no message" in relay.error("explain", "0" * 26, status=1)


@pytest.mark.parametrize(
    ("rcpt", "said"),
    [
        ("log-none@{domain}", "is nobody's relay address"),
        ("{token}@elsewhere.example", "is nobody's relay address"),
        ("{token}+006@{domain}", "is no record id"),
        ("{token}@{domain}", "is a relay address of ada@corp.example, not of Ben"),
    ],
)
def test_an_address_that_is_not_the_users_is_refused(
    relay: Any, rcpt: str, said: str
) -> None:
    """Each mistake has its sentence, before Salesforce is asked."""
    with relay.config.open("a") as config:
        config.write(SALESFORCE)
    relay("user", "add", "Ben", "--email", "ben@corp.example")
    (row,) = relay.json("user", "add", "Ada", "--email", "ada@corp.example")
    token, _, domain = row["relay_address"].partition("@")
    (relay.config.parent / "mail.eml").write_bytes(b"Subject: x\r\n\r\n")
    address = rcpt.format(token=token, domain=domain)
    line = relay.error(
        *("explain", str(relay.config.parent / "mail.eml"), "--rcpt", address),
        *("--user", "Ben"),
        status=2,
    )
    assert said in line
