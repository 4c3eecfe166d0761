"""Commands that an admin can paste are safe, whatever a stranger wrote."""

from __future__ import annotations

import shlex

import pytest

from relay.diagnose.hints import acceptance, hint_for

ADA = "ada@corp.example"


def test_the_command_accepts_the_sender() -> None:
    """It is the address in its compared form."""
    assert acceptance(ADA, "Eve@Home.Example") == (
        f"relay address add {ADA} eve@home.example"
    )


@pytest.mark.parametrize("sender", ["o'neil@home.example", "a&b@home.example"])
def test_the_shell_reads_one_address(sender: str) -> None:
    """What a shell would read otherwise is quoted."""
    words = shlex.split(acceptance(ADA, sender))
    assert words == ["relay", "address", "add", ADA, sender]


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "no address",
        "*@home.example",
        "-x@home.example",
        "a@home",
        '"a b"@h.example',
    ],
)
def test_a_sender_that_can_be_misread_has_no_command(sender: str) -> None:
    """A whole domain or an option must not come from a stranger."""
    assert not acceptance(ADA, sender)


async def test_skipped_automatic_mail_names_its_switch() -> None:
    """Mail that another rule has skipped has no such command."""
    row = {"id": "1", "state": "skipped", "reason": "list_mail"}
    assert await hint_for(None, row) == (  # type: ignore[arg-type]
        "to log such mail: relay settings set automatic.list_mail log; "
        "then: relay retry 1"
    )
    other = {"id": "1", "state": "skipped", "reason": "internal_only"}
    assert await hint_for(None, other) == ""  # type: ignore[arg-type]
