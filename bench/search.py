"""The log, its filters and its search over many messages, while mail arrives.

    python bench/search.py [--json] [--database sqlite|postgresql] [--messages N]
                           [--rounds N] [--mails-per-s N] [--keep FOLDER]

Fills a store with messages of thirty days, a tenth as many refusals, and what was
written for them; starts `relay serve` on it; hands mail over by SMTP at a set rate; and
asks the API, as a page would. Printed is the 95th percentile of each question in
milliseconds, over HTTP from one process to another. `--keep` keeps a SQLite store for
the next run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import random
import smtplib
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))

from relay.admin.inputs import new_api_token
from relay.config import StoreSettings
from relay.core.access import Scope
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.ids import _written
from relay.store import Store
from tests.fakes.postgres import Postgres, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = 300
SENDERS = 50_000
DAYS = 30
WORDS = [
    "offer",
    "contract",
    "invoice",
    "meeting",
    "agenda",
    "renewal",
    "order",
    "delivery",
    "question",
    "notes",
    "quarter",
    "budget",
    "roadmap",
    "kickoff",
    "review",
    "draft",
    "final",
    "answer",
    "schedule",
    "travel",
    "price",
    "update",
    "status",
    "report",
    "proposal",
    "reminder",
    "demo",
    "trial",
    "license",
    "support",
    "ticket",
]
TRACE = json.dumps(
    [
        {
            "at": "2026-11-30T09:00:00+00:00",
            "step": step,
            "result": "accepted",
            "detail": f"{step} of a mail that a bench has made " * 2,
        }
        for step in ("peer", "rcpt", "sender", "data", "store")
    ]
)
STATES = (
    *[("logged", "")] * 930,
    *[("unmatched", "no_record")] * 30,
    *[("skipped", "internal_only")] * 15,
    *[("skipped", "automatic")] * 8,
    *[("discarded", "by_hand")] * 5,
    *[("dead", "REQUIRED_FIELD_MISSING")] * 6,
    *[("dead", "attempts_exhausted")] * 3,
    *[("held", "not_proven")] * 3,
)
QUESTIONS = {
    "log page": {},
    "one user": {"user": "u7@corp.example"},
    "state:dead": {"state": "dead"},
    "state:logged": {"state": "logged"},
    "state:refused": {"state": "refused"},
    "state:dead of a user": {"q": "state:dead user:u7@corp.example"},
    "reason, frequent": {"reason": "no_record"},
    "reason, none": {"reason": "no_such_reason"},
    "cause, none": {"cause": "999"},
    "sender domain, rare": {"domain": "d4711.example"},
    "sender domain, none": {"domain": "nowhere.example"},
    "address, rare": {"address": "p4711@d4711.example"},
    "address, none": {"address": "nobody@nowhere.example"},
    "text, frequent": {"text": "invoice"},
    "text, rare": {"text": "zanzibar"},
    "text, none": {"text": "qqqqqq"},
    "text, none, not ASCII": {"text": "ÄÖÜßqq"},
    "text, none, of a user": {"q": "user:u7@corp.example text:qqqqqq"},
    "Message-ID": {"message_id": "<500@bench.example>"},
    "yesterday": {"q": "since:yesterday until:yesterday"},
    "an old hour": {"since": "20d", "until": "19d"},
    "text in a month": {"q": "since:30d qqqqqq"},
    "unmatched": {"path": "/api/v1/unmatched"},
    "counts of what waits": {"path": "/api/v1/status"},
    "users with their last mail": {"path": "/api/v1/users", "limit": 50},
}


def rows(count: int, first_user: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield (table, row) of all that the store is filled with."""
    chance = random.Random(1)
    now = datetime.now(UTC)
    every_ms = DAYS * 86_400_000 / count
    begin = int(now.timestamp() * 1000) - DAYS * 86_400_000
    for number in range(count):
        ms = begin + int(number * every_ms)
        id_ = _written(ms << 80 | chance.getrandbits(80))
        at = ms * 1000
        state, reason = chance.choice(STATES)
        user = first_user + int(chance.random() ** 2 * USERS)
        sender = int(chance.random() ** 3 * SENDERS)
        subject = " ".join(chance.choices(WORDS, k=6))
        if number % 200_003 == 100:
            subject += " Zanzibar"
        mail_id = number + 1
        yield "blobs", (id_, 4000, "0" * 64, None, 0, b"")
        yield (
            "mails",
            (mail_id, f"k1-{number}", f"k2-{number}", f"<{number}@bench.example>", at),
        )
        author = f"Person {sender} <p{sender}@d{sender % 9000}.example>"
        yield (
            "messages",
            (
                *(id_, id_, user, 4000, at, "192.0.2.1", "mx.bench.example", True),
                *(f"p{sender}@d{sender % 9000}.example", f"log-{user:020}@in.example"),
                *(author, f"U {user} <u{user}@corp.example>, b@buyer.example", subject),
                *(f"<{number}@bench.example>", TRACE, state, reason, at, mail_id),
            ),
        )
        if state == "logged":
            yield (
                "activities",
                (f"a{number}", mail_id, "task", "Task", "{}", "contact", "written", at),
            )
        if number % 10 == 0:
            refused = _written((ms + 1) << 80 | chance.getrandbits(80))
            whose = user if number % 20 else None
            yield (
                "refusals",
                (
                    *(refused, at, at, f"198.51.100.{number % 250}", "x@spam.example"),
                    *("guess@in.example", "", "550 5.1.1 unknown", "unknown_recipient"),
                    *(whose, "", 1, subject, f"<r{number}@spam.example>"),
                ),
            )


