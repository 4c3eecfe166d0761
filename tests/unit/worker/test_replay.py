"""Two outcomes of one mail are compared; the work is cut, bounded and told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from relay.activity import Mode
from relay.admin.rule_change import RuleChange
from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.errors import InvalidInput, OrgPaused, RawUnreadable
from relay.core.model import Activity, Resolution
from relay.core.org import LookupResult, OrgSchema
from relay.core.past import PastCopy, PastFilter, PastMail, PastPage
from relay.core.states import ActivityState, Event, State
from relay.match import Decision, Verdict
from relay.salesforce.dry import DryOrg
from relay.worker import replay
from relay.worker.replay import Kind, Outcome, Replay, ReplayParts
from tests.fakes.values import NOON, contact, directory, found

LOGGED = Outcome(
    "logged",
    "",
    "",
    (("Contact", "003A", "Kim", "Contact.Email"),),
    {("Task", "t"): {"Subject": "s"}},
    (),
)
UNMATCHED = Outcome("unmatched", "no_record", "nobody", (), {}, ())


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (LOGGED, LOGGED, None),
        (UNMATCHED, UNMATCHED, None),
        (UNMATCHED, replace(UNMATCHED, detail="nobody else"), None),
        (UNMATCHED, LOGGED, Kind.NEWLY_LOGGED),
        (LOGGED, UNMATCHED, Kind.NO_LONGER_LOGGED),
        (UNMATCHED, replace(UNMATCHED, reason="no_recipient"), Kind.OTHER_REASON),
        (LOGGED, replace(LOGGED, records=()), Kind.OTHER_RECORDS),
        (
            LOGGED,
            replace(LOGGED, records=(("Contact", "003A", "Kim", "another rule"),)),
            None,
        ),
        (LOGGED, replace(LOGGED, drafts={}), Kind.OTHER_RECORDS),
        (
            LOGGED,
            replace(LOGGED, drafts={("Task", "t"): {"Subject": "t"}}),
            Kind.OTHER_FIELDS,
        ),
    ],
)
def test_only_what_anybody_would_see_differs(
    before: Outcome, after: Outcome, kind: Kind | None
) -> None:
    """Another sentence, or another rule for the same record, is no difference."""
    assert replay.kind_of(before, after) is kind


def test_a_mail_with_several_copies_is_what_its_best_copy_is() -> None:
    """One user excludes it, for the other it is logged: it is logged."""
    skipped = Verdict(Event.RULED_OUT, "excluded", "excluded by x")
    decision = Decision(Verdict(Event.LOGGED), (skipped, None))
    assert replay.outcome(decision).state == "logged"
    both = Decision(Verdict(Event.LOGGED), (skipped, skipped))
    assert replay.outcome(both).state == "skipped"
    assert replay.outcome(both).detail == "excluded by x"
    assert replay.outcome(both).as_json()["state"] == "skipped"


# ---------------------------------------------------------------- a run


def mail(number: int, to: str, **more: Any) -> PastMail:
    """Return a past mail of Ada's whose bytes are `blob-NUMBER`."""
    copy = PastCopy(
        message_id=f"m{number}",
        user_id=1,
        blob_id=f"blob-{number} {to}",
        size_bytes=100,
        received_at=NOON - timedelta(hours=number),
        state=State.LOGGED,
        reason="",
        detail="",
        mail_from="ada@corp.example",
        subject=f"Mail {number}",
        author="ada@corp.example",
    )
    copies = (replace(copy, **more.pop("copy", {})), *more.pop("copies", ()))
    rows, resolved = more.pop("activities", ()), more.pop("resolved", ())
    return PastMail(copies, f"key-{number}", rows, resolved)


class Mails:
    """Past mails in pages, and their bytes."""

    def __init__(self, *mails: PastMail) -> None:
        self.mails = mails
        self.unreadable: set[str] = set()

    async def threads(self, _: object) -> dict[str, tuple[str, ...]]:
        return {}

    async def count(self, _: PastFilter) -> int:
        return len(self.mails)

    async def page(self, _: PastFilter, after: str | None, limit: int) -> PastPage:
        at = int(after or 0)
        end = at + limit
        more = str(end) if end < len(self.mails) else None
        return PastPage(self.mails[at:end], more)

    async def raws(self, blob_ids: list[str]) -> dict[str, bytes | RawUnreadable]:
        found: dict[str, bytes | RawUnreadable] = {}
        for blob in blob_ids:
            to = blob.partition(" ")[2]
            if blob in self.unreadable:
                found[blob] = RawUnreadable("the disk is gone")
            elif to:
                text = f"From: ada@corp.example\r\nTo: {to}\r\nSubject: x\r\n\r\nHi\r\n"
                found[blob] = text.encode()
        return found


