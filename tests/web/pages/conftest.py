"""The pages over a real store, asked as one person or another, without a browser."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from relay.accounts import Accounts
from relay.config import load
from relay.console.feed import Feed
from relay.core.access import OF_ROLE, Caller
from relay.core.accounts import Level, Session
from relay.core.clock import SystemClock
from relay.core.directory import Role, User
from relay.core.ids import first_id
from relay.core.model import Envelope, RawMail, Recipient, Step
from relay.store import Store
from relay.web.pages.app import create_pages, page_paths
from relay.web.pages.context import Context
from relay.web.pages.guard import Guard
from relay.web.pages.render import HEADERS
from tests.cli.conftest import CONFIG


def person(name: str, role: Role, number: int = 1, **more: Any) -> Caller:
    """Return somebody who is signed in."""
    values = {
        "id": number,
        "name": name,
        "email": f"{name.lower()}@corp.example",
        "role": role,
        "active": True,
        "salesforce_id": None,
        "relay_token": "log-" + "a" * 20,
    }
    user = User(**(values | more))
    return Caller(f"web:{user.email}", OF_ROLE[role], user)


class AnyCaller(Guard):
    """The guard, for whom a test says is signed in: rights count, cookies do not."""

    async def identify(self, request: Any) -> None:
        state = request.state
        state.caller = getattr(state, "caller", None)
        state.session = None if state.caller is None else session_of(state.caller.user)
        state.csrf, state.settings = "form-token", {}
        state.level = Level.FULL
        state.still = self.may_go_on

    async def may_go_on(self) -> bool:
        return True

    async def is_foreign(self, _request: Any, _needs: Any) -> str:
        return ""


def session_of(user: User) -> Session:
    """Return a session of somebody that no store has."""
    at = datetime.now(UTC)
    return Session(
        id=0,
        user=user,
        method="password",
        strong=True,
        has_factor=False,
        role=user.role,
        created_at=at,
        used_at=at,
        ends_at=at,
        address="192.0.2.1",
        agent="test",
    )


class Console:
    """The pages of one relay."""

    def __init__(
        self, store: Store, settings: Any, *, live: bool = False, replays: Any = None
    ) -> None:
        """Put the pages together; without `live` the live view has ended."""
        self.feed = Feed(store)
        if not live:
            self.feed.close()
        self.store = store
        self.settings = settings
        self.clock = SystemClock()
        guard = AnyCaller(Accounts(store, settings), settings)
        context = Context(store, settings, self.clock, self.feed, replays)
        routes = create_pages(context, guard)
        self.app = Starlette(routes=routes)
        self.app.state.page_paths = page_paths(routes)
        self._caller: Caller | None = None
        self._client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self._as_caller),
            base_url="http://relay.test",
        )

    async def _as_caller(self, scope: Any, receive: Any, send: Any) -> None:
        if self._caller is not None:
            scope.setdefault("state", {})["caller"] = self._caller
        await self.app(scope, receive, send)

    async def get(self, path: str, who: Caller | None = None, **more: Any) -> Any:
        """Ask for a page; every one has the headers of all pages."""
        return await self._ask("GET", path, who, **more)

    async def post(self, path: str, who: Caller | None = None, **more: Any) -> Any:
        """Send a form."""
        return await self._ask("POST", path, who, **more)

    async def _ask(
        self, method: str, path: str, who: Caller | None, **more: Any
    ) -> Any:
        self._caller = who
        answer = await self._client.request(method, path, **more)
        # A calendar may be kept by the program that subscribes to it.
        kept = path.startswith(("/assets/", "/reminders/feed/"))
        if not kept and answer.status_code < 500:
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, (path, name)
        return answer

    async def until(self, path: str, who: Caller, text: str) -> tuple[int, str]:
        """Ask for what does not end; return status and body once a text came."""
        path, _, query = path.partition("?")
        seen, status, came = "", 0, asyncio.Event()
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await came.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            nonlocal seen, status
            status = message.get("status", status)
            seen += message.get("body", b"").decode()
            if text in seen:
                came.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "scheme": "http",
            "server": ("relay.test", 80),
            "state": {},
        }
        self._caller = who
        await self._as_caller(scope, receive, send)
        return status, seen

    async def close(self) -> None:
        await self._client.aclose()


@pytest.fixture
async def console(tmp_path):
    """Pages over an empty store."""
    config = tmp_path / "relay.toml"
    config.write_text(CONFIG.format(folder=tmp_path), "utf-8")
    settings = load(config, {})
    store = await Store.open(settings.store, SystemClock())
    made = Console(store, settings)
    yield made
    await made.close()
    await store.close()


async def put(store, user_id, *subjects, **more):
    """Store messages of a user as the intake does; return their ids, oldest first."""
    ids = []
    at = datetime.now(UTC)
    for number, subject in enumerate(subjects):
        id_ = first_id(at, timedelta(seconds=number))
        values = {
            "mail_from": "ada@corp.example",
            "peer": "127.0.0.1",
            "helo": "test",
            "tls": False,
            "received_at": at + timedelta(seconds=number),
            "recipients": (Recipient(id_, f"{'log-' + 'a' * 20}@in.example", user_id),),
            "header_from": "ada@corp.example",
            "header_to": "mara@acme.example",
            "subject": subject,
            "rfc_message_id": f"<{id_}@test>",
            "trace": (Step(at, "rcpt", "accepted", "x"),),
        }
        raw = f"Subject: {subject}\r\nCc: cc@acme.example\r\n\r\nHello\r\n".encode()
        envelope = Envelope(**(values | more))
        await store.messages.put(envelope, RawMail(len(raw), "0" * 64, data=raw))
        ids.append(id_)
        at += timedelta(milliseconds=7)
    return ids
