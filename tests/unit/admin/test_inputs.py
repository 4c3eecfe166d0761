"""What people type becomes a value, or a sentence that has a hint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from relay.admin import inputs
from relay.core.errors import InvalidInput, NotFound

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("45s", timedelta(seconds=45)),
        ("10m", timedelta(minutes=10)),
        (" 2H ", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_since_takes_ages(text: str, ago: timedelta) -> None:
    """`10m` is ten minutes before now."""
    assert inputs.since(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T09:30", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31T09:30Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (
            "2026-01-31T09:30+02:00",
            datetime(2026, 1, 31, 9, 30, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_since_takes_times_in_utc_unless_said(text: str, at: datetime) -> None:
    """A time without a zone is in UTC, as the listings are."""
    assert inputs.since(text, NOW) == at


@pytest.mark.parametrize("text", ["", "tomorrow", "10", "10x", "-3d", "999999w"])
def test_since_names_the_forms_it_takes(text: str) -> None:
    """What is no time is answered with examples."""
    with pytest.raises(InvalidInput, match="write 10m, 2h, 3d"):
        inputs.since(text, NOW)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Ada@Corp.Example", "ada@corp.example"),
        ("ada@corp.local", "ada@corp.local"),
        ("ada@x.test", "ada@x.test"),
        ("ada@localhost", "ada@localhost"),
        ("ada+x@bücher.example", "ada+x@xn--bcher-kva.example"),
        ("o'neil@corp.example", "o'neil@corp.example"),
        ("eva@straße.example", "eva@xn--strae-oqa.example"),
        ("eva@xn--strae-oqa.example", "eva@xn--strae-oqa.example"),
        ("eva@strasse.example", "eva@strasse.example"),
        ("eva@straße.test", "eva@xn--strae-oqa.test"),
        ("Weiß@corp.example", "weiß@corp.example"),
        ("\u212aim@corp.example", "\u212aim@corp.example"),
    ],
)
def test_addresses_come_back_as_keys(text: str, key: str) -> None:
    """An address is compared as the intake compares it, special domains included."""
    assert inputs.email_address(text) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "ada@",
        "@corp.example",
        "a b@corp.example",
        "ada@corp",
        "a@b@c.d",
        "ada@i❤.example",
        "ada@x_ü.example",
        "ada@ab\u200dc.example",
    ],
)
def test_wrong_addresses_are_refused(text: str) -> None:
    """A slip of the keyboard is seen before it is stored."""
    with pytest.raises(InvalidInput):
        inputs.email_address(text)


def test_patterns_cover_a_domain_with_a_star() -> None:
    """`*@domain` is the one form for a whole domain, folded like an address."""
    assert inputs.address_pattern("*@Corp.Example") == "*@corp.example"
    assert inputs.address_pattern("Ada@Corp.Example") == "ada@corp.example"
    assert inputs.address_pattern("*@Straße.Example") == "*@xn--strae-oqa.example"


@pytest.mark.parametrize("text", ["@corp.example", "corp.example"])
def test_a_bare_domain_is_told_the_form(text: str) -> None:
    """Who writes the domain alone is shown how it is meant to be written."""
    with pytest.raises(InvalidInput, match=r"write '\*@corp\.example'"):
        inputs.address_pattern(text)


@pytest.mark.parametrize("text", ["*@*.corp.example", "*@", "*", "ada@*.example"])
def test_other_stars_are_refused(text: str) -> None:
    """A star anywhere else covers nothing, and must not look as if it did."""
    with pytest.raises(InvalidInput):
        inputs.address_pattern(text)


@pytest.mark.parametrize("text", ["ada+*@corp.example", "a*@corp.example"])
@pytest.mark.parametrize("read", [inputs.address_pattern, inputs.email_address])
def test_an_asterisk_within_a_name_is_refused(read, text: str) -> None:
    """It would be taken literally, and nobody means it so."""
    with pytest.raises(InvalidInput, match="stands for no part of an address"):
        read(text)


def test_a_user_has_no_domain_for_an_address() -> None:
    """`*@corp.example` as a user's own address would let the whole domain send."""
    with pytest.raises(InvalidInput, match="asterisk"):
        inputs.email_address("*@corp.example")


def test_a_literal_asterisk_can_be_removed() -> None:
    """What an older relay took must not stay for ever."""
    assert inputs.known_pattern("ada+*@Corp.example") == "ada+*@corp.example"


def test_what_is_removed_need_not_be_valid() -> None:
    """An address that a validator refuses can still be taken out again."""
    assert inputs.known_pattern("A..B@corp.example") == "a..b@corp.example"
    assert inputs.known_pattern("*@Corp.Example") == "*@corp.example"


def test_salesforce_ids_get_their_checksum() -> None:
    """A 15-character id becomes the 18-character one."""
    assert inputs.salesforce_user_id("005000000000001") == "005000000000001AAA"
    assert inputs.salesforce_user_id("005000000000001AAA") == "005000000000001AAA"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("005000000000001AAB", "no record id"),
        ("//evil.example/x", "no record id"),
        ("003000000000001AAA", "no User"),
        ("", "no record id"),
    ],
)
def test_wrong_salesforce_ids_are_refused(text: str, reason: str) -> None:
    """The checksum and the prefix of User are proven before the id is kept."""
    with pytest.raises(InvalidInput, match=reason):
        inputs.salesforce_user_id(text)


def test_names_are_one_line() -> None:
    """White space is folded, control characters are refused."""
    assert inputs.person_name("  Ada   Byron ") == "Ada Byron"
    for text in ("", "   ", "Ada\x1b[31m", "x" * 201):
        with pytest.raises(InvalidInput):
            inputs.person_name(text)


def test_a_problem_and_its_hint_make_one_line() -> None:
    """Whoever shows them apart has both; whoever prints a line has that."""
    with pytest.raises(InvalidInput) as caught:
        inputs.since("soon", NOW)
    assert (caught.value.problem, caught.value.hint) == (
        "'soon' is no time",
        "write 10m, 2h, 3d, yesterday, 2026-01-31 or 2026-01-31T09:00",
    )
    assert str(caught.value) == f"{caught.value.problem}; {caught.value.hint}"
    assert str(InvalidInput("no")) == "no"


def test_secrets_are_kept_as_digests() -> None:
    """The text is shown once; what is stored does not hold it."""
    for made in (inputs.new_api_token(), inputs.new_app_password()):
        assert len(made.text) > 20
        assert made.text not in made.digest
    assert inputs.new_api_token().text.startswith("relay_")


@pytest.mark.parametrize("text", ["", "abc", "abcdeu", "x" * 27, "../../etc"])
def test_what_begins_no_message_id_is_said(text: str) -> None:
    """The listing is named, where ids can be copied from."""
    with pytest.raises(NotFound, match="relay log"):
        inputs.message_id(text)


def test_message_ids_may_be_short_and_in_capitals() -> None:
    """The first characters are enough; white space of a paste is dropped."""
    assert inputs.message_id(" 01ABCD ") == "01abcd"
