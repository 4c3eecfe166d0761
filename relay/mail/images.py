"""Files that an HTML page holds in itself, as `data:` addresses.

A logo of 200 KB in the first line of a page would leave no room for the letter below
it. So such files are taken out of the page before anything is cut, and become files
of the mail.

Source: RFC 2397.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_FILES: Final = 100
"""How many of them become files; all are taken out of the page."""

# What stands before the content; the quote, if there is one, ends it.
_BEGIN: Final = re.compile(
    rb"[=(,][ \t\r\n]{0,20}+(?:(\"|'|&quot;|&#34;|&#39;)[ \t\r\n]{0,20}+)?"
    rb"(data:([a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60})((?:;[^;,\"'<>\s&]{1,80}){0,6}),)",
    re.IGNORECASE,
)
_BARE: Final = re.compile(rb"[^\s\"'<>)]*")
_IN_TEXT: Final = re.compile(
    rb"data:[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60};base64,[A-Za-z0-9+/=%]{200,}",
    re.IGNORECASE,
)
_NO_FILE: Final = (b"font/", b"application/x-font", b"application/font", b"text/")
_ENDINGS: Final = {"jpeg": "jpg", "svg+xml": "svg", "x-icon": "ico"}


class DataFile(NamedTuple):
    """A file in a page: its type, and where its encoded content lies in the page."""

    media_type: str
    start: int
    end: int
    encoding: str

    def name(self, number: int) -> str:
        """Return a name for it."""
        kind, _, ending = self.media_type.partition("/")
        stem = "image" if kind == "image" else "file"
        return f"{stem}-{number}.{_ENDINGS.get(ending, ending)}"


def take_out(html: bytes) -> tuple[bytes, list[DataFile]]:
    """Return a page without `data:` addresses, and the files that were in them.

    Fonts and styles are taken out as well, and are no files.
    """
    kept: list[bytes] = []
    files: list[DataFile] = []
    position = 0
    while found := _BEGIN.search(html, position):
        content = found.end()
        end = html.find(found[1], content) if found[1] else -1
        if end < 0:
            bare = _BARE.match(html, content)
            end = bare.end() if bare else content
        kept.append(html[position : found.start(2)])
        position = end
        media_type = found[3].lower()
        if len(files) < MAX_FILES and not media_type.startswith(_NO_FILE):
            base64 = found[4].lower().endswith(b";base64")
            encoding = "base64" if base64 else "percent"
            if b"%" in html[content:end] and base64:
                encoding = "percent base64"
            files.append(DataFile(media_type.decode("ascii"), content, end, encoding))
    if not kept:
        return html, files
    kept.append(html[position:])
    return b"".join(kept), files


def without(text: bytes) -> bytes:
    """Return plain text without the `data:` addresses that converters leave in it."""
    return _IN_TEXT.sub(b"", text) if b"data:" in text else text
