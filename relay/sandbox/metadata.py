"""Objects and fields of the org: names, types, lengths, flags, picklists.

The facts stand in `metadata.tsv`. A `Schema` is what an org makes of them: optional
features switched on or off, custom fields added, fields hidden from the caller by
field-level security. A hidden field exists for the platform itself and is unknown to
every client.

Source: Salesforce Object Reference; Salesforce Field Reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.soql.scope import FieldMeta, ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FEATURES: Final = frozenset(
    {"shared_activities", "person_accounts", "multi_currency", "email"}
)
"""Features of an org on which objects or fields depend."""

ACTIVITY: Final = ("Task", "Event")
"""A custom field of Activity appears on both."""

MAX_CUSTOM_TEXT: Final = 255
_CUSTOM_LENGTHS: Final[Mapping[str, int]] = {
    "string": MAX_CUSTOM_TEXT,
    "email": 80,
    "url": 255,
    "reference": 18,
}
_PREFIX: Final = 3
_OF_ALL: Final = (
    *("Id", "IsDeleted", "Name", "OwnerId", "CreatedDate", "CreatedById"),
    *("LastModifiedDate", "LastModifiedById", "SystemModstamp", "LastActivityDate"),
)
"""Fields that every custom object has."""
_RELATED: Final = (
    ("Task", "WhatId"),
    ("Event", "WhatId"),
    ("EmailMessage", "RelatedToId"),
    ("ContentDocumentLink", "LinkedEntityId"),
)
"""Where a record of a custom object that takes activities may be named."""

_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "ContentVersion": ("PathOnClient", "VersionData"),
    "ContentDocumentLink": ("ShareType",),
}
"""Fields that a create needs although describe calls them nillable."""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field. `refs` are the objects that a reference may point to."""

    name: str
    type: str
    length: int
    label: str
    createable: bool
    updateable: bool
    nillable: bool
    defaulted: bool
    filterable: bool
    sortable: bool
    groupable: bool
    aggregatable: bool
    id_lookup: bool
    restricted: bool
    refs: tuple[str, ...] = ()
    relationship: str = ""
    picklist: tuple[str, ...] = ()
    default: str | None = None
    feature: str = ""
    unique: bool = False
    external_id: bool = False
    case_sensitive: bool = False
    custom: bool = False

    @property
    def required(self) -> bool:
        """Say whether a create must give a value."""
        return (
            self.createable
            and not self.nillable
            and not self.defaulted
            and self.type != "boolean"
        )


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object: `fields` has all of them, `visible` those the caller may see."""

    name: str
    prefix: str
    label: str
    createable: bool
    updateable: bool
    deletable: bool
    undeletable: bool
    feature: str
    fields: Mapping[str, FieldInfo]
    children: Mapping[str, tuple[str, str]]
    child_features: Mapping[str, str]
    visible: Mapping[str, FieldInfo] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    """A row with every field at the platform's default."""
    required: tuple[str, ...] = ()
    """Fields without which a record cannot be made."""

    @property
    def indexed(self) -> tuple[str, ...]:
        """Return the fields by which rows are found without reading all of them."""
        return tuple(
            info.name
            for info in self.fields.values()
            if info.name != "Id"
            and (
                info.id_lookup
                or info.external_id
                or info.unique
                or (info.type == "reference" and not info.name.endswith("ById"))
            )
        )


