"""Charset labels, and the text they stand for, as browsers read it.

Mail names charsets with all the labels that the web uses, and means by them what the
web means: `iso-8859-1` is windows-1252, `gb2312` is GB 18030, and ISO-2022-JP holds
the characters that NEC and IBM added (① and half-width kana), which Python's own
codecs for Japanese do not know. Labels that browsers refuse (`hz-gb-2312`,
`iso-2022-kr`) are read here, as are those that only mail has (`cp50220`, `utf-7`).

Labels are looked up in a closed table. Python's codec registry is never asked with a
name out of a mail: it would remember every name for ever, and knows codecs that are
no charsets (`punycode` takes quadratic time).

Source: WHATWG Encoding Standard, sections 4.2 (labels), 5 (indexes), 9 to 14
(decoders); RFC 1468 (ISO-2022-JP); RFC 1922 (ISO-2022-CN).
"""

from __future__ import annotations

import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import cache, lru_cache
from typing import Final

JIS: Final = "relay-iso-2022-jp"
EUC_JP: Final = "relay-euc-jp"
ISO_2022_CN: Final = "relay-iso-2022-cn"
USER_DEFINED: Final = "relay-x-user-defined"

# A codec, and the labels that browsers know it by.
_LABELS: Final = """
utf_8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8
cp866 866 cp866 csibm866 ibm866
iso8859_2 csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2
iso8859_2 iso_8859-2:1987 l2 latin2
iso8859_3 csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3
iso8859_3 iso_8859-3:1988 l3 latin3
iso8859_4 csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4
iso8859_4 iso_8859-4:1988 l4 latin4
iso8859_5 csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595
iso8859_5 iso_8859-5 iso_8859-5:1988
iso8859_6 arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114
iso8859_6 iso-8859-6 iso-8859-6-e iso-8859-6-i iso-ir-127 iso8859-6 iso88596
iso8859_6 iso_8859-6 iso_8859-6:1987
iso8859_7 csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126
iso8859_7 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 sun_eu_greek
iso8859_8 csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138
iso8859_8 iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988 visual
iso8859_8 csiso88598i iso-8859-8-i logical
iso8859_10 csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6
iso8859_13 iso-8859-13 iso8859-13 iso885913
iso8859_14 iso-8859-14 iso8859-14 iso885914
iso8859_15 csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9
iso8859_16 iso-8859-16
koi8_r cskoi8r koi koi8 koi8-r koi8_r
koi8_u koi8-ru koi8-u
mac_roman csmacintosh mac macintosh x-mac-roman
cp874 dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874
cp1250 cp1250 windows-1250 x-cp1250
cp1251 cp1251 windows-1251 x-cp1251
cp1252 ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100
cp1252 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii
cp1252 windows-1252 x-cp1252
cp1253 cp1253 windows-1253 x-cp1253
cp1254 cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9
cp1254 iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254
cp1255 cp1255 windows-1255 x-cp1255
cp1256 cp1256 windows-1256 x-cp1256
cp1257 cp1257 windows-1257 x-cp1257
cp1258 cp1258 windows-1258 x-cp1258
mac_cyrillic x-mac-cyrillic x-mac-ukrainian
gb18030 chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58
gb18030 x-gbk gb18030
big5hkscs big5 big5-hkscs cn-big5 csbig5 x-x-big5
relay-euc-jp cseucpkdfmtjapanese euc-jp x-euc-jp
relay-iso-2022-jp csiso2022jp iso-2022-jp
cp932 csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis
cp949 cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989
cp949 ksc5601 ksc_5601 windows-949
iso2022_kr csiso2022kr iso-2022-kr
hz hz-gb-2312
relay-iso-2022-cn iso-2022-cn iso-2022-cn-ext
utf_16_be unicodefffe utf-16be
utf_16 csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le
relay-x-user-defined x-user-defined
"""

# Labels that mail has, and browsers do not know, or not under this name.
_IN_MAIL: Final = """
relay-iso-2022-jp cp50220 cp50221 cp50222 cp50220raw iso2022-jp iso-2022-jp-ms
relay-iso-2022-jp windows-50220 windows-50221 windows-50222 x-windows-iso2022jp
relay-iso-2022-jp iso-2022-jp-1 iso-2022-jp-2 iso-2022-jp-ext jis x-iso-2022-jp
relay-euc-jp cp51932 eucjp-win eucjp-ms windows-51932 eucjp ujis
cp932 windows-932 cp943 cp943c x-ms-cp932 mskanji
gb18030 windows-936 cp936 cn-gb x-euc-cn euc-cn gb-2312 windows-54936 cp54936
cp950 windows-950 cp950 x-windows-950 ms950
big5hkscs big5hkscs x-big5 big-5
cp949 x-windows-949 uhc ms949 euckr ks-c-5601-1987 kseuc
cp874 cp874 x-windows-874 tis620 tis-620-2533
cp437 windows-437
cp850 windows-850 dos-850
cp852 windows-852 dos-852
cp866 dos-866
cp1252 windows1252 win-1252 ansi latin-1 iso-latin-1
cp1251 windows1251 win-1251 ansi-1251
cp1250 windows1250 win-1250
utf_8 utf8mb4 utf-8-mac cp65001 windows-65001 unicode-2-0-utf-8
utf_7 unicode-1-1-utf-7 csunicode11utf7 cp65000 windows-65000 utf-7-imap
mac_latin2 x-mac-ce x-mac-centraleurroman
mac_greek x-mac-greek
mac_turkish x-mac-turkish
cp720 cp720 windows-720
cp737 cp737
cp856 cp856
cp1006 cp1006
"""

