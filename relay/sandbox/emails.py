"""EmailMessage: what may be stored, what the platform makes of it, what may change.

A message that is not part of a case is stored as sent, whole, in one insert, and with
Enhanced Email the platform makes its Task. Afterwards hardly anything but custom
fields can be changed. MessageIdentifier is *not* unique: two inserts make two
messages, so that a client must prove its own care.

Source: Salesforce Object Reference, "EmailMessage", "EmailMessageRelation".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import SandboxError
from relay.sandbox.files import link_document
from relay.sandbox.objects import account_of, follow_status
from relay.sandbox.records import ObjectRules
from relay.sandbox.values import is_email, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.sandbox.records import Write
    from relay.sandbox.state import OrgState

NEW: Final = "0"
READ: Final = "1"
SENT: Final = "3"
DRAFT: Final = "5"

_LISTS: Final = {
    "ToIds": ("ToAddress", "ToAddress"),
    "CcIds": ("CcAddress", "CcAddress"),
    "BccIds": ("BccAddress", "BccAddress"),
}
"""List of ids → the text field beside it, and the type of relation."""
_TAG: Final = re.compile(r"<[^>]*>")
_NAME: Final = 255
_COMMENT: Final = 32_000


class EmailMessageRules(ObjectRules):
    """EmailMessage."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Check the rules for messages outside a case, and derive the name."""
        if row.get("ParentId") is None:
            _check_outside_case(write.state, row, write.given)
        elif row.get("RelatedToId") not in {None, row["ParentId"]}:
            raise _integrity("RelatedToId", "must be the case given as parent")
        row["Status"] = row.get("Status") or NEW
        row["Name"] = (row.get("Subject") or "[No Subject]")[:_NAME]
        row["MessageDate"] = row.get("MessageDate") or row["CreatedDate"]
        if row.get("TextBody") is None and row.get("HtmlBody"):
            row["TextBody"] = _TAG.sub("", row["HtmlBody"]).strip() or None
        files = row.get("ContentDocumentIds") or []
        if files and not (row.get("IsClientManaged") or row["Status"] == DRAFT):
            raise _locked("ContentDocumentIds")

    def after_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Make the relations, the file links, and the Task of Enhanced Email."""
        for relation_type, record_id, address in _relations(row):
            if (
                relation_type == "FromAddress"
                and not write.state.config.from_id_relates
            ):
                continue
            _insert_relation(write, row["Id"], relation_type, record_id, address)
        for document in row.get("ContentDocumentIds") or []:
            link_document(write, document, row["Id"])
        if write.state.config.email_mode == "enhanced" and row.get("ParentId") is None:
            task = _insert_task(write, row)
            write.state.rows.put("EmailMessage", {**row, "ActivityId": task["Id"]})

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Refuse changes of all but the few updatable fields."""
        if write.old.get("Status") == DRAFT:
            return
        info = write.records.object("EmailMessage")
        for name, value in write.given.items():
            read = name == "Status" and (write.old["Status"], value) == (NEW, READ)
            related = name == "RelatedToId" and write.old.get("IsClientManaged")
            free = name == "IsExternallyVisible" or info.fields[name].custom
            if not (read or related or free):
                raise _locked(name)
        if row.get("RelatedToId") and write.state.config.refuse_lead_with_related:
            related_leads = write.state.rows.where(
                "EmailMessageRelation", "EmailMessageId", write.old["Id"]
            )
            if any(_is_lead(each.get("RelationId")) for each in related_leads):
                raise _lead_with_related()

    def after_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Delete its relations and the platform's Task as well."""
        for each in write.state.rows.where(
            "EmailMessageRelation", "EmailMessageId", row["Id"]
        ):
            write.records.drop("EmailMessageRelation", each, write.caller)
        task = write.state.rows.get("Task", row.get("ActivityId") or "")
        if task is not None:
            write.records.drop("Task", task, write.caller)


