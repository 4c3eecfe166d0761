"""The tables of `docs/smtp.md`, made from the code: replies and limits.

    python -m relay.smtp.tables docs/smtp.md

writes them anew between their marks; a test compares the page with the code.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.config import SMTPSettings
from relay.smtp import replies
from relay.smtp.limits import LIMITS
from relay.smtp.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def reply_table() -> str:
    """Return every reply, in the order of its code, with the section that asks."""
    known = {id(row): row for row in vars(replies).values() if isinstance(row, Reply)}
    rows = sorted(known.values(), key=lambda row: (row.code, row.enhanced, row.text))
    return _table(
        ("reply", "text", "source"),
        ((f"`{row.head}`", f"`{row.text}`", row.source) for row in rows),
    )


def limit_table() -> str:
    """Return every limit with its key, default, reply and reason."""
    return _table(
        ("key", "default", "what it limits", "reply", "reason"),
        (
            (
                f"`smtp.{limit.key}`",
                _default(limit.key),
                (SMTPSettings.model_fields[limit.key].description or "").rstrip("."),
                f"`{limit.reply.head}`",
                f"`{limit.reason}`",
            )
            for limit in LIMITS
        ),
    )


TABLES: Final = {"replies": reply_table, "limits": limit_table}
"""What stands between `<!-- NAME -->` and `<!-- /NAME -->` of the page."""


def with_tables(page: str) -> str:
    """Return the page with its tables as the code has them.

    Raises:
        ValueError: A mark is missing.
    """
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, _, rest = page.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            text = f"the page has no place for {name}"
            raise ValueError(text)
        page = f"{head}{begin}{table()}{end}{tail}"
    return page


def _default(key: str) -> str:
    value = SMTPSettings.model_fields[key].default
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def lines() -> Iterator[str]:
        for cells in (heads, ["---"] * len(heads), *rows):
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    return "".join(lines())


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(with_tables(target.read_text("utf-8")), "utf-8")
