from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from relay.sandbox.soql import SOQLError, parse
from relay.sandbox.soql.tree import (
    Comparison,
    Count,
    CountAll,
    Junction,
    Like,
    Literal,
    LiteralKind,
    Membership,
    Not,
    Operator,
    Order,
    Path,
    Query,
    SelectItem,
    SemiJoin,
    SubQuery,
)


def where(condition: str):
    return parse(f"SELECT Id FROM Contact WHERE {condition}").where


def code(text: str) -> str:
    with pytest.raises(SOQLError) as caught:
        parse(text)
    return caught.value.code


def test_whole_statement():
    """Every clause ends up in the tree, keywords in any case."""
    query = parse(
        "select Id, c.Account.Name FROM Contact AS c where Email = 'a' "
        "Order By Name desc nulls last, Id LIMIT 10"
    )
    assert query == Query(
        select=(
            SelectItem(Path(("Id",))),
            SelectItem(Path(("c", "Account", "Name"))),
        ),
        source=Path(("Contact",)),
        alias="c",
        where=Comparison(
            Path(("Email",)), Operator.EQUAL, Literal(LiteralKind.STRING, "a")
        ),
        order=(
            Order(Path(("Name",)), descending=True, nulls_last=True),
            Order(Path(("Id",))),
        ),
        limit=10,
    )


def test_tree_is_frozen():
    """A parsed query can be kept and shared."""
    query = parse("SELECT Id FROM Contact")
    with pytest.raises(AttributeError):
        query.limit = 1
    assert hash(query) == hash(parse("SELECT  Id\nFROM Contact"))


def test_aggregates():
    """Aggregates keep their alias, `COUNT()` is a thing of its own."""
    assert parse("SELECT COUNT() FROM Contact").select == (CountAll(),)
    query = parse(
        "SELECT StageName s, COUNT(Id) n, count(AccountId) FROM Opportunity "
        "GROUP BY StageName"
    )
    assert query.select[1] == SelectItem(Count(Path(("Id",))), "n")
    assert query.select[2] == SelectItem(Count(Path(("AccountId",))))
    assert query.group == (Path(("StageName",)),)


def test_sub_queries():
    """Child sub-queries and semi-joins are queries inside the query."""
    query = parse(
        "SELECT Id, (SELECT Id FROM Contacts LIMIT 1) FROM Account "
        "WHERE Id NOT IN (SELECT AccountId FROM Contact WHERE Email = null)"
    )
    assert isinstance(query.select[1], SubQuery)
    assert query.select[1].query.limit == 1
    assert isinstance(query.where, SemiJoin)
    assert query.where.negated


def test_objects_called_like_keywords():
    """`FROM Group` is an object, and a following GROUP BY still is one."""
    query = parse("SELECT COUNT(Id) FROM Group GROUP BY Type")
    assert query.source == Path(("Group",))
    assert query.group == (Path(("Type",)),)


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        ("'x'", LiteralKind.STRING, "x"),
        ("''", LiteralKind.STRING, ""),
        ("12", LiteralKind.INTEGER, 12),
        ("-1.5", LiteralKind.DECIMAL, -1.5),
        ("+3", LiteralKind.INTEGER, 3),
        ("TRUE", LiteralKind.BOOLEAN, True),
        ("false", LiteralKind.BOOLEAN, False),
        ("null", LiteralKind.NULL, None),
        ("2026-02-28", LiteralKind.DATE, date(2026, 2, 28)),
        (
            "2026-01-01T01:00:00+01:00",
            LiteralKind.DATETIME,
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        (
            "2026-01-01T00:00:00.250Z",
            LiteralKind.DATETIME,
            datetime(2026, 1, 1, microsecond=250_000, tzinfo=UTC),
        ),
    ],
)
def test_literals(written, kind, value):
    """The form of a literal alone decides its kind."""
    assert where(f"F = {written}") == Comparison(
        Path(("F",)), Operator.EQUAL, Literal(kind, value)
    )


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (r"O\'Neil", "O'Neil"),
        (r"a\\b", "a\\b"),
        (r"\n\r\t\b\f\"", '\n\r\t\b\f"'),
        (r"\u00e9\u00E9", "éé"),
        (r"\ud83d\ude00", "😀"),
        ("a\tb", "a\tb"),
        ("ü 漢 \u2028", "ü 漢 \u2028"),
        ("-- ) OR (", "-- ) OR ("),
    ],
)
def test_string_escapes(raw, value):
    """The escapes of the guide are decoded, everything else stands for itself."""
    assert where(f"F = '{raw}'").literal.value == value