class Schema:
    """The metadata of one org, fixed at one moment.

    Args:
        features: Those of `FEATURES` that are on.
        hidden: By object, fields that the caller may not see.
        custom: Custom fields as (object, field).
        objects: Custom objects, each with whether it takes activities.
    """

    def __init__(
        self,
        features: Iterable[str] = ("email",),
        hidden: Mapping[str, Iterable[str]] | None = None,
        custom: Iterable[tuple[str, FieldInfo]] = (),
        objects: Iterable[tuple[ObjectInfo, bool]] = (),
    ) -> None:
        """Apply features, custom objects and fields, and field-level security."""
        self.features = frozenset(features)
        extra: dict[str, dict[str, FieldInfo]] = {}
        for name, info in custom:
            for target in ACTIVITY if name == "Activity" else (name,):
                extra.setdefault(target, {})[info.name] = info
        on = {
            name: info
            for name, info in _facts().items()
            if not info.feature or info.feature in self.features
        }
        for made, activities in objects:
            on[made.name] = made
            for name, link in _RELATED if activities else ():
                if name in on:
                    known = extra.setdefault(name, {})
                    field = known.get(link) or on[name].fields[link]
                    known[link] = replace(field, refs=(*field.refs, made.name))
        for name, info in custom:
            if unknown := set(info.refs) - set(on):
                msg = f"{name}.{info.name} points to no object: {sorted(unknown)}"
                raise ValueError(msg)
        self.objects: dict[str, ObjectInfo] = {
            name: self._shape(
                info, extra.get(name, {}), set((hidden or {}).get(name, ()))
            )
            for name, info in on.items()
        }
        self._by_prefix = {info.prefix: info for info in self.objects.values()}
        self._folded = {name.lower(): info for name, info in self.objects.items()}
        self._metas = {name: self._meta(info) for name, info in self.objects.items()}

    def _shape(
        self, info: ObjectInfo, extra: Mapping[str, FieldInfo], hidden: set[str]
    ) -> ObjectInfo:
        fields = {
            name: each
            for name, each in info.fields.items()
            if not each.feature or each.feature in self.features
        }
        fields.update(extra)
        children = {
            name: child
            for name, child in info.children.items()
            if not info.child_features[name]
            or info.child_features[name] in self.features
        }
        visible = {name: each for name, each in fields.items() if name not in hidden}
        template = {
            name: False if each.type == "boolean" else each.default
            for name, each in fields.items()
        }
        required = tuple(name for name, each in fields.items() if each.required)
        return replace(
            info,
            fields=fields,
            children=children,
            visible=visible,
            template=template,
            required=required + _REQUIRED.get(info.name, ()),
        )

    @staticmethod
    def _meta(info: ObjectInfo) -> ObjectMeta:
        return ObjectMeta(
            info.name,
            [
                FieldMeta(
                    each.name,
                    each.type,
                    filterable=each.filterable,
                    sortable=each.sortable,
                    groupable=each.groupable,
                    aggregatable=each.aggregatable,
                    reference_to=each.refs,
                    relationship_name=each.relationship or None,
                )
                for each in info.visible.values()
                if each.type != "junctionidlist"
            ],
            info.children,
        )

    def find(self, name: str) -> ObjectInfo | None:
        """Return the object of that exact name, or None."""
        return self.objects.get(name)

    def of_id(self, record_id: str) -> ObjectInfo | None:
        """Return the object whose key prefix an id has, or None."""
        return self._by_prefix.get(record_id[:3])

    def meta(self, name: str) -> ObjectMeta | None:
        """Return what a query may know about an object, found without case."""
        info = self._folded.get(name.lower())
        return None if info is None else self._metas[info.name]


def custom_field(settings: Mapping[str, Any]) -> tuple[str, FieldInfo]:
    """Make a custom field from configuration.

    Args:
        settings: `object` (Activity for Task and Event together), `name` that ends in
            `__c`, and optionally `type` (string, textarea, boolean, double, date,
            datetime, picklist, email, url, reference), `length`, `label`, `unique`,
            `external_id`, `case_sensitive`, `required`, `picklist`, and of a reference
            `refs`, the objects that it may point to.

    Raises:
        ValueError: The settings describe no custom field.
    """
    target, name = str(settings["object"]), str(settings["name"])
    if not name.endswith("__c"):
        msg = f"a custom field's name ends in __c: {name!r}"
        raise ValueError(msg)
    kind = str(settings.get("type", "string"))
    length = int(settings.get("length", _CUSTOM_LENGTHS.get(kind, 0)))
    if kind == "string" and not 0 < length <= MAX_CUSTOM_TEXT:
        msg = f"a text field has 1 to {MAX_CUSTOM_TEXT} characters: {name!r}"
        raise ValueError(msg)
    refs = tuple(map(str, settings.get("refs", ())))
    if (kind == "reference") != bool(refs):
        msg = f"a reference has refs, and nothing else does: {name!r}"
        raise ValueError(msg)
    plain = kind != "textarea"
    lookup = bool(settings.get("external_id", False))
    return target, FieldInfo(
        name=name,
        type=kind,
        length=length,
        label=str(settings.get("label", name.removesuffix("__c").replace("_", " "))),
        createable=True,
        updateable=True,
        nillable=not settings.get("required", False),
        defaulted=False,
        filterable=plain,
        sortable=plain,
        groupable=plain,
        aggregatable=plain,
        id_lookup=lookup,
        restricted=bool(settings.get("restricted", False)),
        picklist=tuple(settings.get("picklist", ())),
        unique=bool(settings.get("unique", False)),
        external_id=lookup,
        case_sensitive=bool(settings.get("case_sensitive", False)),
        custom=True,
        refs=refs,
        relationship=f"{name.removesuffix('__c')}__r" if refs else "",
    )


