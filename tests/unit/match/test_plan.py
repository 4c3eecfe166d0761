"""Whom to look for in a mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.directory import Directory, Role, SkipKind, User
from relay.core.mailboxes import AddressRules
from relay.core.model import Place
from relay.core.states import Event
from relay.match import OurAddresses, Plan, Verdict, exclusions_of, plan
from tests.fakes.values import boxes, directory, email

if TYPE_CHECKING:
    from relay.core.model import Email


def planned(mail: Email, *exclusions: tuple[str, SkipKind], limit: int = 50) -> Plan:
    """Plan a mail of Ada's."""
    people = directory(*exclusions, accepted=("ada@corp.example", "me@home.example"))
    ours = OurAddresses(people, ("in.relay.example",), ("auto", "house.example"))
    return plan(mail, ours, exclusions_of(people, 1), limit=limit)


def verdict(mail: Email, *exclusions: tuple[str, SkipKind]) -> tuple[Event, str]:
    """Return how a mail ends for which nobody is looked for."""
    result = planned(mail, *exclusions)
    assert result.people == ()
    assert result.verdict is not None
    return result.verdict.event, result.verdict.reason


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
    named = plan(mail, ours_of(), (), more_headers=("reply_to", "bcc")).people
    assert [(person.key, person.place) for person in named] == [
        ("a@one.example", Place.TO),
        ("secret@two.example", Place.BCC),
        ("other@three.example", Place.REPLY_TO),
    ]


def ours_of(*rules: str) -> OurAddresses:
    """Return our addresses, with these rules for spellings."""
    people = directory(accepted=("ada@corp.example",))
    return OurAddresses(people.read_by(AddressRules.of(rules)), ("in.relay.example",))


def test_everybody_is_looked_for() -> None:
    """There is no limit unless an admin sets one."""
    mail = email(to=boxes(*(f"c{n}@x.example" for n in range(3000))))
    assert len(plan(mail, ours_of(), ()).people) == 3000


def test_another_spelling_of_a_customer() -> None:
    """By the rule of the domain; the address as it is written comes first."""
    rules = ("gmail.com: plus dots", "two.example: alias corp.example")
    mail = email(to=boxes("Mara+x@gmail.com", "kim@x.example", "lee@two.example"))
    result = plan(mail, ours_of(*rules), ())
    assert [(p.key, p.spellings) for p in result.people] == [
        ("mara+x@gmail.com", ("mara@gmail.com",)),
        ("kim@x.example", ()),
    ]
    assert [one.rule for one in result.left_out] == ["internal domain two.example"]


@pytest.mark.parametrize(
    "own",
    [
        "ada@corp.example",
        "BEN@corp.example",
        "me@home.example",
        "anyone@house.example",
        "colleague@corp.example",
        "log-x@in.relay.example",
    ],
)
def test_own_addresses_are_left_out(own: str) -> None:
    """Users, internal domains and relay addresses are no customers."""
    assert keys(email(to=boxes(own, "a@one.example"))) == ["a@one.example"]


def test_mail_among_ourselves_is_skipped() -> None:
    """Internal mail is left out by rule, and says so."""
    mail = email(to=boxes("ben@corp.example", "log-a@in.relay.example"))
    assert verdict(mail) == (Event.RULED_OUT, "internal_only")


def ours(
    *users: User, accepted: tuple[str, ...] = (), internal: tuple[str, ...] = ("auto",)
) -> OurAddresses:
    """Return our addresses for users of whom the first has a list."""
    people = {user.id: user for user in users}
    lists = {users[0].id: frozenset(accepted)}
    return OurAddresses(Directory(1, people, {}, lists, ()), (), internal)


def a_user(email: str, number: int = 1, *, active: bool = True) -> User:
    """Return a user with an address of their own."""
    return User(number, "U", email, Role.REP, active, None, f"log-{number}")


def test_spellings_of_an_own_mailbox_are_own() -> None:
    """Who may send with a tag is also known with it in To and Cc."""
    people = directory(accepted=("ada@corp.example", "a.da@home.example"))
    rules = AddressRules.of(["home.example: plus dots"])
    known = OurAddresses(people.read_by(rules), ("in.relay.example",), ())
    assert known.rule("ada+crm@home.example") == "own address"
    assert not known.rule("adam@home.example")
    assert not known.rule("ada+crm@corp.example"), "a domain without a rule"


@pytest.mark.parametrize("kind", list(SkipKind))
def test_who_is_left_out_is_left_out_in_every_spelling(kind: SkipKind) -> None:
    """A tag must not bring a person into the log who is excluded."""
    people = directory(("kim@home.example", kind))
    people = people.read_by(AddressRules.of(["home.example: plus dots"]))
    known = OurAddresses(people, ("in.relay.example",), ())
    mail = email(to=boxes("k.im+x@home.example"))
    result = plan(mail, known, exclusions_of(people, 1))
    assert result.verdict is not None
    assert result.verdict.reason == "excluded"
    other = plan(email(to=boxes("kimo@home.example")), known, exclusions_of(people, 1))
    assert other.verdict is None


