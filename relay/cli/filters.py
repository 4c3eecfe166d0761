"""The options that say which mails are meant, the same for each command.

They are the conditions of `relay.core.filters`, and so is the argument FILTER: what is
typed here means the same in the API and on a page.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from relay.cli.entry import checked
from relay.core.filters import STATES, Filter, parse, read_condition, read_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

F = TypeVar("F", bound="Callable[..., Any]")

TIMES: Final = "10m, 2h, 3d ago, yesterday, or a time such as 2026-01-31T09:00"
_LISTS: Final = {
    "state": "Only in this state; 'refused' lists refusals.",
    "user": "Only of this user.",
    "address": "Only with this address as sender or recipient.",
    "domain": "Only from senders in this domain.",
    "text": "Only with this text in the subject, or with the people.",
    "reason": "Only with this reason: why it was refused, or how it ended.",
    "cause": "Only with this cause against the sender: relay sender causes.",
    "message_id": "Only with this Message-ID header.",
    "id": "Only with an id that begins so.",
}


def filter_options(
    *,
    words: bool = True,
    texts: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Give a command the options of a filter; it gets `wanted`, a `Filter`.

    An option that is given twice means any of both.

    Args:
        words: Also the argument FILTER.
        texts: Other helps, by the attribute of `Filter`.
        states: Other metavars.
    """

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            now = datetime.now(UTC)
            wanted = Filter(
                **{name: tuple(kwargs.pop(f"only_{name}")) for name in _LISTS},
                since=kwargs.pop("since"),
                until=kwargs.pop("until"),
            )
            for text in kwargs.pop("words") if words else ():
                wanted = parse(text, now).merged(wanted)
            return command(*args, wanted=wanted, **kwargs)

        argument = click.argument(
            "words", metavar="[FILTER]…", nargs=-1, callback=_readable
        )
        options: list[Callable[[Any], Any]] = [
            *([argument] if words else []),
            *(
                _option(name, (texts or {}).get(name, text), (states or {}).get(name))
                for name, text in _LISTS.items()
            ),
            time_option("--since", f"Only since then: {TIMES}."),
            time_option("--until", f"Only before then: {TIMES}; a day is included."),
        ]
        decorated: Any = wrapped
        for option in reversed(options):
            decorated = option(decorated)
        found: F = decorated
        return found

    return decorate


def time_option(name: str, text: str) -> Callable[[Any], Any]:
    """Return an option that gives a time in UTC; of `--until` a day is included."""

    def read(value: str) -> datetime:
        return read_time(value, datetime.now(UTC), end=name == "--until")

    return click.option(name, metavar="T", callback=checked(read), help=text)


def _option(name: str, text: str, metavar: str | None) -> Callable[[Any], Any]:
    kind = click.Choice(STATES) if name == "state" else None
    return click.option(
        f"--{name.replace('_', '-')}",
        f"only_{name}",
        multiple=True,
        type=kind,
        metavar=metavar or (None if kind else name.rpartition("_")[2].upper()),
        callback=_each(name),
        help=text,
    )


def _each(name: str) -> Callable[..., Any]:
    read = checked(functools.partial(read_condition, name))

    def callback(
        ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
    ) -> tuple[Any, ...]:
        return tuple(read(ctx, param, value) for value in values)

    return callback


def _readable(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse a filter that cannot be read, as a wrong use of the command."""
    for value in values:
        checked(functools.partial(parse, now=datetime.now(UTC)))(ctx, param, value)
    return values
