"""Mails: which messages are copies of one mail, and which worker has it.

A mail is one content with all its copies; it has at most one worker at a time, and
that lease is what guards its rows in the ledger (`relay.store.ledger`). Two relays may
join copies of one mail at the same time: its keys are unique, so that one row is made.

A mail that was copied into the text of another has no keys of its own. It is told by
its words (`relay.core.content`), which are not unique: two relays that join mails of
the same words take turns, so that the second sees what the first has made.

A message that holds several mails is divided: each gets a message of its own, in one
transaction, with a number that is unique among them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy import text as sql
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.content import Content, best
from relay.core.model import MailState
from relay.core.states import State
from relay.store import schema
from relay.store.context import Part
from relay.store.copies import copies_of
from relay.store.ledger import activity_of
from relay.store.settlement import messages_leased
from relay.store.threads import earlier_mails
from relay.store.unmatched import resolutions_of
from relay.store.values import chunks, dump, load, maybe_moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from relay.core.content import Earlier
    from relay.core.model import Activity
    from relay.core.queue import LeaseOwner, PartOf

m = schema.messages.c
mails = schema.mails
activities = schema.activities

Copy = tuple[str, str, str, str]
"""Message id, key 1, key 2, RFC Message-ID."""


NO_CONTENTS: Final[Mapping[str, Content]] = {}
_LOCK_BITS: Final = 60


class Mails(Part):
    """Assigning messages to mails."""

    async def join(
        self,
        owner: LeaseOwner,
        copies: Sequence[Copy],
        *,
        contents: Mapping[str, Content] = NO_CONTENTS,
        incoming: Collection[str] = (),
        anew: Collection[str] = (),
    ) -> dict[str, MailState]:
        """Assign each leased message its mail, and take the mails' leases.

        A mail with equal key 1, else one with equal key 2, else one that is the same by
        its words, is the same mail; else it is new. A message that has a mail keeps it.
        A mail leased by another live worker comes back with `leased` False. Messages
        that `owner` does not lease any more are left out.

        Args:
            owner: Who leases the messages.
            copies: The messages, with their keys.
            contents: What tells their mails by words, by message id.
            incoming: Ids of messages whose mail was received, not sent.
            anew: Ids of messages that may leave a mail of other keys, as long as
                nothing is planned for it: what is logged of them is another mail now.

        Raises:
            StoreUnavailable: Nothing was changed.
        """
        name, now = str(owner), self._context.now()
        told = _Told(contents, frozenset(incoming), frozenset(anew))
        return await self._context.write(lambda c: _join(c, name, copies, told, now))

    async def find(
        self, key1: str, key2: str, content: Content | None = None
    ) -> MailState | None:
        """Return the mail that a copy with these keys would join; None: it is new.

        Nothing is leased, and nothing changed: `leased` says nothing here.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        contents = {"": content} if content else {}
        return await self._context.read(lambda c: _find(c, key1, key2, contents))

    async def divide(
        self, owner: LeaseOwner, message_id: str, parts: Sequence[PartOf]
    ) -> bool:
        """Give each further mail of a leased message a message of its own, queued.

        The message itself is part 1 from then on, `parts` are the others. All or
        nothing; a message that is divided already is left as it is.

        Returns:
            Whether the message is divided; False: `owner` does not lease it any more.

        Raises:
            StoreUnavailable: Nothing was changed; or, where the store did not answer in
                time, perhaps: the message knows that it is divided.
        """
        name, now = str(owner), self._context.now()
        done = await self._context.write(
            lambda c: _divide(c, name, message_id, parts, now)
        )
        if done:
            self._context.ring()
        return done

    async def threads(self, message_ids: Collection[str]) -> dict[str, Earlier]:
        """Return the related records that these mails were logged on, and their people.

        By Message-ID, in angle brackets as in the header; ids of 18 characters, sorted.
        Contacts and Leads are not among them. A mail that is not in the store, or was
        not logged on any, is left out.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        return await self._context.read(lambda c: earlier_mails(c, message_ids))


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of copies beside their keys, by message id."""

    contents: Mapping[str, Content]
    incoming: frozenset[str] = frozenset()
    anew: frozenset[str] = frozenset()


