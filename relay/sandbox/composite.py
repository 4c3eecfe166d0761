"""Composite and batch: several requests in one call.

A composite is checked as a whole first (counts, names, addresses, headers): what is
malformed refuses it altogether. Then each subrequest gets its own status, and the whole
answers 200 even if everything failed. With `allOrNone` one failure takes everything
back, and all others say PROCESSING_HALTED, except that a collection inside goes on
claiming what it had claimed before. Without `collateSubrequests: false`, subrequests
that do not depend on each other run in an order of the platform's choosing.

Source: REST API Developer Guide, "Composite", "Using the allOrNone Parameter",
"Batch".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from relay.sandbox.answers import NOTHING, Answer, Call, failure
from relay.sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.sandbox.org import SandboxOrg


MAX_SUBREQUESTS: Final = 25
MAX_HEAVY: Final = 5
"""Queries and collections in one composite, together."""
MAX_URI: Final = 16_384

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_REFERENCE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
_BASE: Final = re.compile(r"/services/data/v(\d+\.\d)/")
_FORBIDDEN: Final = frozenset({"accept", "authorization", "content-type"})
_REFERENCE: Final = re.compile(r"@\{([^}]*)\}")
_STEP: Final = re.compile(r"([A-Za-z0-9_]+)((?:\[\d+\])*)")
_OK: Final = range(200, 300)
_HALTED: Final = SandboxError(
    "PROCESSING_HALTED",
    "The transaction was rolled back since another operation in the same transaction "
    "failed.",
)


@dataclass(frozen=True, slots=True)
class Subrequest:
    """One item of a composite, checked; `needs` are the items it refers to."""

    method: str
    url: str
    name: str
    body: Any
    headers: Mapping[str, str]
    needs: frozenset[str] = field(default_factory=frozenset)

    @property
    def path(self) -> str:
        """Return the part of the path after the version, without the query."""
        return _BASE.sub("", urlsplit(self.url).path)

    @property
    def collection(self) -> bool:
        """Say whether this is a collection."""
        return self.path.startswith("composite/sobjects")

    @property
    def heavy(self) -> bool:
        """Say whether this counts towards the limit of queries and collections."""
        return self.collection or self.path.split("/")[0] in {"query", "queryAll"}


def composite(
    org: SandboxOrg, call: Call, dispatch: Callable[[SandboxOrg, Call], Answer]
) -> Answer:
    """Answer `POST /composite`.

    Raises:
        SandboxError: The request as a whole is malformed; nothing was done.
    """
    body = call.json_object()
    items = read_subrequests(body)
    all_or_none = body.get("allOrNone", False)
    order = items
    if body.get("collateSubrequests", True):
        order = _collated(org, items)
    mark = org.rows.savepoint()
    answers: dict[str, Answer] = {}
    failed: set[str] = set()
    for item in order:
        if failed and all_or_none:
            break
        answer = _run(org, call, item, answers, failed, dispatch)
        answers[item.name] = answer
        if answer.status not in _OK:
            failed.add(item.name)
    if failed and all_or_none:
        org.rows.rollback(mark)
        answers = {item.name: _rolled_back(item, answers, failed) for item in items}
    return Answer(
        200,
        {
            "compositeResponse": [
                {
                    "body": answers[item.name].body,
                    "httpHeaders": dict(answers[item.name].headers),
                    "httpStatusCode": answers[item.name].status,
                    "referenceId": item.name,
                }
                for item in items
            ]
        },
    )


def read_subrequests(body: Mapping[str, Any]) -> list[Subrequest]:
    """Check a composite's items as the platform does before it runs any.

    Raises:
        SandboxError: One of them makes the whole request malformed.
    """
    raw = body.get("compositeRequest")
    if not isinstance(raw, list) or not raw:
        raise _malformed("compositeRequest must be a list that is not empty")
    for name in ("allOrNone", "collateSubrequests"):
        if not isinstance(body.get(name, False), bool):
            raise _malformed(f"{name} is a boolean")
    if len(raw) > MAX_SUBREQUESTS:
        raise SandboxError(
            "LIMIT_EXCEEDED",
            f"The number of subrequests {len(raw)} exceeds {MAX_SUBREQUESTS}",
        )
    items: list[Subrequest] = []
    for each in raw:
        item = _read_subrequest(each)
        if item.name in {other.name for other in items}:
            raise _malformed(f"Provided referenceId ('{item.name}') is not unique")
        items.append(item)
    heavy = sum(item.heavy for item in items)
    if heavy > MAX_HEAVY:
        raise SandboxError(
            "LIMIT_EXCEEDED",
            f"{heavy} queries and collections in one request, {MAX_HEAVY} at most",
        )
    return items


def batch(
    org: SandboxOrg, call: Call, dispatch: Callable[[SandboxOrg, Call], Answer]
) -> Answer:
    """Answer `POST /composite/batch`: independent requests, one after the other.

    Raises:
        SandboxError: The request as a whole is malformed; nothing was done.
    """
    body = call.json_object()
    items = body.get("batchRequests")
    if not isinstance(items, list) or not 0 < len(items) <= MAX_SUBREQUESTS:
        raise _malformed(f"batchRequests must hold 1 to {MAX_SUBREQUESTS} requests")
    results: list[dict[str, Any]] = []
    halted = False
    for each in items:
        if halted:
            error = SandboxError("BATCH_PROCESSING_HALTED", "halted", status=412)
            answer = failure(error)
        else:
            answer = _run_batched(org, call, each, dispatch)
        bad = answer.status not in _OK
        halted = halted or (bad and body.get("haltOnError") is True)
        results.append({"statusCode": answer.status, "result": answer.body})
    errors = any(each["statusCode"] not in _OK for each in results)
    return Answer(200, {"hasErrors": errors, "results": results})


def sub_call(
    call: Call, method: str, url: str, body: Any, headers: Mapping[str, str]
) -> Call:
    """Make a call out of a subrequest's address.

    Raises:
        SandboxError: The address cannot be read.
    """
    parts = urlsplit(url)
    if not url.isascii() or re.search(r"[\s\"<>]", url) or len(url) > MAX_URI:
        raise SandboxError(
            "URI_TOO_LONG" if len(url) > MAX_URI else "INVALID_INPUT",
            "the address of a subrequest must be encoded",
        )
    found = _BASE.match(parts.path)
    if found is None:
        raise _malformed("the address must start with /services/data/vXX.X/")
    rest = parts.path[found.end() :].strip("/")
    return replace(
        call,
        method=method,
        version=found[1],
        segments=tuple(unquote(each) for each in rest.split("/")) if rest else (),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        binary={},
        inside=True,
    )


def _read_subrequest(raw: Any) -> Subrequest:
    if not isinstance(raw, dict):
        raise _malformed("a subrequest is an object")
    method, url, name = (raw.get(key) for key in ("method", "url", "referenceId"))
    if method not in _METHODS:
        raise _malformed(f"no such method: {method!r}")
    if not isinstance(name, str) or not _REFERENCE_ID.fullmatch(name):
        raise _malformed(f"Provided referenceId ({name!r}) is invalid")
    if not isinstance(url, str) or not _BASE.match(url):
        raise _malformed("the address must start with /services/data/vXX.X/")
    path = _BASE.sub("", urlsplit(url).path)
    if path.startswith("composite") and not path.startswith("composite/sobjects"):
        raise _malformed("a composite cannot hold another one")
    headers = raw.get("httpHeaders") or {}
    if not isinstance(headers, dict) or not all(
        isinstance(value, str) for value in headers.values()
    ):
        raise _malformed("httpHeaders is an object of strings")
    for header in headers:
        if header.lower() in _FORBIDDEN:
            raise _malformed(f"a subrequest cannot set the header {header}")
    body = raw.get("body", NOTHING)
    return Subrequest(method, url, name, body, headers, _needs(url, body))


def _needs(url: str, body: Any) -> frozenset[str]:
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, str):
            if "@{" in value:
                for path in _REFERENCE.findall(value):
                    found.add(re.split(r"[.\[]", path)[0])
        elif isinstance(value, dict):
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(url)
    walk(body)
    return frozenset(found)


def _collated(org: SandboxOrg, items: list[Subrequest]) -> list[Subrequest]:
    """Put subrequests in another order that respects their references.

    One with headers of its own stays where it is: it prevents collation.
    """
    if any(item.headers for item in items):
        return items
    names = {item.name for item in items}
    order: list[Subrequest] = []
    waiting = list(items)
    org.random.shuffle(waiting)
    while waiting:
        done = {item.name for item in order}
        ready = [item for item in waiting if (item.needs & names) <= done | {item.name}]
        if not ready:  # They refer to each other in a circle: each fails by itself.
            return order + waiting
        order.append(ready[0])
        waiting.remove(ready[0])
    return order


def _run(
    org: SandboxOrg,
    call: Call,
    item: Subrequest,
    answers: Mapping[str, Answer],
    failed: set[str],
    dispatch: Callable[[SandboxOrg, Call], Answer],
) -> Answer:
    if item.needs & failed:
        return failure(
            SandboxError(
                "PROCESSING_HALTED",
                "Invalid reference specified. The subrequest referred to failed.",
            )
        )
    mark = org.rows.savepoint()
    try:
        url = _resolve(item.url, answers) if item.needs else item.url
        body = _resolve(item.body, answers) if item.needs else item.body
        return dispatch(org, sub_call(call, item.method, url, body, item.headers))
    except SandboxError as error:
        org.rows.rollback(mark)
        return failure(error)


def _run_batched(
    org: SandboxOrg,
    call: Call,
    raw: Any,
    dispatch: Callable[[SandboxOrg, Call], Answer],
) -> Answer:
    mark = org.rows.savepoint()
    try:
        raw = _batched(raw)
        url = "/services/data/" + str(raw.get("url", "")).lstrip("/")
        inner = sub_call(call, raw["method"], url, raw.get("richInput", NOTHING), {})
        return dispatch(org, inner)
    except SandboxError as error:
        org.rows.rollback(mark)
        return failure(error)


def _batched(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict) or raw.get("method") not in _METHODS:
        raise _malformed("a request of a batch needs a method")
    if "/composite" in str(raw.get("url", "")):
        raise _malformed("a batch cannot hold a composite")
    return raw


def _rolled_back(
    item: Subrequest, answers: Mapping[str, Answer], failed: set[str]
) -> Answer:
    """Return what an item says after the rollback."""
    answer = answers.get(item.name)
    # A collection that had run keeps its body, `success: true` included.
    if answer is not None and (item.name in failed or item.collection):
        return answer
    return failure(_HALTED)


def _resolve(value: Any, answers: Mapping[str, Answer]) -> Any:
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return _look_up(whole[1], answers)
        return _REFERENCE.sub(lambda found: str(_look_up(found[1], answers)), value)
    if isinstance(value, dict):
        return {name: _resolve(each, answers) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolve(each, answers) for each in value]
    return value


def _look_up(path: str, answers: Mapping[str, Answer]) -> Any:
    """Return what `ref.field[0].name` names; names are case-sensitive."""
    value: Any = None
    for number, step in enumerate(path.split(".")):
        found = _STEP.fullmatch(step)
        if found is None:
            raise _bad_reference(path)
        if number == 0:
            answer = answers.get(found[1])
            value = None if answer is None else answer.body
        else:
            value = value.get(found[1]) if isinstance(value, dict) else None
        for index in re.findall(r"\d+", found[2]):
            fits = isinstance(value, list) and int(index) < len(value)
            value = value[int(index)] if fits else None
        if value is None:
            raise _bad_reference(path)
    return value


def _bad_reference(path: str) -> SandboxError:
    name = path.partition(".")[0]
    return SandboxError(
        "PROCESSING_HALTED",
        f"Invalid reference specified. No value for {path} found in {name}",
    )


def _malformed(text: str) -> SandboxError:
    return SandboxError("INVALID_INPUT", text)
