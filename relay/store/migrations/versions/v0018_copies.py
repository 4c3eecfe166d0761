"""Copies of mails to Email to Salesforce, and which users want them."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the columns and the table; nobody has chosen, and nothing was copied."""
    op.add_column("users", sa.Column("log_by", sa.String(8)))
    op.add_column("users", sa.Column("salesforce_address", sa.Text()))
    op.create_table(
        "copies",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("mail_id", SERIAL, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("user_id", SERIAL, nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("written_at", sa.BigInteger()),
        sa.Column("error", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("lookups", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="pk_copies"),
        sa.UniqueConstraint("key", name="uq_copies_key"),
        sa.UniqueConstraint("mail_id", name="uq_copies_mail_id"),
        sa.ForeignKeyConstraint(["mail_id"], ["mails.id"], name="fk_copies_mail_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_copies_user_id"),
    )
