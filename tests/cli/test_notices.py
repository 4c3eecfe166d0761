"""`relay notices` and `relay user notify`, on a real store."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.notices import NoticeDraft, NoticeKind, NoticeUpdate
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState

OWNER = LeaseOwner("host", "boot", 10, "1")


@pytest.fixture
def planned(relay: Any, ada: Any) -> None:
    """Plan a code for an address and a digest that was refused."""
    assert ada

    async def job(store: Any) -> None:
        code = NoticeDraft(
            NoticeKind.CLAIM_CODE, "new@other.example", facts={"code": "123456"}
        )
        await store.notices.add("claim-1", code)
        await store.notices.add(
            "digest-1", NoticeDraft(NoticeKind.DIGEST, "ada@corp.example")
        )
        rows = await store.notices.claim(OWNER, 10, 60)
        refused = NoticeUpdate(rows[1].key, ActivityState.REFUSED, "550 5.1.1 gone")
        await store.notices.settle(OWNER, [refused])

    relay.in_store(job)


def test_notices_are_listed_without_their_secrets(relay: Any, planned: None) -> None:
    """State, recipient and why; never a code."""
    text = relay("notices", "list").stdout
    assert "new@other.example" in text
    assert "550 5.1.1 gone" in " ".join(text.split())
    assert "123456" not in text
    rows = relay.json("notices", "list")
    assert "123456" not in str(rows)
    assert [(row["kind"], row["state"]) for row in rows] == [
        ("claim_code", "planned"),
        ("digest", "refused"),
    ]
    assert set(rows[0]) == {
        *("id", "kind", "recipient", "state", "events", "created_at", "due_at"),
        *("written_at", "failures", "error", "about"),
    }
    (row,) = relay.json("notices", "list", "--state", "refused")
    assert row["kind"] == "digest"
    assert len(relay.json("notices", "list", "--limit", "1")) == 1


def test_without_a_smarthost_the_list_says_so(relay: Any) -> None:
    """Nobody waits for a mail that never comes."""
    said = relay("notices", "list")
    assert "off: set notices.smarthost" in said.stdout + said.stderr


def test_a_refused_notice_is_retried(relay: Any, planned: None) -> None:
    """By its number, or all; a number that is none is an error."""
    (row,) = relay.json("notices", "list", "--state", "refused")
    assert "no notice 99" in relay.error("notices", "retry", "99", status=1)
    said = relay("notices", "retry", str(row["id"])).stdout
    assert said == "1 notice is due now.\n"
    assert relay.json("notices", "retry") == [{"id": row["id"] - 1}, {"id": row["id"]}]
    assert relay.json("notices", "list", "--state", "refused") == []


def test_a_user_chooses_what_to_be_told(relay: Any, ada: Any) -> None:
    """Three levels, or that of the settings."""
    assert "ada@corp.example" in relay("user", "notify", "Ada Byron", "all").stdout
    assert relay.json("user", "show", "Ada Byron")[0]["notify"] == "all"
    said = relay("user", "set", "Ada Byron", "--language", "sv").stdout
    assert said.endswith("language sv.\n")
    assert relay.json("user", "show", "Ada Byron")[0]["language"] == "sv"
    relay("user", "set", "Ada Byron", "--language", "default")
    assert relay.json("user", "show", "Ada Byron")[0]["language"] is None
    assert "notices" in relay("user", "show", "Ada Byron").stdout
    said = relay("user", "notify", "Ada Byron", "default")
    assert "problems, as notices.level says" in said.stdout
    assert "notices are off" in said.stderr
    assert relay.json("user", "list")[0]["notify"] is None
    assert "all" in relay.error("user", "notify", "Ada Byron", "loud", status=2)


def test_the_level_of_all_is_a_setting_of_the_store(relay: Any) -> None:
    """A running relay goes by it."""
    relay("settings", "set", "notices.level", "none")
    assert relay("settings", "get", "notices.level").stdout == "none\n"
