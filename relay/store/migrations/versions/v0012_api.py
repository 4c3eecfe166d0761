"""Scopes and expiry of API tokens, and answers that are given again."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns and the table; older tokens may hand mail over, as before."""
    op.add_column(
        "api_tokens",
        sa.Column(
            "scopes",
            sa.Text(),
            nullable=False,
            server_default=sa.text("'mail:submit'"),
        ),
    )
    op.add_column("api_tokens", sa.Column("expires_at", sa.BigInteger()))
    op.create_table(
        "api_answers",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("body", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("key", name="pk_api_answers"),
    )
    op.create_index("ix_api_answers_created_at", "api_answers", ["created_at"])