def custom_object(settings: Mapping[str, Any]) -> ObjectInfo:
    """Make a custom object from configuration.

    Args:
        settings: `name` that ends in `__c`, `prefix` (three characters, the first an
            `a`), and optionally `label`, `activities` (whether it takes Tasks, by
            default it does). Its fields are custom fields.

    Raises:
        ValueError: The settings describe no custom object.

    Source: Object Reference, "Custom Objects".
    """
    name, prefix = str(settings["name"]), str(settings["prefix"])
    if not name.endswith("__c"):
        msg = f"a custom object's name ends in __c: {name!r}"
        raise ValueError(msg)
    if len(prefix) != _PREFIX or not prefix.isalnum() or prefix[0] != "a":
        msg = f"a custom object's key prefix is like a01: {prefix!r}"
        raise ValueError(msg)
    if unknown := set(settings) - {"name", "prefix", "label", "activities"}:
        msg = f"a custom object has no {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    account = _facts()["Account"].fields
    label = str(settings.get("label", name.removesuffix("__c").replace("_", " ")))
    fields = {each: account[each] for each in _OF_ALL}
    fields["Name"] = replace(account["Name"], length=80, label=f"{label} Name")
    return ObjectInfo(
        name=name,
        prefix=prefix,
        label=label,
        createable=True,
        updateable=True,
        deletable=True,
        undeletable=True,
        feature="",
        fields=fields,
        children={},
        child_features={},
    )


def record_type_field() -> FieldInfo:
    """Return the field that an object has once it has record types."""
    return FieldInfo(
        name="RecordTypeId",
        type="reference",
        length=18,
        label="Record Type ID",
        createable=True,
        updateable=True,
        nillable=True,
        defaulted=True,
        filterable=True,
        sortable=True,
        groupable=True,
        aggregatable=True,
        id_lookup=False,
        restricted=False,
        refs=("RecordType",),
        relationship="RecordType",
    )


@cache
def _facts() -> dict[str, ObjectInfo]:
    text = resources.files("relay.sandbox").joinpath("metadata.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    fields: dict[str, dict[str, FieldInfo]] = {}
    children: dict[str, dict[str, tuple[str, str]]] = {}
    features: dict[str, dict[str, str]] = {}
    for row in rows:
        if row[0] == "F":
            info = _field(row)
            fields.setdefault(row[1], {})[info.name] = info
        elif row[0] == "C":
            children.setdefault(row[1], {})[row[2]] = (row[3], row[6])
            features.setdefault(row[1], {})[row[2]] = row[10]
    return {
        row[1]: ObjectInfo(
            name=row[1],
            prefix=row[2],
            label=row[9],
            createable="c" in row[5],
            updateable="u" in row[5],
            deletable="d" in row[5],
            undeletable="n" in row[5],
            feature=row[10],
            fields=fields[row[1]],
            children=children.get(row[1], {}),
            child_features=features.get(row[1], {}),
        )
        for row in rows
        if row[0] == "O"
    }


def _field(row: list[str]) -> FieldInfo:
    flags = row[5]
    values = row[8].split("|") if row[8] and row[8] != "*" else []
    default = next((value[1:] for value in values if value.startswith("=")), None)
    return FieldInfo(
        name=row[2],
        type=row[3],
        length=int(row[4]),
        label=row[9],
        createable="c" in flags,
        updateable="u" in flags,
        nillable="n" in flags,
        defaulted="d" in flags,
        filterable="f" in flags,
        sortable="s" in flags,
        groupable="g" in flags,
        aggregatable="a" in flags,
        id_lookup="i" in flags,
        restricted="r" in flags,
        refs=tuple(row[6].split(",")) if row[6] else (),
        relationship=row[7],
        picklist=tuple(value.removeprefix("=") for value in values),
        default=default,
        feature=row[10],
    )
