"""One call and its answer, apart from sockets.

A subrequest of a composite is a `Call` as well, so that it meets the same checks as a
request of its own. Bodies are JSON, or multipart/form-data with one JSON part and
binary parts by the name of their field.

Source: REST API Developer Guide, "Insert or Update Blob Data"; RFC 8259; RFC 2046
section 5.1.1; RFC 7578.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING, Any, Final

from relay.core.ids import record_id
from relay.sandbox.errors import SandboxError, parser_error
from relay.sandbox.records import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_JSON: Final = 50 * 1024 * 1024
"""Largest body that is not multipart, in bytes (REST guide, "Insert Blob Data")."""

_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
NOTHING: Final = object()
"""The body of a call without a body; JSON null is another one."""


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
        """Return the user, with what the headers say about rules of the org."""
        duplicates = _flags(self.headers.get("sforce-duplicate-rule-header", ""))
        assign = self.headers.get("sforce-auto-assign", "TRUE").strip()
        if assign.upper() not in {"TRUE", "FALSE"} and not (
            (rule := record_id(assign)) and rule.startswith(_ASSIGNMENT_RULE)
        ):
            text = "Sforce-Auto-Assign is TRUE, FALSE or the id of an assignment rule"
            raise SandboxError("INVALID_INPUT", text)
        return Caller(
            self.user_id,
            allow_duplicates=duplicates.get("allowsave") == "true",
            auto_assign=assign.upper() != "FALSE",
        )

    def json_object(self) -> dict[str, Any]:
        """Return the body, which must be a JSON object.

        Raises:
            SandboxError: It is absent or something else.
        """
        if not isinstance(self.body, dict):
            raise parser_error("The HTTP entity body is required to be a JSON object")
        return self.body


_ASSIGNMENT_RULE: Final = "01Q"
_DUPLICATE_FLAGS: Final = frozenset(
    {"allowsave", "includerecorddetails", "runascurrentuser"}
)


def _flags(header: str) -> dict[str, str]:
    """Read Sforce-Duplicate-Rule-Header (REST guide, "Duplicate Rule Header").

    Raises:
        SandboxError: It names what there is not, or a value is neither true nor false.
    """
    found = {}
    for part in filter(None, (one.strip() for one in header.split(";"))):
        name, _, value = (one.strip().lower() for one in part.partition("="))
        if name not in _DUPLICATE_FLAGS or value not in {"true", "false"}:
            text = f"Sforce-Duplicate-Rule-Header: {part[:40]} is not understood"
            raise SandboxError("INVALID_INPUT", text)
        found[name] = value
    return found


def failure(error: SandboxError) -> Answer:
    """Return the answer whose body is only this error."""
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


MAX_BOUNDARY: Final = 70


def read_multipart(content_type: str, raw: bytes) -> tuple[Any, dict[str, bytes]]:
    """Return the JSON part, and the binary parts by the name of their field.

    Raises:
        SandboxError: A part lacks its type, its name or its file name, or the body is
            not divided as its header says.
    """
    head = Message()
    head["Content-Type"] = content_type
    boundary = head.get_boundary() or ""
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise _malformed(f"the boundary must have 1 to {MAX_BOUNDARY} characters")
    mark = b"--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + raw).split(b"\r\n" + mark)
    if not pieces[1:-1] or not pieces[-1].startswith(b"--"):
        raise _malformed("the body does not end with its boundary")
    body: Any = None
    files: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        headers, gap, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not gap:
            raise _malformed("a part has no headers")
        part = _headers(headers)
        kind = part.get("Content-Type")
        name = part.get_param("name", header="Content-Disposition")
        if kind is None or not isinstance(name, str):
            raise _malformed("every part needs Content-Type and a name")
        if part.get_content_type() == "application/json" and body is None:
            body = read_json(content)
        elif part.get_filename() is None:
            raise _malformed(f"the binary part {name} needs a filename")
        else:
            files[name] = content
    if body is None:
        raise _malformed("there is no JSON part")
    return body, files


def _headers(raw: bytes) -> Message:
    part = Message()
    for line in raw.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon:
            raise _malformed("a part has a broken header")
        part[name.decode("latin-1").strip()] = value.decode("utf-8", "replace").strip()
    return part


def _malformed(text: str) -> SandboxError:
    return SandboxError("INVALID_MULTIPART_REQUEST", text)
