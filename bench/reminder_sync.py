"""A first sync of 100 users with 1,000 tasks each, and a quiet round after it.

    bench/reminder_sync.py [USERS] [TASKS] [--json]

The sandbox is served over HTTP in a thread of this process, so that its share of the
time counts, too. Printed: seconds and API calls of the first sync, reminders per
second, progress after each second round, and the calls and seconds of a quiet round.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from relay.core.directory import Role  # noqa: E402
from tests.fakes.served import served  # noqa: E402
from tests.reminders.conftest import opened  # noqa: E402

PATIENCE_S = 120
"""The sandbox answers from the same process, and looks at each of its rows."""


async def run(users: int, tasks: int) -> None:
    """Make the users and tasks, sync, and print."""
    with served() as sandbox, tempfile.TemporaryDirectory() as folder:
        world = await opened(sandbox, folder, {"salesforce": {"timeout_s": PATIENCE_S}})
        store, profile = (
            world.store,
            sandbox.rows.get("User", world.users["ada"].salesforce_id),
        )
        for number in range(users):
            address = f"user{number}@corp.example"
            (sfid,) = sandbox.insert_raw(
                "User",
                [{**profile, "Id": None, "Username": address, "Email": address}],
            )
            user = await store.directory.add_user(
                f"User {number}", address, Role.REP, sfid, "bench"
            )
            await store.directory.set_active(user.id, True, "bench")
            rows = [
                {"Subject": f"Task {each}", "OwnerId": sfid, "TaskSubtype": "Task"}
                for each in range(tasks)
            ]
            sandbox.insert_raw("Task", rows)
            await store.reminder_sync.switch(user.id, sfid, "bench", on=True)
        await world.reload()
        begun, used, rounds = time.perf_counter(), sandbox.usage.used(), 0
        sandbox.clock.shift(60)
        while await world.service.turn():
            rounds += 1
            if rounds % 2 == 0:
                done = sum(one.imported for one in await store.reminder_sync.users())
                text = f"  {time.perf_counter() - begun:6.1f} s  {done:7} imported"
                print(text, file=sys.stderr)
        seconds = time.perf_counter() - begun
        done = sum(one.imported for one in await store.reminder_sync.users())
        calls = sandbox.usage.used() - used
        result = {
            "users": users,
            "tasks": done,
            "seconds": round(seconds, 1),
            "a_second": round(done / seconds),
            "calls": calls,
        }
        for label in ("overlap", "quiet"):
            sandbox.clock.shift(400)
            begun, used = time.perf_counter(), sandbox.usage.used()
            while await world.service.turn():
                pass
            result[f"{label}_calls"] = sandbox.usage.used() - used
            result[f"{label}_s"] = round(time.perf_counter() - begun, 2)
        if "--json" in sys.argv:
            print(json.dumps(result))
        else:
            print("\n".join(f"{name:14} {value}" for name, value in result.items()))
        await world.close()


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    asyncio.run(run(*[*numbers, *(100, 1000)[len(numbers) :]][:2]))
