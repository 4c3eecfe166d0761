"""What is refused before any resource is asked."""

from __future__ import annotations

import socket
import urllib.parse

import pytest
import requests

BASE = "/services/data/v66.0"


def error(reply):
    (first,) = reply.json()
    return reply.status_code, first["errorCode"]


def test_a_call_without_a_known_token_is_401(sandbox):
    """Checklist 1: missing and unknown tokens are sessions that do not exist."""
    sandbox.http.headers.pop("Authorization")
    assert error(sandbox.call("GET", "limits")) == (401, "INVALID_SESSION_ID")
    sandbox.http.headers["Authorization"] = "Bearer 00Dx!nonsense"
    assert error(sandbox.call("GET", "limits")) == (401, "INVALID_SESSION_ID")
    sandbox.http.headers["Authorization"] = "Basic abc"
    assert error(sandbox.call("GET", "limits")) == (401, "INVALID_AUTH_HEADER")


def test_a_session_ends_after_its_idle_time(sandbox):
    """Checklist 1: a token dies of itself when it is not used."""
    sandbox.admin("clock", {"shift_s": 7_100})
    assert sandbox.call("GET", "limits").status_code == 200
    sandbox.admin("clock", {"shift_s": 7_300})
    assert error(sandbox.call("GET", "limits")) == (401, "INVALID_SESSION_ID")


def test_versions_are_told_without_a_token(sandbox):
    """`GET /services/data/` needs no login."""
    reply = requests.get(f"{sandbox.url}/services/data/", timeout=5)
    assert "66.0" in [each["version"] for each in reply.json()]


@pytest.mark.parametrize(
    "path",
    [
        "/services/data/v99.0/limits",
        "/services/data/v66.0/nonsense",
        "/services/data/v66.0/sobjects/Nonsense/",
        "/services/data/v66.0/sobjects/Nonsense/describe",
        "/services/data/v66.0/ui-api/records",
        "/services/data/v66.0/composite/tree/Task",
        "/services/data/v66.0/composite/graph",
        "/services/data/66.0/limits",
        "/nowhere",
    ],
)
def test_an_address_that_leads_nowhere_is_404(sandbox, path):
    """Checklist 5: unknown version, object or resource."""
    assert error(sandbox.http.get(sandbox.url + path, timeout=5)) == (404, "NOT_FOUND")


def test_a_wrong_method_is_405(sandbox):
    """Checklist 4."""
    for method, path in (("PUT", "limits"), ("DELETE", "query"), ("GET", "composite")):
        reply = sandbox.call(method, path)
        assert error(reply) == (405, "METHOD_NOT_ALLOWED")


def test_a_body_that_is_not_json_by_type_is_415(sandbox):
    """Checklist 4."""
    reply = sandbox.call("POST", "sobjects/Task/", data={"Subject": "x"})
    assert error(reply) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"Subject": NaN}',
        b'{"Subject": "\\udce9"}',
        b'{"Subject": "\xff"}',
        b'{"Subject": 5}',
        b'{"Subject": "a\\u0000b"}',
        b'{"CallDurationInSeconds": "5"}',
        b'{"CallDurationInSeconds": true}',
        b'{"IsReminderSet": "true"}',
        b'{"IsReminderSet": null}',
        b'{"ActivityDate": "2026-02-30"}',
        b'{"ActivityDate": "2026-2-3"}',
        b'{"ActivityDate": "2026-02-03T00:00:00Z"}',
        b'{"ReminderDateTime": "2026-02-03T00:00:00"}',
        b'{"ReminderDateTime": "2026-02-03"}',
        b'{"WhoId": {"Email": "a@b.example"}}',
        b"[]",
        b'"x"',
        b"null",
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_into_fields_is_a_parser_error(sandbox, body):
    """Checklist 5 and 12: broken JSON, NaN, surrogates, wrong types, bad dates."""
    headers = {"Content-Type": "application/json"}
    reply = sandbox.call("POST", "sobjects/Task/", data=body, headers=headers)
    assert error(reply) == (400, "JSON_PARSER_ERROR")
    assert sandbox.admin("dump?object=Task")["Task"] == []


