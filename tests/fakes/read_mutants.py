"""Reads mutated mails with a lid on memory, and says what came of them as JSON.

`python -m tests.fakes.read_mutants COUNT SEED`, a process of its own: the kernel grants
it no more than `MOST_BYTES` beyond what it has before the first mail (RLIMIT_AS), so
that a mail which takes more ends in a MemoryError. CPU time is measured, not the
clock; a mail that took too long is read once more.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

SLOWEST_S: Final = 1.0
MOST_BYTES: Final = 256 << 20
_ROOT = Path(__file__).resolve().parents[2]


def read_in_child(count: int, seed: int) -> dict[str, Any]:
    """Run this file in a process of its own; return what it says."""
    command = [sys.executable, "-m", "tests.fakes.read_mutants", str(count), str(seed)]
    done = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"mails": 0, "failures": [done.stderr[-500:]]}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def read(count: int, seed: int) -> dict[str, Any]:
    """Read so many mails; return counts, extremes and failures."""
    from relay.core.errors import UnparsableMessage
    from relay.mail import parse
    from tests.fakes.mutants import mutants

    mails = mutants(count, seed)
    next(mails)  # The seeds are there; what comes now is the mails'.
    parse(b"From: a@b.example\n\nx")
    before = _peak()
    _limit()
    slowest, unparsable = 0.0, 0
    failures: list[str] = []
    number = 1
    for number, raw in enumerate(mails, 2):
        spent = []
        while not spent or (spent[-1] > SLOWEST_S and len(spent) < 3):
            started = time.process_time()
            try:
                parse(raw)
            except UnparsableMessage:
                unparsable += not spent
            except Exception as error:  # noqa: BLE001 - told
                failures.append(f"mail {number}: {error!r}")
            spent.append(time.process_time() - started)
        if min(spent) > SLOWEST_S:
            failures.append(f"mail {number} took {min(spent):.2f} s of CPU")
        slowest = max(slowest, min(spent))
    return {
        "mails": number,
        "seed": seed,
        "unparsable": unparsable,
        "slowest_s": round(slowest, 3),
        "grown_mb": (_peak() - before) >> 20,
        "failures": failures[:20],
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _limit() -> None:
    if not sys.platform.startswith("linux"):
        return
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read(int(sys.argv[1]), int(sys.argv[2]))))
