"""A finding: one line of `relay check`, as a value that CLI, API and console show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.core.errors import ConfigError


class Level(StrEnum):
    """How bad a finding is; a warning keeps no mail from being logged."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        level: How bad it is.
        area: The thing that was looked at, such as `store` or `smtp 0.0.0.0:25`.
        text: How it is, in a sentence for people.
        hint: The step that helps; empty where all is well.
    """

    level: Level
    area: str
    text: str
    hint: str = ""

    @property
    def word(self) -> str:
        """Return the level for people; a failure stands out without colour, too."""
        return "FAIL" if self.level is Level.FAIL else self.level.value

    def as_json(self) -> dict[str, str]:
        """Return the stable names that `relay check --json` prints.

        `mend` is the name that `hint` had first; scripts may still read it.
        """
        return {
            "check": self.area,
            "result": self.level.value,
            "detail": self.text,
            "hint": self.hint,
            "mend": self.hint,
        }


def ok(area: str, text: str) -> Finding:
    """Return the finding of a check that found what it looked for."""
    return Finding(Level.OK, area, text)


def warn(area: str, text: str, hint: str) -> Finding:
    """Return the finding of a check that found something to look at."""
    return Finding(Level.WARN, area, text, hint)


def fail(area: str, text: str, hint: str) -> Finding:
    """Return the finding of a check that found what keeps the relay from its job."""
    return Finding(Level.FAIL, area, text, hint)


def misconfigured(area: str, error: ConfigError | str) -> Finding:
    """Return the failure for a line of the form `problem; hint`."""
    problem, _, hint = str(error).partition("; ")
    return fail(area, problem, hint or "correct it in the settings file")
