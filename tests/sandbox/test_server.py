"""The server: loopback only, in a loop that another program runs, and the back door."""

from __future__ import annotations

import asyncio

import pytest
import requests

from relay.core.errors import ConfigError
from relay.sandbox import SandboxOrg, serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "corp.example", ""])
async def test_only_loopback_hosts_are_served(host):
    """Nobody else can reach an org without locks."""
    with pytest.raises(ConfigError, match="loopback"):
        await serve(SandboxOrg(), host)


async def test_a_taken_port_is_a_config_error():
    """The operator reads which port it was."""
    stop, up = asyncio.Event(), asyncio.Event()
    org = SandboxOrg(seed=False)
    task = asyncio.create_task(serve(org, announce=lambda _: up.set(), stop=stop))
    await up.wait()
    port = int(org.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=str(port)):
        await serve(SandboxOrg(seed=False), port=port)
    stop.set()
    await task


async def test_two_orgs_in_one_loop_know_nothing_of_each_other():
    """Each has its own port, rows and sessions; cancelling ends it as well."""
    orgs = [SandboxOrg(), SandboxOrg(seed=False)]
    up = [asyncio.Event() for _ in orgs]
    tasks = [
        asyncio.create_task(serve(org, announce=lambda _, event=event: event.set()))
        for org, event in zip(orgs, up, strict=True)
    ]
    for event in up:
        await event.wait()
    counts = []
    for url in (orgs[0].url, orgs[1].url):
        reply = await asyncio.to_thread(
            requests.get, f"{url}/sandbox/dump?object=Contact", timeout=5
        )
        counts.append(len(reply.json()["Contact"]))
    assert counts == [12, 0]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_reset_starts_over(sandbox):
    """Rows, faults, switches, calls and sessions are those of the first day."""
    sandbox.call("POST", "sobjects/Task/", json={})
    sandbox.admin("faults", [{"kind": "reset", "path": "/services/"}])
    sandbox.admin("config", {"email_mode": "absent"})
    first = sandbox.contact()
    sandbox.admin("reset", {})
    assert sandbox.admin("dump?object=Task") == {"Task": []}
    assert sandbox.admin("calls") == []
    assert sandbox.admin("config")["email_mode"] == "enhanced"
    assert sandbox.call("GET", "limits").status_code == 401
    assert sandbox.contact() == first
    sandbox.admin("reset", {"seed": False})
    assert sandbox.admin("dump?object=Contact") == {"Contact": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("config", {"nonsense": 1}),
        ("config", {"email_mode": "sometimes"}),
        ("config", {"daily_limit": "many"}),
        ("config", {"custom_fields": [{"object": "Task", "name": "NoSuffix"}]}),
        ("config", {"jwt_public_key": "nonsense"}),
        ("rows", {"Nonsense": [{}]}),
        ("rows", {"Task": [{"Nonsense": 1}]}),
        ("clock", {"now": "2030-01-01T00:00:00"}),
        ("undelete", {"ids": ["zzz"]}),
    ],
)
def test_the_back_door_refuses_nonsense(sandbox, path, body):
    """A misspelt switch fails its test instead of doing nothing."""
    reply = requests.post(f"{sandbox.url}/sandbox/{path}", json=body, timeout=5)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_rows_can_be_planted(sandbox):
    """Planted rows are found by queries and indexes at once."""
    row = {"FirstName": "Zoe", "LastName": "New", "Email": "zoe@new.example"}
    ids = sandbox.admin("rows", {"Contact": [row]})["Contact"]
    found = sandbox.query(
        "SELECT Id, Name FROM Contact WHERE Email = 'ZOE@new.example'"
    )
    assert [(each["Id"], each["Name"]) for each in found] == [(ids[0], "Zoe New")]
