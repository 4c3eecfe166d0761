"""`config.example.toml` says what the code says."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from relay.config import ListenerSettings, Settings, load
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
    table = tomllib.loads(uncommented(EXAMPLE.read_text("utf-8")))
    wanted = {name: all_keys(model) for name, model in sections(Settings).items()}
    assert {name: sorted(keys) for name, keys in table.items()} == {
        name: sorted(keys) for name, keys in wanted.items()
    }


def uncommented(text):
    """Return the example with its tables, which are comments, in force."""
    lines = text.splitlines()
    inside = False
    for at, line in enumerate(lines):
        inside = line.startswith("# [[") or (inside and line != "")
        if inside or line.endswith(" = {}"):
            lines[at] = line.removeprefix("# ")
    return "\n".join(lines)


def test_example_of_a_listener_loads(tmp_path):
    """Each key of a listener stands in its table, and means what it says there."""
    text = uncommented(EXAMPLE.read_text("utf-8"))
    (row,) = tomllib.loads(text)["smtp"]["listeners"]
    assert list(row) == list(ListenerSettings.model_fields)
    file = tmp_path / "relay.toml"
    file.write_text(text, "utf-8")
    (listener,) = load(file, {}).smtp.listeners
    assert listener == ListenerSettings(address="0.0.0.0:465")


def test_example_loads_as_the_defaults(monkeypatch):
    """Whoever copies the file unchanged gets what they had without it."""
    monkeypatch.chdir(EXAMPLE.parent)
    assert load(Path(EXAMPLE.name), {}).model_dump() == Settings().model_dump()
