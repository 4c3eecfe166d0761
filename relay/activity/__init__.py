"""From a match to the Salesforce records that are to be written. Pure.

`draft` makes them, with their idempotency keys; `extras` is what the admin adds;
`attachments` says which files hang on them; `text` cuts text to what a field holds.
The caller says in which shape a mail is logged (EmailMessage or Task). Writing is left
to `relay.salesforce`, remembering to `relay.store`.
"""

from relay.activity.attachments import FilePlan, FileRules, plan_files
from relay.activity.draft import (
    KEY_LINE,
    Mode,
    Owner,
    activity_key,
    draft,
    message_identifier,
    named,
    open_task,
    without_secrets,
)
from relay.activity.extras import (
    Extras,
    RecordSettings,
    colleagues,
    key_fields,
    record_types,
)
from relay.activity.subject import is_reply, preview, subject_of_reminder
from relay.activity.text import cut, units

__all__ = [
    "KEY_LINE",
    "Extras",
    "FilePlan",
    "FileRules",
    "Mode",
    "Owner",
    "RecordSettings",
    "activity_key",
    "colleagues",
    "cut",
    "draft",
    "is_reply",
    "key_fields",
    "message_identifier",
    "named",
    "open_task",
    "plan_files",
    "preview",
    "record_types",
    "subject_of_reminder",
    "units",
    "without_secrets",
]
