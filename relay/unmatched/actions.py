"""What a person decides about unmatched mail: where it goes, or that it is left out.

A decision is stored together with the requeue, in one transaction; the worker then
decides the mail as any other (`relay.match.decide`), with the decision among its facts.
Nothing is written to Salesforce here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, covers, domain_of
from relay.core.directory import SkipKind
from relay.core.errors import InvalidInput, NotFound
from relay.core.free_mail import is_free_mail
from relay.core.ids import record_id
from relay.core.model import Resolution

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from relay.core.model import NamedRecord, Person
    from relay.core.unmatched import UnmatchedMessage
    from relay.salesforce import Org
    from relay.store import Store

HEEDED_S: Final = 2.0
"""An edit holds in every running relay within a second; a message that depends on it
waits so long."""
MAX_RECORDS: Final = 20
"""Records of one decision."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was decided: the messages that are queued again, and on which records.

    `remembered` are the addresses that belong to the record from now on.
    """

    ids: tuple[str, ...]
    records: tuple[Resolution, ...]
    remembered: tuple[str, ...] = ()


async def resolve(
    store: Store,
    org: Org,
    ids: Collection[str],
    records: Sequence[str],
    actor: str,
    *,
    address: str | None = None,
    remember: bool = False,
) -> Resolved:
    """Have mails logged on records that a person names.

    Each record must exist, be readable for the relay, and take activities. A Lead that
    became a Contact is that Contact.

    Args:
        store: The open store.
        org: The started org.
        ids: Unmatched messages.
        records: Ids of records, 15 or 18 characters.
        actor: Who decides.
        address: Whom of the mail the record stands for; None: the only one without a
            record, or nobody in particular.
        remember: Let that address belong to the record from now on.

    Raises:
        InvalidInput: An id is none, or nothing can be logged on its record; or it is
            not clear which address to remember.
        NotFound: The relay cannot read a record.
        Conflict: A message is not unmatched; nothing was changed.
        SalesforceUnavailable, OrgPaused: The records could not be read.
    """
    wanted = [_record_id(one) for one in records]
    found = await read_records(org, wanted)
    key = None if address is None else _key(address)
    messages = await store.unmatched.get(ids)
    chosen = [
        Resolution(one.id, one.object, one.name, actor, key or "") for one in found
    ]
    kept: dict[str, Resolution] = {}
    if remember:
        kept = dict.fromkeys(_to_remember(messages, key, chosen), chosen[0])
    done = await store.unmatched.resolve(ids, chosen, actor, remember=kept)
    return Resolved(tuple(done), tuple(chosen), tuple(kept))


async def read_records(org: Org, ids: Sequence[str]) -> list[NamedRecord]:
    """Return records by id, each of which takes activities.

    Raises:
        InvalidInput: There are none or too many, or one takes no activities.
        NotFound: The relay cannot read one of them.
        SalesforceUnavailable, OrgPaused: They could not be read.
    """
    if not 0 < len(ids) <= MAX_RECORDS:
        raise InvalidInput(f"name 1 to {MAX_RECORDS} records", "by their ids")
    result = await org.lookup.find((), records=list(dict.fromkeys(ids)))
    for sfid in ids:
        record = result.found.records.get(sfid)
        if record is None:
            text = (
                f"there is no record {sfid} that the relay may read; check the id, and "
                "the permissions of the integration user"
            )
            raise NotFound(text)
        if record.unfit:
            raise InvalidInput(f"{sfid}: {record.unfit}", "name another record")
    records = (result.found.records[sfid] for sfid in ids)
    return list({record.id: record for record in records}.values())


def _record_id(text: str) -> str:
    found = record_id(text.strip())
    if found is None:
        hint = "copy its 15 or 18 characters from Salesforce; case counts"
        raise InvalidInput(f"{text!r} is no record id", hint)
    return found


def _key(address: str) -> str:
    key = address_key(address)
    if key is None:
        raise InvalidInput(f"{address!r} is no address", "write one like ada@acme.com")
    return key


def _to_remember(
    messages: Sequence[UnmatchedMessage], key: str | None, chosen: Sequence[Resolution]
) -> list[str]:
    """Return the address that is to belong to the record from now on.

    Raises:
        InvalidInput: There are several records, or several addresses.
    """
    if len(chosen) != 1:
        problem = "an address belongs to one record"
        raise InvalidInput(problem, "remember it with one record")
    people = {person.key for one in messages for person in one.people}
    if key is not None:
        if people and key not in people:
            hint = f"without a record are: {', '.join(sorted(people))}"
            raise InvalidInput(f"{key} takes no part in this mail", hint)
        return [key]
    if len(people) != 1:
        known = ", ".join(sorted(people)) or "nobody"
        problem = f"it is not clear which address to remember ({known})"
        raise InvalidInput(problem, "name it: --for ADDRESS")
    return sorted(people)


# ------------------------------------------------------------------ left out


@dataclass(frozen=True, slots=True)
class Ignored:
    """Patterns to leave out, and what speaks against it.

    `rules` are pairs of pattern and user id (None: for everybody).
    """

    rules: tuple[tuple[str, int | None], ...]
    concerns: tuple[str, ...]


async def plan_ignore(
    store: Store,
    messages: Sequence[UnmatchedMessage],
    *,
    whole_domain: bool,
    everybody: bool,
    only: str | None = None,
) -> Ignored:
    """Say which exclusions would end these messages, and what speaks against them.

    Args:
        store: The open store.
        messages: Unmatched messages.
        whole_domain: Leave out everybody in the domains, not the addresses alone.
        everybody: For all users, not only for those of the messages.
        only: An address key or `*@domain`: people outside of it are not left out.

    Raises:
        InvalidInput: The messages have nobody who could be left out.
    """
    rules: dict[tuple[str, int | None], None] = {}
    people: dict[str, Person] = {}
    for message in messages:
        for person in message.people:
            if only is not None and not covers(only, person.key):
                continue
            domain = domain_of(person.key)
            pattern = f"*@{domain}" if whole_domain else person.key
            rules[pattern, None if everybody else message.user_id] = None
            people[person.key] = person
    if not rules:
        problem = "nobody in these messages is without a record"
        raise InvalidInput(problem, "there is nothing to leave out")
    concerns = await _concerns(store, people, [p for p, _ in rules])
    return Ignored(tuple(rules), tuple(concerns))


async def _concerns(
    store: Store, people: dict[str, Person], patterns: Sequence[str]
) -> list[str]:
    """Return in sentences what an admin should know before leaving these out."""
    found = []
    for pattern in dict.fromkeys(patterns):
        domain = domain_of(pattern)
        if not pattern.startswith("*@"):
            continue
        if is_free_mail(domain):
            found.append(f"{domain} is free mail: customers write from there, too")
        some = [one for one in people.values() if domain_of(one.key) == domain]
        searched = await store.unmatched.searched(some, float(10**8))
        known = {
            hit.name
            for hits in searched.values()
            for hit in hits
            if hit.email and domain_of(hit.email) == domain
        }
        if known:
            shown = ", ".join(sorted(known)[:3])
            found.append(
                f"there are records in {domain} ({shown}), to whom no mail would be "
                "logged any more"
            )
    return found


async def ignore(
    store: Store, ids: Collection[str], plan: Ignored, actor: str
) -> list[str]:
    """Add the exclusions and have the messages decided anew; return the queued ones.

    A message of which everybody is left out ends as skipped; where somebody else has no
    record, it stays unmatched.
    """
    for pattern, user_id in plan.rules:
        await store.directory.add_exclusion(pattern, user_id, SkipKind.ADDRESS, actor)
    return await store.unmatched.requeue(ids, actor, delay_s=HEEDED_S)
