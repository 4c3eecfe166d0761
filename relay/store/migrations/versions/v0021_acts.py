"""What people do to messages is kept for a while, so that it can be taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; what was done before cannot be taken back."""
    op.create_table(
        "acts",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("user_id", sa.BigInteger()),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("removed", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="pk_acts"),
        sa.ForeignKeyConstraint(["id"], ["audit.id"], name="fk_acts_id"),
    )
    op.create_index(
        "ix_acts_at",
        "acts",
        ["at"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "act_messages",
        sa.Column("act_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(26), nullable=False),
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("undone_attempt", sa.BigInteger()),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.BigInteger()),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("lone_crashes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("act_id", "message_id", name="pk_act_messages"),
        sa.ForeignKeyConstraint(["act_id"], ["acts.id"], name="fk_act_messages_act_id"),
    )
    op.create_index("ix_act_messages_message_id", "act_messages", ["message_id"])
