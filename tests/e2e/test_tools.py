"""The tests' own tools: what they start ends with them, and gets a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.fakes.children import (
    Process,
    free_port,
    listening,
    spawn,
    wait_for,
)
from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(180)

STARTS_A_SANDBOX = """
import pathlib, sys, time
from tests.fakes.processes import SandboxProcess
print(SandboxProcess(pathlib.Path(sys.argv[1])).port, flush=True)
time.sleep(60)
"""
ASKS_FOR_PORTS = """
import itertools, sys
from tests.fakes import children
children._numbers = itertools.count(int(sys.argv[1]))
print(*(children.free_port() for _ in range(50)))
"""


def test_no_two_users_get_a_port() -> None:
    """Nor do two runs of the tests that look at the same ports at the same time."""
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == 50
    assert max(given) < 32768
    other = subprocess.run(
        [sys.executable, "-c", ASKS_FOR_PORTS, str(given[0] - 20_000)],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    others = {int(port) for port in other.stdout.split()}
    assert len(others) == 50
    assert not others & set(given)


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's port is not given away."""
    first, second = free_port(), free_port()
    numbers = iter([first - 20_000, second - 20_000])
    monkeypatch.setattr("tests.fakes.children._numbers", numbers)
    with socket.create_server(("127.0.0.1", first)):
        assert free_port() == second


def test_what_was_started_ends_with_who_started_it(tmp_path: Path) -> None:
    """A pytest that is killed leaves no relay and no sandbox behind."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_A_SANDBOX, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as parent:
        try:
            assert parent.stdout
            port = int(parent.stdout.readline())
            assert listening(port)
        finally:
            parent.kill()
    wait_for(lambda: not listening(port), message="the sandbox's end", timeout_s=10)


def test_a_childs_life_does_not_hang_on_a_thread(tmp_path: Path) -> None:
    """What a thread of a test started goes on when that thread has ended."""
    started = []

    def start() -> None:
        started.append(spawn(["sleep", "60"]))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (child,) = started
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.5)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL


def test_what_does_not_come_up_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed start names what the process said, and leaves no process."""
    made = []
    made_by = Process.__init__

    def make(self: Process, *arguments: object) -> None:
        made_by(self, *arguments)
        made.append(self.pid)

    monkeypatch.setattr(Process, "__init__", make)
    monkeypatch.setattr(SandboxProcess, "_answers", lambda _: False)
    monkeypatch.setattr("tests.fakes.children.wait_for", impatient)
    with pytest.raises(AssertionError, match="the sandbox's answer"):
        SandboxProcess(tmp_path)
    relay = RelayProcess(tmp_path / "relay", "http://127.0.0.1:1")
    relay.config.write_text("[smtp]\nnonsense = 1\n", "utf-8")
    with pytest.raises(AssertionError, match="the relay's listener") as caught:
        relay.start()
    assert "nonsense" in caught.value.__notes__[0]
    assert len(made) == 2
    for pid in made:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def impatient(what: object, *, message: str) -> None:
    """Wait, but not as long as the tests do for what cannot come."""
    wait_for(what, message=message, timeout_s=2 if "sandbox" in message else 30)
