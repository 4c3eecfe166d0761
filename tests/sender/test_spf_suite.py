"""All 203 cases of the public test suite of RFC 7208, through the relay's own resolver.

Each zone is served on loopback; pyspf, whose data the cases are, must come to
the same result from the same zone. Data and licence stand in `data/`.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from functools import cache
from pathlib import Path

import dns.name
import pytest

from relay.core.authentication import Identity
from relay.sandbox.dns import txt_record
from relay.sender import spf
from tests.fakes.dns import DNS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It has invalid escapes in its patterns.
    import spf as pyspf

SCENARIOS = json.loads(
    (Path(__file__).parent / "data" / "rfc7208-tests.json").read_text("utf-8")
)
CASES = [
    pytest.param(number, name, id=f"{name}-{case['host']}")
    for number, scenario in enumerate(SCENARIOS)
    for name, case in scenario["tests"].items()
]
TYPES = ("TXT", "A", "AAAA", "MX", "PTR", "CNAME")


@cache
def records(number):
    """Return (name, type) to values; None stands for a server that fails.

    As in the suite: records of the old type SPF are texts where a name has no texts of
    its own, and TIMEOUT is for every type that is not named before it.
    """
    found = {}
    for name, entries in SCENARIOS[number]["zonedata"].items():
        own = [entry["TXT"] for entry in entries if "TXT" in entry]
        for entry in entries:
            if entry == "TIMEOUT":
                for kind in TYPES:
                    found.setdefault((name.lower(), kind), None)
                break
            for kind, value in entry.items():
                if kind == "SPF" and own:
                    continue
                kind = "TXT" if kind == "SPF" else kind  # noqa: PLW2901
                if value != "NONE":
                    found.setdefault((name.lower(), kind), []).append(value)
    return found


def text_of(value):
    return ("".join(value) if isinstance(value, list) else value).encode("latin-1")


def serve(server, number):
    """Publish a scenario's zone."""
    for (name, kind), values in records(number).items():
        labels = [label.encode("latin-1") for label in name.rstrip(".").split(".")]
        owner = dns.name.Name([*labels, b""]).to_text()
        if values is None:
            server.fail("servfail", name, kind)
            continue
        for value in values:
            if kind == "TXT":
                server.zones.add(txt_record(owner, text_of(value)))
                continue
            if kind == "MX":
                data = f"{value[0]} {value[1].rstrip('.')}."
                data = f"{value[0]} ." if not value[1] else data
            elif kind in {"PTR", "CNAME"}:
                data = f"{value.rstrip('.')}."
            else:
                data = value
            server.zones.add(f"{owner} IN {kind} {data}\n")


@pytest.fixture(scope="module")
def servers():
    """One DNS for each scenario, started when it is first asked for."""
    running = {}

    def of(number):
        if number not in running:
            running[number] = DNS()
            running[number].__enter__()
            serve(running[number], number)
        return running[number]

    yield of
    for server in running.values():
        server.__exit__(None, None, None)


async def ours(server, case):
    resolver = server.resolver(timeout_s=5.0)
    lookups = resolver.for_mail()
    sender, helo = await spf.check(
        lookups, case["host"], case["helo"], case["mailfrom"]
    )
    await resolver.close()
    assert (sender.identity, helo.identity) == (Identity.MAIL_FROM, Identity.HELO)
    return sender.result.value


@pytest.mark.parametrize(("number", "name"), CASES)
def test_case(servers, number, name):
    """The result is one that the suite allows."""
    case = SCENARIOS[number]["tests"][name]
    allowed = case["result"]
    found = asyncio.run(ours(servers(number), case))
    assert found in ([allowed] if isinstance(allowed, str) else allowed)


def answers_for_pyspf(number):
    """Return pyspf's door to the DNS: the same records."""
    zone = records(number)

    def look_up(name, kind, strict=True, timeout=20, chain=0):
        key = name.rstrip(".").lower()
        values = zone.get((key, kind), [])
        if values is None:
            message = "DNS timeout"
            raise pyspf.TempError(message)
        for value in values:
            if kind == "TXT":
                pieces = value if isinstance(value, list) else [value]
                yield (key, kind), tuple(one.encode("latin-1") for one in pieces)
            elif kind == "MX":
                yield (key, kind), (int(value[0]), value[1])
            else:
                yield (key, kind), value
        for target in zone.get((key, "CNAME")) or ():
            yield (key, "CNAME"), target
            if not chain:
                yield from look_up(target, kind, strict, timeout, 1)

    return look_up


@pytest.mark.parametrize(("number", "name"), CASES)
def test_oracle_agrees(servers, number, name, monkeypatch):
    """Another evaluator comes to the same result, where the suite allows but one."""
    case = SCENARIOS[number]["tests"][name]
    monkeypatch.setattr(pyspf, "DNSLookup", answers_for_pyspf(number))
    query = pyspf.query(i=case["host"], s=case["mailfrom"], h=case["helo"], strict=True)
    theirs = query.check()[0]
    if isinstance(case["result"], str):
        assert asyncio.run(ours(servers(number), case)) == theirs
    else:
        assert theirs in case["result"]
