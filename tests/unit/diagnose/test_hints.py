"""What is said about a refused sender: never to accept a stranger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.core.directory import Directory, Role, User
from relay.core.shared import Pause
from relay.diagnose.hints import hint_for, sender_hint

ADA = User(1, "Ada", "ada@corp.example", Role.REP, True, None, "log-a")
BEN = User(2, "Ben", "ben@corp.example", Role.REP, True, None, "log-b")
DIRECTORY = Directory(
    1,
    {1: ADA, 2: BEN},
    {"log-a": 1, "log-b": 2},
    {
        1: frozenset({"ada@corp.example", "*@ada.example"}),
        2: frozenset({"ben@corp.example", "ben@home.example"}),
    },
    (),
)


@pytest.mark.parametrize(
    "sender",
    ["sam@customer.example", "carol@corp.example", "Ben@Home.example", BEN.email],
)
def test_nobody_is_advised_to_accept_another_person(sender: str) -> None:
    """A customer who replied to all and a colleague stay what they are: others."""
    hint = sender_hint(DIRECTORY, ADA, sender)
    assert hint
    assert "address add" not in hint
    assert "accept" not in hint


@pytest.mark.parametrize("sender", ["ben@corp.example", "BEN@home.example"])
def test_another_user_is_pointed_to_their_own_relay_address(sender: str) -> None:
    """Ben wrote to Ada's address: his own is what he looks for."""
    hint = sender_hint(DIRECTORY, ADA, sender)
    assert hint.endswith("relay user show ben@corp.example")


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "no address",
        "*@home.example",
        "-x@home.example",
        "a@home",
        '"a b"@h.example',
        "$(reboot)@h.example",
    ],
)
def test_a_sender_that_can_be_misread_is_not_shown(sender: str) -> None:
    """Text of a stranger must not come onto the line that an admin copies."""
    assert not sender_hint(DIRECTORY, ADA, sender)


@pytest.mark.parametrize("sender", ["ada@corp.example", "any@ada.example"])
def test_a_sender_who_is_accepted_by_now_needs_nothing(sender: str) -> None:
    """They send the mail again."""
    assert not sender_hint(DIRECTORY, ADA, sender)


class Store:
    """Has a directory, which is all that a hint needs."""

    def __init__(self) -> None:
        self.directory = self

    async def load(self) -> Directory:
        return DIRECTORY


async def test_a_refusal_of_a_user_who_is_gone_has_no_hint() -> None:
    """There is nobody left whose addresses could be shown."""
    row = {
        "reason": "sender_not_accepted",
        "user": "x@corp.example",
        "from": "a@b.example",
    }
    assert not await hint_for(Store(), row)  # type: ignore[arg-type]
    hint = await hint_for(Store(), row | {"user": "Ada@corp.example"})  # type: ignore[arg-type]
    assert "a@b.example" in hint


def test_a_user_without_addresses_is_read_too() -> None:
    """A directory may have a user of whom no address is accepted."""
    bare = replace(DIRECTORY, accepted={2: frozenset()})
    assert "ben@corp.example" in sender_hint(bare, ADA, "ben@corp.example")


async def test_skipped_automatic_mail_names_its_switch() -> None:
    """Mail that another rule has skipped has no such command."""
    row = {"id": "1", "state": "skipped", "reason": "list_mail"}
    assert await hint_for(None, row) == (  # type: ignore[arg-type]
        "to log such mail: relay settings set automatic.list_mail log; "
        "then: relay retry 1"
    )
    other = {"id": "1", "state": "skipped", "reason": "internal_only"}
    assert await hint_for(None, other) == ""  # type: ignore[arg-type]


PAUSE = Pause(
    datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    datetime(2026, 1, 2, 3, 9, tzinfo=UTC),
    "down",
    "requests.exceptions.ConnectionError",
    "Salesforce could not be reached.",
)


class Pauses:
    """A store that knows pauses, which is all that a queued mail needs."""

    def __init__(self, *found: tuple[str, Pause]) -> None:
        self.pauses = self
        self._found = list(found)

    async def all(self) -> list[tuple[str, Pause]]:
        return self._found


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"state": "dead"}, "relay retry 1"),
        ({"state": "held"}, "relay release 1"),
        ({"state": "queued", "attempts": 0}, "relay serve"),
        ({"state": "queued", "attempts": 2}, "to try it now: relay retry 1"),
        (
            {
                "state": "queued",
                "reason": "no_salesforce_user",
                "user": "ada@c.example",
            },
            "relay user set ada@c.example --salesforce-id ID",
        ),
        (
            {"state": "unmatched", "reason": "no_match"},
            "relay unmatched resolve 1 RECORD",
        ),
    ],
)
async def test_each_state_that_waits_says_what_helps(
    row: dict[str, object], told: str
) -> None:
    """A command that can be copied, with the id of this message."""
    assert told in await hint_for(Pauses(), {"id": "1", **row})  # type: ignore[arg-type]


async def test_mail_without_a_recipient_is_sent_again_not_retried() -> None:
    """The customer was in Bcc or nowhere: the same mail never fits anybody."""
    row = {"id": "1", "state": "unmatched", "reason": "no_recipient"}
    hint = await hint_for(Pauses(), row)  # type: ignore[arg-type]
    assert "To or Cc" in hint
    assert "relay retry" not in hint


async def test_queued_mail_says_that_salesforce_is_down_and_until_when() -> None:
    """The name of the org and the next try, and no class of Python."""
    row = {"id": "1", "state": "queued", "attempts": 1}
    hint = await hint_for(Pauses(("https://x.example", PAUSE)), row)  # type: ignore[arg-type]
    assert "https://x.example" in hint
    assert "next try 2026-01-02 03:09:00Z" in hint
    assert "requests." not in hint
