"""The way into the org for one request: none, however odd, breaks it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.sandbox.api import Inbound, process
from relay.sandbox.org import SandboxOrg

BASE = "/services/data/v66.0"
ORG = SandboxOrg()
TOKEN = ORG.sessions.open(ORG.integration_user_id)
HEADERS = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
WORDS = st.sampled_from(
    [
        "Task",
        "EmailMessage",
        "ContentVersion",
        "Lead",
        "Id",
        "id",
        "type",
        "attributes",
        "records",
        "ToIds",
        "WhoId",
        "Subject",
        "Status",
        "3",
        "method",
        "url",
        "referenceId",
        "body",
        "httpHeaders",
        "GET",
        "POST",
        "r1",
        "@{r1.id}",
        "@{r1[0].id}",
        "@{",
        "allOrNone",
        "compositeRequest",
        "batchRequests",
        f"{BASE}/sobjects/Task",
        f"{BASE}/composite/sobjects",
        f"{BASE}/query?q=x",
        "v66.0/limits",
        "003RM0000068xV6YAI",
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
    ),
    max_leaves=6,
)
SUBREQUEST = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"]),
        "url": st.sampled_from(
            [
                f"{BASE}/sobjects/Task",
                f"{BASE}/sobjects/Task/@{{r1.id}}",
                f"{BASE}/composite/sobjects",
                f"{BASE}/composite/sobjects/Task?ids=x&fields=Id",
                f"{BASE}/query?q=SELECT+Id+FROM+Task",
                f"{BASE}/sobjects/%00/%ff/..%2f",
            ]
        ),
        "referenceId": st.sampled_from(["r1", "r2", "r3"]),
        "body": JSON,
    }
)
PATHS = st.sampled_from(
    [
        "composite",
        "composite/batch",
        "composite/sobjects",
        "composite/sobjects/Task",
        "composite/sobjects/Task/Subject",
        "sobjects/Task",
        "sobjects/EmailMessage",
        "sobjects/ContentVersion",
        "sobjects/Task/x",
        "sobjects/Contact/Email/x",
        "query",
    ]
)


def ask(method, path, body):
    raw = json.dumps(body).encode()
    answer, _ = process(ORG, Inbound(method, f"{BASE}/{path}", "", HEADERS, raw))
    return answer


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["GET", "POST", "PATCH", "DELETE"]), PATHS, JSON)
def test_any_json_is_answered(method, path, body):
    """Whatever stands in a body, the answer is a status below 500."""
    answer = ask(method, path, body)
    assert 200 <= answer.status < 500
    json.dumps(answer.body)


@settings(max_examples=100, deadline=None)
@given(st.lists(SUBREQUEST, max_size=4), st.booleans(), st.booleans())
def test_any_composite_is_answered(items, all_or_none, collate):
    """Odd items fail by themselves or as a whole; allOrNone keeps nothing of them."""
    before = {name: len(rows) for name, rows in ORG.dump().items()}
    body = {
        "allOrNone": all_or_none,
        "collateSubrequests": collate,
        "compositeRequest": items,
    }
    answer = ask("POST", "composite", body)
    assert answer.status in {200, 400}
    if answer.status == 200:
        inner = answer.body["compositeResponse"]
        assert [each["referenceId"] for each in inner] == [
            each["referenceId"] for each in items
        ]
        if all_or_none and any(each["httpStatusCode"] >= 300 for each in inner):
            after = {name: len(rows) for name, rows in ORG.dump().items()}
            assert after == before


@pytest.mark.parametrize(
    "path", ["//", "/services/data/v66.0/%zz/%", "/services/data/v66.0//sobjects"]
)
def test_odd_paths_are_not_found(path):
    """Bytes that are no path lead nowhere."""
    answer, _ = process(ORG, Inbound("GET", path, "", HEADERS))
    assert answer.status == 404


def test_a_body_of_more_than_50_mb_is_refused():
    """Checklist 28: what is larger goes as multipart."""
    raw = b" " * (50 * 1024 * 1024 + 1)
    inbound = Inbound("POST", f"{BASE}/sobjects/Task", "", HEADERS, raw)
    answer, _ = process(ORG, inbound)
    assert answer.status == 413