@pytest.mark.parametrize(
    "raw",
    [
        r"a\q",
        r"\%",
        r"\_",
        r"\x41",
        r"\u12",
        r"\uZZZZ",
        r"\ud83d",
        r"\N",
        "a\nb",
        "a\rb",
        "a\x00b",
        "\x1b",
        "\ud800",
    ],
)
def test_bad_strings(raw):
    """A stray backslash, a line break or half a character is malformed."""
    assert code(f"SELECT Id FROM Contact WHERE F = '{raw}'") == "MALFORMED_QUERY"


def test_like_patterns():
    r"""In LIKE `\%` and `\_` are characters, bare ones are wildcards."""
    assert where(r"F LIKE 'a\%b%c_\_'") == Like(
        Path(("F",)), ("a%b", None, "c", True, "_")
    )
    assert code(r"SELECT Id FROM Contact WHERE F LIKE 'a\q'") == "MALFORMED_QUERY"


def test_lists():
    """IN takes one literal or more."""
    assert where("F NOT IN ('a', null)") == Membership(
        Path(("F",)),
        negated=True,
        literals=(
            Literal(LiteralKind.STRING, "a"),
            Literal(LiteralKind.NULL, None),
        ),
    )


def test_and_or_need_parentheses():
    """`a AND b OR c` is malformed, with parentheses either way is fine."""
    mixed = "SELECT Id FROM Contact WHERE a = 1 AND b = 2 OR c = 3"
    with pytest.raises(SOQLError, match="unexpected token: 'OR'"):
        parse(mixed)
    tree = where("(a = 1 AND b = 2) OR c = 3")
    assert isinstance(tree, Junction)
    assert tree.operator == "OR"
    assert isinstance(tree.parts[0], Junction)
    assert where("((a = 1))") == where("a = 1")


