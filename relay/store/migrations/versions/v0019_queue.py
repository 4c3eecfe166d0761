"""What waits is counted in the index of the queue alone, however long the rows are."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the index; no row changes."""
    op.create_index(
        "ix_messages_queue",
        "messages",
        ["state", "next_attempt_at", "id", "reason", "received_at", "user_id"],
    )
    op.drop_index("ix_messages_state_next_attempt_at_id", "messages")
