"""Each limit of the intake is set and passed by some test, which sees its reason."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from relay.smtp.limits import LIMITS
from tests.fakes.dialog import read_dialog

HERE = Path(__file__).parent


def words(node):
    """Return the constants and names in a piece of code."""
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Constant):
            found.add(one.value)
        elif isinstance(one, ast.keyword):
            found.add(one.arg)
    return found


def asserted(function):
    """Return the texts in assertions about the reasons that a store was given."""
    found = set()
    for one in ast.walk(function):
        if isinstance(one, ast.Assert) and any(
            isinstance(part, ast.Attribute) and part.attr in {"reasons", "refusals"}
            for part in ast.walk(one.test)
        ):
            found |= words(one.test)
    return found


def tried_in_code(source):
    """Return each (key, reason) that a test function sets and asserts."""
    functions = [
        node
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return {
        (limit.key, limit.reason)
        for function in functions
        for limit in LIMITS
        if limit.reason in asserted(function) and limit.key in words(function)
    }


def tried_in_dialog(path):
    """Return each (key, reason) that a conversation sets and expects."""
    dialog = read_dialog(path)
    reasons = {
        word
        for _, mark, text in dialog.lines
        if mark == "=" and text.startswith("reasons ")
        for word in text.split()[1:]
    }
    return {(key, reason) for key in dialog.settings for reason in reasons}


def test_every_limit_is_tried():
    """Each key of the table is set by a test that sees its reason recorded."""
    tried = set()
    for path in HERE.glob("*.py"):
        tried |= tried_in_code(path.read_text("utf-8"))
    for path in (HERE / "dialogs").glob("*.dialog"):
        tried |= tried_in_dialog(path)
    assert {(limit.key, limit.reason) for limit in LIMITS} - tried == set()


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("serve(max_errors=5)\n    assert s.reasons == ['too_many_errors']", True),
        ("serve(**{'max_errors': 5})\n    assert 'too_many_errors' in s.reasons", True),
        ("serve(max_errors=5)  # too_many_errors\n    assert s.reasons == []", False),
        ("serve(max_errors=5)\n    assert say('too_many_errors')", False),
        ("serve(max_errors=5)\n    s.reasons == ['too_many_errors']", False),
        ("serve()\n    assert s.reasons == ['too_many_errors']", False),
    ],
)
def test_what_counts_as_tried(source, counts):
    """A word that is not set, or not asserted of what was recorded, tries nothing."""
    found = tried_in_code(f"def test_it():\n    {source}\n")
    assert found == ({("max_errors", "too_many_errors")} if counts else set())


def test_comments_of_a_dialog_try_nothing(tmp_path):
    """A conversation tries what it sets and expects, not what it mentions."""
    path = tmp_path / "one.dialog"
    path.write_text(
        f"# too_many_errors\n@ max_errors = {json.dumps(5)}\nC: too_many_errors\n"
        "= reasons loop\n",
        "utf-8",
    )
    assert tried_in_dialog(path) == {("max_errors", "loop")}
