"""Every operator's mistake gives its line, word for word, and its exit status.

Each folder of `mistakes/` holds `relay.toml`, the `expected` line, the exit `status`,
and, where one is needed, an `environment` of NAME=VALUE lines. A new case is a new
folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config import load
from relay.core.errors import ConfigError

MISTAKES = Path(__file__).parent / "mistakes"


def environment(case):
    """Return what the case puts into the environment."""
    file = case / "environment"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize(
    "case", sorted(MISTAKES.iterdir()), ids=lambda case: str(case.name)
)
def test_mistake_gives_its_line(case, monkeypatch):
    """The line names key, value and mend, holds no secret, and is one line."""
    monkeypatch.chdir(case)
    with pytest.raises(ConfigError) as caught:
        load(environ=environment(case))
    text = str(caught.value)
    assert text == (case / "expected").read_text("utf-8").rstrip("\n")
    assert text.isprintable()
    assert "hush" not in text
