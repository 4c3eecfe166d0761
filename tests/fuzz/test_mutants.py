"""Mutated mails, many of them: nothing is raised, and none takes much.

The reader raises `UnparsableMessage` or nothing, takes no more than a second of CPU for
a mail, and no more than 256 MB: the kernel gives its process no more.

`make mutants` reads 20,000, as `make test-all` does; `MUTANTS` and `MUTANTS_SEED` say
how many, and which.
"""

from __future__ import annotations

import os

import pytest

from tests.fakes.read_mutants import read_in_child

COUNT = int(os.environ.get("MUTANTS", "20000"))
SEED = int(os.environ.get("MUTANTS_SEED", "1"))


@pytest.mark.timeout(120)
def test_a_slice_of_mutants_is_read() -> None:
    """1,500 of them, in every run."""
    held(1_500, SEED + 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_mutants_are_read() -> None:
    """As many as are asked for, at least 20,000 by default."""
    held(COUNT, SEED)


def held(count: int, seed: int) -> None:
    found = read_in_child(count, seed)
    assert found["failures"] == [], found
    assert found["mails"] == count
