"""What a batch ends in: each verdict of Salesforce, for each mail on its own."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from relay.attachments.stage import Attachments
from relay.config import Settings
from relay.core.directory import SkipKind
from relay.core.errors import (
    CredentialsRefused,
    SalesforceDown,
    SalesforceUnavailable,
    StoreUnavailable,
)
from relay.core.model import MailState
from relay.core.org import SalesforceUser
from relay.core.states import ActivityState, Event
from relay.outbox.backoff import Backoff
from relay.outbox.batch import Batch, BatchMail, SpoiltBatchError
from relay.outbox.engine import Outbox, Parts
from relay.outbox.mode import WriteMode
from relay.outbox.records import Records
from relay.salesforce.model import WriteState
from relay.worker.pipeline import Pipeline
from tests.fakes.people_org import CONTACTS, OPEN
from tests.fakes.values import ADA, contact, directory
from tests.worker.queued import LARGE, OWNER, work

ANNA, BERT, CARL, DORA = CONTACTS
BEN = "005000000000002AAA"
PEOPLE = directory()
RULE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


@pytest.fixture
def pipeline_for(store, org, clock):
    """Return a function that makes a pipeline."""
    with ThreadPoolExecutor(1) as executor:

        def make(write_as="task", people=PEOPLE, **match):
            settings = Settings(
                smtp={"domains": ("in.example",)},
                salesforce={"write_as": write_as},
                match=match,
            )
            mode = WriteMode(settings.salesforce, store, clock)
            backoff = Backoff(settings.worker, random.Random(1))
            parts = Parts(settings, store, org, clock, OWNER, backoff)
            return Pipeline(
                parts,
                mode,
                None,
                directory=lambda: people,
                files=Attachments(parts, paused=lambda: False),
                executor=executor,
            )

        yield make


@pytest.fixture(autouse=True)
def marked(org, queued):
    """Let no record be taken whose row is not committed as *sent*."""

    async def check(call, keys):
        if call == "create":
            rows = await queued.rows()
            states = {row.state for row in rows if row.key in keys}
            assert states == {ActivityState.SENT}

    org.before = check


# ------------------------------------------------------------ verdicts


VERDICTS = {
    "written": (WriteState.WRITTEN, "", Event.LOGGED, "", ActivityState.WRITTEN),
    "refused": (WriteState.REFUSED, RULE, Event.PERMANENT, RULE, ActivityState.REFUSED),
    "locked": (
        *(WriteState.RETRY, "UNABLE_TO_LOCK_ROW"),
        *(Event.TRANSIENT, "UNABLE_TO_LOCK_ROW", ActivityState.PLANNED),
    ),
    "unknown": (
        *(WriteState.UNKNOWN, "timeout"),
        *(Event.TRANSIENT, "OutcomeUnknown", ActivityState.SENT),
    ),
    "not sent": (
        *(WriteState.NOT_SENT, ""),
        *(Event.TRANSIENT, "TransientError", ActivityState.PLANNED),
    ),
}


@pytest.mark.parametrize("name", VERDICTS)
async def test_each_verdict_has_its_end(name, pipeline_for, queued, org):
    """What one record was answered is the end of its mail, and stands in the ledger."""
    said, code, event, reason, state = VERDICTS[name]
    org.verdicts[ANNA.id] = (said, code)
    ends, raised = await work(pipeline_for(), queued, await queued.take("m", ANNA))
    assert ends == {"m": (event, reason)}
    assert raised is None
    assert await queued.states("m") == {ANNA.id: state}


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
async def test_neighbours_and_their_order_change_nothing(
    order, pipeline_for, queued, org
):
    """In one call, each mail has the end that it has alone, wherever it stands."""
    names = ("written", "refused", "locked", "unknown")
    people = (ANNA, BERT, CARL, DORA)
    batch = []
    for name, person in zip(names, people, strict=True):
        org.verdicts[person.id] = VERDICTS[name][:2]
        batch.append(await queued.take(name, person))
    ends, raised = await work(pipeline_for(), queued, *(batch[i] for i in order))
    assert raised is None
    assert ends == {name: VERDICTS[name][2:4] for name in names}
    for name, person in zip(names, people, strict=True):
        assert await queued.states(name) == {person.id: VERDICTS[name][4]}
    assert len(org.looked_up) == 1


@pytest.mark.parametrize(
    ("name", "event"), [("locked", Event.TRANSIENT), ("refused", Event.PERMANENT)]
)
async def test_of_a_mail_in_part_written_the_rest_alone_is_written(
    name, event, pipeline_for, queued, org
):
    """What is there stays and is not sent again; the rest is, when it is tried."""
    org.verdicts[BERT.id] = VERDICTS[name][:2]
    ends, _ = await work(pipeline_for(), queued, await queued.take("m", ANNA, BERT))
    assert ends["m"][0] is event
    first = {ANNA.id: ActivityState.WRITTEN, BERT.id: VERDICTS[name][4]}
    assert await queued.states("m") == first
    org.verdicts.clear()
    ends, _ = await work(pipeline_for(), queued, await queued.again("m"))
    assert ends == {"m": (Event.LOGGED, "")}
    assert set((await queued.states("m")).values()) == {ActivityState.WRITTEN}
    assert sorted(org.created) == [ANNA.id, BERT.id, BERT.id]


@pytest.mark.parametrize("name", ["locked", "unknown", "not sent"])
async def test_no_mail_is_dead_while_a_record_is_open(name, pipeline_for, queued, org):
    """One refused, one that may still be written: the mail is tried again."""
    org.verdicts = {ANNA.id: VERDICTS["refused"][:2], BERT.id: VERDICTS[name][:2]}
    ends, _ = await work(pipeline_for(), queued, await queued.take("m", ANNA, BERT))
    assert ends == {"m": VERDICTS[name][2:4]}
    states = {ANNA.id: ActivityState.REFUSED, BERT.id: VERDICTS[name][4]}
    assert await queued.states("m") == states


# ------------------------------------------------------------ whole calls


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SalesforceDown("no answer", code="503"), "503"),
        (CredentialsRefused("no", code="invalid_grant"), "invalid_grant"),
    ],
)
@pytest.mark.parametrize("at", ["lookup", "create"])
async def test_an_org_that_rests_costs_no_mail_an_attempt(
    error, reason, at, pipeline_for, queued, org
):
    """All is given back, nothing stays half done, and the caller learns of it."""
    org.fails[at] = error
    batch = [await queued.take("a", ANNA), await queued.take("b", BERT)]
    ends, raised = await work(pipeline_for(), queued, *batch)
    assert raised is error
    assert ends == dict.fromkeys("ab", (Event.GIVE_BACK, reason))
    assert {row.state for row in await queued.rows()} <= {ActivityState.PLANNED}


async def test_one_mail_may_have_spoilt_the_call(pipeline_for, queued, org):
    """An answer that says nothing: smaller batches first, then this mail waits."""
    org.fails["create"] = SalesforceUnavailable("HTTP 500", code="500")
    batch = [await queued.take("a", ANNA), await queued.take("b", BERT)]
    ends, raised = await work(pipeline_for(), queued, *batch, isolate=True)
    assert isinstance(raised, SpoiltBatchError)
    assert ends == {"a": None, "b": None}
    ends, raised = await work(pipeline_for(), queued, batch[0], isolate=True)
    assert (ends, raised) == ({"a": (Event.TRANSIENT, "500")}, None)


@pytest.mark.parametrize(
    "store", [{"busy_timeout_s": 0.3}], indirect=True, ids=["short"]
)
async def test_without_its_ledger_nothing_is_sent(pipeline_for, queued, org):
    """A store that takes no row: no request leaves, and no message is settled."""
    pipeline, batch = pipeline_for(), [await queued.take("m", ANNA)]
    items = pipeline.messages(batch)
    locks = []

    async def lock(call, keys):
        if call == "lookup":
            locks.append(queued.locked())

    org.before = lock
    with pytest.raises(StoreUnavailable):
        await pipeline.run(Batch(OWNER), items)
    (connection,) = locks
    connection.close()
    assert items[0].settlement is None
    assert org.created == []
    assert await queued.rows() == []


async def test_what_never_left_is_not_sent(pipeline_for, queued, org, monkeypatch):
    """The mark *sent* was committed too late: the settlement takes it back."""
    pipeline, batch = pipeline_for(), [await queued.take("m", ANNA)]
    run = Batch(OWNER)
    queued.answer_late(monkeypatch)
    with pytest.raises(StoreUnavailable):
        await pipeline.run(run, pipeline.messages(batch))
    assert await queued.states("m") == {ANNA.id: ActivityState.SENT}
    await run.advance(queued.store)
    assert await queued.states("m") == {ANNA.id: ActivityState.PLANNED}
    assert org.created == []
    ends, _ = await work(pipeline, queued, *batch)
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [ANNA.id]


async def test_what_was_sent_before_stays_sent(pipeline_for, queued, org, monkeypatch):
    """A row of unknown outcome that was to be sent again is not made innocent."""
    pipeline, run = pipeline_for(), Batch(OWNER)
    org.verdicts[ANNA.id] = (WriteState.UNKNOWN, "timeout")
    await work(pipeline, queued, await queued.take("m", ANNA), settle=False)
    (row,) = await queued.rows()
    state = MailState(row.mail_id, "mail", (row,), leased=True)
    mail = BatchMail(state, [], {row.key: row})
    queued.answer_late(monkeypatch)
    writer = pipeline._writer
    records = Records(writer._parts, writer._mode, run, [mail])
    with pytest.raises(StoreUnavailable):
        await Outbox(queued.clock).send(records, [row])
    assert run.unsent == []


# ------------------------------------------------------------ messages and mails


async def test_copies_are_one_mail(pipeline_for, queued, org):
    """Two messages of one mail: one record, and both have its end."""
    batch = [
        await queued.take("a", ANNA, mail="same"),
        await queued.take("b", ANNA, mail="same", user_id=2),
    ]
    ends, _ = await work(pipeline_for(), queued, *batch)
    assert ends == dict.fromkeys("ab", (Event.LOGGED, ""))
    assert org.created == [ANNA.id]


async def test_a_users_rules_are_for_that_users_copy(pipeline_for, queued, org):
    """What one rep keeps out is logged all the same for the other."""
    people = directory((ANNA.email_key, SkipKind.MAIL))
    people = replace(
        people, exclusions=tuple(replace(e, user_id=2) for e in people.exclusions)
    )
    batch = [
        await queued.take("a", ANNA, mail="same"),
        await queued.take("b", ANNA, mail="same", user_id=2),
    ]
    ends, _ = await work(pipeline_for(people=people), queued, *batch)
    assert ends == {"a": (Event.LOGGED, ""), "b": (Event.RULED_OUT, "excluded")}
    assert org.created == [ANNA.id]


async def test_what_is_wrong_with_a_message_is_its_own(pipeline_for, queued, org):
    """Each ends for its reason, in one batch, and the mail among them is logged."""
    await queued.take_by_rival("rival", ANNA, mail="busy", user_id=2)
    batch = {
        "fine": await queued.take("fine", ANNA),
        "postmaster": await queued.take("postmaster", ANNA, user_id=None),
        "new": await queued.take("new", ANNA, user_id=3),
        "gone": await queued.take("gone", ANNA, size=LARGE),
        "broken": await queued.take("broken", raw=b""),
        "unreadable": await queued.take("unreadable", ANNA, size=LARGE),
        "lost": await queued.take("lost", ANNA),
        "busy": await queued.take("busy", ANNA),
        "nobody": await queued.take("nobody", contact(9, "who@else.example")),
    }
    queued.spool_file(batch["gone"]).unlink()
    queued.spool_file(batch["unreadable"]).unlink()
    queued.spool_file(batch["unreadable"]).mkdir()
    await queued.take_away("lost")
    ends, raised = await work(pipeline_for(), queued, *batch.values())
    assert raised is None
    assert ends == {
        "fine": (Event.LOGGED, ""),
        "postmaster": (Event.RULED_OUT, "postmaster"),
        "new": (Event.GIVE_BACK, "new_user"),
        "gone": (Event.PERMANENT, "unparsable"),
        "broken": (Event.PERMANENT, "unparsable"),
        "unreadable": (Event.TRANSIENT, "raw_unreadable"),
        "lost": (Event.GIVE_BACK, "lease_lost"),
        "busy": (Event.GIVE_BACK, "mail_busy"),
        "nobody": (Event.NO_MATCH, "no_record"),
    }
    assert org.created == [ANNA.id]


async def test_a_rep_without_a_user_waits(pipeline_for, queued, org):
    """A mail of whom Salesforce does not know waits; people are looked up once only."""
    mine = await queued.take("m", ANNA, user_id=2)
    for asked in ([ANNA.email_key], []):
        ends, _ = await work(pipeline_for(), queued, mine)
        assert ends == {"m": (Event.GIVE_BACK, "no_salesforce_user")}
        assert org.looked_up.pop()[0] == asked
        mine = await queued.again("m")
    assert org.created == []


async def test_a_mail_that_waits_for_a_user_says_so(pipeline_for, queued):
    """The trace names the user each time, not only the first."""
    pipeline = pipeline_for()
    claimed = await queued.take("m", ANNA, user_id=2)
    for _ in range(2):
        messages = pipeline.messages([claimed])
        run = Batch(OWNER)
        await pipeline.run(run, messages)
        settlement = messages[0].settlement
        steps = [(s.step, s.result) for s in settlement.trace]
        assert steps[-1] == ("user", "waiting")
        await run.advance(queued.store, settlements=[settlement])
        claimed = await queued.again("m")


async def test_a_user_that_is_found_is_kept_once_for_a_batch(pipeline_for, queued, org):
    """A flood of mails of a new user costs one commit for the user, not one a mail."""
    people = queued.store.directory
    before = await people.load()
    assert before.users[2].salesforce_id is None
    org.users = (SalesforceUser(BEN, "Ben", "ben@corp.example", True, None),)
    batch = [await queued.take(name, ANNA, user_id=2) for name in ("a", "b", "c")]
    ends, _ = await work(pipeline_for(), queued, *batch)
    assert set(ends.values()) == {(Event.LOGGED, "")}
    after = await people.load()
    assert after.users[2].salesforce_id == BEN
    assert after.revision == before.revision + 1


# ------------------------------------------------------------ plans


GONE = (WriteState.REFUSED, "ENTITY_IS_DELETED")
WRITTEN = (WriteState.WRITTEN, "")


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ([GONE, WRITTEN], (Event.LOGGED, "")),
        ([GONE, GONE], (Event.PERMANENT, "ENTITY_IS_DELETED")),
    ],
)
async def test_what_a_new_draft_may_mend_is_drafted_once_more(
    said, end, pipeline_for, queued, org
):
    """People are asked for again, past the cache; a second refusal is the end."""
    org.verdicts[ANNA.id] = list(said)
    ends, _ = await work(pipeline_for(), queued, await queued.take("m", ANNA))
    assert ends == {"m": end}
    assert len(org.created) == 2
    assert [ANNA.email_key in fresh for _, fresh in org.looked_up] == [False, True]


async def test_who_is_known_later_gets_a_record(pipeline_for, queued, org):
    """A logged mail tried again gets what it lacks; what is there is left alone."""
    org.people = [ANNA]
    await work(pipeline_for(), queued, await queued.take("m", ANNA, BERT))
    org.people = [ANNA, BERT]
    ends, _ = await work(pipeline_for(), queued, await queued.again("m"))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [ANNA.id, BERT.id]


async def test_a_record_that_is_gone_makes_room(pipeline_for, queued, org):
    """Where another record has the address now, the new draft names that one alone."""
    new = replace(BERT, email_key=ANNA.email_key)
    org.verdicts[ANNA.id] = GONE
    org.merges = {ANNA.id: new}
    ends, _ = await work(pipeline_for(), queued, await queued.take("m", ANNA))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [ANNA.id, new.id]
    assert (await queued.states("m"))[new.id] is ActivityState.WRITTEN


async def test_what_could_not_be_looked_at_is_not_done(pipeline_for, queued, org):
    """A logged mail is not done again before it is known what it lacks."""
    await work(pipeline_for(), queued, await queued.take("m", ANNA))
    org.fails["lookup"] = SalesforceUnavailable("HTTP 500", code="500")
    ends, _ = await work(pipeline_for(), queued, await queued.again("m"))
    assert ends == {"m": (Event.TRANSIENT, "500")}


async def test_shadow_mode_plans_alone(pipeline_for, queued, org):
    """The plan is kept and shown; nothing is written."""
    pipeline = pipeline_for("nothing")
    ends, _ = await work(pipeline, queued, await queued.take("m", ANNA))
    assert ends == {"m": (Event.RULED_OUT, "shadow_mode")}
    assert await queued.states("m") == {ANNA.id: ActivityState.PLANNED}
    (row,) = await queued.rows()
    assert row.fields["OwnerId"] == ADA
    assert org.created == []


# ------------------------------------------------------------ an open Task

NO_RECORD = (Event.NO_MATCH, "no_record")


async def test_a_mail_without_a_record_makes_one_open_task(pipeline_for, queued, org):
    """Neither a retry nor a copy makes another; later the mail is logged whole."""
    org.people = []
    pipeline = pipeline_for(unmatched_task=True)
    ends, _ = await work(pipeline, queued, await queued.take("m", ANNA, mail="m"))
    assert ends == {"m": NO_RECORD}
    (row,) = await queued.rows("m")
    assert (row.slot, row.state) == ("open-task", ActivityState.WRITTEN)
    assert row.fields["Status"] == "To do"
    assert row.fields["OwnerId"] == ADA
    assert "WhoId" not in row.fields
    ends, _ = await work(pipeline, queued, await queued.again("m"))
    assert ends == {"m": NO_RECORD}
    ends, _ = await work(pipeline, queued, await queued.take("n", ANNA, mail="m"))
    assert ends == {"n": NO_RECORD}
    assert org.created == [OPEN]
    org.people = [ANNA]
    ends, _ = await work(pipeline, queued, await queued.again("m"))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [OPEN, ANNA.id]
    assert await queued.states("m") == {
        OPEN: ActivityState.WRITTEN,
        ANNA.id: ActivityState.WRITTEN,
    }
    ends, _ = await work(pipeline, queued, await queued.again("n"))
    assert ends == {"n": (Event.LOGGED, "")}
    assert org.created == [OPEN, ANNA.id]


@pytest.mark.parametrize("name", VERDICTS)
async def test_what_is_said_of_an_open_task(name, pipeline_for, queued, org):
    """One that is refused changes nothing; one that is not settled is waited for."""
    said, code, event, reason, state = VERDICTS[name]
    end = NO_RECORD if name in {"written", "refused"} else (event, reason)
    org.people = []
    org.verdicts[OPEN] = (said, code)
    pipeline = pipeline_for(unmatched_task=True)
    ends, _ = await work(pipeline, queued, await queued.take("m", ANNA))
    assert ends == {"m": end}
    assert await queued.states("m") == {OPEN: state}


@pytest.mark.parametrize("before", ["refused", "locked"])
async def test_an_open_task_that_is_not_there_is_not_made_for_a_logged_mail(
    before, pipeline_for, queued, org
):
    """The record has come before it could be written: the mail alone is logged."""
    org.people = []
    org.verdicts[OPEN] = VERDICTS[before][:2]
    pipeline = pipeline_for(unmatched_task=True)
    await work(pipeline, queued, await queued.take("m", ANNA))
    org.people = [ANNA]
    ends, _ = await work(pipeline, queued, await queued.again("m"))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [OPEN, ANNA.id]
    assert await queued.states("m") == {ANNA.id: ActivityState.WRITTEN}


async def test_an_open_task_alone_never_makes_a_mail_logged(pipeline_for, queued, org):
    """Where its records cannot be written, it waits, although one row is settled."""
    org.people = []
    pipeline = pipeline_for(unmatched_task=True)
    await work(pipeline, queued, await queued.take("m", ANNA))
    org.people = [ANNA]
    org.fails["create"] = SalesforceDown("HTTP 503", code="503")
    ends, raised = await work(pipeline, queued, await queued.again("m"))
    assert isinstance(raised, SalesforceDown)
    assert ends["m"][0] is not Event.LOGGED
    del org.fails["create"]
    ends, _ = await work(pipeline, queued, await queued.again("m"))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [OPEN, ANNA.id]


@pytest.mark.parametrize("failing", [ANNA.id, OPEN])
async def test_what_is_decided_and_not_planned_is_not_done(
    failing, pipeline_for, queued, org, monkeypatch
):
    """Neither a whole mail nor what a logged one lacks, where nothing was written."""
    org.people = [] if failing is OPEN else [ANNA]
    pipeline = pipeline_for(unmatched_task=True)
    await work(pipeline, queued, await queued.take("m", ANNA, BERT))
    org.people = [BERT] if failing is OPEN else [ANNA, BERT]

    async def down(*args, **more):
        raise SalesforceDown("HTTP 503", code="503")

    with monkeypatch.context() as patched:
        patched.setattr(pipeline._writer, "write", down)
        ends, _ = await work(pipeline, queued, await queued.again("m"))
    assert ends["m"][0] is not Event.LOGGED
    ends, _ = await work(pipeline, queued, await queued.again("m"))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [failing, BERT.id]


async def test_shadow_mode_shows_an_open_task(pipeline_for, queued, org):
    """It is planned; the mail is unmatched all the same."""
    org.people = []
    pipeline = pipeline_for("nothing", unmatched_task=True)
    ends, _ = await work(pipeline, queued, await queued.take("m", ANNA))
    assert ends == {"m": NO_RECORD}
    assert await queued.states("m") == {OPEN: ActivityState.PLANNED}
    assert org.created == []
