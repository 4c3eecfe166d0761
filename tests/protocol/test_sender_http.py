"""`POST /messages` and sender trust: a token is proof, unless the settings say no."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json

import pytest

from relay.config import HostPort, Settings, StoreSettings
from relay.core.authentication import Authentication, DMARCCheck, Result
from relay.core.directory import Role
from relay.intake import Intake
from relay.smtp.replies import reply_line
from relay.store import Store
from relay.web import WebServer
from tests.fakes.intake import SetClock, senders

MAIL = b"From: ada@corp.example\r\nTo: kim@customer.example\r\n\r\nHi\r\n"


class Facts:
    """An authenticator that found these."""

    def __init__(self, **facts):
        self.facts = facts

    async def authenticate(self, request):
        return Authentication(request.author, "checks", **self.facts)


@pytest.fixture
async def post(tmp_path):
    """Return a function that posts the mail to a relay with these settings."""
    clock = SetClock()
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/relay.db", min_free_bytes=0)
    store = await Store.open(settings, clock)
    user = await store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    secret = hashlib.sha256(b"secret").hexdigest()
    await store.credentials.add_api_token("crm", secret, user.id, "test")
    people = await store.directory.load()
    loaded = Settings(smtp={"domains": ("in.example",)})

    async def post(ask=None, **changes):
        intake = Intake(
            loaded.smtp,
            store,
            clock,
            directory=lambda: people,
            inline_bytes=1 << 20,
            min_free_bytes=0,
            reply_line=reply_line,
            senders=senders(store, lambda: people, changes, ask, clock),
        )
        server = WebServer(HostPort("127.0.0.1", 0), loaded, store, intake, clock)
        await server.start()

        def work():
            connection = http.client.HTTPConnection(*server.listening, timeout=5)
            try:
                headers = {"Authorization": "Bearer secret"}
                connection.request("POST", "/messages", MAIL, headers)
                answer = connection.getresponse()
                return answer.status, dict(answer.headers), json.load(answer)
            finally:
                connection.close()

        try:
            return await asyncio.to_thread(work)
        finally:
            await server.stop()
            await intake.close()

    post.store = store
    yield post
    await store.close()


async def test_a_token_is_proof(post):
    """Where an admin says so; the verdict names it."""
    status, _, answer = await post(trusted_doors=["http"])
    assert (status, answer["state"]) == (202, "queued")
    verdict = (await post.store.log.show(answer["id"]))["verdict"]
    assert verdict["proof"] == "handed over by HTTP with the token crm"


async def test_without_that_trust_the_mail_is_asked(post):
    """A program may pass on mail from outside. Refused with the cause, or held."""
    status, _, answer = await post()
    assert (status, answer["error"], answer["cause"]) == (403, "no_proof", "S201")
    assert (await post.store.log.show(answer["id"]))["cause"] == "S201"
    status, _, answer = await post(trusted_doors=[], otherwise="hold")
    assert (status, answer["state"]) == (202, "held")


async def test_silent_dns_asks_to_come_again(post):
    """503 with Retry-After, as for a store that is away."""
    silent = Facts(dmarc=DMARCCheck("corp.example", Result.TEMPERROR))
    status, headers, answer = await post(silent, trusted_doors=[])
    assert (status, answer["error"]) == (503, "dns_temporary")
    assert "retry-after" in {name.lower() for name in headers}
