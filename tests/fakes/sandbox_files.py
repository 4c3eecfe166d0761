"""Reads files out of the sandbox."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING

from tests.fakes.processes import DEADLINE_S

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess


def content(sandbox: SandboxProcess, version: str) -> bytes:
    """Return the bytes of a file."""
    form = (
        "grant_type=client_credentials&client_id=relay-sandbox"
        "&client_secret=relay-sandbox-secret"
    )
    with urllib.request.urlopen(
        f"{sandbox.url}/services/oauth2/token", form.encode()
    ) as answer:
        token = re.search(rb'"access_token": ?"([^"]+)"', answer.read())
    assert token
    request = urllib.request.Request(
        f"{sandbox.url}/services/data/v66.0/sobjects/ContentVersion/{version}"
        "/VersionData",
        headers={"Authorization": f"Bearer {token[1].decode()}"},
    )
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return bytes(answer.read())
