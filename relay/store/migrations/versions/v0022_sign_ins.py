"""How each user came into the console: the last link, the last sign-in."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_KNOWN = """
INSERT INTO sign_ins (user_id, invited_at, link_ends_at, signed_in_at)
SELECT a.user_id,
       MAX(CASE WHEN a.action = 'sign_in_link' THEN a.at END),
       MAX(CASE WHEN a.action = 'sign_in_link' THEN a.at END) + 86400000000,
       MAX(CASE WHEN a.action = 'sign_in' THEN a.at END)
FROM audit a JOIN users u ON u.id = a.user_id
WHERE a.action IN ('sign_in', 'sign_in_link') AND u.removed_at IS NULL
GROUP BY a.user_id
"""
"""What the history has of it; a link has always worked for a day."""


def upgrade() -> None:
    """Make the table, and fill it from the history."""
    op.create_table(
        "sign_ins",
        sa.Column(
            "user_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("invited_at", sa.BigInteger()),
        sa.Column(
            "invited_by", sa.Text(), nullable=False, server_default=sa.text("''")
        ),
        sa.Column("link_ends_at", sa.BigInteger()),
        sa.Column("notice_key", sa.String(64)),
        sa.Column("signed_in_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("user_id", name="pk_sign_ins"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sign_ins_user_id"),
    )
    op.execute(_KNOWN)
