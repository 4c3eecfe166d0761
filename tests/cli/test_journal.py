"""Listing messages and laying a hand on the queue, on a real store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from relay.core.clock import SystemClock
from relay.core.ids import new_message_id
from relay.core.model import Draft, Refusal
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event

NAMES = {
    *("id", "kind", "state", "received_at", "user", "peer", "mail_from", "rcpt"),
    *("from", "to", "subject", "message_id", "reply", "reason", "attempts", "records"),
}


def test_log_lists_every_row_oldest_first(relay: Any, ada: Any) -> None:
    """Messages and refusals stand in the order of receipt, with stable names."""
    first, second = relay.put("One", "Two")
    refused = relay.refuse()
    rows = relay.json("log")
    assert [row["id"] for row in rows] == [first, second, refused]
    assert [row["kind"] for row in rows] == ["message", "message", "refusal"]
    assert all(set(row) >= NAMES for row in rows)
    assert rows[0]["user"] == ada["email"]
    assert rows[2]["count"] == 1


def test_log_is_filtered(relay: Any, ada: Any) -> None:
    """By state, user, time and kind; together they narrow."""
    (old,) = relay.put("Old", minutes_ago=90)
    (new,) = relay.put("New")
    refused = relay.refuse()
    relay("hold", new)

    def ids(*arguments: str) -> list[str]:
        return [row["id"] for row in relay.json("log", *arguments)]

    assert ids("--state", "queued") == [old]
    assert ids("--state", "held") == [new]
    assert ids("--since", "1h") == [new, refused]
    assert ids("--since", "2h", "--state", "queued") == [old]
    assert ids("--refused") == [refused]
    assert ids("--user", "Ada Byron") == [old, new]
    assert ids("--limit", "1") == [refused]


def test_log_takes_a_filter_as_text(relay: Any, ada: Any) -> None:
    """The argument means what the options mean, and both mean more than one."""
    (old,) = relay.put("Big offer", minutes_ago=30)
    (new,) = relay.put("New offer")
    refused = relay.refuse()
    relay("hold", new)

    def ids(*arguments: str) -> list[str]:
        return [row["id"] for row in relay.json("log", *arguments)]

    assert ids("state:held") == [new]
    assert ids("state:held", "--state", "queued") == [old, new]
    assert ids("--state", "held", "--state", "refused") == [new, refused]
    assert ids("state:refused") == ids("--refused") == [refused]
    assert ids("offer until:20m") == ids("--until", "20m") == [old]
    assert ids("--text", "OFFER", 'text:"big offer"') == [old]
    assert ids("--message-id", f"{old}@test") == [old]
    assert ids("domain:corp.example", "user:'Ada Byron'".replace("'", '"')) == [
        old,
        new,
    ]
    assert ids("--address", ada["email"], "--reason", "hold") == [new]
    assert ids("--cause", "S999") == []
    assert ids("since:yesterday until:today", "--state", "queued") == [old]


def test_log_pages_through_a_long_journal(
    relay: Any, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--json prints every row, however many pages that takes."""
    monkeypatch.setattr("relay.cli.log._PAGE", 2)
    ids = relay.put("a", "b", "c", "d")
    assert [row["id"] for row in relay.json("log")] == ids


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--state", "lost"], "--state"),
        (["--since", "soon"], "10m, 2h, 3d"),
        (["--refused", "--state", "dead"], "--refused"),
        (["stat:dead"], "known: state, user"),
        (["--domain", ""], "--domain"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_wrong_filters_are_wrong_usage(
    relay: Any, arguments: list[str], part: str
) -> None:
    """A filter that means nothing is not an empty list."""
    assert part in relay.error("log", *arguments, status=2)


def test_the_table_is_safe_and_whole(relay: Any, ada: Any) -> None:
    """A hostile subject is shown, not obeyed; ids can be copied from the table."""
    (id_,) = relay.put("\x1b[2J[bold]sale")
    table = relay("log").stdout
    assert id_ in table
    assert "\x1b" not in table
    assert "\\x1b[2J[bold]sale" in table


def test_an_empty_log_says_so(relay: Any) -> None:
    """No rows: a sentence for people, no line for programs."""
    assert relay("log").stdout == "Nothing to show.\n"
    assert relay.json("log") == []


def test_show_tells_the_trace_in_order(relay: Any, ada: Any) -> None:
    """One message with its steps, under the id that the 250 named."""
    (id_,) = relay.put("Offer")
    relay("hold", id_)
    (row,) = relay.json("show", id_.upper())
    assert set(row) >= NAMES | {"trace"}
    assert [step["step"] for step in row["trace"]] == ["rcpt", "hold"]
    assert all(set(step) == {"at", "step", "result", "detail"} for step in row["trace"])
    text = relay("show", id_).stdout
    assert "Offer" in text
    assert text.index("rcpt") < text.index("hold")


def test_show_takes_refusals_and_names_what_is_not_there(relay: Any) -> None:
    """A refusal has its trace too; an unknown id is a plain sentence."""
    (row,) = relay.json("show", relay.refuse())
    assert row["kind"] == "refusal"
    assert row["trace"]
    assert "no message" in relay.error("show", "0" * 26, status=1)


def test_hold_release_discard(relay: Any, ada: Any) -> None:
    """Each command says the old and the new state of each message."""
    first, second = relay.put("One", "Two")
    held = relay("hold", first)
    assert held.stdout == f"{first} was queued, is held.\n"
    (row,) = relay.json("history", "--change", "message")
    assert held.stderr == f"To take it back: relay history undo {row['id']}\n"
    (released,) = relay.json("release", first)
    assert released.pop("change") == row["id"] + 1
    assert released == {
        "id": first,
        "event": "release",
        "was": "held",
        "state": "queued",
    }
    assert relay.json("discard", "--state", "queued") == [
        {"id": id_, "event": "discard", "was": "queued", "state": "discarded"}
        | {"change": row["id"] + 2}
        for id_ in (first, second)
    ]
    assert "nothing changed" in relay("retry", "--state", "dead").stdout
    assert relay.json("retry", "--state", "dead") == []


def test_an_act_is_taken_back(relay: Any, ada: Any) -> None:
    """One number for all of it; what has moved on is said, and refused if it is all."""
    first, second = relay.put("One", "Two")
    done = relay("discard", "--state", "queued")
    number = done.stderr.split()[-1]
    (row,) = relay.json("history", "--change", "message_discard")
    assert (str(row["id"]), row["user"], row["undoable"]) == (
        number,
        "2 messages",
        True,
    )
    said = relay("history", "undo", number).stdout
    assert said == (
        f"Change {number} is taken back: 2 messages are as before (2 queued).\n"
    )
    assert {row["state"] for row in relay.json("log")} == {"queued"}
    assert "already" in relay.error("history", "undo", number, status=1)
    hold = relay("hold", first, second).stderr.split()[-1]
    relay("release", second)
    (undone,) = relay.json("history", "undo", hold)
    assert (undone["user"], undone["undoes"]) == ("1 of 2 messages", int(hold))
    hold = relay("hold", first).stderr.split()[-1]
    relay("discard", first)
    line = relay.error("history", "undo", hold, status=1)
    assert "its message has moved on since (1 discarded)" in line


def test_messages_change_all_or_none(relay: Any, ada: Any) -> None:
    """One id that does not fit keeps the others as they were, with a sentence."""
    first, second = relay.put("One", "Two")
    relay("hold", second)
    line = relay.error("hold", first, second, status=1)
    assert "held" in line
    assert "queued" in line
    assert "no message" in relay.error("hold", first, "0" * 26, status=1)
    states = {row["id"]: row["state"] for row in relay.json("log")}
    assert states == {first: "queued", second: "held"}


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["retry"], 2, "either message ids or --state"),
        (["retry", "0" * 26, "--state", "dead"], 2, "either message ids or --state"),
        (["retry", "--state", "held"], 1, "dead"),
        (["retry", "nonsense"], 1, "no message id"),
    ],
)
def test_what_cannot_be_done_is_told(
    relay: Any, arguments: list[str], status: int, part: str
) -> None:
    """Wrong usage is 2, a change that the state table has not got is 1."""
    assert part in relay.error(*arguments, status=status)


