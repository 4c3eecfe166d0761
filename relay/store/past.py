"""Mail that has been dealt with, page by page, newest first, with all of its copies.

Looks, and changes nothing. What waits, is held, or was discarded is not past mail: how
it ends is open, or a person has said so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, cast, distinct, func, select

from relay.core.past import PastCopy, PastMail, PastPage
from relay.core.states import State
from relay.store import schema
from relay.store.context import Part
from relay.store.ledger import activity_of
from relay.store.unmatched import resolutions_of
from relay.store.values import chunks, moment, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row, Select

    from relay.core.model import Activity
    from relay.core.past import PastFilter

m = schema.messages.c

STATES: Final = (State.LOGGED, State.UNMATCHED, State.SKIPPED, State.DEAD)
"""How a message ends by itself."""
_COLUMNS: Final = (
    *(m.id, m.mail_id, m.user_id, m.blob_id, m.size_bytes, m.received_at, m.state),
    *(m.reason, m.detail, m.mail_from, m.subject, m.header_from, m.part),
)


class PastMails(Part):
    """Looking back at mail."""

    async def count(self, wanted: PastFilter) -> int:
        """Return how many mails fit; a mail with several copies is one.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        # A message that was never joined to a mail is one by itself.
        of_mail = func.coalesce(cast(m.mail_id, String), m.id)
        query = select(func.count(distinct(of_mail))).where(*_fits(wanted))
        return await self._context.read(
            lambda connection: int(connection.scalar(query) or 0)
        )

    async def page(self, wanted: PastFilter, after: str | None, limit: int) -> PastPage:
        """Return mails that fit, newest first, each once.

        Args:
            wanted: Which mails.
            after: `PastPage.after` of the page before; None for the first page.
            limit: Messages that are looked at; a page may have fewer mails.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        return await self._context.read(lambda c: _page(c, wanted, after, limit))


def _fits(wanted: PastFilter) -> list[Any]:
    """Return the conditions for a message."""
    found: list[Any] = [m.state.in_(STATES), m.user_id.is_not(None)]
    if wanted.since is not None:
        found.append(m.received_at >= stamp(wanted.since))
    if wanted.until is not None:
        found.append(m.received_at < stamp(wanted.until))
    if wanted.user_id is not None:
        found.append(m.user_id == wanted.user_id)
    return found


def _page(
    connection: Connection, wanted: PastFilter, after: str | None, limit: int
) -> PastPage:
    fits = _fits(wanted)
    query: Select[Any] = select(*_COLUMNS).where(*fits)
    if after is not None:
        query = query.where(m.id < after)
    rows = connection.execute(query.order_by(m.id.desc()).limit(limit)).all()
    newest = _newest(connection, {row.mail_id for row in rows} - {None}, fits)
    # A mail stands where its newest copy that fits stands, so that it comes once.
    own = [row for row in rows if newest.get(row.mail_id, row.id) == row.id]
    copies = _copies(connection, {row.mail_id for row in own} - {None})
    keys, ledger = _known(connection, copies)
    resolved = resolutions_of(connection, [i for i in copies if i is not None])
    mails = tuple(
        PastMail(
            tuple(map(_copy, copies.get(row.mail_id) or [row])),
            keys.get(row.mail_id, ""),
            tuple(ledger[row.mail_id]),
            resolved.get(row.mail_id, ()),
        )
        for row in own
    )
    return PastPage(mails, rows[-1].id if len(rows) == limit else None)


def _newest(
    connection: Connection, mail_ids: Iterable[int], fits: Sequence[Any]
) -> dict[int | None, str]:
    """Return the newest copy of each mail that fits."""
    found: dict[int | None, str] = {}
    for part in chunks(sorted(mail_ids)):
        query = select(m.mail_id, func.max(m.id)).where(m.mail_id.in_(part), *fits)
        rows = connection.execute(query.group_by(m.mail_id))
        found |= {row[0]: row[1] for row in rows}
    return found


def _copies(
    connection: Connection, mail_ids: Iterable[int]
) -> dict[int | None, list[Row[Any]]]:
    """Return every copy of these mails that has ended, whoever it was for."""
    found: defaultdict[int | None, list[Row[Any]]] = defaultdict(list)
    ended = (m.state.in_(STATES), m.user_id.is_not(None))
    for part in chunks(sorted(mail_ids)):
        query: Select[Any] = select(*_COLUMNS).where(m.mail_id.in_(part), *ended)
        for row in connection.execute(query.order_by(m.id)):
            found[row.mail_id].append(row)
    return found


def _known(
    connection: Connection, mail_ids: Iterable[int | None]
) -> tuple[dict[int | None, str], defaultdict[int | None, list[Activity]]]:
    """Return the keys of mails, and their rows of the ledger."""
    mails, activities = schema.mails.c, schema.activities
    keys: dict[int | None, str] = {}
    rows: defaultdict[int | None, list[Activity]] = defaultdict(list)
    for part in chunks(mail_ids):
        query = select(mails.id, mails.key1).where(mails.id.in_(part))
        keys |= {row[0]: row[1] for row in connection.execute(query)}
        ledger = select(activities).where(activities.c.mail_id.in_(part))
        for row in connection.execute(ledger.order_by(activities.c.id)):
            rows[row.mail_id].append(activity_of(row))
    return keys, rows


def _copy(row: Row[Any]) -> PastCopy:
    return PastCopy(
        message_id=row.id,
        user_id=row.user_id,
        blob_id=row.blob_id,
        size_bytes=row.size_bytes,
        received_at=moment(row.received_at),
        state=State(row.state),
        reason=row.reason,
        detail=row.detail,
        mail_from=row.mail_from,
        subject=row.subject,
        author=row.header_from,
        part=row.part,
    )
