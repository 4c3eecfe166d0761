"""Switches, twins and clashes of reminders that are kept in step with Tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_EMPTY = sa.text("''")
_ZERO = sa.text("0")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "reminder_syncs",
        sa.Column("user_id", _SERIAL, nullable=False, autoincrement=False),
        sa.Column("salesforce_id", sa.String(18), nullable=False),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("first_on_at", sa.BigInteger()),
        sa.Column("on_at", sa.BigInteger()),
        sa.Column("off_at", sa.BigInteger()),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("since", sa.BigInteger()),
        sa.Column("after", sa.String(18), nullable=False, server_default=_EMPTY),
        sa.Column("imported", sa.BigInteger(), nullable=False, server_default=_ZERO),
        sa.Column("pushed", sa.BigInteger(), nullable=False, server_default=_ZERO),
        sa.Column("synced_at", sa.BigInteger()),
        sa.Column("stopped", sa.String(16)),
        sa.Column("stopped_text", sa.Text(), nullable=False, server_default=_EMPTY),
        sa.Column("permit", sa.BigInteger(), nullable=False, server_default=_ZERO),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_reminder_syncs_user_id"
        ),
        sa.PrimaryKeyConstraint("user_id", name="pk_reminder_syncs"),
    )
    op.create_table(
        "reminder_tasks",
        sa.Column("reminder_id", sa.String(26), nullable=False),
        sa.Column("user_id", _SERIAL, nullable=False),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.String(18)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("lookups", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("here", sa.Text(), nullable=False),
        sa.Column("there", sa.Text(), nullable=False),
        sa.Column("stamp", sa.BigInteger()),
        sa.Column("ended", sa.String(16)),
        sa.Column("code", sa.Text(), nullable=False, server_default=_EMPTY),
        sa.Column("error", sa.Text(), nullable=False, server_default=_EMPTY),
        sa.Column("failures", sa.BigInteger(), nullable=False, server_default=_ZERO),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["reminder_id"], ["reminders.id"], name="fk_reminder_tasks_reminder_id"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_reminder_tasks_user_id"
        ),
        sa.PrimaryKeyConstraint("reminder_id", name="pk_reminder_tasks"),
        sa.UniqueConstraint("key", name="uq_reminder_tasks_key"),
        sa.UniqueConstraint("task_id", name="uq_reminder_tasks_task_id"),
    )
    op.create_index(
        "ix_reminder_tasks_user_id_state", "reminder_tasks", ["user_id", "state"]
    )
    op.create_table(
        "reminder_clashes",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("reminder_id", sa.String(26), nullable=False),
        sa.Column("user_id", _SERIAL, nullable=False),
        sa.Column("task_id", sa.String(18), nullable=False),
        sa.Column("field", sa.String(32), nullable=False),
        sa.Column("here", sa.Text(), nullable=False),
        sa.Column("there", sa.Text(), nullable=False),
        sa.Column("kept", sa.String(16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("undone_at", sa.BigInteger()),
        sa.Column("undone_by", sa.Text(), nullable=False, server_default=_EMPTY),
        sa.ForeignKeyConstraint(
            ["reminder_id"], ["reminders.id"], name="fk_reminder_clashes_reminder_id"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_reminder_clashes_user_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reminder_clashes"),
    )
    op.create_index(
        "ix_reminder_clashes_user_id_id", "reminder_clashes", ["user_id", "id"]
    )
    op.create_index(
        "ix_reminder_clashes_reminder_id", "reminder_clashes", ["reminder_id"]
    )
