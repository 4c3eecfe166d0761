"""From a match to the Salesforce records that are to be written. Pure.

`draft` makes them; `files` says which files hang on them; `text` cuts text to what a
field holds; `keys` makes the idempotency keys. Which shape is wanted (EmailMessage or
Task) is the caller's to say; writing is left to `relay.salesforce`, remembering to
`relay.store`.
"""

from relay.activity.draft import Mode, OrgFields, Owner, draft
from relay.activity.extras import Extras
from relay.activity.files import FilePlan, FileRules, plan_files
from relay.activity.keys import (
    KEY_LINE,
    activity_key,
    message_identifier,
    named,
)
from relay.activity.secrets import without_secrets
from relay.activity.text import cut, units

__all__ = [
    "KEY_LINE",
    "Extras",
    "FilePlan",
    "FileRules",
    "Mode",
    "OrgFields",
    "Owner",
    "activity_key",
    "cut",
    "draft",
    "message_identifier",
    "named",
    "plan_files",
    "units",
    "without_secrets",
]
