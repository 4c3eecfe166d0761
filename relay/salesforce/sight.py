"""What our user may see: without that, a record that is not found may still be there.

Salesforce does not tell a record that sharing hides from one that does not exist. Who
has the permission View All Data sees everything. Else a Task of somebody is the sign
that that person's Tasks can be read.

Source: Object Reference, "UserPermissionAccess", "Task".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.ids import record_id
from relay.salesforce import soql
from relay.salesforce.soql import Query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.salesforce.answers import Failure
    from relay.salesforce.soql import Rows

_PERMISSION: Final = "SELECT PermissionsViewAllData FROM UserPermissionAccess LIMIT 1"
_TASK_OF: Final = "SELECT Id FROM Task WHERE OwnerId = {owner} LIMIT 1"


def permission_query() -> Query:
    """Return the query for what our user may see."""
    return Query(_PERMISSION)


def read_permission(rows: Rows | Failure) -> bool:
    """Say whether it is everything; where Salesforce does not tell, it is not."""
    if not isinstance(rows, list) or not rows:
        return False
    return rows[0].get("PermissionsViewAllData") is True


def owner_queries(owners: Iterable[str]) -> list[tuple[str, Query]]:
    """Return for each user or queue the query for one Task, archived ones included."""
    return [
        (owner, Query(soql.statement(_TASK_OF, owner=sfid), deleted=True))
        for owner in owners
        if (sfid := record_id(owner))
    ]
