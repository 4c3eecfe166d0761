"""`relay demo` shows the whole product at work, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import smtplib
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.children import piped

DEMO = [sys.executable, "-m", "relay", "demo"]


@pytest.mark.timeout(180)
def test_once_ends_well_with_seven_outcomes(tmp_path: Path) -> None:
    """All seven mails end as they must, exit 0, from an empty folder."""
    done = subprocess.run(
        [*DEMO, "--once", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=_environment(tmp_path),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["state"] for row in rows] == [
        *("logged", "logged", "logged", "logged"),
        *("unmatched", "refused", "refused"),
    ]
    assert all(row["as_expected"] for row in rows)
    assert all(row["records"] for row in rows[:4])
    assert all(row["proof"].startswith("sent by a server of") for row in rows[:5])
    assert rows[5]["reply"].startswith("550 5.7.1")
    assert [row["cause"] for row in rows[5:]] == ["S106", "S211"]
    assert "(S211, RFC 9989 section 5.3)" in rows[6]["reply"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(180)
def test_people_get_a_table(tmp_path: Path) -> None:
    """Mail, state, records written and reason, on a terminal or not."""
    done = subprocess.run(
        [*DEMO, "--once"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=_environment(tmp_path),
        check=True,
    )
    for part in (
        "records written",
        "to a contact on an open opportunity",
        "EmailMessage on Contact",
        "received, and forwarded to the relay",
        "from a stranger",
        "550 5.7.1",
        "forged in the name of",
        "550 5.7.26",
        "All 7 mails ended as they must.",
    ):
        assert part in done.stdout


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_for_mail_of_ones_own(
    tmp_path: Path, number: signal.Signals
) -> None:
    """After the seven, one's own mail is logged and shown; a signal ends it cleanly."""
    options = {"cwd": tmp_path, "env": _environment(tmp_path)}
    with piped([*DEMO, "--json"], **options) as (demo, printed):

        def line() -> dict[str, Any]:
            row: dict[str, Any] = json.loads(printed.readline())
            return row

        for _ in range(7):
            line()
        where = line()
        # The console is there, for an administrator and for the rep.
        assert len(where["sign_in_links"]) == 2
        for link in where["sign_in_links"].values():
            assert link.startswith(where["console"])
            with urllib.request.urlopen(link, timeout=20) as answer:
                assert b"Set your password" in answer.read()
        host, _, port = where["smtp"].rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=10) as client:
            client.sendmail(
                where["sender"],
                where["relay_address"],
                f"From: {where['sender']}\r\nTo: tom@birch.example\r\n"
                "Subject: Mine\r\n\r\nHello\r\n",
            )
        row = line()
        while row["state"] != "logged":
            row = line()
        assert row["subject"] == "Mine"
        assert Path(where["config"]).exists()
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=20)
    assert (demo.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment whose temporary folder is the test's own.

    A setting from outside must not reach the demo.
    """
    import os

    root = str(Path(__file__).parents[2])
    outside = {"TMPDIR": str(folder), "PYTHONPATH": root, "RELAY_STORE__URL": "bad"}
    return os.environ | outside
