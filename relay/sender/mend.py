"""The command that lets a refused sender in.

The address comes from a stranger and ends on an admin's command line. So one that a
shell or the command reads as anything but a single address has no command: `*@domain`
would let in a whole domain, a leading `-` would be an option.
"""

from __future__ import annotations

import re
from shlex import quote
from typing import Final

from relay.core.addresses import address_key

_PLAIN: Final = re.compile(r"[a-z0-9_][a-z0-9_.+=~%'&-]*@[a-z0-9-]+(\.[a-z0-9-]+)+")
"""What an address key looks like that nobody can misread."""


def acceptance(user_email: str, sender: str) -> str:
    """Return the command that accepts mail from `sender` for a user, or an empty text.

    Args:
        user_email: The user's own address.
        sender: The author of a mail that was refused, as written.
    """
    key = address_key(sender)
    if key is None or not _PLAIN.fullmatch(key):
        return ""
    return f"relay address add {quote(user_email)} {quote(key)}"
