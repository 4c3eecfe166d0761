"""Mail that another tool has logged is left alone, and its author is named."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from relay.core.model import Activity, MailState, Match
from relay.core.states import ActivityState, Event
from relay.outbox.batch import BatchMail, ClaimedMessage
from relay.salesforce import FoundRecord, OrgSchema, SalesforceUser
from relay.worker.elsewhere import not_elsewhere
from tests.fakes.values import NOON, email

if TYPE_CHECKING:
    from collections.abc import Sequence

ME, OTHER = "005000000000009AAA", "005000000000001AAA"
MATCH = Match((), (), ())
NUMBERS = count(1)


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        """Return a moment."""
        return datetime(2026, 3, 4, tzinfo=UTC)


class Claim:
    """A claimed message, as far as settling asks."""

    id = "m"
    attempt = 1
    received_at = NOON


class Org:
    """Holds EmailMessages by identifier."""

    def __init__(self, *records: FoundRecord, objects: Sequence[str] = ()) -> None:
        """Hold these under `<1@x>`."""
        self.asked: set[str] = set()
        self._records = list(records)
        self.records = self.access = self.schema = self.lookup = self
        self._objects = objects or ("EmailMessage",)

    async def get(self) -> OrgSchema:
        """Return an org with the objects."""
        return OrgSchema({name: {} for name in self._objects})

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


def work(message_id: str | None = "<1@x>", *, begun: bool = False) -> BatchMail:
    """Return a mail in hand."""
    item = ClaimedMessage(Claim(), None, Clock(), NOON)  # type: ignore[arg-type]
    item.email = email(message_id=message_id)
    row = Activity("k", 1, "email", "EmailMessage", {}, "", ActivityState.WRITTEN)
    rows = {"k": row} if begun else {}
    return BatchMail(MailState(next(NUMBERS), "m", (), leased=True), [item], rows)


async def left(org: Org, *works: BatchMail) -> list[BatchMail]:
    """Return the mails that stay."""
    matches = await not_elsewhere(org, [(w, MATCH) for w in works])  # type: ignore[arg-type]
    return [w for w, _ in matches]


async def test_every_mail_with_the_message_id_is_settled() -> None:
    """Skipped, with the author's name and id in the trace; others stay."""
    one, two, other = work(), work(), work("<2@x>")
    assert await left(Org(record()), one, two, other) == [other]
    for mail in (one, two):
        settlement = mail.items[0].settlement
        assert settlement is not None
        assert (settlement.event, settlement.reason) == (
            Event.RULED_OUT,
            "logged_elsewhere",
        )
        assert f"Inbox ({OTHER})" in settlement.detail
    assert other.items[0].settlement is None


async def test_what_does_not_count() -> None:
    """Our own, deleted ones, what we have begun, an org without EmailMessage."""
    for org in (
        Org(record(by=ME)),
        Org(record(by=None)),
        Org(record(deleted=True)),
        Org(record(), objects=("Task",)),
    ):
        mail = work()
        assert await left(org, mail) == [mail]
    begun, nameless = work(begun=True), work(None)
    assert await left(Org(record()), begun, nameless) == [begun, nameless]


async def test_a_long_message_id_is_asked_for_as_it_would_be_stored() -> None:
    """No literal grows beyond the field, whatever a mail's header holds."""
    org, long = Org(record()), work(f"<{'a' * 5000}@x>")
    assert await left(org, long, mail := work()) == [long]
    assert mail.items[0].settlement
    assert org.asked == {"<m@relay.invalid>", "<1@x>"}
