"""What is found about the author of a mail is kept, and today's rule stays in force.

Until now a mail was logged when its author was on the user's list, and anybody can
write a From. A store that has users goes on so: `sender.policy` is set to `listed`, in
the store, where an admin sees and changes it; `relay check` says so. A new store has
no such setting, and begins with the policy of the settings file.
"""

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = "sender.policy"


def upgrade() -> None:
    """Make columns and tables; keep the rule of a store that is in use."""
    op.add_column("messages", sa.Column("verdict", sa.Text()))
    op.add_column("refusals", sa.Column("verdict", sa.Text()))
    op.create_table(
        "signatures",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("content", sa.String(64), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_signatures"),
    )
    op.create_index("ix_signatures_seen_at", "signatures", ["seen_at"])
    op.create_table(
        "sender_tries",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_sender_tries"),
    )
    op.create_index("ix_sender_tries_first_at", "sender_tries", ["first_at"])
    op.create_table(
        "used_links",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_used_links"),
    )
    keep_the_rule()


def keep_the_rule() -> None:
    """Set the policy that was in force, where somebody uses the store."""
    connection = op.get_bind()
    users = sa.table("users", sa.column("id", sa.BigInteger))
    settings = sa.table(
        "settings", sa.column("key", sa.Text), sa.column("value", sa.Text)
    )
    audit = sa.table(
        "audit",
        *(
            sa.column(name)
            for name in ("at", "actor", "action", "subject", "old", "new")
        ),
    )
    if connection.scalar(sa.select(users.c.id).limit(1)) is None:
        return
    if connection.scalar(sa.select(settings.c.key).where(settings.c.key == KEY)):
        return
    value = json.dumps("listed")
    connection.execute(settings.insert().values(key=KEY, value=value))
    connection.execute(
        audit.insert().values(
            at=time.time_ns() // 1000,
            actor="relay db upgrade",
            action="setting_set",
            subject=KEY,
            old=None,
            new=value,
        )
    )
