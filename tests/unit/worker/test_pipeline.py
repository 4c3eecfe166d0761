"""What a batch ends in: each verdict of Salesforce, for each mail on its own."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from relay.config import Settings
from relay.core.directory import SkipKind
from relay.core.errors import (
    CredentialsRefused,
    RawUnreadable,
    SalesforceDown,
    SalesforceUnavailable,
    StoreUnavailable,
)
from relay.core.model import MailState
from relay.core.org import SalesforceUser
from relay.core.queue import Claimed, LeaseOwner
from relay.core.states import ActivityState, Event
from relay.outbox.backoff import Backoff
from relay.outbox.batch import Batch, BatchMail, SpoiltBatchError
from relay.outbox.engine import Outbox, Parts
from relay.outbox.mode import WriteMode
from relay.outbox.records import Records
from relay.salesforce.model import WriteState
from relay.worker.pipeline import Pipeline
from tests.fakes.batch import CONTACTS, Clock, Files, Org, Store
from tests.fakes.values import ADA, NOON, contact, directory

OWNER = LeaseOwner("host", "boot", 1, "1")
ANNA, BERT, CARL, DORA = CONTACTS
BEN = "005000000000002AAA"
PEOPLE = directory()
RULE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def org(store):
    return Org(store)


@pytest.fixture
def pipeline_for(store, org, monkeypatch):
    """Return a function that makes a pipeline of the real parts, but store and org."""
    with ThreadPoolExecutor(1) as executor:

        def make(write_as="task", people=PEOPLE):
            settings = Settings(
                smtp={"domains": ("in.example",)}, salesforce={"write_as": write_as}
            )
            mode = WriteMode(settings.salesforce, store, Clock())
            backoff = Backoff(settings.worker, random.Random(1))
            parts = Parts(settings, store, org, Clock(), OWNER, backoff)
            return Pipeline(
                parts,
                mode,
                None,
                directory=lambda: people,
                files=Files(),
                executor=executor,
            )

        yield make


@pytest.fixture
def take(store, monkeypatch):
    """Return a function that makes a claimed message of Ada's to these people."""
    import relay.mail

    parse = relay.mail.parse
    monkeypatch.setattr(
        relay.mail,
        "parse",
        lambda raw: replace(m := parse(raw), key1=f"key1 of {m.subject}", dated=True),
    )

    def make(name, *to, mail=None, user_id=1, **changes):
        lines = ("From: ada@corp.example", f"Subject: {mail or name}")
        raw = "\r\n".join([*lines, f"To: {', '.join(p.email_key for p in to)}", "", ""])
        store.raws_by_id[name] = raw.encode()
        claimed = Claimed(
            id=name,
            attempt=1,
            user_id=user_id,
            rcpt="log-a@in.example",
            received_at=NOON,
            waiting_since=NOON,
            mail_from="ada@corp.example",
            mail_id=None,
            blob_id=name,
            size_bytes=10,
            failures=0,
        )
        return replace(claimed, **changes)

    return make


async def work(pipeline, store, *batch, **options):
    """Work on a batch; return (event, reason) by message, and what was raised."""
    run = Batch(OWNER)
    items = pipeline.messages(batch)
    raised = None
    try:
        await pipeline.run(run, items, **options)
    except (SalesforceDown, CredentialsRefused, SpoiltBatchError) as error:
        raised = error
    await run.advance(store)
    ends = {item.claimed.id: item.settlement for item in items}
    return {i: (e.event, e.reason) if e else None for i, e in ends.items()}, raised


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
async def test_each_verdict_has_its_end(name, pipeline_for, store, org, take):
    """What one record was answered is the end of its mail, and stands in the ledger."""
    said, code, event, reason, state = VERDICTS[name]
    org.verdicts[ANNA.id] = (said, code)
    ends, raised = await work(pipeline_for(), store, take("m", ANNA))
    assert ends == {"m": (event, reason)}
    assert raised is None
    assert store.state("m") == {ANNA.id: state}


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
async def test_neighbours_and_their_order_change_nothing(
    order, pipeline_for, store, org, take
):
    """In one call, each mail has the end that it has alone, wherever it stands."""
    names = ("written", "refused", "locked", "unknown")
    people = (ANNA, BERT, CARL, DORA)
    batch = []
    for name, person in zip(names, people, strict=True):
        org.verdicts[person.id] = VERDICTS[name][:2]
        batch.append(take(name, person))
    ends, raised = await work(pipeline_for(), store, *(batch[i] for i in order))
    assert raised is None
    assert ends == {name: VERDICTS[name][2:4] for name in names}
    for name, person in zip(names, people, strict=True):
        assert store.state(name) == {person.id: VERDICTS[name][4]}
    assert len(org.looked_up) == 1


