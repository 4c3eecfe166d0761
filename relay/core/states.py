"""The states of a message and of a ledger row, and every change that is allowed.

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
    """Where a message is. A resting state waits for nobody but a person."""

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


class Ledger(StrEnum):
    """Where one Salesforce record that a mail needs is on its way.

    `PLANNED` is committed before anything is asked of Salesforce; `SENT` is committed
    before the request leaves. `SENT` without a live lease means that the outcome is
    unknown.
    """

    PLANNED = "planned"
    SENT = "sent"
    WRITTEN = "written"
    REFUSED = "refused"
    GONE = "gone"


LEDGER_TRANSITIONS: Final[Mapping[Ledger, frozenset[Ledger]]] = {
    # Planned → planned: the plan was never sent, a newer one takes its place.
    Ledger.PLANNED: frozenset({Ledger.PLANNED, Ledger.SENT}),
    # Sent → sent: looked for, proven absent, sent once more.
    # Sent → planned: refused by the platform in a way that wrote nothing.
    Ledger.SENT: frozenset(
        {Ledger.SENT, Ledger.PLANNED, Ledger.WRITTEN, Ledger.REFUSED, Ledger.GONE}
    ),
    # A person removed the cause (a validation rule, say) and retries.
    Ledger.REFUSED: frozenset({Ledger.PLANNED, Ledger.SENT}),
    # Somebody deleted the record in Salesforce: their wish, never made again.
    Ledger.WRITTEN: frozenset({Ledger.GONE}),
    Ledger.GONE: frozenset(),
}
LEDGER_BY_AUDIT: Final[Mapping[Ledger, frozenset[Ledger]]] = {
    # Salesforce does not have the record, and a person wants it there again.
    Ledger.WRITTEN: frozenset({Ledger.PLANNED}),
}
"""Changes that no worker makes: only `relay audit --fix`, asked for by a person."""
SETTLED: Final = frozenset({Ledger.WRITTEN, Ledger.GONE})
"""Ledger states that need no further call."""


class FileState(StrEnum):
    """Where one file of a mail is on its way into Salesforce.

    Files come after the mail's records: nothing here changes the state of a message.
    `SENT` is committed before the upload begins, as with the ledger.
    """

    PLANNED = "planned"
    SENT = "sent"
    WRITTEN = "written"
    """Salesforce has the file; that it hangs on the record is not proven yet."""
    LINKED = "linked"
    REFUSED = "refused"
    HELD = "held"
    """The org has no room for files now; tried again by itself."""
    GONE = "gone"
    """File or record was deleted in Salesforce: somebody's wish."""


FILE_TRANSITIONS: Final[Mapping[FileState, frozenset[FileState]]] = {
    # Planned → linked: the content is in Salesforce for another record of the mail.
    FileState.PLANNED: frozenset(FileState) - {FileState.WRITTEN},
    FileState.SENT: frozenset(FileState),
    FileState.WRITTEN: frozenset(
        {FileState.WRITTEN, FileState.LINKED, FileState.REFUSED, FileState.GONE}
    ),
    # Linked → linked: looked at once more, for a double of a late commit.
    FileState.LINKED: frozenset({FileState.LINKED, FileState.GONE}),
    # A person removed the cause and retries.
    FileState.REFUSED: frozenset({FileState.PLANNED}),
    FileState.HELD: frozenset(FileState) - {FileState.WRITTEN},
    FileState.GONE: frozenset(),
}
FILE_BY_AUDIT: Final[Mapping[FileState, frozenset[FileState]]] = {
    # Salesforce does not have the file, or not the record on which it hung.
    FileState.LINKED: frozenset({FileState.PLANNED, FileState.WRITTEN}),
}
"""Changes that no worker makes: only `relay audit --fix`, asked for by a person."""
FILE_WAITING: Final = frozenset(
    {FileState.PLANNED, FileState.SENT, FileState.WRITTEN, FileState.HELD}
)
"""File states that something is still to be done about."""
