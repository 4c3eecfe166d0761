"""`relay retry`, `hold`, `release`, `discard`: a person's hand on the queue.

What may happen to a message in which state is the table of `relay.core.states`; these
commands add nothing to it. Messages named by id change all or none.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from relay.cli.entry import (
    Failure,
    RelayCommand,
    actor,
    open_store,
    run,
    settings,
    whole_id,
)
from relay.cli.output import json_option, print_json
from relay.core.errors import IllegalTransition
from relay.core.states import Event, State, sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store import Store

Change = tuple[str, State, State]

_WORDS: Final[Mapping[Event, tuple[str, str]]] = {
    Event.REQUEUE: ("retry", "retried"),
    Event.HOLD: ("hold", "held"),
    Event.RELEASE: ("release", "released"),
    Event.DISCARD: ("discard", "discarded"),
}
"""By event: the command, and what it makes of a message."""
_SHOWN: Final = 20
"""Single lines for so many messages; above it, counts."""


def _command(
    name: str,
    event: Event,
    text: str,
    done: str,
    every: str = "All messages in this state.",
) -> click.Command:
    @click.command(name, cls=RelayCommand, help=text)
    @click.argument("ids", metavar="[ID]…", nargs=-1)
    @click.option(
        "--state",
        type=click.Choice([state.value for state in State]),
        metavar=f"[{'|'.join(_fit(event))}]",
        help=every,
    )
    @json_option
    def command(ids: tuple[str, ...], state: str | None, *, as_json: bool) -> None:
        _apply(event, ids, State(state) if state else None, done, as_json=as_json)

    return command


def _apply(
    event: Event,
    ids: tuple[str, ...],
    state: State | None,
    done: str,
    *,
    as_json: bool,
) -> None:
    if bool(ids) == (state is not None):
        problem = "give either message ids or --state"
        raise click.UsageError(problem)
    if state is not None and state not in sources(event):
        raise Failure(refusal(event, state))
    loaded = settings()

    async def job() -> list[Change]:
        async with open_store(loaded) as store:
            wanted = [await _message_id(store, text, event) for text in ids]
            return await store.queue.apply(
                event, list(dict.fromkeys(wanted)) or None, state, actor()
            )

    try:
        changes = run(job())
    except IllegalTransition as error:
        raise Failure(refusal(event, State(str(error.state)))) from None
    if as_json:
        print_json(
            {"id": id_, "event": event.value, "was": old.value, "state": new.value}
            for id_, old, new in changes
        )
        return
    for line in summary(changes, done, state):
        click.echo(line)


async def _message_id(store: Store, text: str, event: Event) -> str:
    id_, kind = await whole_id(store, text)
    if kind == "refusal":
        verb, _ = _WORDS[event]
        problem = f"{id_} is a refusal: nothing was stored that one could {verb}"
        raise Failure(problem)
    return id_


def _fit(event: Event) -> list[State]:
    """Return the states in which an event may happen, in the order of their table."""
    return [state for state in State if state in sources(event)]


def refusal(event: Event, state: State) -> str:
    """Return why a change is not possible, and for which messages it is."""
    fit = ", ".join(_fit(event))
    verb, done = _WORDS[event]
    return (
        f"a message that is {state} cannot be {done}; "
        f"{verb} is for messages that are: {fit}"
    )


def summary(changes: list[Change], done: str, state: State | None) -> list[str]:
    """Return what changed, in lines for people."""
    if not changes:
        return [f"No message is {state}; nothing changed."]
    if len(changes) <= _SHOWN:
        return [f"{id_} was {old}, is {new}." for id_, old, new in changes]
    counts = Counter((old, new) for _, old, new in changes)
    return [
        f"{done} {number} messages: were {old}, are {new}."
        for (old, new), number in counts.items()
    ]


retry = _command(
    "retry",
    Event.REQUEUE,
    "Try messages again now: dead, unmatched, skipped or logged ones.\n\n"
    "The relay does not write a record twice that Salesforce already has.",
    "Requeued",
    "All messages in this state, except mail for postmaster.",
)
hold = _command("hold", Event.HOLD, "Keep queued messages back until released.", "Held")
release = _command(
    "release", Event.RELEASE, "Put held messages back into the queue.", "Released"
)
discard = _command(
    "discard",
    Event.DISCARD,
    "Give messages up for good; they stay in the log.",
    "Discarded",
)
