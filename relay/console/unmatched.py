"""Unmatched mail: who may see and decide which, and what a person does with many.

`relay.unmatched` says what may be meant and carries a decision out; here stands who may
take it. A rep decides about the rep's own mail, one message at a time or all that fit,
and for nobody else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from relay.core.access import Scope
from relay.core.addresses import address_key
from relay.core.errors import InvalidInput, NeedsConfirmation, NotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from relay.config import Settings
    from relay.core.access import Caller
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.unmatched import Alias, UnmatchedFilter, UnmatchedMessage
    from relay.salesforce import Org
    from relay.store import Store
    from relay.unmatched import Created, Entry, Ignored, Resolved

MOST_AT_ONCE: Final = 1000
"""Messages that one decision is about."""


# ------------------------------------------------------------------ looking


def own_filter(who: Caller, wanted: UnmatchedFilter) -> UnmatchedFilter:
    """Restrict a filter to what the caller may see.

    Raises:
        NotAllowed: A rep asks for another's.
    """
    if who.own_only is None:
        return wanted
    if wanted.user_id not in {None, who.own_only}:
        hint = "a rep sees the rep's own mail"
        raise NotAllowed("this is another user's", hint, word="not_yours")
    return replace(wanted, user_id=who.own_only)


async def entries(
    store: Store, org: Org | None, who: Caller, wanted: UnmatchedFilter
) -> tuple[Entry, ...]:
    """Return unmatched messages that fit, the newest first, with their candidates."""
    from relay.unmatched import Candidates  # noqa: PLC0415 - heavy libraries

    return await Candidates(store, org).entries(own_filter(who, wanted))


async def entry(store: Store, org: Org | None, who: Caller, id_: str) -> Entry:
    """Return one with the records that may be meant.

    Raises:
        NotFound: There is none, it is not unmatched, or it is another user's: to a rep
            they look the same.
        SalesforceUnavailable, OrgPaused: Salesforce could not be searched.
    """
    from relay.unmatched import Candidates  # noqa: PLC0415 - heavy libraries

    if who.own_only is not None:
        _, user_id = await store.log.owner(id_)
        if user_id != who.own_only:
            raise _unknown(id_)
    return await Candidates(store, org).entry(id_)


async def named(
    store: Store, who: Caller, ids: Collection[str]
) -> list[UnmatchedMessage]:
    """Return the messages of these ids, all of which are unmatched and the caller's.

    Raises:
        NotFound: One is not, or is another user's; names it, and its state.
    """
    messages = await store.unmatched.get(ids)
    found = {one.id: one for one in messages}
    for id_ in sorted(set(ids)):
        if id_ in found and who.own_only in {None, found[id_].user_id}:
            continue
        _, user_id = await store.log.owner(id_)
        if who.own_only not in {None, user_id}:
            raise _unknown(id_)
        row = await store.log.show(id_)
        text = f"{id_} is {row['state']}, not unmatched"
        raise NotFound(text)
    return messages


async def fitting(
    store: Store, who: Caller, wanted: UnmatchedFilter
) -> list[UnmatchedMessage]:
    """Return all messages that fit, for a decision about all of them.

    Raises:
        InvalidInput: More than `MOST_AT_ONCE` fit.
    """
    wanted = replace(own_filter(who, wanted), limit=MOST_AT_ONCE + 1)
    found = await store.unmatched.find(wanted)
    if len(found) > MOST_AT_ONCE:
        count = await store.unmatched.count(wanted)
        problem = f"{count} messages fit, and one decision is about {MOST_AT_ONCE}"
        raise InvalidInput(problem, "narrow the filter, for instance by a time")
    return found


def _unknown(id_: str) -> NotFound:
    return NotFound(f"there is no message and no refusal {id_!r}")


# ------------------------------------------------------------------ deciding


async def resolve(
    store: Store,
    org: Org,
    who: Caller,
    ids: Collection[str],
    records: Sequence[str],
    *,
    address: str | None = None,
    remember: bool = False,
) -> Resolved:
    """Have mails logged on records; see `relay.unmatched.resolve`.

    Raises:
        NotAllowed: A rep wants an address remembered, which holds for everybody.
    """
    from relay.unmatched import resolve as carry_out  # noqa: PLC0415 - as above

    if remember and who.own_only is not None:
        hint = "an admin lets an address belong to a record for everybody"
        raise NotAllowed("a rep decides for one mail", hint)
    return await carry_out(
        *(store, org, ids, records, who.name), address=address, remember=remember
    )


async def plan_ignore(
    store: Store,
    who: Caller,
    messages: Sequence[UnmatchedMessage],
    *,
    whole_domain: bool,
    everybody: bool,
    only: str | None = None,
) -> Ignored:
    """Say which exclusions would end these messages, and what speaks against them.

    Raises:
        NotAllowed: It would hold for users whom the caller may not change.
    """
    from relay.unmatched import plan_ignore as plan  # noqa: PLC0415 - as above

    if everybody and Scope.USERS_WRITE not in who.scopes:
        hint = f"a token with the scope {Scope.USERS_WRITE} may"
        raise NotAllowed("this holds for all users", hint)
    return await plan(
        *(store, messages), whole_domain=whole_domain, everybody=everybody, only=only
    )


async def ignore(
    store: Store,
    who: Caller,
    messages: Sequence[UnmatchedMessage],
    plan: Ignored,
    *,
    confirmed: bool,
) -> list[str]:
    """Carry a plan of `plan_ignore` out; return the messages that are decided anew.

    Raises:
        NeedsConfirmation: Something speaks against it.
    """
    from relay.unmatched import ignore as carry_out  # noqa: PLC0415 - as above

    if plan.concerns and not confirmed:
        raise NeedsConfirmation(plan.concerns)
    return await carry_out(store, [one.id for one in messages], plan, who.name)


def may_create(settings: Settings, directory: Directory) -> bool:
    """Say whether an admin allows Leads and Contacts to be made."""
    from relay.match import with_stored  # noqa: PLC0415 - as above

    return with_stored(settings.match, directory).unmatched_create


async def create(  # noqa: PLR0913 - what a person chooses, and whom to ask
    settings: Settings,
    store: Store,
    org: Org,
    who: Caller,
    messages: Sequence[UnmatchedMessage],
    sobject: str,
    *,
    clock: Clock,
    account: str | None = None,
    only: str | None = None,
) -> list[Created]:
    """Make records of people who have none; see `relay.unmatched.Maker`.

    Raises:
        NotAllowed: No admin allows it.
    """
    from relay.unmatched import Maker  # noqa: PLC0415 - as above

    directory = settings.directory(await store.directory.load())
    if not may_create(settings, directory):
        text = "match.unmatched_create is false"
        raise NotAllowed(text, "relay settings set match.unmatched_create true")
    maker = Maker(settings.salesforce, store, org, clock, directory)
    return await maker.create(messages, sobject, who.name, account=account, only=only)


async def rematch(
    store: Store, who: Caller, messages: Sequence[UnmatchedMessage]
) -> list[str]:
    """Match messages anew, because records or rules have changed; return the queued."""
    return await store.unmatched.requeue([one.id for one in messages], who.name)


# ------------------------------------------------------------------ taking back

_OWN: Final = frozenset({"unmatched_resolve", "exclude_add"})
"""Changes that a decision about unmatched mail leaves in the history."""


async def last_change(store: Store) -> int:
    """Return the number of the latest change; what comes later is newer."""
    rows = await store.history.find(limit=1)
    return int(rows[0]["id"]) if rows else 0


async def changes_since(store: Store, who: Caller, number: int) -> list[int]:
    """Return the caller's decisions about unmatched mail since a change, in order."""
    rows = await store.history.find(by=who.name, limit=MOST_AT_ONCE)
    return [
        int(row["id"])
        for row in rows
        if row["id"] > number and row["actor"] == who.name and row["action"] in _OWN
    ]


