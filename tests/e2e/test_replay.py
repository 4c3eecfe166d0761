"""A change of rules is tried on past mail: the difference is right, nothing is written.

The mails came over SMTP and were logged in a sandbox org; then the relay is stopped, so
that every call that the org counts is one of the re-play.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.processes import RelayProcess, mail_to

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(300)

RULES = """\
[match]
several = "oldest"

[automatic]
list_mail = "log"

[[exclude]]
pattern = "*@secret.example"
"""


@dataclass
class Past:
    """Mails that came, by what they are for, and the records that they are on."""

    relay: RelayProcess
    sandbox: SandboxProcess
    mails: dict[str, str]
    older: str
    newer: str
    lead: str
    secret: str

    def explain(self, *arguments: str, status: int = 0) -> Any:
        """Try rules; return the rows of mails and the last row."""
        *rows, last = self.relay.json("explain", *arguments, status=status)
        return {row["id"]: row for row in rows}, last

    def rules(self, text: str) -> str:
        """Write a file of rules and return its path."""
        file = self.relay.folder / "new.toml"
        file.write_text(text, "utf-8")
        return str(file)

    def state(self) -> tuple[Any, Any]:
        """Return everything that the org and the store hold, but how calls stand."""
        org = self.sandbox.get("/sandbox/dump")
        with closing(sqlite3.connect(self.relay.folder / "relay.db")) as database:
            tables = [
                name
                for (name,) in database.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' "
                    "AND name NOT IN ('api_calls', 'api_readings')"
                )
            ]
            rows = {
                name: database.execute(f"SELECT * FROM {name}").fetchall()
                for name in tables
            }
        return org, rows

    def calls(self) -> int:
        """Return how many calls the org has counted."""
        return int(self.sandbox.get("/sandbox/health")["api_used"])


@pytest.fixture
def past(relay: RelayProcess, sandbox: SandboxProcess, ada: str) -> Past:
    """Let six mails come and be logged or left out; then stop the relay."""
    older = sandbox.person("Contact", "kim@customer.example")
    newer = sandbox.person("Contact", "kim@customer.example")
    lead = sandbox.person("Lead", "lee@prospect.example")
    secret = sandbox.person("Contact", "sue@secret.example")
    listed = {"List-Id": "<news.corp.example>"}
    mails = {
        "two records": mail_to("kim@customer.example", Subject="Two records"),
        "unknown": mail_to("nobody@customer.example"),
        "list": mail_to("lee@prospect.example", **listed),
        "secret": mail_to("sue@secret.example", cc=["lee@prospect.example"]),
        "plain": mail_to("lee@prospect.example"),
        "internal": mail_to("bob@corp.example"),
    }
    ids = {name: relay.send(mail, ada) for name, mail in mails.items()}
    states = {name: relay.settled(id_)["state"] for name, id_ in ids.items()}
    assert states == {
        "two records": "logged",
        "unknown": "unmatched",
        "list": "skipped",
        "secret": "logged",
        "plain": "logged",
        "internal": "skipped",
    }
    assert relay.stop() == 0
    return Past(relay, sandbox, ids, older, newer, lead, secret)


def test_a_change_is_tried_on_mail_that_came(past: Past) -> None:
    """The difference, its cost before, a window, one key; nothing of it is written."""
    state = past.state()
    _difference(past)
    _estimate(past)
    _window(past)
    _one_key(past)
    assert past.state() == state


def test_what_changed_since_is_told(past: Past) -> None:
    """Records of today, bytes that are gone, calls that are near their end."""
    _todays_records(past)
    _bytes_gone(past)
    _calls_near_their_end(past)


def _difference(past: Past) -> None:
    """Each mail that would end otherwise, with before and after; none beside."""
    calls = past.calls()
    rows, summary = past.explain("--rules", past.rules(RULES))
    used = past.calls() - calls

    found = {name: rows.get(id_) for name, id_ in past.mails.items()}
    assert {name for name, row in found.items() if row} == {
        "two records",
        "list",
        "secret",
    }
    two = found["two records"]
    assert two["difference"] == "other_records"
    assert _ids(two["before"]) == {past.older, past.newer}
    assert _ids(two["after"]) == {past.older}
    assert {i for one in two["in_salesforce"] for i in one["on"]} >= {past.older}
    assert (two["users"], two["subject"]) == (["ada@corp.example"], "Two records")

    listed = found["list"]
    assert listed["difference"] == "newly_logged"
    assert listed["happened"] == {"state": "skipped", "reason": "list_mail"}
    assert listed["before"]["state"] == "skipped"
    assert _ids(listed["after"]) == {past.lead}
    assert listed["in_salesforce"] == []

    secret = found["secret"]
    assert secret["difference"] == "no_longer_logged"
    assert secret["after"]["reason"] == "excluded"
    assert secret["in_salesforce"], "what was written stays, and is shown"

    assert summary == {
        "row": "summary",
        "mails": 6,
        "looked_at": 6,
        "differ": 3,
        "newly_logged": 1,
        "no_longer_logged": 1,
        "other_records": 1,
        "other_fields": 0,
        "other_reason": 0,
        "gone": 0,
        "unreadable": 0,
        "api_calls": used,
        "stopped": "",
        "next_before": None,
    }
    # One describes the org, one looks up everybody; what both rules ask is asked once.
    assert used <= 3


def _todays_records(past: Past) -> None:
    """A person who came to Salesforce since is found by both rules alike."""
    past.sandbox.person("Contact", "nobody@customer.example")
    rows, summary = past.explain("--rules", past.rules('[match]\nseveral = "oldest"\n'))
    assert set(rows) == {past.mails["two records"]}
    assert summary["differ"] == 1


def _estimate(past: Past) -> None:
    """--dry counts the calls before they are made, and makes none."""
    calls = past.calls()
    rules = past.rules(RULES)
    rows, estimate = past.explain("--rules", rules, "--dry")
    assert (rows, past.calls()) == ({}, calls)
    _, summary = past.explain("--rules", rules)
    assert estimate == {"row": "estimate", "mails": 6, "api_calls": 2}
    assert abs(summary["api_calls"] - estimate["api_calls"]) <= 1


def _window(past: Past) -> None:
    """--until, --limit and --user narrow what is looked at."""
    rules = past.rules(RULES)
    rows, summary = past.explain("--rules", rules, "--limit", "1")
    assert (rows, summary["mails"], summary["looked_at"]) == ({}, 1, 1)
    _, summary = past.explain("--rules", rules, "--since", "3d", "--until", "2d")
    assert (summary["mails"], summary["api_calls"]) == (0, 0)
    _, summary = past.explain("--rules", rules, "--user", "Ada Rep", "--limit", "2")
    assert summary["mails"] == 2


def _one_key(past: Past) -> None:
    """`settings set --preview` shows the same difference, and sets nothing."""
    preview = ("settings", "set", "match.several", "oldest", "--preview")
    *rows, summary = past.relay.json(*preview)
    assert [row["id"] for row in rows] == [past.mails["two records"]]
    assert summary["other_records"] == 1
    done = past.relay.run("settings", "get", "match.several")
    assert done.stdout.decode().strip() == "all"
    gone = ("settings", "set", "match.contact_email_fields", "Email,Gone__c")
    said = past.relay.run(*gone, "--preview", status=2).stderr.decode()
    assert "does not fit the org: Contact.Gone__c" in said
    apply = ("settings", "preset", "apply", "email-to-salesforce", "--preview")
    *_, summary = past.relay.json(*apply)
    assert (summary["looked_at"], summary["stopped"]) == (6, "")
    text = past.relay.run(*preview).stdout.decode()
    assert "on other records" in text
    assert f"now:           logged on Contact {past.older}" in text
    assert "6 mails looked at, 1 differ: 1 on other records." in text
    assert "nothing was written" in text


def _calls_near_their_end(past: Past) -> None:
    """Where mail would be slowed down, a re-play stops and says from where to go on."""
    # By what the org reported while the mails were logged, calls are near their end.
    past.relay.set(salesforce__slow_at=0.000001)
    calls = past.calls()
    rows, summary = past.explain("--rules", past.rules(RULES), status=1)
    assert (rows, summary["looked_at"]) == ({}, 0)
    assert summary["stopped"].startswith("the rest of the API calls is kept for mail")
    assert summary["next_before"]
    assert past.calls() == calls


def _bytes_gone(past: Past) -> None:
    """What the store holds no longer cannot be decided again, and is told."""
    with closing(sqlite3.connect(past.relay.folder / "relay.db")) as database:
        database.execute(
            "UPDATE blobs SET data = NULL, file = 'gone' WHERE id = "
            "(SELECT blob_id FROM messages WHERE id = ?)",
            (past.mails["plain"],),
        )
        database.commit()
    done = past.relay.run("explain", "--rules", past.rules(RULES), "--json")
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["gone"], summary["looked_at"], summary["differ"]) == (1, 5, 3)
    text = past.relay.run("explain", "--rules", past.rules(RULES)).stdout.decode()
    assert "1 mail is no longer in the store" in text


def _ids(outcome: dict[str, Any]) -> set[str]:
    return {record["id"] for record in outcome["records"]}
