"""Files of mails: planned with the outcome, taken with a lease, written down once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import IllegalTransition, NotFound
from relay.core.files import FileDraft, FileUpdate
from relay.core.model import Draft, LedgerUpdate
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event
from relay.store.messages import CHUNK_BYTES

SFID = "068000000000001AAA"
DOCUMENT = "069000000000001AAA"


@pytest.fixture
async def planned(store, put, owner):
    """Return what logs a mail and plans files for it; returns the file drafts."""

    async def plan(*names, record="one"):
        (message,) = await put()
        claimed = next(
            c for c in await store.queue.claim(owner, 10, 60) if c.id == message
        )
        state = (
            await store.mails.join(owner, [(message, message, message + "2", "")])
        )[message]
        key = f"{message}-{record}"
        row = Draft("email", key, "EmailMessage", {}, "rule")
        await store.ledger.advance(owner, plans=[(state.id, [row])])
        await store.ledger.advance(
            owner, ledger=[LedgerUpdate(key, ActivityState.SENT)]
        )
        drafts = [
            FileDraft(
                key=f"{message}-{name}",
                mail_id=state.id,
                activity_key=key,
                blob_id=claimed.blob_id,
                name=name,
                content_type="application/pdf",
                size_bytes=10,
                sha256="0" * 64,
                start=5,
                end=19,
                encoding="base64",
            )
            for name in names
        ]
        await store.ledger.advance(
            owner,
            ledger=[LedgerUpdate(key, ActivityState.WRITTEN, salesforce_id="02s1")],
            settlements=[Settlement(message, claimed.attempt, Event.LOGGED)],
            files=drafts,
        )
        return message, drafts

    return plan


async def test_files_come_with_the_outcome(store, planned, owner):
    """What is planned is due at once, with the record it is to hang on."""
    message, drafts = await planned("a.pdf", "b.pdf")
    rows = await store.attachments.claim(owner, 10, 60)
    assert [row.draft for row in rows] == drafts
    assert {(row.record_id, row.record_gone, row.mine) for row in rows} == {
        ("02s1", False, True)
    }
    shown = await store.log.show(message)
    assert [(f["name"], f["state"], f["record_id"]) for f in shown["files"]] == [
        ("a.pdf", "planned", "02s1"),
        ("b.pdf", "planned", "02s1"),
    ]
    assert (await store.attachments.counts())[ActivityState.PLANNED] == 2


async def test_a_claim_is_one_workers(store, planned, owner, rival, clock):
    """Nobody else gets the files until the lease has run out."""
    await planned("a.pdf")
    assert len(await store.attachments.claim(owner, 10, 60)) == 1
    assert await store.attachments.claim(rival, 10, 60) == []
    clock.move(61)
    (row,) = await store.attachments.claim(rival, 10, 60)
    sent = FileUpdate(row.key, ActivityState.SENT, sent_at=clock.now(), keep=True)
    assert await store.attachments.update(owner, [sent]) == set()
    assert await store.attachments.update(rival, [sent], 600) == {row.key}
    clock.move(500)
    assert await store.attachments.claim(owner, 10, 60) == []


async def test_a_dead_process_leaves_its_files(store, planned, owner, rival):
    """What a dead predecessor held is free at once."""
    await planned("a.pdf")
    await store.attachments.claim(owner, 10, 60)
    await store.attachments.release_dead(rival, lambda name: name != str(owner))
    assert len(await store.attachments.claim(rival, 10, 60)) == 1


async def test_a_file_that_rests_is_not_due(store, planned, owner, clock):
    """A wait is kept; what is linked is never due again."""
    _, (draft,) = await planned("a.pdf")
    await store.attachments.claim(owner, 10, 60)
    later = clock.now() + timedelta(seconds=30)
    update = FileUpdate(draft.key, ActivityState.HELD, due_at=later, error="full")
    await store.attachments.update(owner, [update])
    assert await store.attachments.claim(owner, 10, 60) == []
    clock.move(31)
    (row,) = await store.attachments.claim(owner, 10, 60)
    assert (row.state, row.error) == (ActivityState.HELD, "full")
    done = FileUpdate(
        draft.key, ActivityState.LINKED, version_id=SFID, document_id=DOCUMENT
    )
    await store.attachments.update(owner, [done])
    clock.move(10_000)
    assert await store.attachments.claim(owner, 10, 60) == []


async def test_an_answer_is_taken_from_anybody(store, planned, owner, rival, clock):
    """A late answer counts, unless the row has gone on without it."""
    _, (draft,) = await planned("a.pdf")
    await store.attachments.claim(owner, 10, 60)
    sent = FileUpdate(draft.key, ActivityState.SENT, sent_at=clock.now(), keep=True)
    await store.attachments.update(owner, [sent])
    clock.move(61)
    await store.attachments.claim(rival, 10, 60)
    written = FileUpdate(draft.key, ActivityState.WRITTEN, version_id=SFID, keep=True)
    assert await store.attachments.update(owner, [written]) == {draft.key}
    linked = FileUpdate(draft.key, ActivityState.LINKED, document_id=DOCUMENT)
    assert await store.attachments.update(rival, [linked]) == {draft.key}
    assert await store.attachments.update(owner, [written]) == set()


async def test_wrong_changes_change_nothing(store, planned, owner):
    """A change that the table does not have, and a file that is none, are refused."""
    _, (draft,) = await planned("a.pdf")
    await store.attachments.claim(owner, 10, 60)
    with pytest.raises(IllegalTransition):
        await store.attachments.update(
            owner, [FileUpdate(draft.key, ActivityState.WRITTEN)]
        )
    with pytest.raises(NotFound):
        await store.attachments.update(owner, [FileUpdate("none", ActivityState.HELD)])
    assert (await store.attachments.counts())[ActivityState.PLANNED] == 1


async def test_planned_again_only_what_was_refused(store, planned, owner):
    """A copy, or a retry, tries refused files again and leaves all others alone."""
    _, drafts = await planned("a.pdf", "b.pdf", "c.pdf")
    await store.attachments.claim(owner, 10, 60)
    states = (ActivityState.REFUSED, ActivityState.GONE, ActivityState.LINKED)
    await store.attachments.update(
        owner,
        [
            FileUpdate(draft.key, state, error="why", failures=3)
            for draft, state in zip(drafts, states, strict=True)
        ],
    )
    await store.ledger.advance(owner, files=drafts)
    rows = await store.attachments.claim(owner, 10, 60)
    assert [(r.state, r.mine, r.error, r.failures) for r in rows] == [
        (ActivityState.PLANNED, True, "", 0),
        (ActivityState.GONE, False, "why", 3),
        (ActivityState.LINKED, False, "why", 3),
    ]


@pytest.mark.parametrize("size", [100, 8192, 2 * CHUNK_BYTES + 7])
async def test_raw_mail_is_read_in_pieces(store, make, user, size):
    """Whatever it is kept in, any part of it can be read."""
    data = bytes(n % 251 for n in range(size))
    envelope, raw = make(user.id, data=data)
    await store.messages.put(envelope, raw)
    reader = await store.messages.open(envelope.recipients[0].message_id)
    try:
        assert b"".join(reader.pieces(0, size)) == data
        assert b"".join(reader.pieces(7, size - 9)) == data[7 : size - 9]
        assert b"".join(reader.pieces(size - 3, size + 9)) == data[-3:]
    finally:
        reader.close()


async def test_raw_mail_that_is_gone_is_named(store, make, user, settings):
    """No blob, or a blob whose file was removed: NotFound, and nothing else."""
    with pytest.raises(NotFound):
        await store.messages.open("none")
    envelope, raw = make(user.id, data=bytes(9000))
    await store.messages.put(envelope, raw)
    if settings.url.startswith("sqlite"):
        for path in settings.spool.glob("*.eml"):
            path.unlink()
        with pytest.raises(NotFound):
            await store.messages.open(envelope.recipients[0].message_id)


async def test_several_records_share_a_content(store, planned, owner):
    """All rows of a mail come together, also those that are done."""
    _, (draft,) = await planned("a.pdf")
    twin = replace(draft, key=draft.key + "2")
    await store.attachments.claim(owner, 10, 60)
    done = FileUpdate(
        draft.key, ActivityState.LINKED, version_id=SFID, document_id=DOCUMENT
    )
    await store.attachments.update(owner, [done])
    await store.ledger.advance(owner, files=[twin])
    rows = await store.attachments.claim(owner, 10, 60)
    assert [(r.key, r.mine, r.document_id) for r in rows] == [
        (draft.key, False, DOCUMENT),
        (twin.key, True, None),
    ]


# ------------------------------------------------------------------ the audit


@pytest.fixture
def linked(store, planned, owner):
    """Return what logs a mail with a file that hangs on its record."""

    async def link():
        message, (draft,) = await planned("a.pdf")
        await store.attachments.claim(owner, 10, 60)
        await store.attachments.update(
            owner,
            [
                FileUpdate(
                    draft.key,
                    ActivityState.LINKED,
                    version_id=SFID,
                    document_id=DOCUMENT,
                )
            ],
        )
        return message, draft

    return link


async def state_of(store, message):
    (file,) = (await store.log.show(message))["files"]
    return file["state"], file["id"]


async def test_the_audit_walks_files(store, linked, clock):
    """Each with its messages; a walk may begin where it is told."""
    ids = [(await linked())[0] for _ in range(3)]
    first = await store.attachments.page(None, 0, 2)
    rest = await store.attachments.page(None, first[-1].number, 2)
    assert [row.messages for row in first + rest] == [(i,) for i in ids]
    clock.move(60)
    assert await store.attachments.page(clock.now(), 0, 10) == []
    key = first[0].file.key
    assert await store.attachments.known({key, "x"}) == {key}


async def test_a_missing_file_is_sent_again(store, linked, owner):
    """It is due at once, and nothing of the one that is gone is left."""
    message, draft = await linked()
    assert await store.attachments.rewrite({draft.key, "x"}, "cli:ada") == {draft.key}
    assert await state_of(store, message) == ("planned", None)
    assert [r.key for r in await store.attachments.claim(owner, 10, 60)] == [draft.key]
    assert await store.attachments.rewrite({draft.key}, "cli:ada") == set()
    assert "files_rewrite" in {
        entry["action"] for entry in await store.directory.audit()
    }


async def test_a_file_that_somebody_deleted_is_gone(store, linked):
    """Their wish is noted once, and it is never sent again."""
    message, draft = await linked()
    await store.attachments.mark_gone({draft.key})
    assert (await state_of(store, message))[0] == "gone"
    assert await store.attachments.rewrite({draft.key}, "x") == set()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_record_that_is_written_again_takes_its_files(
    store, linked, owner, kept
):
    """They are hung on it anew; where the new plan lacks it, they are forgotten."""
    message, draft = await linked()
    await store.ledger.rewrite({draft.activity_key}, "x")
    assert await state_of(store, message) == ("written", SFID)
    (claimed,) = await store.queue.claim(owner, 10, 60)
    mail = (await store.mails.join(owner, [(message, message, message + "2", "")]))[
        message
    ]
    key = draft.activity_key if kept else "another"
    plan = [Draft("email", key, "EmailMessage", {"Subject": "new"}, "rule")]
    await store.ledger.advance(owner, plans=[(mail.id, plan)])
    mail = (await store.mails.join(owner, [(message, message, message + "2", "")]))[
        message
    ]
    (row,) = mail.activities
    assert (row.key, row.fields, row.state) == (
        key,
        {"Subject": "new"},
        ActivityState.PLANNED,
    )
    assert len((await store.log.show(claimed.id))["files"]) == int(kept)
