"""What goes into records beside the mail: keys, record types, the fields of an admin.

`Extras` holds it for the drafts of one mail. The admin names fields and record types
in `[salesforce]`; describe says which of them the org has. What it does not have is
left out, so that the mail is logged all the same; `relay.diagnose` names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from relay.core.addresses import address_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.directory import Directory
    from relay.core.model import Json
    from relay.core.org import OrgSchema

OBJECTS: Final = ("Task", "EmailMessage")


class RecordSettings(Protocol):
    """What an admin sets for records, by the names of the section `[salesforce]`."""

    @property
    def key_field(self) -> str:
        """Name of the unique field for the key; empty for none."""

    @property
    def record_type(self) -> Mapping[str, str]:
        """Developer names of record types, by object."""

    @property
    def fields(self) -> Mapping[str, Mapping[str, Json]]:
        """Constants and templates, by object and field."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What the drafts of a mail have in common; tables are by object name.

    Attributes:
        colleagues: User ids by address key: an EmailMessage names them by id.
        key_fields: The unique field that holds the key, where the org has one.
        record_types: Ids of record types.
        fields: Constants and templates (`relay.core.template`).
        left_out: (object, field) that Salesforce refused although describe allows
            them.
        task_owner: Owner of Tasks in the place of a rep whose user cannot own any.
        subject: Template of the subject (`relay.core.subjects`); empty: the mail's own.
        task_type: Set Task.Type where the org has the word for it.
        subject_alone: Write no lines of the header into a Description, and no addresses
            of people without a record.
    """

    colleagues: Mapping[str, str] = field(default_factory=dict)
    key_fields: Mapping[str, str] = field(default_factory=dict)
    record_types: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    left_out: frozenset[tuple[str, str]] = frozenset()
    task_owner: str = ""
    subject: str = ""
    task_type: bool = False
    subject_alone: bool = False


NO_EXTRAS: Final = Extras()


def colleagues(directory: Directory) -> dict[str, str]:
    """Return the Salesforce ids of active users by their addresses.

    A user's own mailbox counts for that user, whoever else may send from it. The
    mailbox of a delegate is not the user's.
    """
    known = {
        user.id: user.salesforce_id
        for user in directory.users.values()
        if user.active and user.salesforce_id
    }
    accepted = {
        key: known[user_id]
        for user_id, keys in directory.accepted.items()
        if user_id in known
        for key in keys
        if not key.startswith("*") and key not in directory.delegates.get(user_id, ())
    }
    return accepted | {
        key: known[user.id]
        for user in directory.users.values()
        if user.id in known and (key := address_key(user.email))
    }


def key_fields(settings: RecordSettings, schema: OrgSchema) -> dict[str, str]:
    """Return the field that holds the key, for each object that has it."""
    name = settings.key_field
    return {each: name for each in OBJECTS if name and schema.holds_key(each, name)}


def record_types(settings: RecordSettings, schema: OrgSchema) -> dict[str, str]:
    """Return the ids of the record types that are set and that the org has."""
    found: dict[str, str] = {}
    for sobject, name in settings.record_type.items():
        if sfid := schema.record_types.get(sobject, {}).get(name):
            found[sobject] = sfid
    return found
