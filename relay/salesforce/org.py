"""The door to Salesforce for async code: look-ups, writes and read-backs in threads.

The client library waits in threads of our own, one client each. What this module adds
is sequence: how a look-up is cut into calls, which calls run side by side, what is
remembered (the org's shape), and that a query which Salesforce finds too large is cut
in halves. Retrying, pausing and remembering what was written is the worker's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from relay.core.errors import (
    ActivityRefused,
    OrgPaused,
    OutcomeUnknown,
    RelayError,
    SalesforceUnavailable,
)
from relay.core.ids import record_id
from relay.salesforce import (
    answers,
    census,
    describe,
    lookup,
    readback,
    sight,
    write,
)
from relay.salesforce.auth import TokenProvider
from relay.salesforce.budget import Budget
from relay.salesforce.cache import LookupCache, Question, joined
from relay.salesforce.client import Client
from relay.salesforce.errors import Retry, rule
from relay.salesforce.filing import UPLOADS, Files
from relay.salesforce.gauge import Gauge
from relay.salesforce.model import WriteOutcome, WriteState
from relay.salesforce.threads import Threads, together
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Json
    from relay.salesforce.answers import Failure
    from relay.salesforce.census import OwnRecord
    from relay.salesforce.lookup import Ask
    from relay.salesforce.model import (
        Filed,
        FoundRecord,
        LookupResult,
        OrgShape,
        SalesforceUser,
    )
    from relay.salesforce.readback import ListAsk
    from relay.salesforce.soql import Query, Rows
    from relay.salesforce.write import Encoded, Job

QUERIES_PER_CALL: Final = 5
SHAPE_RETRY_S: Final = 60.0
"""Wait before an org whose shape could not be read anew is asked again."""
MAX_EXTRA_QUERIES: Final = 100
"""Queries that halving may cost one look-up."""
_CHOKED: Final = frozenset({"MALFORMED_QUERY", "QUERY_TOO_COMPLICATED"})
"""The question may be too large, or hold one value that Salesforce chokes on."""

_Ask = TypeVar("_Ask", "Ask", "ListAsk")

logger = get_logger(__name__)


class Org:
    """The org that the relay serves.

    Made without any call; the first one logs in. All methods may be called from one
    event loop at the same time; at most `settings.workers` calls are under way.

    Args:
        settings: Where the org is, and as whom.
        clock: Time; boot time for what must not be sent too late.
    """

    def __init__(self, settings: SalesforceSettings, clock: Clock) -> None:
        """Make the parts; nothing is asked and no thread runs yet."""
        self._settings = settings
        self._clock = clock
        self.budget = Budget(settings, clock)
        self._gauge = Gauge(clock, self.budget)
        self._tokens = TokenProvider(
            settings,
            clock,
            server_ahead_s=self._gauge.server_ahead_s,
            observe=self._gauge.note,
        )
        self._threads = Threads(
            settings.workers,
            lambda: Client(settings, clock, self._tokens, self._gauge),
        )
        self._cache = LookupCache(settings, clock)
        self.files = Files(
            clock,
            settings.timeout_s,
            Threads(
                UPLOADS, lambda: Client(settings, clock, self._tokens, self._gauge)
            ),
            self._queries,
        )
        self._shape: OrgShape | None = None
        self._shape_at_s = 0.0
        self._describing = asyncio.Lock()
        self._me: str | None = None

    async def start(self) -> None:
        """Load the client library, so that the first mail does not wait for it."""
        await self._threads.run(_load_library)

    async def close(self) -> None:
        """Wait for calls under way, then close connections."""
        await self._threads.close()
        await self.files.close()
        self._tokens.close()

    # ------------------------------------------------------------ facts

    async def shape(self, *, fresh: bool = False) -> OrgShape:
        """Return the org's objects and fields, remembered for `describe_ttl_s`.

        Args:
            fresh: Ask again, because a write was refused for its fields.

        Raises:
            RelayError: They could not be read, and none are remembered.
        """
        asked_at = self._clock.boottime_s()
        async with self._describing:
            age = asked_at - self._shape_at_s
            if self._shape is not None and (
                age < 0 or (not fresh and age < self._settings.describe_ttl_s)
            ):
                return self._shape
            try:
                self._shape = await self._threads.run(describe.ask)
            except SalesforceUnavailable:
                if self._shape is None or fresh:
                    raise
                # An old shape is better than none; ask again in a while.
                ttl_s = self._settings.describe_ttl_s
                self._shape_at_s = asked_at - max(0.0, ttl_s - SHAPE_RETRY_S)
                return self._shape
            self._shape_at_s = self._clock.boottime_s()
            return self._shape

    async def me(self) -> str:
        """Return the id of the integration user.

        Raises:
            RelayError: No login, or Salesforce does not say.
        """
        if self._me is None:
            token = await self._threads.run(lambda _: self._tokens.token())
            self._me = token.user_id
        if self._me is None:
            self._me = await self._threads.run(_ask_me)
        return self._me

    async def ping(self) -> None:
        """Make one small call that shows whether the org can be used.

        Raises:
            RelayError: It cannot, for now.
        """
        me = await self.me()
        await self.lookup((), user_ids=[me], fresh=[me])

    async def users(self, ids: Sequence[str]) -> dict[str, SalesforceUser]:
        """Return Users by id; one that does not exist is left out."""
        result = await self.lookup((), user_ids=ids)
        return {user.id: user for user in result.users}

    async def api_usage(self) -> tuple[int, int] | None:
        """Return (used, limit) of the org's calls in 24 hours, as last told."""
        return self._gauge.usage

    @property
    def answers(self) -> int:
        """Return how many calls, logins left out, Salesforce answered as asked."""
        return self._gauge.answers

    @property
    def calls(self) -> dict[str, int]:
        """Return how many calls this process made, by kind."""
        return self._gauge.calls

    async def server_time(self) -> datetime:
        """Return the time by Salesforce's clock, which an answer has told.

        A process that has just started asks: by its own clock, which may be ahead, it
        would take what was written minutes ago for something older.

        Raises:
            SalesforceUnavailable: No answer has told the time.
            OrgPaused: The login is refused.
        """
        if not self._gauge.clock_seen:
            await self._threads.run(lambda _: self._tokens.token())
        if not self._gauge.clock_seen:
            await self._threads.run(_ask_me)
        if not self._gauge.clock_seen:
            msg = "Salesforce's answers do not tell the time"
            raise SalesforceUnavailable(msg, code="no_date")
        return self.server_now()

    def server_now(self) -> datetime:
        """Return the time by Salesforce's clock, up to a second or two behind it."""
        return self._gauge.server_now()

    # ------------------------------------------------------------ look-ups

    async def lookup(
        self,
        addresses: Sequence[str],
        *,
        user_emails: Sequence[str] = (),
        user_ids: Sequence[str] = (),
        activity_counts: bool = False,
        fresh: Collection[str] = (),
    ) -> LookupResult:
        """Find Contacts with open opportunities, unconverted Leads, and Users.

        What was found a moment ago is not asked again (`salesforce.cache_s`).

        Args:
            addresses: Address keys; longer than Salesforce's field: not asked for.
            user_emails: Address keys of Users.
            user_ids: Ids of Users.
            activity_counts: Count Tasks and Events of records that share an address.
            fresh: Keys and ids that are to be asked anew, whatever is remembered.

        Raises:
            OrgPaused: The question itself is refused, or the org cannot be used.
            SalesforceUnavailable: Anything else.
        """
        ids = tuple(record_id(text) or text for text in user_ids)
        question = Question(tuple(addresses), tuple(user_emails), ids)
        known, left, mark = self._cache.split(question, fresh)
        if not left and not activity_counts:
            return known
        shape = await self.shape()
        asked_at_s = self._clock.boottime_s()
        asks = lookup.plan(left.addresses, left.user_emails, left.user_ids, shape)
        answer = lookup.read(await self._ask("lookup", asks))
        self._cache.keep(left, answer, asked_at_s, mark)
        result = joined(known, answer)
        if activity_counts and (counts := lookup.plan_counts(result.found)):
            answered = await self._ask("count", counts)
            found = lookup.read_counts(result.found, answered)
            return type(result)(found, result.users)
        return result

    async def _ask(
        self, kind: str, asks: Sequence[_Ask], *, whole: bool = False
    ) -> list[tuple[_Ask, Rows]]:
        """Ask all, five a call, calls side by side; halve what is too much.

        Args:
            kind: What the calls are counted as.
            asks: The questions.
            whole: Fail where one value has no answer; else it is left out.
        """
        answered: list[tuple[_Ask, Rows]] = []
        waiting = list(asks)
        left = MAX_EXTRA_QUERIES
        while waiting:
            results = await self._queries(kind, [ask.query() for ask in waiting])
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

    async def _queries(
        self, kind: str, queries: Sequence[Query]
    ) -> list[Rows | Failure]:
        parts = [
            queries[at : at + QUERIES_PER_CALL]
            for at in range(0, len(queries), QUERIES_PER_CALL)
        ]

        def asking(part: Sequence[Query]) -> Callable[[Client], list[Rows | Failure]]:
            return lambda client: client.queries(kind, part)

        results = await together([self._threads.run(asking(part)) for part in parts])
        return [rows for answered in results for rows in answered]

    # ------------------------------------------------------------ read-backs

    async def find_email_messages(
        self, message_identifiers: Sequence[str], *, whole: bool = True
    ) -> dict[str, list[FoundRecord]]:
        """Return EmailMessages by MessageIdentifier, deleted ones included.

        Whoever wrote them: `created_by_id` tells ours (see `me`) from others'.

        Args:
            message_identifiers: What to look for.
            whole: Fail where Salesforce chokes on one of them; else that one is left
                out, as if nobody had it.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = readback.identifier_asks(message_identifiers)
        rows = await self._all_rows(asks, whole=whole)
        return readback.read_identifiers(message_identifiers, rows)

    async def read_email_messages(self, ids: Sequence[str]) -> dict[str, FoundRecord]:
        """Return EmailMessages by id, deleted ones included, with their ActivityId.

        Raises:
            RelayError: They could not be read.
        """
        return readback.read_by_id(await self._all_rows(readback.id_asks(ids)))

    async def filed(self, ids: Sequence[str]) -> dict[str, Filed]:
        """Return what the platform made of EmailMessages: Tasks, senders' relations.

        Raises:
            RelayError: They could not be read.
        """
        shape = await self.shape()
        with_sender = "EmailMessageRelation" in shape.createables
        asks = readback.filed_asks(ids, with_sender=with_sender)
        return readback.read_filed(await self._all_rows(asks))

    async def find_own_tasks(
        self, since: datetime, until: datetime
    ) -> dict[str, FoundRecord]:
        """Return our Tasks created in a window by their keys, deleted ones included.

        Args:
            since: First moment by Salesforce's clock (`server_now`).
            until: Last moment.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        me = await self.me()
        return readback.read_own_tasks(
            await self._windowed(
                "readback",
                lambda window: readback.own_tasks_query(me, *window),
                (since, until),
            )
        )

    async def existing(self, sobject: str, ids: Sequence[str]) -> dict[str, bool]:
        """Return, by id, whether a record is deleted; what is not there is left out.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = census.existing_asks(sobject, ids)
        return census.read_existing(await self._all_rows(asks))

    async def own_records(
        self, sobject: str, field: str | None, since: datetime, until: datetime
    ) -> list[OwnRecord]:
        """Return records of ours with their keys, deleted ones included.

        Args:
            sobject: `EmailMessage` or `Task`.
            field: The unique field that holds our key, if the org has one.
            since: First moment by Salesforce's clock (`server_now`).
            until: Last moment.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        me = await self.me()
        rows = await self._windowed(
            "audit",
            lambda window: census.own_query(sobject, field, me, window),
            (since, until),
        )
        return census.read_own(sobject, field, rows)

    async def _windowed(
        self,
        kind: str,
        query: Callable[[tuple[datetime, datetime]], Query],
        whole: tuple[datetime, datetime],
    ) -> Rows:
        """Ask for what was created in a window; halve one that holds too much."""
        rows: Rows = []
        windows = [whole]
        while windows:
            results = await self._queries(kind, [query(window) for window in windows])
            smaller: list[tuple[datetime, datetime]] = []
            for window, result in zip(windows, results, strict=True):
                if isinstance(result, list):
                    rows += result
                elif _too_much(result) and (halves := readback.halves(window)):
                    smaller += halves
                else:
                    raise _question_failed(kind, result)
            windows = smaller
        return rows

    async def find_by_key(
        self, sobject: str, field: str, keys: Sequence[str]
    ) -> dict[str, FoundRecord]:
        """Return records by the keys in a unique field, deleted ones included.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = readback.key_asks(sobject, field, keys)
        return readback.read_keys(field, await self._all_rows(asks))

    async def _all_rows(self, asks: Sequence[ListAsk], *, whole: bool = True) -> Rows:
        # Half an answer would read as "not there".
        answered = await self._ask("readback", asks, whole=whole)
        return [row for _, rows in answered for row in rows]

    async def views_all(self) -> bool:
        """Say whether our user has View All Data; False too where nobody tells.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        (rows,) = await self._queries("readback", [sight.permission_query()])
        return sight.read_permission(rows)

    async def seen_owners(self, owners: Collection[str]) -> set[str]:
        """Return the owners of whom our user can read a Task, whoever made it.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        asked = sight.owner_queries(sorted(owners))
        answered = await self._queries("readback", [query for _, query in asked])
        return {
            owner
            for (owner, _), rows in zip(asked, answered, strict=True)
            if isinstance(rows, list) and rows
        }

    # ------------------------------------------------------------ writes

    async def create(
        self,
        records: Sequence[tuple[str, str, Mapping[str, Json]]],
        *,
        not_after_boottime_s: float | None,
        unique_fields: Mapping[str, str] | None = None,
    ) -> list[WriteOutcome]:
        """Create records; return an outcome for each, in no particular order.

        Args:
            records: (key, object, fields); keys are distinct.
            not_after_boottime_s: Boot time after which nothing may be sent any more.
            unique_fields: By key, the field that holds it and takes it once only: that
                it is there already then means *written*.

        Raises:
            SalesforceUnavailable: Nothing was written.
            OrgPaused: Nothing was written, and nothing can be for now.
        """
        return await self._write(records, "POST", not_after_boottime_s, unique_fields)

    async def update(
        self, records: Sequence[tuple[str, str, str, Mapping[str, Json]]]
    ) -> list[WriteOutcome]:
        """Update records; return an outcome for each, in no particular order.

        To update twice is the same as once: an unknown outcome may just be tried again.

        Args:
            records: (key, object, id, fields); a record whose id is none is refused.

        Raises:
            SalesforceUnavailable: Nothing was written.
            OrgPaused: Nothing was written, and nothing can be for now.
        """
        first: dict[str, tuple[str, str, Mapping[str, Json]]] = {}
        further, outcomes = [], []
        for record in records:
            key, sobject, text, fields = record
            sfid = record_id(text)
            if sfid is None:
                outcome = WriteOutcome(key, WriteState.REFUSED, code="MALFORMED_ID")
                outcomes.append(outcome)
            elif sfid in first:
                # A collection that names a record twice is refused for the second.
                further.append(record)
            else:
                first[sfid] = (key, sobject, {"id": sfid, **fields})
        outcomes += await self._write(list(first.values()), "PATCH", None, None)
        return outcomes + (await self.update(further) if further else [])

    async def delete(self, sobject: str, text: str) -> bool:
        """Delete a record; False where Salesforce will not (it may be gone already).

        Args:
            sobject: API name of the object.
            text: Id of the record; for what is no id nothing is asked.

        Raises:
            SalesforceUnavailable: It may have been done; to do it again is safe.
            OrgPaused: Nothing was done.
        """
        sfid = record_id(text)
        if sfid is None:
            return False
        parts = [("DELETE", f"sobjects/{sobject}/{sfid}", None)]
        try:
            (answer,) = await self._threads.run(
                lambda client: client.composite("delete", parts, writes=True)
            )
        except OutcomeUnknown as error:
            raise SalesforceUnavailable(str(error), code="no_answer") from error
        except ActivityRefused:
            return False
        return answer is not None and answer.ok

    async def _write(
        self,
        records: Sequence[tuple[str, str, Mapping[str, Json]]],
        method: str,
        not_after_s: float | None,
        unique: Mapping[str, str] | None,
    ) -> list[WriteOutcome]:
        def packed(_: Client) -> tuple[list[list[list[Encoded]]], list[WriteOutcome]]:
            encoded, refused = write.encode(records)
            return write.pack(encoded), refused

        calls, outcomes = await self._threads.run(packed)
        timeout_s = self._settings.timeout_s

        def sending(job: Job) -> Callable[[Client], list[WriteOutcome]]:
            return lambda client: write.send(
                client, job, not_after_s=not_after_s, timeout_s=timeout_s
            )

        results = await asyncio.gather(
            *(
                self._threads.run(sending(write.Job(call, method, unique)))
                for call in calls
            ),
            return_exceptions=True,
        )
        errors = []
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, RelayError):
                errors.append(result)
                outcomes += write.not_written(call, result)
            elif isinstance(result, BaseException):
                raise result
            else:
                outcomes += result
        if errors and len(errors) == len(results):
            # A pause of the whole org says more than a broken connection.
            raise next((e for e in errors if isinstance(e, OrgPaused)), errors[0])
        if any(_conflicts(outcome) for outcome in outcomes):
            self._cache.forget()
        return outcomes


def _load_library(_: Client) -> None:
    """Import what takes half a second."""
    import simple_salesforce.api  # noqa: F401, PLC0415 - on purpose


def _ask_me(client: Client) -> str:
    """Ask who we are, where the token did not say."""
    answer = client.call("me", "chatter/users/me")
    found = record_id(answer.get("id") or "") if isinstance(answer, dict) else None
    if found is None:
        msg = "me: Salesforce does not say who the integration user is"
        raise SalesforceUnavailable(msg, code="unreadable")
    return found


def _conflicts(outcome: WriteOutcome) -> bool:
    """Say whether a record was refused because the org is not what it was."""
    return (
        outcome.state is WriteState.REFUSED and rule(outcome.code).retry is Retry.REPLAN
    )


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
