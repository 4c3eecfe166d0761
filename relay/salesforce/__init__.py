"""The only HTTP to Salesforce: login, look-ups, writes, read-backs, one error table.

`Org` is the door, composed of parts: `lookup`, `records`, `files`, `schema`, `access`,
`budget`, `stats`. It returns values of `model` and of `relay.core.org`, and raises only
errors of `relay.core.errors`. A record is reported as *written* only with an id from a
parsed answer, and as *unknown* whenever Salesforce may have carried out the request and
the relay has no id. Left to others: what to write (`relay.activity`), for whom
(`relay.match`), when and how often (`relay.outbox`, `relay.worker`), and remembering it
(`relay.store`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.org import FieldInfo, LookupResult, OrgSchema, SalesforceUser
from relay.salesforce.model import Filed, FoundRecord, WriteOutcome, WriteState

if TYPE_CHECKING:
    from relay.salesforce.org import Org

__all__ = [
    "FieldInfo",
    "Filed",
    "FoundRecord",
    "LookupResult",
    "Org",
    "OrgSchema",
    "SalesforceUser",
    "WriteOutcome",
    "WriteState",
]


def __getattr__(name: str) -> Any:
    """Load `Org` when it is first asked for: the HTTP library is slow to import."""
    if name == "Org":
        from relay.salesforce.org import Org  # noqa: PLC0415

        return Org
    text = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(text)
