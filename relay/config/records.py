"""Settings of what is written beside the mail itself: fields and record types.

Names are checked for their form here; whether the org has them is `relay check`'s to
say. Fields that carry the identity of a record, or its links, are not for settings.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from relay.config.values import mistake
from relay.core import template
from relay.core.ids import record_id

OBJECTS: Final = ("Task", "EmailMessage")
"""What the relay writes."""
RESERVED: Final = frozenset(
    {
        *("Id", "attributes", "RecordTypeId", "OwnerId", "WhoId", "WhatId"),
        *("TaskWhoIds", "Description", "MessageIdentifier", "ActivityId", "ParentId"),
        *("ToIds", "CcIds", "BccIds", "FromId", "RelatedToId", "ToAddress"),
        *("CcAddress", "BccAddress", "FromAddress", "TextBody", "HtmlBody"),
        *("Incoming", "IsClientManaged", "ContentDocumentIds", "IsRecurrence"),
    }
)
"""Fields that the relay alone sets."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,76}__c")
_FIELDS_HINT: Final = 'write [salesforce.fields.Task] and below it NAME = "value"'

FieldValue = str | int | float | bool
Fields = dict[str, dict[str, FieldValue]]


def _fields(value: object) -> Fields:
    """Return extra fields by object."""
    if not isinstance(value, dict):
        raise mistake("is no table of objects", _FIELDS_HINT)
    for name, fields in value.items():
        _check_object(name)
        if not isinstance(fields, dict):
            raise mistake(f"{name} is no table of fields", _FIELDS_HINT)
        for field, content in fields.items():
            _check_field(f"{name}.{field}", field, content)
    return value


def _check_object(name: str) -> None:
    if name not in OBJECTS and name == name.lower():
        # Objects begin with a capital; TOML takes a key of ours for the table's own.
        raise mistake(
            f"{name} is below the header of this table",
            "put the keys of [salesforce] above its tables",
        )
    if name not in OBJECTS:
        raise mistake(
            f"{name} is no object that the relay writes", f"name {' or '.join(OBJECTS)}"
        )


def _check_field(place: str, field: str, content: object) -> None:
    if not _NAME.fullmatch(field):
        raise mistake(f"{place} is no API name of a field", "see it in Object Manager")
    if field in RESERVED:
        raise mistake(f"{place} is set by the relay itself", "take it out")
    if not isinstance(content, str | int | float | bool):
        raise mistake(f"{place} is neither text, number nor flag", "write one of them")
    if isinstance(content, str) and (wrong := template.problem(content)):
        text, _, hint = wrong.partition("; ")
        raise mistake(f"{place} {text}", hint)


def _record_types(value: object) -> dict[str, str]:
    """Return record types by object, as developer names or ids."""
    hint = 'write [salesforce.record_type] and below it Task = "DeveloperName"'
    if not isinstance(value, dict):
        raise mistake("is no table of objects", hint)
    for name, content in value.items():
        _check_object(name)
        if not (isinstance(content, str) and _NAME.fullmatch(content)):
            raise mistake(f"{name} is no developer name of a record type", hint)
    return value


def _key_field(value: str) -> str:
    if value and not _KEY.fullmatch(value):
        raise mistake(
            "is no API name of a custom field", 'write it like "Relay_Key__c"'
        )
    return value


def _owner(value: str) -> str:
    found = record_id(value)
    if value and (found is None or not found.startswith(("005", "00G"))):
        raise mistake(
            "is no id of a Salesforce user or queue", "copy it from the record's URL"
        )
    return found or ""


ExtraFields = Annotated[Fields, BeforeValidator(_fields)]
RecordTypes = Annotated[dict[str, str], BeforeValidator(_record_types)]
KeyField = Annotated[str, AfterValidator(_key_field)]
OwnerId = Annotated[str, AfterValidator(_owner)]