class Asked:
    """An org that holds two Contacts with one address, and counts its look-ups."""

    def __init__(self) -> None:
        people = [contact(n, "kim@x.example") for n in (1, 2)]
        self.found = found(*people)
        self.asked: list[list[str]] = []
        self.records: list[str] = []
        self.lookup = self
        self.schema = self
        self.stats = SimpleNamespace(calls={"login": 1, "lookup": 3})
        self.budget = SimpleNamespace(near=False, sentence=lambda: "9 of 10 used")
        self.fails: Exception | None = None

    async def find(self, addresses: list[str], **more: Any) -> LookupResult:
        if self.fails:
            raise self.fails
        self.records += more["records"]
        self.asked.append(list(addresses))
        return LookupResult(self.found)

    async def get(self) -> OrgSchema:
        return OrgSchema({"Task": {}})


class Shape:
    async def known(self, _: OrgSchema) -> Mode:
        return Mode.TASK


def run(org: Any, mails: Mails, change: RuleChange, **more: Any) -> Replay:
    """Return a run over these mails."""
    store: Any = SimpleNamespace(past=mails, messages=mails, mails=mails)
    shape: Any = Shape()
    settings = more.pop("settings", Settings())
    parts = ReplayParts(settings, store, org, shape, directory())
    return Replay(parts, change, PastFilter(), **more)


OLDEST = RuleChange({"match.several": "oldest"})


async def test_pages_are_decided_together_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look-up for each set of rules and page; the summary grows with each page."""
    monkeypatch.setattr(replay, "PAGE", 2)
    org = Asked()
    mails = Mails(*(mail(n, f"kim@x.example, n{n}@x.example") for n in range(3)))
    work = run(org, mails, OLDEST)
    told = [page async for page in work.pages()]
    assert [len(page.differences) for page in told] == [2, 1]
    assert [page.summary.looked_at for page in told] == [2, 3]
    first = ["kim@x.example", "n0@x.example", "n1@x.example"]
    assert org.asked[:2] == [first, first]
    assert len(org.asked) == 4
    assert work.summary.kinds == {Kind.OTHER_RECORDS: 3}
    assert (work.summary.differ, work.summary.calls) == (3, 3)
    one = told[0].differences[0].as_json()
    assert [r["id"] for r in one["before"]["records"]] == [
        "003000000000001AAA",
        "003000000000002AAA",
    ]
    assert [r["id"] for r in one["after"]["records"]] == ["003000000000001AAA"]
    assert one["happened"] == {"state": "logged", "reason": ""}


async def test_a_limit_and_the_first_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No more than `limit` are read; `collect` keeps the first, and counts all."""
    monkeypatch.setattr(replay, "PAGE", 2)
    mails = Mails(*(mail(n, "kim@x.example") for n in range(5)))
    page = await replay.collect(run(Asked(), mails, OLDEST, limit=3), keep=1)
    assert [one.message_id for one in page.differences] == ["m0"]
    assert (page.summary.mails, page.summary.differ) == (3, 3)


async def test_a_part_is_no_larger_than_memory_may_be() -> None:
    """Mails are decided in parts of `worker.batch_bytes`, a larger one by itself."""
    base = Settings()
    worker = base.worker.model_copy(update={"batch_bytes": 250})
    settings = base.model_copy(update={"worker": worker})
    big = mail(3, "kim@x.example", copy={"size_bytes": 900})
    mails = Mails(*(mail(n, "kim@x.example") for n in range(3)), big)
    work = run(Asked(), mails, OLDEST, settings=settings)
    sizes = [len(page.differences) async for page in work.pages()]
    assert sizes == [2, 1, 1]


