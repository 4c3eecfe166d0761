"""Composite, collections and batch: several requests in one call."""

from __future__ import annotations

import urllib.parse

import pytest

BASE = "/services/data/v66.0"


def soql(text, name="q"):
    url = f"{BASE}/query/?q={urllib.parse.quote(text)}"
    return {"method": "GET", "url": url, "referenceId": name}


def task(name, **fields):
    return {
        "method": "POST",
        "url": f"{BASE}/sobjects/Task/",
        "referenceId": name,
        "body": {"Subject": "x", **fields},
    }


def records(name, *rows, **options):
    return {
        "method": "POST",
        "url": f"{BASE}/composite/sobjects",
        "referenceId": name,
        "body": {"records": [record(**row) for row in rows], **options},
    }


def record(kind="Task", **fields):
    return {"attributes": {"type": kind}, **fields}


def items(reply):
    assert reply.status_code == 200, reply.text
    return {each["referenceId"]: each for each in reply.json()["compositeResponse"]}


def statuses(reply):
    return {name: each["httpStatusCode"] for name, each in items(reply).items()}


def tasks(sandbox):
    return sandbox.admin("dump?object=Task")["Task"]


@pytest.mark.parametrize(
    "broken",
    [
        [task(f"r{number}") for number in range(26)],
        [soql("SELECT Id FROM Lead", f"r{number}") for number in range(6)],
        [
            *(soql("SELECT Id FROM Lead", f"r{number}") for number in range(3)),
            *(records(f"c{number}", {}) for number in range(3)),
        ],
        [task("bad-name")],
        [task("_bad")],
        [task("")],
        [task("same"), task("same")],
        [{**task("a"), "url": "/sobjects/Task/"}],
        [{**task("a"), "url": "https://evil.example" + BASE}],
        [{**task("a"), "url": "/services/data/66.0/sobjects/Task"}],
        [{**task("a"), "url": f"{BASE}/composite"}],
        [{**task("a"), "method": "post"}],
        [{**task("a"), "httpHeaders": {"Authorization": "Bearer x"}}],
        [{**task("a"), "httpHeaders": {"content-type": "text/plain"}}],
        [],
        ["x"],
    ],
)
def test_a_malformed_item_refuses_the_whole_request(sandbox, broken):
    """Checklist 33: 400, and nothing was done for the good ones either."""
    good = [task("fine")] if len(broken) < 3 and broken else []
    reply = sandbox.composite(*good, *broken)
    assert reply.status_code == 400
    assert reply.json()[0]["errorCode"] in {"INVALID_INPUT", "LIMIT_EXCEEDED"}
    assert tasks(sandbox) == []


def test_each_item_has_its_own_status(sandbox):
    """Checklist 34: the whole answers 200; what worked is kept."""
    reply = sandbox.composite(task("a"), task("b", Nonsense=1), task("c"))
    assert statuses(reply) == {"a": 201, "b": 400, "c": 201}
    assert items(reply)["b"]["body"][0]["errorCode"] == "INVALID_FIELD"
    assert items(reply)["a"]["httpHeaders"]["Location"].startswith(BASE)
    assert len(tasks(sandbox)) == 2


def test_all_or_none_takes_everything_back(sandbox):
    """Checklist 34: others say PROCESSING_HALTED, those that had succeeded too."""
    reply = sandbox.composite(
        task("a"),
        {**task("b", Nonsense=1), "httpHeaders": {"X-Keep": "order"}},
        task("c"),
        allOrNone=True,
    )
    found = items(reply)
    assert statuses(reply) == {"a": 400, "b": 400, "c": 400}
    assert found["b"]["body"][0]["errorCode"] == "INVALID_FIELD"
    for name in ("a", "c"):
        assert found[name]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert tasks(sandbox) == []


def test_a_collection_goes_on_claiming_what_was_rolled_back(sandbox):
    """Checklist 34: an embedded collection may still say success."""
    reply = sandbox.composite(
        records("many", {"Subject": "x"}),
        task("bad", Nonsense=1),
        allOrNone=True,
        collateSubrequests=False,
    )
    assert items(reply)["many"]["body"][0]["success"] is True
    assert tasks(sandbox) == []


