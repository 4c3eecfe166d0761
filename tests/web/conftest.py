"""A relay that is served on loopback in a thread, asked over real HTTP.

Every answer of the API is checked against the OpenAPI document, whatever a test is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema
import pytest

from relay.app import App
from relay.config import load
from relay.core.access import Scope
from relay.core.clock import SystemClock
from relay.store.schema import metadata
from relay.web.api.app import APIRoute
from relay.web.api.gate import HEADERS
from tests.cli.conftest import CONFIG, Relay

pytestmark = pytest.mark.timeout(60)


class Answer:
    """One answer."""

    def __init__(self, status, headers, data):
        self.status = status
        self.headers = headers
        self.data = data

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def etag(self):
        return {"If-Match": self.headers["ETag"]}


class Document:
    """The OpenAPI document, as a judge of answers."""

    def __init__(self, document):
        self.document = document

    def operation(self, method, path):
        """Return the operation of a path; the most literal template wins."""
        parts = path.partition("?")[0].split("/")
        fitting = [
            template
            for template in self.document["paths"]
            if len(template.split("/")) == len(parts)
            and all(
                ours == theirs or ours.startswith("{")
                for ours, theirs in zip(template.split("/"), parts, strict=True)
            )
        ]
        best = min(fitting, key=lambda one: one.count("{"), default=None)
        return self.document["paths"].get(best, {}).get(method.lower())

    def check(self, method, path, answer):
        operation = self.operation(method, path)
        if operation is None:
            assert answer.status in {401, 404, 405, 429}, (method, path, answer.status)
            return
        described = operation["responses"].get(str(answer.status))
        assert described, (method, path, answer.status, answer.data)
        kind = (answer.headers.get("Content-Type") or "").partition(";")[0]
        content = described.get("content")
        if not content:
            assert not answer.data
            return
        assert kind in content, (method, path, kind, list(content))
        if kind.endswith("json"):
            schema = content[kind]["schema"] | {
                "components": self.document["components"]
            }
            jsonschema.Draft202012Validator(
                schema, format_checker=jsonschema.FormatChecker()
            ).validate(answer.json)


class MovedClock(SystemClock):
    """The machine's clock, or some time ahead of it."""

    ahead = timedelta()

    def now(self):
        return super().now() + self.ahead


class Served(Relay):
    """The relay, its commands, and its API."""

    document: Document | None = None

    def start(self):
        self._loop = asyncio.new_event_loop()
        up, self._stop = threading.Event(), asyncio.Event()
        self.failure = None

        async def serve():
            self.clock = MovedClock()
            app = App(load(self.config, {}), roles=frozenset({"web"}), clock=self.clock)
            try:
                await app.start()
                self.port = app.web.listening[1]
                self.routes = app.web.app.routes
                (self.gate,) = [r.api for r in self.routes if isinstance(r, APIRoute)]
            except BaseException as error:
                self.failure = error
                raise
            finally:
                up.set()
            await self._stop.wait()
            await app.drain()

        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(serve(),)
        )
        self._thread.start()
        assert up.wait(60)
        assert self.failure is None, self.failure
        self.document = Document(self.call("GET", "/api/openapi.json").json)

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._loop.close()

    def in_gate(self, job):
        """Do something to the gate, in its own thread."""
        done = threading.Event()

        def work():
            job(self.gate)
            done.set()

        self._loop.call_soon_threadsafe(work)
        assert done.wait(10)

    @contextlib.contextmanager
    def clock_moved(self, seconds):
        """Let the relay's clock go ahead for a while."""
        self.clock.ahead = timedelta(seconds=seconds)
        yield
        self.clock.ahead = timedelta()

    def token(self, name, *scopes, user=None, **options):
        """Make a token; return the header that shows it."""
        arguments = [part for scope in scopes for part in ("--scope", scope)]
        arguments += ["--user", user] if user else []
        for option, value in options.items():
            arguments += [f"--{option}", value]
        (row,) = self.json("token", "add", name, *arguments)
        return {"Authorization": f"Bearer {row['token']}"}

    def call(self, method, path, headers=None, body=None, **query) -> Answer:
        """Ask the API; the answer is checked against its description."""
        if query:
            path = f"{path}?{urlencode(query, doseq=True)}"
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, sent)
            found = connection.getresponse()
            answer = Answer(found.status, found.headers, found.read())
        finally:
            connection.close()
        if path.startswith("/api/"):
            for name, value in HEADERS.items():
                assert answer.headers[name] == value
            assert "Access-Control-Allow-Origin" not in answer.headers
            if answer.status >= 400:
                self.problem(answer)
            if self.document and path != "/api/openapi.json":
                self.document.check(method, path, answer)
        return answer

    @staticmethod
    def problem(answer):
        """Check the form of what is no success."""
        assert answer.headers["Content-Type"] == "application/problem+json"
        body = answer.json
        assert body["status"] == answer.status
        assert body["type"] == f"urn:relay:problem:{body['error']}"
        assert body["detail"]
        assert body["hint"]


def path(*parts):
    """Return a path of the API, with its parts encoded."""
    return "/api/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def make_served(folder, url=None):
    """Return a relay to be served, over SQLite, or over the store that is named."""
    relay = Served(folder)
    text = CONFIG.format(folder=folder)
    if url is not None:
        text = text.replace(f"sqlite:///{folder}/relay.db", url)
    relay.config.write_text(f'{text}\n[web]\nlisten = "127.0.0.1:0"\n', "utf-8")
    return relay


def with_people(relay):
    """Serve a relay with Ada, Bob and Mona."""
    relay("user", "add", "Ada Byron", "--email", "ada@corp.example")
    relay("user", "add", "Bob", "--email", "bob@corp.example")
    relay("user", "add", "Mona", "--email", "mona@corp.example", "--role", "monitor")
    relay.start()
    return relay


@pytest.fixture(scope="session")
def reused(postgres):
    """Return (URL, name) of a database that tests empty behind them."""
    return postgres.create("served"), "served"


@pytest.fixture(params=["sqlite", "postgresql"])
def served(request, tmp_path):
    """A relay of its own with Ada, Bob and Mona, served, on either database."""
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url, name = request.getfixturevalue("reused")
    relay = with_people(make_served(tmp_path, url))
    yield relay
    relay.stop()
    if url is not None:
        server.sql(emptied(), name)


def emptied():
    """Return the statements that empty every table, and count anew from 1."""
    names = ", ".join(t.name for t in metadata.sorted_tables if t.name != "meta")
    return f"TRUNCATE {names} RESTART IDENTITY; UPDATE meta SET revision = 0"


EVERY = [scope.value for scope in Scope]


@pytest.fixture
def admin(served):
    """The token of a program that may everything."""
    return served.token("admin", *EVERY)