def test_the_first_characters_of_an_id_are_enough(relay: Any, ada: Any) -> None:
    """Ids of one minute begin alike: then they are named."""
    first, second = relay.put("One", "Two")
    common = next(n for n in range(26) if first[n] != second[n])
    (row,) = relay.json("show", first[: common + 1].upper())
    assert row["id"] == first
    line = relay.error("show", first[:6], status=1)
    assert first in line
    assert second in line
    assert "relay log" in relay.error("show", first[:5], status=1)
    relay("hold", second[: common + 1])
    assert [row["state"] for row in relay.json("log")] == ["queued", "held"]


def test_a_refusal_cannot_be_retried(relay: Any, ada: Any) -> None:
    """Nothing was stored of it, and that is what is said."""
    id_ = relay.refuse()
    line = relay.error("retry", id_, status=1)
    assert "is a refusal: nothing was stored that one could retry" in line


def test_records_that_are_only_planned_are_shown(relay: Any, ada: Any) -> None:
    """Before anything is written an admin reads what would be, field by field."""
    (id_,) = relay.put("One")

    async def plan(store: Any) -> None:
        owner = LeaseOwner("host", "boot", 1, "1")
        await store.queue.claim(owner, 10, 60)
        ((_, mail),) = (
            await store.mails.join(owner, [(id_, "k1", "k2", "<a@b>")])
        ).items()
        draft = Draft("email", "key", "Task", {"Subject": "One"}, "Contact.Email")
        await store.ledger.advance(owner, plans=[(mail.id, [draft])])

    relay.in_store(plan)
    (row,) = relay.json("show", id_)
    assert row["planned"] == [
        {
            "object": "Task",
            "key": "key",
            "rule": "Contact.Email",
            "fields": {"Subject": "One"},
        }
    ]
    text = relay("show", id_).stdout
    assert "planned, not written: Task" in text
    assert "Subject: One" in text
    assert "Message-ID header:" in text


