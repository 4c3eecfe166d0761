"""Tables are safe for terminals, JSON lines are stable for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from relay.cli import output


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Grüße, 日本 👋", "Grüße, 日本 👋"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("\ud800", "\\ud800"),
        (None, ""),
        (7, "7"),
    ],
)
def test_cells_cannot_steer_the_terminal(value: object, shown: str) -> None:
    """Escape sequences and direction marks of a subject are shown, not obeyed."""
    assert output.clean(value) == shown


def test_json_lines_are_ascii_on_one_line() -> None:
    """Whatever a value holds, a line is one object and plain ASCII."""
    row = {"subject": "a\nb\x1b é", "at": datetime(2026, 1, 2, tzinfo=UTC), "n": None}
    line = output.json_line(row)
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == {
        "subject": "a\nb\x1b é",
        "at": "2026-01-02T00:00:00.000+00:00",
        "n": None,
    }


def test_times_are_shown_in_utc() -> None:
    """A stored time and its ISO text look the same to people."""
    assert output.when("2026-01-02T03:04:05.678+02:00") == "2026-01-02 01:04:05"
    assert output.when(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02 00:00:00"
    assert output.when("soon\x1b") == "soon\\x1b"


def test_markup_in_a_cell_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets of a subject are not taken for colours."""
    output.table(["subject"], [["[red]sale[/red] [/]"]])
    assert "[red]sale[/red] [/]" in capsys.readouterr().out


def test_ids_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A column that must stay whole does, however long its neighbours are."""
    output.table(["id", "text"], [["0" * 26, "x" * 500]], whole=["id"])
    assert "0" * 26 in capsys.readouterr().out


def test_an_empty_table_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to list is a sentence, not a head without rows."""
    output.table(["a"], [], empty="Nobody yet.")
    assert capsys.readouterr().out == "Nobody yet.\n"


def test_facts_leave_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """Names and values stand below each other."""
    output.facts([("id", "7"), ("reason", ""), ("subject", "x\ny")])
    assert capsys.readouterr().out == "id:      7\nsubject: x\\ny\n"


COLUMNS = ["received (UTC)", "state", "id", "user", "from", "subject", "result"]
ROW = [
    "2026-01-02 03:04:05",
    "unmatched",
    "0" * 26,
    "ada@corp.example",
    "ada@corp.example",
    "A subject that goes on and on, as they do",
    "no_match",
]


def _on_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(output, "console", lambda _=0: Console(width=width))


def test_rows_are_one_line_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What must be whole is, on 80 columns; the rest is cut or left out."""
    _on_terminal(80, monkeypatch)
    output.table(
        COLUMNS,
        [ROW, ROW],
        whole=["received (UTC)", "state", "id"],
        drop=["from", "user", "result"],
    )
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["received", "(UTC)", "state", "id", "subject"]
    assert set(rule) == {"─"}
    assert len(rows) == 2
    for row in rows:
        assert row.startswith("  ".join(ROW[:3]))
        assert row.rstrip().endswith("…")
        assert len(row) <= 80


def test_folded_cells_go_on_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What became of a mail is read to its end, whatever else is cut."""
    _on_terminal(80, monkeypatch)
    output.table(
        COLUMNS,
        [[*ROW[:6], "EmailMessage, 2 Tasks, CANNOT_EXECUTE_FLOW_TRIGGER"]],
        whole=["state", "id"],
        drop=["received (UTC)", "user"],
        fold=["result"],
    )
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["state", "id", "from", "subject", "result"]
    assert all(len(line) <= 80 for line in lines)
    result = "".join(line[head.index("result") :].strip() for line in lines)
    assert result == "EmailMessage,2 Tasks,CANNOT_EXECUTE_FLOW_TRIGGER"


def test_wrapped_cells_break_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id in a sentence can be copied; where nothing fits all is still shown."""
    reason = f"Mail from a stranger is not accepted here (ref {'0' * 26})"
    for width, whole in ((80, True), (40, False)):
        _on_terminal(width, monkeypatch)
        output.table(
            ["mail", "records written", "reason"],
            [["from a stranger to a customer", "none on nothing at all", reason]],
            wrap=True,
        )
        shown = capsys.readouterr().out
        assert (f"{'0' * 26})" in shown) is whole
        assert shown.count("0") == 26
        assert all(len(line) <= width for line in shown.splitlines())


def test_a_wide_terminal_shows_every_column() -> None:
    """Nothing is dropped or cut where there is room."""
    widths = output.fit(COLUMNS, [ROW], 200, drop=["from", "user", "result"])
    assert [widths[at] for at in range(7)] == [
        max(len(heading), len(cell)) for heading, cell in zip(COLUMNS, ROW, strict=True)
    ]


def test_long_cells_share_what_is_left() -> None:
    """A short column keeps its width; two long ones get the same."""
    widths = output.fit(["a", "b", "c"], [["x", "y" * 90, "z" * 90]], 65)
    assert widths == {0: 1, 1: 30, 2: 30}


def test_a_pipe_gets_no_blanks_for_a_long_cell_of_another_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One long subject does not make every row 600 columns wide, and none ends so."""
    output.table(["subject", "result"], [["x" * 600, "a"], ["short", ""]])
    output.table(["subject", "result"], [["a b", ""]], wrap=True)
    shown = capsys.readouterr().out.splitlines()
    assert shown[2] == f"{'x' * 600}  a"
    assert all(len(line) < 80 for line in [*shown[:2], *shown[3:]])
    assert all(line == line.rstrip() for line in shown)


def test_a_pipe_gets_whole_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """What is piped into grep is not cut."""
    output.table(["id", "text"], [["7", "x" * 300]])
    assert "x" * 300 in capsys.readouterr().out
