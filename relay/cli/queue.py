"""`relay retry`, `hold`, `release`, `discard`: a person's hand on the queue.

What may happen to a message in which state is the table of `relay.core.states`; these
commands add nothing to it. Messages named by id change all or none. What one command
did is one change of the history, which `relay history undo` takes back.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from relay.cli.entry import (
    Failure,
    RelayCommand,
    actor,
    checked,
    open_store,
    run,
    settings,
    whole_id,
)
from relay.cli.filters import filter_options
from relay.cli.output import json_option, print_json
from relay.console.mails import Change, apply, count, log_filter
from relay.core.errors import IllegalTransition
from relay.core.filters import Filter, parse
from relay.core.queue import Act
from relay.core.states import Event, State, sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store import Store

_WORDS: Final[Mapping[Event, tuple[str, str]]] = {
    Event.REQUEUE: ("retry", "retried"),
    Event.HOLD: ("hold", "held"),
    Event.RELEASE: ("release", "released"),
    Event.DISCARD: ("discard", "discarded"),
}
"""By event: the command, and what it makes of a message."""
_TOLD: Final = (
    "Messages are named by ID, all or none, or by the conditions of relay log, as "
    "options or as FILTER (state:dead reason:loop). With conditions other than --state "
    "the command shows how many fit and asks; --yes goes on without."
)
_SHOWN: Final = 20
"""Single lines for so many messages; above it, counts."""


def _command(
    name: str,
    event: Event,
    text: str,
    done: str,
    every: str = "All messages in this state.",
) -> click.Command:
    @click.command(name, cls=RelayCommand, help=f"{text}\n\n{_TOLD}")
    @click.argument("ids", metavar="[ID | FILTER]…", nargs=-1)
    @filter_options(
        words=False,
        texts={"state": every},
        states={"state": f"[{'|'.join(_fit(event))}]"},
    )
    @click.option("--yes", is_flag=True, help="Do not ask about the number.")
    @json_option
    def command(
        ids: tuple[str, ...], wanted: Filter, *, yes: bool, as_json: bool
    ) -> None:
        names = [one for one in ids if ":" not in one]
        for one in ids:
            if ":" in one:
                found = checked(partial(parse, now=datetime.now(UTC)))
                context = click.get_current_context()
                wanted = found(context, context.command.params[0], one).merged(wanted)
        if bool(names) == (wanted != Filter()):
            problem = "give either message ids or --state, or another condition"
            raise click.UsageError(problem)
        if names:
            _apply_to(event, names, done, as_json=as_json)
        else:
            _apply(event, wanted, done, yes=yes, as_json=as_json)

    return command


def _apply_to(event: Event, ids: list[str], done: str, *, as_json: bool) -> None:
    """Do it to named messages, all or none."""
    loaded = settings()

    act = Act(actor())

    async def job() -> list[Change]:
        async with open_store(loaded) as store:
            wanted = [await _message_id(store, text, event) for text in ids]
            return await store.queue.apply(
                event, list(dict.fromkeys(wanted)), None, act
            )

    try:
        changes = run(job())
    except IllegalTransition as error:
        raise Failure(refusal(event, State(str(error.state)))) from None
    _print(event, act, changes, done, "", as_json=as_json)


def _apply(
    event: Event, wanted: Filter, done: str, *, yes: bool, as_json: bool
) -> None:
    """Do it to all that fit; unless a state alone is named, the number is confirmed."""
    for state in wanted.state:
        if state not in sources(event):
            raise Failure(refusal(event, state))
    alone = wanted == Filter(state=wanted.state)
    loaded = settings()
    act = Act(actor())

    async def job() -> list[Change]:
        async with open_store(loaded) as store:
            asked = await log_filter(store, wanted)
            if not (yes or alone):
                _confirm(event, await count(store, event, asked))
            return await apply(store, event, asked, act)

    said = " or ".join(wanted.state) if alone else "like that"
    _print(event, act, run(job()), done, said, as_json=as_json)


def _confirm(event: Event, number: int) -> None:
    """Say how many messages it is about, and go on if that is meant.

    Raises:
        Failure: Nobody confirmed it; nothing is to be changed.
    """
    if not number:
        return
    verb, past = _WORDS[event]
    what = f"{number} message{'s' if number > 1 else ''}"
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(f"The filter fits {what}.", err=True)
        if click.confirm(f"{verb.capitalize()} them?", err=True):
            return
    problem = (
        f"the filter fits {what}; nothing was {past}; add --yes to {verb} them, "
        "relay log with the same filter lists them"
    )
    raise Failure(problem)


def _print(
    event: Event,
    act: Act,
    changes: list[Change],
    done: str,
    said: str,
    *,
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "id": id_,
                "event": event.value,
                "was": old.value,
                "state": new.value,
                "change": act.number,
            }
            for id_, old, new in changes
        )
        return
    for line in summary(changes, done, said):
        click.echo(line)
    if act.number is not None:
        click.echo(f"To take it back: relay history undo {act.number}", err=True)


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


def refusal(event: Event, state: str) -> str:
    """Return why a change is not possible, and for which messages it is."""
    fit = ", ".join(_fit(event))
    verb, done = _WORDS[event]
    return (
        f"a message that is {state} cannot be {done}; "
        f"{verb} is for messages that are: {fit}"
    )


def summary(changes: list[Change], done: str, state: str | None) -> list[str]:
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
    "Try messages again now: queued, dead, unmatched, skipped or logged ones.\n\n"
    "A queued message waits no longer for its next try. "
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
    "Give messages up. They stay in the log; their raw mail is removed after "
    "store.discard_keep_days, until when relay history undo brings them back.",
    "Discarded",
)
