"""The table of resources below `/services/data/vXX.X/`.

`dispatch` answers one call, whether it came by itself or inside a composite. A path
that is not in the table is 404, a method that a path does not have is 405.

Source: REST API Developer Guide, "REST Reference".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from relay.sandbox import collection, resources, sync
from relay.sandbox.answers import Answer
from relay.sandbox.composite import batch, composite
from relay.sandbox.describe import describe_global
from relay.sandbox.errors import SandboxError, not_found
from relay.sandbox.org import VERSIONS
from relay.sandbox.paging import query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.sandbox.answers import Call
    from relay.sandbox.metadata import FieldInfo, ObjectInfo
    from relay.sandbox.org import SandboxOrg

    _Rows = Mapping[str, Callable[[SandboxOrg, Call, ObjectInfo], Answer]]
    _Keys = Mapping[str, Callable[[SandboxOrg, Call, ObjectInfo, FieldInfo], Answer]]

_Handler = TypeVar("_Handler")

_NAMED: Final[_Rows] = {
    "describe": resources.describe,
    "updated": sync.updated,
    "deleted": sync.deleted,
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
            return _by_method(call, {"GET": query})(org, call)
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
    """Return what `GET /services/data/` tells without a token."""
    return [
        {"label": label, "url": f"/services/data/v{version}", "version": version}
        for version, label in VERSIONS.items()
    ]


def _sobject(
    org: SandboxOrg, call: Call, info: ObjectInfo, rest: tuple[str, ...]
) -> Answer:
    """Answer what stands below one object."""
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
    return Answer(200, describe_global(org, call.version))


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
