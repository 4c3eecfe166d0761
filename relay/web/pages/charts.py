"""Charts as values: what their templates draw, and what stands in the table behind."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.console.figures import Figures
    from relay.web.pages.render import Reader

_TICKS = 6


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        labels: What each value stands for, such as an hour.
        series: Label, tone and values of each part.
        ticks: Some of the labels, evenly apart.
        top: The value at the upper edge.
    """

    labels: tuple[str, ...]
    series: tuple[tuple[str, str, tuple[float | None, ...]], ...]
    ticks: tuple[str, ...]
    top: float


def upper(value: float) -> float:
    """Return a round number that a value does not exceed: 1, 2 or 5 and zeros."""
    if value <= 1:
        return 1
    size = 10.0 ** int(log10(value))
    return next(
        size * step for step in (1, 2, 5, 10) if value <= size * step * (1 + 1e-9)
    )


def of_figures(found: Figures, reader: Reader) -> dict[str, Chart]:
    """Return the charts of the last hours, by name."""
    _ = reader.gettext
    labels = tuple(reader.time(one.at, "HH:mm") for one in found.hours)
    every = max(1, ceil(len(labels) / _TICKS))
    ticks = labels[::every]
    parts = (
        ("logged", _("logged"), "good"),
        ("waiting", _("waiting"), "wait"),
        ("left_out", _("left out"), "quiet"),
        ("failed", _("dead"), "ask"),
        ("refused", _("refused"), "bad"),
    )
    outcomes = tuple(
        (label, tone, tuple(one.outcomes[name] for one in found.hours))
        for name, label, tone in parts
    )
    took = (
        (
            _("half of the mails"),
            "good",
            tuple(_rounded(one.half_s) for one in found.hours),
        ),
        (
            _("95 of 100 mails"),
            "wait",
            tuple(_rounded(one.most_s) for one in found.hours),
        ),
    )
    spent: list[float] = []
    for one in found.hours:
        spent.append((spent[-1] if spent else 0) + one.calls)
    calls = ((_("calls of the relay"), "wait", tuple(spent)),)
    return {
        "outcomes": Chart(labels, outcomes, ticks, upper(_highest(outcomes))),
        "took": Chart(labels, took, ticks, upper(_most(took))),
        "calls": Chart(labels, calls, ticks, upper(max(spent, default=0))),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _highest(series: Sequence[tuple[str, str, tuple[float, ...]]]) -> float:
    """Return the height of the highest stack."""
    return max(
        (sum(one) for one in zip(*(s[2] for s in series), strict=True)), default=0
    )


def _most(series: Sequence[tuple[str, str, tuple[float | None, ...]]]) -> float:
    return max((v for one in series for v in one[2] if v is not None), default=0)
