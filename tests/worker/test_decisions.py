"""What a decision learns from Salesforce about mail that other tools have logged."""

from __future__ import annotations

import pytest

from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.model import Activity
from relay.core.states import ActivityState, Event
from relay.match import MailFacts, ask
from relay.outbox.mode import WriteMode
from relay.salesforce.org import Org
from relay.worker.decisions import Decisions
from tests.fakes.values import NOON, boxes, directory, email

CLOCK = SystemClock()
MARA = "mara@acme.example"
"""A Contact of the sandbox."""
LOGGED = {
    "Status": "3",
    "Subject": "Offer",
    "TextBody": "Hello",
    "MessageIdentifier": "<1@x>",
}


@pytest.fixture
async def decided(sandbox, store):
    """Return a function that decides mails with `salesforce.look_before_write`."""
    settings = Settings(
        salesforce={
            "instance_url": sandbox.url,
            "client_id": "relay-sandbox",
            "client_secret": "relay-sandbox-secret",
            "look_before_write": True,
            "write_as": "task",
        }
    )
    org = Org(settings.salesforce, CLOCK)
    mode = WriteMode(settings.salesforce, store, CLOCK)
    decisions = Decisions(settings, org, mode, directory)

    async def decided(*mails):
        asked = [(each, ask(each, decisions.context)) for each in mails]
        return list((await decisions.decide(asked)).decisions)

    yield decided
    await org.close()


@pytest.fixture
def logged(sandbox):
    """Return a function that adds an EmailMessage, by default of Ben's."""

    def add(by=None, **changes):
        users = {r["Username"]: r["Id"] for r in sandbox.dump("User")["User"]}
        author = users[by or "ben@corp.example"]
        row = LOGGED | {"CreatedById": author} | changes
        sandbox.insert_raw("EmailMessage", [row])
        return author

    return add


def mail(message_id="<1@x>", *, begun=False):
    """Return a mail of Ada's to Mara."""
    row = Activity("k", 1, "email", "EmailMessage", {}, "", ActivityState.WRITTEN)
    return MailFacts(
        email(message_id=message_id, to=boxes(MARA)),
        "m",
        NOON,
        (directory().users[1],),
        (row,) if begun else (),
    )


async def test_every_mail_with_the_message_id_is_skipped(decided, logged):
    """With the author's name and id in the trace; others are logged."""
    author = logged()
    *skipped, other = await decided(mail(), mail(), mail("<2@x>"))
    for decision in skipped:
        verdict = decision.verdict
        assert (verdict.event, verdict.reason) == (Event.RULED_OUT, "logged_elsewhere")
        assert f"Ben Castillo ({author})" in verdict.detail
        assert verdict.detail == decision.steps[-1].detail
        assert decision.drafts == ()
    assert other.verdict.event is Event.LOGGED
    assert other.drafts


@pytest.mark.parametrize("what", ["ours", "deleted", "no EmailMessage"])
async def test_what_does_not_count(decided, logged, sandbox, what):
    """Our own, deleted ones, and an org that has none."""
    me = sandbox.rows.get("User", sandbox.integration_user_id)
    if what == "no EmailMessage":
        sandbox.configure({"email_mode": "absent"})
    elif what == "ours":
        logged(me["Username"])
    else:
        logged(IsDeleted=True)
    (decision,) = await decided(mail())
    assert decision.verdict.event is Event.LOGGED


async def test_what_is_begun_or_has_no_name_is_not_asked_for(decided, logged):
    """A mail of which a record is written, and one without a Message-ID."""
    logged()
    for decision in await decided(mail(begun=True), mail(None)):
        assert decision.verdict.event is Event.LOGGED


async def test_a_long_message_id_is_asked_for_as_it_would_be_stored(
    decided, logged, sandbox
):
    """No literal grows beyond the field, whatever a mail's header holds."""
    logged()
    first, second = await decided(mail(f"<{'a' * 5000}@x>"), mail())
    assert first.verdict.event is Event.LOGGED
    assert second.verdict.event is Event.RULED_OUT
    queries = [q for call in sandbox.calls.as_json() for q in call["queries"]]
    (query,) = [q for q in queries if "FROM EmailMessage" in q]
    assert "'<1@x>'" in query
    assert "aaa" not in query
