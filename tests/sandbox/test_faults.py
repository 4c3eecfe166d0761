"""Faults on request: what a client sees, and what the org holds afterwards."""

from __future__ import annotations

import time

import pytest
import requests


def tasks(sandbox):
    return sandbox.admin("dump?object=Task")["Task"]


def create(sandbox, **kwargs):
    return sandbox.call("POST", "sobjects/Task/", json={"Subject": "x"}, **kwargs)


@pytest.mark.parametrize(
    ("stage", "kept"), [("connect", 0), ("before", 0), ("after", 1), ("answer", 1)]
)
def test_a_cut_connection_leaves_all_or_nothing(sandbox, stage, kept):
    """Checklist 40: cut before processing nothing is stored, cut after all is."""
    sandbox.admin("faults", [{"stage": stage, "kind": "reset", "count": 1}])
    with pytest.raises(requests.ConnectionError):
        create(sandbox)
    assert len(tasks(sandbox)) == kept
    last = sandbox.admin("calls")[-1]
    assert (last["status"], last["done"]) == (0, bool(kept))
    assert create(sandbox).status_code == 201


def test_a_stalled_call_is_done_although_nobody_waits(sandbox):
    """Checklist 40: a slow commit becomes visible after the client gave up."""
    fault = {"stage": "before", "kind": "stall", "delay_s": 2, "count": 1}
    sandbox.admin("faults", [fault])
    with pytest.raises(requests.ReadTimeout):
        create(sandbox, timeout=(5, 0.1))
    assert tasks(sandbox) == []
    deadline = time.monotonic() + 5
    while not tasks(sandbox) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(tasks(sandbox)) == 1


@pytest.mark.parametrize(("stage", "kept"), [("before", 0), ("after", 1)])
def test_pages_instead_of_answers(sandbox, stage, kept):
    """Checklist 40: HTML with 503 or with 200, before or after the commit."""
    sandbox.admin("faults", [{"stage": stage, "kind": "html", "count": 1}])
    reply = create(sandbox)
    assert (reply.status_code, reply.text[:6]) == (503, "<html>")
    assert len(tasks(sandbox)) == kept
    fault = {"stage": stage, "kind": "html", "code": 200, "count": 1}
    sandbox.admin("faults", [fault])
    reply = create(sandbox)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html")
    assert len(tasks(sandbox)) == kept * 2


def test_truncated_json_after_the_commit(sandbox):
    """Checklist 40: the record is there, the answer cannot be parsed."""
    fault = {"stage": "answer", "kind": "truncate", "count": 1}
    sandbox.admin("faults", [fault])
    reply = create(sandbox)
    assert reply.status_code == 201
    with pytest.raises(requests.JSONDecodeError):
        reply.json()
    assert len(tasks(sandbox)) == 1


def test_a_bad_gateway_once(sandbox):
    """Checklist 40: 502, then success."""
    sandbox.admin("faults", [{"kind": "status", "code": 502, "count": 1}])
    assert create(sandbox).status_code == 502
    assert create(sandbox).status_code == 201


def test_an_error_code_for_calls_of_one_path(sandbox):
    """A fault hits the paths that its pattern finds, and no others."""
    fault = {"kind": "error_code", "code": "QUERY_TIMEOUT", "path": "/query"}
    sandbox.admin("faults", [fault])
    soql = {"q": "SELECT Id FROM Lead"}
    reply = sandbox.call("GET", "query", params=soql)
    assert reply.json()[0]["errorCode"] == "QUERY_TIMEOUT"
    assert create(sandbox).status_code == 201


def test_a_token_expires_mid_run_or_for_ever(sandbox):
    """Checklist 1: once, and then a login helps; without a count nothing does."""
    sandbox.admin("faults", [{"kind": "expire_token", "count": 1}])
    assert create(sandbox).json()[0]["errorCode"] == "INVALID_SESSION_ID"
    assert create(sandbox).status_code == 401
    sandbox.login()
    assert create(sandbox).status_code == 201
    sandbox.admin("faults", [{"kind": "expire_token", "path": "/data/"}])
    for _ in range(3):
        sandbox.login()
        assert create(sandbox).status_code == 401


def test_the_quota_is_spent_for_a_while(sandbox):
    """Every call is refused until the time is over, then none."""
    sandbox.admin("faults", [{"kind": "quota", "delay_s": 1, "count": 1}])
    reply = create(sandbox)
    assert reply.status_code == 403
    assert reply.json()[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"
    assert create(sandbox).status_code == 403
    time.sleep(1.05)
    assert create(sandbox).status_code == 201


def test_locked_rows_hit_some_records_of_a_collection(sandbox):
    """Checklist 21: a share of records, the same ones for the same dice."""
    fault = {"kind": "lock_rows", "object": "Task", "probability": 0.2}
    record = {"attributes": {"type": "Task"}, "Subject": "x"}

    def round_trip():
        sandbox.admin("faults", {"faults": [fault], "random_seed": 7})
        body = {"records": [record] * 100}
        reply = sandbox.call("POST", "composite/sobjects", json=body)
        assert reply.status_code == 200
        return [each["success"] for each in reply.json()]

    first = round_trip()
    assert 60 < sum(first) < 95
    assert round_trip() == first
    assert len(tasks(sandbox)) == 2 * sum(first)


def test_a_locked_row_can_be_a_server_error(sandbox):
    """Checklist 21: 400, or 500 as some have seen it."""
    sandbox.admin("faults", [{"kind": "lock_rows"}])
    reply = create(sandbox)
    assert reply.status_code == 400
    assert reply.json()[0]["errorCode"] == "UNABLE_TO_LOCK_ROW"
    sandbox.admin("faults", [{"kind": "lock_rows", "status": 500}])
    assert create(sandbox).status_code == 500


def test_validation_rules_of_one_object(sandbox):
    """Checklist 42: the admin's rule refuses Tasks and leaves the rest alone."""
    fault = {
        "kind": "error_code",
        "object": "Task",
        "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "message": "Please choose a region",
    }
    sandbox.admin("faults", [fault])
    reply = create(sandbox).json()[0]
    assert reply == {
        "message": "Please choose a region",
        "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    }
    account = sandbox.call("POST", "sobjects/Account/", json={"Name": "x"})
    assert account.status_code == 201


def test_latency_is_paid_by_each_call(sandbox):
    """A set latency lets time pass before anything is done."""
    sandbox.admin("config", {"latency_s": 0.1})
    started = time.monotonic()
    create(sandbox)
    assert time.monotonic() - started >= 0.1


def test_a_fault_that_is_none_is_refused(sandbox):
    """A misspelt fault fails its test instead of doing nothing."""
    for fault in ({"kind": "nonsense"}, {"kind": "reset", "stge": "after"}, {}):
        reply = requests.post(f"{sandbox.url}/sandbox/faults", json=[fault], timeout=5)
        assert reply.status_code == 400
    for fault in ({"kind": "reset", "stage": "x"}, {"kind": "reset", "path": "("}):
        reply = requests.post(f"{sandbox.url}/sandbox/faults", json=[fault], timeout=5)
        assert reply.status_code == 400
    assert sandbox.admin("faults") == []
