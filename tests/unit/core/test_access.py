"""What a token may: its scopes, within the role of its user."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.core.access import MEANING, OF_ROLE, Scope, caller, known
from relay.core.directory import APIToken, Role, User

NOW = datetime(2026, 11, 30, tzinfo=UTC)
EVERY = tuple(scope.value for scope in Scope)


def token(*scopes):
    return APIToken("crm", None, NOW, "test", scopes=scopes)


def user(role):
    return User(7, "Ada", "ada@corp.example", role, True, None, "log-x")


def test_each_scope_says_what_it_is():
    """No right is without words, and no role without rights."""
    assert set(MEANING) == set(Scope)
    assert set(OF_ROLE) == set(Role)
    assert OF_ROLE[Role.ADMIN] == set(Scope)


def test_a_token_of_nobody_has_its_scopes():
    """A program of an admin may what it was made for, over everything."""
    who = caller(token("log:read", "users:read"), None)
    assert who.name == "api:crm"
    assert who.scopes == {Scope.LOG_READ, Scope.USERS_READ}
    assert who.own_only is None
    assert who.sees_relay_address(1)


@pytest.mark.parametrize("role", list(Role))
def test_a_token_of_a_user_has_no_more_than_the_role(role):
    """Nobody gets rights by a token that their role has not."""
    who = caller(token(*EVERY), user(role))
    assert who.scopes == OF_ROLE[role]
    assert who.own_only == (7 if role is Role.REP else None)
    assert who.sees_relay_address(7)
    assert who.sees_relay_address(8) is (role is Role.ADMIN)


def test_only_admins_change_people_and_rules():
    """A rep and a monitor edit nothing of what the admin set."""
    writes = {Scope.USERS_WRITE, Scope.SETTINGS_WRITE, Scope.AUDIT_WRITE}
    for role in (Role.REP, Role.MONITOR):
        assert not OF_ROLE[role] & writes
    assert Scope.RAW_READ not in OF_ROLE[Role.MONITOR]


def test_a_scope_of_a_newer_relay_is_none():
    """What this relay does not know gives no right."""
    assert known(["log:read", "moon:read"]) == {Scope.LOG_READ}
