"""The relay's command as it was called, so that a printed line works when copied."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

_NAME: Final = "relay"


def called_as() -> str:
    """Return what to type for `relay`: its name where PATH finds it, else its path.

    A path inside the working directory is relative, such as `.venv/bin/relay`. Started
    as a module, it is this interpreter with `-m relay`.
    """
    program = Path(sys.argv[0])
    if program.name != _NAME or not os.access(program, os.X_OK) or program.is_dir():
        return f"{shlex.quote(_short(Path(sys.executable)))} -m {_NAME}"
    found = shutil.which(_NAME)
    if found and Path(found).samefile(program):
        return _NAME
    return shlex.quote(_short(program))


def _short(program: Path) -> str:
    # Not resolved: the link in a virtual environment is what finds its packages.
    absolute = program.absolute()
    here = Path.cwd()
    if not absolute.is_relative_to(here):
        return str(absolute)
    relative = str(absolute.relative_to(here))
    return relative if "/" in relative else f"./{relative}"
