"""The back door under `/sandbox/`: for tests and the demo, without a token.

It shows everything the org holds and every call that was made, and sets faults,
switches, clock and rows. Salesforce has nothing like it; no client may use it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from relay.sandbox.errors import SandboxError
from relay.sandbox.oauth import read_public_key
from relay.sandbox.values import stamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from relay.sandbox.org import SandboxOrg


def admin_routes(org: SandboxOrg) -> list[Route]:
    """Return the routes of the back door."""
    table: dict[tuple[str, str], Callable[[SandboxOrg, Request, Any], Any]] = {
        ("GET", "health"): _health,
        ("GET", "dump"): _dump,
        ("GET", "calls"): _calls,
        ("GET", "faults"): _faults,
        ("POST", "faults"): _set_faults,
        ("GET", "config"): _config,
        ("POST", "config"): _set_config,
        ("POST", "clock"): _set_clock,
        ("POST", "reset"): _reset,
        ("POST", "rows"): _insert_rows,
        ("POST", "undelete"): _undelete,
        ("POST", "archive"): _archive,
        ("POST", "purge"): _purge,
    }
    return [
        Route(f"/sandbox/{name}", _endpoint(org, work), methods=[method])
        for (method, name), work in table.items()
    ]


def _endpoint(
    org: SandboxOrg, work: Callable[[SandboxOrg, Request, Any], Any]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        raw = await request.body()
        try:
            with org.lock:
                return JSONResponse(work(org, request, json.loads(raw or b"{}")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except SandboxError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    return answer


def _health(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    del request, body
    return {
        "status": "ok",
        "now": stamp(org.clock.now()),
        "url": org.url,
        "api_used": org.usage.used(),
        "daily_limit": org.config.daily_limit,
    }


def _dump(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    del body
    return org.dump(request.query_params.get("object"))


def _calls(org: SandboxOrg, request: Request, body: Any) -> list[dict[str, Any]]:
    del request, body
    return org.calls.as_json()


def _faults(org: SandboxOrg, request: Request, body: Any) -> list[dict[str, Any]]:
    del request, body
    return [asdict(fault) for fault in org.faults.faults]


def _set_faults(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    """Replace all faults; an object with `faults` and `random_seed` sets the dice."""
    del request
    if isinstance(body, dict):
        if "random_seed" in body:
            org.random.seed(int(body["random_seed"]))
        body = body.get("faults", [])
    org.faults.load(body)
    return {"faults": len(org.faults.faults)}


def _config(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    del request, body
    return asdict(org.config)


def _set_config(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    """Set switches; `api_used` pretends that so many calls were made."""
    del request
    settings = dict(body)
    used = settings.pop("api_used", None)
    read_public_key(str(settings.get("jwt_public_key", "")))
    org.configure(settings)
    if used is not None:
        org.usage.set(int(used))
    return asdict(org.config)


def _set_clock(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    """Take `now` (with `stopped`), or `shift_s`."""
    del request
    if "now" in body:
        moment = datetime.fromisoformat(body["now"])
        if moment.tzinfo is None:
            msg = "now needs a zone"
            raise ValueError(msg)
        org.clock.set(moment, stopped=bool(body.get("stopped", False)))
    org.clock.shift(float(body.get("shift_s", 0)))
    return {"now": stamp(org.clock.now())}


def _reset(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    """Start over; `seed` and `random_seed` as for a new org."""
    del request
    org.reset(seed=body.get("seed"), random_seed=body.get("random_seed"))
    return {"status": "ok"}


def _insert_rows(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    """Take rows by object, unchecked; answer their ids by object."""
    del request
    return {name: org.insert_raw(name, rows) for name, rows in body.items()}


def _undelete(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    """Bring the records of `ids` back from the Recycle Bin."""
    del request
    for record_id in body["ids"]:
        info = org.schema.of_id(record_id)
        if info is None:
            msg = f"no record has the id {record_id!r}"
            raise ValueError(msg)
        org.records.undelete(info.name, record_id, org.caller())
    org.rows.commit()
    return {"status": "ok"}


def _archive(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    del request, body
    return {"archived": org.archive()}


def _purge(org: SandboxOrg, request: Request, body: Any) -> dict[str, Any]:
    del request, body
    return {"purged": org.purge()}
