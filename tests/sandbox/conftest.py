"""A sandbox on a real loopback port, and clients that talk to it over HTTP."""

from __future__ import annotations

import json
import sys
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests
import requests.adapters
from simple_salesforce import Salesforce

from relay.sandbox import CLIENT_ID, CLIENT_SECRET, SandboxOrg
from relay.sandbox.api import Inbound, process
from tests.fakes.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "/services/data/v66.0"


class Loopback(requests.adapters.HTTPAdapter):
    """Sends `https://` requests to a plain port of this machine."""

    def __init__(self, url):
        self.url = url
        super().__init__()

    def send(self, request, **kwargs):
        parts = urllib.parse.urlsplit(request.url)
        rest = parts.path + (f"?{parts.query}" if parts.query else "")
        request.url = self.url + rest
        kwargs["timeout"] = kwargs.get("timeout") or 5
        return super().send(request, **kwargs)


@dataclass
class Sandbox:
    """A running sandbox, with a session that has a token."""

    org: SandboxOrg
    url: str
    http: requests.Session

    def login(self):
        form = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        reply = requests.post(f"{self.url}/services/oauth2/token", data=form, timeout=5)
        assert reply.status_code == 200, reply.text
        token = reply.json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        return reply.json()

    def call(self, method, path, **kwargs) -> requests.Response:
        kwargs.setdefault("timeout", 5)
        return self.http.request(method, f"{self.url}{BASE}/{path}", **kwargs)

    def query(self, soql) -> list[dict[str, Any]]:
        return self.call("GET", "query", params={"q": soql}).json()["records"]

    def composite(self, *items, **options) -> requests.Response:
        body = {**options, "compositeRequest": list(items)}
        return self.call("POST", "composite", json=body)

    def steps(self, method, path, *, body=None, query="") -> tuple[int, Any]:
        """Count the functions called for one request, and return its answer's body.

        The count grows with the work, and is the same on every machine.
        """
        token = self.http.headers["Authorization"]
        headers = {"authorization": token, "content-type": "application/json"}
        data = b"" if body is None else json.dumps(body).encode()
        request = Inbound(method, f"{BASE}/{path}", query, headers, data)
        called = 0

        def count(_frame, event, _argument):
            nonlocal called
            called += event in {"call", "c_call"}

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            answer, _ = process(self.org, request)
        finally:
            sys.setprofile(before)
        assert answer.status == 200, answer
        return called, answer.body

    def admin(self, path, body=None):
        method = "GET" if body is None else "POST"
        reply = requests.request(
            method, f"{self.url}/sandbox/{path}", json=body, timeout=5
        )
        assert reply.status_code == 200, reply.text
        return reply.json()

    def contact(self, address="mara@acme.example"):
        return self.org.rows.lookup("Contact", "Email", [address])[0]["Id"]

    def lead(self, address="peter@gale.example"):
        return self.org.rows.lookup("Lead", "Email", [address])[0]["Id"]

    def opportunity(self, name="Acme: 40 torque wrenches"):
        return self.org.rows.lookup("Opportunity", "Name", [name])[0]["Id"]

    def client(self) -> Salesforce:
        """Return the client that people really use, in direct mode."""
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", Loopback(self.url))
        token = self.http.headers["Authorization"].removeprefix("Bearer ")
        return Salesforce(
            session_id=token,
            instance_url=self.url.replace("http://", "https://"),
            version="66.0",
            session=session,
        )


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[SandboxOrg, str]]:
    with served() as org:
        yield org, org.url


@pytest.fixture
def sandbox(server) -> Iterator[Sandbox]:
    org, url = server
    with org.lock:
        org.reset()
    with requests.Session() as http:
        http.trust_env = False
        sandbox = Sandbox(org, url, http)
        sandbox.login()
        yield sandbox
