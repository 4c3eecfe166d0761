"""Mails: finding them, and a person's hand on all that are found.

A mail is a message or a refusal; both stand in one timeline.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from relay.admin.inputs import message_id
from relay.core.access import Scope
from relay.core.errors import NotFound, RawUnreadable, UnparsableMessage
from relay.core.filters import REFUSED
from relay.core.model import LogFilter
from relay.core.queue import Act
from relay.core.shared import without_class
from relay.core.states import sources
from relay.mail import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from relay.core.access import Caller
    from relay.core.filters import Filter
    from relay.core.queue import KeptAct, TakenBack
    from relay.core.states import Event, State
    from relay.store import Store

NO_ANSWER: Final = "Salesforce did not answer"
_CLASS: Final = re.compile(
    r"(?:requests|urllib3|http|ssl|socket|builtins)\..*"
    r"|[A-Z][a-z]\w*(?:Error|Timeout|Exception)"
)
"""What stands for a reason where a library failed before Salesforce could answer. The
codes of Salesforce are in capitals."""
_MATCHED: Final = re.compile(r"(?P<object>\w+) (?P<id>\w{15,18}) (?P<name>.+)")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")


async def log_filter(
    store: Store,
    wanted: Filter,
    *,
    refused: bool | None = None,
    probes: bool = False,
    newest_first: bool = False,
) -> LogFilter:
    """Return what a person asks for as the store takes it: users are looked up.

    Args:
        store: Knows the users; removed ones are found, too.
        wanted: What is asked for.
        refused: True: refusals alone. False: messages alone.
        probes: With the refusals that `relay check` caused.
        newest_first: In which order.

    Raises:
        NotFound: There is no such user, or several have the name.
    """
    users = [await store.directory.find_user(who, removed=True) for who in wanted.user]
    return LogFilter(
        since=wanted.since,
        until=wanted.until,
        refused=refused,
        probes=probes,
        newest_first=newest_first,
        states=wanted.state,
        user_ids=tuple(user.id for user in users),
        addresses=wanted.address,
        domains=wanted.domain,
        texts=wanted.text,
        reasons=_reasons(wanted.reason),
        causes=wanted.cause,
        rfc_message_ids=wanted.message_id,
        begins=wanted.id,
    )


async def whole_id(
    store: Store, text: str, own_only: int | None = None
) -> tuple[str, str]:
    """Return id and kind of a message or refusal; its first characters are enough.

    Args:
        store: The open store.
        text: The id, or its first six characters or more.
        own_only: Whose rows alone there are for who asks; None: all.

    Raises:
        NotFound: No id begins so, or several do: they are named.
    """
    return await store.log.find_id(message_id(text), own_only)


async def raw_mail(store: Store, id_: str) -> bytes:
    """Return the mail of a message, byte by byte.

    Raises:
        NotFound: It is a refusal, of which nothing is stored, or the mail is gone.
        RawUnreadable: The file of the mail cannot be read now.
    """
    kind, _ = await store.log.owner(id_)
    if kind != "message":
        raise NotFound(f"{id_} is a refusal: the relay stored no mail of it")
    return await store.messages.raw(await store.log.blob_id(id_))


async def whole_row(store: Store, id_: str) -> dict[str, Any]:
    """Return one message or refusal with its trace, and `cc` of a mail that is kept.

    Raises:
        NotFound: There is no such message and no such refusal.
    """
    row = await store.log.show(id_)
    try:
        raw = await raw_mail(store, id_)
        head = parse(_HEAD_END.split(raw, maxsplit=1)[0] + b"\r\n\r\n")
    except (NotFound, RawUnreadable, UnparsableMessage):
        return row
    shown: dict[str, Any] = {}
    for name, value in row.items():
        shown[name] = value
        if name == "to":
            shown["cc"] = ", ".join(box.address for box in head.cc)
    return shown


def plain_reason(reason: object) -> str:
    """Return a reason for people: no class of a library where nobody answered."""
    text = str(reason or "")
    return NO_ANSWER if _CLASS.fullmatch(text) else text


def plain_detail(detail: object) -> str:
    """Return the detail of a step for people: no class of a library in it."""
    return without_class(str(detail or ""))


def _reasons(words: Iterable[str]) -> tuple[str, ...]:
    """Return the reasons as the store has them: what is shown can be asked for."""
    found: list[str] = []
    for word in words:
        if word.casefold() == NO_ANSWER.casefold():
            from relay.salesforce import errors  # noqa: PLC0415 - for this alone

            names = {name.rpartition(".")[2] for name in errors.foreign_names()}
            found += sorted(name for name in names if plain_reason(name) == NO_ANSWER)
        else:
            found.append(word)
    return tuple(dict.fromkeys(found))


def matched(trace: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return the records that a mail was matched with last: object, id and name."""
    found: dict[str, tuple[str, str, str]] = {}
    for step in trace:
        if step.get("step") == "parse":
            found.clear()  # Another attempt; what it found counts.
        if step.get("step") == "match" and (
            said := _MATCHED.fullmatch(str(step.get("result")))
        ):
            found[said["id"]] = (said["object"], said["id"], said["name"])
    return list(found.values())


