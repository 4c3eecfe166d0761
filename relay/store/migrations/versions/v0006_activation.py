"""When each user was activated: until now everybody was, with the first entry."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; who is there already was activated when they were added."""
    op.add_column("users", sa.Column("activated_at", sa.BigInteger()))
    op.execute("UPDATE users SET activated_at = created_at")
