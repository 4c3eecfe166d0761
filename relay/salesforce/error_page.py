"""The error table as Markdown, for `docs/salesforce.md`; a test compares the two.

`python -m relay.salesforce.error_page` writes it into that page anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.salesforce.errors import LOGIN_TABLE, STATUS_TABLE, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.salesforce.errors import Rule

PAGE: Final = Path("docs/salesforce.md")
BEGIN: Final = "<!-- error table: python -m relay.salesforce.error_page -->\n"
END: Final = "<!-- end of the error table -->\n"

_ANY: Final = {"xxx": "any other status", "*": "any other"}


def page() -> str:
    """Return the three tables: by errorCode, by HTTP status, at the login."""
    return "\n".join(
        [
            _table("errorCode", TABLE),
            "Answers without a code that is known go by their HTTP status:\n",
            _table("status", STATUS_TABLE),
            "What the token endpoint says:\n",
            _table("error", LOGIN_TABLE),
        ]
    )


def _table(first: str, rules: Iterable[Rule]) -> str:
    lines = [
        f"| {first} | category | what it means | the message |\n",
        "|---|---|---|---|\n",
    ]
    for row in rules:
        code = _ANY.get(row.code) or f"`{row.code}`"
        if row.contains:
            code += f" with *{row.contains}*"
        fate = row.fate
        if not row.wrote_nothing:
            fate += "; a write is looked for first"
        lines.append(f"| {code} | {row.category.value} | {row.sentence} | {fate} |\n")
    return "".join(lines)


def put_into(text: str) -> str:
    """Return a page with the tables between its marks.

    Raises:
        ValueError: The page has no such marks.
    """
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        msg = f"the page has no line {BEGIN.strip()}"
        raise ValueError(msg)
    return f"{head}{BEGIN}\n{page()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(put_into(PAGE.read_text("utf-8")), "utf-8")
