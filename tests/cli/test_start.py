"""Starting is cheap, and `python -m relay` is the command."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from relay.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("command", [(), ("log",), ("show",), ("status",)])
def test_help_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    """Nobody waits for libraries that are not needed: a relay elsewhere has them."""
    heavy = {"pydantic", "sqlalchemy", "requests", "rich", "starlette", "cryptography"}
    code = (
        "import sys\n"
        "from relay.cli import main\n"
        f"try:\n    main([*{command!r}, '--help'], prog_name='relay')\n"
        f"except SystemExit:\n    print(sorted({heavy!r} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_module_is_the_command() -> None:
    """`python -m relay` works where no script is installed."""
    done = subprocess.run(
        [sys.executable, "-m", "relay", "user", "add"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "relay: Missing argument 'NAME' (see relay user add --help)\n"


def test_help_is_asked_for_in_two_ways() -> None:
    """`-h` is what many programs take; every command does."""
    for command in ([], ["user"], ["user", "add"], ["retry"]):
        short = CliRunner().invoke(main, [*command, "-h"], prog_name="relay")
        whole = CliRunner().invoke(main, [*command, "--help"], prog_name="relay")
        assert (short.exit_code, short.stdout) == (0, whole.stdout)
        assert "Usage: relay" in short.stdout


def test_help_names_the_states_that_a_command_takes() -> None:
    """Which ones it is possible for; a queued message is retried at once."""
    for command, states in (
        ("retry", "[queued|logged|unmatched|skipped|dead]"),
        ("hold", "[queued]"),
        ("release", "[held]"),
        ("discard", "[queued|unmatched|skipped|held|dead]"),
    ):
        shown = CliRunner().invoke(main, [command, "--help"]).stdout
        assert f"--state {states}" in shown


def test_the_wrong_folder_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any settings no command makes an empty store and looks into that."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["log"])
    assert result.exit_code == 2
    assert "relay.toml" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_is_no_error(relay: Any, ada: Any) -> None:
    """`relay log --json | head -1` ends without a traceback."""
    relay.put(*(f"Subject {number}" for number in range(300)))
    done = subprocess.run(
        f"{sys.executable} -m relay --config {relay.config} log --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    "command",
    [("import",), ("token", "add"), ("log",), ("explain",), ("exclude", "add")],
    ids=" ".join,
)
def test_help_calls_a_user_by_the_same_word(command: tuple[str, ...]) -> None:
    """What `relay user --help` explains as USER is called so wherever it is taken."""
    shown = CliRunner().invoke(main, [*command, "--help"], prog_name="relay").stdout
    assert "--user USER " in shown