@pytest.mark.parametrize(
    ("name", "event"), [("locked", Event.TRANSIENT), ("refused", Event.PERMANENT)]
)
async def test_of_a_mail_in_part_written_the_rest_alone_is_written(
    name, event, pipeline_for, store, org, take
):
    """What is there stays and is not sent again; the rest is, when it is tried."""
    org.verdicts[BERT.id] = VERDICTS[name][:2]
    ends, _ = await work(pipeline_for(), store, take("m", ANNA, BERT))
    assert ends["m"][0] is event
    first = {ANNA.id: ActivityState.WRITTEN, BERT.id: VERDICTS[name][4]}
    assert store.state("m") == first
    org.verdicts.clear()
    ends, _ = await work(pipeline_for(), store, take("m", ANNA, BERT, attempt=2))
    assert ends == {"m": (Event.LOGGED, "")}
    assert set(store.state("m").values()) == {ActivityState.WRITTEN}
    assert sorted(org.created) == [ANNA.id, BERT.id, BERT.id]


@pytest.mark.parametrize("name", ["locked", "unknown", "not sent"])
async def test_no_mail_is_dead_while_a_record_is_open(
    name, pipeline_for, store, org, take
):
    """One refused, one that may still be written: the mail is tried again."""
    org.verdicts = {ANNA.id: VERDICTS["refused"][:2], BERT.id: VERDICTS[name][:2]}
    ends, _ = await work(pipeline_for(), store, take("m", ANNA, BERT))
    assert ends == {"m": VERDICTS[name][2:4]}
    states = {ANNA.id: ActivityState.REFUSED, BERT.id: VERDICTS[name][4]}
    assert store.state("m") == states


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
    error, reason, at, pipeline_for, store, org, take
):
    """All is given back, nothing stays half done, and the caller learns of it."""
    org.fails[at] = error
    batch = [take("a", ANNA), take("b", BERT)]
    ends, raised = await work(pipeline_for(), store, *batch)
    assert raised is error
    assert ends == dict.fromkeys("ab", (Event.GIVE_BACK, reason))
    assert {row.state for row in store.rows.values()} <= {ActivityState.PLANNED}


async def test_one_mail_may_have_spoilt_the_call(pipeline_for, store, org, take):
    """An answer that says nothing: smaller batches first, then this mail waits."""
    org.fails["create"] = SalesforceUnavailable("HTTP 500", code="500")
    batch = [take("a", ANNA), take("b", BERT)]
    ends, raised = await work(pipeline_for(), store, *batch, isolate=True)
    assert isinstance(raised, SpoiltBatchError)
    assert ends == {"a": None, "b": None}
    ends, raised = await work(pipeline_for(), store, batch[0], isolate=True)
    assert (ends, raised) == ({"a": (Event.TRANSIENT, "500")}, None)


async def test_without_its_ledger_nothing_is_sent(pipeline_for, store, org, take):
    """A store that takes no row: no request leaves, and no message is settled."""
    pipeline, batch = pipeline_for(), [take("m", ANNA)]
    items = pipeline.messages(batch)
    store.down = True
    with pytest.raises(StoreUnavailable):
        await pipeline.run(Batch(OWNER), items)
    assert items[0].settlement is None
    assert org.created == []


