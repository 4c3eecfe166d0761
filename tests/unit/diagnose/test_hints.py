"""Commands that an admin can paste are safe, whatever a stranger wrote."""

from __future__ import annotations

import shlex

import pytest

from relay.diagnose.hints import acceptance

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
