"""The state tables: what may follow what, and that nothing else may."""

from __future__ import annotations

import pytest

from relay.core.errors import IllegalTransition
from relay.core.states import (
    ACTIVITY_TRANSITIONS,
    FILE_TRANSITIONS,
    NO_ATTEMPT,
    RESTING,
    SETTLED,
    TAKEN_BACK,
    TRANSITIONS,
    ActivityState,
    Event,
    State,
    is_as_left,
    next_state,
    sources,
)

EVERY = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), EVERY)
def test_each_change_is_in_the_table_or_raises(state: State, event: Event) -> None:
    """A change in the table gives its state; any other raises and names both."""
    if event in TRANSITIONS[state]:
        assert next_state(state, event) is TRANSITIONS[state][event]
        return
    with pytest.raises(IllegalTransition) as caught:
        next_state(state, event)
    assert (caught.value.state, caught.value.event) == (state, event)
    assert str(state) in str(caught.value)


def test_the_table_knows_every_state_and_uses_every_event() -> None:
    """No state is left out, and no event is there for nothing."""
    assert set(TRANSITIONS) == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)
    assert set(ACTIVITY_TRANSITIONS) == set(FILE_TRANSITIONS) == set(ActivityState)


@pytest.mark.parametrize("event", Event)
def test_sources_are_the_rows_that_hold_the_event(event: Event) -> None:
    """`sources` says exactly where an event may happen."""
    assert sources(event) == {state for state in State if event in TRANSITIONS[state]}
    assert sources(event)


def test_a_message_is_never_lost() -> None:
    """From each state but discarded, a message can be queued again or be settled."""
    for state in set(State) - {State.DISCARDED}:
        assert TRANSITIONS[state]
    assert TRANSITIONS[State.DISCARDED] == {}
    reached = {State.QUEUED}
    while True:
        more = {then for state in reached for then in TRANSITIONS[state].values()}
        if more <= reached:
            break
        reached |= more
    assert reached == set(State)


def test_only_a_claimed_message_changes_by_itself() -> None:
    """A resting state is left by a person's act alone."""
    by_people = {Event.HOLD, Event.RELEASE, Event.REQUEUE, Event.DISCARD, Event.UNDO}
    assert set(State) - {State.QUEUED, State.CLAIMED} == RESTING
    for state in RESTING:
        assert set(TRANSITIONS[state]) <= by_people
    assert not by_people & set(TRANSITIONS[State.CLAIMED])


def test_what_a_person_did_is_undone_to_where_it_came_from() -> None:
    """Only a message that is as the act left it may go back; and no event is that."""
    assert is_as_left(State.DEAD, Event.REQUEUE, State.QUEUED)
    assert not is_as_left(State.DEAD, Event.REQUEUE, State.CLAIMED)
    assert not is_as_left(State.DEAD, Event.HOLD, State.HELD)
    assert TAKEN_BACK not in set(Event)


def test_giving_back_costs_no_attempt() -> None:
    """A paused org is not the mail's fault; every other event counts."""
    assert {Event.GIVE_BACK} == NO_ATTEMPT
    assert next_state(State.CLAIMED, Event.GIVE_BACK) is State.QUEUED


def test_a_written_record_is_never_sent_again() -> None:
    """No way leads from written or gone back to sent (exactly once)."""
    assert {ActivityState.WRITTEN, ActivityState.GONE} == SETTLED
    reached = set(SETTLED)
    for _ in ActivityState:
        reached |= {then for state in reached for then in ACTIVITY_TRANSITIONS[state]}
    assert reached == SETTLED


def test_a_record_is_sent_before_it_is_written() -> None:
    """Every way to written goes through sent, which is committed before the call."""
    assert {
        state
        for state, then in ACTIVITY_TRANSITIONS.items()
        if ActivityState.WRITTEN in then
    } == {ActivityState.SENT}


def test_states_are_written_in_lower_case() -> None:
    """The texts that scripts see are stable and in lower case."""
    for word in (*State, *Event, *ActivityState):
        assert word.value == word.name.lower() == str(word)


def test_a_record_never_has_a_state_of_files() -> None:
    """Linked and held are steps of files: no way of a record leads there."""
    reached = {then for row in ACTIVITY_TRANSITIONS.values() for then in row}
    assert not reached & {ActivityState.LINKED, ActivityState.HELD}


def test_a_file_may_do_what_a_record_may() -> None:
    """The table of files is the table of records, and the steps of the link."""
    for state, allowed in ACTIVITY_TRANSITIONS.items():
        assert allowed <= FILE_TRANSITIONS[state]
    assert FILE_TRANSITIONS[ActivityState.GONE] == frozenset()
