"""Whether two mails are one by their words, where headers cannot tell.

A mail that was copied into the text of another has no header bytes left: what is left
is who wrote it, its subject, its words, and a date as some program shows it, mostly
without a zone. A copy of that mail which came itself, or another forward of it, is told
by them (`is_same`). Two mails that came as they are differ by their keys alone
(`relay.mail.identity`): "Thanks!" twice is two mails.

Dates are compared where both mails have one:

- They agree where they name the same minute, or show the same minute on a clock: most
  programs show the clock of the rep, some that of the author. Then the beginning of the
  text decides.
- Where it is not known in which zone a date is meant, dates that a zone may part may
  agree; the whole beginning of the text decides.

A short text without a date has no `Content`: "Thanks!" may come again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_TELLING: Final = 40
"""Characters of a text that tells a mail from others without a date."""

MAX_RECIPIENTS: Final = 20
"""Recipients that are compared: those with the smallest digests, so that two lists of
the same people give the same ones."""

_DIGITS: Final = 12

_QUARTER: Final = timedelta(minutes=15)
_WEST: Final = timedelta(hours=-12)
_EAST: Final = timedelta(hours=14)
_MIDNIGHT: Final = time()


@dataclass(frozen=True, slots=True)
class Content:
    """What tells a mail by its words.

    `key` is the digest of author, bare subject and the beginning of the text, `opening`
    that with less of the text. `sent_at` is the moment of its date, `clock` the date as
    a clock showed it, without a zone; None: not known. `recipients` are short digests.
    `inline` says that it was copied into the text of another mail.
    """

    key: str
    opening: str
    sent_at: datetime | None = None
    clock: datetime | None = None
    recipients: tuple[str, ...] = ()
    inline: bool = False


def recipient_digest(key: str) -> str:
    """Return what stands for an address key among the recipients of a mail."""
    return sha256(key.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier mail of a thread that was logged.

    `records` are the related ones, 18 characters each, sorted. Its people are known by
    the address keys of those who have a record, and by digests of its recipients.
    """

    records: tuple[str, ...]
    people: frozenset[str] = frozenset()
    recipients: frozenset[str] = frozenset()

    def has(self, key: str) -> bool:
        """Say whether somebody took part in the mail."""
        return key in self.people or recipient_digest(key) in self.recipients


def is_same(one: Content, other: Content) -> bool:
    """Say whether two mails are one; at least one of them must be an inline forward."""
    if one.opening != other.opening or not (one.inline or other.inline):
        return False
    named, also_named = set(one.recipients), set(other.recipients)
    if named and also_named and not named & also_named:
        return False  # The same words to other people: a mail to many, one by one.
    if not (_is_dated(one) and _is_dated(other)):
        return one.key == other.key
    if _agree(one, other):
        return True
    return one.key == other.key and (_may_agree(one, other) or _may_agree(other, one))


def best(wanted: Content, known: Iterable[tuple[int, Content]]) -> int | None:
    """Return the number of the mail that is the same one; None: there is none.

    Of several that may be, the one whose words and date agree most, then the oldest.
    """
    fitting = [(number, one) for number, one in known if is_same(wanted, one)]
    if not fitting:
        return None
    return min(
        fitting,
        key=lambda each: (
            not _agree(wanted, each[1]),
            wanted.key != each[1].key,
            each[0],
        ),
    )[0]


def is_telling(text: str) -> bool:
    """Say whether a text tells a mail from others, without a date."""
    return len(text.strip()) >= MIN_TELLING


def in_zone(clock: datetime, time_zone: str | None) -> datetime:
    """Return the moment, in UTC, that a clock in a zone shows; UTC where none is known.

    Args:
        clock: A time without a zone.
        time_zone: An IANA name.
    """
    try:
        zone = ZoneInfo(time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo("UTC")
    return clock.replace(tzinfo=zone).astimezone(UTC)


def _is_dated(one: Content) -> bool:
    return one.sent_at is not None or one.clock is not None


def _agree(one: Content, other: Content) -> bool:
    """Say whether two dates name the same minute."""
    pairs = ((one.sent_at, other.sent_at), (one.clock, other.clock))
    return any(a and b and _minute(a) == _minute(b) for a, b in pairs)


def _may_agree(unknown: Content, other: Content) -> bool:
    """Say whether a clock in an unknown zone may show the date of the other mail."""
    clock = unknown.clock
    if clock is None or not unknown.inline:
        return False
    if clock.time() == _MIDNIGHT and other.clock:
        return clock.date() == other.clock.date()  # Its line names a day alone.
    if unknown.sent_at or other.sent_at is None:
        return False
    apart = _minute(clock.replace(tzinfo=UTC)) - _minute(other.sent_at)
    return _WEST <= apart <= _EAST and not apart % _QUARTER


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
