"""What every section of the settings has in common."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

MIB: Final = 1024 * 1024


class Section(BaseModel):
    """One table of the file; unknown keys are mistakes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False
    )
