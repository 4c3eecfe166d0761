"""The table of commands is true, and starting is cheap."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from relay.cli import COMMANDS, main
from relay.cli.entry import RelayGroup, actor, config_path
from relay.core.errors import ConfigError, NotFound, StoreUnavailable


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_of_the_table_is_there(name: str) -> None:
    """Each line of the help leads to a command with help of its own."""
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"relay {name}" in result.output or f"main {name}" in result.output


@pytest.mark.parametrize(
    ("arguments", "status"),
    [([], 2), (["--help"], 0), (["--version"], 0), (["nonsense"], 2), (["user"], 2)],
)
def test_statuses_of_usage(arguments: list[str], status: int) -> None:
    """Wrong usage is 2, help that was asked for is 0."""
    assert CliRunner().invoke(main, arguments).exit_code == status


def test_usage_errors_are_one_line_with_a_mend() -> None:
    """A missing argument is said in one line on stderr that names the help."""
    result = CliRunner().invoke(main, ["user", "add"], prog_name="relay")
    assert result.exit_code == 2
    assert (
        result.stderr == "relay: Missing argument 'NAME' (see relay user add --help)\n"
    )
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("smtp.listen = 1: no"), 2),
        (NotFound("no such user"), 1),
        (StoreUnavailable("locked"), 1),
        (OSError(98, "Address already in use"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_a_line_and_a_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is foreseen never shows a traceback."""
    command = click.Command("x", callback=lambda: (_ for _ in ()).throw(error))
    monkeypatch.setattr(RelayGroup, "get_command", lambda *_: command)
    result = CliRunner().invoke(main, ["x"])
    assert result.exit_code == status
    assert result.stderr.count("\n") <= 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "a.toml", "user", "probe"],
        ["user", "--config", "a.toml", "probe"],
        ["user", "probe", "--config", "a.toml"],
        ["--config", "b.toml", "user", "probe", "--config", "a.toml"],
    ],
)
def test_config_stands_anywhere(arguments: list[str]) -> None:
    """`--config` before or after the subcommand is the same; the last one counts."""
    from relay.cli.user import user

    seen: list[Path | None] = []

    @user.command("probe")
    def _probe() -> None:
        seen.append(config_path())

    try:
        result = CliRunner().invoke(main, arguments)
    finally:
        del user.commands["probe"]
    assert result.exit_code == 0, result.output
    assert seen == [Path("a.toml")]


ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize("variable", ["LOGNAME", "USER", "LNAME", "USERNAME"])
def test_the_author_of_a_change_is_the_real_user(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of the environment must not sign a change with another's name."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv(variable, "boss")
    assert actor() == f"cli:{ME}"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("ada", f"cli:{ME} (SUDO_USER ada)"),
        (ME, f"cli:{ME}"),
        ("", f"cli:{ME}"),
        ("a\x1b[31m", f"cli:{ME}"),
        ("a" * 65, f"cli:{ME}"),
    ],
)
def test_the_user_of_sudo_stands_beside_the_real_one(
    told: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says who was behind a service user, and that it is only said."""
    monkeypatch.setenv("SUDO_USER", told)
    assert actor() == shown


def test_a_number_without_a_name_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the password file may not know the user."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654321)
    assert actor() == "cli:uid 987654321"
