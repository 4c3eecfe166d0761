"""The store as the checks find it: open, not made yet, or failing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.config import Settings
from relay.core.errors import StoreUnavailable
from relay.diagnose import Level, machine, people
from relay.diagnose.machine import StoreAccess

if TYPE_CHECKING:
    from pathlib import Path


def test_a_store_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    """It will be made at the first start; a check makes none."""
    settings = Settings(store={"url": f"sqlite:///{tmp_path}/relay.db"})  # type: ignore[arg-type]
    found = asyncio.run(machine.store(settings, StoreAccess(None)))
    assert [(one.area, one.level) for one in found] == [
        ("store", Level.OK),
        ("disk", Level.OK),
        ("queue", Level.OK),
    ]
    (users,) = asyncio.run(people.active(StoreAccess(None)))
    assert users.hint.startswith("relay user add")
    assert not list(tmp_path.iterdir())


def test_a_failing_store_is_one_failure() -> None:
    """Each check that needs it knows why; only one line says that it fails."""
    access = StoreAccess(None, StoreUnavailable("it hangs"))
    with pytest.raises(StoreUnavailable):
        access.require()
    (found,) = asyncio.run(machine.store(Settings(), access))
    assert (found.level, found.text) == (Level.FAIL, "it hangs")
    assert asyncio.run(people.active(access)) == []
