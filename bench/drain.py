#!/usr/bin/env python3
"""How fast, and at what cost, a full queue goes into Salesforce.

    bench/drain.py [--mails 5000] [--latency-ms 150] [--write-as email_message] [--json]

A sandbox org answers every call after a set latency. The queue holds mails of about
4 KB to three outside recipients each; two of the three are Contacts, and every fifth
mail has a Contact on an open Opportunity. No address is asked for twice. Measured are
the relay (claim to settled, everything included) and, in the same run, the naive way:
a query for each object and a create for each record, one after the other.

Printed: mails a second, API calls for 1,000 mails, CPU a mail of the relay's processes,
and the CPU that the standard library alone needs to parse such a mail.
"""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from relay.config import load  # noqa: E402
from relay.core.clock import SystemClock  # noqa: E402
from relay.core.directory import Role  # noqa: E402
from relay.core.ids import new_message_id  # noqa: E402
from relay.core.model import Envelope, RawMail, Recipient  # noqa: E402
from relay.core.states import State  # noqa: E402
from relay.store import Store  # noqa: E402
from tests.fakes.processes import (  # noqa: E402
    CLIENT_ID,
    CLIENT_SECRET,
    SandboxProcess,
    clean_environment,
)

WORDS = [
    "the",
    "offer",
    "price",
    "delivery",
    "contract",
    "meeting",
    "next",
    "week",
    "please",
    "find",
    "regards",
]
RESTING = frozenset(State) - {State.QUEUED, State.CLAIMED}


def mail(number: int) -> bytes:
    """Return a mail of about 4 KB with a text and an HTML part."""
    made = EmailMessage(policy=email.policy.SMTP)
    made["From"] = "Ada Rep <ada@corp.example>"
    made["To"] = f"Ann <a{number}@one.example>, Bob <b{number}@two.example>"
    made["Cc"] = f"new{number}@nobody.example"
    made["Subject"] = f"Offer {number}"
    made["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    made["Message-ID"] = f"<{number}.{os.getpid()}@corp.example>"
    lines = [" ".join(WORDS[(number + i) % 7 :]) for i in range(28)]
    made.set_content("\n".join(lines))
    html = "".join(f"<p>{line}</p>\n" for line in lines)
    made.add_alternative(f"<html><body>{html}</body></html>", subtype="html")
    return made.as_bytes()


def seed(sandbox: SandboxProcess, first: int, count: int) -> None:
    """Make the two Contacts of each mail, and the Opportunity of every fifth."""
    for start in range(first, first + count, 500):
        numbers = range(start, min(start + 500, first + count))
        people = [
            {"LastName": f"{side}{n}", "Email": f"{side}{n}@{host}.example"}
            for n in numbers
            for side, host in (("a", "one"), ("b", "two"))
        ]
        ids = _ids(sandbox.post("/sandbox/rows", {"Contact": people}), "Contact")
        deals = [n for n in numbers if n % 5 == 0]
        rows = [
            {"Name": f"Deal {n}", "StageName": "Prospecting", "CloseDate": "2027-01-31"}
            for n in deals
        ]
        made = _ids(sandbox.post("/sandbox/rows", {"Opportunity": rows}), "Opportunity")
        roles = [
            {"OpportunityId": deal, "ContactId": ids[2 * (n - start)]}
            for n, deal in zip(deals, made, strict=True)
        ]
        sandbox.post("/sandbox/rows", {"OpportunityContactRole": roles})


def _ids(answer: Any, name: str) -> list[str]:
    return answer[name] if isinstance(answer, dict) else answer


async def fill(config: Path, first: int, count: int) -> None:
    """Put the mails into the relay's queue."""
    settings = load(config)
    clock = SystemClock()
    store = await Store.open(settings.store, clock)
    try:
        users = await store.directory.users()
        user = users[0] if users else await _add(store)

        async def put(number: int) -> None:
            raw = mail(number)
            recipient = Recipient(
                new_message_id(clock), "log@in.relay.example", user.id
            )
            envelope = Envelope(
                mail_from="ada@corp.example",
                peer="127.0.0.1",
                helo="bench",
                tls=False,
                received_at=datetime.now(UTC),
                recipients=(recipient,),
                header_from="ada@corp.example",
            )
            await store.messages.put(
                envelope, RawMail(len(raw), sha256(raw).hexdigest(), raw)
            )

        for start in range(first, first + count, 500):
            end = min(start + 500, first + count)
            await asyncio.gather(*(put(number) for number in range(start, end)))
    finally:
        await store.close()


async def _add(store: Store) -> Any:
    return await store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "bench"
    )


