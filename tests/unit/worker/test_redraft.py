"""Fields that Salesforce refuses are left out of the next draft, if they may be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from relay.core.model import Activity, MailState
from relay.core.states import ActivityState
from relay.outbox.batch import BatchMail
from relay.salesforce import WriteOutcome
from relay.salesforce.model import WriteState
from relay.worker.redraft import _complaints


def refused(code: str, *fields: str) -> BatchMail:
    """Return a mail whose EmailMessage was refused for these fields."""
    row = Activity("k", 1, "email", "EmailMessage", {}, "", ActivityState.REFUSED)
    outcome = WriteOutcome("k", WriteState.REFUSED, code=code, fields=fields)
    mail = BatchMail(
        MailState(1, "m", (), leased=True), [SimpleNamespace()], {"k": row}
    )  # type: ignore[list-item]
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
