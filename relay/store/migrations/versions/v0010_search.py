"""Indexes for what people ask of the log."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes; with many messages this takes some seconds."""
    for column in ("state", "user_id", "rfc_message_id"):
        op.create_index(f"ix_messages_{column}_id", "messages", [column, "id"])
    op.create_index(
        "ix_messages_reason_id",
        "messages",
        ["reason", "id"],
        sqlite_where=sa.text("reason <> ''"),
        postgresql_where=sa.text("reason <> ''"),
    )
    op.create_index(
        "ix_refusals_user_id_id",
        "refusals",
        ["user_id", "id"],
        sqlite_where=sa.text("user_id IS NOT NULL"),
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )
