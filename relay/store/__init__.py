"""The store: everything the relay must not forget, and the only SQL there is.

One schema over SQLite (the default) and PostgreSQL. A caller holds one `Store` and
calls its methods; each is one transaction. The store leaves reading of mail, choice of
records and calls to Salesforce to others: it takes values from `core` and returns them.
"""

from relay.store.store import Store

__all__ = ["Store"]
