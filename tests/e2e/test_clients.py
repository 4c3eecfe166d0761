"""Mail programs as people have them: each must get its mail in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import DEADLINE_S, RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(90)

NODE_FOLDER = Path(__file__).parents[1] / "node"


def swaks(relay: RelayProcess, rcpt: str, file: Path) -> list[str]:
    """Return a swaks command."""
    return [
        "swaks",
        *("--server", f"127.0.0.1:{relay.port}"),
        *("--from", "ada@corp.example", "--to", rcpt, "--data", f"@{file}"),
    ]


def curl(relay: RelayProcess, rcpt: str, file: Path) -> list[str]:
    """Return a curl command."""
    return [
        *("curl", "--silent", "--show-error", f"smtp://127.0.0.1:{relay.port}"),
        *("--mail-from", "ada@corp.example", "--mail-rcpt", rcpt),
        *("--upload-file", str(file)),
    ]


def msmtp(relay: RelayProcess, rcpt: str, file: Path) -> list[str]:
    """Return an msmtp command that reads the file."""
    command = (
        f"msmtp --host=127.0.0.1 --port={relay.port} --auth=off --tls=off "
        f"--from=ada@corp.example {rcpt} < {file}"
    )
    return ["sh", "-c", command]


def nodemailer(relay: RelayProcess, rcpt: str, file: Path) -> list[str]:
    """Return a Node program that sends the file."""
    if not (NODE_FOLDER / "node_modules" / "nodemailer").is_dir():
        pytest.skip("nodemailer is not installed: its way in is not tested here")
    script = (
        "const m = require('nodemailer').createTransport({host: '127.0.0.1',"
        f" port: {relay.port}, secure: false, ignoreTLS: true}});"
        "m.sendMail({envelope: {from: 'ada@corp.example',"
        f" to: ['{rcpt}']}}, raw: require('fs').readFileSync('{file}')}})"
        ".then(r => console.log(r.response),"
        " e => {console.error(e); process.exit(1)})"
    )
    return ["node", "-e", script]


@pytest.mark.parametrize("client", [swaks, curl, msmtp, nodemailer])
def test_a_client_gets_its_mail_logged(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str, client: object
) -> None:
    """The mail of each client becomes an activity."""
    assert callable(client)
    sandbox.person("Contact", "kim@customer.example")
    file = relay.folder / "mail.eml"
    mail = mail_to("kim@customer.example", Subject="From a client")
    file.write_bytes(mail.as_bytes().replace(b"\n", b"\r\n"))
    command = client(relay, ada, file)
    program = "msmtp" if command[0] == "sh" else command[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: its way in is not tested here")
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=DEADLINE_S,
        cwd=NODE_FOLDER if program == "node" else None,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    wait_for(lambda: sandbox.rows("EmailMessage"), message="the activity")
    assert sandbox.rows("EmailMessage")[0]["Subject"] == "From a client"


def test_mutt_gets_its_mail_in(relay: RelayProcess, ada: str) -> None:
    """mutt asks for every recipient, so its mail names the relay address alone."""
    if shutil.which("mutt") is None:
        pytest.skip("mutt is not installed: its way in is not tested here")
    rc = relay.folder / "muttrc"
    rc.write_text(
        f'set smtp_url = "smtp://127.0.0.1:{relay.port}"\n'
        'set from = "ada@corp.example"\nset use_envelope_from = yes\n'
        'set ssl_starttls = no\nset ssl_force_tls = no\nset record = ""\n'
        'set hostname = "corp.example"\n',
        "utf-8",
    )
    done = subprocess.run(
        ["mutt", "-n", "-F", str(rc), "-s", "From mutt", ada],
        input=b"Hello\n",
        capture_output=True,
        timeout=DEADLINE_S,
        env={**os.environ, "HOME": str(relay.folder), "TERM": "dumb"},
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    row = wait_for(
        lambda: (rows := relay.log()) and rows[0]["state"] == "unmatched" and rows[0],
        message="the mail at rest",
    )
    assert (row["subject"], row["reason"]) == ("From mutt", "no_recipient")
