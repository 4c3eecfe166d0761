"""Settings of what a mail is logged on: whom to look for, which records to choose.

An admin changes every key of this section while the relay runs (`relay settings set
match.KEY`): what the store holds stands before the file (`relay.match.Context`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from relay.config.values import InternalDomain, Section


class MatchSettings(Section):
    """How the relay chooses records."""

    several: Literal["all", "oldest", "most_activity"] = Field(
        default="all",
        description="Where several Contacts or Leads have the same address: log on "
        "all of them, the oldest, or the one with the most Tasks and Events "
        "(most_activity; costs two more queries).",
    )
    internal_domains: tuple[InternalDomain, ...] = Field(
        default=("auto",),
        description="Domains of your own company, a list: people there are not looked "
        "up, and mail among them alone is not logged. auto: the domains of the active "
        "users' own addresses, except those of free mail, such as gmail.com.",
    )
