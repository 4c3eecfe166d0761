"""The client library that people really use, against the sandbox."""

from __future__ import annotations

import pytest
from simple_salesforce import (
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
    format_soql,
)


def test_rows_through_the_client(sandbox):
    """Create, get, update, delete, describe."""
    client = sandbox.client()
    made = client.Task.create({"Subject": "Hello", "WhoId": sandbox.contact()})
    assert made["success"] is True
    assert client.Task.get(made["id"])["Subject"] == "Hello"
    assert client.Task.update(made["id"], {"Subject": "Bye"}) == 204
    assert client.Task.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        client.Task.get(made["id"])
    fields = {each["name"] for each in client.EmailMessage.describe()["fields"]}
    assert {"ToIds", "MessageIdentifier", "ActivityId"} <= fields
    assert len(client.describe()["sobjects"]) > 15


def test_queries_through_the_client(sandbox):
    """Quoting, deleted rows, and pages are what the client expects."""
    client = sandbox.client()
    soql = format_soql(
        "SELECT Id, Email FROM Contact WHERE Email IN {}", ["sam.o'neill@dune.example"]
    )
    assert client.query(soql)["totalSize"] == 1
    sandbox.admin("config", {"page_size": 3})
    found = client.query_all("SELECT Id FROM Contact")
    assert len(found["records"]) == 12
    task = client.Task.create({})["id"]
    client.Task.delete(task)
    gone = client.query_all("SELECT Id FROM Task", include_deleted=True)
    assert [each["Id"] for each in gone["records"]] == [task]
    assert client.api_usage["api-usage"].used > 0


def test_composite_through_the_client(sandbox):
    """`restful` reaches composite and collections, DELETE included."""
    client = sandbox.client()
    item = {
        "method": "POST",
        "url": "/services/data/v66.0/sobjects/Task/",
        "referenceId": "t1",
        "body": {"Subject": "x"},
    }
    reply = client.restful(
        "composite", method="POST", json={"compositeRequest": [item]}
    )
    task = reply["compositeResponse"][0]["body"]["id"]
    gone = client.restful("composite/sobjects", method="DELETE", params={"ids": task})
    assert gone[0]["success"] is True
    assert client.restful("limits")["DailyApiRequests"]["Max"] == 100_000


def test_errors_through_the_client(sandbox):
    """The bodies have the form that the client reads codes from."""
    client = sandbox.client()
    with pytest.raises(SalesforceMalformedRequest) as raised:
        client.Task.create({"WhoId": sandbox.lead(), "WhatId": sandbox.opportunity()})
    assert raised.value.content[0]["errorCode"] == "FIELD_INTEGRITY_EXCEPTION"
    sandbox.org.sessions.revoke_all()
    with pytest.raises(SalesforceExpiredSession):
        client.query("SELECT Id FROM Lead")


def test_sync_through_the_client(sandbox):
    """updated and deleted take the dates that the client writes."""
    now = sandbox.org.clock.now()
    client = sandbox.client()
    client.Task.create({"Subject": "x"})
    start = now.replace(microsecond=0)
    from datetime import timedelta

    found = client.Task.updated(
        start - timedelta(minutes=5), start + timedelta(hours=1)
    )
    assert len(found["ids"]) == 1
