"""Reminders in step with tasks, by a real relay and a real sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(150)


def test_switched_on_it_goes_both_ways_and_a_kill_makes_no_double(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Nothing is asked before; a task is imported, and a reminder becomes a task."""
    text = idle.config.read_text("utf-8")
    more = "[reminders]\npoll_s = 1.0\nidle_poll_s = 1.0\npush_s = 0.5\n"
    idle.config.write_text(f"{text}\n{more}", "utf-8")
    idle.add_user("Ada Rep", "ada@corp.example")
    users = sandbox.get("/sandbox/dump?object=User")["User"]
    (sfid,) = [one["Id"] for one in users if one["Username"] == "ada@corp.example"]
    idle.run("user", "set", "ada@corp.example", "--salesforce-id", sfid)
    task = sandbox.create("Task", Subject="From Salesforce", OwnerId=sfid)
    idle.start()
    idle.run("reminder", "sync", "on", "ada@corp.example")

    def found() -> list[str]:
        return [one["name"] for one in idle.json("reminder", "list")]

    wait_for(lambda: found() == ["From Salesforce"], message="the import")
    idle.run("reminder", "add", "From here", "--user", "ada@corp.example")

    def subjects() -> list[str]:
        rows = sandbox.get("/sandbox/dump?object=Task")["Task"]
        return sorted(one["Subject"] for one in rows if not one["IsDeleted"])

    wait_for(lambda: "From here" in subjects(), message="the new task")
    idle.kill()
    idle.start()
    (ident,) = [
        one["id"]
        for one in idle.json("reminder", "list")
        if one["name"] == "From Salesforce"
    ]
    idle.run("reminder", "complete", ident)

    def is_closed() -> bool:
        rows = sandbox.get("/sandbox/dump?object=Task")["Task"]
        return any(one["IsClosed"] for one in rows if one["Id"] == task)

    wait_for(is_closed, message="the completed task")
    assert subjects() == ["From Salesforce", "From here"]
    (row,) = idle.json("reminder", "sync", "status", "ada@corp.example")
    assert (row["state"], row["tasks"], row["failing"]) == ("in step", 2, 0)
