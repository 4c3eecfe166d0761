"""Decisions that need no answer of Salesforce: the directory, and refusals."""

from __future__ import annotations

import pytest

from relay.config import Settings
from relay.core.model import Activity, MailState
from relay.core.states import ActivityState
from relay.outbox.batch import BatchMail
from relay.salesforce.model import WriteOutcome, WriteState
from relay.worker.decisions import Decisions, _complaints
from tests.fakes.values import directory


async def test_an_edit_of_the_directory_holds_at_once() -> None:
    """What is indexed of the directory is made anew with each edit, not before."""
    people = [directory()]
    decisions = Decisions(Settings(), None, None, lambda: people[-1])  # type: ignore[arg-type]
    before = decisions.context
    assert decisions.context is before
    people.append(directory(accepted=("new@house.example",)))
    assert decisions.context.ours.rule("new@house.example")
    assert not before.ours.rule("new@house.example")


# ---------------------------------------------------------------- after a refusal


def refused(code: str, *fields: str) -> BatchMail:
    """Return a mail whose EmailMessage was refused for these fields."""
    row = Activity("k", 1, "email", "EmailMessage", {}, "", ActivityState.REFUSED)
    outcome = WriteOutcome("k", WriteState.REFUSED, code=code, fields=fields)
    mail = BatchMail(MailState(1, "m", (), leased=True), [], {"k": row})
    mail.refusals["k"] = outcome
    return mail


@pytest.mark.parametrize(
    ("code", "named", "left_out"),
    [
        ("INVALID_FIELD", ("FromName",), {"FromName"}),
        ("INVALID_FIELD", ("FromName", "Subject", "ToIds"), {"FromName"}),
        ("INVALID_FIELD", (), set()),
        ("ENTITY_IS_DELETED", ("FromName",), set()),
        ("INVALID_EMAIL_ADDRESS", ("FromAddress",), {"FromAddress"}),
        (
            "INVALID_EMAIL_ADDRESS",
            (),
            {"FromAddress", "ToAddress", "CcAddress", "BccAddress"},
        ),
    ],
)
def test_what_is_left_out(
    code: str, named: tuple[str, ...], left_out: set[str]
) -> None:
    """The fields named; for an address that none is named of, all addresses."""
    expected = {("EmailMessage", name) for name in left_out}
    assert _complaints(refused(code, *named)) == expected
