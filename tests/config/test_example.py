"""`config.example.toml` says what the code says."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from relay.config import Settings, load
from relay.config.sources import all_keys, sections

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_example_is_what_the_command_prints():
    """The checked-in file is generated; `make example` writes it anew."""
    printed = subprocess.run(
        [sys.executable, "-m", "relay.config"], capture_output=True, check=True
    )
    assert EXAMPLE.read_bytes() == printed.stdout


def test_example_holds_every_key_and_nothing_else():
    """Each key of the code stands in the file under its section."""
    table = tomllib.loads(EXAMPLE.read_text("utf-8"))
    wanted = {name: all_keys(model) for name, model in sections(Settings).items()}
    assert {name: sorted(keys) for name, keys in table.items()} == {
        name: sorted(keys) for name, keys in wanted.items()
    }


def test_example_loads_as_the_defaults():
    """Whoever copies the file unchanged gets what they had without it."""
    assert load(EXAMPLE, {}).model_dump() == Settings().model_dump()
