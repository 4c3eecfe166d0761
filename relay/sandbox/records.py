"""Writing records: every check that holds for all objects, in the platform's order.

One write either stores everything that it entails or nothing: whatever is refused half
way is taken back. Order: fault injection, fields, values, references, the object's own
rules, required fields, unique fields. What an object does beyond that is an
`ObjectRules`, which the engine calls at fixed moments; a refusal is raised, and takes
the whole write of that record back.

Source: Salesforce Object Reference; SOAP API Developer Guide, "Core Data Types Used in
API Calls" (error codes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import SandboxError, deleted, not_found
from relay.sandbox.values import check_value, read_id, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.sandbox.metadata import FieldInfo, ObjectInfo
    from relay.sandbox.state import OrgState


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who writes, and what the headers say about rules of the org."""

    user_id: str
    allow_duplicates: bool = False
    auto_assign: bool = True


@dataclass(frozen=True, slots=True)
class Write:
    """One write under way.

    Attributes:
        records: The engine, for what a write entails in other objects.
        caller: Who writes.
        given: The fields that came in, checked one by one; empty for a delete.
        old: The row before an update; empty for an insert.
    """

    records: Records
    caller: Caller
    given: Mapping[str, Any] = field(default_factory=dict)
    old: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> OrgState:
        """Return what the org holds."""
        return self.records.state


class ObjectRules:
    """An object without behaviour of its own."""

    def before_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Check and complete a row that is not stored yet."""

    def after_insert(self, write: Write, row: dict[str, Any]) -> None:
        """Create the rows that belong to one that is stored now."""

    def before_update(self, write: Write, row: dict[str, Any]) -> None:
        """Check and complete the row that takes the place of an old one."""

    def before_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Check whether a row may be deleted."""

    def after_delete(self, write: Write, row: Mapping[str, Any]) -> None:
        """Delete the rows that belong to one that is deleted now."""


_PLAIN: Final = ObjectRules()
_ACTIVITY_LINKS: Final = frozenset({"WhoId", "WhatId", "RelatedToId"})


