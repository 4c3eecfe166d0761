"""The way into the org for one HTTP request: proof, cost, form, then the resource.

Apart from sockets, so that it can be tested without them. Order, as on the platform:
token, quota, size of address and headers, media type, JSON, resource. Whatever is
refused or breaks on the way is taken back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from relay.sandbox.answers import MAX_JSON, NOTHING, Answer, Call, failure, read_json
from relay.sandbox.api import dispatch, kind_of, versions
from relay.sandbox.collection import record_count
from relay.sandbox.errors import SandboxError, not_found
from relay.sandbox.multipart import read_multipart
from relay.sandbox.oauth import token_answer
from relay.sandbox.usage import LoggedCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sandbox.org import SandboxOrg

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
    """Answer a request, and say what it was and what it cost."""
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
        records=record_count(body),
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
