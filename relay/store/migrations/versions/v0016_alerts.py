"""Alerts and the webhook calls that tell them; the language of each user."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
EMPTY = sa.text("''")


def upgrade() -> None:
    """Make the tables and the column; nobody has chosen a language yet."""
    op.add_column("users", sa.Column("language", sa.String(8)))
    op.create_table(
        "alerts",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("rule", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["rule", "subject"],
        unique=True,
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_table(
        "webhook_calls",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("alert_id", SERIAL),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("written_at", sa.BigInteger()),
        sa.Column(
            "failures", sa.Integer(), nullable=False, server_default=sa.text("0")
        ),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("status", sa.Integer()),
        sa.Column("response", sa.Text(), nullable=False, server_default=EMPTY),
        sa.Column("error", sa.Text(), nullable=False, server_default=EMPTY),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_calls"),
        sa.UniqueConstraint("key", name="uq_webhook_calls_key"),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name="fk_webhook_calls_alert_id"
        ),
    )
    op.create_index("ix_webhook_calls_alert_id", "webhook_calls", ["alert_id"])
    op.create_index(
        "ix_webhook_calls_due_at",
        "webhook_calls",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
