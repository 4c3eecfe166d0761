"""Accepted addresses know how they came onto a list, and who sends from them.

An address that is the user's own is told from what an admin added. Claims are addresses
that a user has yet to prove, with the digest of the code that was mailed there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column(
        "accepted_addresses",
        sa.Column(
            "source",
            sa.String(16),
            nullable=False,
            server_default=sa.text("'admin'"),
        ),
    )
    op.add_column(
        "accepted_addresses",
        sa.Column("delegate", sa.Text(), nullable=False, server_default=sa.text("''")),
    )
    op.execute(
        "UPDATE accepted_addresses SET source = 'own' WHERE address = "
        "(SELECT email_key FROM users WHERE users.id = accepted_addresses.user_id)"
    )
    op.create_table(
        "address_claims",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("user_id", SERIAL, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, server_default=sa.text("0")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_address_claims"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_address_claims_user_id"
        ),
        sa.UniqueConstraint(
            "user_id", "address", name="uq_address_claims_user_id_address"
        ),
    )