def test_not_opens_a_condition():
    """NOT stands first in a condition, and not behind AND without parentheses."""
    assert isinstance(where("NOT a = 1"), Not)
    assert isinstance(where("NOT (a = 1 AND b = 2)"), Not)
    tree = where("a = 1 AND (NOT b = 2)")
    assert isinstance(tree.parts[1], Not)
    start = "SELECT Id FROM Contact WHERE "
    assert code(start + "a = 1 AND NOT b = 2") == "MALFORMED_QUERY"
    assert code(start + "NOT a = 1 AND b = 2") == "MALFORMED_QUERY"
    assert code(start + "NOT NOT a = 1") == "MALFORMED_QUERY"
    assert code(start + "a NOT LIKE 'x'") == "MALFORMED_QUERY"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "SELECT",
        "SELECT FROM Contact",
        "SELECT Id",
        "SELECT Id FROM",
        "SELECT Id, FROM Contact",
        "SELECT * FROM Contact",
        "SELECT Id Name FROM Contact",
        "SELECT Id FROM Contact;",
        "SELECT Id FROM Contact -- comment",
        "SELECT Id FROM Contact WHERE",
        "SELECT Id FROM Contact WHERE Email",
        "SELECT Id FROM Contact WHERE Email =",
        "SELECT Id FROM Contact WHERE Email == 'a'",
        "SELECT Id FROM Contact WHERE Email = 'a",
        "SELECT Id FROM Contact WHERE Email = 'a''b'",
        "SELECT Id FROM Contact WHERE Email = 'it's'",
        'SELECT Id FROM Contact WHERE Email = "a"',
        "SELECT Id FROM Contact WHERE Email = a@b.example",
        "SELECT Id FROM Contact WHERE Email = abc",
        "SELECT Id FROM Contact WHERE Email = :email",
        "SELECT Id FROM Contact WHERE Email IN ()",
        "SELECT Id FROM Contact WHERE Email IN 'a'",
        "SELECT Id FROM Contact WHERE Email IN ('a',)",
        "SELECT Id FROM Contact WHERE Email IN ('a' 'b')",
        "SELECT Id FROM Contact WHERE Email LIKE null",
        "SELECT Id FROM Contact WHERE 'a' = Email",
        "SELECT Id FROM Contact WHERE (Email = 'a'",
        "SELECT Id FROM Contact WHERE Email = 'a')",
        "SELECT Id FROM Contact WHERE Email = 'a' AND",
        "SELECT Id FROM Contact WHERE CreatedDate > 2026-01-01T00:00:00",
        "SELECT Id FROM Contact WHERE CreatedDate > 2026-01-01T00:00:00+0000",
        "SELECT Id FROM Contact WHERE CreatedDate > 2026-01-01T00:00:00 00:00",
        "SELECT Id FROM Contact WHERE CreatedDate > 2026-01-01 00:00:00",
        "SELECT Id FROM Contact WHERE CreatedDate > 2026-01-01T00:00:00.123456Z",
        "SELECT Id FROM Contact WHERE CreatedDate > 2026-02-30",
        "SELECT Id FROM Contact WHERE CreatedDate > 2026-01-01T25:00:00Z",
        "SELECT Id FROM Contact WHERE CreatedDate > 0001-01-01T00:00:00+01:00",
        "SELECT Id FROM Contact WHERE CreatedDate > 9999-01-01",
        "SELECT Id FROM Contact WHERE CreatedDate = LAST_DAY",
        "SELECT Id FROM Contact WHERE CreatedDate = TODAYS",
        "SELECT Id FROM Contact WHERE A = 1.",
        "SELECT Id FROM Contact WHERE A = 1a",
        "SELECT Id FROM Contact WHERE A = USD5000",
        f"SELECT Id FROM Contact WHERE A = {'9' * 41}",
        "SELECT Id FROM Contact LIMIT",
        "SELECT Id FROM Contact LIMIT -1",
        "SELECT Id FROM Contact LIMIT 1.5",
        "SELECT Id FROM Contact LIMIT '1'",
        "SELECT Id FROM Contact LIMIT 99999999999",
        "SELECT Id FROM Contact LIMIT 1 WHERE Email = 'a'",
        "SELECT Id FROM Contact LIMIT 1 ORDER BY Id",
        "SELECT Id FROM Contact ORDER BY Id WHERE Email = 'a'",
        "SELECT Id FROM Contact ORDER BY",
        "SELECT Id FROM Contact ORDER Id",
        "SELECT Id FROM Contact ORDER BY Id DESC ASC",
        "SELECT Id FROM Contact ALL ROWS",
        "SELECT Id FROM Contact HAVING COUNT(Id) > 1",
        "SELECT Id n FROM Contact",
        "SELECT COUNT(), Id FROM Contact",
        "SELECT COUNT() FROM Contact ORDER BY Id",
        "SELECT COUNT() FROM Contact GROUP BY Id",
        "SELECT COUNT(Id) FROM Contact LIMIT 1",
        "SELECT Name, COUNT(Id) FROM Contact",
        "SELECT Id FROM Contact ORDER BY COUNT(Id)",
        "SELECT Id FROM Contact WHERE COUNT(Id) > 1",
        "SELECT COUNT(*) FROM Contact",
        "SELECT NOPE(Id) FROM Contact",
        "SELECT COUNT(Id), (SELECT Id FROM Tasks) FROM Contact",
        "SELECT Name FROM Contact GROUP BY COUNT(Id)",
        "SELECT Id. FROM Contact",
        "SELECT Id FROM Contact UNION SELECT Id FROM Lead",
        "UPDATE Contact SET Email = 'a'",
        "SELECT Id FROM Account WHERE Id IN (SELECT Id, Name FROM Contact)",
        "SELECT Id FROM Account WHERE Id IN (SELECT COUNT() FROM Contact)",
        "SELECT Id FROM Account WHERE Id IN (SELECT COUNT(Id) FROM Contact)",
        "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact LIMIT 1)",
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact "
            "ORDER BY Id)"
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE "
            "Id IN (SELECT ContactId FROM OpportunityContactRole))"
        ),
        "SELECT Id FROM Account WHERE Id IN ((SELECT AccountId FROM Contact))",
        "SELECT Id FROM A WHERE " + "(" * 60 + "a = 1" + ")" * 60,
        "SELECT Id FROM A WHERE " + "(" * 90_000,
    ],
)
def test_malformed(text):
    """What is no SOQL is MALFORMED_QUERY, and nothing worse happens."""
    assert code(text) == "MALFORMED_QUERY"


