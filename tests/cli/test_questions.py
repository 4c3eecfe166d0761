"""Questions across all mail and people, and what is done to all that a filter fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from relay.store import schema


def test_what_waits_is_counted(relay: Any, ada: Any) -> None:
    """By state and reason, with the oldest; an empty relay says so."""
    assert "Nothing waits." in relay("status").stdout
    (old,) = relay.put("Old", minutes_ago=90)
    relay.put("New")
    relay("hold", old)
    (row,) = relay.json("status")
    assert [(one["state"], one["count"]) for one in row["waiting"]] == [
        ("queued", 1),
        ("held", 1),
    ]
    assert row["logging"]["active"] is True
    text = relay("status").stdout
    assert "logging is on" in text
    assert "held" in text
    assert "salesforce pause" in text


def test_silent_users_are_found(relay: Any, ada: Any) -> None:
    """Who was activated a while ago and had nothing logged; the rest is left out."""
    assert [row["email"] for row in relay.json("user", "list", "--silent", "0s")] == [
        ada["email"]
    ]
    assert relay.json("user", "list", "--silent", "14d") == []
    assert "Nobody was silent" in relay("user", "list", "--silent", "14d").stdout
    relay("user", "disable", ada["email"])
    assert relay.json("user", "list", "--silent", "0s") == []
    assert "14d" in relay.error("user", "list", "--silent", "soon", status=2)


def test_the_last_mail_of_a_user_is_shown(relay: Any, ada: Any) -> None:
    """When it came, though nothing was logged yet."""
    relay.put("One")
    (row,) = relay.json("user", "list")
    assert row["last_received_at"]
    assert row["last_logged_at"] is None
    assert "never" in relay("user", "list").stdout


def test_the_log_of_an_id_is_its_row(relay: Any, ada: Any) -> None:
    """An id as printed finds its message; so do its first characters, and --id."""
    one, two = relay.put("One", "Two")
    for words in ([one], [one[:13]], [f"id:{one}"], ["--id", one[:20]]):
        assert [row["id"] for row in relay.json("log", *words)] == [one]
    assert {row["id"] for row in relay.json("log", "--id", two[:6])} == {one, two}
    assert "six characters" in relay.error("log", "--id", "01", status=2)


def test_the_history_is_asked(relay: Any, ada: Any) -> None:
    """Who changed whose accepted addresses, by kind, person and time."""
    relay("address", "add", ada["email"], "ada@home.example")
    relay("user", "rename", ada["email"], "Ada L")

    def found(*arguments: str) -> list[str]:
        return [row["action"] for row in relay.json("history", *arguments)]

    assert found("--change", "address") == ["address_add"]
    assert found(ada["email"], "--change", "user_name") == ["user_name"]
    assert found("--by", "nobody") == []
    assert found("--until", "1h") == []
    assert len(found("--since", "1h", "--by", "cli:")) == 3


def test_all_that_fit_are_confirmed_first(relay: Any, ada: Any) -> None:
    """The number is said, and nothing is done without --yes where nobody answers."""
    first, second, other = relay.put("Offer 1", "Offer 2", "Other")
    refusal = relay.error("hold", "--text", "offer", status=1)
    assert "fits 2 messages" in refusal
    assert "--yes" in refusal
    assert relay.json("log", "--state", "held") == []
    rows = relay.json("hold", "--text", "offer", "--yes")
    assert [row["id"] for row in rows] == [first, second]
    rows = relay.json("discard", "state:held reason:hold", "--yes")
    assert [row["state"] for row in rows] == ["discarded", "discarded"]
    assert "nothing changed" in relay("retry", "reason:none", "--yes").stdout
    assert "nothing changed" in relay("retry", "reason:none").stdout
    # A state alone is done at once, as ever.
    assert [row["id"] for row in relay.json("hold", "--state", "queued")] == [other]
    assert [row["id"] for row in relay.json("release", "--state", "held")] == [other]


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["retry", "state:lost"], 2, "is no state"),
        (["retry", "--state", "held"], 1, "cannot be retried"),
        (["retry", "--state", "refused"], 1, "cannot be retried"),
        (["hold", "0" * 26, "--text", "x"], 2, "either message ids or --state"),
        (["hold", "--user", "nobody@corp.example"], 1, "no user"),
    ],
)
def test_what_cannot_be_done_is_told(
    relay: Any, ada: Any, arguments: list[str], status: int, part: str
) -> None:
    """A filter that means nothing changes nothing."""
    assert part in relay.error(*arguments, status=status)


def test_tokens_have_rights_and_an_end(relay: Any, ada: Any) -> None:
    """What a token may and until when is shown; by default it hands mail over."""
    (plain,) = relay.json("token", "add", "plain")
    assert (plain["scopes"], plain["expires_at"]) == (["mail:submit"], None)
    relay(
        *("token", "add", "crm", "--scope", "log:read", "--scope", "users:read"),
        *("--expires", "30d"),
    )
    _, crm = relay.json("token", "list")
    assert crm["scopes"] == ["log:read", "users:read"]
    ends = datetime.fromisoformat(crm["expires_at"])
    assert abs(ends - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    shown = relay("token", "list").stdout
    assert "log:read users:read" in shown
    assert "never" in shown
    assert "is over" in relay.error(
        "token", "add", "x", "--expires", "yesterday", status=2
    )
    assert "no time" in relay.error("token", "add", "x", "--expires", "z", status=2)
    assert "--scope" in relay.error("token", "add", "x", "--scope", "all", status=2)
    refusal = relay.error(
        *("token", "add", "x", "--user", ada["email"], "--scope", "users:write"),
        status=1,
    )
    assert "users:write" in refusal
    (row,) = [r for r in relay.json("history") if r["user"] == "crm"]
    assert row["after"]["scopes"] == ["log:read", "users:read"]


def test_what_is_shown_as_a_reason_can_be_asked_for(relay: Any, ada: Any) -> None:
    """Salesforce did not answer: the store has a class of a library, people do not."""
    silent, _ = relay.put("silent", "other")

    async def fail(store: Any) -> None:
        m = schema.messages.c
        failed = update(schema.messages).where(m.id == silent)
        failed = failed.values(reason="NewConnectionError")
        await store.context.write(lambda connection: connection.execute(failed))

    relay.in_store(fail)
    assert "Salesforce did not answer" in relay("log").stdout
    for words in (
        ["--reason", "Salesforce did not answer"],
        ['reason:"salesforce did not answer"'],
        ["--reason", "NewConnectionError"],
    ):
        assert [row["id"] for row in relay.json("log", *words)] == [silent]
    assert relay.json("log", "--reason", "ReadTimeout") == []


def test_naming_the_salesforce_user_wakes_the_mail_that_waits(
    relay: Any, ada: Any
) -> None:
    """What waits for that, and for nothing else, is due at once; show says when."""
    waiting, other = relay.put("waits", "other")
    far = 4_102_444_800 * 1_000_000

    async def put_off(store: Any) -> None:
        def work(connection: Any) -> None:
            m = schema.messages.c
            later = update(schema.messages).values(next_attempt_at=far)
            connection.execute(later)
            connection.execute(
                later.where(m.id == waiting).values(reason="no_salesforce_user")
            )

        await store.context.write(work)

    relay.in_store(put_off)
    assert "next try (UTC)" in relay("show", waiting).stdout
    relay("user", "set", ada["email"], "--salesforce-id", "005000000000001AAA")
    (woken,), (left,) = relay.json("show", waiting), relay.json("show", other)
    assert woken["next_attempt_at"] < "2099"
    assert left["next_attempt_at"] > "2099"
    (line,) = relay("retry", other).stdout.splitlines()
    assert line == f"{other} was queued, is queued."
    assert relay.json("show", other)[0]["next_attempt_at"] < "2099"
