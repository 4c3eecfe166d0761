"""One HTTP request to the org: proof, cost, form, then the resource that it names.

Apart from sockets, so that it can be tested without them. Order, as on the platform:
token, quota, size of address and headers, media type, JSON, resource. Whatever is
refused or breaks on the way is taken back. `dispatch` answers one call below
`/services/data/vXX.X/`, whether it came by itself or inside a composite: a path that is
not in the table is 404, a method that a path does not have is 405.

Source: REST API Developer Guide, "REST Reference".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote

from relay.sandbox import collection, resources
from relay.sandbox.answers import (
    MAX_JSON,
    NOTHING,
    Answer,
    Call,
    failure,
    read_json,
    read_multipart,
)
from relay.sandbox.composite import batch, composite
from relay.sandbox.config import VERSIONS
from relay.sandbox.errors import SandboxError, not_found
from relay.sandbox.oauth import token_answer
from relay.sandbox.state import LoggedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.sandbox.metadata import FieldInfo, ObjectInfo
    from relay.sandbox.org import SandboxOrg

    _Rows = Mapping[str, Callable[[SandboxOrg, Call, ObjectInfo], Answer]]
    _Keys = Mapping[str, Callable[[SandboxOrg, Call, ObjectInfo, FieldInfo], Answer]]


MAX_HEAD: Final = 16_384
"""Bytes of address and headers together, and of either alone."""

_DATA: Final = "/services/data"
TOKEN_PATH: Final = "/services/oauth2/token"  # noqa: S105 - a path
_SOAP_PATH: Final = "/services/Soap/"
_SOAP_FAULT: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv='
    '"http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault>'
    "<faultcode>INVALID_OPERATION</faultcode><faultstring>INVALID_OPERATION: SOAP API "
    "login() is disabled by default in this org.</faultstring></soapenv:Fault>"
    "</soapenv:Body></soapenv:Envelope>"
)


@dataclass(frozen=True, slots=True)
class Inbound:
    """One HTTP request as it came; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    head_bytes: int = 0

    @property
    def target(self) -> str:
        """Return path and query as on the request line, still encoded."""
        return f"{self.path}?{self.query}" if self.query else self.path


def process(org: SandboxOrg, request: Inbound) -> tuple[Answer, LoggedCall]:
    """Answer a request; return the answer and its entry in the call log."""
    with org.lock:
        try:
            return _process(org, request)
        finally:
            # A refusal took back its own changes; what is left here is final.
            org.rows.commit()


def unprocessed(org: SandboxOrg, request: Inbound, status: int) -> LoggedCall:
    """Return the log entry of a request that a fault kept away from the org."""
    return _log(org, request, "fault", status, done=False)


def _process(org: SandboxOrg, request: Inbound) -> tuple[Answer, LoggedCall]:
    if request.path == TOKEN_PATH:
        answer = _token(org, request)
        return answer, _log(org, request, "token", answer.status)
    if request.path.startswith(_SOAP_PATH):
        answer = Answer(500, _SOAP_FAULT.encode(), {"Content-Type": "text/xml"})
        return answer, _log(org, request, "soap", answer.status)
    if request.path.rstrip("/") == _DATA and request.method == "GET":
        return Answer(200, versions()), _log(org, request, "versions", 200)
    return _authorised(org, request)


def _token(org: SandboxOrg, request: Inbound) -> Answer:
    if request.method != "POST":
        body = {"error": "invalid_request", "error_description": "must use HTTP POST"}
        return Answer(400, body)
    return token_answer(org, request.headers, request.body)


def _authorised(org: SandboxOrg, request: Inbound) -> tuple[Answer, LoggedCall]:
    try:
        user_id = _user(org, request)
    except SandboxError as error:
        return failure(error), _log(org, request, "unauthorised", error.status)
    call: Call | None = None
    counted = 0
    mark = org.rows.savepoint()
    try:
        _check_quota(org)
        counted = 1
        call = _call(request, user_id)
        counted = _cost(call)
        org.usage.add(counted)
        answer = dispatch(org, call)
    except SandboxError as error:
        org.rows.rollback(mark)
        if call is None:
            org.usage.add(counted)
        answer = failure(error)
    except BaseException:
        org.rows.rollback(mark)
        raise
    usage = f"api-usage={org.usage.used()}/{org.config.daily_limit}"
    answer = replace(answer, headers={**answer.headers, "Sforce-Limit-Info": usage})
    kind = kind_of(call.segments) if call else "malformed"
    logged = _log(org, request, kind, answer.status, call=call, counted=counted)
    return answer, logged


