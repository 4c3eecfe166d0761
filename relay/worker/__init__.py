"""The way of a mail from the queue into Salesforce.

`pipeline` has the whole way, from the claim to the settlement, each step a function;
`worker` runs its lanes and keeps the leases; `reading` loads and parses mails;
`decisions` asks Salesforce what a decision needs; `explain` is the dry run of one mail,
`replay` that of a change of rules over past mail. `copies` is the way of users who log
by Email to Salesforce.
What is promised: a message that is claimed is settled by a value of the state table,
and no record is written that the ledger does not hold first.
Left to others: what becomes of a mail (`match`), sending a record once (`outbox`), its
files (`attachments`).
"""

from relay.outbox.mode import WriteMode
from relay.worker.copies import Copies
from relay.worker.explain import explain
from relay.worker.worker import Worker

__all__ = ["Copies", "Worker", "WriteMode", "explain"]
