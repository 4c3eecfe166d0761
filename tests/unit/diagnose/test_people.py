"""Users whom the org does not know are named before their mail waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from relay.core.directory import Directory, Role, User
from relay.core.errors import StoreUnavailable
from relay.diagnose import Level
from relay.diagnose.people import judged, patterns
from relay.salesforce import SalesforceUser


def _user(number: int, salesforce_id: str | None = None) -> User:
    email = f"u{number}@corp.example"
    return User(
        number, f"U{number}", email, Role.REP, True, salesforce_id, f"t{number}"
    )


def _found(number: int, *, active: bool = True) -> SalesforceUser:
    return SalesforceUser(
        id="005000000000001AAA",
        name=f"U{number}",
        email_key=f"u{number}@corp.example",
        is_active=active,
    )


def test_users_that_are_known_are_fine() -> None:
    """By an id of their own, or by the e-mail of one active user."""
    finding = judged([_user(1, "005000000000001AAA"), _user(2)], [_found(2)])
    assert finding.level is Level.OK


def test_users_without_one_active_user_are_named() -> None:
    """None, an inactive one and two of them: each keeps mail waiting."""
    users = [_user(number) for number in (1, 2, 3)]
    finding = judged(users, [_found(2, active=False), _found(3), _found(3)])
    assert finding.level is Level.WARN
    for user in users:
        assert user.email in finding.text
    assert finding.hint == "relay user set u1@corp.example --salesforce-id ID"


def test_a_long_list_is_counted() -> None:
    """Ten names are enough to see what is wrong."""
    finding = judged([_user(number) for number in range(25)], [])
    assert "and 15 more" in finding.text
    assert "u9@" in finding.text
    assert "u10@" not in finding.text


class Access:
    """Gives a directory in the place of a store, or nothing, or an error."""

    def __init__(self, directory: Directory | None, error: Exception | None = None):
        self.directory = self
        self._loaded = directory
        self._error = error

    def require(self) -> Access | None:
        if self._error:
            raise self._error
        return self if self._loaded else None

    async def load(self) -> Directory | None:
        return self._loaded


async def test_addresses_that_let_strangers_in_are_named() -> None:
    """What an older relay took stays until an admin removes it, who must see it."""
    users = {
        1: _user(1),
        2: replace(_user(2), email="*@corp.example"),
        3: replace(_user(3), removed_at=datetime(2026, 1, 1, tzinfo=UTC), email="*@x"),
    }
    accepted = {
        1: frozenset({"*@gmail.com", "a+*@corp.example", "*@corp.example", "a@b.test"})
    }
    access = Access(Directory(1, users, {}, accepted, ()))
    found = await patterns(access)  # type: ignore[arg-type]
    assert [one.hint for one in found] == [
        "relay address remove u1@corp.example '*@gmail.com'",
        "relay address remove u1@corp.example 'a+*@corp.example'",
        "relay user set-email '*@corp.example' ADDRESS",
    ]
    assert {one.level for one in found} == {Level.WARN}
    for nothing in (Access(None), Access(None, StoreUnavailable("down"))):
        assert await patterns(nothing) == []  # type: ignore[arg-type]
