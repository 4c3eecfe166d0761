"""One value of one field: what a client may send, and what is stored.

Strict where Salesforce is strict, and where its behaviour is not known: a number in a
text field, a date without a day, a text one UTF-16 unit too long are refused, never
corrected or cut. White space around text is trimmed and empty text is null, as the
platform does.

A record id is a key prefix, a pod, a reserved digit and a counter in base 62: 15
characters that differ by case, and three checksum characters. The API takes both
lengths and answers 18.

Source: Salesforce Object Reference, "Primitive Data Types", "ID Field Type"; "Core Data
Types Used in API Calls", error codes.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from relay.core.ids import record_id
from relay.sandbox.errors import SandboxError, parser_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.metadata import FieldInfo


_TEXT: Final = frozenset(
    {"string", "textarea", "phone", "url", "combobox", "picklist", "email"}
)
_NUMBERS: Final = frozenset({"double", "currency", "percent"})
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_DATETIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})"
)
_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = re.compile(
    rf"(?=.{{1,64}}@){_ATEXT}(?:\.{_ATEXT})*@(?:{_LABEL}\.)+{_LABEL}"
)
_YEARS: Final = range(1700, 4001)
_SHOWN: Final = 100
_MAX_INT: Final = 2**31


def check_value(info: FieldInfo, value: Any) -> Any:
    """Return what is stored for a value that a client sent.

    Raises:
        SandboxError: The value does not fit the field; `whole` where JSON of another
            type stands there, because no record can be read from such a body.
    """
    if value is None:
        if info.type == "boolean":
            raise _mismatch("boolean", value)
        return None
    if info.type in _TEXT:
        return _text(info, value)
    if info.type in _NUMBERS:
        return _number(info, value)
    check = _CHECKS.get(info.type)
    if check is None:
        raise SandboxError(
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            f"Unable to create/update fields: {info.name}.",
            fields=(info.name,),
        )
    return check(info, value)


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 units, the unit of field lengths."""
    if text.isascii():
        return len(text)
    return len(text) + sum(1 for letter in text if letter > "\uffff")


def stamp(moment: datetime) -> str:
    """Return the form in which the API writes a datetime: UTC, whole seconds."""
    moment = moment.astimezone(UTC).replace(microsecond=0)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def read_stamp(text: str) -> datetime | None:
    """Read a datetime that names its zone, or return None."""
    if not _DATETIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.year in _YEARS else None


def is_email(text: str) -> bool:
    """Say whether a field of type e-mail takes this address."""
    return _EMAIL.fullmatch(text) is not None


def _text(info: FieldInfo, value: Any) -> str | None:
    if not isinstance(value, str):
        raise _mismatch("string", value)
    if "\0" in value:
        raise parser_error(f"Illegal character (NUL) in field {info.name}")
    text = value.strip()
    if not text:
        return None
    # Trimming comes after measuring: the stricter reading of an open question.
    if len(value) * 2 > info.length and utf16_length(value) > info.length:
        raise SandboxError(
            "STRING_TOO_LONG",
            f"{info.label}: data value too large: {_shown(value)} "
            f"(max length={info.length})",
            fields=(info.name,),
        )
    if info.type == "email" and not is_email(text):
        raise SandboxError(
            "INVALID_EMAIL_ADDRESS",
            f"{info.label}: invalid email address: {_shown(text)}",
            fields=(info.name,),
        )
    if info.restricted and info.picklist and text not in info.picklist:
        raise SandboxError(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{info.label}: bad value for restricted picklist field: {_shown(text)}",
            fields=(info.name,),
        )
    return text


def _boolean(info: FieldInfo, value: Any) -> bool:
    del info
    if not isinstance(value, bool):
        raise _mismatch("boolean", value)
    return value


def _integer(info: FieldInfo, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _mismatch("int", value)
    if not -_MAX_INT <= value < _MAX_INT:
        raise SandboxError(
            "NUMBER_OUTSIDE_VALID_RANGE",
            f"{info.label}: value outside of valid range on numeric field: {value}",
            fields=(info.name,),
        )
    return value


def _number(info: FieldInfo, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch("double", value)
    if not math.isfinite(value):
        raise parser_error(f"Non-finite number in field {info.name}")
    return value


def _date(info: FieldInfo, value: Any) -> str:
    del info
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _mismatch("date", value)
    year, month, day = map(int, found.groups())
    try:
        moment = date(year, month, day)
    except ValueError:
        raise _mismatch("date", value) from None
    if moment.year not in _YEARS:
        raise _mismatch("date", value)
    return moment.isoformat()


def _datetime(info: FieldInfo, value: Any) -> str:
    del info
    moment = read_stamp(value) if isinstance(value, str) else None
    if moment is None:
        raise _mismatch("datetime", value)
    return stamp(moment)


def _id(info: FieldInfo, value: Any) -> str:
    if not isinstance(value, str):
        raise _mismatch("string", value)
    whole = read_id(value)
    if whole is None:
        raise SandboxError(
            "MALFORMED_ID",
            f"{info.label}: id value of incorrect type: {_shown(value)}",
            fields=(info.name,),
        )
    return whole


def _id_list(info: FieldInfo, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _mismatch("list of ids", value)
    return list(dict.fromkeys(_id(info, each) for each in value))


def _base64(info: FieldInfo, value: Any) -> bytes:
    if isinstance(value, bytes):  # A part of a multipart body comes decoded.
        return value
    if not isinstance(value, str):
        raise _mismatch("base64", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise parser_error(f"Illegal base64 in field {info.name}") from None


_CHECKS: Final[dict[str, Callable[[FieldInfo, Any], Any]]] = {
    "boolean": _boolean,
    "int": _integer,
    "date": _date,
    "datetime": _datetime,
    "id": _id,
    "reference": _id,
    "junctionidlist": _id_list,
    "base64": _base64,
}


def _shown(value: str) -> str:
    return value if len(value) <= _SHOWN else value[:_SHOWN] + "..."


def _mismatch(kind: str, value: Any) -> SandboxError:
    token = {
        str: "VALUE_STRING",
        bool: "VALUE_TRUE" if value else "VALUE_FALSE",
        int: "VALUE_NUMBER_INT",
        float: "VALUE_NUMBER_FLOAT",
        list: "START_ARRAY",
        dict: "START_OBJECT",
    }.get(type(value), "VALUE_NULL")
    text = f" value {_shown(value)}" if isinstance(value, str) else ""
    return parser_error(f"Cannot deserialize instance of {kind} from {token}{text}")


_CHECKSUM: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
LONG: Final = 18
"""Length of an id with its checksum."""


def read_id(text: str) -> str | None:
    """Return the 18-character form of what a client sent, or None if it is no id.

    A 15-character id is taken as it stands. In an 18-character one the checksum must
    hold; one that a system without case has folded as a whole gets its case back.
    """
    proven = record_id(text)
    if (
        proven is not None
        or len(text) != LONG
        or not (text.isascii() and text.isalnum())
    ):
        return proven
    if text not in {text.lower(), text.upper()}:
        return None
    return _unfold(text)


def _unfold(text: str) -> str | None:
    letters = list(text[:15].lower())
    for block, mark in enumerate(text[15:].upper()):
        bits = _CHECKSUM.find(mark)
        if bits < 0:
            return None
        for bit in range(5):
            if bits >> bit & 1:
                letters[block * 5 + bit] = letters[block * 5 + bit].upper()
    return record_id("".join(letters) + text[15:].upper())
