"""One call and its answer, apart from sockets: what resources take and give.

A subrequest of a composite is a `Call` as well, so that it meets the same checks as a
request of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import SandboxError, parser_error
from relay.sandbox.rules import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_JSON: Final = 50 * 1024 * 1024
"""Largest body that is not multipart, in bytes (REST guide, "Insert Blob Data")."""

_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
NOTHING: Final = object()
"""Stands for a body that is absent, which JSON null is not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body; a body of bytes is sent as it is, None is no body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request below `/services/data/vXX.X/`.

    `segments` are the decoded parts of the path behind the version; header names are
    in lower case; `body` is parsed JSON, or `NOTHING`.
    """

    method: str
    version: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    user_id: str
    binary: Mapping[str, bytes] = field(default_factory=dict)
    """Binary parts of a multipart body, by name."""
    inside: bool = False
    """True for a subrequest."""

    def caller(self) -> Caller:
        """Return who writes, with what the headers say about rules."""
        duplicates = self.headers.get("sforce-duplicate-rule-header", "")
        assign = self.headers.get("sforce-auto-assign", "true")
        return Caller(
            self.user_id,
            allow_duplicates="allowsave=true" in duplicates.lower().replace(" ", ""),
            auto_assign=assign.strip().lower() != "false",
        )

    def json_object(self) -> dict[str, Any]:
        """Return the body, which must be a JSON object.

        Raises:
            SandboxError: It is absent or something else.
        """
        if not isinstance(self.body, dict):
            raise parser_error("The HTTP entity body is required to be a JSON object")
        return self.body


def failure(error: SandboxError) -> Answer:
    """Return the answer that is nothing but an error."""
    return Answer(error.status, [error.as_json()])


def read_json(raw: bytes) -> Any:
    """Parse a JSON body as strictly as RFC 8259 allows.

    Raises:
        SandboxError: No JSON, NaN or Infinity, bytes that are no UTF-8, or half of a
            surrogate pair.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant)
        if _ESCAPED_SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as cause:
        raise parser_error(f"Unexpected character in the body: {cause}") from None
    return value


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is no JSON"
    raise ValueError(msg)
