"""Trying rules on past mail: which words go together, and what is refused first."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from relay import app
from relay.worker.replay import Difference, Kind, Outcome, Page, Summary, Written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SALESFORCE = """\
[salesforce]
instance_url = "http://127.0.0.1:9"
client_id = "id"
client_secret = "secret"
"""
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
UNMATCHED = Outcome("unmatched", "no_record", "no Contact \x1b[31m", (), {}, ())
LOGGED = Outcome(
    "logged",
    "",
    "",
    tuple(("Contact", f"003{n}", f"Kim {n}", "Contact.Email") for n in range(7)),
    {("Task", "t"): {"Subject": "a"}},
    (("match", "Contact 0030", "Contact.Email"),),
)
OTHER = Outcome("logged", "", "", LOGGED.records, {("Task", "t"): {"Subject": "b"}}, ())


def _one(kind: Kind, before: Outcome, after: Outcome, *written: Written) -> Difference:
    happened = ("logged", "") if written else ("unmatched", "no_record")
    return Difference(
        f"m-{kind}",
        NOON,
        ("ada@corp.example",),
        "ada@corp.example",
        "Offer \x07",
        kind,
        happened,
        written,
        before,
        after,
    )


TASK = Written("Task", "00T1", "Contact.Email", ("0030",))
FOUND = (
    _one(Kind.NEWLY_LOGGED, UNMATCHED, LOGGED),
    _one(Kind.OTHER_FIELDS, LOGGED, OTHER, TASK),
)
DONE = Summary(
    mails=4,
    looked_at=1,
    kinds={Kind.NEWLY_LOGGED: 1, Kind.OTHER_FIELDS: 1},
    gone=2,
    unreadable=1,
    calls=3,
)


@pytest.fixture
def tried(relay: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Answer in place of the store and the org, and keep what was asked."""
    seen: list[Any] = []

    @asynccontextmanager
    async def replaying(
        _: Any, change: Any, wanted: Any, **more: Any
    ) -> AsyncIterator[Any]:
        seen.append((change, wanted, more))

        async def pages() -> AsyncIterator[Page]:
            yield Page(FOUND, DONE)

        yield SimpleNamespace(pages=pages, summary=DONE)

    monkeypatch.setattr(app, "replaying", replaying)
    with relay.config.open("a") as config:
        config.write(SALESFORCE)
    return seen


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """Return a file of rules."""
    file = tmp_path / "new.toml"
    file.write_text('[match]\nseveral = "oldest"\n', "utf-8")
    return str(file)


def test_a_difference_is_told_in_words(relay: Any, tried: Any, rules: str) -> None:
    """Each mail with now and then, what is in Salesforce, and a sum at the end."""
    text = relay("explain", "--rules", rules).stdout
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "newly logged\n" in text
    assert "now:           unmatched: no Contact" in text
    assert "then:          logged on Contact 0030 Kim 0 (Contact.Email), " in text
    assert "Contact 0034 Kim 4 (Contact.Email) and 2 more\n" in text
    assert "in Salesforce: nothing (unmatched no_record)" in text
    assert "with other values: Task.Subject" in text
    assert "in Salesforce: Task 00T1" in text
    assert "1 mail looked at, 2 differ: 1 newly logged, 1 with other values." in text
    assert "2 mails are no longer in the store.\n1 mail cannot be read." in text
    assert "asked with 3 API calls; nothing was written." in text
    assert "both decided by what Salesforce holds today" in text
    ((change, wanted, more),) = tried
    assert change.settings == {"match.several": "oldest"}
    assert (datetime.now(UTC) - wanted.since).days == 7
    assert (wanted.until, more["who"], more["dry"]) == (None, None, False)


