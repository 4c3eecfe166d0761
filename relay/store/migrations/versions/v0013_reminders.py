"""Reminders, their history, and the secrets of their calendar feeds."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "reminders",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("owner_id", _SERIAL, nullable=False),
        sa.Column("assignee_id", _SERIAL, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("due", sa.String(10)),
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("record", sa.String(18), nullable=False),
        sa.Column("message_id", sa.String(26)),
        sa.Column("origin", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_reminders_owner_id"
        ),
        sa.ForeignKeyConstraint(
            ["assignee_id"], ["users.id"], name="fk_reminders_assignee_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reminders"),
        sa.UniqueConstraint("origin", name="uq_reminders_origin"),
    )
    op.create_index(
        "ix_reminders_assignee_id_status_due",
        "reminders",
        ["assignee_id", "status", "due"],
    )
    op.create_index("ix_reminders_owner_id", "reminders", ["owner_id"])
    op.create_index(
        "ix_reminders_message_id",
        "reminders",
        ["message_id"],
        sqlite_where=sa.text("message_id IS NOT NULL"),
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )
    op.create_table(
        "reminder_changes",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("reminder_id", sa.String(26), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("field", sa.String(32), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("undoes", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["reminder_id"], ["reminders.id"], name="fk_reminder_changes_reminder_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reminder_changes"),
        sa.UniqueConstraint(
            "reminder_id",
            "version",
            "field",
            name="uq_reminder_changes_reminder_id_version_field",
        ),
    )
    op.create_table(
        "reminder_feeds",
        sa.Column("user_id", _SERIAL, nullable=False, autoincrement=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("used_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_reminder_feeds_user_id"
        ),
        sa.PrimaryKeyConstraint("user_id", name="pk_reminder_feeds"),
        sa.UniqueConstraint("hash", name="uq_reminder_feeds_hash"),
    )
