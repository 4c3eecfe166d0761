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

    several: Literal["all", "oldest", "newest", "most_activity", "mine"] = Field(
        default="all",
        description="Where several Contacts or Leads have the same address: log on "
        "all of them, the oldest, the newest, the one with the most Tasks and Events "
        "(most_activity; costs two more queries), or the oldest that the rep owns "
        "(mine; the oldest of all where the rep owns none).",
    )
    opportunities: Literal["all", "newest", "mine", "primary", "none"] = Field(
        default="all",
        description="Open Opportunities in which a Contact has a role: log on all of "
        "them, the newest of each Contact, those that the rep owns (mine), those where "
        "the Contact is the primary one, or none.",
    )
    internal_domains: tuple[InternalDomain, ...] = Field(
        default=("auto",),
        description="Domains of your own company, a list: people there are not looked "
        "up, and mail among them alone is not logged. auto: the domains of the active "
        "users' own addresses, except those of free mail, such as gmail.com.",
    )
