"""A private PostgreSQL for the tests: its own data folder, socket and user, no network.

Its binaries refuse to run as root, so that root's tests run them as an unprivileged
user. `fsync` stays on: what is tested is a store.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from tests.fakes.children import spawn

_DEADLINE_S = 60


def find_binaries() -> Path | None:
    """Return the folder with initdb and postgres of one version, newest first."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin")]
    folders.sort(key=lambda path: float(path.parent.name), reverse=True)
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            ["pg_config", "--bindir"], capture_output=True, text=True, check=True
        )
        folders.append(Path(told.stdout.strip()))
    found = shutil.which("initdb")
    if found:
        folders.append(Path(found).parent)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres")):
            return folder
    return None


def _leash() -> list[str]:
    """Return what makes the server end with us; our Python may be root's alone."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "QUIT", "--"] if program else []


class Postgres:
    """One server; `url(name)` names a database of it, `create(name)` makes one."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="relay-pg-"))
        self._as_user = self._unprivileged()
        self._server: subprocess.Popen[bytes] | None = None

    def _unprivileged(self) -> dict[str, object]:
        """Return what makes a child run as somebody who is not root."""
        if os.geteuid() != 0:
            return {}
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                user = pwd.getpwnam(name)
                os.chown(self.folder, user.pw_uid, user.pw_gid)
                return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        msg = "no unprivileged user to run PostgreSQL as"
        raise RuntimeError(msg)

    def start(self) -> None:
        """Make the cluster and start the server; returns when it answers."""
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
        data = self.folder / "data"
        subprocess.run(
            [
                self.binaries / "initdb",
                "--pgdata",
                data,
                "--username=relay",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-instructions",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            env=environment,
            **self._as_user,
        )
        with (self.folder / "log").open("wb") as log:
            self._server = spawn(
                [
                    self.binaries / "postgres",
                    "-D",
                    data,
                    "-k",
                    self.folder,
                    "-c",
                    "listen_addresses=",
                    "-c",
                    "fsync=on",
                    "-c",
                    "max_connections=100",
                    "-c",
                    "shared_buffers=32MB",
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
                leash=_leash(),
                **self._as_user,
            )
        until = time.monotonic() + _DEADLINE_S
        while True:
            try:
                self.sql("SELECT 1")
            except subprocess.CalledProcessError:
                if time.monotonic() > until or self._server.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Run statements in one transaction, in the maintenance database by default."""
        subprocess.run(
            [
                self.binaries / "psql",
                "-qXh",
                self.folder,
                "-U",
                "relay",
                "-d",
                database,
                "-c",
                statement,
            ],
            check=True,
            capture_output=True,
        )

    def create(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, name: str) -> str:
        """Return the store URL of a database."""
        return f"postgresql://relay@/{name}?host={quote(str(self.folder), safe='')}"

    def stop(self) -> None:
        """Stop the server at once and remove everything."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)  # At once: nobody wants the data.
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
