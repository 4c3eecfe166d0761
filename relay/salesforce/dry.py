"""An org that is not asked: it counts the calls that look-ups would cost.

The look-ups are planned, cut into queries and packed into calls by the code that asks
the real org; nothing is found. So what is asked for because of an answer (activities
are counted of records that share an address) is not in the count.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from relay.core.org import FieldInfo, OrgSchema
from relay.salesforce.client import MAX_PART_QUERIES
from relay.salesforce.connection import Queries
from relay.salesforce.lookup import Lookup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.salesforce.errors import Failure
    from relay.salesforce.soql import Query, Rows

_EMAIL: Final = FieldInfo(
    name="Email",
    label="Email",
    type="email",
    length=80,
    createable=True,
    updateable=True,
    filterable=True,
    nillable=True,
    defaulted=False,
    unique=False,
    external_id=False,
    restricted=False,
)
_OBJECTS: Final = (
    *("Account", "Contact", "Lead", "Opportunity", "OpportunityContactRole"),
    *("Case", "Task", "Event", "User"),
)
FIRST_CALLS: Final = 1
"""Calls with which a process begins: one describes the org."""


class DryOrg:
    """Stands in the place of `Org` where an org is only to be looked into.

    Attributes:
        lookup: Finds nobody.
        schema: Has every object that is looked up, with each field that is named.
    """

    def __init__(self, settings: SalesforceSettings, clock: Clock) -> None:
        """Count from nothing."""
        self._queries = _Counting()
        schema: Any = _Schema()
        connection: Any = SimpleNamespace(
            settings=settings, clock=clock, queries=self._queries
        )
        self.schema = schema
        self.lookup = Lookup(connection, schema)

    @property
    def calls(self) -> int:
        """Return how many calls the real org would have been asked, about."""
        return self._queries.calls + FIRST_CALLS if self._queries.calls else 0


class _Schema:
    def __init__(self) -> None:
        fields = {name: _Fields({"Email": _EMAIL}) for name in _OBJECTS}
        self._schema = OrgSchema(fields)

    async def get(self, **_: object) -> OrgSchema:
        return self._schema

    async def objects(self) -> Mapping[str, str]:
        return {}


class _Fields(dict[str, FieldInfo]):
    """Has every field that a setting names."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - as dict
        return self[name] if name in self else replace(_EMAIL, name=name)


class _Counting(Queries):
    """Counts calls as `Queries` makes them; each query finds nothing."""

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, kind: str, queries: Sequence[Query]) -> list[Rows | Failure]:  # noqa: ARG002 - as Queries
        self.calls += -(-len(queries) // MAX_PART_QUERIES)
        return [[] for _ in queries]
