"""The settings of reminders that are kept in step with Tasks of Salesforce."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from relay.config.values import Count, CountOrZero, Seconds, Section

_Percent = Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)]


class RemindersSettings(Section):
    """Reminders in step with Salesforce tasks; of users who switch it on."""

    poll_s: Seconds = Field(
        default=55,
        description="Longest time until a change in Salesforce is seen, in seconds, "
        "on workdays from 7 to 19 where one of the users is, as long as the calls of a "
        "day are enough; at other times what is left of them is spread evenly.",
    )
    idle_poll_s: Seconds = Field(
        default=900,
        description="Longest time between two rounds at other times, in seconds, "
        "whatever working hours need; and between two rounds while mail tells that "
        "nothing was changed.",
    )
    push_s: Seconds = Field(
        default=10,
        description="Least time between two rounds that send changes made here, in "
        "seconds; they are sent within a minute while there are calls.",
    )
    calls_per_day: Count = Field(
        default=900,
        description="API calls in any 24 hours, for all users together, a count; "
        "reading uses 92 % of them at the most, the rest is for changes made here.",
    )
    conflict: Literal["later", "here", "salesforce"] = Field(
        default="later",
        description="Whose value holds where both sides changed the same field: that "
        "of the later change, that of the relay, or Salesforce's. Both are kept.",
    )
    brake_tasks: CountOrZero = Field(
        default=20,
        description="Tasks that one round may delete of a user, a count; more stop "
        "the sync of the user and wait for an answer.",
    )
    brake_percent: _Percent = Field(
        default=10.0,
        description="The same as a part of all tasks of the user, in percent; a "
        "handful (five) is never too many.",
    )
