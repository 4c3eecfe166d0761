#!/usr/bin/env python3
"""Durable intake beside Postfix, in one run.

    bench/intake.py [--rounds 5] [--cells 4k:s20,75k:s20] [--json]

Both servers answer 250 when the mail is on disk: the relay with its default store and
durability, Postfix with its queue. Postfix's own `smtp-source` sends to each in turn,
the order changes each round, and ratios are taken round by round, so that a machine
whose speed drifts hurts both alike. A cell is SIZE:sSESSIONS, with `c` behind it for a
connection per mail. CPU is that of each server's processes. Nothing is delivered: the
relay runs with intake alone, Postfix discards. Postfix needs root, the users `postfix`
and `postdrop`, and its programs: installed, or only unpacked:

    apt-get download postfix && dpkg -x postfix_*.deb DIR && export POSTFIX_ROOT=DIR
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


from tests.fakes.postfix import PrivatePostfix, program, why_not  # noqa: E402
from tests.fakes.processes import RelayProcess  # noqa: E402

SIZES = {"4k": 4096, "75k": 76_800, "5m": 5 << 20}
MAILS = {"4k": 4000, "75k": 1500, "5m": 60}
GOALS = {
    "4k:s20": 3.0,
    "4k:s100": 3.5,
    "4k:s20c": 1.6,
    "75k:s20": 1.3,
    "5m:s20": 0.8,
}
DISCARD = {
    **dict.fromkeys(
        ("default_transport", "relay_transport", "local_transport"), "discard:"
    ),
    **dict.fromkeys(
        (
            "smtpd_client_connection_count_limit",
            "smtpd_client_connection_rate_limit",
            "smtpd_client_message_rate_limit",
            "mailbox_size_limit",
        ),
        "0",
    ),
    "default_process_limit": "500",
    "message_size_limit": "104857600",
}
"""Postfix as a sink without limits: what is compared is the intake."""


@dataclass
class Server:
    """One of the two, with what it is addressed by."""

    name: str
    port: int
    pid: int
    rcpt: str


def cpu_s(pid: int) -> float:
    """Return the CPU of a process and its children, living and reaped, in seconds."""
    total = 0.0
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(f) for f in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            total += sum(cpu_s(int(child)) for child in listing.read_text().split())
    return total


def send(server: Server, cell: str) -> tuple[float, float]:
    """Send the mails of a cell; return mails a second and CPU seconds a mail."""
    size, _, sessions = cell.partition(":s")
    count = MAILS[size]
    reuse = [] if sessions.endswith("c") else ["-d"]
    command = [
        *program("smtp-source"),
        *reuse,
        *("-s", sessions.rstrip("c"), "-m", str(count), "-l", str(SIZES[size])),
        *("-f", "ada@corp.example", "-t", server.rcpt, f"127.0.0.1:{server.port}"),
    ]
    before, started = cpu_s(server.pid), time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - started
    # What was put off to the end of the run counts as well.
    time.sleep(0.3)
    return count / seconds, (cpu_s(server.pid) - before) / count


def main() -> None:
    """Run all cells and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", default=",".join(GOALS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if lack := why_not():
        sys.exit(f"no private Postfix can run here: {lack}")
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        relay = RelayProcess(folder / "relay", "http://127.0.0.1:9")
        relay.set(telemetry__log_format="json", telemetry__log_level="info")
        rcpt = relay.add_user("Ada", "ada@corp.example")
        relay.start(roles="smtp")
        peer = PrivatePostfix(9, DISCARD)
        try:
            peer.start()
            assert relay.process
            servers = [
                Server("relay", relay.port, relay.process.pid, rcpt),
                Server("postfix", peer.port, peer.pid, "x@discard.invalid"),
            ]
            cells = [
                measure(servers, cell, arguments.rounds)
                for cell in arguments.cells.split(",")
                if cell
            ]
        finally:
            peer.stop()
            peer.remove()
            relay.stop()
    if arguments.json:
        print(json.dumps({"cells": cells}))
        return
    print(f"{'cell':10} {'relay/s':>9} {'postfix/s':>9} {'ratio':>16} {'goal':>5} cpu")
    for row in cells:
        low, middle, high = row["rates_ratio"]
        print(
            f"{row['cell']:10} {row['relay_per_s']:9.0f} {row['postfix_per_s']:9.0f} "
            f"{middle:5.2f} ({low:.2f}-{high:.2f}) {row['goal'] or '':>5} "
            f"{row['cpu_ratio']:.2f}"
        )


def measure(servers: list[Server], cell: str, rounds: int) -> dict:
    """Run one cell; return medians, and the spread of the ratio."""
    for server in servers:
        send(server, "4k:s20")
    rates: dict[str, list[float]] = {s.name: [] for s in servers}
    costs: dict[str, list[float]] = {s.name: [] for s in servers}
    for number in range(rounds):
        for server in servers if number % 2 else reversed(servers):
            rate, cost = send(server, cell)
            rates[server.name].append(rate)
            costs[server.name].append(cost)
    ratios = sorted(
        a / b for a, b in zip(rates["relay"], rates["postfix"], strict=True)
    )
    cpu = [a / b for a, b in zip(costs["relay"], costs["postfix"], strict=True)]
    return {
        "cell": cell,
        "goal": GOALS.get(cell),
        "rates_ratio": [ratios[0], statistics.median(ratios), ratios[-1]],
        "cpu_ratio": statistics.median(cpu),
        "relay_per_s": statistics.median(rates["relay"]),
        "postfix_per_s": statistics.median(rates["postfix"]),
        "relay_cpu_us": statistics.median(costs["relay"]) * 1e6,
    }


if __name__ == "__main__":
    main()
