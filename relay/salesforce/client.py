"""One thread's way to Salesforce: simple-salesforce over our session, and its errors.

`call` makes one request and returns the parsed answer, or raises an error of
`relay.core.errors`; nothing of the client library or the transport passes. `queries`
carries up to five SOQL statements in one call and follows their pages.

What is promised about writes: an error other than `OutcomeUnknown` means that nothing
was written. Whatever leaves that open (no answer, a page of HTML, an answer cut short)
raises `OutcomeUnknown`.

The client library gets the token from us. Its own login and retry are not used: they
loop without bound. Its record calls are not used at all, because
they join ids into URLs; every path here is one of ours.

Source: Salesforce REST API Guide, "Composite", "Query".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from relay.core.errors import (
    ActivityRefused,
    OrgPaused,
    OutcomeUnknown,
    SalesforceUnavailable,
    TransientError,
)
from relay.core.retry import Retry
from relay.salesforce import errors, transport
from relay.salesforce.rides import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import requests
    from simple_salesforce.api import Salesforce

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.errors import RelayError
    from relay.core.model import Json
    from relay.salesforce.auth import Token, TokenProvider
    from relay.salesforce.budget import CallStats
    from relay.salesforce.errors import Failure
    from relay.salesforce.rides import Rides
    from relay.salesforce.soql import Query, Rows

MAX_PART_QUERIES: Final = 5
"""Queries and collections in one composite (REST API Guide, "Composite")."""
MAX_PAGES: Final = 500
"""Pages of one answer that are followed; more is an answer that never ends."""

_PAGE: Final = re.compile(r"/services/data/v\d{1,3}\.\d/query(?:All)?/[A-Za-z0-9_-]+")
_READ_TRIES: Final = 2
_NEVER_TAKEN_UP: Final = frozenset({401, 407, 411, 413, 414, 415, 429, 431})


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one part of a composite call."""

    status: int
    body: Json

    @property
    def ok(self) -> bool:
        """Say whether this part succeeded as such (its records may still have not)."""
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP

    def failure(self) -> Failure:
        """Return what went wrong."""
        return errors.failure(self.status, self.body)


class Body(Protocol):
    """The body of a request in pieces; each iteration makes it anew."""

    @property
    def content_type(self) -> str:
        """Return what it is."""

    def __len__(self) -> int:
        """Return how many bytes it is."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield them."""


