"""The threads in which calls to Salesforce wait, one client each.

The client library blocks, and neither it nor its session may be shared between
threads; so each thread makes its own client at its first job and keeps it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from relay.salesforce.client import Client

T = TypeVar("T")


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
