"""What every part of `Org` works with: threads with a client each, and queries.

The client library blocks, and neither it nor its session may be shared between
threads; so each thread makes its own client at its first job and keeps it. Queries
travel five to a call, calls side by side. A query that Salesforce finds too large is
asked again in halves. So is one that Salesforce cannot read, until the value at fault
stands alone. A question that fails is never the fault of a mail: it pauses the org, or
is asked again later.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from relay.core.errors import ActivityRefused, OrgPaused, SalesforceUnavailable
from relay.core.retry import Retry
from relay.salesforce.client import MAX_PART_QUERIES
from relay.salesforce.errors import error_for
from relay.salesforce.soql import halves as halves_of
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.errors import RelayError
    from relay.salesforce.auth import TokenProvider
    from relay.salesforce.budget import CallStats
    from relay.salesforce.client import Client
    from relay.salesforce.errors import Failure
    from relay.salesforce.rides import Rides
    from relay.salesforce.soql import Ask, Query, Rows

MAX_EXTRA_QUERIES: Final = 100
"""Queries that halving may cost one question."""
_NOT_READ: Final = frozenset({"MALFORMED_QUERY", "QUERY_TOO_COMPLICATED"})
"""The query may be too long, or hold one value that Salesforce cannot read."""

T = TypeVar("T")

logger = get_logger(__name__)


class Threads:
    """Runs jobs that need a client.

    Args:
        count: Jobs at a time; further ones wait for their turn.
        make: Makes a client; called in the thread that will use it.
    """

    def __init__(self, count: int, make: Callable[[], Client]) -> None:
        """Keep the parts; no thread runs yet."""
        self._executor = ThreadPoolExecutor(count, "salesforce")
        self._make = make
        self._local = threading.local()
        self._clients: list[Client] = []

    async def run(self, job: Callable[[Client], T]) -> T:
        """Run a job in a thread; what logging is bound to here holds there.

        A caller that is cancelled does not stop the job: a request that is on its way
        goes on to its end.
        """
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        return await loop.run_in_executor(
            self._executor, context.run, self._with_client, job
        )

    async def close(self) -> None:
        """Drop jobs that wait, let those under way end, close connections."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        for client in self._clients:
            client.close()

    def _with_client(self, job: Callable[[Client], T]) -> T:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._make()
            self._clients.append(client)
        return job(client)


async def together(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for all, also when one fails, so that none is left behind; then raise."""
    results = await asyncio.gather(*jobs, return_exceptions=True)
    values: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        values.append(result)
    return values


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
        self,
        kind: str,
        asks: Sequence[Ask],
        *,
        whole: bool = False,
        pauses: bool = True,
    ) -> list[tuple[Ask, Rows]]:
        """Ask all; halve a query that is too large.

        Args:
            kind: What the calls are counted as.
            asks: The questions.
            whole: Fail where one value has no answer; else it is left out.
            pauses: A question that Salesforce refuses pauses the org. False where
                other work does not need the answer: then it is asked again later.

        Raises:
            OrgPaused: The question itself is refused, or the org cannot be used.
            SalesforceUnavailable: Anything else.
        """
        answered: list[tuple[Ask, Rows]] = []
        waiting = list(asks)
        left = MAX_EXTRA_QUERIES
        while waiting:
            results = await self.run(kind, [ask.query() for ask in waiting])
            smaller: list[Ask] = []
            for ask, rows in zip(waiting, results, strict=True):
                if isinstance(rows, list):
                    answered.append((ask, rows))
                elif rows.code in _NOT_READ and await self._at_fault(kind, ask):
                    raise _setting_refused(ask, rows)
                elif _too_much(rows) and (halves := ask.halves()):
                    smaller += halves
                elif rows.code in _NOT_READ and whole:
                    raise _value_failed(kind, rows)
                elif rows.code in _NOT_READ:
                    # One value that no query can hold is in no record either.
                    logger.warning("value_not_looked_up", code=rows.code)
                else:
                    raise refused(kind, rows, pauses=pauses, ask=ask)
            left -= len(smaller)
            if left < 0:
                # It is not one value: the question itself is wrong for this org.
                failed = next(r for r in results if not isinstance(r, list))
                raise refused(kind, failed, pauses=pauses)
            waiting = smaller
        return answered

    async def _at_fault(self, kind: str, ask: Ask) -> bool:
        """Say whether a query cannot be read for a setting, and not for a value."""
        if not ask.setting:
            return False
        (rows,) = await self.run(kind, [ask.with_harmless_value().query()])
        return not isinstance(rows, list) and rows.code in _NOT_READ

    async def within(
        self,
        kind: str,
        query: Callable[[tuple[datetime, datetime]], Query],
        window: tuple[datetime, datetime],
        *,
        pauses: bool = True,
    ) -> Rows:
        """Ask for what was created in a window; halve one that holds too much.

        Args:
            kind: What the calls are counted as.
            query: Makes the query for a window.
            window: First and last moment. What was created in a second that two
                halves share comes twice.
            pauses: As in `ask`.

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
                elif result.rule.retry is Retry.SHRINK and (halves := halves_of(one)):
                    smaller += halves
                else:
                    raise refused(kind, result, pauses=pauses)
            windows = smaller
        return rows


def _too_much(failed: Failure) -> bool:
    return failed.rule.retry is Retry.SHRINK or failed.code in _NOT_READ


def _value_failed(kind: str, failed: Failure) -> SalesforceUnavailable:
    """Return the error for one value that no query can hold; the org is well."""
    text = str(error_for(failed, doing=kind))
    return SalesforceUnavailable(text, code=failed.code)


def _setting_refused(ask: Ask, failed: Failure) -> OrgPaused:
    """Return the error for a query that Salesforce refuses for what an admin has set.

    Without the answer a mail might be logged on wrong records, or on none: it waits.
    """
    text = (
        f"Salesforce refuses the query with {ask.setting} ({failed.code}: "
        f"{failed.text}): correct it with 'relay settings set {ask.setting} …', or "
        f"take it back with 'relay settings unset {ask.setting}'"
    )
    return OrgPaused(text, code=failed.code)


def refused(
    kind: str, failed: Failure, *, pauses: bool, ask: Ask | None = None
) -> RelayError:
    """Return the error for a query that failed; a mail is never at fault for it."""
    error = error_for(failed, doing=kind)
    if not isinstance(error, ActivityRefused):
        return error
    if ask is not None and ask.setting and pauses:
        return _setting_refused(ask, failed)
    if pauses:
        return OrgPaused(str(error), code=failed.code)
    return SalesforceUnavailable(str(error), code=failed.code)


@dataclass(frozen=True, slots=True)
class Connection:
    """What the parts of `Org` share.

    Attributes:
        settings: Where the org is, and as whom.
        clock: Time; boot time for what must not be sent too late.
        stats: Counts of calls, and what the headers of answers reported.
        tokens: The login, one for all threads.
        threads: Where calls wait.
        queries: Asks questions in these threads.
        rides: What goes along with calls that are made anyway.
    """

    settings: SalesforceSettings
    clock: Clock
    stats: CallStats
    tokens: TokenProvider
    threads: Threads
    queries: Queries
    rides: Rides
