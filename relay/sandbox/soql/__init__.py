"""SOQL for the sandbox: `parse` a statement, `run` it against a `Source`.

What Salesforce refuses is refused here with the same `errorCode`, and in its words
where they are known. The package runs what the relay asks for: fields and parents,
child sub-queries, conditions with semi-joins, ORDER BY, LIMIT, `COUNT()`, and
`COUNT(field)` with GROUP BY. Other SOQL (OFFSET, HAVING, other aggregates, date
literals and functions, TYPEOF, FIELDS(), FOR VIEW, WITH …) is refused as
`FUNCTIONALITY_NOT_ENABLED`, never answered wrongly. Storage, sharing, paging and HTTP
are left to the org that passes the source.
"""

from __future__ import annotations

from relay.sandbox.soql.evaluate import Result, run
from relay.sandbox.soql.lexer import SOQLError
from relay.sandbox.soql.parser import parse
from relay.sandbox.soql.scope import FieldMeta, ObjectMeta, Row, Source
from relay.sandbox.soql.tree import Query

__all__ = [
    "FieldMeta",
    "ObjectMeta",
    "Query",
    "Result",
    "Row",
    "SOQLError",
    "Source",
    "parse",
    "run",
]
