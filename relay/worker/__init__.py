"""The way of a mail from the queue into Salesforce.

`loop` claims batches and keeps their leases; `pipeline` takes a batch through read →
join → plan → look up → choose → draft → write → settle; `write` sends ledger rows and
resolves unknown outcomes; `mode` decides the shape; `retry` says when to try again;
`explain` is the dry run.
What is promised: a message that is claimed is settled by a value of the state table,
and no record is written that the ledger does not hold first.
"""

from relay.outbox.mode import WriteMode
from relay.worker.explain import explain
from relay.worker.loop import Worker

__all__ = ["Worker", "WriteMode", "explain"]
