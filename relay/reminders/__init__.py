"""Reminders in step with Tasks of Salesforce, for the users who switch it on.

`service` says when a round is made, and that one relay makes it; `round` is one round
for all users; `decide` says what becomes of a reminder and its Task; `rows` sends
through the outbox what follows. What a value means on the other side, and how two edits
are merged, is `relay.core.tasks`.
"""

from relay.reminders.service import ReminderSyncService

__all__ = ["ReminderSyncService"]
