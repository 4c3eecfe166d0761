"""Files that people take for a mail: what they are, and how a mail is saved.

A file that was saved by another program, or as something else, is told from a mail by
its first bytes, and there is a sentence that says what it is and what to do.
"""

from __future__ import annotations

import re
from typing import Final

_SAVE: Final = (
    "save the mail itself as .eml (Thunderbird: Save As; Outlook on the web: Download; "
    "Gmail: Download message; Outlook: attach the mail to a new one and send it)"
)
_BINARY: Final = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Outlook message (.msg)"),
    (b"!BDN", "an Outlook data file (.pst)"),
    (b"\x78\x9f\x3e\x22", "a winmail.dat of Outlook"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"bplist00", "a property list of macOS"),
)
_TEXT: Final = (
    (b"%pdf-", "a PDF"),
    (b"{\\rtf", "an RTF document"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML document"),
)
# Eight ASCII characters, each with a zero byte beside it.
_UTF_16: Final = re.compile(
    rb"\xff\xfe|\xfe\xff|(?:[\t\r\n -~]\0){8}|(?:\0[\t\r\n -~]){8}"
)


def not_a_mail(raw: bytes) -> str:
    """Say what a file is that is no mail, and what helps; empty where it may be one."""
    for begin, kind in _BINARY:
        if raw.startswith(begin):
            return f"this is {kind}, not a mail; {_SAVE}"
    if _UTF_16.match(raw):
        return (
            "this is text in UTF-16: an editor has saved the mail in another encoding; "
            f"save it there as UTF-8, or {_SAVE}"
        )
    return ""


def no_header(raw: bytes) -> str:
    """Say why bytes without any header field are no mail, and what helps."""
    begin = raw[:16].lower()
    for text, kind in _TEXT:
        if begin.startswith(text):
            return f"this is {kind}, not a mail; {_SAVE}"
    return "the mail has no header field" if raw.strip() else "the mail is empty"
