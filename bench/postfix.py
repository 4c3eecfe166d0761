"""A private Postfix on loopback: own configuration, queue and data, no delivery.

It queues each mail durably, answers 250, and then throws the mail away (`discard`).
Nothing of an installed Postfix is touched. It needs root, because Postfix's master
does, and its programs: installed, or a package that was only unpacked, named by the
environment variable POSTFIX_ROOT:

    apt-get download postfix && dpkg -x postfix_*.deb DIR && export POSTFIX_ROOT=DIR
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

MAIN = """\
compatibility_level = 3.6
config_directory = {etc}
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {root}/etc/postfix
sendmail_path = {root}/usr/sbin/sendmail
newaliases_path = {root}/usr/bin/newaliases
mailq_path = {root}/usr/bin/mailq
mail_owner = postfix
setgid_group = postdrop
import_environment = MAIL_CONFIG LD_LIBRARY_PATH PATH
export_environment = MAIL_CONFIG LD_LIBRARY_PATH PATH
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = peer.invalid
mydestination =
mynetworks = 127.0.0.0/8
local_recipient_maps =
alias_maps =
alias_database =
default_transport = discard:
relay_transport = discard:
local_transport = discard:
virtual_transport = discard:
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
default_process_limit = 500
in_flow_delay = 0
message_size_limit = 104857600
mailbox_size_limit = 0
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
showq unix n - n - - showq
flush unix n - n 1000? 0 flush
"""

FOLDERS = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold"),
    *("incoming", "private", "saved", "trace", "maildrop", "public", "pid"),
)


def root() -> Path | None:
    """Return the folder below which Postfix's programs are, or None without them."""
    named = os.environ.get("POSTFIX_ROOT")
    found = Path(named) if named else Path("/")
    return found if (found / "usr/sbin/smtp-source").exists() else None


def environment(base: Path) -> dict[str, str]:
    """Return the environment in which the programs find their libraries."""
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{base}/usr/lib/postfix",
        "PATH": f"{base}/usr/sbin:{os.environ['PATH']}",
    }


class Postfix:
    """A running Postfix; `pid` is its master."""

    def __init__(self, folder: Path, port: int) -> None:
        """Write the configuration and start it.

        Raises:
            RuntimeError: It did not start; the text says what it logged.
        """
        base = root()
        if base is None or os.geteuid() != 0:
            msg = "Postfix needs its programs (see POSTFIX_ROOT) and root"
            raise RuntimeError(msg)
        self.folder = folder
        self._environment = environment(base.resolve())
        _users()
        owner = pwd.getpwnam("postfix").pw_uid
        group = grp.getgrnam("postdrop").gr_gid
        etc = folder / "etc"
        for name in ("etc", "queue", "data", *(f"queue/{f}" for f in FOLDERS)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            os.chown(folder / name, 0 if name in {"etc", "queue"} else owner, -1)
        os.chown(folder / "queue" / "pid", 0, -1)
        for name in ("maildrop", "public"):
            os.chown(folder / "queue" / name, owner, group)
        folder.chmod(0o755)
        values = {"etc": etc, "folder": folder, "root": base.resolve(), "port": port}
        (etc / "main.cf").write_text(MAIN.format(**values).replace("//usr", "/usr"))
        (etc / "master.cf").write_text(MASTER.format(**values))
        master = f"{base.resolve()}/usr/lib/postfix/sbin/master".replace("//", "/")
        self._process = subprocess.Popen(
            [master, "-c", str(etc), "-d"],
            env={**self._environment, "MAIL_CONFIG": str(etc)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "stderr").open("wb"),
            cwd=folder / "queue",
        )
        self.pid = self._process.pid

    def fail(self) -> str:
        """Return what it said, for an error message."""
        texts = []
        for name in ("stderr", "log"):
            with suppress(OSError):
                texts.append((self.folder / name).read_text("utf-8", "replace")[-1500:])
        return "\n".join(texts)

    def stop(self) -> None:
        """End it and its children."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
        time.sleep(0.2)


def _users() -> None:
    for name, command in (("postfix", "useradd"), ("postdrop", "groupadd")):
        look = pwd.getpwnam if command == "useradd" else grp.getgrnam
        with suppress(KeyError):
            look(name)
            continue
        extra = ["-s", "/usr/sbin/nologin"] if command == "useradd" else []
        subprocess.run([shutil.which(command) or command, "-r", *extra, name], check=True)
