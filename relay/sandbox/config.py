"""What a test can set: the switches of the org, and its faults.

Every switch has the value that the strictest believable org would have. Unknown keys
and values of another type are refused, so that a misspelt switch fails its test.

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
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import STATUS, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from relay.core.clock import Clock


VERSIONS: Final = {
    "63.0": "Spring '25",
    "64.0": "Summer '25",
    "65.0": "Winter '26",
    "66.0": "Spring '26",
    "67.0": "Summer '26",
    "68.0": "Winter '27",
}
"""API versions that the stand-in answers to, with their labels."""

DEFAULT_VERSION: Final = "66.0"

CLIENT_ID: Final = "relay-sandbox"
"""Consumer key of the app that is registered from the start."""
CLIENT_SECRET: Final = "relay-sandbox-secret"  # noqa: S105 - no secret: documented
"""Its consumer secret, for the client credentials flow."""
INTEGRATION_USERNAME: Final = "relay@corp.example"
"""The user as whom that app acts: the API caller."""

EMAIL_MODES: Final = frozenset({"enhanced", "absent", "case_only"})


@dataclass(frozen=True, slots=True)
class OrgConfig:
    """The switches; times are seconds.

    Attributes:
        shared_activities: Task.TaskWhoIds, TaskRelation and TaskWhoRelation exist.
        person_accounts: Account.PersonEmail and its like exist.
        multi_currency: CurrencyIsoCode exists.
        email_mode: `enhanced` (EmailMessage, and a Task made for each), `case_only`
            (EmailMessage without that Task), `absent` (no EmailMessage).
        hidden_fields: By object, fields that field-level security hides.
        custom_fields: See `metadata.custom_field`.
        custom_objects: See `metadata.custom_object`.
        hidden_rows: By user id, record ids that sharing hides from that user.
        private_activities: A user without View All Data sees the Tasks and Events of
            nobody else, not even those that this user created for another owner.
        view_all_data: Usernames that have the permission View All Data.
        refuse_converted_leads: A Task may not name a converted Lead.
        refuse_lead_with_related: An EmailMessage may not have a Lead among its
            recipients and a RelatedToId.
        from_id_relates: FromId of an EmailMessage makes the sender's relation.
        record_types: By object, developer names of record types; they bring the field
            RecordTypeId.
        task_statuses: Names of all statuses of a Task in the org's order, each with
            whether it is closed; the first is the default. Empty: the standard ones.
        daily_limit: API calls in any 24 hours.
        latency_s: How long each call takes.
        session_s: How long a token lives after its last use.
        page_size: Records on a full query page at most.
        loose_pages: Serve fewer records on a page than asked for.
        duplicate_rules: `off`, `alert` (allowSave passes) or `block`, for new Leads
            and Contacts with an address that is known already.
        lead_assignment_owner: Owner whom assignment rules give to new Leads.
        blocked_extensions: File name endings that are refused.
        storage_full: New files are refused.
        client_id: Consumer key for both flows.
        client_secret: Consumer secret; empty refuses client credentials.
        run_as: Username that client credentials act as.
        jwt_public_key: PEM of the public key or certificate registered for JWT.
        jwt_users: Usernames that have approved the app; empty approves run_as alone.
        jwt_audiences: Audiences taken beside the org's own address.
    """

    shared_activities: bool = False
    person_accounts: bool = False
    multi_currency: bool = False
    email_mode: str = "enhanced"
    hidden_fields: dict[str, list[str]] = field(
        default_factory=lambda: {"Task": ["Type"]}
    )
    custom_fields: list[dict[str, Any]] = field(default_factory=list)
    custom_objects: list[dict[str, Any]] = field(default_factory=list)
    hidden_rows: dict[str, list[str]] = field(default_factory=dict)
    private_activities: bool = False
    view_all_data: list[str] = field(default_factory=list)
    refuse_converted_leads: bool = True
    refuse_lead_with_related: bool = True
    from_id_relates: bool = True
    record_types: dict[str, list[str]] = field(default_factory=dict)
    task_statuses: dict[str, bool] = field(default_factory=dict)
    daily_limit: int = 100_000
    latency_s: float = 0.0
    session_s: float = 7_200.0
    page_size: int = 2_000
    loose_pages: bool = True
    duplicate_rules: str = "off"
    lead_assignment_owner: str = ""
    blocked_extensions: list[str] = field(default_factory=list)
    storage_full: bool = False
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    run_as: str = INTEGRATION_USERNAME
    jwt_public_key: str = ""
    jwt_users: list[str] = field(default_factory=list)
    jwt_audiences: list[str] = field(
        default_factory=lambda: [
            "https://login.salesforce.com",
            "https://test.salesforce.com",
        ]
    )

    @property
    def features(self) -> frozenset[str]:
        """Return the features that `metadata.Schema` knows."""
        on = {
            name
            for name in ("shared_activities", "person_accounts", "multi_currency")
            if getattr(self, name)
        }
        return frozenset(on | ({"email"} if self.email_mode != "absent" else set()))

    def changed(self, settings: Mapping[str, Any]) -> OrgConfig:
        """Return a copy with some switches set.

        Raises:
            ValueError: A key is unknown, or a value has another type or meaning.
        """
        known = {each.name for each in fields(self)}
        for key, value in settings.items():
            if key not in known:
                msg = f"no such switch: {key!r}"
                raise ValueError(msg)
            now = getattr(self, key)
            fits = isinstance(value, type(now))
            if isinstance(now, float):
                fits = isinstance(value, int | float)
            if isinstance(value, bool) != isinstance(now, bool) or not fits:
                msg = f"{key} takes {type(now).__name__}, not {value!r}"
                raise ValueError(msg)
        if settings.get("email_mode", self.email_mode) not in EMAIL_MODES:
            msg = f"email_mode is one of {', '.join(sorted(EMAIL_MODES))}"
            raise ValueError(msg)
        return replace(self, **settings)


# -------------------------------------------------------------------- faults


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
    """The faults that are set, and the random numbers that decide when one strikes."""

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
        """Raise the error of a fault that hits one record now, if there is one."""
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
