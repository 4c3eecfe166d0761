"""Mails of the relay to its users, and which of them each user wants."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables and the column; nobody has had a notice yet."""
    op.add_column("users", sa.Column("notify", sa.String(16)))
    op.create_table(
        "notices",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("user_id", SERIAL),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("written_at", sa.BigInteger()),
        sa.Column("error", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column(
            "failures", sa.Integer(), nullable=False, server_default=sa.text("0")
        ),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_notices"),
        sa.UniqueConstraint("key", name="uq_notices_key"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_notices_user_id"),
    )
    op.create_index("ix_notices_user_id", "notices", ["user_id"])
    op.create_index(
        "ix_notices_due_at",
        "notices",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "notice_items",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("notice_id", SERIAL, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_notice_items"),
        sa.ForeignKeyConstraint(
            ["notice_id"], ["notices.id"], name="fk_notice_items_notice_id"
        ),
    )
    op.create_index("ix_notice_items_notice_id", "notice_items", ["notice_id"])
