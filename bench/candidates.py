#!/usr/bin/env python3
"""How often the right record is among the candidates of an unmatched address.

    bench/candidates.py [--seed N …] [--show] [--json]

Each seed makes an org and 485 labelled people (tests/fakes/unmatched_cases.py) who
write from an address that no record has. The search's own statements are run against
the org, so that a record which it does not find counts as wrong; what is found is
ranked. Printed: how often the right record is first, and among the first three, for
each kind of case. The weights were set by the seeds 1 and 2; the others were kept back.
`--show` names the cases whose record is not first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from relay.match.candidates import rank  # noqa: E402
from relay.salesforce import search  # noqa: E402
from tests.fakes.unmatched_cases import Case, build, schema  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.unmatched import Scored

HELD_BACK = (11, 12, 13)
"""Seeds that no weight was set by."""


@dataclass
class Result:
    """Places of the right record, by kind of case."""

    cases: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    three: Counter[str] = field(default_factory=Counter)
    misses: list[str] = field(default_factory=list)

    def share(self, of: Counter[str]) -> float:
        """Return a share of all cases."""
        return of.total() / self.cases.total()


def measure(seeds: list[int] | tuple[int, ...]) -> Result:
    """Return where the right records stand in the orgs of these seeds."""
    result = Result()
    for seed in seeds:
        org, cases = build(seed)
        for case in cases:
            asked = search.plan([case.person], schema())
            me = org.integration_user_id
            hits = search.read(
                (name, org.query(query.soql, user_id=me).records)
                for name, query in asked
            )
            ranked = rank(case.person, hits)
            count(result, case, [one.hit.id for one in ranked])
            if case.right not in [one.hit.id for one in ranked[:1]]:
                note(result, case, ranked)
    return result


def count(result: Result, case: Case, ids: list[str]) -> None:
    """Count the place of the right record."""
    result.cases[case.kind] += 1
    result.first[case.kind] += ids[:1] == [case.right]
    result.three[case.kind] += case.right in ids[:3]


def note(result: Result, case: Case, ranked: Sequence[Scored]) -> None:
    """Keep a case that went wrong, for people."""
    person = case.person
    lines = [f"{case.kind}: {person.name!r} <{person.address}> is {case.shown}"]
    for one in ranked[:3]:
        mark = "*" if one.hit.id == case.right else " "
        said = "; ".join(one.reasons)
        lines.append(f"  {mark} {one.score:3} {one.hit.name} <{one.hit.email}> {said}")
    if case.right not in [one.hit.id for one in ranked]:
        lines.append("    (the right one was not found)")
    result.misses.append("\n".join(lines))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="How good the candidates are.")
    parser.add_argument("--seed", type=int, nargs="+", default=list(HELD_BACK))
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    result = measure(options.seed)
    if options.show:
        print("\n".join(result.misses))
    rows = [
        (kind, total, result.first[kind], result.three[kind])
        for kind, total in result.cases.items()
    ]
    rows.append(
        (
            "all",
            result.cases.total(),
            result.first.total(),
            result.three.total(),
        )
    )
    if options.as_json:
        for kind, total, first, three in rows:
            print(
                json.dumps(
                    {"kind": kind, "cases": total, "first": first, "three": three}
                )
            )
        return
    print(f"{'kind':10} {'cases':>6} {'first':>7} {'in three':>9}")
    for kind, total, first, three in rows:
        print(f"{kind:10} {total:6} {first / total:7.1%} {three / total:9.1%}")


if __name__ == "__main__":
    main()