async def test_what_cannot_be_read_is_counted() -> None:
    """Bytes that are gone, and mails that cannot be read; another copy helps."""
    lost = mail(1, "")
    second = replace(mail(9, "kim@x.example").first, received_at=NOON)
    helped = mail(2, "", copies=(second,))
    broken = mail(3, "kim@x.example")
    mails = Mails(lost, helped, broken)
    mails.unreadable.add(broken.first.blob_id)
    work = run(Asked(), mails, OLDEST)
    (page,) = [page async for page in work.pages()]
    assert (work.summary.gone, work.summary.unreadable) == (1, 1)
    assert [one.message_id for one in page.differences] == ["m2"]


async def test_work_stops_where_calls_are_near_their_end() -> None:
    """The rest is for mail; the summary says where to go on, and nothing is asked."""
    org = Asked()
    org.budget.near = True
    work = run(org, Mails(mail(1, "kim@x.example")), OLDEST)
    assert [page async for page in work.pages()] == []
    said = "the rest of the API calls is kept for mail: 9 of 10 used"
    assert work.summary.stopped == said
    assert work.summary.next_before == NOON - timedelta(hours=1)
    assert org.asked == []


async def test_an_org_that_fails_later_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first page was told; at the first page there is nothing to tell."""
    monkeypatch.setattr(replay, "PAGE", 1)
    org = Asked()
    work = run(org, Mails(*(mail(n, "kim@x.example") for n in (1, 2))), OLDEST)
    told = []
    async for page in work.pages():
        told.append(page)
        org.fails = OrgPaused("no more", code="x")
    assert len(told) == 1
    assert work.summary.stopped == "no more"
    assert work.summary.as_json()["next_before"] == "2026-03-04T10:00:00+00:00"
    work = run(org, Mails(mail(1, "kim@x.example")), OLDEST)
    with pytest.raises(OrgPaused):
        [page async for page in work.pages()]


async def test_what_is_in_salesforce_stands_beside() -> None:
    """Records that were written, not those that are gone or were never sent."""
    rows = [
        Activity(state, 1, "email", "Task", {"WhoId": "003X"}, "rule", state, "00T")
        for state in (
            ActivityState.WRITTEN,
            ActivityState.SENT,
            ActivityState.GONE,
            ActivityState.PLANNED,
        )
    ]
    mails = Mails(mail(1, "kim@x.example", activities=tuple(rows)))
    (page,) = [page async for page in run(Asked(), mails, OLDEST).pages()]
    (one,) = page.differences
    assert [(w.object, w.id, w.on) for w in one.written] == [
        ("Task", "00T", ("003X",))
    ] * 2


async def test_what_a_person_chose_is_asked_for_again() -> None:
    """A mail that was resolved is decided with its records by both sets of rules."""
    chosen = Resolution("001000000000001AAA", "Account", "Acme", "test")
    org = Asked()
    work = run(org, Mails(mail(1, "kim@x.example", resolved=(chosen,))), OLDEST)
    assert [page async for page in work.pages()]
    assert org.records == [chosen.record_id] * 2


async def test_shadow_mode_hides_no_difference() -> None:
    """Where nothing is written, what would be is compared all the same."""
    base = Settings()
    section = base.salesforce.model_copy(update={"write_as": "nothing"})
    settings = base.model_copy(update={"salesforce": section})
    work = run(Asked(), Mails(mail(1, "kim@x.example")), OLDEST, settings=settings)
    (page,) = [page async for page in work.pages()]
    assert [one.kind for one in page.differences] == [Kind.OTHER_RECORDS]


async def test_an_estimate_plans_the_look_ups_and_asks_nobody() -> None:
    """The calls are counted as the look-up would make them; nobody is found."""
    org = DryOrg(Settings().salesforce, SystemClock())
    mails = Mails(*(mail(n, f"n{n}@x.example") for n in range(300)))
    work = run(org, mails, OLDEST)
    assert [page.differences async for page in work.pages()] == [()]
    # A description; 300 addresses are three queries or less for each of two objects,
    # and one asks for the users.
    assert 2 <= work.summary.calls <= 5
    nobody = run(DryOrg(Settings().salesforce, SystemClock()), Mails(), OLDEST)
    assert [page async for page in nobody.pages()] == []
    assert nobody.summary.calls == 0


def test_a_change_that_does_not_fit_is_refused_before_work() -> None:
    """Nothing is read for it."""
    nobody: Any = None
    with pytest.raises(InvalidInput):
        run(Asked(), nobody, RuleChange({"match.several": "some"}))
