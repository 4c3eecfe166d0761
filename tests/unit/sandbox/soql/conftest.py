from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.sandbox.soql import Result, SOQLError, parse, run
from tests.fakes.soql_source import MemorySource, sample

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def org() -> MemorySource:
    return sample()


@pytest.fixture
def ask(org: MemorySource) -> Callable[..., Result]:
    def ask(text: str, *, all_rows: bool = False) -> Result:
        return run(parse(text), org, all_rows=all_rows)

    return ask


@pytest.fixture
def names(ask: Callable[..., Result]) -> Callable[..., list[Any]]:
    """Run a query and return the first selected field of each record, sorted."""

    def names(text: str, *, all_rows: bool = False) -> list[Any]:
        records = ask(text, all_rows=all_rows).records
        return sorted(list(record.values())[1] for record in records)

    return names


@pytest.fixture
def refusal(ask: Callable[..., Result]) -> Callable[..., SOQLError]:
    """Run a query that must fail and return its error."""

    def refusal(text: str) -> SOQLError:
        with pytest.raises(SOQLError) as caught:
            ask(text)
        return caught.value

    return refusal
