"""Relay addresses are found by their local part, in a time that tells nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.core import directory as module
from relay.core.directory import AddressUse, Directory
from relay.core.mailboxes import AddressRules

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
TOKENS = {"log-abc": 1, "log-abd": 2}
PEOPLE = Directory(1, {}, TOKENS, {}, (), ended_tokens={"log-old": 2})


@pytest.mark.parametrize(
    ("token", "owner", "former"),
    [
        ("log-abc", 1, None),
        ("log-abd", 2, None),
        ("log-old", None, 2),
        ("log-ab", None, None),
        ("log-abcd", None, None),
        ("LOG-ABC", None, None),
        ("", None, None),
        ("\udcff", None, None),
        ("lög", None, None),
    ],
)
def test_owners_of_relay_addresses(
    token: str, owner: int | None, former: int | None
) -> None:
    """The whole local part names one owner, of today or of before."""
    assert PEOPLE.owner_of(token) == owner
    assert PEOPLE.former_owner_of(token) == former


def test_an_edited_directory_is_indexed_anew() -> None:
    """`replace` must not keep the addresses of before."""
    edited = replace(PEOPLE, by_token={"log-new": 3})
    assert edited.owner_of("log-new") == 3
    assert edited.owner_of("log-abc") is None
    assert replace(PEOPLE) == PEOPLE


def test_each_answer_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right, wrong or nearly right: one comparison that does not stop early."""
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(
        module.hmac,
        "compare_digest",
        lambda a, b: compared.append((a, b)) or a == b,
    )
    for token in ("log-abc", "log-abx", "zzz"):
        PEOPLE.owner_of(token)
    assert compared == [(b"log-abc", b"log-abc"), (b"", b"log-abx"), (b"", b"zzz")]


def test_the_table_is_keyed_by_a_secret_of_the_process() -> None:
    """Which entries agree in their first bytes cannot be chosen from outside."""
    first, second = (replace(PEOPLE)._live._owners for _ in range(2))
    assert first.keys().isdisjoint(second.keys())
    assert not any(b"log" in key for key in first)


def test_a_delegate_is_found_by_the_entry_that_lets_them_send() -> None:
    """The exact address before the whole domain; nobody where the user sends."""
    rules = AddressRules.of(["corp.example: plus"])
    people = replace(
        PEOPLE,
        accepted={1: frozenset({"a@corp.example", "b@corp.example", "*@x.example"})},
        delegates={1: {"a@corp.example": "Carol", "*@x.example": "Office"}},
    ).read_by(rules)
    assert people.read_by(rules) is people
    names = {
        key: people.delegate_of(1, key)
        for key in ("a+t@corp.example", "b@corp.example", "y@x.example", "z@z.example")
    }
    assert list(names.values()) == ["Carol", "", "Office", ""]
    assert people.delegate_of(2, "a@corp.example") == ""


def test_uses_add_up() -> None:
    """The newer times stand."""
    later = AddressUse(1, 0, accepted_at=NOON)
    earlier = AddressUse(2, 3, NOON - timedelta(hours=1), NOON)
    assert earlier.plus(later) == AddressUse(3, 3, NOON, NOON)
    assert AddressUse().plus(later) == later