def test_a_surrogate_pair_is_fine(sandbox):
    """An emoji written as an escaped pair is one character, not half of one."""
    reply = sandbox.call(
        "POST",
        "sobjects/Task/",
        data=b'{"Subject": "\\ud83d\\ude00"}',
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 201
    assert sandbox.query("SELECT Subject FROM Task")[0]["Subject"] == "\U0001f600"


def test_long_addresses_and_headers_are_refused(sandbox):
    """Checklist 4: 16,384 bytes of address and headers together."""
    query = {"q": "SELECT Id FROM Contact WHERE Email = '" + "a" * 17_000 + "'"}
    reply = sandbox.call("GET", "query", params=query)
    assert error(reply) == (414, "URI_TOO_LONG")
    reply = sandbox.call("GET", "limits", headers={"X-Long": "a" * 16_400})
    assert error(reply) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")
    long = "a" * 8_000
    reply = sandbox.call(
        "GET", "query", params={"q": long}, headers={"X-Long": "b" * 8_300}
    )
    assert error(reply) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")


def test_each_answer_says_what_was_used_and_the_time_of_the_org(sandbox):
    """Checklist 6: Sforce-Limit-Info; the Date header is the sandbox's clock."""
    sandbox.admin("clock", {"now": "2030-05-01T10:00:00+00:00", "stopped": True})
    sandbox.login()
    reply = sandbox.call("GET", "limits")
    assert reply.headers["Sforce-Limit-Info"] == "api-usage=1/100000"
    assert reply.headers["Date"] == "Wed, 01 May 2030 10:00:00 GMT"
    assert reply.json()["DailyApiRequests"]["Remaining"] == 99_999
    assert sandbox.call("GET", "nonsense").headers["Sforce-Limit-Info"]


def test_the_daily_limit_holds_and_rolls(sandbox):
    """Checklist 6: over the limit 403, and free again a day later."""
    sandbox.admin("config", {"daily_limit": 10, "api_used": 9})
    assert sandbox.call("GET", "limits").status_code == 200
    reply = sandbox.call("GET", "limits")
    assert error(reply) == (403, "REQUEST_LIMIT_EXCEEDED")
    sandbox.admin("clock", {"shift_s": 86_400})
    sandbox.login()
    assert sandbox.call("GET", "limits").status_code == 200


def test_the_call_log_says_what_each_call_cost(sandbox):
    """Checklist 6: composite 1, collection 1, batch n, token nothing."""
    url = "/services/data/v66.0/query?q=" + urllib.parse.quote("SELECT Id FROM Lead")
    items = [
        {"method": "GET", "url": url, "referenceId": f"r{number}"}
        for number in range(4)
    ]
    assert sandbox.composite(*items).status_code == 200
    batch = {"batchRequests": [{"method": "GET", "url": "v66.0/limits"}] * 3}
    assert sandbox.call("POST", "composite/batch", json=batch).status_code == 200
    record = {"attributes": {"type": "Task"}, "Subject": "x"}
    body = {"records": [record] * 5}
    assert sandbox.call("POST", "composite/sobjects", json=body).status_code == 200
    calls = sandbox.admin("calls")
    seen = [
        (each["kind"], each["subrequests"], each["records"], each["counted"])
        for each in calls
    ]
    assert seen == [
        ("token", 0, 0, 0),
        ("composite", 4, 0, 1),
        ("batch", 3, 0, 3),
        ("collection", 0, 5, 1),
    ]
    assert calls[1]["queries"] == ["SELECT Id FROM Lead"] * 4
    assert sandbox.admin("health")["api_used"] == 5


def test_soap_login_is_refused(sandbox):
    """Checklist 3: SOAP login is off altogether."""
    reply = requests.post(f"{sandbox.url}/services/Soap/u/59.0", data="<x/>", timeout=5)
    assert reply.status_code == 500
    assert "INVALID_OPERATION" in reply.text


def test_half_a_request_harms_nobody(sandbox):
    """A client that hangs up in the middle leaves the org as it was."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"POST /services/data/v66.0/sobjects/Task/ HTTP/1.1\r\nHost: x\r\n")
    assert sandbox.call("GET", "limits").status_code == 200