_NO_CHARSET: Final = {
    "base64_codec", "bz2_codec", "hex_codec", "idna", "mbcs", "oem", "punycode",
    "quopri_codec", "raw_unicode_escape", "rot_13", "undefined", "unicode_escape",
    "uu_codec", "zlib_codec",
}  # fmt: skip
# What Python's names mean on the web.
_MEANT: Final = {
    "ascii": "cp1252", "latin_1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "iso8859_9": "cp1254", "iso8859_11": "cp874", "tis_620": "cp874",
    "euc_jp": EUC_JP, "iso2022_jp": JIS, "iso2022_jp_1": JIS, "iso2022_jp_2": JIS,
    "iso2022_jp_ext": JIS,
}  # fmt: skip

SEVEN_BIT: Final = frozenset({
    "hz", "utf_7", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be",
    "utf_32_le", "iso2022_jp_2004", "iso2022_jp_3", "iso2022_kr", JIS, ISO_2022_CN,
})  # fmt: skip
"""Codecs whose text looks like ASCII, or has bytes of every value."""

MULTI_BYTE: Final = frozenset({
    "big5hkscs", "cp932", "cp949", "cp950", "euc_jis_2004", "euc_jisx0213", EUC_JP,
    "gb18030", "johab", "shift_jis_2004", "shift_jisx0213", "utf_8",
})  # fmt: skip
"""Codecs in which one bad byte makes a character of several unreadable."""

_GUESSED: Final = ("cp932", EUC_JP, "gb18030", "big5hkscs", "cp949")
_SHARE: Final = 20  # One unreadable character in so many is a damaged text.
_KOI8_U: Final = {0x255D: "\u045e", 0x256C: "\u040e"}

_ESCAPES: Final = re.compile(rb"\x1b(\([A-Z]|\$\(?[@A-Z])")
_SHIFTED: Final = re.compile(rb"\x0e([^\x0e\x0f\x1b\r\n]*)\x0f?")
_EUC: Final = re.compile(
    rb"((?:[\xa1-\xfe][\xa1-\xfe])+)|((?:\x8e[\xa1-\xdf])+)"
    rb"|((?:\x8f[\xa1-\xfe][\xa1-\xfe])+)|([\x00-\x7f]+)|([\x80-\xff])"
)
_DOUBLE: Final = re.compile(
    rb"((?:[\x21-\x7e][\x21-\x7e])+)|([\x00-\x20]+)|(.)", re.DOTALL
)
_CN: Final = re.compile(rb"\x1b\$[)*+][A-Z]")


def _table() -> dict[str, str]:
    """Return the codec of every label, normalised."""
    named = {
        alias: _MEANT.get(module, module)
        for alias, module in [
            *aliases.items(),
            *((module, module) for module in set(aliases.values())),
        ]
        if module not in _NO_CHARSET
    }
    for row in (*_IN_MAIL.split("\n"), *_LABELS.split("\n")):
        codec, *labels = row.split() or [""]
        named.update((normalize_encoding(label), codec) for label in labels)
    return named


_CODECS: Final = _table()


@lru_cache(maxsize=256)
def codec_of(label: str) -> str | None:
    """Return the codec that a label means, or None if it is no charset."""
    name = normalize_encoding(label[:40].strip(" \t\r\n\f'\"").lower())
    return _CODECS.get(name) or _CODECS.get(name.replace("_", ""))


def read(data: bytes, codec: str, errors: str = "strict") -> str:
    """Return the text that a codec makes of bytes.

    Args:
        data: The bytes.
        codec: As `codec_of` gives it, or a codec of Python's.
        errors: `strict` or `replace`.

    Raises:
        UnicodeError: They are not of that charset, and `errors` is strict.
    """
    reader = _OWN.get(codec)
    if not reader:
        return data.decode(codec, errors)
    text = reader(data)
    if errors == "strict" and "\ufffd" in text:
        message = f"not all of it is {codec}"
        raise UnicodeError(message)
    return text


def mostly(data: bytes, codec: str) -> str | None:
    """Return the text if all but a few of its characters are right, or None.

    A text that was cut within a character, or that lost a byte, is still of its
    charset; one that was never in it has errors all over.
    """
    text = read(data, codec, "replace")
    return text if text.count("\ufffd") * _SHARE <= len(text) + _SHARE else None


