"""SOQL, tried with what nobody thought of."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from simple_salesforce.format import format_soql

from relay.sandbox.soql import Query, Result, SOQLError, parse, run
from tests.fakes.soql_source import make_id, sample

WORDS = (
    """SELECT FROM WHERE AND OR NOT IN LIKE GROUP BY HAVING ORDER ASC DESC NULLS FIRST
    LAST LIMIT OFFSET ALL ROWS FOR VIEW WITH AS TRUE FALSE null TODAY LAST_N_DAYS:3
    COUNT COUNT() COUNT(Id) MAX(Amount) Id Name Email Amount Account Account.Name
    Contact Opportunity Task Contacts Who.Type CreatedDate IsClosed ( ) , . : = != < <=
    > >= 'a' '' 'a\\'b' '\\u0041' 'x 5 -1.5 2026-01-02 2026-01-02T03:04:05Z
    2026-01-02T03:04:05 '%a_' \\ ; é"""
).split()

FIELDS = {
    "Name": st.sampled_from(["'Eve O\\'Neil'", "'max muster'", "'x'", "null", "''"]),
    "Email": st.sampled_from(["'EVE@acme.example'", "'a'", "null"]),
    "Account.Name": st.sampled_from(["'acme'", "'acme labs'", "null"]),
    "Id": st.sampled_from([f"'{make_id('Contact', n)[:15]}'" for n in (1, 2, 9)]),
    "AccountId": st.sampled_from([f"'{make_id('Account', n)}'" for n in (1, 2, 9)]),
    "HasOptedOutOfEmail": st.sampled_from(["true", "FALSE"]),
    "CreatedDate": st.sampled_from(
        ["2026-01-02T03:04:05Z", "2020-01-01T00:00:00+02:00"]
    ),
}


@st.composite
def comparisons(draw):
    """Return a well-formed comparison on Contact."""
    field = draw(st.sampled_from(sorted(FIELDS)))
    values = FIELDS[field]
    if draw(st.booleans()):
        members = draw(st.lists(values, min_size=1, max_size=3))
        word = draw(st.sampled_from(["IN", "NOT IN"]))
        return f"{field} {word} ({', '.join(members)})"
    if field == "Name" and draw(st.booleans()):
        return f"Name LIKE '{draw(st.text('%_aelx', max_size=5))}'"
    return f"{field} {draw(st.sampled_from(['=', '!=']))} {draw(values)}"


CONDITIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        inner.map(lambda one: f"(NOT ({one}))"),
        st.tuples(st.sampled_from([" AND ", " OR "]), st.lists(inner, min_size=1)).map(
            lambda pair: "(" + pair[0].join(pair[1]) + ")"
        ),
    ),
    max_leaves=6,
)


def quote(value: str) -> str:
    """Write a text as a string literal, by the guide's table of escapes."""
    escapes = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    pieces = (
        escapes.get(char) or (f"\\u{ord(char):04x}" if ord(char) < 32 else char)
        for char in value
    )
    return "'" + "".join(pieces).replace("\x7f", r"\u007f") + "'"


def ask(text, org, *, all_rows=False):
    return run(parse(text), org, all_rows=all_rows)


@given(st.text() | st.text("SELECT Id FROM Contact WHERE ()'=\\,.:<>!-0129TZ\n"))
@example("'")
@example("\\")
@example("SELECT Id FROM A WHERE B = '\\")
def test_any_text(text):
    """Any text is a query or a SOQLError, and nothing else."""
    try:
        assert isinstance(parse(text), Query)
    except SOQLError:
        return


@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_any_words(words):
    """Any row of SOQL's own words is answered or refused."""
    try:
        assert isinstance(ask(" ".join(words), sample()), Result)
    except SOQLError:
        return


