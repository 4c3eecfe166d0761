"""What is missing before mail is logged is named, step by step (R7, R9 to R14)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.core.directory import Role, User
from relay.diagnose.activation import OrgSwitch, guidance, instructions
from tests.fakes.values import NOON

ADA = User(
    *(1, "Ada", "ada@corp.example", Role.REP, True, None, "log-a"),
    activated_at=NOON,
)
ON = OrgSwitch(is_on=True)
OFF = OrgSwitch(False, NOON, "cli:root")
ADDRESS = "log-a@in.relay.example"


def missing(
    user: User = ADA,
    switch: OrgSwitch = ON,
    address: str | None = ADDRESS,
    accepted: tuple[str, ...] = ("ada@corp.example",),
) -> list[tuple[str, str]]:
    """Return rule and command of each missing step."""
    steps = guidance(user, switch=switch, address=address, accepted=accepted)
    return [(step.rule, step.command) for step in steps]


def test_nothing_is_missing() -> None:
    """An activated user with an address and an accepted address."""
    assert missing() == []


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ({"switch": OFF}, ("R12", "relay activate")),
        ({"address": None}, ("R12", "relay check")),
        (
            {"user": replace(ADA, active=False, activated_at=None)},
            ("R7", "relay user activate ada@corp.example"),
        ),
        (
            {"user": replace(ADA, active=False)},
            ("R7", "relay user enable ada@corp.example"),
        ),
        ({"accepted": ()}, ("R11", "relay address add ada@corp.example ADDRESS")),
    ],
)
def test_one_step_is_missing(change: dict[str, object], step: tuple[str, str]) -> None:
    """It is named with the command that takes it."""
    assert missing(**change) == [step]  # type: ignore[arg-type]


def test_steps_come_in_their_order() -> None:
    """The admin's switch first, the user's own list last."""
    new = replace(ADA, active=False, activated_at=None)
    steps = guidance(new, switch=OFF, address=None, accepted=())
    assert [step.rule for step in steps] == ["R12", "R12", "R7", "R11"]
    assert {step.by for step in steps} == {"admin"}
    assert steps[0].as_json() == {
        "rule": "R12",
        "by": "admin",
        "text": steps[0].text,
        "command": "relay activate",
    }


def test_the_switch_says_since_when_and_by_whom() -> None:
    """So that the admin knows whom to ask."""
    assert OFF.text == (
        "logging is switched off for everybody since 2026-03-04 12:00 UTC, by "
        "cli:root: no relay address accepts mail"
    )
    assert OFF.hint == "relay activate"
    assert (ON.text, ON.hint) == ("logging is on", "")
    assert "since" not in OrgSwitch(is_on=False).text


def test_instructions_name_the_address_and_the_senders() -> None:
    """And the usual mail programs."""
    told = dict(instructions(ADDRESS, ["b@corp.example", "a@corp.example"]))
    assert ADDRESS in told["Address"]
    assert "a@corp.example, b@corp.example" in told["From"]
    assert {"Outlook", "Gmail", "Thunderbird", "Apple Mail"} <= set(told)
