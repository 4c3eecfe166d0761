"""What a mail names, and what of it is kept back, in a running relay with an org."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import mail_to

if TYPE_CHECKING:
    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(120)


def test_a_tag_alone_logs_a_mail(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A Case and a Lead are named by id; what nothing can be logged on is told."""
    case = sandbox.create("Case", Subject="Broken")
    lead = sandbox.person("Lead", "lee@lead.example")
    (user, *_) = sandbox.rows("User")
    mail = mail_to("nobody@customer.example", Subject=f"Offer ref:{case[:15]}")
    mail.set_content(f"Hello\n(ref: {lead}, {user['Id']}, {case[:15]}AAB)\n")
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged"
    (message,) = sandbox.rows("EmailMessage")
    assert message["RelatedToId"] == case
    assert lead in {task["WhoId"] for task in sandbox.rows("Task")}
    told = [s["detail"] for s in row["trace"] if s["step"] == "tags"]
    assert told[0] == f"{case}, {lead}, {user['Id']}"
    assert any("no record id" in line for line in told)
    assert any("nothing can be logged on a record of User" in line for line in told)
