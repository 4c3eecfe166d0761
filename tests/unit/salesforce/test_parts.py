"""Small parts: the org's shape, usage and time, tokens, the door."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from relay.config import SalesforceSettings
from relay.core.errors import (
    CredentialsRefused,
    OrgPaused,
    SalesforceLimited,
    SalesforceUnavailable,
)
from relay.salesforce import auth, describe, transport
from relay.salesforce.composite import Part
from relay.salesforce.gauge import Gauge, usage_of
from relay.salesforce.transport import Flight, TooLateError

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still."""

    def now(self):
        return NOON

    def boottime_s(self):
        return 100.0


# ------------------------------------------------------------ usage and time


@pytest.mark.parametrize(
    ("header", "usage"),
    [
        ("api-usage=18/5000", (18, 5000)),
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=x)", (25, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("api-usage=x/y", None),
        ("", None),
    ],
)
def test_usage_is_read_from_its_header(header, usage):
    """The org's own numbers count, not those of the app."""
    assert usage_of(header) == usage


def test_the_clock_of_salesforce_is_kept_as_a_difference():
    """The Date header sets Salesforce's time; nonsense leaves it."""
    gauge = Gauge(Clock())
    assert gauge.server_now() == NOON
    for text, ahead in [
        ("Wed, 04 Mar 2026 12:05:00 GMT", 300),
        ("nonsense", 300),
        ("Wed, 04 Mar 1970 12:05:00 GMT", 300),
        ("Wed, 04 Mar 2026 11:59:00 -0000", -60),
    ]:
        gauge.note("x", Flight(Clock(), 1.0, headers={"Date": text}), "ok")
        assert gauge.server_now() - NOON == timedelta(seconds=ahead)
        assert gauge.server_ahead_s() == ahead


def test_only_calls_that_left_are_counted():
    """A call that never left costs nothing of the quota."""
    gauge = Gauge(Clock())
    gauge.note("write", Flight(Clock(), 1.0), "late")
    gauge.note("write", Flight(Clock(), 1.0, left=True), "ok")
    assert gauge.calls == {"write": 1}


# ------------------------------------------------------------ transport


def test_a_flight_leaves_in_time_or_not_at_all():
    """The moment itself is still in time."""
    flight = Flight(Clock(), 1.0, not_after_s=100.0)
    flight.leave()
    assert flight.left
    late = Flight(Clock(), 1.0, not_after_s=99.9)
    with pytest.raises(TooLateError):
        late.leave()
    assert not late.left


@pytest.mark.parametrize(
    "url", ["http://example.com", "http://10.0.0.1:80", "ftp://127.0.0.1", "http://"]
)
def test_plain_http_is_for_loopback_alone(url):
    """A token never travels in clear over a network."""
    with pytest.raises(ValueError, match="loopback"):
        transport.session([url])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:80",
        "https://x.example",
    ],
)
def test_loopback_and_https_are_fine(url):
    """Loopback in clear is for sandboxes; adapters exist for this origin alone."""
    session = transport.session([url], proxy="http://proxy.example:3128")
    assert len(session.adapters) == 1
    assert session.trust_env is False
    assert bool(session.proxies) == url.startswith("https")
    session.close()


# ------------------------------------------------------------ shape


def field(name, **more):
    return {"name": name, "label": name, "type": "string", "length": 80, **more}


def described(*fields, **more):
    return Part(200, {"fields": list(fields), "createable": True, **more})


GONE = Part(404, [{"errorCode": "NOT_FOUND", "message": "m"}])
DOWN = Part(503, [{"errorCode": "SERVER_UNAVAILABLE", "message": "m"}])
BROKEN = Part(200, {"records": None})


def shape_of(*parts):
    return describe.read(parts)


def more_objects(start):
    """Return descriptions of the objects from this one on."""
    return [described()] * (len(describe.OBJECTS) - start)


def test_the_shape_holds_what_describe_says():
    """Lengths, rights, picklists and closed statuses come from the org."""
    status = {"ApiName": "Erledigt", "IsClosed": True}
    still = {"ApiName": "Offen", "IsClosed": False}
    values = [{"value": "Email", "active": True}, {"value": "Old", "active": False}]
    shape = shape_of(
        described(
            field("Subject", createable=True),
            field("TaskWhoIds", createable=True, length=0),
            field("TaskSubtype", picklistValues=values),
            {"name": 7},
            keyPrefix="00T",
        ),
        GONE,
        described(field("IsPersonAccount")),
        *[GONE] * 3,
        described(createable=False),
        *more_objects(7),
        Part(200, {"records": [still, status, 7]}),
    )
    assert shape.length("Task", "Subject") == 80
    assert shape.length("Task", "TaskWhoIds") is None
    assert shape.length("Task", "Nothing") is None
    assert shape.createable("Task", "Subject")
    assert not shape.createable("Task", "TaskSubtype")
    assert not shape.createable("EmailMessage", "Subject")
    assert shape.field("Task", "TaskSubtype").values == ("Email",)
    assert shape.shared_activities
    assert shape.person_accounts
    assert not shape.has_email_message
    assert not shape.has("Lead")
    assert shape.closed_statuses == ("Erledigt",)
    assert shape.key_prefixes == {"Task": "00T"}


