"""What a decision learns from Salesforce: other tools' mail, and refusals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import Settings
from relay.core.model import Activity, MailState
from relay.core.org import LookupResult, OrgSchema, SalesforceUser
from relay.core.states import ActivityState, Event
from relay.match import MailFacts, ask
from relay.outbox.batch import BatchMail
from relay.outbox.mode import WriteMode
from relay.salesforce import FoundRecord
from relay.salesforce.model import WriteOutcome, WriteState
from relay.worker.decisions import Decisions, _complaints
from tests.fakes.values import NOON, boxes, contact, directory, email, found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.match import Decision

ME, OTHER = "005000000000009AAA", "005000000000001AAA"
ANNA = contact(1, "anna@one.example")


class Org:
    """Knows Anna; holds EmailMessages under `<1@x>`."""

    def __init__(self, *records: FoundRecord, objects: Sequence[str] = ()) -> None:
        """Hold these records, in an org with these objects."""
        self.asked: set[str] = set()
        self._records = list(records)
        self._objects = objects or ("EmailMessage",)
        self.schema = self.lookup = self.records = self.access = self

    async def get(self) -> OrgSchema:
        """Return an org with the objects."""
        return OrgSchema({name: {} for name in self._objects})

    async def find(self, addresses: Sequence[str], **more: object) -> LookupResult:
        """Find Anna."""
        return LookupResult(found(ANNA))

    async def me(self) -> str:
        """Return the integration user."""
        return ME

    async def find_email_messages(self, ids: Sequence[str], *, whole: bool) -> Any:
        """Find them under the first identifier."""
        assert not whole
        self.asked.update(ids)
        return {"<1@x>": self._records} if "<1@x>" in ids else {}

    async def users(self, ids: Sequence[str]) -> Any:
        """Know the other tool's user."""
        return {i: SalesforceUser(i, "Inbox", "", is_active=True) for i in ids}


def record(*, by: str | None = OTHER, deleted: bool = False) -> FoundRecord:
    """Return an EmailMessage."""
    return FoundRecord("02s000000000001AAA", deleted, NOON, None, by)


def mail(message_id: str | None = "<1@x>", *, begun: bool = False) -> MailFacts:
    """Return a mail of Ada's to Anna."""
    row = Activity("k", 1, "email", "EmailMessage", {}, "", ActivityState.WRITTEN)
    return MailFacts(
        email(message_id=message_id, to=boxes(ANNA.email_key)),
        "m",
        NOON,
        (directory().users[1],),
        (row,) if begun else (),
    )


async def decided(org: Org, *mails: MailFacts) -> list[Decision]:
    """Decide mails with `salesforce.look_before_write`."""
    settings = Settings(salesforce={"look_before_write": True, "write_as": "task"})  # type: ignore[arg-type]
    mode = WriteMode(settings.salesforce, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    decisions = Decisions(settings, org, mode, directory)  # type: ignore[arg-type]
    asked = [(each, ask(each, decisions.context)) for each in mails]
    return list((await decisions.decide(asked)).decisions)


async def test_every_mail_with_the_message_id_is_skipped() -> None:
    """With the author's name and id in the trace; others are logged."""
    *skipped, other = await decided(Org(record()), mail(), mail(), mail("<2@x>"))
    for decision in skipped:
        verdict = decision.verdict
        assert (verdict.event, verdict.reason) == (Event.RULED_OUT, "logged_elsewhere")
        assert f"Inbox ({OTHER})" in verdict.detail
        assert verdict.detail == decision.steps[-1].detail
        assert decision.drafts == ()
    assert other.verdict.event is Event.LOGGED
    assert other.drafts


async def test_what_does_not_count() -> None:
    """Our own, deleted ones, what we have begun, an org without EmailMessage."""
    for org in (
        Org(record(by=ME)),
        Org(record(by=None)),
        Org(record(deleted=True)),
        Org(record(), objects=("Task",)),
    ):
        (decision,) = await decided(org, mail())
        assert decision.verdict.event is Event.LOGGED
    for decision in await decided(Org(record()), mail(begun=True), mail(None)):
        assert decision.verdict.event is Event.LOGGED


async def test_a_long_message_id_is_asked_for_as_it_would_be_stored() -> None:
    """No literal grows beyond the field, whatever a mail's header holds."""
    org, long = Org(record()), mail(f"<{'a' * 5000}@x>")
    first, second = await decided(org, long, mail())
    assert first.verdict.event is Event.LOGGED
    assert second.verdict.event is Event.RULED_OUT
    assert org.asked == {"<m@relay.invalid>", "<1@x>"}


async def test_an_edit_of_the_directory_holds_at_once() -> None:
    """What is indexed of the directory is made anew with each edit, not before."""
    people = [directory()]
    decisions = Decisions(Settings(), Org(), None, lambda: people[-1])  # type: ignore[arg-type]
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
