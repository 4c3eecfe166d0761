"""By which way a mail reaches Salesforce: its API, or Email to Salesforce (BCC).

An admin decides for everybody, or leaves it to each user. By the API the relay writes
the records itself. By BCC it sends a copy of the mail to the user's own address of
Email to Salesforce, and Salesforce makes of it what it will.

Source: rules R5, R7, R8, D25.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.core.directory import Directory, User


class LogBy(StrEnum):
    """The way of one user's mail."""

    API = "api"
    BCC = "bcc"


class WhoDecides(StrEnum):
    """Who says which way it is."""

    EACH_USER = "each_user"
    API_ONLY = "api_only"
    BCC_ONLY = "bcc_only"


WHO_DECIDES: Final = "log_by"
"""Key of the setting by which an admin decides."""

_FIXED: Final = {WhoDecides.API_ONLY: LogBy.API, WhoDecides.BCC_ONLY: LogBy.BCC}


def who_decides(directory: Directory) -> WhoDecides:
    """Return who decides; each user, until an admin has said otherwise."""
    value = directory.settings.get(WHO_DECIDES)
    known = {one.value for one in WhoDecides}
    return WhoDecides(value) if value in known else WhoDecides.EACH_USER


def way_of(directory: Directory, user: User) -> LogBy:
    """Return the way of a user's mail; the API, where nobody has chosen."""
    fixed = _FIXED.get(who_decides(directory))
    return fixed or LogBy(user.log_by or LogBy.API)


def by_bcc(directory: Directory) -> frozenset[int] | None:
    """Return the users whose mail goes by BCC; None: everybody's, and all other mail.

    Removed users are among them: mail of theirs that was accepted is still logged.
    """
    decides = who_decides(directory)
    if decides is WhoDecides.BCC_ONLY:
        return None
    if decides is WhoDecides.API_ONLY:
        return frozenset()
    return frozenset(
        user.id for user in directory.users.values() if user.log_by == LogBy.BCC
    )