@pytest.mark.parametrize("active", [True, False])
def test_who_may_send_is_no_colleague_for_it(active: bool) -> None:
    """`*@gmail.com` on a list makes no customer there one of us, for any user."""
    known = ours(a_user("ada@gmail.com", active=active), accepted=("*@gmail.com",))
    assert not known.rule("customer@gmail.com")
    assert known.rule("ada@gmail.com") == "own address"
    known = ours(a_user("ada@corp.example"), accepted=("*@partner.example",))
    assert not known.rule("sam@partner.example")


def test_domains_of_active_users_are_internal_unless_free_mail() -> None:
    """`auto` reads the users' own addresses; who has left names no domain any more."""
    known = ours(
        a_user("ada@Corp.example"),
        a_user("bo@web.de", 2),
        a_user("cy@former.example", 3, active=False),
    )
    assert known.rule("x@corp.example") == "internal domain corp.example"
    assert not known.rule("x@web.de")
    assert not known.rule("x@sub.corp.example")
    assert not known.rule("x@former.example")
    assert known.rule("cy@former.example") == "own address"


@pytest.mark.parametrize(
    ("internal", "of_corp", "of_other"),
    [((), "", ""), (("other.example",), "", "internal domain other.example")],
)
def test_without_auto_the_named_domains_alone_are_internal(
    internal: tuple[str, ...], of_corp: str, of_other: str
) -> None:
    """An empty list has none: colleagues are looked for like anybody."""
    known = ours(a_user("ada@corp.example"), internal=internal)
    assert known.rule("x@corp.example") == of_corp
    assert known.rule("x@other.example") == of_other


@pytest.mark.parametrize("to", [(), ("log-a@in.relay.example",), ("no address",)])
def test_mail_that_names_nobody_is_unmatched(to: tuple[str, ...]) -> None:
    """Without anybody to look for, the mail waits for a person to resolve it."""
    assert verdict(email(to=boxes(*to))) == (Event.NO_MATCH, "no_recipient")


def test_excluded_address_is_not_looked_for() -> None:
    """An exclusion of kind address leaves that one person out."""
    mail = email(to=boxes("a@one.example", "x@spam.example"))
    assert keys(mail, ("*@spam.example", SkipKind.ADDRESS)) == ["a@one.example"]


def test_mail_with_excluded_addresses_alone_is_skipped() -> None:
    """When nobody is left, the rule is the reason, not a missing record."""
    mail = email(to=boxes("x@spam.example", "ben@corp.example"))
    ended = verdict(mail, ("x@spam.example", SkipKind.ADDRESS))
    assert ended == (Event.RULED_OUT, "excluded")


@pytest.mark.parametrize("where", ["to", "cc", "from_"])
def test_excluded_mail_is_skipped_whoever_took_part(where: str) -> None:
    """An exclusion of kind mail keeps the whole mail out, and is named."""
    mail = email(**{"to": boxes("a@one.example"), where: boxes("law@firm.example")})
    result = planned(mail, ("law@firm.example", SkipKind.MAIL))
    ended = Verdict(Event.RULED_OUT, "excluded", "excluded by law@firm.example")
    assert result.verdict == ended


def test_the_limit_keeps_the_first_and_counts_the_rest() -> None:
    """As with Salesforce's own address, the first 50 unique addresses count."""
    mail = email(to=boxes(*(f"p{n}@one.example" for n in range(60))))
    result = planned(mail, limit=50)
    assert len(result.people) == 50
    assert result.people[0].key == "p0@one.example"
    assert result.beyond == 10
    assert {one.rule for one in result.left_out} == {"beyond the limit of 50 addresses"}


def test_who_is_left_out_is_named_with_the_rule() -> None:
    """Nothing is silent: each participant is looked for, or left out by a rule."""
    mail = email(
        to=boxes("Ben@corp.example", "a@one.example", "X@spam.example"),
        cc=boxes("log-a@in.relay.example", "any@house.example", "b@one.example"),
    )
    result = planned(mail, ("*@spam.example", SkipKind.ADDRESS), limit=1)
    assert [person.address for person in result.people] == ["a@one.example"]
    assert [(one.address, one.rule) for one in result.left_out] == [
        ("Ben@corp.example", "own address"),
        ("X@spam.example", "excluded by *@spam.example"),
        ("log-a@in.relay.example", "relay address"),
        ("any@house.example", "internal domain house.example"),
        ("b@one.example", "beyond the limit of 1 addresses"),
    ]
