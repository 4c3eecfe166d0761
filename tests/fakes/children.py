"""What every test with real processes needs: children, ports, and patience."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEADLINE_S = 30.0
_LEASH = Path(__file__).with_name("leash.py")
_STARTER = ThreadPoolExecutor(1, "starter")
"""Starts all children: each dies with the thread that started it, and this one ends
with the process, while a thread of a test's own may end before."""


def ports_of(worker: str) -> range:
    """Return the ports that are a pytest-xdist worker's own.

    They lie below those that Linux gives to outgoing connections (from 32768 on).
    """
    number = int(worker.removeprefix("gw") or 0)
    first = 20_000 + 1000 * (number % 12)
    return range(first, first + 1000)


def _from_anywhere(ports: range) -> Iterator[int]:
    """Return the ports again and again; two runs at once begin at different ones."""
    begin = random.SystemRandom().randrange(len(ports))
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_ports = _from_anywhere(ports_of(os.environ.get("PYTEST_XDIST_WORKER", "gw0")))


def free_port() -> int:
    """Return a loopback port that nobody listens on just now.

    It is nobody else's before its user binds it, seconds later: this process counts
    up, other workers have ports of their own, and the kernel gives away none of them.
    """
    for port in itertools.islice(_ports, 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no free port")


def wait_for(
    what: Callable[[], Any], *, message: str = "", timeout_s: float = DEADLINE_S
) -> Any:
    """Return the first true value; fail when none comes in time."""
    end = time.monotonic() + timeout_s
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not in {timeout_s} s: {message or what}")
        time.sleep(0.05)


def listening(port: int) -> bool:
    """Say whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of the machine's own relay."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_")}
    kept["PYTHONPATH"] = os.pathsep.join(
        part for part in (str(Path.cwd()), kept.get("PYTHONPATH", "")) if part
    )
    return kept


def spawn(
    command: Sequence[str | Path], *, leash: Sequence[str] | None = None, **options: Any
) -> subprocess.Popen[Any]:
    """Start a command that dies with this process; options as for `Popen`.

    `leash` is the command before it that sees to this; without it, our own.
    """
    if leash is None:
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid())]
    return _STARTER.submit(
        subprocess.Popen, [*map(str, leash), *map(str, command)], **options
    ).result()


class Process:
    """A child process whose output is kept in a file."""

    def __init__(self, arguments: Sequence[str], log: Path, cwd: Path) -> None:
        """Start `python -m relay` with these arguments."""
        self.log = log
        with log.open("ab") as output:
            self._child = spawn(
                [sys.executable, "-m", "relay", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                env=clean_environment(),
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until it is ready; one that ends, or does not come so far, is killed."""

        def look() -> bool:
            assert self.running, f"{what}: it ended"
            return ready()

        try:
            wait_for(look, message=what)
        except BaseException as error:
            self.kill()
            error.add_note(self.output())
            raise

    def kill(self) -> None:
        """End it at once, at whatever instruction it is."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait(DEADLINE_S)

    def terminate(self) -> None:
        """Ask it to end."""
        if self.running:
            self._child.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to end, and return its exit status; one that does not is killed."""
        self.terminate()
        return self.wait()

    def wait(self) -> int:
        """Return its exit status once it has ended by itself; kill it if it stays."""
        try:
            return self._child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def output(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text("utf-8", "replace")
