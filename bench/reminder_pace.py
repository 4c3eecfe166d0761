"""How late a change in Salesforce is seen, hour by hour, and what a day costs.

    bench/reminder_pace.py [DAYS] [--json]

Only the clock runs: what is timed is the pace of `relay.core.pace` with the default
settings, over working days and week-ends, for teams in one to three time zones, with
and without mail that takes the question along. Printed for each: the longest time from
one look at Salesforce to the next, by hour of UTC on working days and at week-ends, in
seconds; the part of working hours, and of others, in which it is at most 60 s; and
the most API calls in any 24 hours.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from relay.config.reminders import RemindersSettings  # noqa: E402
from relay.core.pace import Pace  # noqa: E402
from tests.fakes.days import Traffic, simulate  # noqa: E402

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
QUIET = Traffic()
USUAL = Traffic(edits=(3, 0.2), changes=(4, 0.3))
MAIL = Traffic(mails=(120, 4), edits=(6, 0.5), changes=(8, 0.5))
ALL_DAY = Traffic(mails=(120, 120), edits=(6, 0.5), changes=(8, 0.5))
TEAMS = {
    "1 zone": ["Europe/London"],
    "2 zones": ["Europe/Berlin", "America/New_York"],
    "3 zones": ["Europe/London", "America/Los_Angeles", "Pacific/Auckland"],
}
TRAFFICS = {
    "nothing happens": QUIET,
    "edits, no mail": USUAL,
    "mail at work": MAIL,
    "mail all day": ALL_DAY,
}


def measured(names: list[str], traffic: Traffic, days: int) -> dict[str, object]:
    """Return the figures of one team."""
    settings = RemindersSettings()
    pace = Pace(
        settings.poll_s,
        settings.idle_poll_s,
        settings.push_s,
        settings.calls_per_day,
    )
    zones = [ZoneInfo(name) for name in names]
    done = simulate(pace, zones, MONDAY, days, traffic=traffic)
    hours = done.by_hour()
    shares = {}
    for label, awake in (("work", True), ("other", False)):
        gaps = done.within(zones, awake=awake)
        short = sum(gap for gap in gaps if gap <= 60)
        shares[label] = round(100 * short / sum(gaps)) if gaps else None
    return {
        "most_calls": done.most_in_24_hours(),
        "within_60_s": shares,
        "longest_push_s": max((wait for _, wait in done.pushes), default=None),
        "workdays": [round(max(hours[True, one] or [0])) for one in range(24)],
        "weekend": [round(max(hours[False, one] or [0])) for one in range(24)],
    }


def main() -> None:
    """Print every team with every traffic."""
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    days = numbers[0] if numbers else 9
    for team, names in TEAMS.items():
        for label, traffic in TRAFFICS.items():
            found = measured(names, traffic, days)
            if "--json" in sys.argv:
                print(json.dumps({"team": team, "traffic": label, **found}))
                continue
            shares = found["within_60_s"]
            print(f"{team}, {label}: at most {found['most_calls']} calls in 24 hours;")
            print(f"  within 60 s: {shares} %; edits: {found['longest_push_s']} s")
            for name in ("workdays", "weekend"):
                line = " ".join(f"{one:4}" for one in found[name])
                print(f"  {name:8} {line}")


if __name__ == "__main__":
    main()
