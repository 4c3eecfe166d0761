"""Whom to look for in a mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.directory import SkipKind
from relay.match import Plan, plan
from tests.fakes.values import boxes, directory, email

if TYPE_CHECKING:
    from relay.core.model import Email


def planned(mail: Email, *exclusions: tuple[str, SkipKind], limit: int = 50) -> Plan:
    """Plan a mail of Ada's."""
    return plan(
        mail,
        directory(*exclusions, accepted=("ada@corp.example", "*@house.example")),
        user_id=1,
        relay_domains=("in.relay.example",),
        limit=limit,
    )


def keys(mail: Email, *exclusions: tuple[str, SkipKind]) -> list[str]:
    """Return the addresses looked for."""
    return [person.key for person in planned(mail, *exclusions).people]


def test_to_then_cc_each_address_once() -> None:
    """To and Cc are looked for in the order of the mail, an address once (R8)."""
    mail = email(
        to=boxes("B@one.example", "a@two.example"),
        cc=boxes("b@ONE.example", "c@three.example"),
    )
    assert keys(mail) == ["b@one.example", "a@two.example", "c@three.example"]


def test_bcc_and_reply_to_are_not_looked_for() -> None:
    """A customer whom nobody saw in the mail is not made visible on a record."""
    mail = email(
        to=boxes("a@one.example"),
        bcc=boxes("secret@two.example"),
        reply_to=boxes("other@three.example"),
    )
    assert keys(mail) == ["a@one.example"]


@pytest.mark.parametrize(
    "own",
    [
        "ada@corp.example",
        "BEN@corp.example",
        "anyone@house.example",
        "log-x@in.relay.example",
    ],
)
def test_own_addresses_are_left_out(own: str) -> None:
    """Users, their accepted domains and relay addresses are no customers."""
    assert keys(email(to=boxes(own, "a@one.example"))) == ["a@one.example"]


def test_mail_among_ourselves_is_skipped() -> None:
    """Internal mail is left out by rule, and says so."""
    result = planned(email(to=boxes("ben@corp.example")))
    assert (result.skipped, result.people) == ("internal_only", ())


@pytest.mark.parametrize("to", [(), ("log-a@in.relay.example",), ("no address",)])
def test_mail_that_names_nobody_is_unmatched(to: tuple[str, ...]) -> None:
    """Without anybody to look for, the mail waits for a person to resolve it."""
    assert planned(email(to=boxes(*to))).unmatched == "no_recipient"


def test_excluded_address_is_not_looked_for() -> None:
    """An exclusion of kind address leaves that one person out."""
    mail = email(to=boxes("a@one.example", "x@spam.example"))
    assert keys(mail, ("*@spam.example", SkipKind.ADDRESS)) == ["a@one.example"]


def test_mail_with_excluded_addresses_alone_is_skipped() -> None:
    """When nobody is left, the rule is the reason, not a missing record."""
    mail = email(to=boxes("x@spam.example"))
    assert planned(mail, ("x@spam.example", SkipKind.ADDRESS)).skipped == "excluded"


@pytest.mark.parametrize("where", ["to", "cc", "from_"])
def test_excluded_mail_is_skipped_whoever_took_part(where: str) -> None:
    """An exclusion of kind mail keeps the whole mail out, and is named."""
    mail = email(**{"to": boxes("a@one.example"), where: boxes("law@firm.example")})
    result = planned(mail, ("law@firm.example", SkipKind.MAIL))
    assert result.skipped == "excluded"
    assert "law@firm.example" in result.detail


def test_the_limit_keeps_the_first_and_counts_the_rest() -> None:
    """As with Salesforce's own address, the first 50 unique addresses count."""
    mail = email(to=boxes(*(f"p{n}@one.example" for n in range(60))))
    result = planned(mail, limit=50)
    assert len(result.people) == 50
    assert result.people[0].key == "p0@one.example"
    assert result.left_out == 10
