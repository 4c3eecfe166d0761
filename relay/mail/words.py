"""Bytes become clean text: charsets, RFC 2047 encoded words, control characters.

The order in which charsets are tried comes from what mail programs really send: text
that reads as strict UTF-8 is UTF-8 whatever its label says, then the label is
believed, and windows-1252 reads anything. Only labels of encodings that look like
ASCII or like UTF-8 by nature (ISO-2022-JP, UTF-16, short double-byte words) go first.

Labels are looked up in a closed table. Python's codec registry is never asked with a
name out of a mail: it would remember every name for ever, and knows codecs that are
no charsets (`punycode` takes quadratic time).
"""

from __future__ import annotations

import binascii
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

_SEVEN_BIT = {
    "hz", "utf_7", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be",
    "utf_32_le", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_2004",
    "iso2022_jp_3", "iso2022_jp_ext", "iso2022_kr",
}  # fmt: skip
_DOUBLE_BYTE = {
    "big5", "big5hkscs", "cp932", "cp949", "cp950", "euc_jis_2004", "euc_jisx0213",
    "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "johab", "shift_jis",
    "shift_jis_2004", "shift_jisx0213",
}  # fmt: skip
_NO_CHARSET = {
    "base64_codec", "bz2_codec", "hex_codec", "idna", "mbcs", "oem", "punycode",
    "quopri_codec", "raw_unicode_escape", "rot_13", "undefined", "unicode_escape",
    "uu_codec", "zlib_codec",
}  # fmt: skip
# As the web does it (WHATWG Encoding Standard, "Names and labels"): the label is
# believed to mean the larger set that programs really use.
_MEANT = {
    "ascii": "cp1252", "latin_1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "iso8859_9": "cp1254", "iso8859_11": "cp874", "tis_620": "cp874",
}  # fmt: skip
_CHARSETS: Final = {
    alias: _MEANT.get(module, module)
    for alias, module in [
        *aliases.items(),
        *((module, module) for module in set(aliases.values())),
        *((f"cp{page}", f"cp{page}") for page in ("874", "720", "737", "856", "1006")),
        ("koi8_u", "koi8_u"),
        ("iso_8859_8_i", "iso8859_8"),
        ("x_sjis", "cp932"),
        ("x_gbk", "gb18030"),
    ]
    if module not in _NO_CHARSET
}
_DOUBLE_BYTE_MEANT: Final = _DOUBLE_BYTE | {_MEANT.get(n, n) for n in _DOUBLE_BYTE}
_SHORT_BYTES: Final = 32

_WORD: Final = re.compile(
    rb"=\?([A-Za-z0-9_.:+()-]{1,40})(?:\*[A-Za-z0-9-]{0,40})?\?([bBqQ])\?([^?]*)\?="
)
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64: Final = bytes(set(range(256)) - set(_BASE64))

_CONTROL_BYTES: Final = bytes({*range(32), 127} - set(b"\t\n\r\v\f"))
_TO_LINES: Final = bytes.maketrans(b"\v\f", b"\n\n")
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]"
)
_LINE_ENDS: Final = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_BLANKS: Final = str.maketrans(dict.fromkeys("\t\n\r\v\f\x85\u2028\u2029", " "))


def decode_header(value: bytes) -> str:
    """Return a raw header value as one line of clean text.

    Encoded words are decoded wherever they stand, quoted strings included, since mail
    programs put them there; neighbours of one charset are joined before they are
    decoded, since programs split inside a character. Raw 8-bit bytes are read as well.

    Source: RFC 2047 sections 2 and 6.2; RFC 2231 section 5 (language tag).
    """
    if b"\n" in value or b"\r" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b" ").replace(b"\r", b" ")
    if b"=?" not in value:
        text = value.decode("ascii") if value.isascii() else decode(value)[0]
        return line(text)
    pieces: list[str] = []
    pending = b""
    charset = ""
    position = 0
    for word in _WORD.finditer(value):
        gap = value[position : word.start()]
        label = word[1].decode("ascii").lower()
        if label != charset or gap.strip():
            pieces.append(decode(pending, charset)[0])
            pending = b""
        if gap.strip() or not position:
            pieces.append(decode(gap)[0])
        charset = label
        pending += from_base64(word[3]) if word[2] in b"bB" else _from_q(word[3])
        position = word.end()
    pieces += (decode(pending, charset)[0], decode(value[position:])[0])
    return line("".join(pieces))


def decode(data: bytes, label: str | None = None) -> tuple[str, bool]:
    """Return text, and whether its label was known and right (none given is right).

    The text is not cleaned: pass it through `clean` or `line`.
    """
    codec = _codec(label) if label else None
    trusted = codec in _SEVEN_BIT or (
        codec in _DOUBLE_BYTE_MEANT and len(data) < _SHORT_BYTES
    )
    if codec and trusted:
        try:
            return data.decode(codec), True
        except UnicodeError:
            pass
    try:
        return data.decode("utf-8"), codec is not None or not label
    except UnicodeError:
        pass
    if codec:
        try:
            return data.decode(codec), True
        except UnicodeError:
            pass
        if codec in _DOUBLE_BYTE_MEANT or codec in {"utf_8", "utf_8_sig"}:
            # A bad byte or a text cut in the middle: the label fits all the rest.
            text = data.decode(codec, "replace")
            if text.count("\ufffd") * 20 <= len(text) + 20:
                return text, False
    return data.decode("cp1252", "replace"), not label


@lru_cache(maxsize=256)
def _codec(label: str) -> str | None:
    """Return Python's name for a charset label, or None if it is no charset."""
    name = normalize_encoding(label[:40].strip().lower())
    return _CHARSETS.get(name) or _CHARSETS.get(name.replace("_", ""))


def clean_bytes(data: bytes) -> bytes:
    """Drop ASCII control characters: `clean` for ASCII, at a tenth of its cost.

    Not for charsets that use control characters, such as UTF-16 and ISO-2022-JP.
    """
    data = data.translate(_TO_LINES, _CONTROL_BYTES)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def clean(text: str) -> str:
    r"""Return text with `\n` as its line end, free of controls and lone surrogates."""
    if text.isascii():
        return clean_bytes(text.encode("ascii")).decode("ascii")
    return _CONTROLS.sub("", _LINE_ENDS.sub("\n", text)).removeprefix("\ufeff")


def line(text: str) -> str:
    """Return text as one clean line; line ends and tabs become blanks."""
    if text.isprintable():
        return text.strip()
    text = text.replace("\r\n", " ").translate(_BLANKS)
    return _CONTROLS.sub("", text).strip()


def from_base64(data: bytes) -> bytes:
    """Decode base64 as far as it can be; never fails."""
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        kept = data.translate(None, _NOT_BASE64)
        if len(kept) % 4 == 1:
            kept = kept[:-1]
        return binascii.a2b_base64(kept + b"==")


def _from_q(data: bytes) -> bytes:
    """Decode the Q encoding (RFC 2047 section 4.2)."""
    return binascii.a2b_qp(data, header=True)
