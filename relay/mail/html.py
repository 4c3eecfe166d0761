"""HTML as text, for mails that have no plain text.

A tokenizer and no tree: text needs the order of things and where blocks begin, not the
nesting that an HTML5 parser builds (which takes such parsers quadratic time on nested
tags, long attribute lists or options, with no bound that a guard before them could
check). Each byte is looked at a fixed number of times, so any input is safe.

Blocks begin on a line of their own, paragraphs and headings with an empty line before
them; list items get a dash, table cells a tab between them; `<pre>` keeps its lines;
scripts, styles, comments and the title are left out. Links keep their text alone.

The head is no bracket around what it holds: it ends where the letter begins, closed or
not, and a head within a quote is none (HTML Living Standard, 13.2.6.4.4 and .7).
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# A tag's name up to its attributes; or a comment, a declaration, a processing
# instruction. `<` before anything else is text (HTML Living Standard, 13.2.5.6).
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^\s/<>\0]{0,40})|<([!?/])")
_QUOTE_OR_END: Final = re.compile("[>\"']")
_BLANK: Final = re.compile(r"[ \t\n\r\f\xa0\u034f\u200b\u200c\ufeff]+")
# A number that no character has: Python converts no number of so many digits.
_LONG_NUMBER: Final = re.compile(r"&#(0*+[0-9]{8,}+|[xX]0*+[0-9a-fA-F]{7,}+);?")
_ZEROS: Final = re.compile(r"(&#[xX]?)0+(?=[0-9a-fA-F])")
_MANY_LINES: Final = re.compile(r"\n{3,}")

_PARAGRAPHS: Final = {
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "dl", "pre",
    "table", "figure", "hr",
}  # fmt: skip
_BLOCKS: Final = {
    "address", "article", "aside", "body", "caption", "center", "dd", "details",
    "dialog", "div", "dt", "fieldset", "figcaption", "footer", "form", "frameset",
    "head", "header", "html", "legend", "li", "main", "menu", "nav", "option",
    "section", "summary", "tbody", "tfoot", "thead", "tr",
}  # fmt: skip
_SKIPPED: Final = {
    "iframe", "math", "noembed", "noframes", "object", "script", "select",
    "style", "svg", "template", "title", "xmp",
}  # fmt: skip
_RAW: Final = frozenset({"script", "style"})
"""Elements that, never closed, hide all the rest."""
_ENDS: Final = {name: re.compile(f"</{name}", re.IGNORECASE) for name in _SKIPPED}


def html_to_text(html: str) -> str:
    """Return the text of an HTML document or fragment; linear in its length."""
    return _Walker().walk(html)


class Piece(NamedTuple):
    """A tag of a page, by its name in lower case, or a text, whose name is empty."""

    start: int
    end: int
    name: str = ""
    closing: bool = False


def pieces(html: str) -> Iterator[Piece]:
    """Yield tags and texts of a page in order; linear in its length.

    Comments, scripts and what else shows no text are left out.
    """
    walker = _Walker()
    position = 0
    while found := _TAG.search(html, position):
        if found.start() > position:
            yield Piece(position, found.start())
        name = found[2]
        if not name:
            position = walker.after_comment(html, found.start())
            continue
        name = name.lower()
        position = _after_tag(html, found.end())
        if name in _SKIPPED and not found[1]:
            if html[position - 2 : position] != "/>":
                end = walker.find_end(name, html, position)
                if end is not None:
                    position = _after_tag(html, end)
                elif name in _RAW:
                    return
            continue
        yield Piece(found.start(), position, name, bool(found[1]))
    if position < len(html):
        yield Piece(position, len(html))


class _Walker:
    """The text while it is gathered, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line: list[str] = []
        self.empty_due = False
        self.blank_due = False
        self.dash_due = False
        self.pre = 0
        # What was looked for up to the end and not found is not looked for again.
        self.missing: set[str] = set()

    def walk(self, html: str) -> str:
        """Return the text."""
        position = 0
        while found := _TAG.search(html, position):
            if found.start() > position:
                self._text(html[position : found.start()])
            name = found[2]
            if not name:
                position = self.after_comment(html, found.start())
                continue
            name = name.lower()
            position = _after_tag(html, found.end())
            if name in _SKIPPED and not found[1]:
                if html[position - 2 : position] == "/>":
                    continue
                end = self.find_end(name, html, position)
                if end is not None:
                    position = _after_tag(html, end)
                elif name in _RAW:
                    break
                continue
            self._tag(name, closing=bool(found[1]))
        else:
            self._text(html[position:])
        self._end_line()
        return _MANY_LINES.sub("\n\n", "\n".join(self.lines)).strip("\n")

    def find_end(self, name: str, html: str, position: int) -> int | None:
        """Return where the closing tag of a skipped element starts."""
        if name in self.missing:
            return None
        found = _ENDS[name].search(html, position)
        if not found:
            self.missing.add(name)
            return None
        return found.start()

    def after_comment(self, html: str, start: int) -> int:
        """Return where a comment, a declaration or an odd closing tag ends."""
        if html.startswith("<!--", start) and "-->" not in self.missing:
            end = html.find("-->", start + 2)
            if end >= 0:
                return end + 3
            self.missing.add("-->")
        return html.find(">", start + 2) + 1 or len(html)

    def _tag(self, name: str, *, closing: bool) -> None:
        if name == "br":
            self._end_line(keep_empty=True)
        elif name in {"td", "th"}:
            if not closing and self.line:
                self.line.append("\t")
                self.blank_due = False
        elif name in _PARAGRAPHS:
            self._end_line()
            self.empty_due = not self.dash_due
            if name == "pre":
                self.pre = max(0, self.pre + (-1 if closing else 1))
            elif name == "hr" and not closing:
                self._add("---")
                self._end_line()
                self.empty_due = True
        elif name in _BLOCKS:
            self._end_line()
            if name == "li":
                self.dash_due = not closing

    def _text(self, raw: str) -> None:
        """Add text between two tags; blanks outside `<pre>` count as one."""
        text = unescaped(raw) if "&" in raw else raw
        if self.pre:
            first, *others = text.split("\n")
            self._add(first)
            for other in others:
                self._end_line(keep_empty=True)
                self._add(other)
            return
        text = _BLANK.sub(" ", text)
        if text.startswith(" "):
            self.blank_due = bool(self.line) and self.line[-1] != "\t"
        words = text.strip(" ")
        if words:
            if self.blank_due:
                words = " " + words
            self._add(words)
            self.blank_due = text.endswith(" ")

    def _add(self, text: str) -> None:
        if text:
            if self.empty_due and self.lines:
                self.lines.append("")
            self.empty_due = False
            if self.dash_due:
                self.line.append("- ")
                self.dash_due = False
            self.line.append(text)

    def _end_line(self, *, keep_empty: bool = False) -> None:
        if self.line:
            self.lines.append("".join(self.line).rstrip())
            self.line.clear()
        elif keep_empty and self.lines:
            self.lines.append("")
        self.blank_due = False


def unescaped(raw: str) -> str:
    """Return text with the characters that its references name."""
    if "&#" in raw:
        raw = _ZEROS.sub(r"\1", _LONG_NUMBER.sub("\ufffd", raw))
    return unescape(raw)


def _after_tag(html: str, position: int) -> int:
    """Return where a tag ends; a quoted attribute may hold a `>`.

    A quote that is never closed ends with the tag it began in.
    """
    while found := _QUOTE_OR_END.search(html, position):
        if found[0] == ">":
            return found.end()
        end = html.find(found[0], found.end())
        if end < 0:
            return html.find(">", found.end()) + 1 or len(html)
        position = end + 1
    return len(html)