def test_three_semi_joins():
    """A query joins two others at most."""
    one = "Id IN (SELECT AccountId FROM Contact)"
    assert parse(f"SELECT Id FROM Account WHERE {one} AND {one}")
    with pytest.raises(SOQLError, match="Maximum 2 semi join"):
        parse(f"SELECT Id FROM Account WHERE {one} AND {one} AND {one}")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT TYPEOF What WHEN Account THEN Phone END FROM Task",
        "SELECT FIELDS(ALL) FROM Contact LIMIT 200",
        "SELECT toLabel(Status) FROM Task",
        "SELECT Id FROM Contact WHERE CALENDAR_YEAR(CreatedDate) = 2026",
        "SELECT Id FROM Contact WHERE Tags INCLUDES ('a')",
        "SELECT Id FROM Contact WHERE Tags EXCLUDES ('a')",
        "SELECT Id FROM Contact WHERE CreatedDate = THIS_FISCAL_YEAR",
        "SELECT Id FROM Contact c, c.Account a",
        "SELECT Id FROM Contact USING SCOPE mine",
        "SELECT Id FROM Contact WITH SECURITY_ENFORCED",
        "SELECT Id FROM Contact FOR VIEW",
        "SELECT Id FROM Contact FOR REFERENCE",
        "SELECT Id FROM Contact FOR UPDATE",
        "SELECT Id FROM Contact UPDATE TRACKING",
        "SELECT Name FROM Contact GROUP BY ROLLUP(Name)",
        "SELECT Id, (SELECT Id, (SELECT Id FROM Tasks) FROM Contacts) FROM Account",
        "SELECT Id, (SELECT COUNT(Id) FROM Contacts) FROM Account",
        "SELECT Id, (SELECT Id FROM Contacts OFFSET 1) FROM Account",
        "SELECT Id FROM Contact OFFSET 1",
        "SELECT Id FROM Contact LIMIT 1 OFFSET 1",
        "SELECT Id FROM Contact OFFSET 1 LIMIT 1",
        "SELECT COUNT(Id) FROM Contact",
        "SELECT COUNT(Id), COUNT(Name) n FROM Contact",
        "SELECT COUNT_DISTINCT(AccountId) FROM Contact",
        "SELECT SUM(Amount), AVG(Amount) FROM Opportunity",
        "SELECT StageName, max(Amount) FROM Opportunity GROUP BY StageName",
        "SELECT MIN(CloseDate) FROM Opportunity GROUP BY StageName",
        "SELECT Id FROM Contact WHERE SUM(Amount) > 1",
        "SELECT AccountId FROM Contact GROUP BY AccountId ORDER BY AccountId",
        "SELECT AccountId FROM Contact GROUP BY AccountId ORDER BY Name",
        "SELECT COUNT(Id) n FROM Contact GROUP BY AccountId ORDER BY n",
        "SELECT Name FROM Contact GROUP BY Name HAVING COUNT(Id) > 1",
        (
            "SELECT Name FROM Contact GROUP BY Name HAVING "
            "Name IN (SELECT Id FROM Account)"
        ),
        *(
            f"SELECT Id FROM Contact WHERE CreatedDate = {literal}"
            for literal in (
                *("today", "YESTERDAY", "TOMORROW", "LAST_90_DAYS", "NEXT_90_DAYS"),
                *("LAST_WEEK", "THIS_MONTH", "NEXT_QUARTER", "THIS_YEAR"),
                *("LAST_N_DAYS:30", "NEXT_N_WEEKS:1", "N_MONTHS_AGO:5"),
                *("LAST_N_DAYS", "LAST_N_DAYS:0", "LAST_N_DAYS:-1"),
                *("NEXT_FISCAL_QUARTER", "LAST_N_FISCAL_YEARS:2"),
            )
        ),
        "SELECT Id FROM Contact WHERE CreatedDate IN (TODAY, THIS_YEAR)",
    ],
)
def test_not_in_the_sandbox(text):
    """What Salesforce has and the sandbox lacks is refused by a code of its own."""
    with pytest.raises(SOQLError) as caught:
        parse(text)
    assert caught.value.code == "FUNCTIONALITY_NOT_ENABLED"
    assert "the sandbox does not support" in caught.value.message


def test_lengths():
    """A literal has 4,000 characters at most, a statement 100,000."""
    assert where(f"F = '{'x' * 4000}'")
    assert code(f"SELECT Id FROM A WHERE F = '{'x' * 4001}'") == "MALFORMED_QUERY"
    text = "SELECT Id FROM Contact"
    assert parse(text.ljust(100_000))
    assert code(text.ljust(100_001)) == "MALFORMED_QUERY"


def test_error_shows_the_place():
    """The message holds a piece of the query, a caret, row and column."""
    with pytest.raises(SOQLError) as caught:
        parse("SELECT Id\nFROM Contact\nWHERE Email = abc")
    assert caught.value.message == (
        "\nWHERE Email = abc\n              ^\n"
        "ERROR at Row:3:Column:15\nunexpected token: 'abc'"
    )
    assert str(caught.value).startswith("MALFORMED_QUERY: ")
