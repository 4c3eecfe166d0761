"""Tokens: what an answer of the token endpoint is taken for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from relay.config import SalesforceSettings
from relay.core.errors import (
    CredentialsRefused,
    SalesforceLimited,
    SalesforceUnavailable,
)
from relay.salesforce import auth

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still."""

    def now(self):
        return NOON

    def boottime_s(self):
        return 100.0


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
