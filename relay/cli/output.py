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

from relay.core.ascii_json import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import Console, OverflowMethod

_PIPE_WIDTH: Final = 200
"""Columns for wrapped text where no terminal says how many it has."""
_PIPE_LINE: Final = 2000
"""The same for rows of one line each: nothing is cut for `grep` and `less -S`."""
_PIPE_CELL: Final = 60
"""Columns to which cells are filled up there; a longer one moves its own row alone."""
SHORT_ID: Final = 13
"""Characters of an id on a narrow terminal: its millisecond, and three by chance."""
_GAP: Final = 2
"""Columns between two cells."""
_LEAST: Final = 12
"""Columns that a cell which may be cut keeps; with less it says nothing."""
_LEAST_FOLDED: Final = 13
"""The same for one that goes on below: `EmailMessage,` is not broken."""
_LONGEST_WORD: Final = 28
"""Columns that a wrapped cell keeps for a word: an id in brackets is not broken."""

# Other characters of class Cf are needed to write some languages.
_DIRECTION: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line."
)


def json_line(row: Mapping[str, Any]) -> str:
    """Return one object as one line of ASCII; times become ISO 8601 in UTC."""
    return json.dumps(row, default=plain, separators=(", ", ": "))


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print an object per line."""
    for row in rows:
        click.echo(json_line(row))


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


def moment(value: object) -> str:
    """Return a time for a sentence, where no heading says that it is in UTC."""
    text = when(value)
    return f"{text} UTC" if text else ""


def console(pipe_width: int = _PIPE_WIDTH) -> Console:
    """Return a console on stdout, wide where stdout is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - costs 60 ms at start

    width = None if sys.stdout.isatty() else pipe_width
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, which takes an s beside any number but one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(  # noqa: PLR0913 - how a table looks; most are left out
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    whole: Sequence[str] = (),
    drop: Sequence[str] = (),
    fold: Sequence[str] = (),
    short: Mapping[str, int] | None = None,
    wrap: bool = False,
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
        drop: Columns to leave out on a narrow terminal, the first of them first.
        fold: Columns that go on below where a cell is too long.
        short: By column: how many characters are enough on a narrow terminal.
        wrap: Let all columns do so. Without it what does not fit in one that is not in
            `fold` ends in an ellipsis.
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
    screen = console(_PIPE_WIDTH if wrap else _PIPE_LINE)
    if not wrap and not lines and screen.width == _PIPE_LINE:
        _print_plain(columns, cells, title)
        return
    for name, most in (short or {}).items():
        if _room(_wanted(columns, cells), screen.width) < 0:
            at = columns.index(name)
            cells = [[*row[:at], row[at][:most], *row[at + 1 :]] for row in cells]
    shown = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, _GAP - 1, 0, 0),
        show_edge=False,
        show_lines=lines,
        title=Text(title, "bold") if title else None,
        title_justify="left",
        pad_edge=False,
    )
    kept: list[int] = list(range(len(columns)))
    if wrap:
        wrapped = _wrapped(columns, cells, screen.width, whole=whole)
        for at, column in enumerate(columns):
            keep = column in whole
            overflow: OverflowMethod = "ignore" if keep else "fold"
            shown.add_column(
                column, width=wrapped.get(at), no_wrap=keep, overflow=overflow
            )
    else:
        widths = fit(columns, cells, screen.width, whole=whole, drop=drop, fold=fold)
        kept = list(widths)
        for at, width in widths.items():
            goes_on = columns[at] in fold
            overflow = "fold" if goes_on else "ellipsis"
            shown.add_column(
                columns[at], width=width, no_wrap=not goes_on, overflow=overflow
            )
        # What must stay whole goes on below rather than being cut by the console.
        screen.width = max(screen.width, sum(widths.values()) + _GAP * len(widths))
    for row in cells:
        shown.add_row(
            *(
                Text(row[at], (styles or {}).get(columns[at], _unstyled)(row[at]))
                for at in kept
            )
        )
    if screen.is_terminal:
        screen.print(shown)
        return
    with screen.capture() as captured:
        screen.print(shown)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _print_plain(
    columns: Sequence[str], cells: Sequence[Sequence[str]], title: str | None
) -> None:
    """Print rows for `grep` and `less`: nothing is cut, no line ends in blanks."""
    from rich.cells import cell_len  # noqa: PLC0415

    wanted = _wanted(columns, cells)
    widths = [min(wanted[at], _PIPE_CELL) for at in range(len(columns))]
    if title:
        click.echo(title)
    rule = ["─" * (sum(widths) + _GAP * (len(widths) - 1))]
    for row in (columns, rule, *cells):
        padded = (
            text + " " * (width - cell_len(text))
            for text, width in zip(row, widths, strict=False)
        )
        click.echo((" " * _GAP).join(padded).rstrip())


def fit(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    width: int,
    *,
    whole: Sequence[str] = (),
    drop: Sequence[str] = (),
    fold: Sequence[str] = (),
) -> dict[int, int]:
    """Return how wide each column is shown, by its position; dropped ones are absent.

    Args:
        columns: The headings.
        cells: The rows, as texts.
        width: Columns of the terminal.
        whole: Headings of columns that keep the width of their longest cell.
        drop: Headings that go first where not every column can keep a sensible width.
        fold: Headings of columns whose cells go on below.
    """
    wanted = _wanted(columns, cells)
    least = {
        at: size
        if columns[at] in whole
        else min(size, _LEAST_FOLDED if columns[at] in fold else _LEAST)
        for at, size in wanted.items()
    }
    for heading in drop:
        if _room(least, width) >= 0:
            break
        del least[columns.index(heading)]
    return _shared(least, wanted, width)


def _wrapped(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    width: int,
    *,
    whole: Sequence[str],
) -> dict[int, int]:
    """Return widths that break no word; nothing where the terminal is too narrow."""
    wanted = _wanted(columns, cells)
    least = {
        at: size
        if columns[at] in whole
        else max(
            _longest_word(text) for text in (columns[at], *(row[at] for row in cells))
        )
        for at, size in wanted.items()
    }
    if _room(least, width) < 0:
        return {}
    return _shared(least, wanted, width)


def _wanted(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> dict[int, int]:
    from rich.cells import cell_len  # noqa: PLC0415

    return {
        at: max(cell_len(text) for text in (heading, *(row[at] for row in cells)))
        for at, heading in enumerate(columns)
    }


def _longest_word(text: str) -> int:
    from rich.cells import cell_len  # noqa: PLC0415

    return min(max(map(cell_len, text.split()), default=0), _LONGEST_WORD)


def _shared(
    least: Mapping[int, int], wanted: Mapping[int, int], width: int
) -> dict[int, int]:
    shared = dict(least)
    for _ in range(_room(least, width)):
        # The narrowest that wants more gets it: long cells share what is left.
        short = [at for at, size in shared.items() if size < wanted[at]]
        if not short:
            break
        shared[min(short, key=shared.__getitem__)] += 1
    return shared


def _room(widths: Mapping[int, int], width: int) -> int:
    return width - sum(widths.values()) - _GAP * (len(widths) - 1)


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
