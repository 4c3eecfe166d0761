"""What earlier mails of a thread were logged on, as the ledger knows it."""

from __future__ import annotations

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
    assert found == {"<1@x>": (DEAL, CASE)}
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
    assert found == {"<1@x>": (DEAL,), "<again@x>": (DEAL,)}
