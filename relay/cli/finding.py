"""One line of `relay check`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.core.errors import ConfigError


class Result(StrEnum):
    """How a check ended; a warning keeps no mail from being logged."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what mends it."""

    check: str
    result: Result
    detail: str
    mend: str = ""

    @property
    def shown(self) -> str:
        """Return the word for people; a failure stands out without colour, too."""
        return "FAIL" if self.result is Result.FAIL else self.result.value

    def as_json(self) -> dict[str, str]:
        """Return the stable names that `relay check --json` prints."""
        return {
            "check": self.check,
            "result": self.result.value,
            "detail": self.detail,
            "mend": self.mend,
        }


def ok(check: str, detail: str) -> Finding:
    """Return a check that found what it looked for."""
    return Finding(check, Result.OK, detail)


def warn(check: str, detail: str, mend: str) -> Finding:
    """Return a check that found something to look at."""
    return Finding(check, Result.WARN, detail, mend)


def fail(check: str, detail: str, mend: str) -> Finding:
    """Return a check that found what keeps the relay from its job."""
    return Finding(check, Result.FAIL, detail, mend)


def misconfigured(check: str, error: ConfigError | str) -> Finding:
    """Return the failure for a line of the form `problem; mend`."""
    problem, _, mend = str(error).partition("; ")
    return fail(check, problem, mend or "correct it in the settings file")
