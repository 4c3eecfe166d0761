"""Describe: what the caller may know about objects and fields, as JSON.

It is the contract between org and client: a field hidden by field-level security is
not in it, and lengths in it are the ones that writes are held to.

Source: REST API Developer Guide, "Describe Global", "sObject Describe".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from relay.sandbox.metadata import FieldInfo, ObjectInfo
    from relay.sandbox.org import SandboxOrg
    from relay.sandbox.rows import Rows

_NO_QUERY: Final = frozenset({"junctionidlist"})
_SOAP: Final = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "base64": "xsd:base64Binary",
    "junctionidlist": "tns:ID",
}


def describe_global(org: SandboxOrg, version: str) -> dict[str, Any]:
    """Return the list of objects."""
    return {
        "encoding": "UTF-8",
        "maxBatchSize": 200,
        "sobjects": [_summary(info, version) for info in org.schema.objects.values()],
    }


def describe_basic(info: ObjectInfo, version: str) -> dict[str, Any]:
    """Return what `GET /sobjects/X/` tells."""
    return {"objectDescribe": _summary(info, version), "recentItems": []}


def describe_object(org: SandboxOrg, info: ObjectInfo, version: str) -> dict[str, Any]:
    """Return everything about one object and its visible fields."""
    return {
        **_summary(info, version),
        "fields": [_field(each, info, org.rows) for each in info.visible.values()],
        "childRelationships": [
            {
                "relationshipName": name,
                "childSObject": child,
                "field": field,
                "cascadeDelete": False,
                "restrictedDelete": False,
                "deprecatedAndHidden": False,
            }
            for name, (child, field) in info.children.items()
        ],
        "recordTypeInfos": [
            _record_type("Master", "012000000000000AAA", master=True),
            *(
                _record_type(row["DeveloperName"], row["Id"], master=False)
                for row in org.rows.all("RecordType")
                if row["SobjectType"] == info.name and row["IsActive"]
            ),
        ],
    }


def _record_type(name: str, record_id: str, *, master: bool) -> dict[str, Any]:
    return {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": master,
        "developerName": name,
        "master": master,
        "name": name.replace("_", " "),
        "recordTypeId": record_id,
    }


def _summary(info: ObjectInfo, version: str) -> dict[str, Any]:
    base = f"/services/data/v{version}/sobjects/{info.name}"
    return {
        "name": info.name,
        "label": info.label,
        "labelPlural": f"{info.label}s",
        "keyPrefix": info.prefix,
        "createable": info.createable,
        "updateable": info.updateable,
        "deletable": info.deletable,
        "undeletable": info.undeletable,
        "queryable": True,
        "retrieveable": True,
        "replicateable": "SystemModstamp" in info.fields,
        "searchable": False,
        "triggerable": info.createable,
        "layoutable": info.createable,
        "mergeable": info.name in {"Lead", "Contact", "Account"},
        "activateable": False,
        "custom": False,
        "customSetting": False,
        "deprecatedAndHidden": False,
        "urls": {
            "sobject": base,
            "describe": f"{base}/describe",
            "rowTemplate": f"{base}/{{ID}}",
        },
    }


def _field(field: FieldInfo, info: ObjectInfo, rows: Rows) -> dict[str, Any]:
    text = field.type in {"string", "textarea", "email", "phone", "url", "combobox"}
    units = field.length if text or field.type == "picklist" else 0
    return {
        "name": field.name,
        "label": field.label,
        "type": field.type,
        "soapType": _SOAP.get(field.type, "xsd:string"),
        "length": field.length if field.type not in _NO_QUERY else 0,
        "byteLength": units * 3,
        "digits": 9 if field.type == "int" else 0,
        "precision": 18 if field.type in {"double", "currency", "percent"} else 0,
        "scale": 2 if field.type in {"double", "currency", "percent"} else 0,
        "createable": field.createable and info.createable,
        "updateable": field.updateable and info.updateable,
        "nillable": field.nillable,
        "defaultedOnCreate": field.defaulted or field.type == "boolean",
        "filterable": field.filterable,
        "sortable": field.sortable,
        "groupable": field.groupable,
        "aggregatable": field.aggregatable,
        "permissionable": field.nillable and field.createable,
        "custom": field.custom,
        "unique": field.unique,
        "externalId": field.external_id,
        "idLookup": field.id_lookup,
        "caseSensitive": field.case_sensitive,
        "calculated": False,
        "autoNumber": False,
        "nameField": field.name == _name_field(info),
        "namePointing": len(field.refs) > 1,
        "polymorphicForeignKey": len(field.refs) > 1,
        "referenceTo": list(field.refs),
        "relationshipName": field.relationship or None,
        "restrictedPicklist": field.restricted,
        "picklistValues": [
            {
                "active": True,
                "defaultValue": value == field.default,
                "label": label,
                "value": value,
                "validFor": None,
            }
            for value, label in _values(field, info, rows)
        ],
        "defaultValue": False if field.type == "boolean" else None,
        "inlineHelpText": None,
        "deprecatedAndHidden": False,
        "encrypted": False,
        "htmlFormatted": False,
        "dependentPicklist": False,
        "controllerName": None,
        "compoundFieldName": None,
    }


def _name_field(info: ObjectInfo) -> str:
    return next(
        (name for name in ("Name", "Subject", "Title") if name in info.fields), ""
    )


def _values(field: FieldInfo, info: ObjectInfo, rows: Rows) -> list[tuple[str, str]]:
    source = {
        ("Task", "Status"): "TaskStatus",
        ("Task", "Priority"): "TaskPriority",
        ("Opportunity", "StageName"): "OpportunityStage",
    }.get((info.name, field.name))
    if source is None:
        return [(value, value) for value in field.picklist]
    return [(row["ApiName"], row["MasterLabel"]) for row in rows.all(source)]