class EmailRelationRules(ObjectRules):
    """EmailMessageRelation: the address and object type follow from the record."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Fill address and type, and refuse one without record and address."""
        _fill_relation(write.state, row)
        if row.get("RelationId") is None and row.get("RelationAddress") is None:
            raise SandboxError(
                "REQUIRED_FIELD_MISSING",
                "Required fields are missing: [RelationId, RelationAddress]",
                fields=("RelationId", "RelationAddress"),
            )
        address = write.given.get("RelationAddress")
        if address is not None and not is_email(address):
            raise SandboxError(
                "INVALID_EMAIL_ADDRESS",
                f"Relation Address: invalid email address: {address}",
                fields=("RelationAddress",),
            )

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Fill the type again."""
        _fill_relation(write.state, row)


def _check_outside_case(
    state: OrgState, row: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    if row.get("Status") != SENT:
        raise _integrity("Status", "an email outside a case has status 3 (Sent)")
    if given.get("ActivityId") is not None:
        raise SandboxError(
            "INSUFFICIENT_ACCESS_OR_READONLY",
            "insufficient access rights on object id",
            fields=("ActivityId",),
        )
    if given.get("Headers") is not None and not row.get("Incoming"):
        raise _integrity("Headers", "only incoming emails have headers")
    if given.get("ReplyToEmailMessageId") is not None:
        raise _integrity("ReplyToEmailMessageId", "only emails of a case have it")
    named = [each for name in _LISTS for each in row.get(name) or []]
    leads = any(map(_is_lead, [*named, row.get("FromId")]))
    if leads and row.get("RelatedToId") and state.config.refuse_lead_with_related:
        raise _lead_with_related()


def _relations(
    row: Mapping[str, Any],
) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield type, record and address of each relation that an insert entails."""
    if row.get("FromId"):
        yield "FromAddress", row["FromId"], row.get("FromAddress")
    for ids, (text, relation_type) in _LISTS.items():
        for record_id in row.get(ids) or []:
            yield relation_type, record_id, None
        for address in re.split(r"[;,]\s*", row.get(text) or ""):
            if address.strip():
                yield relation_type, None, address.strip()


def _insert_relation(
    write: Write,
    email_id: str,
    relation_type: str,
    record_id: str | None,
    address: str | None,
) -> None:
    values = {
        "EmailMessageId": email_id,
        "RelationType": relation_type,
        "RelationId": record_id,
        "RelationAddress": address,
    }
    _fill_relation(write.state, values)
    write.records.system_insert("EmailMessageRelation", values, write.caller.user_id)


def _fill_relation(state: OrgState, row: dict[str, Any]) -> None:
    record_id = row.get("RelationId")
    target = state.schema.of_id(record_id) if record_id else None
    row["RelationObjectType"] = target.name if target else None
    if target and record_id and row.get("RelationAddress") is None:
        person = state.rows.get(target.name, record_id) or {}
        row["RelationAddress"] = person.get("Email")


def _insert_task(write: Write, row: Mapping[str, Any]) -> dict[str, Any]:
    """Make the Task of a message; it belongs to the caller, not to the sender."""
    state = write.state
    everyone = [each for name in _LISTS for each in row.get(name) or []]
    if row.get("Incoming") and row.get("FromId"):
        everyone.insert(0, row["FromId"])
    people = [each for each in everyone if each.startswith(("003", "00Q"))]
    who = people[0] if people else None
    values: dict[str, Any] = {
        "Subject": f"Email: {row.get('Subject') or ''}".strip()[:_NAME],
        "Description": (row.get("TextBody") or "")[:_COMMENT] or None,
        "Status": state.first_closed_status,
        "Priority": "Normal",
        "TaskSubtype": "Email",
        "ActivityDate": row["MessageDate"][:10],
        "WhoId": who,
        "WhatId": row.get("RelatedToId"),
    }
    follow_status(state, values, None)
    values["CompletedDateTime"] = stamp(state.clock.now())
    values["AccountId"] = account_of(state, values)
    if state.config.shared_activities:
        contacts = [each for each in people if each.startswith("003")]
        values["TaskWhoIds"] = contacts if who and who.startswith("003") else people[:1]
        values["WhoCount"] = len(values["TaskWhoIds"])
        values["WhatCount"] = int(bool(values["WhatId"]))
    return write.records.system_insert("Task", values, write.caller.user_id)


def _is_lead(record_id: str | None) -> bool:
    return bool(record_id) and str(record_id).startswith("00Q")


def _integrity(field: str, text: str) -> SandboxError:
    return SandboxError(
        "FIELD_INTEGRITY_EXCEPTION", f"{field}: {text}", fields=(field,)
    )


def _lead_with_related() -> SandboxError:
    return _integrity("RelatedToId", "a lead cannot be combined with a related record")


def _locked(field: str) -> SandboxError:
    return SandboxError(
        "INSUFFICIENT_ACCESS_OR_READONLY",
        f"{field}: an email that is no draft cannot be changed",
        fields=(field,),
    )
