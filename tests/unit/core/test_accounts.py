"""Secrets of sessions, and who may sign in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from relay.core.accounts import (
    Level,
    Passkey,
    SecondFactors,
    Session,
    digest,
    form_token,
    may_sign_in,
    new_secret,
    same,
)
from relay.core.directory import Role, User

ADA = User(1, "Ada", "ada@corp.example", Role.REP, True, None, "token")
AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_who_may_sign_in():
    """Who is active or was never activated; nobody who was disabled or removed."""
    assert may_sign_in(ADA)
    assert may_sign_in(replace(ADA, active=False))
    assert not may_sign_in(replace(ADA, active=False, activated_at=AT))
    assert not may_sign_in(replace(ADA, active=False, removed_at=AT))


def test_secrets_are_long_and_random():
    """256 bits, in letters that a URL and a cookie may have."""
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(one) for one in made} == {43}
    assert all(one.replace("-", "").replace("_", "").isalnum() for one in made)


def test_the_token_of_forms_follows_from_the_secret():
    """It is none of what is kept or sent elsewhere."""
    assert form_token("a") == form_token("a")
    assert len({form_token("a"), form_token("b"), digest("a"), "a"}) == 4


def test_any_text_can_be_compared():
    """A peer may send what is no text at all."""
    assert same("a", "a")
    assert not same("a", "\ud800")
    assert digest("\ud800")


def test_how_far_somebody_is_in():
    """It follows from what was shown, what there is, and what is asked for."""
    session = Session(
        1, ADA, "password", False, False, ADA.role, AT, AT, AT, "192.0.2.1", "Firefox"
    )
    assert session.level(required=False) is Level.FULL
    assert session.level(required=True) is Level.ENROL
    has = replace(session, has_factor=True)
    assert has.level(required=False) is has.level(required=True) is Level.SECOND
    for one in (session, has):
        strong = replace(one, strong=True)
        assert strong.level(required=True) is strong.level(required=False) is Level.FULL


def test_recovery_codes_alone_are_no_factor():
    """They stand for an app; without one there is nothing to stand for."""
    key = Passkey(1, 1, "id", "key", 0, "phone", AT, None)
    assert not SecondFactors(recovery_left=10)
    assert SecondFactors(app_since=AT)
    assert SecondFactors(passkeys=(key,))
