"""Each text of the product is marked, and translated into each language."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser

import pytest
from jinja2 import Environment, nodes

from relay.core.translate import PLURALS, path_of, read, texts
from tests.languages.catalogues import (
    OTHERS,
    PLURAL_FORMS,
    ROOT,
    extracted,
    missing,
    text_of,
    updated,
)

pytestmark = pytest.mark.timeout(60)  # Babel reads many files.
PAGES = ROOT / "relay" / "web" / "templates"
FIELD = re.compile(r"\{[^{}]*\}|%\([a-z_]+\)[sd]|%[sd]")
PROSE = {
    "relay/notices/letters.py": {"Letter", "Paragraph", "Link"},
}
"""Files whose texts people read, and the calls whose texts must be marked."""
NAMES = {"Salesforce", "CSV", "API", "BCC", "ID", "OpenID Connect", "TOTP", "SPF"}
"""Words of a page that are the same in each language."""
OBJECTS = {"Account", "Case", "Contact", "EmailMessage", "Lead", "Opportunity", "Task"}
"""Names of the API of Salesforce, which are values of forms."""
SHOWN = {"alt", "aria-label", "placeholder", "title"}
"""Attributes that people read."""


@pytest.fixture(scope="module")
def template():
    return extracted()


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_untranslated(language, template):
    """Run `make messages`, then translate what it lists."""
    lacks = missing(updated(language, template))
    assert not lacks, (
        f"{len(lacks)} texts are not translated into {language}: run `make messages`, "
        f"then fill in relay/locales/{language}.po. The first: {lacks[0]!r}"
    )


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_kept_that_is_gone(language, template):
    """A catalogue has the texts of today alone."""
    known = {entry.text for entry in read(path_of(language).read_text("utf-8"))}
    now = {one.id if isinstance(one.id, str) else one.id[0] for one in template}
    assert not known - now, "run `make messages`"


@pytest.mark.parametrize("language", OTHERS)
def test_fields_are_those_of_the_text(language):
    """A field that is lost or misspelt would fail where the text is shown."""
    for entry in read(path_of(language).read_text("utf-8")):
        if not entry.text:
            continue
        allowed = set(FIELD.findall(entry.text + entry.plural))
        needed = set(FIELD.findall(entry.plural or entry.text)) - {"{count}", "%(n)s"}
        for form in entry.forms:
            fields = set(FIELD.findall(form))
            assert needed <= fields <= allowed, (entry.text, form)
        if not entry.plural:
            assert sorted(FIELD.findall(entry.forms[0])) == sorted(
                FIELD.findall(entry.text)
            ), entry.text
        elif "{count}" in entry.plural or "%(n)s" in entry.plural:
            # The second form stands for many numbers: it must name the number.
            assert re.search(r"\{count\}|%\(n\)s", entry.forms[1]), entry.text


@pytest.mark.parametrize("language", OTHERS)
def test_a_text_ends_as_the_english_one_does(language):
    """A colon leads to what follows, spaces stand between pieces."""
    for entry in read(path_of(language).read_text("utf-8")):
        if not entry.text:
            continue
        for end in (".", ":", "?", "…", " ", "\n"):
            for form in entry.forms:
                if entry.plural:
                    continue
                assert form.endswith(end) == entry.text.endswith(end), (
                    entry.text,
                    form,
                )
        assert all(
            form.startswith(" ") == entry.text.startswith(" ") for form in entry.forms
        )


@pytest.mark.parametrize("language", OTHERS)
def test_the_header_has_the_rule_for_plurals(language):
    """Programs of translators go by the header, the relay by `PLURALS`."""
    head = path_of(language).read_text("utf-8").partition("\n\n")[0]
    rule = PLURAL_FORMS[language]
    assert f"plural=({rule})" in head
    for count in (0, 1, 2, 21):
        said = {"n != 1": count != 1, "n > 1": count > 1}[rule]
        assert PLURALS[language](count) == int(said)


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_is_as_the_tool_writes_it(language, template):
    """So that the next run changes nothing but what is new."""
    found = updated(language, template)
    if not missing(found):
        assert path_of(language).read_text("utf-8") == text_of(found)


def test_every_text_of_a_language_is_read():
    """The relay's own reader finds what Babel wrote."""
    for language in OTHERS:
        entries = list(read(path_of(language).read_text("utf-8")))
        with_forms = {one.text for one in entries if one.text and all(one.forms)}
        assert set(texts(language).forms) == with_forms


# ------------------------------------------------------------------ what is not marked


@pytest.mark.parametrize("name", sorted(PROSE))
def test_texts_of_code_are_marked(name):
    """What a letter says is given through `_`, `ngettext` or `N_`."""
    tree = ast.parse((ROOT / name).read_text("utf-8"))
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or _name(call) not in PROSE[name]:
            continue
        for text in _unmarked(call):
            assert not re.search(r"[a-z]{2}", FIELD.sub("", text)), (name, text)


def _name(call):
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _unmarked(node):
    """Yield the text constants below a node that stand in no mark."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and _name(child) in {
            *("_", "N_", "ngettext", "get", "strftime", "say"),
        }:
            continue
        if isinstance(child, ast.Subscript):
            continue
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        yield from _unmarked(child)


def templates():
    return sorted(PAGES.rglob("*.html"))


@pytest.mark.parametrize(
    "path", templates(), ids=lambda path: path.relative_to(PAGES).as_posix()
)
def test_texts_of_pages_are_marked(path):
    """A page has no words outside `_()`, neither between tags nor in attributes."""
    found = [f"line {line}: {text!r}" for line, text in _words(path.read_text("utf-8"))]
    assert not found, f"mark them with _() in {path.name}: " + "; ".join(found)


class _Words(HTMLParser):
    """Gathers what people read, with its line."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_data(self, data):
        self._take(data)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in SHOWN:
                self._take(value or "")

    def _take(self, text):
        if re.search(r"[^\W\d_]{2}", text) and text.strip(" :.…·→\n") not in NAMES:
            self.found.append((self.getpos()[0], text.strip()))


def _words(source):
    """Return the words of a template that are HTML, and those of its expressions."""
    environment = Environment(autoescape=True)
    reader = _Words()
    # What is no HTML leaves its lines, so that the numbers are those of the file.
    reader.feed(
        "".join(
            value if kind == "data" else "\n" * value.count("\n")
            for _, kind, value in environment.lex(source)
        )
    )
    said = list(_said(environment.parse(source)))
    return reader.found + [
        one for one in said if re.match(r"[A-Z][a-z]", one[1]) and one[1] not in OBJECTS
    ]


def _said(node):
    """Yield the text constants of a template that stand in no mark."""
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.Call) and getattr(child.node, "name", "") in {
            *("_", "ngettext"),
        }:
            continue
        if isinstance(child, nodes.Const) and isinstance(child.value, str):
            yield child.lineno, child.value
        yield from _said(child)