async def undo(store: Store, who: Caller, numbers: Sequence[int]) -> list[str]:
    """Take decisions back that the caller made; return in words what holds again.

    An admin may take back anybody's.

    Raises:
        NotFound: There is no such decision of the caller.
        Conflict: It cannot be taken back any more.
    """
    for number in numbers:
        rows = await store.history.find(only_id=number)
        ours = rows and rows[0]["actor"] == who.name and rows[0]["action"] in _OWN
        if not rows or not (ours or Scope.AUDIT_WRITE in who.scopes):
            text = f"there is no change {number}"
            raise NotFound(text)
    return [await store.history.undo(number, who.name) for number in numbers]


# ------------------------------------------------------------------ remembered


def remembered_row(one: Alias) -> dict[str, Any]:
    """Return the stable names of a remembered address."""
    return {
        "address": one.key,
        "object": one.object,
        "id": one.record_id,
        "name": one.name,
        "added_at": one.added_at,
        "added_by": one.added_by,
    }


async def remembered(store: Store) -> list[dict[str, Any]]:
    """Return the addresses that belong to a record because somebody said so."""
    return [remembered_row(one) for one in await store.unmatched.aliases()]


async def forget(store: Store, address: str, actor: str) -> None:
    """Let an address belong to no record any more.

    Raises:
        NotFound: It belongs to none.
    """
    await store.unmatched.forget_alias(address_key(address) or address, actor)
