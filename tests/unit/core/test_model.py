"""The values: frozen, and with stable forms where something is stored or printed."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, datetime

import pytest

from relay.core import directory, files, model, queue
from relay.core.directory import Role, SkipKind
from relay.core.model import Place, Step
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState

VALUES = [
    value
    for module in (directory, files, model, queue)
    for _, value in inspect.getmembers(module, inspect.isclass)
    if dataclasses.is_dataclass(value)
]


@pytest.mark.parametrize("kind", VALUES)
def test_values_are_frozen_and_slotted(kind: type) -> None:
    """What one part hands to another cannot be changed behind its back."""
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)
    assert kind.__doc__


def test_a_step_prints_its_stable_names() -> None:
    """`relay show --json` has `at step result detail`, times in milliseconds."""
    at = datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC)
    assert Step(at, "sender", "accepted", "dkim").as_json() == {
        "at": "2026-03-04T12:00:00.123+00:00",
        "step": "sender",
        "result": "accepted",
        "detail": "dkim",
    }


def test_a_lease_owner_prints_all_that_tells_it_apart() -> None:
    """Host, boot, process, its start and the worker are in the stored form."""
    owner = LeaseOwner("host", "boot", 12, "99", "1")
    assert str(owner) == "host/boot/12/99/1"
    assert str(LeaseOwner("host", "boot", 12, "99")) == "host/boot/12/99/0"


def test_a_file_is_known_by_the_key_of_its_draft() -> None:
    """A row and its draft cannot have two keys."""
    draft = files.FileDraft(
        "k", 1, "a", "b", "n.pdf", "application/pdf", 3, "", 0, 3, "7bit"
    )
    at = datetime(2026, 3, 4, tzinfo=UTC)
    row = files.FileRow(1, draft, ActivityState.PLANNED, None, False, at)
    assert row.key == "k"


def test_words_are_lower_case() -> None:
    """Enumerations are stored and printed in lower case."""
    for word in (*Role, *SkipKind, *Place):
        assert str(word) == word.name.lower()
