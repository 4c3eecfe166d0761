"""What the queue commands say."""

from __future__ import annotations

import pytest

from relay.cli.queue import refusal, summary
from relay.core.states import Event, State, sources

HELD = ("0" * 26, State.QUEUED, State.HELD)


def test_few_changes_are_named() -> None:
    """Each changed message has a line with its old and new state."""
    lines = summary([HELD], "Held", None)
    assert lines == [f"{'0' * 26} was queued, is held."]


def test_many_changes_are_counted() -> None:
    """A thousand changed messages are one line."""
    lines = summary([HELD] * 1000, "Held", State.QUEUED)
    assert lines == ["Held 1000 messages: were queued, are held."]


def test_no_change_is_said() -> None:
    """Nothing in that state is no error, and not silence either."""
    assert summary([], "Held", State.DEAD) == ["No message is dead; nothing changed."]


@pytest.mark.parametrize("event", [Event.REQUEUE, Event.HOLD, Event.DISCARD])
def test_a_refused_change_names_the_states_that_take_it(event: Event) -> None:
    """The sentence lists where the change is allowed, as the state table has it."""
    text = refusal(event, State.DISCARDED)
    assert "a message that is discarded cannot be " in text
    assert "requeue" not in text
    for state in sources(event):
        assert str(state) in text