def has_escapes(data: bytes) -> bool:
    """Say whether bytes hold escapes by which ISO-2022-JP switches to Japanese."""
    return b"\x1b$" in data or b"\x1b(I" in data


def guess(data: bytes) -> str | None:
    """Return text in a charset that nobody named, if one fits without an error.

    The last resort: bytes that are neither UTF-8 nor windows-1252. Only charsets of
    East Asia are strict enough to be recognised.
    """
    for codec in _GUESSED:
        try:
            text = read(data, codec)
        except UnicodeError:
            continue
        foreign = [character for character in text if character > "\x7f"]
        if 2 * sum("\u3040" <= c <= "\ud7a3" for c in foreign) > len(foreign):
            return text
    return None


# ---------------------------------------------------------------- own decoders


@cache
def _jis0208() -> dict[bytes, str]:
    """Return JIS X 0208 with the rows of NEC and IBM, by its two bytes.

    Python's `cp932` holds the same characters; the place of each is a matter of
    counting (rows of 94 there, two rows to a first byte here).
    """
    table = {}
    for row in range(94):
        lead = (row >> 1) + (0x81 if row < 62 else 0xC1)  # noqa: PLR2004
        for cell in range(94):
            trail = cell + (0x9F if row & 1 else 0x40)
            if not row & 1 and trail > 0x7E:  # noqa: PLR2004
                trail += 1
            try:
                text = bytes((lead, trail)).decode("cp932")
            except UnicodeDecodeError:
                continue
            table[bytes((row + 0x21, cell + 0x21))] = text
    return table


def _double(data: bytes) -> str:
    """Read JIS X 0208 bytes; controls and blanks among them stay."""
    table = _jis0208()
    pieces = []
    for pairs, controls, _ in _DOUBLE.findall(data):
        if pairs:
            pieces += [
                table.get(pairs[at : at + 2], "\ufffd")
                for at in range(0, len(pairs), 2)
            ]
        else:
            pieces.append(controls.decode("ascii") or "\ufffd")
    return "".join(pieces)


def _kana(data: bytes) -> str:
    """Read half-width kana in seven bits."""
    high = bytes(b | 0x80 if 0x21 <= b < 0x60 else b for b in data)  # noqa: PLR2004
    return high.decode("cp932", "replace")


def _single(data: bytes) -> str:
    """Read ASCII, with half-width kana in eight bits or shifted in."""
    if b"\x0e" not in data:
        return data.decode("cp932", "replace")
    pieces = _SHIFTED.split(data)
    return "".join(
        _kana(piece) if odd % 2 else piece.decode("cp932", "replace")
        for odd, piece in enumerate(pieces)
    )


def _from_jis(data: bytes) -> str:
    """Read ISO-2022-JP as browsers do, and the sets that they do not know as Python."""
    first, *others = _ESCAPES.split(data)
    pieces = [_single(first)]
    for escape, text in zip(others[::2], others[1::2], strict=True):
        if escape in {b"$B", b"$@", b"$(B", b"$(@"}:
            pieces.append(_double(text))
        elif escape == b"(I":
            pieces.append(_kana(text))
        elif escape == b"(J":
            pieces.append(_single(text).replace("\\", "\u00a5").replace("~", "\u203e"))
        elif escape in {b"(B", b"(H"}:
            pieces.append(_single(text))
        else:
            whole = b"\x1b" + escape + text
            pieces.append(whole.decode("iso2022_jp_ext", "replace"))
    return "".join(pieces)


def _from_euc_jp(data: bytes) -> str:
    """Read EUC-JP, with the rows of NEC and IBM."""
    pieces = []
    for double, kana, more, plain, _ in _EUC.findall(data):
        if plain:
            pieces.append(plain.decode("ascii"))
        elif double:
            pieces.append(_double(bytes(b & 0x7F for b in double)))
        elif kana:
            pieces.append(kana[1::2].decode("cp932"))
        else:
            pieces.append(more.decode("euc_jp", "replace") if more else "\ufffd")
    return "".join(pieces)


def _from_iso_2022_cn(data: bytes) -> str:
    """Read ISO-2022-CN as far as it is GB 2312."""
    first, *others = re.split(rb"\x0e([^\x0f\r\n]*)\x0f?", _CN.sub(b"", data))
    pieces = [first.decode("ascii", "replace")]
    for shifted, text in zip(others[::2], others[1::2], strict=True):
        pieces.append(bytes(b | 0x80 for b in shifted).decode("gb18030", "replace"))
        pieces.append(text.decode("ascii", "replace"))
    return "".join(pieces)


def _from_user_defined(data: bytes) -> str:
    return "".join([chr(b if b < 0x80 else 0xF700 + b) for b in data])  # noqa: PLR2004


def _from_koi8_u(data: bytes) -> str:
    return data.decode("koi8_u", "replace").translate(_KOI8_U)


_OWN: Final = {
    JIS: _from_jis,
    EUC_JP: _from_euc_jp,
    ISO_2022_CN: _from_iso_2022_cn,
    USER_DEFINED: _from_user_defined,
    "koi8_u": _from_koi8_u,
}
