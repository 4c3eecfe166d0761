"""A private Postfix: own configuration, queue and ports, nothing shared but programs.

It takes mail on a loopback port and hands it to one relay, and tries again each second.
It needs root, the users `postfix` and `postdrop`, and the programs: those of the
installed package, or of one that was only unpacked, named by `POSTFIX_ROOT`.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes.processes import free_port, listening, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUES = ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")
_HEAD_BYTES = 8192
"""Enough of a queue file to hold the envelope and the header of a test's mail."""
_SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
# Each second, instead of each 300, it looks at mail that it "skipped, still being
# delivered": with the short delays below, one is tried again that early at times.
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def why_not() -> str:
    """Say what a private Postfix lacks here; an empty text: nothing."""
    if os.geteuid() != 0:
        return "it needs root"
    for find, name in ((pwd.getpwnam, "postfix"), (grp.getgrnam, "postdrop")):
        try:
            find(name)
        except KeyError:
            return f"there is no user or group {name}"
    return "" if _program("postfix") else "the program postfix was not found"


def _root() -> Path:
    return Path(os.environ.get("POSTFIX_ROOT", "/"))


def _program(name: str) -> str | None:
    return shutil.which(name, path=str(_root() / "usr/sbin"))


def program(name: str) -> list[str]:
    """Return the command for one of Postfix's programs, as a list to go on with."""
    libraries = f"LD_LIBRARY_PATH={_root() / 'usr/lib/postfix'}"
    return ["env", libraries, _program(name) or name]


class PrivatePostfix:
    """A Postfix that hands all its mail to one port of this machine."""

    def __init__(self, next_hop: int, extra: Mapping[str, str] | None = None) -> None:
        """Write its configuration, further keys last; nothing is started."""
        # Its daemons run as the user postfix, who may not enter pytest's own folders.
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self._read: dict[str, list[bytes]] = {}
        self._etc = self.folder / "etc"
        self._queue = self.folder / "queue"
        self._data = self.folder / "data"
        for folder in (self._etc, self._queue, self._data):
            folder.mkdir()
        shutil.chown(self._data, "postfix")
        self._write(next_hop, extra or {})

    @property
    def pid(self) -> int:
        """The process id of its master, once it runs."""
        return int((self._queue / "pid" / "master.pid").read_text("ascii"))

    def _write(self, next_hop: int, extra: Mapping[str, str]) -> None:
        keys = {
            "compatibility_level": "3.6",
            # Names of queue files are not used again.
            "enable_long_queue_ids": "yes",
            "config_directory": self._etc,
            "queue_directory": self._queue,
            "data_directory": self._data,
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "maillog_file": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "myhostname": "sender.example",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "disable_dns_lookups": "yes",
            "smtpd_peername_lookup": "no",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "default_transport": f"smtp:[127.0.0.1]:{next_hop}",
            "smtp_tls_security_level": "none",
            "smtpd_tls_security_level": "none",
            "smtp_connect_timeout": "2s",
            "smtp_data_done_timeout": "20s",
            # As soon as can be, and never "this host is down, all its mail waits".
            "queue_run_delay": "1s",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s",
            "transport_retry_time": "1s",
            "smtp_destination_concurrency_limit": "20",
            "smtp_destination_concurrency_failed_cohort_limit": "0",
            "smtp_connection_cache_on_demand": "yes",
            "in_flow_delay": "0",
            "queue_minfree": "0",
            "notify_classes": "",
            "biff": "no",
            "syslog_name": "postfix-test",
        }
        root = _root()
        names = ["MAIL_CONFIG", "PATH"]
        if root != Path("/"):
            names.append("LD_LIBRARY_PATH")
            keys |= {
                "command_directory": root / "usr/sbin",
                "daemon_directory": root / "usr/lib/postfix/sbin",
                "shlib_directory": root / "usr/lib/postfix",
                "meta_directory": root / "etc/postfix",
                "sendmail_path": root / "usr/sbin/sendmail",
                "newaliases_path": root / "usr/bin/newaliases",
                "mailq_path": root / "usr/bin/mailq",
            }
        keys |= extra
        environment = self._environment()
        keys["import_environment"] = " ".join(
            f"{name}={environment[name]}" if name != "MAIL_CONFIG" else name
            for name in names
        )
        text = "".join(f"{key} = {value}\n" for key, value in keys.items())
        (self._etc / "main.cf").write_text(text, "utf-8")
        listener = f"127.0.0.1:{self.port} inet n - n - - smtpd\n"
        (self._etc / "master.cf").write_text(listener + _SERVICES.lstrip(), "utf-8")

    def _environment(self) -> dict[str, str]:
        root = _root()
        return {
            "PATH": f"{root / 'usr/sbin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": str(root / "usr/lib/postfix"),
        }

    def _run(self, what: str) -> None:
        program = _program("postfix")
        assert program
        log = self.folder / "log"
        with log.open("ab") as output:
            done = subprocess.run(
                [program, "-c", str(self._etc), what],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                timeout=60,
                check=False,
            )
        assert done.returncode == 0 or what == "stop", log.read_text("utf-8", "replace")

    def start(self) -> None:
        """Start it, and wait for its listener."""
        self._run("start")
        wait_for(lambda: listening(self.port), message="Postfix's listener")

    def stop(self) -> None:
        """Stop it, and wait until its last daemon is gone."""
        self._run("stop")
        end = time.monotonic() + 20
        while self._daemons() and time.monotonic() < end:
            time.sleep(0.1)

    def _daemons(self) -> bool:
        """Say whether a process still works in its queue."""
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if link.readlink().is_relative_to(self._queue):
                    return True
            except OSError:
                continue  # it ended meanwhile
        return False

    def remove(self) -> None:
        """Remove everything it had."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def files(self) -> list[Path]:
        """Return the files of its queue, wherever a mail stands on its way."""
        return [
            path
            for queue in QUEUES
            for path in (self._queue / queue).rglob("*")
            if path.is_file()
        ]

    def holds(self, pattern: bytes) -> set[bytes]:
        """Return what a pattern with one group finds in the headers of its queue.

        A mail that is moved to another folder of the queue just then may be missed. A
        file keeps its name on its way, and is read once only, so that looking again is
        cheap.
        """
        found: set[bytes] = set()
        for path in self.files():
            tokens = self._read.get(path.name)
            if not tokens:
                try:
                    with path.open("rb") as file:
                        tokens = re.findall(pattern, file.read(_HEAD_BYTES))
                except FileNotFoundError:
                    continue
                self._read[path.name] = tokens
            found.update(tokens)
        return found