@given(
    st.sampled_from(["Id", "Name", "COUNT(Id)", "Account.Name, Id", "COUNT()"]),
    st.lists(st.sampled_from(WORDS), max_size=12),
)
def test_any_ending(select, words):
    """Whatever follows a good beginning is answered or refused."""
    text = f"SELECT {select} FROM Contact {' '.join(words)}"
    try:
        result = ask(text, sample())
    except SOQLError:
        return
    assert json.dumps(result.records)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_string_round_trip(value):
    """A text written as a literal is read back as it was."""
    query = parse(f"SELECT Id FROM Contact WHERE Name = {quote(value)}")
    assert query.where.literal.value == value


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_client_round_trip(value):
    """What the Salesforce client quotes is read back as it was."""
    text = format_soql("SELECT Id FROM Contact WHERE Name = {} AND Id > {}", value, "a")
    assert parse(text).where.parts[0].literal.value == value


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    st.text(max_size=8),
)
def test_equality_is_not_injection(value, other):
    """A quoted text selects rows with that text, and never anything else."""
    org = sample()
    org.tables["Contact"].clear()
    org.add("Contact", 50, Name=value)
    org.add("Contact", 51, Name=other)
    result = ask(
        format_soql("SELECT Id, Name FROM Contact WHERE Name = {}", value), org
    )
    assert make_id("Contact", 50) in [row["Id"] for row in result.records]
    found = {(row["Name"] or "").lower() for row in result.records}
    assert found == {value.lower()}


@given(CONDITIONS, st.randoms(use_true_random=False), st.booleans())
def test_order_of_rows(condition, chance, all_rows):
    """What is found depends neither on the order of the rows nor on an index."""
    shown = "Id, Account.Name, (SELECT Id FROM Tasks)"
    text = f"SELECT {shown} FROM Contact WHERE {condition}"
    plain, mixed = sample(), sample()
    mixed.indexed = True
    for rows in mixed.tables.values():
        chance.shuffle(rows)

    def answer(org):
        records = ask(text, org, all_rows=all_rows).records
        for record in records:
            if record["Tasks"]:
                record["Tasks"]["records"].sort(key=json.dumps)
        return sorted(records, key=json.dumps)

    assert answer(plain) == answer(mixed)


@given(CONDITIONS)
def test_not_is_the_complement(condition):
    """A row passes a condition or its NOT, and never both."""
    org = sample()

    def ids(where):
        return {
            row["Id"] for row in ask(f"SELECT Id FROM Contact {where}", org).records
        }

    passed, failed = ids(f"WHERE {condition}"), ids(f"WHERE NOT ({condition})")
    assert not passed & failed
    assert passed | failed == ids("")


@given(CONDITIONS, st.sampled_from(["Name", "Email DESC", "Account.Name NULLS LAST"]))
def test_order_and_cut(condition, order):
    """LIMIT leaves the beginning of the whole."""
    org = sample()
    start = f"SELECT Id FROM Contact WHERE {condition} ORDER BY {order}, Id"
    whole = ask(start, org).records
    for n in range(4):
        assert ask(f"{start} LIMIT {n}", org).records == whole[:n]
    count = ask(f"SELECT COUNT() FROM Contact WHERE {condition}", org)
    assert count.total_size == len(whole)


def like(pattern: str, text: str) -> bool:
    """Match as LIKE does, slowly."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(pattern[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and like(pattern[1:], text[1:])


@given(st.text("%_ab", max_size=7), st.text("ab", min_size=1, max_size=7))
def test_like(pattern, name):
    """LIKE finds what a plain matcher finds."""
    org = sample()
    org.tables["Contact"].clear()
    org.add("Contact", 1, Name=name)
    found = ask(f"SELECT Id FROM Contact WHERE Name LIKE '{pattern}'", org).total_size
    assert bool(found) is like(pattern, name)


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_shuffled_by_the_source(seed):
    """The same seed gives the same order: the source alone decides."""

    def order():
        org = sample()
        org.shuffle = random.Random(seed).shuffle
        return [row["Id"] for row in ask("SELECT Id FROM Contact", org).records]

    assert order() == order()
