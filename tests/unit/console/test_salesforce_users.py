"""What the Users that Salesforce has mean for a user of the relay."""

from __future__ import annotations

import pytest

from relay.console.salesforce_users import judge
from relay.core.directory import Role, User
from relay.core.org import SalesforceUser

ID = "005000000000001AAA"


def user(salesforce_id: str | None = None) -> User:
    """Return Ada."""
    return User(
        1,
        "Ada",
        "ada@corp.example",
        Role.REP,
        active=True,
        salesforce_id=salesforce_id,
        relay_token="log-x",
    )


def found(number: int = 1, *, active: bool = True) -> SalesforceUser:
    """Return a User of the org."""
    return SalesforceUser(
        f"00500000000000{number}AAA", "Ada", "ada@corp.example", active
    )


@pytest.mark.parametrize(
    ("users", "word", "part"),
    [
        ([], "unknown", "has no user with the address ada@corp.example"),
        ([found(active=False)], "inactive", "is not active"),
        ([found(), found(2)], "several", "has 2 active users"),
    ],
)
def test_what_keeps_mail_waiting_is_said(users, word, part) -> None:
    """Each with the command that mends it."""
    known = judge(user(), users)
    assert known.word == word
    assert part in known.text
    assert "relay user set ada@corp.example --salesforce-id ID" in known.hint
    assert known.as_json()["result"] == word


def test_one_active_user_is_known() -> None:
    """An inactive namesake beside it does no harm."""
    known = judge(user(), [found(), found(2, active=False)])
    assert (known.word, known.text, known.id) == ("known", "", found().id)


def test_an_id_that_was_entered_is_named() -> None:
    """The sentence speaks of the id, not of the address."""
    assert f"the id {ID}" in judge(user(ID), []).text
