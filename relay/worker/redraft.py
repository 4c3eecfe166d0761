"""Mails that Salesforce refused for what a new draft may mend.

A record has gone, a field has changed, an owner is inactive. The mail is drafted anew,
once in an attempt, without what was named in the refusals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.retry import Retry
from relay.core.states import ActivityState
from relay.outbox.owner_changes import INACTIVE_OWNER
from relay.salesforce.errors import Category, rule

if TYPE_CHECKING:
    from relay.outbox.batch import BatchMail

_ESSENTIAL: Final = frozenset(
    {"WhoId", "WhatId", "TaskWhoIds", "RelatedToId", "ToIds", "CcIds", "Status"}
    | {"MessageIdentifier", "Subject", "OwnerId", "Description", "TextBody"}
)
"""Fields without which a record would not be what it is for."""

_MEANT: Final = {
    "INVALID_EMAIL_ADDRESS": ("FromAddress", "ToAddress", "CcAddress", "BccAddress")
}
"""Fields that a code speaks of where the answer names none."""


def outdated(work: BatchMail, stand_in: str) -> bool:
    """Say whether a mail was refused for what a new draft may mend.

    Args:
        work: The mail.
        stand_in: Owner of Tasks whose rep is inactive; empty for none.
    """
    if work.lost or work.redrafted:
        return False
    codes = _codes(work)
    if INACTIVE_OWNER in codes and stand_in:
        return True
    return any(rule(code).retry is Retry.REPLAN for code in codes)


def prepare(work: BatchMail, stand_in: str) -> bool:
    """Have the next draft leave out or replace what was refused.

    Returns:
        Whether the org must be described anew first.
    """
    codes = _codes(work)
    work.redrafted = True
    work.left_out = frozenset(_complaints(work))
    if INACTIVE_OWNER in codes:
        work.task_owner = stand_in
    work.trace("redraft", ", ".join(sorted(codes)), _names(work.left_out))
    return any(rule(code).category is Category.ACCESS for code in codes)


def _codes(work: BatchMail) -> set[str]:
    """Return Salesforce's codes of the refused rows."""
    return {row.error.partition(" ")[0] for row in work.of(ActivityState.REFUSED)}


def _complaints(work: BatchMail) -> set[tuple[str, str]]:
    """Return the (object, field) that Salesforce named in its refusals.

    What a record is for stays in: without it another record would be written.
    """
    return {
        (row.object, field)
        for row in work.of(ActivityState.REFUSED)
        if (outcome := work.refusals.get(row.key))
        and rule(outcome.code).category is Category.ACCESS
        for field in outcome.fields or _MEANT.get(outcome.code, ())
        if field not in _ESSENTIAL and field != row.key_field
    }


def _names(fields: frozenset[tuple[str, str]]) -> str:
    listed = ", ".join(sorted(f"{sobject}.{name}" for sobject, name in fields))
    return f"without {listed}" if listed else ""
