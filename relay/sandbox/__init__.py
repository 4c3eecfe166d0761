"""A strict local stand-in for a Salesforce org, for the demo and the tests.

`SandboxOrg` is the org in memory, `create_app` serves it over HTTP, `serve` and `run`
put it on a loopback port. What it lets through by mistake is a bug in production, so
where Salesforce's behaviour is not known it takes the stricter reading. The back door
under `/sandbox/` shows and sets everything; see `admin`.

It is no part of a relay in production: nothing but the command line and tests may
import it, and it imports nothing but `core`.
"""

from __future__ import annotations

from relay.sandbox.config import (
    CLIENT_ID,
    CLIENT_SECRET,
    DEFAULT_VERSION,
    INTEGRATION_USERNAME,
)
from relay.sandbox.errors import SandboxError
from relay.sandbox.org import SandboxOrg
from relay.sandbox.server import create_app, run, serve

__all__ = [
    "CLIENT_ID",
    "CLIENT_SECRET",
    "DEFAULT_VERSION",
    "INTEGRATION_USERNAME",
    "SandboxError",
    "SandboxOrg",
    "create_app",
    "run",
    "serve",
]
