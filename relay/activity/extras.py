"""What goes into records beside the mail itself, and what must not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.model import Json


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
    """

    colleagues: Mapping[str, str] = field(default_factory=dict)
    key_fields: Mapping[str, str] = field(default_factory=dict)
    record_types: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    left_out: frozenset[tuple[str, str]] = frozenset()
    task_owner: str = ""


NO_EXTRAS: Final = Extras()
