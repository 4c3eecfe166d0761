"""Alerts as values: what ends one, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.core.alerts import Alert, AlertRule, Finding, Look, hint, sentence
from relay.core.translate import LANGUAGES, texts

AT = datetime(2026, 3, 1, 6, tzinfo=UTC)
FACTS = {
    "since": "2026-03-01T05:00:00+00:00",
    "until": "2026-03-21T05:00:00+01:00",
    "cause": "invalid_client",
    "percent": 91,
    "used": 910,
    "limit": 1000,
    "own": 7,
    "count": 12,
    "usual": 1.5,
    "user": "Ada <ada@corp.example>",
    "file": "/etc/relay/tls.pem",
    "host": "mx",
    "free": 3 << 29,
}


def alert(rule=AlertRule.DISK, subject="mx:store", facts=None):
    return Alert(1, rule, subject, FACTS if facts is None else facts, AT, AT)


def test_an_alert_ends_when_its_rule_was_looked_at_and_does_not_hold():
    """Not by another rule, on another machine, or near the threshold."""
    one = alert()
    disk = frozenset({AlertRule.DISK})
    assert Look(disk).ends(one)
    assert Look(disk, place="mx:").ends(one)
    assert not Look(disk, place="other:").ends(one)
    assert not Look(frozenset({AlertRule.QUEUE})).ends(one)
    assert not Look(disk, kept=frozenset({one.key})).ends(one)
    assert not Look(disk, (Finding(*one.key),)).ends(one)
    assert Look(disk, (Finding(AlertRule.DISK, "mx:other"),)).ends(one)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("rule", AlertRule)
def test_each_rule_has_words_in_each_language(rule, language):
    """Raised, ended, and what to do; with the facts in them."""
    said = texts(language)
    raised = sentence(alert(rule), said)
    ended = sentence(replace(alert(rule), cleared_at=AT), said)
    assert raised != ended
    assert hint(rule, said)
    for text in (raised, ended):
        assert "{" not in text
        assert "?" not in text


def test_facts_are_written_for_people():
    """Times in UTC, disk in GiB; a fact that is missing is a question mark."""
    assert sentence(alert()) == "Only 1.5 GiB of disk space are free on mx"
    said = sentence(alert(AlertRule.CERTIFICATE))
    assert said == "The certificate in /etc/relay/tls.pem ends on 2026-03-21 04:00 UTC"
    assert sentence(alert(facts={})) == "Only ? GiB of disk space are free on ?"
    assert "test" in sentence(None)


def test_an_alert_as_json():
    """Its stable names."""
    row = replace(alert(), cleared_at=AT).as_json()
    assert row["state"] == "cleared"
    assert row["cleared_at"] == "2026-03-01T06:00:00+00:00"
    assert list(row) == [
        *("id", "rule", "subject", "state", "raised_at", "cleared_at", "told_at"),
        *("told", "text", "hint", "facts"),
    ]
    assert alert().as_json()["cleared_at"] is None
