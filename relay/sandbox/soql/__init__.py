"""SOQL for the sandbox: `parse` a statement, `run` it against a `Source`.

What Salesforce refuses is refused here with the same `errorCode`, and in its words
where they are known. What Salesforce can do and this package cannot (TYPEOF, INCLUDES,
date functions, FIELDS(), FOR VIEW, WITH, ROLLUP …) is refused as
`FUNCTIONALITY_NOT_ENABLED`, never answered wrongly. Storage, sharing, paging and HTTP
are left to the org that hands in the source.
"""

from __future__ import annotations

from relay.sandbox.soql.errors import SOQLError
from relay.sandbox.soql.evaluate import Result, run
from relay.sandbox.soql.parser import parse
from relay.sandbox.soql.source import FieldMeta, ObjectMeta, Row, Source
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