class Records:
    """The write operations of an org."""

    def __init__(self, state: OrgState, rules: Mapping[str, ObjectRules]) -> None:
        """Write to `state`; `rules` add the behaviour of single objects."""
        self.state = state
        self._rules = rules

    def create(self, name: str, fields: Mapping[str, Any], caller: Caller) -> str:
        """Store a new record, and return its id.

        Raises:
            SandboxError: Salesforce would refuse it; nothing was stored.
        """
        state = self.state
        info = self.object(name)
        if not info.createable:
            raise SandboxError(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                f"entity type cannot be inserted: {info.label}",
            )
        mark = state.rows.savepoint()
        record_id = state.mint.new(info.prefix)
        state.faults.check_record(name, record_id)
        given = self._read(info, fields, creating=True)
        self._check_references(info, given, caller)
        row = dict(info.template)
        row.update(given)
        row["Id"] = record_id
        # Before the object's rules: what these fill in does not count as given.
        missing = [each for each in info.required if row.get(each) is None]
        missing += [
            each
            for each, value in given.items()
            if value is None and each not in missing and not info.fields[each].nillable
        ]
        if missing:
            raise _required(missing)
        self._stamp(info, row, caller.user_id, created=True)
        self._check_owner(info, row)
        self._check_unique(info, row, given, caller)
        rules = self._rules.get(name, _PLAIN)
        write = Write(self, caller, given)
        try:
            rules.before_insert(write, row)
            state.rows.put(name, row)
            rules.after_insert(write, row)
        except SandboxError:
            state.rows.rollback(mark)
            raise
        return record_id

    def update(
        self,
        name: str,
        record_id: str,
        fields: Mapping[str, Any],
        caller: Caller,
        *,
        unmodified_since: datetime | None = None,
    ) -> None:
        """Change fields of a record; null empties a field.

        Raises:
            SandboxError: Salesforce would refuse it; nothing was changed.
        """
        state = self.state
        info = self.object(name)
        old = self.existing(name, record_id, caller)
        if unmodified_since is not None and old["LastModifiedDate"] > stamp(
            unmodified_since
        ):
            raise SandboxError(
                "PRECONDITION_FAILED", "The record was modified since", status=412
            )
        if not info.updateable:
            raise SandboxError(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                f"entity type cannot be updated: {info.label}",
            )
        state.faults.check_record(name, old["Id"])
        given = self._read(info, fields, creating=False)
        self._check_references(info, given, caller)
        missing = [
            each
            for each, value in given.items()
            if value is None and not info.fields[each].nillable
        ]
        if missing:
            raise _required(missing)
        row = {**info.template, **old, **given}
        self._stamp(info, row, caller.user_id, created=False)
        if given.get("OwnerId", old.get("OwnerId")) != old.get("OwnerId"):
            self._check_owner(info, row)
        mark = state.rows.savepoint()
        write = Write(self, caller, given, old)
        try:
            self._rules.get(name, _PLAIN).before_update(write, row)
            self._check_unique(info, row, given, caller)
            state.rows.put(name, row)
        except SandboxError:
            state.rows.rollback(mark)
            raise

    def delete(self, name: str, record_id: str, caller: Caller) -> None:
        """Move a record, and what belongs to it, to the Recycle Bin.

        Raises:
            SandboxError: It is not there, deleted already, or may not be deleted.
        """
        state = self.state
        info = self.object(name)
        row = self.existing(name, record_id, caller)
        if not info.deletable:
            raise SandboxError(
                "INSUFFICIENT_ACCESS_OR_READONLY",
                f"entity type cannot be deleted: {info.label}",
            )
        state.faults.check_record(name, row["Id"])
        mark = state.rows.savepoint()
        try:
            self.drop(name, row, caller)
        except SandboxError:
            state.rows.rollback(mark)
            raise

    def drop(self, name: str, row: Mapping[str, Any], caller: Caller) -> None:
        """Mark a row and what belongs to it as deleted, without a check of rights."""
        if row.get("IsDeleted"):
            return
        rules = self._rules.get(name, _PLAIN)
        write = Write(self, caller)
        rules.before_delete(write, row)
        gone = {**row, "IsDeleted": True}
        self._stamp(self.object(name), gone, caller.user_id, created=False)
        self.state.rows.put(name, gone)
        rules.after_delete(write, gone)

    def undelete(self, name: str, record_id: str, caller: Caller) -> None:
        """Bring a record back from the Recycle Bin, under the same id.

        Raises:
            SandboxError: It is not in the bin, or a unique value is taken meanwhile.
        """
        state = self.state
        info = self.object(name)
        row = state.rows.get(name, read_id(record_id) or "")
        if row is None or not row.get("IsDeleted") or not info.undeletable:
            raise SandboxError("UNDELETE_FAILED", "Entity is not in the recycle bin")
        back = {**row, "IsDeleted": False}
        self._check_unique(info, back, back, caller)
        self._stamp(info, back, caller.user_id, created=False)
        state.rows.put(name, back)

    def system_insert(
        self, name: str, values: Mapping[str, Any], user_id: str
    ) -> dict[str, Any]:
        """Store a row of the platform itself, or of a test, without checks."""
        info = self.object(name)
        row = {**info.template, **values}
        row.setdefault("Id", None)
        row["Id"] = row["Id"] or self.state.mint.new(info.prefix)
        self._stamp(info, row, user_id, created=True, keep=values)
        self.state.rows.put(name, row)
        return row

    def object(self, name: str) -> ObjectInfo:
        """Return an object's metadata.

        Raises:
            SandboxError: There is no such object, in this org or for this caller.
        """
        info = self.state.schema.find(name)
        if info is None:
            raise SandboxError(
                "INVALID_TYPE", f"sObject type '{name}' is not supported."
            )
        return info

    def existing(self, name: str, record_id: str, caller: Caller) -> dict[str, Any]:
        """Return a live row that the caller may see.

        Raises:
            SandboxError: The id is malformed, unknown, hidden, or deleted.
        """
        whole = read_id(record_id)
        if whole is None:
            raise SandboxError(
                "MALFORMED_ID", f"malformed id {record_id}", fields=("Id",)
            )
        row = self.state.rows.get(name, whole)
        if row is None or not self.state.can_see(caller.user_id, whole):
            raise not_found()
        if row.get("IsDeleted"):
            raise deleted(404)
        return row

    def _read(
        self, info: ObjectInfo, fields: Mapping[str, Any], *, creating: bool
    ) -> dict[str, Any]:
        given: dict[str, Any] = {}
        refused: list[str] = []
        for name, value in fields.items():
            if name == "attributes":
                _check_attributes(info, value)
                continue
            field = info.visible.get(name)
            if field is None:
                raise SandboxError(
                    "INVALID_FIELD",
                    f"No such column '{name}' on sobject of type {info.name}",
                )
            if not (field.createable if creating else field.updateable):
                refused.append(name)
                continue
            given[name] = check_value(field, value)
        if refused:
            raise SandboxError(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {', '.join(refused)}. Please check "
                "the security settings of this field and verify that it is read/write "
                "for your profile or permission set.",
                fields=tuple(refused),
            )
        return given

    def _check_references(
        self, info: ObjectInfo, given: Mapping[str, Any], caller: Caller
    ) -> None:
        for name, value in given.items():
            if value is None:
                continue
            field = info.fields[name]
            if field.type == "reference":
                self.check_reference(field, value, caller)
                if name == "RecordTypeId":
                    self._check_record_type(info, value)
            elif field.type == "junctionidlist":
                for each in value:
                    self.check_reference(field, each, caller)

    def check_reference(self, field: FieldInfo, value: str, caller: Caller) -> None:
        """Prove that an id points to a live row of a fitting object.

        Raises:
            SandboxError: Wrong object, no row, deleted, or hidden from the caller.
        """
        target = self.state.schema.of_id(value)
        if target is None or target.name not in field.refs:
            code = (
                "FIELD_INTEGRITY_EXCEPTION"
                if field.name in _ACTIVITY_LINKS
                else "MALFORMED_ID"
            )
            raise SandboxError(
                code,
                f"{field.label}: id value of incorrect type: {value}",
                fields=(field.name,),
            )
        row = self.state.rows.get(target.name, value)
        if row is None:
            raise SandboxError(
                "INVALID_CROSS_REFERENCE_KEY",
                "invalid cross reference id",
                fields=(field.name,),
            )
        if row.get("IsDeleted"):
            raise deleted()
        if not self.state.can_see(caller.user_id, value):
            raise SandboxError(
                "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
                f"insufficient access rights on cross-reference id: {value[:15]}",
                fields=(field.name,),
            )

    def _check_record_type(self, info: ObjectInfo, value: str) -> None:
        row = self.state.rows.get("RecordType", value)
        if row is None or row["SobjectType"] != info.name or not row["IsActive"]:
            raise SandboxError(
                "INVALID_CROSS_REFERENCE_KEY",
                "Record Type ID: this ID value isn't valid for the user",
                fields=("RecordTypeId",),
            )

    def _check_owner(self, info: ObjectInfo, row: dict[str, Any]) -> None:
        owner = row.get("OwnerId")
        if owner is None:
            return
        user = self.state.rows.get("User", owner)
        if user is not None and not user["IsActive"]:
            raise SandboxError(
                "INACTIVE_OWNER_OR_USER",
                f"operation performed with inactive user [{owner[:15]}] as owner of "
                f"{info.label.lower()}",
                fields=("OwnerId",),
            )
        group = self.state.rows.get("Group", owner)
        if group is not None and group["Type"] != "Queue":
            raise SandboxError(
                "INVALID_CROSS_REFERENCE_KEY",
                "the owner is no queue",
                fields=("OwnerId",),
            )

    def _check_unique(
        self,
        info: ObjectInfo,
        row: Mapping[str, Any],
        given: Mapping[str, Any],
        caller: Caller,
    ) -> None:
        for column in info.fields.values():
            value = row.get(column.name)
            if not column.unique or value is None or column.name not in given:
                continue
            for other in self.state.rows.lookup(info.name, column.name, [value]) or ():
                same = other[column.name] == value or not column.case_sensitive
                if same and other["Id"] != row["Id"] and not other.get("IsDeleted"):
                    raise self._duplicate(column, other["Id"], caller)

    def _duplicate(
        self, field: FieldInfo, record_id: str, caller: Caller
    ) -> SandboxError:
        # The platform names the other record only if it is committed and the caller
        # may see it.
        named = not self.state.rows.is_fresh(record_id) and self.state.can_see(
            caller.user_id, record_id
        )
        name, rival = (field.name, record_id[:15]) if named else ("<unknown>",) * 2
        return SandboxError(
            "DUPLICATE_VALUE",
            f"duplicate value found: {name} duplicates value on record with id: "
            f"{rival}",
        )

    def _stamp(
        self,
        info: ObjectInfo,
        row: dict[str, Any],
        user_id: str,
        *,
        created: bool,
        keep: Mapping[str, Any] | None = None,
    ) -> None:
        now = stamp(self.state.clock.now())
        values = {
            "LastModifiedDate": now,
            "SystemModstamp": now,
            "LastModifiedById": user_id,
        }
        if created:
            values |= {"CreatedDate": now, "CreatedById": user_id}
            if row.get("OwnerId") is None:
                values["OwnerId"] = user_id
        kept = keep or {}
        row.update(
            (name, value)
            for name, value in values.items()
            if name in info.fields and name not in kept
        )


def _check_attributes(info: ObjectInfo, value: Any) -> None:
    if not isinstance(value, dict) or value.get("type", info.name) != info.name:
        raise SandboxError(
            "INVALID_TYPE", f"attributes name another type than {info.name}"
        )


def _required(names: list[str]) -> SandboxError:
    return SandboxError(
        "REQUIRED_FIELD_MISSING",
        f"Required fields are missing: [{', '.join(names)}]",
        fields=tuple(names),
    )
