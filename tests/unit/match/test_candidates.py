"""Candidates are scored by evidence that a person can check, each with its reason."""

from __future__ import annotations

import random

import pytest

from relay.core.model import Person, Place
from relay.core.unmatched import SearchHit
from relay.match.candidates import rank, words_of
from relay.match.names import plain, same_first_name

ACME, BIRCH = "001000000000001AAA", "001000000000002AAA"


def contact(first, last, email, account="Acme Tools", number=1, domain=""):
    """Return a Contact of a company."""
    return SearchHit(
        f"003{number:0>15}",
        "Contact",
        f"{first} {last}".strip(),
        first,
        last,
        email,
        ACME if account == "Acme Tools" else BIRCH,
        account,
        domain,
    )


ANNA = contact("Anna", "Stone", "anna.stone@acme.example")
TOOLS = SearchHit(ACME, "Account", "Acme Tools", "", "", "", ACME, "Acme Tools")


def person(address, name=""):
    return Person(address, address, name, Place.TO)


def reasons(address, name, hit):
    """Return the reasons for one record; empty where it is no candidate."""
    found = rank(person(address, name), [hit])
    return found[0].reasons if found else ()


@pytest.mark.parametrize(
    ("address", "name", "first", "last", "email", "reason"),
    [
        ("a.stone@acme.example", "Anna Stone", "Anna", "Stone", "x@acme.example",
         "name fits"),
        ("a.stone@acme.example", "", "Anna", "Stone", "x@acme.example",
         "address has initial and last name"),
        ("annas@acme.example", "", "Anna", "Stone", "x@acme.example",
         "address has first name and initial"),
        ("stone.anna@acme.example", "", "Anna", "Stone", "x@acme.example",
         "address spells the name"),
        ("anna.stome@acme.example", "", "Anna", "Stone", "x@acme.example",
         "address spells the name but for a typo"),
        ("stone@acme.example", "", "Anna", "Stone", "x@acme.example",
         "address is the last name"),
        ("anna@acme.example", "", "Anna", "Stone", "x@acme.example",
         "address is the first name"),
        ("as@acme.example", "", "Anna", "Stone", "x@acme.example",
         "address has the initials"),
        ("bob.stone@acme.example", "", "Robert", "Stone", "x@acme.example",
         "address spells the name, in short"),
        ("bobstone@acme.example", "", "Robert", "Stone", "x@acme.example",
         "address spells the name, in short"),
        ("x1@acme.example", "Bob Stone", "Robert", "Stone", "x@acme.example",
         "name fits, the first name in short"),
        ("x1@acme.example", "A. Stone", "Anna", "Stone", "x@acme.example",
         "last name and initial fit"),
        ("x1@acme.example", "Anna Stone", "A.", "Stone", "x@acme.example",
         "last name and initial fit"),
        ("x1@acme.example", "Anna S.", "Anna", "Stone", "x@acme.example",
         "first name and initial fit"),
        ("x1@acme.example", "Dorothee Stone", "Dorothea", "Stone", "x@acme.example",
         "name fits but for a typo"),
        ("x1@acme.example", "Anna Sotne", "Anna", "Stone", "x@acme.example",
         "name fits but for a typo"),
        ("x1@acme.example", "Anna", "Anna", "Stone", "x@acme.example",
         "first name fits"),
        ("x1@acme.example", "Stone", "Anna", "Stone", "x@acme.example",
         "last name fits"),
        ("x1@acme.example", "Anna Field", "Anna", "Stone", "x@acme.example",
         "first name fits, the last name may have changed"),
        ("x1@acme.example", "A. S.", "Anna", "Stone", "x@acme.example",
         "initials fit"),
        ("x1@acme.example", "Dr. Stone, Anna (Acme)", "Anna", "Stone",
         "x@acme.example", "name fits"),
        ("annastone+crm@acme.example", "", "Anna", "Stone", "anna.stone@acme.example",
         "address differs by a dot or what stands behind a plus"),
        ("anna.stone@acmee.example", "", "Anna", "Stone", "anna.stone@acme.example",
         "address differs in the domain alone"),
        ("anna.stnoe@acme.example", "", "Anna", "Stone", "anna.stone@acme.example",
         "address differs by a typo"),
        ("anna.stone@gmial.com", "", "Anna", "Stone", "anna.stone@gmail.com",
         "address differs by a typo in the domain"),
        ("anna.stone@gmx.de", "", "Anna", "Stone", "anna.stone@acme.example",
         "same local part in another domain"),
        ("x1@acme.example", "", "Anna", "Stone", "x@acme.example",
         "same domain as Acme Tools"),
        ("x1@mail.acme.example", "", "Anna", "Stone", "anna@acme.example",
         "domain acme.example belongs together with it"),
        ("x1@acme.co.uk", "", "Anna", "Stone", "anna@acme.example",
         "sister domain of acme.example"),
        ("x1@acne.example", "", "Anna", "Stone", "anna@acme.example",
         "domain differs from acme.example by a typo"),
        ("mueller@acme.example", "Jörg Mueller", "Jörg", "Müller", "x@acme.example",
         "name fits"),
        ("x1@acme-tools.example", "Anna Stone", "Anna", "Stone", "anna@gmx.de",
         "domain fits the name of Acme Tools"),
    ],
)  # fmt: skip
def test_each_piece_of_evidence_has_its_reason(
    address, name, first, last, email, reason
):
    """What speaks for a record is told in words."""
    assert reason in reasons(address, name, contact(first, last, email))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("x@gmail.com", "Peter Field"),  # another name, no domain
        ("peter.field@other.example", ""),  # nothing in common
        ("bob.stone@gmail.com", "Bob Stone"),  # a namesake with another first name
        ("a.b@gmail.com", "A. B."),  # other initials
        ("@gmail.com", ""),
    ],
)
def test_who_has_nothing_in_common_is_no_candidate(address, name):
    """A score below the least is left out."""
    assert rank(person(address, name), [ANNA]) == ()