@pytest.mark.parametrize("part", [DOWN, None, Part(200, []), Part(200, None)])
def test_an_object_that_cannot_be_described_now_is_not_absent(part):
    """Trouble is not taken for an org without Leads."""
    parts = [*[described()] * 3, part, *more_objects(4), BROKEN]
    with pytest.raises(SalesforceUnavailable):
        shape_of(*parts)


def test_statuses_that_cannot_be_read_are_not_needed():
    """An org that does not tell its statuses can still be used."""
    for part in (DOWN, None, BROKEN, GONE):
        assert shape_of(*more_objects(0), part).closed_statuses == ()


def test_a_refused_describe_pauses():
    """An unknown refusal is the admin's matter."""
    odd = Part(400, [{"errorCode": "INVALID_FIELD", "message": "m"}])
    with pytest.raises(OrgPaused):
        shape_of(odd, *more_objects(1), BROKEN)


def test_a_record_type_is_known_by_its_name():
    """The master is none, and what our user may not use is none either."""
    rows = [
        {
            "developerName": name,
            "recordTypeId": "012000000000001AAA",
            "available": available,
            "master": name == "Master",
        }
        for name, available in (("Master", True), ("Mail", True), ("Old", False))
    ]
    shape = shape_of(described(recordTypeInfos=rows), *more_objects(1), BROKEN)
    assert shape.record_types["Task"] == {"Mail": "012000000000001AAA"}


# ------------------------------------------------------------ tokens


@pytest.fixture
def provider():
    """Return a function that makes a provider for an instance."""

    def make(instance="https://acme.my.salesforce.com", **changes):
        settings = SalesforceSettings(
            instance_url=instance,
            client_id="id",
            client_secret=SecretStr("hush-hush"),
            **changes,
        )
        return auth.TokenProvider(settings, Clock(), observe=lambda *_: None)

    return make


ACME = "https://acme.my.salesforce.com"
LOCAL = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("configured", "told", "used"),
    [
        (ACME, "https://na1.salesforce.com", "https://na1.salesforce.com"),
        (ACME, "https://na1.salesforce.com/path?x#y", "https://na1.salesforce.com"),
        (ACME, "http://na1.salesforce.com", ACME),
        (ACME, "http://127.0.0.1:99", ACME),
        (ACME, "https://127.0.0.1", ACME),
        (ACME, "https://user@evil.example", ACME),
        (ACME, "https://x:port", ACME),
        (ACME, "nonsense", ACME),
        (ACME, None, ACME),
        (ACME, 7, ACME),
        (LOCAL, "http://localhost:9090", "http://localhost:9090"),
        (LOCAL, "https://na1.salesforce.com", LOCAL),
        (LOCAL, "http://na1.salesforce.com", LOCAL),
    ],
)
def test_the_instance_that_an_answer_names_is_used_where_it_is_safe(
    provider, configured, told, used
):
    """No answer sends tokens in clear, or from the network to this machine."""
    answer = {"access_token": "t", "instance_url": told}
    assert provider(configured)._read(200, answer).instance == used


def test_the_token_answer_names_the_user(provider):
    """The identity URL ends with the user's id; a false one is not believed."""
    answer = {"access_token": "t", "id": "https://x/id/00D000000000001/005000000000001"}
    assert provider()._read(200, answer).user_id == "005000000000001AAA"
    for odd in ("https://x/id/00D/003000000000001", "https://x/", None, 7):
        assert provider()._read(200, {**answer, "id": odd}).user_id is None


def test_a_token_does_not_show_itself(provider):
    """A token in a log line or traceback would be a key to the org."""
    assert "tok" not in repr(auth.Token("tok", ACME))


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (400, {"error": "invalid_grant", "error_description": "x"}, CredentialsRefused),
        (401, {"error": "invalid_client"}, CredentialsRefused),
        (400, {"error": "rate_limit_exceeded"}, SalesforceLimited),
        (400, {"error": "temporarily_unavailable"}, SalesforceUnavailable),
        (400, {"error": "never heard of"}, SalesforceUnavailable),
        (400, {"error": None}, SalesforceUnavailable),
        (400, {}, SalesforceUnavailable),
        (200, {"access_token": ""}, SalesforceUnavailable),
        (200, {"access_token": "a b"}, SalesforceUnavailable),
        (200, {"access_token": "a\nX: y"}, SalesforceUnavailable),
        (200, {"access_token": 7}, SalesforceUnavailable),
        (200, None, SalesforceUnavailable),
        (503, None, SalesforceUnavailable),
        (302, None, SalesforceUnavailable),
    ],
)
def test_login_answers_have_their_classes(provider, status, answer, expected):
    """Refusals pause and wait for a person, trouble is tried again."""
    with pytest.raises(expected) as caught:
        provider()._read(status, answer)
    assert "hush" not in str(caught.value)


def test_a_refusal_names_the_mend_and_no_address(provider):
    """The description is shown without the user's name."""
    answer = {
        "error": "invalid_grant",
        "error_description": "user hasn't approved this consumer: ada@corp.example",
    }
    with pytest.raises(CredentialsRefused, match="pre-authorise") as caught:
        provider()._read(400, answer)
    assert "ada" not in str(caught.value)
