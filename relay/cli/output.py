"""Tables for people, JSON lines for programs.

Promises: what came in a mail cannot move the cursor or colour the terminal of the
admin who lists it; a JSON line is plain ASCII, one object, names in a fixed order.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import Console

_PIPE_WIDTH: Final = 200
"""Columns where no terminal says how many it has: enough not to cut an id."""

# Other characters of class Cf are needed to write some languages.
_DIRECTION: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line."
)


def json_line(row: Mapping[str, Any]) -> str:
    """Return one object as one line of ASCII; times become ISO 8601 in UTC."""
    return json.dumps(row, default=_plain, separators=(", ", ": "))


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print an object per line."""
    for row in rows:
        click.echo(json_line(row))


def _plain(value: object) -> str | list[Any]:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value)
    return str(value)


def clean(value: object) -> str:
    r"""Return a value as one line that is safe to show on a terminal.

    Control characters (escape sequences begin with one), line ends and marks that
    turn the direction of writing are shown as `\x1b` and the like.
    """
    if value is None:
        return ""
    return "".join(
        character if _harmless(character) else _visible(character)
        for character in str(value)
    )


def _harmless(character: str) -> bool:
    if " " <= character <= "~":
        return True
    category = unicodedata.category(character)
    return category not in {"Cc", "Cs", "Zl", "Zp"} and character not in _DIRECTION


def _visible(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def when(value: object) -> str:
    """Return a time as people read it, in UTC and to the second."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return clean(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return clean(value)


def console() -> Console:
    """Return a console on stdout, wide where nobody looks at it."""
    from rich.console import Console  # noqa: PLC0415 - costs 60 ms at start

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    whole: Sequence[str] = (),
    title: str | None = None,
    empty: str = "",
    lines: bool = False,
    styles: Mapping[str, Callable[[str], str]] | None = None,
) -> None:
    """Print a table; every cell is cleaned first.

    Args:
        columns: The headings.
        rows: The cells, in the order of the headings.
        whole: Columns that are never cut, such as ids.
        title: A line above the table.
        empty: What to print instead of a table without rows.
        lines: Draw a line between rows, for cells of many lines.
        styles: By column: from a cell's text to its rich style.
    """
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    cells = [[clean(cell) for cell in row] for row in rows]
    if not cells and empty:
        click.echo(empty)
        return
    shown = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        show_lines=lines,
        title=Text(title, "bold") if title else None,
        title_justify="left",
        pad_edge=False,
    )
    for column in columns:
        keep = column in whole
        shown.add_column(column, no_wrap=keep, overflow="ignore" if keep else "fold")
    for row in cells:
        shown.add_row(
            *(
                Text(cell, (styles or {}).get(column, _unstyled)(cell))
                for column, cell in zip(columns, row, strict=True)
            )
        )
    console().print(shown)


def _unstyled(_cell: str) -> str:
    return ""


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print `name: value` lines with the values below each other."""
    lines = [(name, clean(value)) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        click.echo(f"{name + ':':{width + 1}} {value}")


def state_style(state: str) -> str:
    """Return the colour of a message's state, or of a check's result."""
    return {
        "logged": "green",
        "ok": "green",
        "unmatched": "yellow",
        "held": "yellow",
        "warn": "yellow",
        "dead": "red",
        "refused": "red",
        "FAIL": "bold red",
        "skipped": "dim",
        "discarded": "dim",
    }.get(state, "")
