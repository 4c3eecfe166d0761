"""A backup that was taken under load is restored: nothing is missing or doubled."""

from __future__ import annotations

import shutil
import threading
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(300)

KEY = "Relay_Key__c"
DOWN = {"kind": "html", "code": 503}
LARGE = "x" * 400_000
"""More than `store.inline_bytes`: such a mail has a file of its own."""


@pytest.mark.parametrize("place", ["unique field", "no field"])
def test_a_restored_relay_goes_on(
    tmp_path: Path, sandbox: SandboxProcess, idle: RelayProcess, place: str
) -> None:
    """What waited at the backup has been logged since, by the relay that went on."""
    if place == "unique field":
        sandbox.key_fields(KEY)
    for number in range(3):
        sandbox.person("Contact", f"kim{number}@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    logged = idle.send(mail_to("kim0@customer.example"), rcpt)
    assert idle.settled(logged)["state"] == "logged"

    # Salesforce is down, so that mail waits; it goes on coming.
    sandbox.faults(DOWN)
    large = mail_to("kim1@customer.example")
    large.set_content(LARGE)
    before = [logged, idle.send(large, rcpt)]
    before += [idle.send(mail_to("kim1@customer.example"), rcpt) for _ in range(5)]
    stop, during = threading.Event(), []

    def load() -> None:
        while not stop.is_set():
            during.append(idle.send(mail_to("kim2@customer.example"), rcpt))

    sender = threading.Thread(target=load)
    sender.start()
    wait_for(lambda: len(during) > 3, message="mail comes")
    (made,) = idle.json("db", "backup", str(tmp_path / "backup.db"))
    stop.set()
    sender.join(60)
    assert made["spool_files"] == 1

    # The relay goes on, and logs everything; then its machine is lost.
    sandbox.faults()
    wait_for(idle.drained, message="all logged", timeout_s=120)
    assert {row["state"] for row in idle.log()} == {"logged"}
    written = sorted(row["Id"] for row in sandbox.rows("EmailMessage"))
    assert len(written) == len(before) + len(during)
    idle.kill()
    shutil.rmtree(idle.folder)

    # As docs/operations.md has it: both into the place of the old ones.
    again = RelayProcess(tmp_path / "again", sandbox.url)
    shutil.copy(made["file"], again.folder / "relay.db")
    shutil.copytree(made["spool"], again.folder / "relay.db.spool")
    again.start()
    try:
        wait_for(again.drained, message="all of the backup", timeout_s=120)
        rows = {row["id"]: row for row in again.log()}
        assert set(before) <= set(rows)
        assert {row["state"] for row in rows.values()} == {"logged"}
        assert sorted(r["Id"] for r in sandbox.rows("EmailMessage")) == written
        raw = again.run("show", before[1], "--raw").stdout
        mail = message_from_bytes(raw, policy=policy.default)
        assert mail.get_content().strip() == LARGE
        fresh = again.send(mail_to("kim2@customer.example"), rcpt)
        assert again.settled(fresh)["state"] == "logged"
        assert len(sandbox.rows("EmailMessage")) == len(written) + 1
    finally:
        again.kill()
