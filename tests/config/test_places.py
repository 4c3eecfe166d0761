"""Where the settings file is looked for, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.config import load, sources
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("named", "variable", "here", "system")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Put a file in each place; each has another host name."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    found = {name: tmp_path / f"{name}.toml" for name in NAMES}
    found["here"] = here / "relay.toml"
    for name, path in found.items():
        path.write_text(f'[smtp]\nhostname = "{name}.example"\n', "utf-8")
    monkeypatch.setattr(sources, "SYSTEM_FILE", found["system"])
    return found


def _name(path: Path | None, environ: dict[str, str]) -> str:
    return str(load(path, environ).smtp.hostname).removesuffix(".example")


def test_the_nearest_file_counts(places: dict[str, Path]) -> None:
    """`--config`, then RELAY_CONFIG, then this folder, then /etc."""
    variable = {"RELAY_CONFIG": str(places["variable"])}
    assert _name(places["named"], variable) == "named"
    assert _name(None, variable) == "variable"
    assert _name(None, {"RELAY_CONFIG": ""}) == "here"
    places["here"].unlink()
    assert _name(None, {}) == "system"
    places["system"].unlink()
    assert sources.settings_file(None, {}) is None


def test_a_file_that_a_variable_names_must_be_there(places: dict[str, Path]) -> None:
    """A slip in its name must not lead to other settings."""
    with pytest.raises(ConfigError, match=r"no\.toml"):
        load(None, {"RELAY_CONFIG": str(places["named"].parent / "no.toml")})
