"""Every answer that is no success: RFC 9457, with a stable word and what helps.

`error` is a word for programs and stays; `detail` and `hint` are for people. Nothing
that was sent is repeated, so that no secret stands in an answer or a log.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from relay.core.errors import (
    ConfigError,
    Conflict,
    IllegalTransition,
    InvalidInput,
    NeedsConfirmation,
    NoSalesforce,
    NotAllowed,
    NotFound,
    RawUnreadable,
    StoreUnavailable,
    TooOften,
    TransientError,
)
from relay.store.edits import Stale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

TYPE: Final = "application/problem+json"
RETRY_S: Final = 30
_HINTS: Final[Mapping[int, tuple[str, str]]] = {
    404: ("not_found", "see /api/openapi.json for the paths that there are"),
    405: ("method_not_allowed", "the header Allow names what this path takes"),
    415: ("unsupported_media_type", "send Content-Type: application/json"),
}


class Problem(Exception):  # noqa: N818 - an answer, no failure of ours
    """An answer that is no success."""

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        hint: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        """Take status, stable word, what is wrong, what helps, and further members."""
        super().__init__(error)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {
            "type": f"urn:relay:problem:{error}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "error": error,
            "hint": hint,
            **more,
        }

    def response(self) -> JSONResponse:
        """Return the answer."""
        return JSONResponse(
            self.body, self.status, headers=self.headers, media_type=TYPE
        )


def of(error: Exception) -> Problem:  # noqa: C901, PLR0911, PLR0912 - a table
    """Return the problem that an error of the rooms below is."""
    text = str(error)
    match error:
        case Problem():
            return error
        case Stale():
            hint = "GET it again, and send the change with its new ETag"
            return Problem(412, "changed", "somebody changed it in between", hint)
        case NotFound():
            hint = error.hint or "list what there is, and name one"
            return Problem(404, "unknown", text, hint)
        case InvalidInput():
            hint = error.hint or "correct the value"
            return Problem(422, "invalid", error.problem, hint)
        case IllegalTransition():
            detail = f"a message that is {error.state} cannot take {error.event}"
            hint = "GET the message: its state says what is possible"
            return Problem(409, "not_possible", detail, hint, state=str(error.state))
        case NotAllowed() | NeedsConfirmation() | NoSalesforce():
            return _not_done(error)
        case Conflict():
            hint = error.hint or "remove what is in the way first"
            return Problem(409, "conflict", text, hint)
        case TooOften():
            wait = {"Retry-After": str(error.wait_s)}
            return Problem(429, "too_many_requests", text, error.hint, headers=wait)
        case ConfigError():
            return Problem(409, "not_set_up", text, "an admin of the relay sets it")
        case StoreUnavailable() | RawUnreadable():
            detail = "the store does not answer now"
            wait = {"Retry-After": str(RETRY_S)}
            hint = "send it again later"
            return Problem(503, "store_unavailable", detail, hint, headers=wait)
        case TransientError():
            detail = f"Salesforce cannot be used now: {text}"
            wait = {"Retry-After": str(RETRY_S)}
            hint = "send it again later"
            return Problem(503, "salesforce_unavailable", detail, hint, headers=wait)
        case RequestValidationError():
            return _not_valid(error)
        case HTTPException():
            word, hint = _HINTS.get(error.status_code, ("refused", "see docs/api.md"))
            headers = error.headers or {}
            detail = str(error.detail)
            return Problem(error.status_code, word, detail, hint, headers=headers)
    detail = "the relay has a fault; its log has the details"
    return Problem(500, "internal_error", detail, "tell the relay's administrator")


def _not_done(error: NotAllowed | NeedsConfirmation | NoSalesforce) -> Problem:
    """Return the problem of what the caller, or the relay, may not do as it is."""
    text = str(error)
    if isinstance(error, NotAllowed):
        return Problem(403, error.word, text, error.hint)
    if isinstance(error, NoSalesforce):
        return Problem(409, "no_salesforce", text, error.hint)
    hint = 'send "confirm": true if it is meant so'
    more: dict[str, Any] = {"concerns": list(error.words)} if error.words else {}
    return Problem(409, "needs_confirmation", text, hint, **more)


def _not_valid(error: RequestValidationError) -> Problem:
    """Name each value that does not fit, and never the value."""
    found = [
        {"where": ".".join(map(str, one["loc"])), "problem": str(one["msg"])}
        for one in error.errors()
    ]
    first = found[0] if found else {"where": "request", "problem": "does not fit"}
    detail = f"{first['where']}: {first['problem']}"
    hint = "see /api/openapi.json for what fits"
    return Problem(422, "invalid", detail, hint, errors=found)


async def _answer(_request: Request, error: Exception) -> Response:
    return of(error).response()


def install(api: FastAPI) -> None:
    """Let the application answer every error so."""
    for kind in (
        Problem,
        NotFound,
        InvalidInput,
        IllegalTransition,
        NotAllowed,
        NeedsConfirmation,
        NoSalesforce,
        ConfigError,
        Conflict,
        TooOften,
        StoreUnavailable,
        RawUnreadable,
        TransientError,
        RequestValidationError,
        HTTPException,
        Exception,
    ):
        api.add_exception_handler(kind, _answer)
