"""Honest mail beside mail whose DNS never answers.

    python bench/hanging.py [--json] [--mails N]

Mails a second that one session after another hands over, each checked by SPF, DKIM and
DMARC, while eighty other sessions wait for name servers that never answer, as a ratio
to the same without them: with all of them from one peer, and from eighty. Beside it the
processor time of such a mail, which other programs of the machine do not lengthen (that
of client and DNS is in it: all is one process).

Times differ between machines and minutes: read the ratios. The best of several rounds
counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fakes.children import wait_for
from tests.forgery.test_hanging import NOBODY, SHAPE, WAITS, WORLD
from tests.forgery.ways import Relay

HANGING = 80
ROUNDS = 4


def rate(relay: Relay, mails: int) -> tuple[float, float]:
    """Return how many honest mails are handed over in a second, and in one of CPU."""
    best = best_cpu = 0.0
    mail = SHAPE.delivery
    for _ in range(ROUNDS):
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in range(mails):
            assert relay.smtp(mail).code == 250
        best = max(best, mails / (time.perf_counter() - begin))
        best_cpu = max(best_cpu, mails / (time.process_time() - cpu))
    return best, best_cpu


def beside(mails: int, peers: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the rates without and with sessions of so many peers that hang."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Relay(Path(folder) / "relay", WORLD, dns=WAITS) as relay,
        ExitStack() as stack,
    ):
        rate(relay, 5)
        alone = rate(relay, mails)
        for number in range(HANGING):
            mail_from = f"mallory@m{number}.{NOBODY}"
            peer = f"203.0.113.{number % peers + 1}"
            hanging = replace(SHAPE.delivery, mail_from=mail_from, peer=peer)
            stack.callback(relay.hang(hanging))
        names = [f"m{number}.{NOBODY}" for number in range(HANGING)]
        wait_for(lambda: all(relay.dns.asked(name, "TXT") for name in names))
        return alone, rate(relay, mails)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mails", type=int, default=60)
    args = parser.parse_args()
    for peers in (1, HANGING):
        alone, crowded = beside(args.mails, peers)
        row = {
            "hanging": HANGING,
            "peers": peers,
            "alone_per_s": round(alone[0], 1),
            "beside_per_s": round(crowded[0], 1),
            "ratio": round(crowded[0] / alone[0], 2),
            "cpu_ratio": round(alone[1] / crowded[1], 2),
        }
        if args.json:
            print(json.dumps(row))
        else:
            print(
                f"{HANGING} hang, from {peers:3} peers: {row['beside_per_s']} mails a "
                f"second beside {row['alone_per_s']} alone, ratio {row['ratio']}; "
                f"CPU a mail {row['cpu_ratio']} of that alone"
            )


if __name__ == "__main__":
    main()