# ------------------------------------------------------------------ a person's hand

Change = tuple[str, "State", "State"]
"""A message, the state it was in, and the one it is in."""


def possible(event: Event, wanted: LogFilter) -> LogFilter | None:
    """Restrict a filter to the messages that an event is possible for; None: to none.

    A state that is asked for and cannot take the event is passed over.
    """
    fit = sorted(state.value for state in sources(event))
    asked = [state for state in wanted.states if state != REFUSED]
    states = [state for state in asked if state in fit] if wanted.states else fit
    return replace(wanted, states=tuple(states), refused=False) if states else None


async def count(store: Store, event: Event, wanted: LogFilter) -> int:
    """Return to how many messages `apply` would do it now."""
    return sum(
        [
            await store.queue.count_still(event, part)
            async for part in _fitting(store, event, wanted)
        ]
    )


def act_of(who: Caller) -> Act:
    """Return a new act of somebody; its number is there once something was changed."""
    user = who.user
    return Act(who.name, None if user is None else user.id, who.own_only)


async def apply(
    store: Store, event: Event, wanted: LogFilter, act: Act
) -> list[Change]:
    """Do it to all messages that fit and that it is possible for; return the changes.

    Many messages take many transactions, and are one act. One that moved on in between
    is passed over, and mail for postmaster is not requeued.

    Raises:
        StoreUnavailable: Those before were changed, the others were not.
    """
    changes: list[Change] = []
    async for ids in _fitting(store, event, wanted):
        changes += await store.queue.apply_still(event, ids, act)
    return changes


# ------------------------------------------------------------------ taking it back


async def is_own_act(store: Store, who: Caller, number: int) -> bool:
    """Say whether a change is an act on messages that the caller did."""
    kept = await store.acts.find(number)
    return kept is not None and _did(who, kept)


async def take_back(store: Store, who: Caller, number: int) -> TakenBack:
    """Undo an act on messages, for those that have not moved on since.

    Who did it may, by whatever door; and who may take any change back.

    Raises:
        NotFound: There is no such act of the caller.
        Conflict: It is too late, it was taken back already, or all messages moved on.
    """
    kept = await store.acts.find(number)
    may = Scope.AUDIT_WRITE in who.scopes
    if kept is None or not (may or _did(who, kept)):
        text = f"there is no act {number} on messages"
        raise NotFound(text)
    return await store.acts.undo(number, who.name, only_user=who.own_only)


def _did(who: Caller, kept: KeptAct) -> bool:
    if who.user is not None:
        return kept.user_id == who.user.id
    return kept.user_id is None and kept.actor == who.name


def taken_back_words(done: TakenBack) -> str:
    """Say what came back, and what was left alone because it has moved on."""
    count, left = sum(done.back.values()), sum(done.left.values())
    states = ", ".join(f"{n} {state}" for state, n in sorted(done.back.items()))
    text = f"{count} messages are as before ({states})"
    if count == 1:
        text = f"1 message is as before ({states})"
    if not left:
        return text
    states = ", ".join(f"{n} {state}" for state, n in sorted(done.left.items()))
    total = count + left
    rest = f"{left} of {total} have moved on since ({states})"
    if left == 1:
        rest = f"1 of {total} has moved on since ({states})"
    return f"{text}; {rest}"


async def _fitting(
    store: Store, event: Event, wanted: LogFilter
) -> AsyncIterator[Sequence[str]]:
    asked = possible(event, wanted)
    if asked is not None:
        async for part in store.log.ids(asked):
            yield part
