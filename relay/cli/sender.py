"""`relay sender`: what was found about senders, and why a mail may be stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli.entry import RelayGroup, open_store, run, settings, since_option
from relay.cli.output import json_option, print_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping

_SINCE: Final = timedelta(days=7)
_OUTCOMES: Final = ("accept", "flag", "hold", "refuse", "retry")


@click.group(cls=RelayGroup)
def sender() -> None:
    """Look at what proves the senders of mail."""


@sender.command()
@since_option("Only mail since then: 2h, 7d, or a date; default: 7d.")
@json_option
def report(since: datetime | None, *, as_json: bool) -> None:
    """Count by domain what became of mail, and what a watched policy would stop.

    A stricter policy is watched without any effect after: relay settings set
    sender.policy aligned --monitor-only.
    """
    loaded = settings()
    from_ = since or datetime.now(UTC) - _SINCE

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            return await store.sender.report(from_)

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        [
            "domain",
            "mails",
            *_OUTCOMES,
            "causes",
            "watched policy",
            "would stop",
            "for",
        ],
        (
            (
                row["domain"] or "(no address)",
                row["mails"],
                *(row[name] or "" for name in _OUTCOMES),
                _counts(row["causes"]),
                *_watched(row["monitor"]),
            )
            for row in rows
        ),
        whole=["domain", "mails", "would stop"],
        wrap=True,
        empty="No mail was judged in that time.",
    )


@sender.command()
@json_option
def causes(*, as_json: bool) -> None:
    """List the causes for which a mail is refused or held, with what helps."""
    from relay.sender import CAUSES  # noqa: PLC0415 - reads mail, 0.1 s

    if as_json:
        print_json(cause.as_json() for cause in CAUSES.values())
        return
    table(
        ["cause", "reason", "status", "says", "source"],
        (
            (one.number, one.reason, one.enhanced, one.plain, one.source)
            for one in CAUSES.values()
        ),
        whole=["cause", "reason", "status"],
        wrap=True,
    )


def _counts(causes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(causes.items()))


def _watched(monitor: Mapping[str, Any] | None) -> tuple[object, object, str]:
    if monitor is None:
        return "", "", ""
    stopped = f"{monitor['stopped']} of {monitor['mails']}"
    return monitor["policy"], stopped, _counts(monitor["causes"])