def _join(
    connection: Connection, owner: str, copies: Sequence[Copy], told: _Told, now: int
) -> dict[str, MailState]:
    leased = messages_leased(connection, owner, [copy[0] for copy in copies])
    known = {i: row.mail_id for i, row in leased.items() if row.mail_id is not None}
    for message_id in _leaving(connection, copies, known, told):
        del known[message_id]
    new = [copy for copy in copies if copy[0] in leased and copy[0] not in known]
    known |= _assign(connection, new, told, now)
    if new:
        connection.execute(
            update(schema.messages)
            .where(m.id == bindparam("the_id"))
            .values(mail_id=bindparam("mail")),
            [{"the_id": copy[0], "mail": known[copy[0]]} for copy in new],
        )
    until: dict[int, int] = {}
    for message_id, mail_id in known.items():
        until[mail_id] = max(until.get(mail_id, 0), leased[message_id].lease_until)
    states = _mail_states(connection, _lease(connection, owner, until, now))
    return {message_id: states[mail_id] for message_id, mail_id in known.items()}


def _leaving(
    connection: Connection,
    copies: Sequence[Copy],
    known: Mapping[str, int],
    told: _Told,
) -> list[str]:
    """Return the messages that leave a mail which shares no key with them any more.

    A mail that was planned keeps its messages: what was logged stays logged.
    """
    leaving: list[str] = []
    for message_id, key1, key2, _ in copies:
        if message_id in told.anew and message_id in known:
            mail_id = known[message_id]
            shares = (mails.c.key1 == key1) | (mails.c.key2 == key2)
            planned = select(activities.c.id).where(activities.c.mail_id == mail_id)
            stays = (
                select(mails.c.id)
                .where(mails.c.id == mail_id)
                .where(shares | planned.exists())
            )
            if connection.scalar(stays) is None:
                leaving.append(message_id)
    return leaving


def _assign(
    connection: Connection, copies: Sequence[Copy], told: _Told, now: int
) -> dict[str, int]:
    """Return the mail of each copy, made where there is none."""
    if not copies:
        return {}
    _take_turns(connection, copies, told.contents)
    found = _Mails(connection, copies, told.contents)
    fresh: list[Copy] = []
    key1s, key2s = set(found.by_key1), set(found.by_key2)
    words = list(found.by_words)
    for copy in copies:
        message_id, key1, key2, _ = copy
        content = told.contents.get(message_id)
        if key1 in key1s or key2 in key2s or (content and best(content, words)):
            continue
        fresh.append(copy)
        key1s.add(key1)
        key2s.add(key2)
        if content:
            words.append((-len(fresh), content))
    if fresh:
        make = sqlite if connection.dialect.name == "sqlite" else postgresql
        # Another relay may have made it since we looked: then its row counts.
        connection.execute(
            make.insert(mails).on_conflict_do_nothing(),
            [
                {
                    "key1": key1,
                    "key2": key2,
                    "rfc_message_id": text(rfc_message_id),
                    "created_at": now,
                    "incoming": message_id in told.incoming,
                    **_columns(told.contents.get(message_id)),
                }
                for message_id, key1, key2, rfc_message_id in sorted(
                    fresh, key=lambda c: c[1]
                )
            ],
        )
        found = _Mails(connection, copies, told.contents)
    return {copy[0]: found.of(copy) for copy in copies}


