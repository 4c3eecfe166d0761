"""Faults as data: what goes wrong, where, how often.

A fault is a dict, so that a chaos run is a list that can be printed with its seed.
Stages: `connect` and `before` happen before anything is done, `after` and `answer`
when it is done and committed. Faults of records (`lock_rows`, and `error_code` with an
`object`) hit single records inside collections and composites.

| kind | what happens |
|---|---|
| reset | the connection is cut without an answer |
| stall | nothing happens for `delay_s`, then it goes on, even if the client left |
| status | HTTP status `code` with a JSON error |
| html | an HTML page with HTTP status `code` (default 503) |
| truncate | the JSON of the answer stops in the middle |
| error_code | Salesforce's error `code` |
| lock_rows | UNABLE_TO_LOCK_ROW for the record |
| expire_token | every session ends now; without `count`: 401 for ever |
| quota | REQUEST_LIMIT_EXCEEDED; with `delay_s`, for so long after the first time |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import STATUS, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from relay.core.clock import Clock

EARLY: Final = frozenset({"connect", "before"})
LATE: Final = frozenset({"after", "answer"})
KINDS: Final = frozenset(
    {
        "reset",
        "stall",
        "status",
        "html",
        "truncate",
        "error_code",
        "lock_rows",
        "expire_token",
        "quota",
    }
)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: What happens; see the table above.
        stage: When, for faults of whole calls.
        code: HTTP status, or Salesforce's error code.
        message: Text of the error.
        status: HTTP status of an `error_code` or `lock_rows`.
        probability: Chance for each call, or for each record.
        count: How often at most; None for ever.
        path: Pattern that the path with its query must contain.
        body: Pattern that the body of the request must contain.
        object: Records of this object only.
        delay_s: How long a stall or a spent quota lasts.
        until_s: Set when a spent quota begins: when it ends (boot time).
    """

    kind: str
    stage: str = "before"
    code: str | int | None = None
    message: str = ""
    status: int | None = None
    probability: float = 1.0
    count: int | None = None
    path: str = ""
    body: str = ""
    object: str = ""
    delay_s: float = 0.0
    until_s: float | None = None

    @property
    def of_records(self) -> bool:
        """Say whether this hits single records instead of whole calls."""
        return self.kind == "lock_rows" or (
            self.kind == "error_code" and bool(self.object)
        )

    def error(self, record_id: str = "") -> SandboxError:
        """Return the error that this fault makes of a call or a record."""
        if self.kind == "quota":
            return SandboxError(
                "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."
            )
        if self.kind == "lock_rows":
            text = "unable to obtain exclusive access to this record or 1 records: "
            return SandboxError(
                "UNABLE_TO_LOCK_ROW",
                self.message or text + record_id,
                status=self.status,
            )
        code = str(self.code or "UNKNOWN_EXCEPTION")
        status = STATUS.get(code, 400) if self.status is None else self.status
        return SandboxError(code, self.message or "fault of the sandbox", status=status)


def read_fault(settings: Mapping[str, Any]) -> Fault:
    """Make a fault from JSON.

    Raises:
        ValueError: A key, the kind, the stage or the pattern is none.
    """
    known = {each.name for each in fields(Fault)} - {"until_s"}
    unknown = sorted(set(settings) - known)
    if unknown or settings.get("kind") not in KINDS:
        msg = f"no such fault: {dict(settings)!r}"
        raise ValueError(msg)
    fault = Fault(**settings)
    if fault.stage not in EARLY | LATE:
        msg = f"no such stage: {fault.stage!r}"
        raise ValueError(msg)
    try:
        re.compile(fault.path)
        re.compile(fault.body)
    except re.error as cause:
        msg = f"path or body is no pattern: {cause}"
        raise ValueError(msg) from cause
    return fault


class FaultBook:
    """The faults that are set, and the dice that choose among them."""

    def __init__(self, random: Random, clock: Clock) -> None:
        """Start without faults."""
        self.faults: list[Fault] = []
        self._random = random
        self._clock = clock

    def load(self, faults: Iterable[Mapping[str, Any]]) -> None:
        """Replace all faults.

        Raises:
            ValueError: One of them is none; the old ones stay.
        """
        self.faults = [read_fault(each) for each in faults]

    def for_call(
        self, stages: frozenset[str], path: str, body: bytes = b""
    ) -> list[Fault]:
        """Return the faults that hit a call now, in the order they were set."""
        text = body.decode("utf-8", "replace")
        return [
            fault
            for fault in list(self.faults)
            if not fault.of_records
            and fault.stage in stages
            and re.search(fault.path, path)
            and re.search(fault.body, text)
            and self._strikes(fault)
        ]

    def check_record(self, name: str, record_id: str) -> None:
        """Raise what hits one record now, if anything does."""
        for fault in list(self.faults):
            if fault.of_records and fault.object in {"", name} and self._strikes(fault):
                raise fault.error(record_id)

    def _strikes(self, fault: Fault) -> bool:
        if fault.until_s is not None:  # A spent quota, once begun, lasts its time.
            if self._clock.boottime_s() < fault.until_s:
                return True
            self.faults.remove(fault)
            return False
        if fault.count is not None and fault.count <= 0:
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        if fault.kind == "quota" and fault.delay_s > 0:
            fault.until_s = self._clock.boottime_s() + fault.delay_s
        if fault.count is not None:
            fault.count -= 1
        return True
