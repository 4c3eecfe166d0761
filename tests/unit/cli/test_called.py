"""A printed command is one that works when it is copied."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from relay.cli.demo import called_as

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program called relay in an environment of this folder."""
    program = tmp_path / ".venv" / "bin" / "relay"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    return program


@pytest.mark.parametrize("called", [".venv/bin/relay", "{}/.venv/bin/relay"])
def test_a_path_is_shown_from_here(
    called: str, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout the command is .venv/bin/relay, however it was written."""
    monkeypatch.setattr(sys, "argv", [called.format(tmp_path)])
    assert called_as() == ".venv/bin/relay"


def test_from_elsewhere_it_is_the_whole_path(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path with a space is quoted for the shell."""
    (tmp_path / "a b").mkdir()
    moved = program.rename(tmp_path / "a b" / "relay")
    monkeypatch.setattr(sys, "argv", [str(moved)])
    monkeypatch.chdir("/")
    there = str(moved).lstrip("/")
    assert called_as() == f"'{there}'"


def test_a_name_that_path_finds_is_enough(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed relay is called by its name."""
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert called_as() == "relay"


def test_a_module_is_called_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a program it is the interpreter that has the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/somewhere/relay/__main__.py"])
    assert called_as() == f"{sys.executable} -m relay"