def _take_turns(
    connection: Connection, copies: Sequence[Copy], contents: Mapping[str, Content]
) -> None:
    """Let another relay that joins mails of the same words finish first.

    SQLite has one writer. The numbers are taken in order, so that nobody waits for
    whoever waits for them.
    """
    if connection.dialect.name == "sqlite":
        return
    openings = {contents[c[0]].opening for c in copies if c[0] in contents}
    numbers = sorted({int(one[: _LOCK_BITS // 4], 16) for one in openings})
    for part in chunks(numbers):
        listed = ",".join(f"({number})" for number in part)
        connection.execute(
            sql(
                f"SELECT pg_advisory_xact_lock(n) FROM (VALUES {listed}) AS t(n)"  # noqa: S608 - numbers of ours
            )
        )


def _find(
    connection: Connection, key1: str, key2: str, contents: Mapping[str, Content]
) -> MailState | None:
    copy = ("", key1, key2, "")
    found = _Mails(connection, [copy], contents)
    mail_id = found.maybe(copy)
    if mail_id is None:
        return None
    key = connection.execute(
        select(mails.c.key1).where(mails.c.id == mail_id)
    ).scalar_one()
    return _mail_states(connection, {mail_id: (key, False)})[mail_id]


class _Mails:
    """The mails that copies may join, by keys and by words."""

    def __init__(
        self,
        connection: Connection,
        copies: Sequence[Copy],
        contents: Mapping[str, Content],
    ) -> None:
        self._contents = contents
        self.by_key1: dict[str, int] = {}
        self.by_key2: dict[str, int] = {}
        for column, index, found in (
            (mails.c.key1, 1, self.by_key1),
            (mails.c.key2, 2, self.by_key2),
        ):
            for part in chunks({copy[index] for copy in copies}):
                query = select(column, mails.c.id).where(column.in_(part))
                found.update({row[0]: row[1] for row in connection.execute(query)})
        openings = {contents[c[0]].opening for c in copies if c[0] in contents}
        self.by_words: list[tuple[int, Content]] = []
        for part in chunks(openings):
            query = select(mails).where(mails.c.opening_key.in_(part))
            rows = connection.execute(query.order_by(mails.c.id))
            self.by_words += [(row.id, _content(row)) for row in rows]

    def maybe(self, copy: Copy) -> int | None:
        """Return the mail of a copy, or None."""
        message_id, key1, key2, _ = copy
        known = self.by_key1.get(key1, self.by_key2.get(key2))
        content = self._contents.get(message_id)
        if known is not None or content is None:
            return known
        return best(content, self.by_words)

    def of(self, copy: Copy) -> int:
        """Return the mail of a copy that has one."""
        known = self.maybe(copy)
        if known is None:  # pragma: no cover - it was made a moment ago
            msg = "a mail that was made is not there"
            raise RuntimeError(msg)
        return known


def _columns(content: Content | None) -> dict[str, Any]:
    """Return the columns that tell a mail by its words."""
    if content is None:
        names = ("content_key", "opening_key", "sent_at", "sent_clock", "recipients")
        return dict.fromkeys((*names, "inline"))
    sent_at, clock = content.sent_at, content.clock
    return {
        "content_key": content.key,
        "opening_key": content.opening,
        "sent_at": None if sent_at is None else stamp(sent_at),
        "sent_clock": None if clock is None else stamp(clock.replace(tzinfo=UTC)),
        "recipients": " ".join(content.recipients),
        "inline": content.inline,
    }


def _content(row: Any) -> Content:
    clock = maybe_moment(row.sent_clock)
    return Content(
        row.content_key,
        row.opening_key,
        maybe_moment(row.sent_at),
        None if clock is None else clock.replace(tzinfo=None),
        tuple(row.recipients.split()),
        inline=row.inline,
    )


# ---------------------------------------------------------------- several mails


def _divide(
    connection: Connection,
    owner: str,
    message_id: str,
    parts: Sequence[PartOf],
    now: int,
) -> bool:
    row = messages_leased(connection, owner, [message_id]).get(message_id)
    if row is None or row.part is not None:
        return row is not None
    connection.execute(update(schema.messages).where(m.id == message_id).values(part=1))
    kept = {name: getattr(row, name) for name in _KEPT}
    connection.execute(
        insert(schema.messages),
        [
            kept
            | {
                "id": part.message_id,
                "subject": text(part.subject),
                "rfc_message_id": text(part.rfc_message_id),
                "trace": dump([*load(row.trace), part.step.as_json()]),
                "state": State.QUEUED.value,
                "reason": "",
                "next_attempt_at": now,
                "parent_id": message_id,
                "part": number,
            }
            for number, part in enumerate(parts, 2)
        ],
    )
    return True


_KEPT: Final = (
    *("blob_id", "user_id", "size_bytes", "received_at", "peer", "helo", "tls"),
    *("mail_from", "rcpt", "header_from", "header_to", "verdict"),
)
"""What every part of a message has of it."""


def _lease(
    connection: Connection, owner: str, until: dict[int, int], now: int
) -> dict[int, tuple[str, bool]]:
    """Take the leases of mails that are free; return (key, whether ours) by mail."""
    found: dict[int, tuple[str, bool]] = {}
    for part in chunks(sorted(until)):
        query = select(mails).where(mails.c.id.in_(part)).order_by(mails.c.id)
        for row in connection.execute(query.with_for_update()):
            free = row.lease_owner in (None, owner) or (row.lease_until or 0) < now
            found[row.id] = (row.key1, free)
    ours = [{"mail": i, "until": until[i]} for i, (_, free) in found.items() if free]
    if ours:
        connection.execute(
            update(mails)
            .where(mails.c.id == bindparam("mail"))
            .values(lease_owner=owner, lease_until=bindparam("until")),
            ours,
        )
    return found


def _mail_states(
    connection: Connection, leases: dict[int, tuple[str, bool]]
) -> dict[int, MailState]:
    rows: defaultdict[int, list[Activity]] = defaultdict(list)
    for part in chunks(leases):
        query = select(activities).where(activities.c.mail_id.in_(part))
        for row in connection.execute(query.order_by(activities.c.id)):
            rows[row.mail_id].append(activity_of(row))
    chosen = resolutions_of(connection, leases)
    copied = copies_of(connection, leases)
    return {
        mail_id: MailState(
            mail_id,
            key,
            tuple(rows[mail_id]),
            leased,
            chosen.get(mail_id, ()),
            copied.get(mail_id),
        )
        for mail_id, (key, leased) in leases.items()
    }