def test_references_link_items(sandbox):
    """Checklist 34: create answers have `id`, reads have `Id`; case matters."""
    email = {
        "method": "POST",
        "url": f"{BASE}/sobjects/EmailMessage",
        "referenceId": "mail",
        "body": {"Status": "3", "Subject": "x"},
    }
    relation = {
        "method": "POST",
        "url": f"{BASE}/sobjects/EmailMessageRelation",
        "referenceId": "from",
        "body": {
            "EmailMessageId": "@{mail.id}",
            "RelationType": "FromAddress",
            "RelationAddress": "ada@corp.example",
        },
    }
    read = {
        "method": "GET",
        "url": BASE + "/sobjects/EmailMessage/@{mail.id}?fields=ActivityId",
        "referenceId": "read",
    }
    update = {
        "method": "PATCH",
        "url": BASE + "/sobjects/Task/@{read.ActivityId}",
        "referenceId": "own",
        "body": {"Subject": "mine"},
    }
    reply = sandbox.composite(relation, update, read, email)
    assert statuses(reply) == {"mail": 201, "from": 201, "read": 200, "own": 204}
    assert tasks(sandbox)[0]["Subject"] == "mine"
    relation["body"]["EmailMessageId"] = "@{mail.Id}"
    reply = sandbox.composite(email, relation)
    assert statuses(reply) == {"mail": 201, "from": 400}
    assert "mail.Id" in items(reply)["from"]["body"][0]["message"]


def test_what_depends_on_a_failure_is_skipped(sandbox):
    """Checklist 34: dependents fail, the rest commits."""
    child = task("child", Subject="@{bad.id}")
    reply = sandbox.composite(task("bad", Nonsense=1), child, task("free"))
    assert statuses(reply) == {"bad": 400, "child": 400, "free": 201}


def test_independent_items_run_in_any_order(sandbox):
    """Checklist 34: only collateSubrequests false, or a header, keeps the order."""

    def order(**options):
        sandbox.composite(*(task(f"r{n}", Subject=str(n)) for n in range(8)), **options)
        found = sandbox.query("SELECT Subject FROM Task ORDER BY Id")
        sandbox.admin("reset", {})
        sandbox.login()
        return [each["Subject"] for each in found]

    straight = [str(number) for number in range(8)]
    assert order() != straight
    assert order(collateSubrequests=False) == straight


def test_queries_inside_a_composite(sandbox):
    """Four look-ups are one call; one bad query fails alone."""
    reply = sandbox.composite(
        soql("SELECT Id, Email FROM Contact WHERE Email IN ('MARA@acme.example')", "a"),
        soql("SELECT Nonsense FROM Lead", "b"),
        soql("SELECT Id FROM User WHERE IsActive = true", "c"),
    )
    assert statuses(reply) == {"a": 200, "b": 400, "c": 200}
    assert items(reply)["a"]["body"]["records"][0]["Id"] == sandbox.contact()
    assert items(reply)["b"]["body"][0]["errorCode"] == "INVALID_FIELD"
    assert sandbox.admin("health")["api_used"] == 1


def test_addresses_inside_a_composite_are_encoded_and_short(sandbox):
    """A raw space, and more than 16,384 bytes, fail the item."""
    raw = {**soql("x"), "url": f"{BASE}/query?q=SELECT Id FROM Lead"}
    long = soql("SELECT Id FROM Lead WHERE Email = '" + "a" * 17_000 + "'", "long")
    reply = sandbox.composite(raw, long)
    assert statuses(reply) == {"q": 400, "long": 414}


def test_a_collection_answers_for_each_record(sandbox):
    """Checklist 35: in order, with statusCode; one bad record fails alone."""
    body = {"records": [record(), record(Nonsense=1), record(WhoId="zzz"), record()]}
    reply = sandbox.call("POST", "composite/sobjects", json=body)
    assert [each["success"] for each in reply.json()] == [True, False, False, True]
    (problem,) = reply.json()[1]["errors"]
    assert problem["statusCode"] == "INVALID_FIELD"
    assert "errorCode" not in problem
    assert reply.json()[2]["errors"][0]["statusCode"] == "MALFORMED_ID"
    assert len(tasks(sandbox)) == 2


def test_a_collection_can_be_all_or_none(sandbox):
    """Checklist 35: rolled back ones say so."""
    body = {"allOrNone": True, "records": [record(), record(Nonsense=1)]}
    reply = sandbox.call("POST", "composite/sobjects", json=body).json()
    codes = [each["errors"][0]["statusCode"] for each in reply]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_FIELD"]
    assert tasks(sandbox) == []


