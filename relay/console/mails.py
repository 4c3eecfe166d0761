"""Mails: finding them, and a person's hand on all that are found.

A mail is a message or a refusal; both stand in one timeline.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from relay.admin.inputs import message_id
from relay.core.errors import NotFound, RawUnreadable, UnparsableMessage
from relay.core.filters import REFUSED
from relay.core.model import LogFilter
from relay.core.states import Event, sources
from relay.mail import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.core.filters import Filter
    from relay.core.states import State
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
        reasons=wanted.reason,
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


async def apply(
    store: Store, event: Event, wanted: LogFilter, actor: str
) -> list[Change]:
    """Do it to all messages that fit and that it is possible for; return the changes.

    Many messages take many transactions. One that moved on in between is passed over,
    and mail for postmaster is not requeued.

    Raises:
        StoreUnavailable: Those before were changed, the others were not.
    """
    changes: list[Change] = []
    async for ids in _fitting(store, event, wanted):
        changes += await store.queue.apply_still(event, ids, actor)
    return changes


# ------------------------------------------------------------------ taking it back

_BACK: Final = {Event.HOLD: Event.RELEASE, Event.RELEASE: Event.HOLD}
"""What takes an act back. Mail that was tried again or given up cannot be called back:
it is on its way, or what was kept of it for a retry is gone."""


async def keep_for_undo(store: Store, event: Event, changes: Sequence[Change]) -> str:
    """Keep for a day which messages were changed; return the name for `take_back`.

    Empty: nothing was changed, or it cannot be taken back.
    """
    if event not in _BACK or not changes:
        return ""
    name = secrets.token_urlsafe(16)
    await store.answers.take(_kept_as(name))
    ids = json.dumps([event.value, [id_ for id_, *_ in changes]])
    await store.answers.keep(_kept_as(name), "", 200, "", ids)
    return name


async def take_back(store: Store, name: str, actor: str) -> list[Change]:
    """Undo an act on messages that have not moved on since; return the changes.

    Raises:
        NotFound: There is no such act, it is a day old, or it was taken back.
    """
    key = _kept_as(name)
    kept = await store.answers.take(key)
    await store.answers.forget(key)
    if kept is None or not kept.body:
        raise NotFound("this cannot be taken back any more")
    word, ids = json.loads(kept.body)
    return await store.queue.apply_still(_BACK[Event(word)], ids, actor)


def _kept_as(name: str) -> str:
    return hashlib.sha256(f"undo\0{name}".encode()).hexdigest()


async def _fitting(
    store: Store, event: Event, wanted: LogFilter
) -> AsyncIterator[Sequence[str]]:
    asked = possible(event, wanted)
    if asked is not None:
        async for part in store.log.ids(asked):
            yield part