COLUMNS = {
    "blobs": ["id", "size_bytes", "sha256", "file", "chunks", "data"],
    "mails": ["id", "key1", "key2", "rfc_message_id", "created_at"],
    "messages": [
        "id",
        "blob_id",
        "user_id",
        "size_bytes",
        "received_at",
        "peer",
        "helo",
        "tls",
        "mail_from",
        "rcpt",
        "header_from",
        "header_to",
        "subject",
        "rfc_message_id",
        "trace",
        "state",
        "reason",
        "next_attempt_at",
        "mail_id",
    ],
    "activities": [
        "key",
        "mail_id",
        "slot",
        "object",
        "fields",
        "rule",
        "state",
        "created_at",
    ],
    "refusals": [
        "id",
        "at",
        "last_at",
        "peer",
        "mail_from",
        "rcpt",
        "header_from",
        "reply",
        "reason",
        "user_id",
        "detail",
        "times",
        "subject",
        "rfc_message_id",
    ],
}


def batches(count: int, first_user: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield (table, rows), many rows at once."""
    kept: dict[str, list] = {name: [] for name in COLUMNS}
    for number, (name, row) in enumerate(rows(count, first_user), 1):
        kept[name].append(row)
        if number % 50_000 == 0:
            yield from kept.items()
            kept = {name: [] for name in COLUMNS}
    yield from kept.items()


def fill_sqlite(path: Path, count: int, first_user: int) -> None:
    """Fill a SQLite store, without a sync for each part."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    for name, part in batches(count, first_user):
        marks = ", ".join("?" * len(COLUMNS[name]))
        names = ", ".join(COLUMNS[name])
        connection.executemany(f"INSERT INTO {name} ({names}) VALUES ({marks})", part)
        connection.commit()
    connection.close()


async def fill_postgres(url: str, count: int, first_user: int) -> None:
    """Fill a PostgreSQL store, and look at it as autovacuum does."""
    import asyncpg  # noqa: PLC0415 - an extra

    connection = await asyncpg.connect(url)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("SET synchronous_commit = off")
    # Indexes are made faster at the end, as a restore makes them.
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "AND tablename = ANY($1) AND indexname LIKE 'ix_%'",
        list(COLUMNS),
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    for name, part in batches(count, first_user):
        await connection.copy_records_to_table(
            name, records=part, columns=COLUMNS[name]
        )
    for index in indexes:
        await connection.execute(index["indexdef"])
    await connection.execute("SELECT setval('mails_id_seq', $1)", count)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def people(settings: StoreSettings, token_digest: str) -> int:
    """Make users and a token; return the number of the first user."""
    await Store.upgrade(settings)
    store = await Store.open(settings, SystemClock())
    known = await store.directory.users()
    if not known:
        for number in range(USERS):
            await store.directory.add_user(
                f"U {number}", f"u{number}@corp.example", Role.REP, None, "bench"
            )
    first = min(user.id for user in await store.directory.users())
    with contextlib.suppress(Exception):
        await store.credentials.remove_api_token("bench", "bench")
    await store.credentials.add_api_token(
        "bench", token_digest, None, "bench", scopes=tuple(s.value for s in Scope)
    )
    await store.changes.purge()
    began = time.perf_counter()
    while await store.search_index.turn():
        pass
    print(f"indexed in {time.perf_counter() - began:.1f} s", file=sys.stderr)
    await store.close()
    return first


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


CONFIG = """\
[smtp]
listen = ["127.0.0.1:{smtp}"]
hostname = "relay.bench"
domains = ["in.bench.example"]
[sender]
policy = "listed"
[store]
url = "{url}"
min_free_bytes = 0
[web]
listen = "127.0.0.1:{web}"
api_requests_per_minute = 1000000
"""


class Arriving(threading.Thread):
    """Hands mail over at a set rate until it is stopped."""

    def __init__(self, port: int, rcpt: str, per_s: float) -> None:
        super().__init__(daemon=True)
        self._port, self._rcpt, self._pause_s = port, rcpt, 1 / per_s
        self.ended = threading.Event()
        self.mails = 0

    def run(self) -> None:
        """Send."""
        with smtplib.SMTP("127.0.0.1", self._port, timeout=60) as peer:
            while not self.ended.wait(self._pause_s):
                text = (
                    f"From: u0@corp.example\r\nTo: c{self.mails}@buyer.example\r\n"
                    f"Subject: live {self.mails}\r\n"
                    f"Message-ID: <live-{self.mails}-{os.getpid()}@corp.example>\r\n"
                    f"Date: Mon, 30 Nov 2026 09:00:00 +0000\r\n\r\n{'Hello ' * 300}\r\n"
                )
                peer.sendmail("u0@corp.example", [self._rcpt], text)
                self.mails += 1


def ask(
    connection: http.client.HTTPConnection,
    headers: dict[str, str],
    query: dict[str, Any],
) -> float:
    """Ask once; return the milliseconds."""
    asked = dict(query)
    path = asked.pop("path", "/api/v1/messages")
    if "status" not in path:
        asked.setdefault("limit", 50)
    begin = time.perf_counter()
    connection.request("GET", f"{path}?{urlencode(asked)}", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - begin) * 1000
    assert answer.status == 200, (query, answer.status, body)
    return took


def measure(port: int, token: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Return median and 95th percentile of each question."""
    headers = {"Authorization": f"Bearer {token}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    times: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    for number in range(rounds + 1):
        for name, query in QUESTIONS.items():
            took = ask(connection, headers, query)
            if number:  # The first one warms nothing but connections.
                times[name].append(took)
    return {
        name: (statistics.median(found), sorted(found)[int(len(found) * 0.95)])
        for name, found in times.items()
    }


def wait_for(port: int) -> None:
    """Return when something listens there."""
    for _ in itertools.repeat(None, 600):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.1)
    raise TimeoutError(port)


def run(args: argparse.Namespace, url: str, folder: Path) -> dict[str, object]:
    """Fill, serve, measure."""
    secret = new_api_token()
    settings = StoreSettings(url=url, min_free_bytes=0, spool=folder / "spool")
    fresh = args.keep is None or not (folder / "filled").exists()
    first = asyncio.run(people(settings, secret.digest))
    began = time.perf_counter()
    if fresh:
        if args.database == "sqlite":
            fill_sqlite(folder / "relay.db", args.messages, first)
        else:
            asyncio.run(fill_postgres(url, args.messages, first))
        (folder / "filled").touch()
        asyncio.run(people(settings, secret.digest))
    filled_s = time.perf_counter() - began
    smtp, web = free_port(), free_port()
    config = folder / "relay.toml"
    config.write_text(CONFIG.format(smtp=smtp, web=web, url=url), "utf-8")
    command = [sys.executable, "-m", "relay", "--config", str(config)]
    (user,) = json.loads(
        "["
        + subprocess.run(
            [*command, "user", "show", "u0@corp.example", "--json"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        + "]"
    )
    server = subprocess.Popen(
        [*command, "serve", "--roles", "smtp,web"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(web)
        wait_for(smtp)
        arriving = Arriving(smtp, user["relay_address"], args.mails_per_s)
        arriving.start()
        began = time.perf_counter()
        found = measure(web, secret.text, args.rounds)
        took_s = time.perf_counter() - began
        arriving.ended.set()
        arriving.join(60)
    finally:
        server.terminate()
        server.wait(60)
    return {
        "database": args.database,
        "messages": args.messages,
        "filled_s": round(filled_s),
        "mails_arrived_per_s": round(arriving.mails / took_s, 1),
        "questions": {
            name: {"median_ms": round(median, 1), "p95_ms": round(p95, 1)}
            for name, (median, p95) in found.items()
        },
        "worst_p95_ms": round(max(p95 for _, p95 in found.values()), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--database", choices=["sqlite", "postgresql"], default="sqlite"
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--mails-per-s", type=float, default=10)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = args.keep
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{folder}/relay.db"
        if args.database == "postgresql":
            binaries = find_binaries()
            if binaries is None:
                sys.exit("initdb and postgres were not found")
            server = Postgres(binaries)
            stack.callback(server.stop)
            server.start()
            url = server.create("bench")
        row = run(args, url, folder)
    if args.json:
        print(json.dumps(row))
        return
    for name, one in row["questions"].items():
        print(f"{name:28} {one['median_ms']:8.1f} {one['p95_ms']:8.1f} ms")
    print(
        f"{row['database']}, {row['messages']} messages, "
        f"{row['mails_arrived_per_s']} mails arrive a second: "
        f"p95 of the slowest question {row['worst_p95_ms']} ms"
    )


if __name__ == "__main__":
    main()