def test_a_difference_is_rows_for_programs(relay: Any, tried: Any, rules: str) -> None:
    """One line for each mail, and one for the sum."""
    *rows, last = relay.json("explain", "--rules", rules, "--user", "Ada")
    assert [row["difference"] for row in rows] == ["newly_logged", "other_fields"]
    assert rows[0]["before"]["state"] == "unmatched"
    assert rows[1]["fields"] == ["Task.Subject"]
    assert rows[1]["in_salesforce"] == [
        {"object": "Task", "id": "00T1", "rule": "Contact.Email", "on": ["0030"]}
    ]
    assert (last["row"], last["differ"], last["api_calls"]) == ("summary", 2, 3)
    assert tried[0][2]["who"] == "Ada"


def test_the_cost_is_told_first(relay: Any, tried: Any, rules: str) -> None:
    """--dry prints one line, and nothing of what an estimate finds."""
    text = relay("explain", "--rules", rules, "--dry", "--limit", "9").stdout
    assert text == (
        "4 mails: this asks Salesforce about 3 API calls. Nothing was asked yet.\n"
    )
    assert (tried[0][2]["dry"], tried[0][2]["limit"]) == (True, 9)
    (row,) = relay.json("explain", "--rules", rules, "--dry")
    assert row == {"row": "estimate", "mails": 4, "api_calls": 3}


def test_a_run_that_stopped_is_a_failure(
    relay: Any, tried: Any, rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found is printed; the line says from where to go on."""
    stopped = Summary(mails=9, stopped="9 of 10 calls used", next_before=NOON)
    monkeypatch.setattr(f"{__name__}.DONE", stopped)
    done = relay("explain", "--rules", rules, status=1)
    assert "newly logged" in done.stdout
    assert done.stderr == (
        "relay: stopped early: 9 of 10 calls used; go on with --until "
        "2026-03-04T12:00:00+00:00\n"
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "name a saved mail, or rules to try with --rules"),
        (("x.eml", "--rules", "new.toml"), "name a mail or --rules, not both"),
        (("x.eml",), "Missing option '--user'"),
        (("x.eml", "--user", "Ada", "--dry"), "go with --rules"),
        (("x.eml", "--user", "Ada", "--since", "3d"), "go with --rules"),
        (
            ("--rules", "new.toml", "--since", "1d", "--until", "2d"),
            "--until is not later than --since",
        ),
    ],
)
def test_words_that_do_not_go_together(
    relay: Any, tried: Any, rules: str, arguments: tuple[str, ...], part: str
) -> None:
    """A line, and the status of wrong usage; nothing is asked."""
    arguments = tuple(rules if a == "new.toml" else a for a in arguments)
    assert part in relay.error("explain", *arguments, status=2)
    assert tried == []


def test_a_file_that_cannot_be_tried_is_named(
    relay: Any, tried: Any, tmp_path: Path
) -> None:
    """Not there, no text, no rules: each is a line of its own."""
    said = relay.error("explain", "--rules", "none.toml", status=1)
    assert said == "relay: none.toml: No such file or directory; name a file of rules"
    file = tmp_path / "odd.toml"
    file.write_bytes(b"\xff")
    assert "is no text in UTF-8" in relay.error(
        "explain", "--rules", "odd.toml", status=1
    )
    file.write_text("[smtp]\nlisten = []\n", "utf-8")
    said = relay.error("explain", "--rules", "odd.toml", status=2)
    assert said.startswith("relay: [smtp] cannot be re-played; take it out of the file")
    assert tried == []


def test_one_key_can_be_previewed(relay: Any, tried: Any) -> None:
    """It is tried and not saved; what cannot be tried is refused."""
    words = ("settings", "set", "match.several", "oldest")
    text = relay(*words, "--preview", "--since", "2d").stdout
    assert "newly logged" in text
    assert tried[0][0].settings == {"match.several": "oldest"}
    assert relay("settings", "get", "match.several").stdout.strip() == "all"
    said = relay.error("settings", "set", "notices.level", "all", "--preview", status=2)
    assert "notices.level cannot be tried" in said
    assert "go with --preview" in relay.error(*words, "--dry", status=2)
    assert len(tried) == 1