@pytest.mark.parametrize(
    "rows",
    [
        [record()] * 201,
        [record("Task"), record("Lead")] * 6,
        [record(id="00T000000000000AAA")],
        [record(Id="00T000000000000AAA")],
        [{"Subject": "x"}],
        [{"attributes": {}, "Subject": "x"}],
        ["x"],
        [],
        [record(Subject=5), record()],
    ],
)
def test_a_malformed_collection_is_refused_as_a_whole(sandbox, rows):
    """Checklist 35: too many, too many chunks, ids, no type, unreadable."""
    reply = sandbox.call("POST", "composite/sobjects", json={"records": rows})
    assert reply.status_code == 400
    assert tasks(sandbox) == []


def test_collections_update_read_upsert_and_delete(sandbox):
    """The other verbs, with results in the order of the request."""
    made = sandbox.call(
        "POST", "composite/sobjects", json={"records": [record(), record()]}
    ).json()
    first, second = (each["id"] for each in made)
    body = {"records": [record(id=first, Subject="new"), record(id="00T", Subject="x")]}
    reply = sandbox.call("PATCH", "composite/sobjects", json=body).json()
    assert [each["success"] for each in reply] == [True, False]
    twice = {"records": [record(id=i, Subject="new") for i in (first, first[:15])]}
    reply = sandbox.call("PATCH", "composite/sobjects", json=twice).json()
    assert [each["success"] for each in reply] == [True, False]
    assert reply[1]["errors"][0]["statusCode"] == "DUPLICATE_VALUE"
    path = f"composite/sobjects/Task?ids={second},{first}&fields=Subject"
    reply = sandbox.call("GET", path).json()
    assert [each["Subject"] for each in reply] == [None, "new"]
    body = {"ids": [first, "00T000000000000AAA"], "fields": ["Id"]}
    reply = sandbox.call("POST", "composite/sobjects/Task", json=body).json()
    assert (reply[0]["Id"], reply[1]) == (first, None)
    path = f"composite/sobjects?ids={first},{second}"
    reply = sandbox.call("DELETE", path).json()
    assert [each["id"] for each in reply] == [first, second]


def test_a_collection_upserts_by_a_key(sandbox):
    """`created` says whether a record is new; a second record of a key fails."""
    field = {"object": "Task", "name": "Key__c", "unique": True, "external_id": True}
    sandbox.admin("config", {"custom_fields": [field]})
    rows = [record(Key__c="a"), record(Key__c="b"), record(Key__c="A")]
    path = "composite/sobjects/Task/Key__c"
    reply = sandbox.call("PATCH", path, json={"records": rows}).json()
    assert [each.get("created") for each in reply] == [True, True, None]
    reply = sandbox.call("PATCH", path, json={"records": rows[:1]}).json()
    assert reply[0]["created"] is False


def test_rivals_within_one_request_are_unknown(sandbox):
    """A duplicate of a record that is not committed yet names no id."""
    field = {"object": "Task", "name": "Key__c", "unique": True}
    sandbox.admin("config", {"custom_fields": [field]})
    body = {"records": [record(Key__c="a"), record(Key__c="a")]}
    reply = sandbox.call("POST", "composite/sobjects", json=body).json()
    assert "<unknown>" in reply[1]["errors"][0]["message"]


def test_a_batch_is_independent_and_can_halt(sandbox):
    """Each request has its status; haltOnError stops the rest."""
    good = {"method": "POST", "url": "v66.0/sobjects/Task", "richInput": {}}
    bad = {"method": "GET", "url": "v66.0/nonsense"}
    reply = sandbox.call(
        "POST", "composite/batch", json={"batchRequests": [good, bad, good]}
    ).json()
    assert reply["hasErrors"] is True
    assert [each["statusCode"] for each in reply["results"]] == [201, 404, 201]
    body = {"batchRequests": [good, bad, good], "haltOnError": True}
    reply = sandbox.call("POST", "composite/batch", json=body).json()
    assert [each["statusCode"] for each in reply["results"]] == [201, 404, 412]


def test_the_work_of_a_composite_grows_with_its_records(sandbox):
    """Five collections of 200 tasks cost five times one of them, not 25 times."""
    rows = [
        {"Subject": f"s{n}", "Description": "x" * 2_000, "WhoId": sandbox.contact()}
        for n in range(200)
    ]

    def steps(collections):
        body = {
            "compositeRequest": [records(f"r{n}", *rows) for n in range(collections)]
        }
        called, answer = sandbox.steps("POST", "composite", body=body)
        for item in answer["compositeResponse"]:
            assert [each["success"] for each in item["body"]] == [True] * 200
        return called

    assert steps(5) < 5.5 * steps(1)
    assert len(tasks(sandbox)) == 1_200