async def test_what_never_left_is_not_sent(pipeline_for, store, org, take):
    """The mark *sent* was committed too late: the settlement takes it back."""
    pipeline, batch = pipeline_for(), [take("m", ANNA)]
    run = Batch(OWNER)
    store.late = True
    with pytest.raises(StoreUnavailable):
        await pipeline.run(run, pipeline.messages(batch))
    assert store.state("m") == {ANNA.id: ActivityState.SENT}
    await run.advance(store)
    assert store.state("m") == {ANNA.id: ActivityState.PLANNED}
    assert org.created == []
    ends, _ = await work(pipeline, store, *batch)
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [ANNA.id]


async def test_what_was_sent_before_stays_sent(pipeline_for, store, org, take):
    """A row of unknown outcome that was to be sent again is not made innocent."""
    pipeline, run = pipeline_for(), Batch(OWNER)
    org.verdicts[ANNA.id] = (WriteState.UNKNOWN, "timeout")
    await work(pipeline, store, take("m", ANNA))
    (row,) = store.rows.values()
    state = MailState(row.mail_id, "mail", (row,), leased=True)
    mail = BatchMail(state, [], {row.key: row})
    store.late = True
    writer = pipeline._writer
    records = Records(writer._parts, writer._mode, run, [mail])
    with pytest.raises(StoreUnavailable):
        await Outbox(Clock()).send(records, [row])
    assert run.unsent == []


# ------------------------------------------------------------ messages and mails


async def test_copies_are_one_mail(pipeline_for, store, org, take):
    """Two messages of one mail: one record, and both have its end."""
    batch = [take("a", ANNA, mail="same"), take("b", ANNA, mail="same", user_id=2)]
    ends, _ = await work(pipeline_for(), store, *batch)
    assert ends == dict.fromkeys("ab", (Event.LOGGED, ""))
    assert org.created == [ANNA.id]


async def test_a_users_rules_are_for_that_users_copy(pipeline_for, store, org, take):
    """What one rep keeps out is logged all the same for the other."""
    people = directory((ANNA.email_key, SkipKind.MAIL))
    people = replace(
        people, exclusions=tuple(replace(e, user_id=2) for e in people.exclusions)
    )
    batch = [take("a", ANNA, mail="same"), take("b", ANNA, mail="same", user_id=2)]
    ends, _ = await work(pipeline_for(people=people), store, *batch)
    assert ends == {"a": (Event.LOGGED, ""), "b": (Event.RULED_OUT, "excluded")}
    assert org.created == [ANNA.id]


async def test_what_is_wrong_with_a_message_is_its_own(pipeline_for, store, org, take):
    """Each ends for its reason, in one batch, and the mail among them is logged."""
    batch = {
        "fine": take("fine", ANNA),
        "postmaster": take("postmaster", ANNA, user_id=None),
        "new": take("new", ANNA, user_id=99),
        "gone": take("gone", ANNA),
        "broken": take("broken", ANNA),
        "unreadable": take("unreadable", ANNA),
        "lost": take("lost", ANNA),
        "busy": take("busy", ANNA),
        "nobody": take("nobody", contact(9, "who@else.example")),
    }
    del store.raws_by_id["gone"]
    store.raws_by_id["broken"] = b""
    store.raws_by_id["unreadable"] = RawUnreadable("EIO")
    store.lost.add("lost")
    store.busy.add("busy")
    ends, raised = await work(pipeline_for(), store, *batch.values())
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


