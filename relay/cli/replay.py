"""Showing what a change of rules would do to past mail, for each command that can.

`relay explain --rules`, `relay settings set --preview` and `relay settings preset apply
--preview` all print here. Differences are printed as they are found, so that the work
may be long.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli.entry import Failure, checked, run
from relay.cli.output import (
    clean,
    json_line,
    moment,
)
from relay.core.filters import read_time
from relay.core.past import PastFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from relay.admin.rule_change import RuleChange
    from relay.config import Settings
    from relay.worker.replay import Difference, Outcome, Summary

    FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)

SINCE: Final = "7d"
_NAMED: Final = 5
"""Records and fields of one mail shown to people; --json has them all."""
_SAID: Final = {
    "newly_logged": "newly logged",
    "no_longer_logged": "no longer logged",
    "other_records": "on other records",
    "other_fields": "with other values",
    "other_reason": "not logged, for another reason",
}
LIMITS: Final = (
    "now and then are both decided by what Salesforce holds today, so that only the "
    "rules differ; 'in Salesforce' is what the relay has written for the mail, and "
    "stays, whatever the rules are."
)


def _time(text: str) -> datetime:
    return read_time(text, datetime.now(UTC))


def _end(text: str) -> datetime:
    return read_time(text, datetime.now(UTC), end=True)


def past_options(command: FC) -> FC:
    """Add the options that say which mail is looked at."""
    for option in (
        click.option("--dry", is_flag=True, help="Only count the API calls needed."),
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            help="Look at so many of the newest mails at most.",
        ),
        click.option(
            "--until",
            metavar="T",
            callback=checked(_end),
            help="Only mail received before then; a day is included.",
        ),
        click.option(
            "--since",
            metavar="T",
            callback=checked(_time),
            help=f"Only mail received since then, such as 3d; default: {SINCE}.",
        ),
    ):
        command = option(command)
    return command


def show(
    loaded: Settings,
    change: RuleChange,
    *,
    since: datetime | None,
    until: datetime | None,
    who: str | None = None,
    limit: int | None = None,
    dry: bool = False,
    as_json: bool = False,
) -> None:
    """Print what a change would do to past mail; nothing is written.

    Raises:
        Failure: It stopped before its end; what was found is printed.
    """
    from relay import app  # noqa: PLC0415 - brings every part of the relay

    since = since or _time(SINCE)
    if until is not None and until <= since:
        raise click.UsageError("--until is not later than --since")
    wanted = PastFilter(since, until)

    async def job() -> Summary:
        async with app.replaying(
            loaded, change, wanted, who=who, limit=limit, dry=dry
        ) as replay:
            async for page in replay.pages():
                if not dry:
                    for one in page.differences:
                        _print(one, as_json=as_json)
                _progress(page.summary)
            return replay.summary

    summary = run(job())
    if dry:
        _print_estimate(summary, as_json=as_json)
        return
    if as_json:
        click.echo(json_line(summary.as_json()))
    else:
        for line in _summed_up(summary):
            click.echo(line)
    if summary.stopped:
        until_text = summary.next_before.isoformat() if summary.next_before else ""
        problem = f"stopped early: {summary.stopped}; go on with --until {until_text}"
        raise Failure(problem)


def _progress(summary: Summary) -> None:
    """Say on a terminal how far it is; a file of errors is not filled with it."""
    if not sys.stderr.isatty():
        return
    done = summary.looked_at + summary.gone + summary.unreadable
    text = (
        f"\r{done} of {summary.mails} mails, {summary.differ} differ, "
        f"{summary.calls} API calls"
    )
    click.echo(text, err=True, nl=done == summary.mails)


def _print_estimate(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        row = {"row": "estimate", "mails": summary.mails, "api_calls": summary.calls}
        click.echo(json_line(row))
        return
    click.echo(
        f"{_mails(summary.mails)}: this asks Salesforce about {summary.calls} API "
        "calls. Nothing was asked yet."
    )


def _print(one: Difference, *, as_json: bool) -> None:
    if as_json:
        click.echo(json_line(one.as_json()))
        return
    click.echo(
        f"{one.message_id}  {moment(one.received_at)}  {clean(', '.join(one.users))}  "
        f"{clean(one.subject)}"
    )
    said = _SAID[str(one.kind)]
    if one.kind == "other_fields":
        said += f": {_some(one.fields)}"
    click.secho(f"  {said}", bold=True)
    click.echo(f"    now:           {_outcome(one.before)}")
    click.echo(f"    then:          {_outcome(one.after)}")
    written = [f"{w.object} {w.id}".rstrip() for w in one.written]
    state, reason = one.happened
    shown = _some(written) if written else f"nothing ({state} {reason}".rstrip() + ")"
    click.echo(f"    in Salesforce: {clean(shown)}")
    click.echo()


def _outcome(outcome: Outcome) -> str:
    if not outcome.logged:
        return clean(f"{outcome.state}: {outcome.detail}")
    named = [
        f"{sobject} {sfid} {name} ({rule})"
        for sobject, sfid, name, rule in outcome.records
    ]
    return clean(f"logged on {_some(named)}")


def _some(texts: list[str] | tuple[str, ...]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _mails(count: int) -> str:
    return "1 mail" if count == 1 else f"{count} mails"


def _summed_up(summary: Summary) -> Iterator[str]:
    kinds = ", ".join(
        f"{count} {_SAID[str(kind)]}" for kind, count in sorted(summary.kinds.items())
    )
    differ = f"{summary.differ} differ: {kinds}" if kinds else "none differs"
    yield f"{_mails(summary.looked_at)} looked at, {differ}."
    if summary.gone:
        verb = "is" if summary.gone == 1 else "are"
        yield f"{_mails(summary.gone)} {verb} no longer in the store."
    if summary.unreadable:
        yield f"{_mails(summary.unreadable)} cannot be read."
    yield f"Salesforce was asked with {summary.calls} API calls; nothing was written."
    if summary.differ:
        yield LIMITS[:1].upper() + LIMITS[1:]
