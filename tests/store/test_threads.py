"""What earlier mails of a thread were logged on, as the ledger knows it."""

from __future__ import annotations

from relay.core.content import Content, recipient_digest
from relay.core.model import Draft, LedgerUpdate
from relay.core.states import ActivityState

LEASE_S = 120
DEAL = "006000000000001AAA"
CASE = "500000000000001AAA"
WHO = "003000000000001AAA"


async def _mail(store, make, user, owner, message_id, *rows):
    """Store a mail whose records have these fields, and write those marked so."""
    envelope, raw = make(user.id, rfc_message_id=message_id)
    await store.messages.put(envelope, raw)
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    keys = (f"{claimed.id}1", f"{claimed.id}2")
    joined = await store.mails.join(owner, [(claimed.id, *keys, message_id)])
    mail = joined[claimed.id].id
    drafts = [
        Draft(f"s{n}", f"{claimed.id}{n}", "Task", fields, "rule")
        for n, (fields, _) in enumerate(rows)
    ]
    await store.ledger.advance(owner, plans=[(mail, drafts)])
    for made, (_, state) in zip(drafts, rows, strict=True):
        for step in state:
            update = LedgerUpdate(made.key, step, salesforce_id="00T000000000001AAA")
            await store.ledger.advance(owner, ledger=[update])
    return keys


WRITTEN = (ActivityState.SENT, ActivityState.WRITTEN)


async def test_related_records_are_found_by_message_id(store, make, user, owner):
    """Of each mail those that were written, whichever field names them; no people."""
    await _mail(
        store,
        make,
        user,
        owner,
        "<1@x>",
        ({"RelatedToId": DEAL, "ToIds": [WHO], "Subject": "ü"}, WRITTEN),
        ({"WhoId": WHO, "WhatId": CASE}, WRITTEN),
    )
    await _mail(
        store, make, user, owner, "<2@x>", ({"WhatId": CASE}, (ActivityState.SENT,))
    )
    await _mail(store, make, user, owner, "<3@x>", ({"WhoId": WHO}, WRITTEN))
    found = await store.mails.threads({"<1@x>", "<2@x>", "<3@x>", "<none@x>"})
    assert {key: one.records for key, one in found.items()} == {"<1@x>": (DEAL, CASE)}
    assert await store.mails.threads(()) == {}


async def test_text_of_a_mail_is_no_field(store, make, user, owner):
    """What looks like the field inside a value does not count."""
    text = f'{{"WhatId":"{DEAL}"}} "RelatedToId":"{DEAL}" \\"WhatId\\":\\"{DEAL}\\"'
    fields = {"Description": text, "WhoId": WHO}
    await _mail(store, make, user, owner, "<1@x>", (fields, WRITTEN))
    assert await store.mails.threads({"<1@x>"}) == {}


async def test_copies_of_one_mail_are_one(store, make, user, owner):
    """A mail that came again under another Message-ID is found by both."""
    keys = await _mail(store, make, user, owner, "<1@x>", ({"WhatId": DEAL}, WRITTEN))
    envelope, raw = make(user.id, rfc_message_id="<again@x>")
    await store.messages.put(envelope, raw)
    (copy,) = await store.queue.claim(owner, 1, LEASE_S)
    await store.mails.join(owner, [(copy.id, *keys, "<again@x>")])
    found = await store.mails.threads({"<1@x>", "<again@x>"})
    assert found["<1@x>"].records == found["<again@x>"].records == (DEAL,)


async def test_who_took_part_is_known_by_records_and_recipients(
    store, make, user, owner
):
    """Whoever has a record, in any row of the mail, and whoever it was sent to."""
    envelope, raw = make(user.id, rfc_message_id="<1@x>")
    await store.messages.put(envelope, raw)
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    told = Content("a" * 64, "b" * 64, recipients=(recipient_digest("lee@x.example"),))
    joined = await store.mails.join(
        owner, [(claimed.id, "1", "2", "<1@x>")], contents={claimed.id: told}
    )
    drafts = [
        Draft("a", "a", "Task", {"WhoId": WHO}, "rule", people=("kim@x.example",)),
        Draft("b", "b", "Task", {"WhatId": DEAL}, "rule"),
    ]
    await store.ledger.advance(owner, plans=[(joined[claimed.id].id, drafts)])
    for made in drafts:
        for step in WRITTEN:
            update = LedgerUpdate(made.key, step, salesforce_id="00T000000000001AAA")
            await store.ledger.advance(owner, ledger=[update])
    one = (await store.mails.threads({"<1@x>"}))["<1@x>"]
    assert one.records == (DEAL,)
    assert one.has("kim@x.example")
    assert one.has("lee@x.example")
    assert not one.has("mallory@x.example")