def _check_quota(org: SandboxOrg) -> None:
    if org.usage.used() >= org.config.daily_limit:
        raise SandboxError("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")


def _user(org: SandboxOrg, request: Inbound) -> str:
    header = request.headers.get("authorization", "")
    if header and header.partition(" ")[0].lower() not in {"bearer", "oauth"}:
        raise SandboxError("INVALID_AUTH_HEADER", "INVALID_AUTH_HEADER")
    user_id = org.sessions.user_of(header.partition(" ")[2].strip())
    if user_id is None:
        raise SandboxError("INVALID_SESSION_ID", "Session expired or invalid")
    return user_id


def _call(request: Inbound, user_id: str) -> Call:
    if len(request.target) > MAX_HEAD:
        raise SandboxError("URI_TOO_LONG", "The URI is longer than 16,384 bytes")
    if request.head_bytes > MAX_HEAD:
        raise SandboxError(
            "REQUEST_HEADER_FIELDS_TOO_LARGE",
            "URI and headers are longer than 16,384 bytes together",
        )
    rest = request.path.removeprefix(_DATA + "/v")
    if rest == request.path:
        raise not_found()
    version, *segments = [unquote(part) for part in rest.rstrip("/").split("/")]
    body, binary = _body(request)
    return Call(
        method=request.method,
        version=version,
        segments=tuple(segments),
        query=dict(parse_qsl(request.query, keep_blank_values=True)),
        headers=request.headers,
        body=body,
        user_id=user_id,
        binary=binary,
    )


def _body(request: Inbound) -> tuple[Any, dict[str, bytes]]:
    if not request.body or request.method in {"GET", "HEAD", "DELETE"}:
        return NOTHING, {}
    kind = request.headers.get("content-type", "")
    name = kind.partition(";")[0].strip().lower()
    if name == "multipart/form-data":
        return read_multipart(kind, request.body)
    if name != "application/json":
        raise SandboxError(
            "UNSUPPORTED_MEDIA_TYPE", f"Content type '{name}' is not supported"
        )
    if len(request.body) > MAX_JSON:
        raise SandboxError(
            "REQUEST_ENTITY_TOO_LARGE", "the body is larger than 50 MB", status=413
        )
    return read_json(request.body), {}


def _cost(call: Call) -> int:
    return max(1, _subrequests(call.body, "batchRequests"))


def _subrequests(body: Any, name: str) -> int:
    items = body.get(name) if isinstance(body, dict) else None
    return len(items) if isinstance(items, list) else 0


def _log(
    org: SandboxOrg,
    request: Inbound,
    kind: str,
    status: int,
    *,
    call: Call | None = None,
    counted: int = 0,
    done: bool = True,
) -> LoggedCall:
    body = call.body if call else None
    return LoggedCall(
        at=org.clock.now().isoformat(timespec="milliseconds"),
        method=request.method,
        path=request.path,
        kind=kind,
        status=status,
        subrequests=_subrequests(body, "compositeRequest")
        + _subrequests(body, "batchRequests"),
        records=collection.record_count(body),
        counted=counted,
        done=done,
        user=call.user_id if call else "",
        queries=_queries(call),
        urls=_urls(call),
    )


def _queries(call: Call | None) -> tuple[str, ...]:
    """Return the SOQL of a call and of its subrequests."""
    if call is None:
        return ()
    found = [call.query["q"]] if "q" in call.query else []
    for url in _urls(call):
        query = dict(parse_qsl(url.partition("?")[2]))
        found += [query["q"]] if "q" in query else []
    return tuple(found)


def _urls(call: Call | None) -> tuple[str, ...]:
    """Return the addresses of a composite's or batch's subrequests."""
    body = call.body if call and isinstance(call.body, dict) else {}
    items = [body.get(name) for name in ("compositeRequest", "batchRequests")]
    return tuple(
        item["url"]
        for each in items
        for item in (each if isinstance(each, list) else ())
        if isinstance(item, dict) and isinstance(item.get("url"), str)
    )


# ------------------------------------------------------------------ resources


_Handler = TypeVar("_Handler")

_NAMED: Final[_Rows] = {
    "describe": resources.describe,
    "updated": resources.updated,
    "deleted": resources.deleted,
}
_ROWS: Final[_Rows] = {
    "GET": resources.read,
    "PATCH": resources.update,
    "DELETE": resources.delete,
}
_KEYS: Final[_Keys] = {
    "GET": resources.read_by_key,
    "PATCH": resources.upsert,
    "DELETE": resources.delete_by_key,
}
_COLLECTIONS: Final = {
    "POST": collection.create,
    "PATCH": collection.update,
    "DELETE": collection.delete,
}


