"""Settings are checked against the org that they name parts of."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from relay.core.org import OrgSchema
from relay.salesforce import fits


class _Schema:
    """Describes an org with these objects, and counts how often it is asked."""

    def __init__(self, *objects: str) -> None:
        self.objects = objects
        self.asked = 0

    async def get(self, **_also: object) -> OrgSchema:
        self.asked += 1
        return OrgSchema({name: {} for name in self.objects})


def _org(*objects: str) -> Any:
    return SimpleNamespace(schema=_Schema(*objects))


@pytest.mark.parametrize(
    ("objects", "problem"),
    [
        (("Task", "Event"), ""),
        (("Task",), "the integration user may not read Event"),
        ((), "the integration user may not read Task and Event"),
    ],
)
def test_counting_needs_sight_of_tasks_and_events(
    objects: tuple[str, ...], problem: str
) -> None:
    """most_activity counts both; without one of them it would choose wrongly."""
    asked = fits.problem_of(_org(*objects), "match.several", "most_activity")
    assert asyncio.run(asked) == problem


def test_another_value_asks_for_nothing() -> None:
    """Only the rule that counts needs what is counted; the org is not asked."""
    org = _org()
    values = {"match.several": "all", "match.unknown": "x", "match.internal_domains": 0}
    assert asyncio.run(fits.problems_of(org, values)) == []
    assert org.schema.asked == 0


def test_each_problem_has_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the settings; an empty value is never asked about."""

    async def wrong(_: Any, value: Any) -> str:
        return f"no {value}"

    monkeypatch.setitem(fits.CHECKS, "match.one", wrong)
    monkeypatch.setitem(fits.CHECKS, "match.two", wrong)
    values = {"match.two": "b", "match.one": "a"}
    found = asyncio.run(fits.problems_of(_org(), values))
    assert found == [("match.two", "no b"), ("match.one", "no a")]
    assert asyncio.run(fits.problem_of(_org(), "match.one", "")) == ""
