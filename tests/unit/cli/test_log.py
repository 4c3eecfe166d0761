"""What a row of the log says to people."""

from __future__ import annotations

from relay.cli.log import records, result


def _record(kind: str) -> dict[str, str]:
    return {"object": kind, "id": "x", "key": "y", "rule": "z"}


def test_records_are_counted_by_object() -> None:
    """Three Tasks are one phrase."""
    row = {"records": [_record("EmailMessage"), _record("Task"), _record("Task")]}
    assert records(row) == "EmailMessage, 2 Tasks"


def test_a_message_shows_records_and_reason() -> None:
    """A dead message that wrote something says both."""
    row = {"kind": "message", "records": [_record("Task")], "reason": "INVALID_FIELD"}
    assert result(row) == "Task, INVALID_FIELD"
    assert result({"kind": "message", "records": [], "reason": None}) == ""


def test_a_copy_says_whose_records_these_are() -> None:
    """Two lines with an EmailMessage are not taken for two EmailMessages."""
    row = {"records": [_record("EmailMessage")], "reason": "", "copy_of": "01m"}
    assert result(row) == "EmailMessage (copy of 01m)"
    assert result(row | {"records": [], "reason": "no_match"}) == "no_match"


def test_a_refusal_shows_its_reply_and_how_often() -> None:
    """Folded refusals say how many they are; the long text is for `show`."""
    row = {
        "kind": "refusal",
        "reply": "550 5.1.1 There is no such address here",
        "reason": "unknown_recipient",
        "count": 12,
    }
    assert result(row) == "550 5.1.1 unknown_recipient (12 times)"
