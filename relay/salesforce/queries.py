"""Runs queries: five a call, calls side by side, halved where too large.

A query that Salesforce finds too large is asked in halves. So is one on which it
chokes, until the value that it chokes on stands alone. A question that fails is never
the fault of a mail: it pauses the org, or is asked again later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from relay.core.errors import ActivityRefused, OrgPaused, SalesforceUnavailable
from relay.salesforce import answers, readback
from relay.salesforce.composite import MAX_PART_QUERIES
from relay.salesforce.errors import Retry
from relay.salesforce.threads import together
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Self

    from relay.core.errors import RelayError
    from relay.salesforce.answers import Failure
    from relay.salesforce.client import Client
    from relay.salesforce.soql import Query, Rows
    from relay.salesforce.threads import Threads

MAX_EXTRA_QUERIES: Final = 100
"""Queries that halving may cost one question."""
_CHOKED: Final = frozenset({"MALFORMED_QUERY", "QUERY_TOO_COMPLICATED"})
"""The question may be too large, or hold one value that Salesforce chokes on."""

logger = get_logger(__name__)


class Ask(Protocol):
    """A query for one or more values."""

    def query(self) -> Query:
        """Return the statement."""

    def halves(self) -> list[Self]:
        """Return two that ask for half as much each; none if it asks for one value."""


_Ask = TypeVar("_Ask", bound=Ask)


class Queries:
    """Asks in the threads that it is given.

    Args:
        threads: Where the calls wait.
    """

    def __init__(self, threads: Threads) -> None:
        """Keep the threads; nothing is asked yet."""
        self._threads = threads

    async def run(self, kind: str, queries: Sequence[Query]) -> list[Rows | Failure]:
        """Run queries, as many a call as Salesforce takes, calls side by side.

        Returns:
            For each query all its rows, or why there are none.

        Raises:
            RelayError: A call failed as a whole.
        """
        parts = [
            queries[at : at + MAX_PART_QUERIES]
            for at in range(0, len(queries), MAX_PART_QUERIES)
        ]

        def asking(part: Sequence[Query]) -> Callable[[Client], list[Rows | Failure]]:
            return lambda client: client.queries(kind, part)

        results = await together([self._threads.run(asking(part)) for part in parts])
        return [rows for answered in results for rows in answered]

    async def ask(
        self, kind: str, asks: Sequence[_Ask], *, whole: bool = False
    ) -> list[tuple[_Ask, Rows]]:
        """Ask all; halve what is too much.

        Args:
            kind: What the calls are counted as.
            asks: The questions.
            whole: Fail where one value has no answer; else it is left out.

        Raises:
            OrgPaused: The question itself is refused, or the org cannot be used.
            SalesforceUnavailable: Anything else.
        """
        answered: list[tuple[_Ask, Rows]] = []
        waiting = list(asks)
        left = MAX_EXTRA_QUERIES
        while waiting:
            results = await self.run(kind, [ask.query() for ask in waiting])
            smaller: list[_Ask] = []
            for ask, rows in zip(waiting, results, strict=True):
                if isinstance(rows, list):
                    answered.append((ask, rows))
                elif _too_much(rows) and (halves := ask.halves()):
                    smaller += halves
                elif rows.code in _CHOKED and whole:
                    raise _value_failed(kind, rows)
                elif rows.code in _CHOKED:
                    # One value that no query can hold is in no record either.
                    logger.warning("value_not_looked_up", code=rows.code)
                else:
                    raise _question_failed(kind, rows)
            left -= len(smaller)
            if left < 0:
                # It is not one value: the question itself is wrong for this org.
                raise _question_failed(
                    kind, next(r for r in results if not isinstance(r, list))
                )
            waiting = smaller
        return answered

    async def within(
        self,
        kind: str,
        query: Callable[[tuple[datetime, datetime]], Query],
        window: tuple[datetime, datetime],
    ) -> Rows:
        """Ask for what was created in a window; halve one that holds too much.

        Args:
            kind: What the calls are counted as.
            query: Makes the query for a window.
            window: First and last moment. What was created in a second that two
                halves share comes twice.

        Raises:
            RelayError: Part of it has no answer; half an answer would read as "not
                there".
        """
        rows: Rows = []
        windows = [window]
        while windows:
            results = await self.run(kind, [query(one) for one in windows])
            smaller: list[tuple[datetime, datetime]] = []
            for one, result in zip(windows, results, strict=True):
                if isinstance(result, list):
                    rows += result
                elif _too_much(result) and (halves := readback.halves(one)):
                    smaller += halves
                else:
                    raise _question_failed(kind, result)
            windows = smaller
        return rows


def _too_much(failed: Failure) -> bool:
    return failed.rule.retry is Retry.SHRINK or failed.code in _CHOKED


def _value_failed(kind: str, failed: Failure) -> SalesforceUnavailable:
    """Return the error for one value that no query can hold; the org is well."""
    text = str(answers.error_for(failed, doing=kind))
    return SalesforceUnavailable(text, code=failed.code)


def _question_failed(kind: str, failed: Failure) -> RelayError:
    """Return the error for a query that failed; a mail is never at fault for it."""
    error = answers.error_for(failed, doing=kind)
    if isinstance(error, ActivityRefused):
        return OrgPaused(str(error), code=failed.code)
    return error
