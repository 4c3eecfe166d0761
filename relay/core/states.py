"""The states of a message and of an outbox row, and every change that is allowed.

This is the only place that knows them: store, worker, command line, tests and the
drawing in `docs/flow.md` all read these tables. A change that is not in a table
raises `IllegalTransition`; nothing is ever dropped.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.core.errors import IllegalTransition

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where a message is. From a final state only a person moves it on."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    LOGGED = "logged"
    UNMATCHED = "unmatched"
    SKIPPED = "skipped"
    HELD = "held"
    DEAD = "dead"
    DISCARDED = "discarded"


class Event(StrEnum):
    """What happens to a message."""

    CLAIM = "claim"
    LOGGED = "logged"
    NO_MATCH = "no_match"
    RULED_OUT = "ruled_out"
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    GIVE_BACK = "give_back"
    EXHAUSTED = "exhausted"
    LEASE_EXPIRED = "lease_expired"
    HOLD = "hold"
    RELEASE = "release"
    REQUEUE = "requeue"
    DISCARD = "discard"
    UNDO = "undo"


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.QUEUED: {
        Event.CLAIM: State.CLAIMED,
        Event.HOLD: State.HELD,
        # It waits already: a person wants it tried now, not at its next time.
        Event.REQUEUE: State.QUEUED,
        Event.DISCARD: State.DISCARDED,
    },
    State.CLAIMED: {
        Event.LOGGED: State.LOGGED,
        Event.NO_MATCH: State.UNMATCHED,
        Event.RULED_OUT: State.SKIPPED,
        Event.PERMANENT: State.DEAD,
        Event.TRANSIENT: State.QUEUED,
        Event.GIVE_BACK: State.QUEUED,
        Event.EXHAUSTED: State.DEAD,
        Event.LEASE_EXPIRED: State.QUEUED,
    },
    State.HELD: {
        Event.RELEASE: State.QUEUED,
        Event.DISCARD: State.DISCARDED,
    },
    State.UNMATCHED: {
        Event.REQUEUE: State.QUEUED,
        Event.DISCARD: State.DISCARDED,
    },
    State.SKIPPED: {
        Event.REQUEUE: State.QUEUED,
        Event.DISCARD: State.DISCARDED,
    },
    State.DEAD: {
        Event.REQUEUE: State.QUEUED,
        Event.DISCARD: State.DISCARDED,
    },
    State.LOGGED: {
        Event.REQUEUE: State.QUEUED,
        Event.UNDO: State.DISCARDED,
    },
    State.DISCARDED: {},
}

RESTING: Final = frozenset(State) - {State.QUEUED, State.CLAIMED}
"""States that a message does not leave by itself."""

NO_ATTEMPT: Final = frozenset({Event.GIVE_BACK})
"""Events that give the attempt back: the org was paused, the mail is innocent."""


def next_state(state: State, event: Event) -> State:
    """Return the state that follows.

    Raises:
        IllegalTransition: The table has no such change; the message stays as it is.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def sources(event: Event) -> frozenset[State]:
    """Return the states in which `event` may happen."""
    return frozenset(state for state, row in TRANSITIONS.items() if event in row)


TAKEN_BACK: Final = "taken_back"
"""The word, beside those of `Event`, for what a person did and was undone. It is no
event of the table: it leads to the state from before, whichever that was."""


def is_as_left(before: State, event: Event, now: State) -> bool:
    """Say whether a message that took an event is in the state that this gave it."""
    return TRANSITIONS[before].get(event) is now


class ActivityState(StrEnum):
    """Where one row of the outbox is: a record, or a file, that Salesforce shall get.

    `PLANNED` is committed before anything is asked of Salesforce; `SENT` is committed
    before the request leaves. `SENT` without a live lease means that the outcome is
    unknown.
    """

    PLANNED = "planned"
    SENT = "sent"
    WRITTEN = "written"
    """Salesforce has it. A file is not settled yet: its link is not proven."""
    LINKED = "linked"
    """Files alone: Salesforce has the file, and the file is linked to its record."""
    REFUSED = "refused"
    HELD = "held"
    """Files alone: the org has no storage left; tried again by itself."""
    GONE = "gone"
    """Deleted in Salesforce: a person's wish, never made again."""


