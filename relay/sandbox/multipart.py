"""Bodies of type multipart/form-data: one JSON part, and binary parts by field name.

Source: REST API Developer Guide, "Insert or Update Blob Data"; RFC 2046 section 5.1.1;
RFC 7578.
"""

from __future__ import annotations

from email.message import Message
from typing import Any, Final

from relay.sandbox.answers import read_json
from relay.sandbox.errors import SandboxError

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
