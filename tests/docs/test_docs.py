"""What the documents point to exists: links, files, and functions of the flow.

Documents that are not written yet are not missed here; those that are written must be
true. `docs/flow.md` names a place as `relay/package/file.py` and a function of it
as `Class.method` or `function` in the same line, both in backticks.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if page.is_file()
)
FLOW = ROOT / "docs" / "flow.md"

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^()\s]+)\)|!\[[^\]\n]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
SOURCE = re.compile(r"(?:relay|tests|bench|docs)/[\w./-]*\w\.(?:py|md|toml|tsv)")
COMMAND = re.compile(r"\bmake ([a-z][a-z-]*)")


def shown(page):
    """Return the path of a page for a test's name."""
    return str(page.relative_to(ROOT))


def anchors(text):
    """Return the anchors that a page's headings make, as GitHub builds them."""
    found = set()
    for heading in re.findall(r"^#+\s+(.+?)\s*#*$", FENCE.sub("", text), re.MULTILINE):
        word = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(word)
    return found


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_relative_links_lead_somewhere(page):
    """Each relative link names a file of the tree, and a heading where it says so."""
    lost = []
    for first, second in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        target = unquote(first or second)
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        known = file.exists() and file.is_relative_to(ROOT)
        if known and anchor and file.suffix == ".md":
            known = anchor in anchors(file.read_text("utf-8"))
        if not known:
            lost.append(target)
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_files_in_backticks_exist(page):
    """A file of the tree that a document names is there."""
    text = FENCE.sub("", page.read_text("utf-8"))
    named = [word for word in CODE.findall(text) if SOURCE.fullmatch(word)]
    assert not [word for word in named if not (ROOT / word).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_make_targets_exist(page):
    """A `make` command that a document shows is a target of the Makefile."""
    targets = set(
        re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    text = page.read_text("utf-8")
    blocks = [match[0] for match in FENCE.finditer(text)] + CODE.findall(text)
    wanted = {word for block in blocks for word in COMMAND.findall(block)}
    assert wanted <= targets


def definitions(file):
    """Return every function, class, `Class.member` and constant of a module."""
    names = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        names |= defined(node)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                names |= {f"{node.name}.{name}" for name in defined(inner)}
                names |= defined(inner)
    return names


def defined(node):
    """Return the names that one statement defines."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Assign():
            return {one.id for one in node.targets if isinstance(one, ast.Name)}
        case _:
            return set()


def lines_of_flow():
    """Return the lines of `docs/flow.md` that name a module."""
    if not FLOW.exists():
        return []
    lines = FENCE.sub("", FLOW.read_text("utf-8")).splitlines()
    return [line for line in lines if re.search(r"`relay/[\w/]+\.py`", line)]


@pytest.mark.parametrize("line", lines_of_flow())
def test_flow_names_functions_that_exist(line):
    """Beside a module, the flow names what that module defines."""
    words = CODE.findall(line)
    files = [word for word in words if word.startswith("relay/") and word[-3:] == ".py"]
    known = {name for file in files for name in definitions(ROOT / file)}
    called = [word.removesuffix("()") for word in words if word.endswith("()")]
    dotted = [word for word in words if re.fullmatch(r"[A-Z]\w*\.[a-z_]\w*", word)]
    assert not [name for name in {*called, *dotted} if name not in known]
