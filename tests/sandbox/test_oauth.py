"""The token endpoint: client credentials, JWT bearer, and what it refuses."""

from __future__ import annotations

import time

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.sandbox import CLIENT_ID, CLIENT_SECRET, INTEGRATION_USERNAME

JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@pytest.fixture(scope="module")
def other_key():
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def public_pem(key):
    return (
        key.public_key()
        .public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        .decode()
    )


def ask(sandbox, form, **kwargs):
    url = f"{sandbox.url}/services/oauth2/token"
    return requests.post(url, data=form, timeout=5, **kwargs)


def credentials(**changes):
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    return form | changes


def bearer(key, algorithm="RS256", **changes):
    claims = {
        "iss": CLIENT_ID,
        "sub": INTEGRATION_USERNAME,
        "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + 180,
    }
    token = jwt.encode(claims | changes, key, algorithm=algorithm)
    return {"grant_type": JWT, "assertion": token}


def test_client_credentials_open_a_session_of_the_run_as_user(sandbox):
    """The token acts as the integration user at this instance, and never expires."""
    body = ask(sandbox, credentials()).json()
    assert body["instance_url"] == sandbox.url
    assert body["id"].endswith("/" + sandbox.org.integration_user_id)
    assert body["token_type"] == "Bearer"
    assert not {"refresh_token", "expires_in"} & set(body)


def test_client_credentials_may_come_as_basic_authentication(sandbox):
    """RFC 6749 section 2.3.1."""
    form = {"grant_type": "client_credentials"}
    reply = ask(sandbox, form, auth=(CLIENT_ID, CLIENT_SECRET))
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (credentials(client_id="x"), "invalid_client_id"),
        (credentials(client_secret="x"), "invalid_client"),
        (credentials(client_secret=""), "invalid_client"),
        (credentials(grant_type="password"), "unsupported_grant_type"),
        ({}, "invalid_request"),
        ({"grant_type": JWT, "assertion": "a.b.c"}, "invalid_grant"),
    ],
)
def test_a_wrong_grant_is_400_with_an_oauth_body(sandbox, form, error):
    """Checklist 2: a JSON object with error and error_description."""
    reply = ask(sandbox, form)
    assert reply.status_code == 400
    assert reply.json()["error"] == error
    assert reply.json()["error_description"]


def test_client_credentials_are_refused_on_login_hosts(sandbox):
    """Checklist 2: only the My Domain host gives tokens for this flow."""
    reply = ask(sandbox, credentials(), headers={"Host": "login.salesforce.com"})
    assert reply.json()["error"] == "invalid_grant"


def test_a_jwt_of_the_registered_key_opens_a_session(sandbox, key):
    """Checklist 2: as an approved user, with exp as number or text."""
    sandbox.admin("config", {"jwt_public_key": public_pem(key)})
    assert ask(sandbox, bearer(key)).status_code == 200
    exp = str(int(time.time()) + 180)
    assert ask(sandbox, bearer(key, exp=exp)).status_code == 200
    sandbox.admin("config", {"jwt_users": ["ada@corp.example"]})
    body = ask(sandbox, bearer(key, sub="Ada@corp.example")).json()
    ada = sandbox.org.state.user_by_name("ada@corp.example")["Id"]
    assert body["id"].endswith(ada)
    assert ask(sandbox, bearer(key)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"iss": "x"}, "invalid_client_id", "identifier"),
        ({"aud": "https://evil.example"}, "invalid_grant", "audience"),
        ({"exp": 1}, "invalid_grant", "expired"),
        ({"exp": 99_999_999_999}, "invalid_grant", "too far"),
        ({"exp": None}, "invalid_grant", "missing"),
        ({"exp": "soon"}, "invalid_grant", "wrong"),
        ({"sub": "nobody@corp.example"}, "invalid_grant", "approved"),
    ],
)
def test_a_jwt_with_a_wrong_claim_is_refused(sandbox, key, changes, error, text):
    """Checklist 2: iss, aud, exp and sub are each proven."""
    sandbox.admin("config", {"jwt_public_key": public_pem(key)})
    body = ask(sandbox, bearer(key, **changes)).json()
    assert body["error"] == error
    assert text in body["error_description"]


def test_a_jwt_of_another_key_or_algorithm_is_refused(sandbox, key, other_key):
    """Checklist 2: RS256 of the registered key only."""
    assert ask(sandbox, bearer(key)).json()["error"] == "invalid_grant"
    sandbox.admin("config", {"jwt_public_key": public_pem(key)})
    assert ask(sandbox, bearer(other_key)).json()["error"] == "invalid_grant"
    assert ask(sandbox, bearer(key, "RS384")).json()["error"] == "invalid_grant"
    symmetric = bearer("a" * 48, "HS256")
    assert ask(sandbox, symmetric).json()["error"] == "invalid_grant"


def test_an_inactive_user_gets_no_token(sandbox, key):
    """An approved user who left the company cannot log in."""
    settings = {"jwt_public_key": public_pem(key), "jwt_users": ["dora@corp.example"]}
    sandbox.admin("config", settings)
    body = ask(sandbox, bearer(key, sub="dora@corp.example")).json()
    assert body["error"] == "inactive_user"
