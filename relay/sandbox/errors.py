"""The one error of the stand-in, with Salesforce's code, text and HTTP status.

Promises that every refusal leaves as Salesforce words it: an array of objects with
`message` and `errorCode`, and `fields` where fields are named. Inside collections the
same error has `statusCode` instead of `errorCode`.

Source: REST API Developer Guide, "Status Codes and Error Responses".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS: Final[Mapping[str, int]] = {
    "INVALID_SESSION_ID": 401,
    "INVALID_AUTH_HEADER": 401,
    "REQUEST_LIMIT_EXCEEDED": 403,
    "INSUFFICIENT_ACCESS_OR_READONLY": 403,
    "API_DISABLED_FOR_ORG": 403,
    "ORG_LOCKED": 403,
    "TRIAL_EXPIRED": 403,
    "TXN_SECURITY_NO_ACCESS": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "PRECONDITION_FAILED": 412,
    "URI_TOO_LONG": 414,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "REQUEST_HEADER_FIELDS_TOO_LARGE": 431,
    "UNKNOWN_EXCEPTION": 500,
    "SERVER_UNAVAILABLE": 503,
}
"""HTTP status of an error that a resource answers by itself; 400 for all others."""


class SandboxError(Exception):
    """A request, or one record of it, that Salesforce would refuse.

    Attributes:
        code: Salesforce's `errorCode`.
        message: What the client reads.
        status: HTTP status where the error is the whole answer.
        fields: API names of the fields that are at fault.
        whole: The body could not be read into records, so that one bad record
            refuses the whole request, its neighbours included.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        fields: tuple[str, ...] = (),
        whole: bool = False,
    ) -> None:
        """Take code and text; the status follows from the code unless given."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = STATUS.get(code, 400) if status is None else status
        self.fields = fields
        self.whole = whole

    def as_json(self) -> dict[str, Any]:
        """Return the object that stands in an error array."""
        body: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields:
            body["fields"] = list(self.fields)
        return body

    def as_collection_json(self) -> dict[str, Any]:
        """Return the object that stands in `errors` of a collection's result."""
        return {
            "statusCode": self.code,
            "message": self.message,
            "fields": list(self.fields),
        }


def parser_error(message: str) -> SandboxError:
    """Return the refusal of a body that cannot be read into fields."""
    return SandboxError("JSON_PARSER_ERROR", message, whole=True)


def not_found(message: str = "The requested resource does not exist") -> SandboxError:
    """Return the refusal of an address that names no resource."""
    return SandboxError("NOT_FOUND", message)


def deleted(status: int = 400) -> SandboxError:
    """Return the refusal of a row that is in the Recycle Bin."""
    return SandboxError("ENTITY_IS_DELETED", "entity is deleted", status=status)
