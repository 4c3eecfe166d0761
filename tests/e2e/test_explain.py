"""What `relay explain` says of a mail is what the worker then writes."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.policy import SMTP
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import relay.mail
from relay.app import App
from relay.cli.demo_mails import cast, scenes
from relay.cli.sandbox import running_sandbox
from relay.config import Settings
from relay.core.directory import Role, SkipKind
from relay.core.errors import UnparsableMessage
from relay.core.model import Envelope, RawMail, Recipient
from relay.core.states import IN_SALESFORCE
from relay.match import Context, to_log
from relay.match.trace import FROM_CACHE
from relay.worker import explain
from relay.worker.decisions import rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.cli.demo_mails import Cast
    from relay.cli.sandbox import RunningSandbox
    from relay.core.directory import User
    from relay.core.model import Email

pytestmark = pytest.mark.timeout(180)

DOMAIN = "log.example"
CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus" / "mail").glob("*.eml"))
MODES = ("auto", "email_message", "task", "nothing")
SEED = 20_261_130
numbers = itertools.count(1)


@dataclass
class Stage:
    """A relay whose worker writes into a sandbox, and who uses it."""

    app: App
    sandbox: RunningSandbox
    people: Cast
    rep: User
    colleague: User
    unknown: User
    """Of whom Salesforce knows nothing."""


@asynccontextmanager
async def stage(tmp_path: Path, write_as: str) -> AsyncIterator[Stage]:
    """Run the sandbox and a worker, with every setting that changes a decision."""
    async with running_sandbox("127.0.0.1", 0) as sandbox:
        settings = Settings(  # type: ignore[call-arg]
            smtp={"domains": (DOMAIN,)},
            store={"url": f"sqlite:///{tmp_path}/relay.db", "min_free_bytes": 0},
            worker={"poll_s": 0.05},
            salesforce={
                "instance_url": sandbox.url,
                "client_id": "relay-sandbox",
                "client_secret": "relay-sandbox-secret",
                "write_as": write_as,
                "look_before_write": True,
                "max_addresses_per_mail": 5,
                "fields": {"Task": {"CallDisposition": "{sender}"}},
            },
            telemetry={"listen": None},
        )
        people = cast(await sandbox.dump(), integration_user=sandbox.integration_user)
        app = App(settings, roles=frozenset({"worker"}))
        await app.start()
        try:
            add = app.store.directory.add_user
            rep, colleague, unknown = [
                await add(name, email, Role.REP, None, "test")
                for name, email in (
                    ("Rep", str(people.rep["Email"])),
                    ("Colleague", str(people.colleague["Email"])),
                    ("Unknown", "unknown@corp.example"),
                )
            ]
            exclude = app.store.directory.add_exclusion
            await exclude("*@secret.example", None, SkipKind.MAIL, "test")
            await exclude("private@x.example", None, SkipKind.ADDRESS, "test")
            other = str(people.other["Email"]).lower()
            await exclude(other, colleague.id, SkipKind.MAIL, "test")
            await directory_read(app)
            yield Stage(app, sandbox, people, rep, colleague, unknown)
        finally:
            await app.drain()


async def directory_read(app: App) -> None:
    """Wait until the relay holds what was edited."""
    revision = await app.store.directory.revision()
    async with asyncio.timeout(60):
        while app.directory().revision != revision:  # noqa: ASYNC110 - it polls, too
            await asyncio.sleep(0.05)


# ---------------------------------------------------------------- mails


def demo_mails(people: Cast) -> Iterator[bytes]:
    """Return the mails of the demo; the worker never sees whom SMTP refuses."""
    for scene in scenes(people, datetime.now(UTC), f"log-abc@{DOMAIN}"):
        yield scene.mail.as_bytes(policy=SMTP)


def corpus_mails(people: Cast) -> Iterator[bytes]:
    """Return odd mails, from the rep and to a contact."""
    ours = f"From: {people.rep['Email']}\r\nTo: {people.contact['Email']}\r\n".encode()
    for file in CORPUS:
        yield ours + re.sub(rb"(?im)^(from|to):", rb"X-\1:", file.read_bytes())


def generated_mails(people: Cast, count: int = 12) -> Iterator[bytes]:
    """Return mails to some of everybody: known, unknown, internal, excluded, secret."""
    chance = random.Random(SEED)
    everybody = [
        *(str(p["Email"]) for p in (people.contact, people.other, people.lead)),
        str(people.colleague["Email"]),
        f"log-abc@{DOMAIN}",
        "private@x.example",
        "boss@secret.example",
        *(f"nobody{number}@x.example" for number in range(6)),
    ]
    alone = [[one] for one in everybody[:8]]
    for number in range(len(alone) + count):
        some = chance.sample(everybody, chance.choice((0, 1, 2, 3, 8)))
        to = alone[number] if number < len(alone) else some
        cc = chance.sample(everybody, chance.choice((0, 0, 1, 2)))
        if number < len(alone):
            cc = []
        lines = [
            f"From: {people.rep['Email']}",
            *([f"To: {', '.join(to)}"] if to else []),
            *([f"Cc: {', '.join(cc)}"] if cc else []),
            f"Subject: Offer {number} for log-abc@{DOMAIN}",
            f"Message-ID: <{number}@corp.example>",
            "Date: Mon, 23 Nov 2026 10:00:00 +0000",
            "Content-Type: multipart/mixed; boundary=b",
            "",
            f"--b\r\nContent-Type: text/plain\r\n\r\nHello {number}\r\n--b",
            f"Content-Disposition: attachment; filename=log-abc@{DOMAIN}.pdf",
            f"Content-Type: application/pdf\r\n\r\n%PDF {number}\r\n--b--\r\n",
        ]
        yield "\r\n".join(lines).encode()


# ---------------------------------------------------------------- the comparison


async def explained(on: Stage, user: User, raw: bytes, at: datetime) -> Any:
    """Return what explain says; None where it cannot read the mail."""
    app = on.app
    assert app.worker is not None
    assert app.org is not None
    try:
        return await explain(
            app.settings,
            app.store,
            app.org,
            app.worker.mode,
            directory=app.directory(),
            user=app.directory().users[user.id],
            raw=raw,
            now=at,
        )
    except UnparsableMessage:
        return None


async def logged(on: Stage, user: User, raw: bytes, at: datetime) -> dict[str, Any]:
    """Put a mail into the queue; return its row once its attempt has ended."""
    message = f"m{next(numbers):06d}"
    digest = hashlib.sha256(raw).hexdigest()
    await on.app.store.messages.put(
        Envelope(
            "a@x.example",
            "127.0.0.1",
            "x",
            tls=False,
            received_at=at,
            recipients=(Recipient(message, f"log-abc@{DOMAIN}", user.id),),
        ),
        RawMail(len(raw), digest, data=raw),
    )
    async with asyncio.timeout(60):
        while True:
            row = await on.app.store.log.show(message)
            waits = row["state"] == "queued" and not row["reason"]
            if not waits and row["state"] != "claimed":
                return row
            await asyncio.sleep(0.02)


def what_is_logged(on: Stage, user: User, raw: bytes) -> Email:
    """Return the mail, or the one that it forwards to the relay."""
    context = Context.of(on.app.directory(), rules(on.app.settings))
    return to_log(relay.mail.parse(raw), user, context)[0].email


async def compare(on: Stage, user: User, raw: bytes) -> str:
    """Explain a mail, have it logged, and hold both against each other."""
    at = datetime.now(UTC)
    told = await explained(on, user, raw, at)
    email = None if told is None else what_is_logged(on, user, raw)
    find = on.app.store.mails.find
    keys = relay.mail.keys_of(email, at) if email else ("", "")
    known = await find(*keys) if email else None
    rows = known.activities if known else ()
    # In shadow mode each copy plans anew: what was planned before has the same keys.
    again = told is not None and told["code"] == "shadow_mode"
    before = {row.key for row in rows if row.state in IN_SALESFORCE or not again}
    if told is not None and told["state"] == "refused":
        return "refused"  # It never becomes a message.
    row = await logged(on, user, raw, at)
    if told is None or email is None:
        assert (row["state"], row["reason"]) == ("dead", "unparsable")
        return "dead"
    assert (told["state"], told["code"]) == (row["state"], row["reason"])
    trace = [(line["step"], line["result"], line["detail"]) for line in row["trace"]]
    steps = iter(trace)
    for line in told["trace"]:
        if line["step"] == "sender" or line["result"] == FROM_CACHE:
            # No peer has sent it here; the worker remembers what was told a moment ago.
            continue
        wanted = (line["step"], line["result"], line["detail"])
        assert wanted in steps, f"{wanted} is not in order in {trace}"
    mail = await find(*keys)
    assert mail is not None
    written = [one for one in mail.activities if one.key not in before]
    assert told["activities"] == [
        {
            "object": one.object,
            "slot": one.slot,
            "key": one.key,
            "rule": one.rule,
            "fields": dict(one.fields),
        }
        for one in written
    ]
    if row["state"] == "logged":
        org = await on.sandbox.dump()
        for one in written:
            (record,) = [r for r in org[one.object] if r["Id"] == one.salesforce_id]
            assert record["Subject"] == one.fields["Subject"]
        if written:
            files = [detail for step, _, detail in trace if step == "files"]
            names = [f["name"] for f in told["files"] if not f["left_out"]]
            assert not names or ", ".join(dict.fromkeys(names)) in files
            for file in told["files"]:
                if file["left_out"]:
                    assert f"{file['name']}: {file['left_out']}" in files
    return str(row["reason"] or row["state"])


@pytest.mark.parametrize("write_as", MODES)
async def test_explain_says_what_the_worker_does(tmp_path: Path, write_as: str) -> None:
    """Records, fields, rules, state, reason and trace, whatever the mail is."""
    async with stage(tmp_path, write_as) as on:
        outcomes = set()
        for raw in (
            *(m for m in demo_mails(on.people) if b"elsewhere.example" not in m),
            *corpus_mails(on.people),
            *generated_mails(on.people),
        ):
            outcomes.add(await compare(on, on.rep, raw))
        assert {"no_record", "no_recipient", "internal_only", "excluded"} < outcomes
        assert ("shadow_mode" if write_as == "nothing" else "logged") in outcomes


@pytest.mark.parametrize("write_as", MODES)
async def test_copies_and_users(tmp_path: Path, write_as: str) -> None:
    """A colleague's copy, whose exclusions differ; one whose user nobody knows."""
    async with stage(tmp_path, write_as) as on:
        people = on.people
        own = "".join(
            f"{name}: {value}\r\n"
            for name, value in (
                ("To", f"{people.contact['Email']}, {people.other['Email']}"),
                ("Subject", "Offer"),
                ("Message-ID", "<copies@corp.example>"),
                ("Date", "Mon, 23 Nov 2026 10:00:00 +0000"),
            )
        )
        seen = []
        for user in (on.unknown, on.colleague, on.rep, on.rep, on.colleague):
            await on.app.store.directory.add_address(
                user.id, str(people.rep["Email"]).lower(), "test"
            )
            await directory_read(on.app)
            raw = f"From: {people.rep['Email']}\r\n{own}\r\nHello\r\n".encode()
            seen.append(await compare(on, user, raw))
        first, *rest = seen
        assert first == "no_salesforce_user"
        assert rest[0] == "excluded"
        if write_as != "nothing":
            assert rest[1:] == ["logged"] * 3
