"""`docs/salesforce.md` says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from relay.core import template
from relay.salesforce import errors

PAGE = Path(__file__).parents[2] / "docs" / "salesforce.md"


def test_the_error_table_is_that_of_the_code() -> None:
    """`python -m relay.salesforce.errors` writes it anew."""
    text = PAGE.read_text("utf-8")
    assert errors.put_into(text) == text


def test_the_tables_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m relay.salesforce.errors` leaves the rest of the page as it is."""
    page = tmp_path / "docs" / "salesforce.md"
    page.parent.mkdir()
    page.write_text(f"before\n{errors.BEGIN}out of date\n{errors.END}after\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(errors.__file__, run_name="__main__")
    text = page.read_text("utf-8")
    assert text == f"before\n{errors.BEGIN}\n{errors.page()}\n{errors.END}after\n"


def test_every_placeholder_is_documented() -> None:
    """Each with the words of the code, and no other."""
    _, _, rest = PAGE.read_text("utf-8").partition("<!-- placeholders -->\n")
    lines = rest.partition("<!-- end of placeholders -->")[0].splitlines()[2:]
    assert lines == [
        f"| `{{{name}}}` | {meaning} |" for name, meaning in template.NAMES.items()
    ]


def test_a_page_without_marks_is_not_overwritten() -> None:
    """The tables need their place."""
    with pytest.raises(ValueError, match="no line"):
        errors.put_into("# Salesforce\n")
