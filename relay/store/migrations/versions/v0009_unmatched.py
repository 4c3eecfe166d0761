"""What did not match: its people, what a person decided, and records made for it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables; people of older messages are filled in when they are listed."""
    op.create_table(
        "unmatched_people",
        sa.Column("message_id", sa.String(26), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("place", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "key", name="pk_unmatched_people"),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_unmatched_people_message_id"
        ),
    )
    op.create_index("ix_unmatched_people_key", "unmatched_people", ["key"])
    op.create_table(
        "searches",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("hits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_searches"),
    )
    op.create_index("ix_searches_at", "searches", ["at"])
    op.create_table(
        "resolutions",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("mail_id", SERIAL, nullable=False),
        sa.Column("record_id", sa.String(18), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_resolutions"),
        sa.UniqueConstraint(
            "mail_id", "record_id", name="uq_resolutions_mail_id_record_id"
        ),
        sa.ForeignKeyConstraint(
            ["mail_id"], ["mails.id"], name="fk_resolutions_mail_id"
        ),
    )
    op.create_table(
        "aliases",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("record_id", sa.String(18), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_aliases"),
    )
    op.create_table(
        "made_records",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("salesforce_id", sa.String(18)),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("error", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_made_records"),
    )