async def left(config: Path) -> dict[State, int]:
    """Return how many messages are in each state."""
    store = await Store.open(load(config).store, SystemClock())
    try:
        return dict(await store.queue.counts())
    finally:
        await store.close()


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and all its children, living and reaped."""
    total = 0.0
    tick = os.sysconf("SC_CLK_TCK")
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15]) / tick
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            total += sum(cpu_s(int(child)) for child in task.read_text().split())
    return total


def calls(sandbox: SandboxProcess) -> int:
    """Return the API calls that the org has counted."""
    return int(sandbox.get("/sandbox/health")["api_used"])


def drain(sandbox: SandboxProcess, folder: Path, arguments: argparse.Namespace) -> dict:
    """Let a relay drain the queue; return rate, calls and CPU."""
    config = folder / "relay.toml"
    config.write_text(
        f"""
[smtp]
listen = ["127.0.0.1:0"]
domains = ["in.relay.example"]

[sender]
policy = "listed"
[store]
url = "sqlite:///{folder}/relay.db"
[salesforce]
instance_url = "{sandbox.url}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
write_as = "{arguments.write_as}"
[telemetry]
log_level = "warning"
""",
        "utf-8",
    )
    warm = 20
    seed(sandbox, 0, warm + arguments.mails)
    asyncio.run(fill(config, 0, warm))
    sandbox.post("/sandbox/config", {"latency_s": arguments.latency_ms / 1000})
    relay = subprocess.Popen(
        [
            *(sys.executable, "-m", "relay", "--config", str(config)),
            *("serve", "--roles", "worker"),
        ],
        cwd=ROOT,
        env=clean_environment(),
    )
    try:
        wait(config, warm)
        # The queue fills while the worker sleeps: what is measured is the drain.
        os.kill(relay.pid, 0)
        _stop(relay, stop=True)
        asyncio.run(fill(config, warm, arguments.mails))
        before = calls(sandbox), cpu_s(relay.pid)
        _stop(relay, stop=False)
        started = time.monotonic()
        states = wait(config, warm + arguments.mails)
        seconds = time.monotonic() - started
        used = calls(sandbox) - before[0], cpu_s(relay.pid) - before[1]
    finally:
        _stop(relay, stop=False)
        relay.terminate()
        relay.wait(60)
    logged = states.get(State.LOGGED, 0) - warm
    return {
        "mails": logged,
        "mails_per_s": arguments.mails / seconds,
        "calls_per_1000": used[0] * 1000 / arguments.mails,
        "cpu_ms_per_mail": used[1] * 1000 / arguments.mails,
    }


def _stop(relay: subprocess.Popen, *, stop: bool) -> None:
    """Halt or continue the relay and its children."""
    import signal  # noqa: PLC0415

    number = signal.SIGSTOP if stop else signal.SIGCONT
    for pid in [relay.pid, *_children(relay.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *_children(int(child))]
    return found


def wait(config: Path, count: int) -> dict[State, int]:
    """Wait until that many messages rest."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        states = asyncio.run(left(config))
        if sum(states.get(state, 0) for state in RESTING) >= count:
            return states
        time.sleep(0.1)
    raise SystemExit(f"the queue is not empty after 600 s: {states}")


