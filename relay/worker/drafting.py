"""Drafts for the mails of a batch: what the org, the admin and the directory add.

`relay.activity` is pure; here is gathered what it needs from the org's shape, from the
settings and from the directory, and what a mail has learned from being refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import relay.activity
from relay.activity import Extras, colleagues, key_fields, record_types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from relay.activity import Mode, Owner
    from relay.config import Settings
    from relay.core.directory import Directory
    from relay.core.model import Draft, Email, Match
    from relay.salesforce import OrgSchema


class Drafting:
    """Makes drafts with everything that is the same for all mails."""

    def __init__(self, settings: Settings, directory: Callable[[], Directory]) -> None:
        """Keep the parts; the directory is read when drafts are made."""
        self._settings = settings
        self._directory = directory
        self._revision = -1
        self._users: dict[str, str] = {}

    def drafts(  # noqa: PLR0913 - what a draft is made of
        self,
        email: Email,
        match: Match,
        *,
        mail_key: str,
        owner: Owner,
        mode: Mode,
        shape: OrgSchema,
        received_at: datetime,
        again: bool = False,
        left_out: frozenset[tuple[str, str]] = frozenset(),
        task_owner: str = "",
    ) -> tuple[Draft, ...]:
        """Return the records that a mail needs; see `relay.activity.draft`.

        Args:
            email: The mail.
            match: What it is logged on.
            mail_key: The stored identity of the mail.
            owner: The rep.
            mode: The shape.
            shape: What describe says of the org.
            received_at: When the first copy came.
            again: An earlier draft was refused: what is not needed stays out.
            left_out: (object, field) that Salesforce refused for this mail.
            task_owner: Owner of Tasks in the rep's place.
        """
        section = self._settings.salesforce
        return relay.activity.draft(
            email,
            match,
            mail_key=mail_key,
            owner=owner,
            mode=mode,
            org=shape,
            received_at=received_at,
            relay_domains=self._settings.smtp.domains,
            extras=Extras(
                # What was refused may be a colleague's id: they are not needed.
                colleagues={} if again else self._colleagues(),
                key_fields=key_fields(section, shape),
                record_types=record_types(section, shape),
                fields=section.fields,
                left_out=left_out,
                task_owner=task_owner,
            ),
        )

    def _colleagues(self) -> Mapping[str, str]:
        """Return the users' Salesforce ids by their addresses, from the directory."""
        directory = self._directory()
        if directory.revision != self._revision:
            self._users = colleagues(directory)
            self._revision = directory.revision
        return self._users