def test_a_display_name_that_is_an_address_says_nothing():
    """Many programs show the address itself as the name."""
    same = "anna.stone@gmx.de"
    assert reasons(same, same, ANNA) == reasons(same, "", ANNA)


def test_a_record_without_first_and_last_name_is_read_from_its_whole_name():
    """A field that our user may not see is no reason to find nobody."""
    hit = SearchHit("003000000000009AAA", "Contact", "Anna Stone")
    assert "name fits" in reasons("x@gmx.de", "Anna Stone", hit)
    nameless = SearchHit("003000000000009AAA", "Contact", "")
    assert rank(person("x@gmx.de", "Anna Stone"), [nameless]) == ()
    only_last = SearchHit("003000000000009AAA", "Contact", "Stone", "", "Stone")
    assert "last name fits" in reasons("stone@gmx.de", "Stone, Anna", only_last)


def test_the_company_stands_for_a_colleague_without_a_record():
    """Known colleagues, the web site or the name of the company lead to the Account."""
    ben = contact("Ben", "Field", "ben@acme.example", number=2)
    cleo = contact("Cleo", "Hill", "cleo@acme.example", number=3)
    ranked = rank(person("zoe.pine@acme.example", "Zoe Pine"), [ANNA, ben, cleo, TOOLS])
    assert ranked[0].hit is TOOLS
    assert ranked[0].reasons[0] == "colleague of Anna Stone and Ben Field and others"
    alone = rank(person("zoe.pine@acme.example", "Zoe Pine"), [ANNA, TOOLS])
    assert "colleague of Anna Stone" in alone[0].reasons


def test_a_shared_mailbox_means_the_company():
    """info@ is nobody's own address, whoever else is in the domain."""
    named = SearchHit(ACME, "Account", "Acme Tools", account_name="Acme Tools",
                      account_id=ACME, domain="acme.example")  # fmt: skip
    ranked = rank(person("info@acme.example", "Acme Tools"), [ANNA, named])
    assert ranked[0].hit is named
    assert "a mailbox that people share" in ranked[0].reasons
    assert "name of the company" in ranked[0].reasons


def test_a_person_behind_a_shared_mailbox_is_still_found():
    """Their display name says who wrote."""
    ranked = rank(person("info@acme.example", "Anna Stone"), [ANNA, TOOLS])
    assert ranked[0].hit is ANNA


def test_an_account_with_nothing_in_common_is_no_candidate():
    """It was found by a name alone."""
    assert rank(person("x@other.example"), [TOOLS]) == ()
    assert rank(person("x@gmail.com"), [TOOLS]) == ()
    assert rank(person("x@ab.example"), [TOOLS]) == ()


def test_the_web_site_of_a_contact_s_company_counts():
    """Also where the contact's own address is a private one."""
    hit = contact("Anna", "Stone", "anna@gmx.de", domain="acme.example")
    said = reasons("x1@acme.example", "Anna Stone", hit)
    assert "same domain as the web site of Acme Tools" in said


def test_what_was_decided_before_comes_first():
    """An address that a person resolved once is most likely the same again."""
    other = contact("Zoe", "Pine", "zoe@birch.example", "Birch Bakery", 9)
    before = {other.id: "was mailed before with Zoe Pine"}
    ranked = rank(person("info@acme.example"), [ANNA, TOOLS, other], before)
    assert ranked[0].hit is other
    assert ranked[0].reasons[0] == "was mailed before with Zoe Pine"


def test_the_order_of_the_records_changes_nothing():
    """The same records give the same ranking; one that comes twice is one."""
    hits = [
        contact("Anna", "Stone", "a@acme.example", number=number) for number in range(6)
    ] + [TOOLS]
    wanted = rank(person("anna.stone@acme.example", "Anna Stone"), hits)
    for seed in range(20):
        random.Random(seed).shuffle(hits)
        again = rank(person("anna.stone@acme.example", "Anna Stone"), hits + hits[:2])
        assert again == wanted
    assert wanted[0].as_json() == {
        "object": "Contact",
        "id": "003000000000000000",
        "name": "Anna Stone",
        "account": "Acme Tools",
        "email": "a@acme.example",
        "score": wanted[0].score,
        "reasons": list(wanted[0].reasons),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [("Müller", "Mueller"), ("Müller", "Muller"), ("Groß", "Gross"), ("Åsa", "Aasa"),
     ("Sørensen", "Soerensen"), ("Łukasz", "Lukasz"), ("O'Brien", "O\u2019Brien"),
     ("Stephan", "Stefan"), ("Bobby", "Boby")],
)  # fmt: skip
def test_spellings_of_one_name_are_one(one, other):
    """Umlauts, accents, apostrophes and doubles are no difference."""
    assert plain(one) == plain(other)


def test_letters_of_other_scripts_stay():
    """A name in Cyrillic is compared letter by letter."""
    assert words_of("Анна Каменева") == ["ана", "каменева"]
    assert words_of("Prof. Dr. Anna von Stone [Acme]") == ["ana", "stone"]


def test_short_forms_of_first_names():
    """Bob is Robert; an initial alone is nobody."""
    assert same_first_name("bob", "robert")
    assert same_first_name("zoe", "zoe")
    assert not same_first_name("bob", "ana")
    assert not same_first_name("b", "b")