def dispatch(org: SandboxOrg, call: Call) -> Answer:
    """Answer one call.

    Raises:
        SandboxError: The whole answer is this error.
    """
    if call.version not in VERSIONS:
        raise not_found()
    match call.segments:
        case ():
            return _by_method(call, {"GET": _resources})(org, call)
        case ("sobjects",):
            return _by_method(call, {"GET": _global})(org, call)
        case ("sobjects", name, *rest):
            info = resources.object_info(org, name)
            return _sobject(org, call, info, tuple(rest))
        case ("query" | "queryAll",) | ("query" | "queryAll", _):
            return _by_method(call, {"GET": resources.query})(org, call)
        case ("composite", *rest):
            return _composite(org, call, tuple(rest))
        case ("limits",):
            return _by_method(call, {"GET": _limits})(org, call)
    raise not_found()


def kind_of(segments: tuple[str, ...]) -> str:
    """Return a short word for a path, for the call log."""
    match segments:
        case ():
            return "resources"
        case ("sobjects",):
            return "describe_global"
        case ("sobjects", _, "describe" | "updated" | "deleted" as name):
            return str(name)
        case ("sobjects", *_):
            return "sobject"
        case ("composite", "sobjects", *_):
            return "collection"
        case ("composite", "batch"):
            return "batch"
    return segments[0]


def versions() -> list[dict[str, str]]:
    """Return the answer to `GET /services/data/`, which needs no token."""
    return [
        {"label": label, "url": f"/services/data/v{version}", "version": version}
        for version, label in VERSIONS.items()
    ]


def _sobject(
    org: SandboxOrg, call: Call, info: ObjectInfo, rest: tuple[str, ...]
) -> Answer:
    """Answer the paths below one object."""
    match rest:
        case ():
            table = {"GET": resources.basic, "POST": resources.create}
            return _by_method(call, table)(org, call, info)
        case ("describe" | "updated" | "deleted" as name,):
            return _by_method(call, {"GET": _NAMED[name]})(org, call, info)
        case (_,):
            return _by_method(call, _ROWS)(org, call, info)
        case (field, _):
            key = resources.key_field(info, field)
            if key is None:
                return _by_method(call, {"GET": resources.blob})(org, call, info)
            return _by_method(call, _KEYS)(org, call, info, key)
    raise not_found()


def _composite(org: SandboxOrg, call: Call, rest: tuple[str, ...]) -> Answer:
    """Answer composite, batch and collections."""
    match rest:
        case ():
            return _by_method(call, {"POST": composite})(org, call, dispatch)
        case ("batch",):
            return _by_method(call, {"POST": batch})(org, call, dispatch)
        case ("sobjects",):
            return _by_method(call, _COLLECTIONS)(org, call)
        case ("sobjects", _):
            table = {"GET": collection.read, "POST": collection.read}
            return _by_method(call, table)(org, call)
        case ("sobjects", _, _):
            return _by_method(call, {"PATCH": collection.upsert})(org, call)
    raise not_found()


def _by_method(call: Call, table: Mapping[str, _Handler]) -> _Handler:
    handler = table.get(call.method)
    if handler is None:
        allowed = ",".join(table)
        raise SandboxError(
            "METHOD_NOT_ALLOWED",
            f"HTTP Method '{call.method}' not allowed. Allowed are {allowed}",
        )
    return handler


def _global(org: SandboxOrg, call: Call) -> Answer:
    return Answer(200, resources.describe_global(org, call.version))


def _resources(org: SandboxOrg, call: Call) -> Answer:
    del org
    base = f"/services/data/v{call.version}"
    names = ("sobjects", "query", "queryAll", "composite", "limits")
    return Answer(200, {name: f"{base}/{name}" for name in names})


def _limits(org: SandboxOrg, call: Call) -> Answer:
    del call
    limit = org.config.daily_limit
    left = max(0, limit - org.usage.used())
    return Answer(
        200,
        {
            "DailyApiRequests": {"Max": limit, "Remaining": left},
            "DataStorageMB": {"Max": 1_024, "Remaining": 1_000},
            "FileStorageMB": {
                "Max": 1_024,
                "Remaining": 0 if org.config.storage_full else 1_000,
            },
        },
    )
