"""What tells a mail by its words, and messages that hold several mails."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; mails of before are told by their keys alone."""
    for column in (
        sa.Column("content_key", sa.String(64)),
        sa.Column("opening_key", sa.String(64)),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("sent_clock", sa.BigInteger()),
        sa.Column("recipients", sa.Text()),
        sa.Column("inline", sa.Boolean()),
        sa.Column("incoming", sa.Boolean()),
    ):
        op.add_column("mails", column)
    op.create_index(
        "ix_mails_opening_key",
        "mails",
        ["opening_key"],
        sqlite_where=sa.text("opening_key IS NOT NULL"),
        postgresql_where=sa.text("opening_key IS NOT NULL"),
    )
    op.add_column("messages", sa.Column("parent_id", sa.String(26)))
    op.add_column("messages", sa.Column("part", sa.Integer()))
    op.create_index(
        "ix_messages_parent_id",
        "messages",
        ["parent_id", "part"],
        unique=True,
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
