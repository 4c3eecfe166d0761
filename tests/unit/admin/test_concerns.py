"""What an admin is told before an address is accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.admin.concerns import concerns
from relay.core.addresses import address_key
from relay.core.directory import Directory, Role, User
from relay.core.mailboxes import DEFAULT_ADDRESS_RULES, AddressRules

ADA = User(1, "Ada", "ada@corp.example", Role.REP, True, None, "log-a")
BEN = User(2, "Ben", "ben@corp.example", Role.REP, True, None, "log-b")
DIRECTORY = Directory(
    1,
    {1: ADA, 2: BEN},
    {},
    {
        1: frozenset({"ada@corp.example", "*@ada.example"}),
        2: frozenset({"ben@gmail.com", "*@team.example"}),
    },
    (),
).read_by(AddressRules.of(DEFAULT_ADDRESS_RULES))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("*@gmail.com", ["free_mail_domain"]),
        ("*@corp.example", []),
        ("*@partner.example", []),
        ("ada@gmail.com", []),
        ("ben@corp.example", ["other_user"]),
        ("ben@gmail.com", ["other_user"]),
        ("b.en+x@gmail.com", ["other_user"]),
        ("*@team.example", ["other_user"]),
        ("carol@team.example", []),
        ("ada@c0rp.example", ["looks_alike"]),
        ("ada@\u0441orp.example", ["mixed_scripts", "looks_alike"]),
        ("\u0438\u0432\u0430\u043d@\u043f\u043e\u0447\u0442\u0430.example", []),
    ],
)
def test_what_speaks_against_an_address(key: str, words: list[str]) -> None:
    """Each in a word that stays, and a sentence that names what is meant."""
    key = key if key.startswith("*") else address_key(key) or ""
    found = concerns(key, DIRECTORY, 1)
    assert [one.word for one in found] == words
    assert all(one.text for one in found)


def test_a_new_user_is_compared_with_all() -> None:
    """Their own address must be nobody's; the store refuses a double by itself."""
    assert concerns("ben@corp.example", DIRECTORY, None) == []
    (one,) = concerns("b.en@gmail.com", DIRECTORY, None)
    assert "Ben <ben@corp.example>" in one.text


def test_who_was_removed_has_no_address() -> None:
    """It may be given to somebody else."""
    gone = replace(BEN, removed_at=datetime(2026, 1, 1, tzinfo=UTC))
    directory = replace(DIRECTORY, users={1: ADA, 2: gone})
    assert concerns("ben@corp.example", directory, 1) == []


def test_an_internationalised_domain_is_shown_in_both_spellings() -> None:
    """An admin cannot tell the letters apart; the ASCII form is never the same."""
    key = address_key("ada@\u0441orp.example") or ""
    assert "xn--" in concerns(key, DIRECTORY, 1)[1].text
