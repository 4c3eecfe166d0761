"""`relay reminder`: days in the user's zone, edits, undo, the secret of a calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from relay.core.reminders import today

if TYPE_CHECKING:
    from relay.store import Store

CONTACT, DEAL = "003000000000001AAA", "006000000000001"
FAR = "Pacific/Kiritimati"


@pytest.fixture(autouse=True)
def ada(relay: Any) -> str:
    """Add a user of whom Salesforce says where she is."""
    relay("user", "add", "Ada Rep", "--email", "ada@corp.example")

    async def there(store: Store) -> None:
        user = await store.directory.find_user("ada@corp.example")
        await store.directory.set_time_zone(user.id, FAR)

    relay.in_store(there)
    return "ada@corp.example"


def day(ahead: int = 0) -> str:
    """Return a day where Ada is."""
    there = today(datetime.now(UTC), ZoneInfo(FAR))
    return (there + timedelta(days=ahead)).isoformat()


def add(relay: Any, *arguments: str) -> dict[str, Any]:
    """Make a reminder."""
    (made,) = relay.json("reminder", "add", *arguments)
    return dict(made)


def test_a_reminder_is_made_with_all_its_values(relay: Any) -> None:
    """The only user is meant; days are those of her zone; ids are made whole."""
    made = add(
        *(relay, "Send", "the offer", "--due", "tomorrow", "--priority", "high"),
        *("--type", "email", "--person", CONTACT, "--record", DEAL),
        *("--details", "two\nlines"),
    )
    assert made["name"] == "Send the offer"
    assert (made["due"], made["priority"], made["type"]) == (day(1), "High", "Email")
    assert (made["person"], made["record"]) == (CONTACT, f"{DEAL}AAA")
    assert (made["owner"], made["assignee"]) == ("ada@corp.example",) * 2
    assert relay.json("reminder", "show", made["id"][:22]) == [made]
    assert "two\\nlines" in relay("reminder", "show", made["id"]).stdout


def test_a_day_may_stand_at_the_end_of_the_name(relay: Any) -> None:
    """As people say it; --due goes before it."""
    assert add(relay, "follow up in 3 days")["due"] == day(3)
    assert add(relay, "follow", "up", "today")["name"] == "follow up"
    made = add(relay, "call about tomorrow", "--due", "none")
    assert (made["name"], made["due"]) == ("call about tomorrow", None)


def test_a_reminder_of_a_message(relay: Any) -> None:
    """Its user and subject, where nothing else is said."""
    (message,) = relay.put("The offer")
    made = add(relay, "--message", message[:20])
    assert (made["name"], made["message"]) == ("The offer", message)
    made = add(relay, "--message", message, "follow up in 3 days")
    assert (made["name"], made["due"]) == ("follow up", day(3))
    listed = relay.json("reminder", "list", "--message", message)
    assert len(listed) == 2
    error = relay.error("reminder", "add", "--message", "0" * 26, status=1)
    assert "0" * 26 in error


def test_lists(relay: Any) -> None:
    """By day; now is what the Command Center shows (R22)."""
    for name, due in (
        ("later", "3d"),
        ("over", "2020-01-01"),
        ("none", "none"),
        ("now", "today"),
        ("soon", "tomorrow"),
    ):
        add(relay, name, "--due", due)

    def names(*arguments: str) -> list[str]:
        return [one["name"] for one in relay.json("reminder", "list", *arguments)]

    assert names() == ["over", "now", "soon", "later", "none"]
    assert names("--due", "now") == ["now", "soon"]
    assert names("--due", "overdue") == ["over"]
    assert names("--due", "tomorrow") == ["soon"]
    assert names("--due", "none") == ["none"]
    assert names("--text", "LATE") == ["later"]
    assert names("--limit", "2", "--user", "Ada Rep") == ["over", "now"]
    (now,) = relay.json("reminder", "list", "--text", "now")
    relay("reminder", "complete", now["id"])
    assert names("--due", "now") == ["soon"]
    assert names("--status", "complete") == ["now"]
    relay("reminder", "remove", now["id"])
    assert names("--status", "all", "--text", "now") == []
    shown = relay("reminder", "list", "--status", "all", "--removed").stdout
    assert "removed" in shown
    assert relay("reminder", "list", "--text", "nothing").stdout == "no reminder fits\n"


def test_edits_and_their_history(relay: Any) -> None:
    """Each edit can be taken back; the history says who made it, and from where."""
    made = add(relay, "Call Bob", "--due", "today")
    relay("reminder", "snooze", made["id"], "next", "week")
    relay("reminder", "edit", made["id"], "--name", "Call Carl", "--due", "")
    relay("reminder", "complete", made["id"])
    relay("reminder", "reopen", made["id"])
    relay("reminder", "remove", made["id"])
    out = relay("reminder", "undo", made["id"]).stdout
    assert out == f"taken back: Call Carl ({made['id']})\n"
    (back,) = relay.json("reminder", "undo", made["id"], "--version", "3")
    assert back["name"] == "Call Bob"
    rows = relay.json("reminder", "history", made["id"])
    assert [one["version"] for one in rows] == [1, 2, 3, 3, 4, 5, 6, 7, 8, 8]
    assert {one["source"] for one in rows} == {"person"}
    assert all(one["actor"].startswith("cli:") for one in rows)
    assert rows[-1]["undoes"] == 3
    assert "undoes 3" in relay("reminder", "history", made["id"]).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("add", "x", "--due", "someday"), 2, "3d, 2w, monday"),
        (("add", " "), 2, "what is to be done"),
        (("add", "x", "--record", "12"), 2, "15 or 18"),
        (("add", "x", "--person", "Bob"), 2, "15 or 18"),
        (("add", "x", "--user", "Zoe"), 1, "Zoe"),
        (("add", "x", "--type", "letter"), 2, "inmail"),
        (("edit", "0"), 2, "nothing is named"),
        (("show", "0"), 1, "relay reminder list"),
        (("feed", "ada@corp.example", "--end"), 1, "no calendar feed"),
    ],
)
def test_mistakes_name_the_mend(
    relay: Any, arguments: tuple[str, ...], status: int, part: str
) -> None:
    """One line on stderr, and the right exit status."""
    assert part in relay.error("reminder", *arguments, status=status)


def test_what_cannot_be_done_is_said(relay: Any) -> None:
    """What is done is not put off; an id that two begin with names none."""
    one, _ = add(relay, "Call"), add(relay, "Mail")
    relay("reminder", "complete", one["id"])
    error = relay.error("reminder", "snooze", one["id"], "3d", status=2)
    assert "--status open" in error
    error = relay.error("reminder", "show", one["id"][:4], status=1)
    assert "write more" in error
    relay("user", "add", "Ben Rep", "--email", "ben@corp.example")
    assert "name a user" in relay.error("reminder", "add", "x", status=2)


def test_its_task(relay: Any) -> None:
    """There is none before anything was kept in step."""
    one = add(relay, "Call")
    assert relay.json("reminder", "task", one["id"]) == []
    assert "never" in relay("reminder", "task", one["id"]).stdout
    assert "nothing" in relay("reminder", "retry", one["id"]).stdout


def test_a_calendar_has_one_secret(relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command gives another; the history says so without it."""
    (first,) = relay.json("reminder", "feed", "ada@corp.example")
    (second,) = relay.json("reminder", "feed", "ada@corp.example")
    assert first["url"].endswith(".ics")
    assert first["url"].startswith("/reminders/feed/")  # No console: no address of it.
    assert first["url"] != second["url"]
    monkeypatch.setenv("RELAY_WEB__LISTEN", "127.0.0.1:8080")
    monkeypatch.setenv("RELAY_WEB__BASE_PATH", "/relay")
    (second,) = relay.json("reminder", "feed", "ada@corp.example")
    assert second["url"].startswith("http://127.0.0.1:8080/relay/reminders/feed/")
    secret = second["url"].rpartition("/")[2].removesuffix(".ics")
    (row,) = relay.json("history", "--change", "reminder_feed_add")[-1:]
    assert secret not in str(row)
    assert "ended" in relay("reminder", "feed", "ada@corp.example", "--end").stdout
