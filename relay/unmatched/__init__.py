"""The unmatched queue: what did not match, what may be meant, what a person decides.

`listing` shows messages with their candidates, `actions` takes decisions,
`create` makes records of people. The command
line, the API and the console call these functions and print what they return. Deciding
about mails is left to `relay.match` and the worker: what a person decides here is
stored, and the message is queued again.
"""

from relay.unmatched.actions import (
    Ignored,
    Resolved,
    ignore,
    plan_ignore,
    read_records,
    resolve,
)
from relay.unmatched.create import Created, Maker
from relay.unmatched.listing import Candidates, Entry, Named

__all__ = [
    "Candidates",
    "Created",
    "Entry",
    "Ignored",
    "Maker",
    "Named",
    "Resolved",
    "ignore",
    "plan_ignore",
    "read_records",
    "resolve",
]
