"""What sender trust must not forget: signatures, tries without DNS, used links.

All three are bounded in time: `purge` removes what is too old to matter. A signature is
remembered together with the mail that came with it, in the same commit
(`MessageStore.put`).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import IllegalTransition, NotFound
from relay.core.states import Event, State
from relay.store import schema
from relay.store.context import Part
from relay.store.queue import apply_event
from relay.store.values import SECOND, dump, load, stamp

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from relay.core.model import Json

_PART: Final = 1000
"""Rows that are in memory at a time."""
_KEY: Final = "sender.release_key"
_TRIES_KEPT: Final = 14 * 24 * 3600 * SECOND
"""A mail server gives up after some days (RFC 5321 section 4.5.4.1)."""

m, r = schema.messages.c, schema.refusals.c


class LinkUsed(Exception):  # noqa: N818 - an answer to a person, no failure of ours
    """The link has released its mail already."""


class SenderFacts(Part):
    """Facts about senders that all relays on one database share."""

    async def seen(self, digests: Collection[str]) -> dict[str, str]:
        """Return the content that each of these signatures came with first."""
        if not digests:
            return {}
        c = schema.signatures.c
        query = select(c.digest, c.content).where(c.digest.in_(sorted(digests)))
        rows = await self._context.read(lambda one: one.execute(query).all())
        return {row.digest: row.content for row in rows}

    async def count_try(self, key: str) -> tuple[int, float]:
        """Count a try of a mail; return how many, and the seconds since the first.

        Args:
            key: Stands for the mail, at most 64 characters.
        """
        now = self._context.now()
        table = schema.sender_tries

        def work(connection: Connection) -> tuple[int, int]:
            make = sqlite if connection.dialect.name == "sqlite" else postgresql
            new = make.insert(table).values(key=key, first_at=now, tries=1)
            counted = new.on_conflict_do_update(
                index_elements=["key"], set_={"tries": table.c.tries + 1}
            ).returning(table.c.tries, table.c.first_at)
            row = connection.execute(counted).one()
            return row.tries, row.first_at

        tries, first_at = await self._context.write(work)
        return tries, (now - first_at) / SECOND

    async def release_key(self) -> str:
        """Return the key that signs links, one for all relays; made when missing."""
        table = schema.notes
        query = select(table.c.value).where(table.c.key == _KEY)
        kept = await self._context.read(lambda one: one.scalar(query))
        if kept is None:
            fresh = dump(secrets.token_urlsafe(48))

            def work(connection: Connection) -> str:
                make = sqlite if connection.dialect.name == "sqlite" else postgresql
                new = make.insert(table).values(key=_KEY, value=fresh)
                connection.execute(new.on_conflict_do_nothing())
                return str(connection.scalar(query))

            kept = await self._context.write(work)
        return str(load(str(kept)))

    async def release(
        self, message_id: str, link: str, expires_at: datetime, actor: str
    ) -> None:
        """Release a message that the policy holds, once for each link.

        Args:
            message_id: The message.
            link: Digest of the link.
            expires_at: When the link ends; it is remembered until then.
            actor: Who asked, for the audit.

        Raises:
            LinkUsed: The link released its message before; nothing was changed.
            NotFound: There is no such message any more.
            IllegalTransition: The message is not held by the policy now.
        """
        now, used = self._context.now(), schema.used_links

        def work(connection: Connection) -> None:
            query = select(schema.messages).where(m.id == message_id)
            row = connection.execute(query.with_for_update()).first()
            if connection.scalar(select(used.c.digest).where(used.c.digest == link)):
                raise LinkUsed
            if row is None:
                text = f"there is no message {message_id}"
                raise NotFound(text)
            # What a person held, a link does not release.
            if row.state != State.HELD or row.reason in BY_HAND:
                raise IllegalTransition(State(row.state), Event.RELEASE)
            apply_event(connection, Event.RELEASE, [row], actor, now)
            connection.execute(
                insert(used).values(
                    digest=link, used_at=now, expires_at=stamp(expires_at)
                )
            )

        await self._context.write(work)
        self._context.ring()

    async def is_used(self, link: str) -> bool:
        """Say whether a link has released its message."""
        c = schema.used_links.c
        query = select(c.digest).where(c.digest == link)
        return await self._context.read(lambda one: one.scalar(query)) is not None

    async def report(self, since: datetime) -> list[dict[str, Json]]:
        """Return what was judged since then, for each domain of authors, by name.

        Each row has `domain`, `mails`, what became of them (`accept`, `flag`, `hold`,
        `refuse`, `retry`), the `causes` with their counts, and of the policy that is
        only watched what it would have stopped (`monitor`, with `policy`, `stopped` and
        `causes`). A mail for several users counts once for each.
        """
        from_ = stamp(since)
        judged = select(m.verdict).where(m.verdict.is_not(None), m.received_at >= from_)
        refused = select(r.verdict, r.times).where(
            r.verdict.is_not(None), r.last_at >= from_
        )

        def work(connection: Connection) -> list[dict[str, Json]]:
            report = _Report()
            for text in connection.scalars(judged.execution_options(yield_per=_PART)):
                report.add(load(str(text)), 1)
            for row in connection.execute(refused.execution_options(yield_per=_PART)):
                report.add(load(row.verdict), row.times)
            return report.sorted()

        return await self._context.read(work)

    async def proofs(self, domain: str, since: datetime) -> list[dict[str, Json]]:
        """Return the verdicts on mail of a domain since then, newest first."""
        queries = (
            select(m.id, m.verdict).where(
                m.verdict.is_not(None), m.received_at >= stamp(since)
            ),
            select(r.id, r.verdict).where(
                r.verdict.is_not(None), r.last_at >= stamp(since)
            ),
        )

        def work(connection: Connection) -> list[tuple[str, Json]]:
            rows = [
                (row.id, verdict)
                for query in queries
                for row in connection.execute(query.execution_options(yield_per=_PART))
                if _domain(verdict := load(row.verdict)) == domain
            ]
            return sorted(rows, key=lambda one: one[0], reverse=True)

        found = await self._context.read(work)
        return [one for _, one in found]

    async def purge(self, keep_signatures: float) -> int:
        """Remove what is too old to matter; return how many rows.

        Args:
            keep_signatures: Days for which signatures are remembered.
        """
        now = self._context.now()
        day = 24 * 3600 * SECOND
        old = (
            (schema.signatures.c.seen_at, now - int(keep_signatures * day)),
            (schema.sender_tries.c.first_at, now - _TRIES_KEPT),
            (schema.used_links.c.expires_at, now - day),
        )

        def work(connection: Connection) -> int:
            return sum(
                connection.execute(delete(column.table).where(column < before)).rowcount
                for column, before in old
            )

        return await self._context.write(work)


BY_HAND: Final = frozenset({Event.HOLD.value, ""})
"""Reasons of messages that a person holds."""


def _domain(verdict: dict[str, Any]) -> str:
    return str(verdict.get("domain") or "")


class _Report:
    """Counts of verdicts by domain, while they are read."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}

    def add(self, verdict: dict[str, Any], count: int) -> None:
        """Count a verdict."""
        domain = _domain(verdict)
        row = self._rows.get(domain)
        if row is None:
            outcomes = dict.fromkeys(("accept", "flag", "hold", "refuse", "retry"), 0)
            row = {"domain": domain, "mails": 0, **outcomes}
            row |= {"causes": {}, "monitor": None}
            self._rows[domain] = row
        row["mails"] += count
        row[verdict["outcome"]] += count
        _add(row["causes"], verdict.get("cause"), count)
        other = verdict.get("monitor")
        if other is None:
            return
        watched = row["monitor"]
        if watched is None or watched["policy"] != other["policy"]:
            watched = {"policy": other["policy"], "mails": 0, "stopped": 0}
            watched["causes"] = {}
            row["monitor"] = watched
        watched["mails"] += count
        if other["outcome"] != "accept":
            watched["stopped"] += count
            _add(watched["causes"], other["cause"], count)

    def sorted(self) -> list[dict[str, Json]]:
        """Return the rows by domain."""
        return [self._rows[name] for name in sorted(self._rows)]


def _add(counts: dict[str, int], name: str | None, count: int) -> None:
    if name:
        counts[name] = counts.get(name, 0) + count
