"""What a saved mail shows of its sender: no DNS is asked, and no peer is known.

SPF judges the server that hands a mail over, which no file has. Of a DKIM signature the
file shows who made it and what it covers; whether it is good says a key in DNS, when
the mail comes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.addresses import domain_of
from relay.mail import header_fields
from relay.sender.dkim import read_signatures

if TYPE_CHECKING:
    from datetime import datetime

NO_SPF: Final = "SPF cannot be judged from a file: it asks who hands the mail over"


def known_offline(raw: bytes, author: str, now: datetime) -> list[str]:
    """Say what the header of a mail shows of its sender, a sentence for each thing.

    Args:
        raw: The mail.
        author: The key of the address that is judged.
        now: For signatures that have expired.
    """
    head = raw[: _end(raw)]
    _, read = read_signatures(head, domain_of(author), now)
    lines = []
    for one in read:
        found = one.found
        whose = f"DKIM signature of {found.domain or 'an unknown domain'}"
        if not one.is_open:
            lines.append(f"{whose}: does not count: {found.text}")
        elif found.missing:
            left = ", ".join(found.missing)
            lines.append(f"{whose}: does not cover {left}, so it proves nothing")
        else:
            lines.append(f"{whose}: covers all that is used; DNS says if it is good")
    if not read:
        lines.append("not signed (DKIM): SPF alone can prove the author")
    if any(name == "authentication-results" for name, _ in header_fields(head)):
        lines.append(
            "Authentication-Results in the file counts only from a configured server"
        )
    return [*lines, NO_SPF]


def _end(raw: bytes) -> int:
    """Return where the header block ends."""
    for mark in (b"\r\n\r\n", b"\n\n"):
        found = raw.find(mark)
        if found >= 0:
            return found + len(mark) // 2
    return len(raw)
