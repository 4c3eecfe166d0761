"""Kinds of files, as the settings name them: media types and endings."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from relay.config.values import mistake

DENIED_FILES: Final = (
    *(".exe", ".com", ".scr", ".msi", ".bat", ".cmd", ".ps1", ".vbs", ".js", ".jse"),
    *(".wsf", ".hta", ".lnk", ".jar", ".reg", ".p7s", "application/pgp-signature"),
)
"""Programs, which mail carries for no good reason, and signatures, which are noise."""

_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]{0,126})"
)
_ENDING: Final = re.compile(r"\.[^\s./\\:*?\"<>|,]{1,20}")


def _file_type(value: str) -> str:
    folded = value.strip().lower()
    if not (_TYPE.fullmatch(folded) or _ENDING.fullmatch(folded)):
        raise mistake(
            f"{value} is neither a media type nor an ending",
            "write it as application/pdf, image/* or .pdf",
        )
    return folded


FileType = Annotated[str, AfterValidator(_file_type)]
