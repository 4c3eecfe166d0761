"""Presets through the commands: shown, confirmed, one change, taken back whole."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from relay import app
from relay.worker.replay import Summary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PRESET = ("settings", "preset")
APPLY = (*PRESET, "apply", "email-to-salesforce")


def _several(relay: Any) -> str:
    return str(relay("settings", "get", "match.several").stdout.strip())


@pytest.fixture
def other(relay: Any) -> Any:
    """Return a relay whose rules are other than those of the preset."""
    relay("settings", "set", "match.several", "oldest")
    return relay


def test_presets_are_listed_and_shown(other: Any) -> None:
    """How many rules each would change; each rule with its ground."""
    rows = {row["name"]: row for row in other.json(*PRESET, "list")}
    assert rows["default"]["differs"] == 1
    assert rows["email-to-salesforce"]["differs"] >= 1
    assert "email-to-salesforce" in other(*PRESET, "list").stdout
    shown = {r["key"]: r for r in other.json(*PRESET, "show", "email-to-salesforce")}
    row = shown["match.several"]
    assert (row["now"], row["then"], row["differs"]) == ("oldest", "all", True)
    text = other(*PRESET, "show", "email-to-salesforce").stdout
    assert "Other than there: " in text
    assert "match.several" in text


def test_nothing_is_applied_unasked(other: Any) -> None:
    """Without a terminal the line says what to add; the rules stay."""
    done = other(*APPLY, status=1)
    assert "match.several" in done.stdout
    assert "add --yes" in done.stderr
    assert _several(other) == "oldest"


def test_a_preset_is_one_change_that_is_taken_back_whole(other: Any) -> None:
    """One row of the history; undo gives every rule back, or none."""
    done = other(*APPLY, "--yes")
    assert "The rules are those of email-to-salesforce now." in done.stdout
    assert _several(other) == "all"
    (*_, row) = other.json("history")
    assert row["action"] == "settings_set"
    assert row["user"] == "preset email-to-salesforce"
    assert row["before"]["match.several"] == "oldest"
    number = str(row["id"])
    assert f"relay history undo {number}" in done.stdout
    again = other(*APPLY, "--yes").stdout
    assert again == "The rules are those of email-to-salesforce already.\n"

    other("settings", "set", "match.internal_domains", "one.example")
    assert "was changed since" in other.error("history", "undo", number, status=1)
    assert _several(other) == "all"
    other("settings", "set", "match.internal_domains", "")
    text = other("history", "undo", number).stdout
    assert "are as before preset email-to-salesforce" in text
    assert _several(other) == "oldest"
    assert (
        other("settings", "get", "match.internal_domains").stdout.strip() == '["auto"]'
    )


def test_the_default_takes_everything_back(other: Any) -> None:
    """The store holds none of the rules then."""
    other("settings", "set", "automatic.list_mail", "log")
    rows = other.json(*PRESET, "apply", "default", "--yes")
    assert {row["key"] for row in rows} == {"match.several", "automatic.list_mail"}
    assert other.json("settings", "list", "--changed") == []


def test_a_preset_is_previewed(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules that differ are tried on past mail; nothing is saved."""
    seen: list[Any] = []

    @asynccontextmanager
    async def replaying(
        _: Any, change: Any, *__: Any, **more: Any
    ) -> AsyncIterator[Any]:
        seen.append(change.settings)

        async def pages() -> AsyncIterator[Any]:
            for page in ():
                yield page

        yield SimpleNamespace(pages=pages, summary=Summary(mails=2, looked_at=2))

    monkeypatch.setattr(app, "replaying", replaying)
    text = other(*APPLY, "--preview", "--since", "3d").stdout
    assert "2 mails looked at, none differs." in text
    # The file has the value of the preset: what the store holds is to go.
    assert seen[0]["match.several"] is None
    assert _several(other) == "oldest"
    assert "go with --preview" in other.error(*APPLY, "--dry", status=2)


def test_an_unknown_preset_is_wrong_usage(relay: Any) -> None:
    """The known ones are named."""
    for word in ("show", "apply"):
        said = relay.error(*PRESET, word, "gmail", status=2)
        assert "there is no preset gmail; write one of default, " in said


def test_settings_are_listed_in_groups(other: Any) -> None:
    """Short for all, whole for one section, and only what the store holds."""
    whole = other("settings", "list").stdout
    assert whole.index("[match]") < whole.index("[automatic]") < whole.index("[store]")
    assert " …" in whole
    section = " ".join(other("settings", "list", "match").stdout.split())
    assert "[automatic]" not in section
    assert "…" not in section
    (row,) = other.json("settings", "list", "--changed")
    assert (row["key"], row["source"]) == ("match.several", "store")
    said = other.error("settings", "list", "sections", status=2)
    assert "there is no section sections; write one of match, " in said
    other("settings", "unset", "match.several")
    assert "The store holds none" in other("settings", "list", "--changed").stdout
