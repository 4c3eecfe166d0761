"""Rules of matching that are more than a word: field rules and SOQL conditions.

    Case.ContactId: open            records of an object by a field, open ones only
    Project__c.Customer_Email__c    the same with a custom object and field

A condition is a piece of SOQL from an admin. It stands in brackets within the queries
of the relay, so that here is proven that it cannot leave them; what it means, only the
org can say.

Source: SOQL and SOSL Reference, "Condition Expression Syntax (WHERE Clause)", "Reserved
Keywords".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

OPEN: Final = "open"
NEWEST: Final = "newest"
WORDS: Final = (OPEN, NEWEST)
MAX_CONDITION: Final = 2_000
"""Characters of a condition: the rest of a query must fit beside it."""

FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
"""API name of a field or object."""
_RULE: Final = re.compile(
    rf"(?P<object>{FIELD.pattern})\.(?P<field>{FIELD.pattern})"
    r"(?:\s*:\s*(?P<words>[a-z]+(?:\s+[a-z]+)*))?"
)
_CLAUSES: Final = re.compile(
    r"\b(?:(?:ORDER|GROUP)\s+BY|LIMIT|OFFSET|HAVING|USING\s+SCOPE|WITH|ALL\s+ROWS"
    r"|FOR\s+(?:VIEW|REFERENCE|UPDATE)|UPDATE\s+(?:TRACKING|VIEWSTAT))\b",
    re.IGNORECASE,
)
_NEVER: Final = {
    "'": "has a quote that is not closed",
    "\\": "has a backslash outside of quotes",
    ";": "holds a semicolon",
}
"""What stands nowhere outside of quotes, with what is then wrong."""
_OTHER_QUOTE: Final = re.compile('[\u2018-\u201f\u00b4\u0060\u00ab\u00bb"]')
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Records of an object whose field holds an address, or the id of a person.

    Attributes:
        object: API name of the object.
        field: API name of the field.
        only_open: Records with IsClosed are left out.
        newest: Of several, the one that was created last is taken.
    """

    object: str
    field: str
    only_open: bool = False
    newest: bool = False

    @property
    def name(self) -> str:
        """Return object and field, as the trace tells them."""
        return f"{self.object}.{self.field}"

    def __str__(self) -> str:
        """Return the rule as an admin writes it."""
        words = [
            word for word, on in ((OPEN, self.only_open), (NEWEST, self.newest)) if on
        ]
        return f"{self.name}: {' '.join(words)}" if words else self.name


def read_field_rule(text: str) -> FieldRule:
    """Read `Object.Field`, or `Object.Field: open newest`.

    Raises:
        ValueError: It is no such rule.
    """
    found = _RULE.fullmatch(text.strip())
    words = (found["words"] or "").split() if found else []
    if found is None or not set(words) <= set(WORDS):
        raise ValueError(text)
    return FieldRule(found["object"], found["field"], OPEN in words, NEWEST in words)


def condition_problem(text: str) -> str:
    """Say why a text cannot stand in brackets within a query; empty where it can."""
    if len(text) > MAX_CONDITION:
        return f"is longer than {MAX_CONDITION} characters"
    if not text.isprintable():
        return "holds control characters or line ends"
    bare = _QUOTED.sub("''", text)
    if other := _OTHER_QUOTE.search(bare):
        return f"has the quote {other[0]}, and SOQL knows ' alone"
    for sign, problem in _NEVER.items():
        if sign in bare.replace("''", ""):
            return problem
    depth = 0
    for letter in bare:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return "closes a bracket that it did not open"
    if depth:
        return "has a bracket that is not closed"
    if clause := _CLAUSES.search(bare):
        return f"holds {' '.join(clause[0].upper().split())}, which is no condition"
    return ""
