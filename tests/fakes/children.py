"""What every test with real processes needs: children, ports, and patience."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEADLINE_S = 60.0
_LEASH = Path(__file__).with_name("leash.py")
_STARTER = ThreadPoolExecutor(1, "starter")
"""Starts all children: each dies with the thread that started it, and this one ends
with the process, while a thread of a test's own may end before."""


_PORTS = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections (from 32768 on)."""
_claims = (Path(tempfile.gettempdir()) / f"relay-test-ports-{os.geteuid()}").open("ab")
"""A byte of this file is locked for each port that some test process was given."""
_numbers = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that no other test gets.

    Its user binds it seconds later, and two relays may share a port without a word
    (`SO_REUSEPORT`). So it is claimed for the life of this process, against all others
    of this machine and user, whatever run of the tests they belong to.
    """
    for number in itertools.islice(_numbers, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        with suppress(OSError), socket.socket() as probe:
            fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind(("127.0.0.1", port))
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


@contextmanager
def piped(
    command: Sequence[str], **options: Any
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a command; give it and what it prints. In the end it is killed and closed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with spawn(command, **pipes, **options) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout
        finally:
            child.kill()


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
