"""The dry run judges the sender before it asks Salesforce."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.directory import Directory, Role, User
from relay.sender import judge
from relay.worker import explain

ADA = User(
    id=1,
    name="Ada",
    email="ada@corp.example",
    role=Role.REP,
    relay_token="log-x",
    active=True,
    salesforce_id=None,
)
ACCEPTED = frozenset({"ada@corp.example"})


def mail(sender):
    """Return a mail from somebody to a customer."""
    return f"From: {sender}\r\nTo: c@x.example\r\nSubject: s\r\n\r\nHi\r\n".encode()


async def told(raw, user=ADA):
    """Explain a mail with an org that must not be asked."""
    directory = Directory(1, {user.id: user}, {}, {user.id: ACCEPTED}, ())
    return await explain(
        Settings(),
        None,
        None,
        None,
        directory=directory,
        user=user,
        raw=raw,
        now=SystemClock().now(),
    )


@pytest.mark.parametrize(
    "sender", ["sam@elsewhere.example", "nobody", "a@x.example, b@x.example"]
)
async def test_a_stranger_is_refused_with_the_text_of_smtp(sender):
    """State and text are what the stranger would be told at the end of DATA."""
    answer = await told(mail(sender))
    assert answer["state"] == "refused"
    assert answer["reason"] == judge([sender.encode()], ADA, ACCEPTED).text
    assert answer["activities"] == []
    assert answer["trace"][0] == {
        "step": "sender",
        "result": "refused",
        "detail": answer["reason"],
    }


async def test_no_command_lets_a_stranger_in():
    """A customer who replied to all must not be logged as the user."""
    answer = await told(mail("Sam <Sam@Elsewhere.example>"))
    assert "sam@elsewhere.example" in answer["hint"]
    assert "address add" not in answer["hint"]
    assert answer["mend"] == answer["hint"], "the former name stays"
    assert not {"hint", "mend"} & (await told(mail("nobody"))).keys()


async def test_mail_of_a_disabled_user_is_refused():
    """The mend is the command that enables them."""
    import dataclasses

    off = dataclasses.replace(ADA, active=False)
    answer = await told(mail("ada@corp.example"), off)
    assert answer["state"] == "refused"
    assert "relay user enable ada@corp.example" in answer["reason"]


async def test_the_trace_begins_with_the_sender_and_the_reading():
    """The first lines are those of the intake and of the worker, word for word."""
    people = Directory(
        1,
        {ADA.id: ADA},
        {},
        {ADA.id: ACCEPTED | {"pa@corp.example"}},
        (),
        delegates={ADA.id: {"pa@corp.example": "Pat"}},
    )

    async def lines(raw):
        answer = await explain(
            Settings(),
            SimpleNamespace(mails=SimpleNamespace(find=nothing)),
            None,
            None,
            directory=people,
            user=ADA,
            raw=raw.replace(b"c@x.example", b"ada@corp.example"),
            now=SystemClock().now(),
        )
        return [tuple(line.values()) for line in answer["trace"]]

    own = await lines(mail("Ada <ada@corp.example>"))
    assert own[:2] == [
        ("sender", "accepted", "ada@corp.example for Ada"),
        ("parse", "ok", ""),
    ]
    assert own[-1][:2] == ("rules", "skipped")
    (sender, *_) = await lines(mail("pa@corp.example"))
    assert sender[2] == "pa@corp.example for Ada (sent by Pat)"


async def nothing(*_):
    """Find no mail in the store."""