def _settle(relay: Any, id_: str, event: Event, reason: str) -> None:
    async def settle(store: Any) -> None:
        owner = LeaseOwner("host", "boot", 1, "1")
        (claimed,) = await store.queue.claim(owner, 10, 60)
        end = Settlement(
            id_, claimed.attempt, event, reason, retry_at=claimed.received_at
        )
        await store.ledger.advance(owner, settlements=[end])

    relay.in_store(settle)


def test_an_unmatched_mail_names_the_next_step(relay: Any, ada: Any) -> None:
    """It waits for a person; what the person does is one command."""
    (id_,) = relay.put("One")
    assert "while relay serve runs" in relay("show", id_).stdout
    _settle(relay, id_, Event.NO_MATCH, "no_match")
    mend = f"to name the record: relay unmatched resolve {id_} RECORD"
    assert mend in relay("show", id_).stdout
    relay("retry", id_)


def test_an_attempt_that_does_not_count_says_so(relay: Any, ada: Any) -> None:
    """People read words; programs read the name of the event."""
    (id_,) = relay.put("One")
    _settle(relay, id_, Event.GIVE_BACK, "paused")
    shown = relay("show", id_).stdout
    assert "put back, does not count" in shown
    assert "give_back" not in shown
    assert relay.json("show", id_)[0]["trace"][-1]["result"] == "give_back"


def _refuse_sender(relay: Any, **sender: str) -> str:
    async def job(store: Any) -> str:
        (user,) = await store.directory.users()
        id_ = new_message_id(SystemClock())
        values = {"mail_from": "bounce@host.example", "header_from": ""} | sender
        refusal = Refusal(
            id=id_,
            at=datetime.now(UTC),
            peer="192.0.2.1",
            rcpt="log-ada@in.relay.example",
            reply="550 5.7.1 not accepted",
            reason="sender_not_accepted",
            user_id=user.id,
            **values,
        )
        await store.refusals.record([refusal])
        return id_

    return str(relay.in_store(job))


@pytest.mark.parametrize(
    "sender",
    [
        {"header_from": "Sam@Stranger.example"},
        {"mail_from": "sam@stranger.example"},  # refused before the header came
    ],
)
def test_a_refused_sender_is_not_let_in_by_what_is_shown(
    relay: Any, ada: Any, sender: dict[str, str]
) -> None:
    """A customer who replied to all stays outside; the hint goes once it is moot."""
    id_ = _refuse_sender(relay, **sender)
    _, _, hint = relay("show", id_).stdout.partition("hint: ")
    assert "sam@stranger.example is anybody but ada@corp.example" in hint
    assert "address add" not in hint
    relay("address", "add", ada["email"], "sam@stranger.example")
    assert "hint:" not in relay("show", id_).stdout


def test_a_colleague_is_pointed_to_their_own_relay_address(
    relay: Any, ada: Any
) -> None:
    """Ben wrote to Ada's address: to accept him would log his mail as hers."""
    id_ = _refuse_sender(relay, header_from="Ben@corp.example")
    relay("user", "add", "Ben", "--email", "ben@corp.example")
    _, _, hint = relay("show", id_).stdout.partition("hint: ")
    assert "relay user show ben@corp.example" in hint
    assert "address add" not in hint


@pytest.mark.parametrize(
    "address",
    [
        "*@stranger.example",
        "-x@stranger.example",
        "$(reboot)@stranger.example",
        "a;b@stranger.example",
        "`id`@stranger.example",
        '"a b"@stranger.example',
        "x@localhost",
        "nobody",
    ],
)
def test_a_hostile_address_makes_no_command(relay: Any, ada: Any, address: str) -> None:
    """A stranger chooses no word of what an admin pastes into a shell."""
    id_ = _refuse_sender(relay, header_from=address)
    assert "hint:" not in relay("show", id_).stdout


def test_the_mail_itself_comes_as_it_came(relay: Any, ada: Any) -> None:
    """Byte by byte; of a refusal there is none."""
    (id_,) = relay.put("One")
    assert relay("show", id_, "--raw").stdout_bytes == b"Subject: One\r\n\r\nHello\r\n"
    refusal = relay.refuse()
    assert "stored no mail" in relay.error("show", refusal, "--raw", status=1)
    assert "--json" in relay.error("show", id_, "--raw", "--json", status=2)


def test_show_names_cc_and_links_records(
    relay: Any, ada: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cc is read from the mail; a record is opened by a click."""
    from relay.cli.log import _print_whole

    (id_,) = relay.put("One\r\nCc: Kim <kim@c.example>, x@y.example")
    (row,) = relay.json("show", id_)
    assert row["cc"] == "kim@c.example, x@y.example"
    assert "cc:" in relay("show", id_).stdout

    record = {"object": "Task", "id": "00T000000000001AAA", "rule": "x"}
    _print_whole({"records": [record]}, "", "https://org.example/")
    assert "https://org.example/00T000000000001AAA\n" in capsys.readouterr().out