NO_SALESFORCE_USER: Final = "no_salesforce_user"
"""The reason of mail that waits until its user has a Salesforce user."""
IN_SALESFORCE: Final = frozenset(
    {ActivityState.SENT, ActivityState.WRITTEN, ActivityState.GONE}
)
"""States of a record that is, or may be, in Salesforce, or was deleted there. Its mail
is never planned anew: another plan would be a double."""

ACTIVITY_TRANSITIONS: Final[Mapping[ActivityState, frozenset[ActivityState]]] = {
    # Planned → planned: the plan was never sent, a newer one takes its place.
    ActivityState.PLANNED: frozenset({ActivityState.PLANNED, ActivityState.SENT}),
    # Sent → sent: looked for, proven absent, sent once more.
    # Sent → planned: refused by the platform in a way that wrote nothing.
    ActivityState.SENT: frozenset(
        {
            ActivityState.SENT,
            ActivityState.PLANNED,
            ActivityState.WRITTEN,
            ActivityState.REFUSED,
            ActivityState.GONE,
        }
    ),
    # Somebody deleted the record in Salesforce: their wish, never made again.
    ActivityState.WRITTEN: frozenset({ActivityState.GONE}),
    # A person removed the cause (a validation rule, say) and retries.
    ActivityState.REFUSED: frozenset({ActivityState.PLANNED, ActivityState.SENT}),
    ActivityState.GONE: frozenset(),
    # States that only files have.
    ActivityState.LINKED: frozenset(),
    ActivityState.HELD: frozenset(),
}
"""Changes of a row that needs one request: all records."""

_FILES_ALSO: Final[Mapping[ActivityState, frozenset[ActivityState]]] = {
    # Planned → linked: the content is in Salesforce for another record of the mail.
    ActivityState.PLANNED: frozenset(ActivityState) - {ActivityState.WRITTEN},
    ActivityState.SENT: frozenset(ActivityState),
    ActivityState.WRITTEN: frozenset(
        {ActivityState.WRITTEN, ActivityState.LINKED, ActivityState.REFUSED}
    ),
    # Linked → linked: looked at once more, for a double of a late commit.
    ActivityState.LINKED: frozenset({ActivityState.LINKED, ActivityState.GONE}),
    ActivityState.HELD: frozenset(ActivityState) - {ActivityState.WRITTEN},
}
FILE_TRANSITIONS: Final[Mapping[ActivityState, frozenset[ActivityState]]] = {
    state: allowed | _FILES_ALSO.get(state, frozenset())
    for state, allowed in ACTIVITY_TRANSITIONS.items()
}
"""Changes of a file, which needs a second request: the link to its record."""

ACTIVITY_BY_AUDIT: Final[Mapping[ActivityState, frozenset[ActivityState]]] = {
    # Salesforce does not have the record, and a person wants it there again.
    ActivityState.WRITTEN: frozenset({ActivityState.PLANNED}),
}
"""Changes that no worker makes: only `relay audit --fix`, asked for by a person."""
FILE_BY_AUDIT: Final[Mapping[ActivityState, frozenset[ActivityState]]] = {
    # Salesforce does not have the file, or not the record to which it was linked.
    ActivityState.LINKED: frozenset({ActivityState.PLANNED, ActivityState.WRITTEN}),
}
"""The same for files."""

SETTLED: Final = frozenset({ActivityState.WRITTEN, ActivityState.GONE})
"""States of a record that needs no further call."""
FILE_WAITING: Final = frozenset(
    {
        ActivityState.PLANNED,
        ActivityState.SENT,
        ActivityState.WRITTEN,
        ActivityState.HELD,
    }
)
"""States of a file that needs a further call."""