async def test_a_rep_without_a_user_waits(pipeline_for, store, org, take):
    """A mail of whom Salesforce does not know waits; people are looked up once only."""
    mine = take("m", ANNA, user_id=2)
    for asked in ([ANNA.email_key], []):
        ends, _ = await work(pipeline_for(), store, mine)
        assert ends == {"m": (Event.GIVE_BACK, "no_salesforce_user")}
        assert org.looked_up.pop()[0] == asked
        mine = replace(mine, attempt=2)
    assert org.created == []


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_mail_that_waits_for_a_user_says_so(pipeline_for, store, take, attempt):
    """The trace names the user each time, not only the first."""
    pipeline = pipeline_for()
    messages = pipeline.messages([take("m", ANNA, user_id=2, attempt=attempt)])
    await pipeline.run(Batch(OWNER), messages)
    steps = [(s.step, s.result) for s in messages[0].settlement.trace]
    assert steps[-1] == ("user", "waiting")


async def test_a_user_that_is_found_is_kept_once_for_a_batch(
    pipeline_for, store, org, take, monkeypatch
):
    """A flood of mails of a new user costs one commit for the user, not one a mail."""
    kept = []

    async def set_salesforce_id(user_id, sfid, actor):
        kept.append((user_id, sfid))

    monkeypatch.setattr(store, "set_salesforce_id", set_salesforce_id, raising=False)
    ben = SalesforceUser(BEN, "Ben", "ben@corp.example", True, None)
    find = org.find

    async def find_ben(keys, **more):
        return replace(await find(keys, **more), users=(ben,))

    monkeypatch.setattr(org, "find", find_ben)
    batch = [take(name, ANNA, user_id=2) for name in ("a", "b", "c")]
    ends, _ = await work(pipeline_for(), store, *batch)
    assert set(ends.values()) == {(Event.LOGGED, "")}
    assert kept == [(2, BEN)]


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
    said, end, pipeline_for, store, org, take
):
    """People are asked for again, past the cache; a second refusal is the end."""
    org.verdicts[ANNA.id] = list(said)
    ends, _ = await work(pipeline_for(), store, take("m", ANNA))
    assert ends == {"m": end}
    assert len(org.created) == 2
    assert [ANNA.email_key in fresh for _, fresh in org.looked_up] == [False, True]


async def test_who_is_known_later_gets_a_record(pipeline_for, store, org, take):
    """A logged mail tried again gets what it lacks; what is there is left alone."""
    org.people = [ANNA]
    await work(pipeline_for(), store, take("m", ANNA, BERT))
    org.people = [ANNA, BERT]
    ends, _ = await work(pipeline_for(), store, take("m", ANNA, BERT, attempt=2))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [ANNA.id, BERT.id]


async def test_a_record_that_is_gone_makes_room(pipeline_for, store, org, take):
    """Where another record has the address now, the new draft names that one alone."""
    new = replace(BERT, email_key=ANNA.email_key)
    org.verdicts[ANNA.id] = GONE
    org.merges = {ANNA.id: new}
    ends, _ = await work(pipeline_for(), store, take("m", ANNA))
    assert ends == {"m": (Event.LOGGED, "")}
    assert org.created == [ANNA.id, new.id]
    assert store.state("m")[new.id] is ActivityState.WRITTEN


async def test_what_could_not_be_looked_at_is_not_done(pipeline_for, store, org, take):
    """A logged mail is not done again before it is known what it lacks."""
    await work(pipeline_for(), store, take("m", ANNA))
    org.fails["lookup"] = SalesforceUnavailable("HTTP 500", code="500")
    ends, _ = await work(pipeline_for(), store, take("m", ANNA, attempt=2))
    assert ends == {"m": (Event.TRANSIENT, "500")}


async def test_shadow_mode_plans_alone(pipeline_for, store, org, take):
    """The plan is kept and shown; nothing is written."""
    pipeline = pipeline_for("nothing")
    ends, _ = await work(pipeline, store, take("m", ANNA))
    assert ends == {"m": (Event.RULED_OUT, "shadow_mode")}
    assert store.state("m") == {ANNA.id: ActivityState.PLANNED}
    (row,) = store.rows.values()
    assert row.fields["OwnerId"] == ADA
    assert org.created == []