class Client:
    """Calls Salesforce. Belongs to one thread.

    Args:
        settings: API version, time-outs, proxy.
        clock: Boot time, for what must not be sent too late.
        tokens: Shared by all threads.
        stats: Counts the calls; shared by all threads.
        rides: What calls may take along; shared by all threads. None: nothing.
    """

    def __init__(
        self,
        settings: SalesforceSettings,
        clock: Clock,
        tokens: TokenProvider,
        stats: CallStats,
        rides: Rides | None = None,
    ) -> None:
        """Keep the parts; nothing is asked yet."""
        self._settings = settings
        self._clock = clock
        self._tokens = tokens
        self._stats = stats
        self._rides = rides
        self._library: Salesforce | None = None
        self._session: requests.Session | None = None
        self._token: Token | None = None
        self.prefix: Final = f"/services/data/v{settings.api_version}/"

    def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            self._session.close()

    # ------------------------------------------------------------ one call

    def call(
        self,
        kind: str,
        path: str,
        data: bytes | Body | None = None,
        *,
        writes: bool = False,
        not_after_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Json:
        """Make one request under the API version; return the parsed answer.

        A session that has ended is renewed once. What only reads is tried once more
        when the connection broke.

        Args:
            kind: What for; names the call in metrics and error texts.
            path: Below `/services/data/vXX.X/`, made by us alone.
            data: JSON body of a POST, or one that is made while it is sent; None is a
                GET.
            writes: Whether it may change anything in Salesforce.
            not_after_s: Boot time after which it may not be sent.
            timeout_s: Wait for the answer, if longer than usual.

        Raises:
            OutcomeUnknown: (writes) It may have been carried out.
            TooLateError: Its time was over; nothing was sent.
            CredentialsRefused: Also the fresh token was refused.
            SalesforceLimited: The org's calls are used up.
            OrgPaused: No call can succeed until an admin acts.
            ActivityRefused: Salesforce will not have this request.
            SalesforceUnavailable: Anything else; nothing was written.
        """
        token = self._tokens.token()
        tries = 1
        renewed = False
        while True:
            flight = transport.Flight(
                self._clock, timeout_s or self._settings.timeout_s, not_after_s
            )
            try:
                answer = self._request(token, flight, path, data)
            except transport.TooLateError:
                self._stats.count(kind, flight, "late")
                raise
            except Exception as error:  # noqa: BLE001 - the table knows them all
                failed = self._failure(error, flight)
                if _session_over(failed, flight):
                    self._stats.count(kind, flight, "session")
                    if renewed:
                        raise self._tokens.refuse(token) from None
                    token = self._tokens.token(instead_of=token)
                    renewed = True
                    continue
                unknown = writes and _may_be_done(failed, flight)
                self._stats.count(kind, flight, _outcome(failed, unknown=unknown))
                if not writes and tries < _READ_TRIES and _broke_off(flight):
                    tries += 1
                    continue
                # Not `from error`: its text quotes the address and the answer.
                made = _error(failed, kind, writes=writes, unknown=unknown)
                raise _with_wait(made, flight) from None
            self._stats.count(kind, flight, "ok")
            self._tokens.proven(token)
            return answer

    def _request(
        self,
        token: Token,
        flight: transport.Flight,
        path: str,
        data: bytes | Body | None,
    ) -> Json:
        library = self._for(token)
        kind = getattr(data, "content_type", None)
        headers = {"Content-Type": kind} if kind else {}
        with transport.flying(flight):
            return library.restful(
                path,
                method="GET" if data is None else "POST",
                data=data,
                headers=headers,
            )

    def _for(self, token: Token) -> Salesforce:
        """Return the library's client for a token; it is cheap to make."""
        if self._library is None or self._token is not token:
            from simple_salesforce.api import Salesforce  # noqa: PLC0415 - half a second

            if (
                self._session is None
                or self._token is None
                or (self._token.instance != token.instance)
            ):
                self.close()
                self._session = transport.session(
                    [token.instance], self._settings.proxy
                )
            self._library = Salesforce(
                session_id=token.value,
                instance=urlsplit(token.instance).netloc,
                version=self._settings.api_version,
                session=self._session,
                object_pairs_hook=dict,
            )
            # Pretty printing makes answers half as large again.
            self._library.headers.pop("X-PrettyPrint", None)
            self._token = token
        return self._library

    def _failure(self, error: Exception, flight: transport.Flight) -> Failure:
        """Return what an exception means, the answer first."""
        content = getattr(error, "content", None)
        status = getattr(error, "status", None)
        if isinstance(status, int) and content is not None:
            failed = errors.failure(status, content)
            if status in {404, 410}:
                # Of the whole request: the address is wrong, not one record.
                row = errors.rule("", status)
                failed = errors.Failure(failed.code, failed.text, row)
            return failed
        row = errors.foreign(error)
        code = f"HTTP_{flight.status}" if flight.status else row.code.rpartition(".")[2]
        return errors.Failure(code, "", row, well_formed=False)

    # ------------------------------------------------------------ composite

    def composite(
        self,
        kind: str,
        parts: Sequence[tuple[str, str, bytes | None]],
        *,
        writes: bool = False,
        not_after_s: float | None = None,
        timeout_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        ordered: bool = False,
        carries: bool = False,
    ) -> list[Part | None]:
        """Make one composite call; return the answers in the order asked.

        Each part stands for itself: one that fails leaves the others alone. Salesforce
        may work them off in any order, unless they are to be `ordered`.

        Where it `carries`, something that waits to be read may go along behind the
        parts (`rides`). A call that is refused as a whole with it is made again
        without: nothing of it was done.

        Args:
            kind: As in `call`.
            parts: (method, path below the version, JSON body); at most 25, of them
                at most 5 queries and collections.
            writes: As in `call`.
            not_after_s: As in `call`.
            timeout_s: As in `call`.
            headers: Of each part: those of the request itself do not reach them.
            ordered: Let Salesforce work them off one after the other.
            carries: Take something along that waits to be read, if there is room; each
                of the parts counts as a query.

        Returns:
            None for a part that the answer leaves out.

        Raises:
            RelayError: As `call`; of the request as a whole.
        """

        def made(parts: Sequence[tuple[str, str, bytes | None]]) -> list[Part | None]:
            return self._composite(
                kind,
                parts,
                writes=writes,
                not_after_s=not_after_s,
                timeout_s=timeout_s,
                headers=headers,
                ordered=ordered,
            )

        room = MAX_PART_QUERIES - len(parts)
        ride = self._rides.board(room) if carries and self._rides else None
        if self._rides is None or ride is None:
            return made(parts)
        try:
            found = made([*parts, *ride.aboard])
        except transport.TooLateError:
            ride.state = State.LOST
            raise
        except (ActivityRefused, OrgPaused):
            self._rides.lose(ride, "refused")
            return made(parts)
        except BaseException:
            self._rides.lose(ride, "failed")
            raise
        self._rides.arrive(ride, found[len(parts) :])
        return found[: len(parts)]

    def _composite(
        self,
        kind: str,
        parts: Sequence[tuple[str, str, bytes | None]],
        *,
        writes: bool,
        not_after_s: float | None,
        timeout_s: float | None,
        headers: Mapping[str, str] | None,
        ordered: bool,
    ) -> list[Part | None]:
        data = request_body(self.prefix, parts, headers, ordered=ordered)
        answer = self.call(
            kind,
            "composite",
            data,
            writes=writes,
            not_after_s=not_after_s,
            timeout_s=timeout_s,
        )
        return read_parts(answer, len(parts))

    # ------------------------------------------------------------ queries

    def queries(self, kind: str, queries: Sequence[Query]) -> list[Rows | Failure]:
        """Ask up to five queries in one call; follow their pages.

        Returns:
            For each query all its rows, or why there are none.

        Raises:
            RelayError: Of the call as a whole, as `call`.
        """
        parts = [("GET", query.path, None) for query in queries]
        answers = self.composite(kind, parts, carries=True)
        return [self._rows(kind, part) for part in answers]

    def mixed(
        self, kind: str, queries: Sequence[Query], paths: Sequence[str]
    ) -> tuple[list[Rows | Failure], list[Part | None]]:
        """Ask up to five queries, and read other paths beside them, in one call.

        Returns:
            For each query what `queries` returns, and the answer of each path.

        Raises:
            RelayError: Of the call as a whole, as `call`.
        """
        parts = [("GET", query.path, None) for query in queries]
        answers = self.composite(kind, [*parts, *(("GET", p, None) for p in paths)])
        rows = [self._rows(kind, part) for part in answers[: len(queries)]]
        return rows, answers[len(queries) :]

    def _rows(self, kind: str, part: Part | None) -> Rows | Failure:
        if part is None:
            return _garbled()
        if not part.ok:
            return part.failure()
        rows: Rows = []
        page = part.body
        for _ in range(MAX_PAGES):
            if not _is_page(page):
                return _garbled()
            for row in page["records"]:
                rows.append(row)
                self._complete(kind, row)
            if page.get("done") is not False:
                return rows
            page = self._next(kind, page)
        return _garbled()

    def _complete(self, kind: str, row: dict[str, Any]) -> None:
        """Fetch what is missing of the row's child rows."""
        for child in row.values():
            if isinstance(child, dict) and child.get("done") is False:
                page: Json = child
                for _ in range(MAX_PAGES):
                    if page.get("done") is not False:
                        break
                    page = self._next(kind, page)
                    if not _is_page(page):
                        msg = f"{kind}: a page of the answer could not be read"
                        raise SalesforceUnavailable(msg, code="unreadable")
                    child["records"].extend(page["records"])

    def _next(self, kind: str, page: dict[str, Any]) -> Json:
        url = page.get("nextRecordsUrl")
        if not isinstance(url, str) or not _PAGE.fullmatch(url):
            msg = f"{kind}: the answer names no next page"
            raise SalesforceUnavailable(msg, code="unreadable")
        # The version in it is the one asked with; ours leads to the same place.
        return self.call(kind, url.split("/", 4)[4])


def _garbled() -> Failure:
    return errors.Failure("unreadable", "", errors.rule("", 200), well_formed=False)


def _is_page(page: Json) -> bool:
    if not isinstance(page, dict):
        return False
    records = page.get("records")
    return isinstance(records, list) and all(isinstance(r, dict) for r in records)


def _session_over(failed: Failure, flight: transport.Flight) -> bool:
    """Say whether a fresh token may help."""
    if flight.status == HTTPStatus.UNAUTHORIZED:
        return True
    return failed.well_formed and failed.rule.retry is Retry.RENEW


def _may_be_done(failed: Failure, flight: transport.Flight) -> bool:
    """Say whether a failed write may have been carried out all the same.

    What Salesforce itself says it did not do, it did not do; a page of HTML in between
    says nothing, except where HTTP has it that the request was never taken up.
    """
    if not flight.left or flight.status in _NEVER_TAKEN_UP:
        return False
    if 300 < flight.status < 400:  # noqa: PLR2004 - a redirect, not followed
        return False
    return not (failed.certain and failed.well_formed)


def _broke_off(flight: transport.Flight) -> bool:
    """Say whether the connection broke, early enough to ask once more."""
    return not flight.status and flight.seconds < flight.timeout_s / 2


def _with_wait(error: RelayError, flight: transport.Flight) -> RelayError:
    """Return the error with the wait that the answer asks for, if it does."""
    asked = flight.headers.get("Retry-After", "")
    if isinstance(error, TransientError) and re.fullmatch(r"\d{1,5}", asked):
        error.retry_after_s = max(float(asked), error.retry_after_s or 0.0)
    return error


def _error(failed: Failure, kind: str, *, writes: bool, unknown: bool) -> RelayError:
    if unknown:
        return OutcomeUnknown(f"{kind}: {failed.code}: {failed.rule.sentence}")
    error = errors.error_for(failed, doing=kind)
    if isinstance(error, ActivityRefused) and not writes:
        # A question that Salesforce refuses is no fault of a mail: an admin must act.
        return OrgPaused(str(error), code=failed.code)
    return error


def _outcome(failed: Failure, *, unknown: bool) -> str:
    """Return the metrics' word for a failed call."""
    if unknown:
        return "unknown"
    if issubclass(failed.rule.error, OrgPaused):
        return "paused"
    return "refused" if failed.rule.permanent else "unavailable"


# ------------------------------------------------------------------ composite


def request_body(
    prefix: str,
    parts: Sequence[tuple[str, str, bytes | None]],
    headers: Mapping[str, str] | None = None,
    *,
    ordered: bool = False,
) -> bytes:
    """Return the body of a composite call; bodies of parts are taken as they are."""
    begin = b'{"allOrNone":false,'
    if ordered:
        begin += b'"collateSubrequests":false,'
    return begin + b"".join(_pieces(prefix, parts, headers))


def _pieces(
    prefix: str,
    parts: Sequence[tuple[str, str, bytes | None]],
    headers: Mapping[str, str] | None,
) -> Iterator[bytes]:
    yield b'"compositeRequest":['
    for number, (method, path, data) in enumerate(parts):
        head: dict[str, Json] = {
            "method": method,
            "url": prefix + path,
            "referenceId": f"p{number}",
        }
        if headers:
            head["httpHeaders"] = dict(headers)
        yield (b"," if number else b"") + transport.write_json(head)[:-1]
        if data is not None:
            yield b',"body":'
            yield data
        yield b"}"
    yield b"]}"


def read_parts(answer: Json, count: int) -> list[Part | None]:
    """Return the parts of a composite answer by the numbers in their names."""
    found: list[Part | None] = [None] * count
    items = answer.get("compositeResponse") if isinstance(answer, dict) else None
    seen: set[int] = set()
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        name, status = item.get("referenceId"), item.get("httpStatusCode")
        if not isinstance(name, str) or not re.fullmatch(r"p\d{1,2}", name):
            continue
        number = int(name[1:])
        if number >= count or not isinstance(status, int):
            continue
        # A number that comes twice says nothing certain about its part.
        found[number] = None if number in seen else Part(status, item.get("body"))
        seen.add(number)
    return found
