"""How every command begins and ends: its options, settings, store and exit status.

Promises: `--config` stands before or after the subcommand; a subcommand's module is
imported only when it is asked for; a failure that can be foreseen is one line on stderr
and the right exit status, never a traceback.
"""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar

import click

from relay.core.errors import ConfigError, InvalidInput, RelayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from relay.config import Settings
    from relay.store import Store

T = TypeVar("T")
FC = TypeVar("FC", bound="Callable[..., Any] | click.Command")

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
"""What shells report for a program that Ctrl-C ended."""

_CONFIG: Final = "relay.config"
_LONGEST_USER: Final = 64
"""Characters of a user name of the system that the audit keeps."""


class LazyCommand(NamedTuple):
    """Where a command lives, and its line in `relay --help`."""

    module: str
    attribute: str
    help: str


class Failure(click.ClickException):
    """What was asked for failed; the sentence says why, and has a hint."""

    exit_code = FAILED


def checked(read: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a callback that reads a parameter with a function of `relay.admin`.

    Its `InvalidInput` becomes a usage error that names the parameter.
    """

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except InvalidInput as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def since_option(text: str, metavar: str = "T") -> Callable[[FC], FC]:
    """Return the option `--since`, which gives a time in UTC."""

    def read(value: str) -> datetime:
        from relay.admin.inputs import since  # noqa: PLC0415 - `relay --help` has none

        return since(value, datetime.now(UTC))

    return click.option("--since", metavar=metavar, callback=checked(read), help=text)


def _remember_config(
    ctx: click.Context, _param: click.Parameter, value: Path | None
) -> None:
    if value is not None:
        # `meta` is shared by a command and all its parents.
        ctx.meta[_CONFIG] = value


def config_path() -> Path | None:
    """Return the settings file: what `--config` named, or else what is found."""
    from relay.config.sources import settings_file  # noqa: PLC0415 - pydantic

    path: Path | None = click.get_current_context().meta.get(_CONFIG)
    return settings_file(path, os.environ)


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_remember_config,
        help="Settings file; else $RELAY_CONFIG, relay.toml in this folder, "
        "/etc/relay/relay.toml.",
    )


class RelayCommand(click.Command):
    """A command that takes `--config`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the option to whatever the command has."""
        super().__init__(*args, **kwargs)
        self.params.append(_config_option())


class RelayGroup(click.Group):
    """A group whose commands take `--config`, as it does itself."""

    command_class = RelayCommand

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, LazyCommand] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the table of commands that are imported when they are asked for."""
        super().__init__(*args, **kwargs)
        self.params.append(_config_option())
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command of the table; an unknown name gives None."""
        place = self._lazy.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        found = getattr(import_module(f"relay.cli.{place.module}"), place.attribute)
        if not isinstance(found, click.Command):
            text = f"relay.cli.{place.module} has no command {place.attribute}"
            raise TypeError(text)
        return found

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the list of commands without importing them."""
        if not self._lazy:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in self._lazy.items()])


class RootGroup(RelayGroup):
    """The command `relay` itself: turns errors into a line and an exit status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end the process with the status of design section 7."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        _print_any_text()
        try:
            status = super().main(
                args, prog_name, complete_var, standalone_mode=False, **extra
            )
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            _leave(_usage(error), error.exit_code)
        except click.ClickException as error:
            _leave(error.format_message(), error.exit_code)
        except (ConfigError, InvalidInput) as error:
            _leave(str(error), USAGE)
        except RelayError as error:
            _leave(str(error), FAILED)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except OSError as error:
            _leave(_os_error(error), FAILED)
        sys.exit(status if isinstance(status, int) else 0)


def _leave(text: str, status: int) -> NoReturn:
    click.echo(f"relay: {' '.join(text.split())}", err=True)
    sys.exit(status)


def _usage(error: click.UsageError) -> str:
    text = error.format_message().rstrip(".")
    if error.ctx is None:
        return text
    return f"{text} (see {error.ctx.command_path} --help)"


def _os_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _print_any_text() -> None:
    """Let a subject in Japanese not break a listing on a terminal without it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


# ------------------------------------------------------------------ settings and store


def settings(*, quiet: bool = True) -> Settings:
    """Return the settings that `--config` or its defaults name.

    Args:
        quiet: Log errors alone: the command's own output is what people want.

    Raises:
        ConfigError: One of them is wrong, or there are none at all.
    """
    from relay.config import load  # noqa: PLC0415 - pydantic costs 0.2 s
    from relay.config.sources import (  # noqa: PLC0415
        DEFAULT_FILE,
        NAMED_BY,
        NO_SETTINGS,
        PREFIX,
        SYSTEM_FILE,
    )
    from relay.telemetry import configure_logging  # noqa: PLC0415

    path = config_path()
    loaded = load(path)
    said = path or any(
        n.startswith(PREFIX) and n not in NO_SETTINGS for n in os.environ
    )
    if quiet and not said:
        # In the wrong folder a command would make an empty store and look into it.
        text = (
            f"there is no {DEFAULT_FILE} in this folder, and no {SYSTEM_FILE}; "
            f"name one with --config or {NAMED_BY}, or begin one: "
            f"cp config.example.toml {DEFAULT_FILE}"
        )
        raise ConfigError(text)
    log = loaded.telemetry
    configure_logging(log.model_copy(update={"log_level": "error"}) if quiet else log)
    return loaded


@asynccontextmanager
async def open_store(loaded: Settings) -> AsyncIterator[Store]:
    """Open the store, and close it whatever happens.

    Raises:
        ConfigError: Its schema is not this version's.
        StoreUnavailable: It cannot be reached.
    """
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.store import Store  # noqa: PLC0415 - SQLAlchemy costs 0.4 s

    store = await Store.open(loaded.store, SystemClock())
    try:
        yield store
    finally:
        await store.close()


async def whole_id(store: Store, text: str) -> tuple[str, str]:
    """Return id and kind of a message or refusal; its first characters are enough.

    Raises:
        NotFound: No id begins so, or several do: they are named.
    """
    from relay.console.mails import whole_id as find  # noqa: PLC0415 - the same

    return await find(store, text)


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run one command's job in an event loop of its own."""
    import asyncio  # noqa: PLC0415 - `relay --help` needs none

    return asyncio.run(job)


def actor() -> str:
    """Return the name under which the store records the changes of this command.

    It is the user whom the kernel knows; LOGNAME and USER are variables that anybody
    sets. What sudo says of the person behind it is a variable too, so that it stands
    beside that name, never in its place.
    """
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        # A container may run under a number that no password file knows.
        name = f"uid {number}"
    behind = os.environ.get("SUDO_USER", "")
    told = behind.isprintable() and 0 < len(behind) <= _LONGEST_USER
    if not told or behind == name:
        return f"cli:{name}"
    return f"cli:{name} (SUDO_USER {behind})"
