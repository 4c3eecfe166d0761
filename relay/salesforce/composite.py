"""The Composite resource: many requests in one call, and the answer to each.

A body is put together from JSON that is written already; an answer is untrusted, and
its parts are found by the names that the body gave them. No call is made here: that is
`Client.composite`.

Source: Salesforce REST API Guide, "Composite".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.salesforce import answers, body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay.core.model import Json
    from relay.salesforce.answers import Failure

MAX_PART_QUERIES: Final = 5
"""Queries and collections in one composite (REST API Guide, "Composite")."""


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one part of a composite call."""

    status: int
    body: Json

    @property
    def ok(self) -> bool:
        """Say whether this part succeeded as such (its records may still have not)."""
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP

    def failure(self) -> Failure:
        """Return what went wrong."""
        return answers.failure(self.status, self.body)


def request_body(prefix: str, parts: Sequence[tuple[str, str, bytes | None]]) -> bytes:
    """Return the body of a composite call; bodies of parts are taken as they are."""
    return b"".join(_pieces(prefix, parts))


def _pieces(
    prefix: str, parts: Sequence[tuple[str, str, bytes | None]]
) -> Iterator[bytes]:
    yield b'{"allOrNone":false,"compositeRequest":['
    for number, (method, path, data) in enumerate(parts):
        head = {"method": method, "url": prefix + path, "referenceId": f"p{number}"}
        yield (b"," if number else b"") + body.write(head)[:-1]
        if data is not None:
            yield b',"body":'
            yield data
        yield b"}"
    yield b"]}"


def read(answer: Json, count: int) -> list[Part | None]:
    """Return the parts of a composite answer by the numbers in their names."""
    found: list[Part | None] = [None] * count
    items = answer.get("compositeResponse") if isinstance(answer, dict) else None
    seen: set[int] = set()
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        name, status = item.get("referenceId"), item.get("httpStatusCode")
        if not isinstance(name, str) or not re.fullmatch(r"p\d{1,2}", name):
            continue
        number = int(name[1:])
        if number >= count or not isinstance(status, int):
            continue
        # A number that comes twice says nothing certain about its part.
        found[number] = None if number in seen else Part(status, item.get("body"))
        seen.add(number)
    return found
