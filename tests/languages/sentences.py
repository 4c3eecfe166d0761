"""Finds what the rooms below the pages say to people: their sentences, unmarked.

In the files of `ROOMS` whatever reads as a sentence is a text that some page, notice or
reply may show: what went wrong and what helps, findings, steps of a decision. So every
one of them is extracted as it stands, with a field for each value:
`f"there is no change {number}"` is the text `there is no change {number}`. Nothing has
to be marked, and nothing can be forgotten; `relay.core.translate.Texts.told` finds the
text again where it is shown. A word alone is no sentence: `relay.core.words` has those.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from relay.admin.settings import in_force
from relay.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOMS = (
    "activity/attachments",
    "admin/claims admin/concerns admin/inputs admin/presets admin/rule_change",
    "admin/salesforce_addresses admin/settings",
    "attachments/delivery attachments/rows attachments/stage",
    "config/match config/values",
    "console/*",
    "core/authentication core/bodies core/errors core/filters core/mailboxes",
    "core/match_rules core/reminders core/retry core/shared core/subjects",
    "core/syncing",
    "diagnose/*",
    "intake/accept intake/judging intake/rules",
    "match/*",
    "outbox/*",
    "reminders/*",
    "reconcile/undo",
    "salesforce/auth salesforce/budget salesforce/connection salesforce/errors",
    "salesforce/error_table salesforce/files salesforce/fits salesforce/lookup_rules",
    "salesforce/named salesforce/search salesforce/schema",
    "sender/*",
    "store/accounts store/acts store/claims store/credentials store/directory",
    "store/edits store/errors store/factors store/history store/log store/messages",
    "store/queue store/reminder_sync store/reminders store/undo store/unmatched",
    "unmatched/*",
    "upkeep/webhook",
    "worker/*",
    "web/pages/alerts web/pages/home web/pages/log web/pages/people",
    "web/pages/people_import web/pages/reminders web/pages/rules web/pages/unmatched",
    "web/api/mails",
)
"""Files below `relay/` whose sentences people read on a page."""
NOT_SAID = {
    *("compile", "sub", "match", "fullmatch", "search", "findall", "split"),
    *("startswith", "endswith", "removeprefix", "removesuffix", "partition"),
    *("debug", "info", "warning", "error", "exception", "critical"),
    *("N_", "_", "gettext", "ngettext", "TypeError", "AssertionError", "RuntimeError"),
    *("AttributeError", "ValueError", "replace", "strftime", "Field"),
    *("_automatic", "fact", "set", "turn"),
}
"""Calls whose texts are no sentences, or are marked already."""
_SENTENCE = re.compile(r"[A-Za-z]{2,}[^\s]* +[^\s]*[A-Za-z{]")
_FIELD = re.compile(r"\{[a-z_0-9]*\}")
_NO_TEXT = re.compile(
    r"\n|~|</?[a-z]+>|^<|^\[salesforce|^\w+/[\w-]+;|\b(?:SELECT|AND$|IN \{)|"
    r"^(?:v=|mode:|max_age:|version:|Token\()|^[\w.]+\.\w+: plus|^\|| \|$|"
    r"^(?:probe|describe|write mode|replay|recovery|removed|session) \{|"
    r"^(?:attachment;|inline;|private,|wrong \{|rcpt size|kind;left|people tags)|"
    r"^match user$| (?:state|since):\{|"
    r"^(?:any other|with \*|the page has|Key of the e-mail relay)|"
    r"^relay (?:user|settings|retry|address|activate|check|unmatched|reminder)"
    r"(?: (?:[a-z-]+|[A-Z]+|\{[\w.]+\}|[a-z.]+\{\w+\}|\{\w+\}\.\{\w+\}))*$"
)
"""What is code: a table, SOQL, HTML, a media type, a key, or a command alone."""
_ENDS = " ;:,"


def files(root: Path) -> Iterator[Path]:
    """Yield the files of the rooms."""
    for line in ROOMS:
        for name in line.split():
            found = sorted((root / "relay").glob(f"{name}.py"))
            yield from (one for one in found if one.name != "__init__.py")


def helps() -> Iterator[str]:
    """Yield what each setting is for that holds without a restart."""
    for row in in_force(Settings(), {}):
        yield row.help


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a file with their lines.

    A row of the error table is shown in halves: what it means, and what helps.
    """
    tree = ast.parse(path.read_text("utf-8"))
    in_halves, in_api = path.name == "error_table.py", "api" in path.parts
    passed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(id(node.value))
        elif isinstance(node, ast.Call) and _name(node) in NOT_SAID:
            passed.update(id(one) for one in ast.walk(node) if one is not node)
        elif isinstance(node, ast.JoinedStr):
            passed.update(id(one) for one in node.values)
        elif isinstance(node, ast.Dict):
            passed.update(id(one) for one in node.keys)
        elif isinstance(node, ast.Subscript):
            passed.add(id(node.slice))
    for node in ast.walk(tree):
        if id(node) not in passed and (text := _text(node)):
            text = text.strip(_ENDS)
            # The words of the description of the API are for programmers.
            if is_sentence(text) and not (in_api and not text[0].islower()):
                for half in text.split("; ", 1) if in_halves else (text,):
                    yield node.lineno, half.strip(".") if in_halves else half


def is_sentence(text: str) -> bool:
    """Say whether a text is one that people read."""
    fixed = _FIELD.sub("", text)
    return (
        bool(_SENTENCE.search(text))
        and sum(map(str.isalpha, fixed)) >= 4
        and not _NO_TEXT.search(text)
        and "{" not in fixed
        and any(map(str.islower, fixed))
    )


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _text(node: ast.AST) -> str:
    """Return a text constant, or an f-string with named fields; empty: neither."""
    if isinstance(node, ast.Constant):
        said = node.value if isinstance(node.value, str) else ""
        return said.replace("{}", "{value}")
    if not isinstance(node, ast.JoinedStr):
        return ""
    said, names = "", set()
    for part in node.values:
        if isinstance(part, ast.Constant):
            said += part.value if not set("{}") & set(part.value) else "{{"
            continue
        base = _field(part.value) or "value"
        name, number = base, 2
        while name in names:
            name, number = f"{base}{number}", number + 1
        names.add(name)
        said += f"{{{name}}}"
    return said


def _field(node: ast.AST) -> str:
    """Name a field by what its value is called."""
    if isinstance(node, ast.Name):
        return node.id.lower().strip("_")
    if isinstance(node, ast.Attribute):
        return node.attr.lower().strip("_")
    if isinstance(node, ast.Call):
        if getattr(node.func, "attr", "") in {"join", "get"} or node.args:
            return _field(node.args[0]) if node.args else ""
        return _field(node.func)
    if isinstance(node, ast.Subscript):
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return node.slice.value.lower()
        return _field(node.value)
    if isinstance(node, ast.BinOp | ast.BoolOp):
        return _field(node.left if isinstance(node, ast.BinOp) else node.values[0])
    return ""