def naive(sandbox: SandboxProcess, count: int) -> dict[str, float]:
    """Log mails one by one with a query for each object; return rate and calls."""
    import requests  # noqa: PLC0415
    from simple_salesforce import Salesforce  # noqa: PLC0415
    from simple_salesforce.format import format_soql  # noqa: PLC0415

    class Plain(requests.adapters.HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:
            request.url = request.url.replace("https://", "http://", 1)
            return super().send(request, **options)

    form = f"grant_type=client_credentials&client_id={CLIENT_ID}"
    form += f"&client_secret={CLIENT_SECRET}"
    with urllib.request.urlopen(
        f"{sandbox.url}/services/oauth2/token", form.encode()
    ) as answer:
        token = json.load(answer)["access_token"]
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Plain())
    org = Salesforce(
        session_id=token,
        instance=f"127.0.0.1:{sandbox.port}",
        version="66.0",
        session=session,
    )
    before, started = calls(sandbox), time.monotonic()
    for number in range(count):
        read = email.message_from_bytes(mail(number), policy=email.policy.default)
        addresses = [a.addr_spec for n in ("to", "cc") for a in read[n].addresses]
        found = []
        for soql in (
            "SELECT Id FROM Contact WHERE Email IN {}",
            "SELECT Id FROM Lead WHERE IsConverted = false AND Email IN {}",
        ):
            found += [
                r["Id"] for r in org.query(format_soql(soql, addresses))["records"]
            ]
        soql = (
            "SELECT OpportunityId FROM OpportunityContactRole "
            "WHERE ContactId IN {} AND Opportunity.IsClosed = false"
        )
        deals = org.query(format_soql(soql, found))["records"] if found else []
        text = read.get_body(("plain",)).get_content()
        for place, who in enumerate(found):
            fields = {"Subject": read["subject"], "WhoId": who, "Description": text}
            if place == 0 and deals:
                fields["WhatId"] = deals[0]["OpportunityId"]
            org.Task.create({"Status": "Completed", **fields})
    seconds = time.monotonic() - started
    return {
        "mails_per_s": count / seconds,
        "calls_per_1000": (calls(sandbox) - before) * 1000 / count,
    }


def parse_cpu_ms(count: int = 300) -> float:
    """Return the CPU that the standard library needs to parse such a mail."""
    raws = [mail(number) for number in range(count)]
    started = time.process_time()
    for raw in raws:
        read = email.message_from_bytes(raw, policy=email.policy.default)
        _ = read["subject"], [a.addr_spec for a in read["to"].addresses]
        _ = read["message-id"], read["date"].datetime
        _ = read.get_body(("plain", "html")).get_content()
        _ = [part.get_filename() for part in read.iter_attachments()]
    return (time.process_time() - started) * 1000 / count


def main() -> None:
    """Run both ways and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mails", type=int, default=5000)
    parser.add_argument("--naive-mails", type=int, default=20)
    parser.add_argument("--latency-ms", type=float, default=150)
    parser.add_argument("--write-as", default="email_message")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sandbox = SandboxProcess(folder)
        try:
            relay = drain(sandbox, folder, arguments)
            slow = naive(sandbox, arguments.naive_mails)
        finally:
            sandbox.stop()
    parse = parse_cpu_ms()
    result = {
        "latency_ms": arguments.latency_ms,
        "write_as": arguments.write_as,
        "relay": relay,
        "naive": slow,
        "times_the_naive_rate": relay["mails_per_s"] / slow["mails_per_s"],
        "calls_per_1000": relay["calls_per_1000"],
        "cpu_times_std_parse": relay["cpu_ms_per_mail"] / parse,
        "std_parse_cpu_ms": parse,
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for title, way in (("relay", relay), ("naive", slow)):
        rate, cost = way["mails_per_s"], way["calls_per_1000"]
        print(f"{title:6} {rate:9.1f} mails/s {cost:9.1f} calls for 1,000 mails")
    print(f"relay / naive: {result['times_the_naive_rate']:.0f} times the rate")
    print(
        f"CPU a mail: {relay['cpu_ms_per_mail']:.2f} ms, "
        f"{result['cpu_times_std_parse']:.2f} times the standard library's parse "
        f"({parse:.2f} ms)"
    )


if __name__ == "__main__":
    main()
