"""What a row of the log says to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.cli import output
from relay.cli.log import _print_whole, records, result
from relay.console.mails import matched, plain_reason

if TYPE_CHECKING:
    import pytest


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


def test_no_class_of_a_library_is_a_reason() -> None:
    """Who reads that Salesforce is down knows more than by a name of Python."""
    row = {"records": [], "reason": "requests.exceptions.ConnectionError"}
    assert result(row) == "Salesforce did not answer"
    assert result(row | {"reason": "INVALID_FIELD"}) == "INVALID_FIELD"


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


def test_why_a_file_was_refused_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 80 columns Salesforce's reason goes on below, and the file's name does."""
    from rich.console import Console

    monkeypatch.setattr(output, "console", lambda _=0: Console(width=80))
    file: dict[str, Any] = {
        "name": "offer-for-kim.pdf",
        "size_bytes": 123456,
        "state": "refused",
        "id": "068000000000001AAA",
        "record_id": "02s000000000001AAA",
        "error": "STORAGE_LIMIT_EXCEEDED the org is full",
    }
    _print_whole({"files": [file]}, "")
    *shown, trace = [line for line in capsys.readouterr().out.splitlines() if line]
    assert all(len(line) <= 80 for line in shown)
    assert trace == "No trace."
    assert "068000000000001AAA" in shown[2]
    column = shown[0].index("error")
    error = "".join(line[column:] for line in shown[2:])
    assert "".join(error.split()) == "".join(file["error"].split())


def test_a_class_of_a_library_is_no_reason_for_people() -> None:
    """Salesforce's own codes are in capitals, and stay."""
    assert plain_reason("NewConnectionError") == "Salesforce did not answer"
    assert plain_reason("ReadTimeout") == "Salesforce did not answer"
    for word in ("REQUIRED_FIELD_MISSING", "no_record", "", None):
        assert plain_reason(word) == (word or "")


def test_a_trace_for_people_names_no_class_of_a_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Programs get it all the same: --json has the trace as it is kept."""
    step = {
        "at": "2026-01-02T03:04:05+00:00",
        "step": "org",
        "result": "paused",
        "detail": "lookup: NewConnectionError: Salesforce could not be reached.",
    }
    _print_whole({"trace": [step]}, "")
    shown = capsys.readouterr().out
    assert "lookup: Salesforce could not be reached." in shown
    assert "NewConnectionError" not in shown


def test_what_a_mail_was_matched_with_last() -> None:
    """By name; an attempt before found something else."""
    steps = [
        {"step": "parse", "result": "ok"},
        {"step": "match", "result": "Contact 003Hq000100016PIAQ Old Name"},
        {"step": "parse", "result": "ok"},
        {"step": "match", "result": "no record"},
        {"step": "match", "result": "Contact 003Hq000100016PIBQ Mara Lindqvist"},
    ]
    assert matched(steps) == [("Contact", "003Hq000100016PIBQ", "Mara Lindqvist")]
