"""The metadata of the fields that hold the relay's keys, as the Metadata API takes it.

A folder with these files is what `sf project deploy start --metadata-dir` deploys, and
a zip of it what Workbench does. The fields alone would be invisible: field-level
security comes with the permission set.

Source: Salesforce Metadata API Developer Guide, "CustomField", "PermissionSet";
"package.xml".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from relay.core.org import KEY_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

PERMISSION_SET: Final = "Relay_Keys"
OBJECTS: Final = {"Activity": ("Task", "Event"), "EmailMessage": ("EmailMessage",)}
"""By object that has the field, the objects on which it is seen."""

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE: Final = 'xmlns="http://soap.sforce.com/2006/04/metadata"'
_DESCRIPTION: Final = "Key of the e-mail relay: keeps a mail from being logged twice."


def files(field: str, api_version: str) -> dict[str, str]:
    """Return the files by their path in the folder.

    Args:
        field: API name of the field, such as `Relay_Key__c`.
        api_version: Version of the API, such as `66.0`.
    """
    made = {"package.xml": _package(field, api_version)}
    for name in OBJECTS:
        made[f"objects/{name}.object"] = _object(field)
    made[f"permissionsets/{PERMISSION_SET}.permissionset"] = _permissions(field)
    return made


def _package(field: str, api_version: str) -> str:
    members = [f"{name}.{field}" for name in OBJECTS]
    return _document(
        "Package",
        _types(members, "CustomField")
        + _types([PERMISSION_SET], "PermissionSet")
        + f"    <version>{escape(api_version)}</version>\n",
    )


def _types(members: Sequence[str], name: str) -> str:
    lines = "".join(f"        <members>{escape(m)}</members>\n" for m in members)
    return f"    <types>\n{lines}        <name>{name}</name>\n    </types>\n"


def _object(field: str) -> str:
    label = field.removesuffix("__c").replace("_", " ")
    values = {
        "fullName": field,
        "caseSensitive": "true",
        "description": _DESCRIPTION,
        "externalId": "true",
        "label": label,
        "length": str(KEY_LENGTH),
        "required": "false",
        "type": "Text",
        "unique": "true",
    }
    lines = "".join(
        f"        <{name}>{escape(value)}</{name}>\n" for name, value in values.items()
    )
    return _document("CustomObject", f"    <fields>\n{lines}    </fields>\n")


def _permissions(field: str) -> str:
    lines = "".join(
        "    <fieldPermissions>\n"
        "        <editable>true</editable>\n"
        f"        <field>{name}.{escape(field)}</field>\n"
        "        <readable>true</readable>\n"
        "    </fieldPermissions>\n"
        for names in OBJECTS.values()
        for name in names
    )
    return _document(
        "PermissionSet",
        f"    <description>{_DESCRIPTION}</description>\n{lines}"
        "    <hasActivationRequired>false</hasActivationRequired>\n"
        "    <label>Relay Keys</label>\n",
    )


def _document(root: str, content: str) -> str:
    return f"{_HEAD}<{root} {_NAMESPACE}>\n{content}</{root}>\n"
