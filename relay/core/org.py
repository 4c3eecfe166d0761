"""The Salesforce org as values: its objects and fields, its users, and who was found.

`relay.salesforce` makes them of Salesforce's answers; the pure packages decide by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.model import Found

KEY_LENGTH: Final = 40
"""Characters of a record's key."""


@dataclass(frozen=True, slots=True)
class SalesforceUser:
    """A User of the org; `email_key` is the address key of its Email."""

    id: str
    name: str
    email_key: str
    is_active: bool
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What one look-up found: people and their open opportunities, and users.

    `asked_in` are the fields in which addresses were looked for (`Contact.Email`),
    `cached` the address keys whose answer was remembered.
    """

    found: Found
    users: tuple[SalesforceUser, ...] = ()
    asked_in: tuple[str, ...] = ()
    cached: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field as describe shows it to our user; a hidden field does not exist."""

    name: str
    label: str
    type: str
    length: int
    createable: bool
    updateable: bool
    filterable: bool
    nillable: bool
    defaulted: bool
    unique: bool
    external_id: bool
    restricted: bool
    values: tuple[str, ...] = ()
    """Active values of a picklist."""
    references: tuple[str, ...] = ()
    """Objects that a reference may point to."""
    is_name: bool = False
    """The records of its object are called by it."""
    default: str = ""
    """The value of a picklist that a record gets where none is set; empty: none."""


@dataclass(frozen=True, slots=True)
class OrgSchema:
    """The objects and fields of the org, as far as our user may see them.

    Salesforce's lengths and permissions differ from org to org, so that describe is
    the contract and nothing is assumed.
    """

    fields: Mapping[str, Mapping[str, FieldInfo]]
    createables: frozenset[str] = frozenset()
    """Objects of which our user may create records."""
    key_prefixes: Mapping[str, str] = field(default_factory=dict)
    closed_statuses: tuple[str, ...] = ()
    """Values of Task.Status that close a Task, the first in the org's order first."""
    open_statuses: tuple[str, ...] = ()
    """The other values, the org's default first."""
    record_types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By object, ids of the record types that our user may use, by developer name."""
    deletables: frozenset[str] = frozenset()
    """Objects of which our user may delete records."""

    def has(self, sobject: str) -> bool:
        """Say whether the object exists for our user."""
        return sobject in self.fields

    def field(self, sobject: str, name: str) -> FieldInfo | None:
        """Return a field, or None if it does not exist for our user."""
        return self.fields.get(sobject, {}).get(name)

    def length(self, sobject: str, field: str) -> int | None:
        """Return the length of a text field, or None if it is unknown."""
        info = self.field(sobject, field)
        return info.length if info and info.length > 0 else None

    def createable(self, sobject: str, field: str) -> bool:
        """Say whether our user may set the field on create."""
        info = self.field(sobject, field)
        return info is not None and info.createable

    def may_name(self, sobject: str, field: str, target: str) -> bool:
        """Say whether a reference may point to records of an object.

        Where describe names no objects, only Salesforce can refuse one.
        """
        info = self.field(sobject, field)
        return info is not None and (not info.references or target in info.references)

    def holds_key(self, sobject: str, field: str) -> bool:
        """Say whether a field can hold our key and will refuse it twice."""
        info = self.field(sobject, field)
        return (
            info is not None
            and info.createable
            and info.unique
            and info.filterable
            and info.length >= KEY_LENGTH
        )

    @property
    def has_email_message(self) -> bool:
        """Whether EmailMessage exists and may be created; no proof that it works."""
        return "EmailMessage" in self.createables

    @property
    def shared_activities(self) -> bool:
        """Whether one Task may relate to many contacts."""
        return self.createable("Task", "TaskWhoIds")

    @property
    def person_accounts(self) -> bool:
        """Whether an Account may be a person."""
        return self.field("Contact", "IsPersonAccount") is not None
