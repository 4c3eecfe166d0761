"""Which words stand in which stretches of the log: a search skips the others."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables; a relay that serves fills them in the background."""
    op.create_table(
        "search_blocks",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("after_id", sa.String(26), nullable=False),
        sa.Column("first_id", sa.String(26), nullable=False),
        sa.Column("last_id", sa.String(26), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_search_blocks"),
        sa.UniqueConstraint(
            "source", "after_id", name="uq_search_blocks_source_after_id"
        ),
    )
    op.create_table(
        "search_words",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("word", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_search_words"),
        sa.UniqueConstraint("word", name="uq_search_words_word"),
    )
    op.create_table(
        "search_places",
        sa.Column("word_id", SERIAL, nullable=False),
        sa.Column("block_id", SERIAL, nullable=False),
        sa.PrimaryKeyConstraint("word_id", "block_id", name="pk_search_places"),
        sa.ForeignKeyConstraint(
            ["word_id"], ["search_words.id"], name="fk_search_places_word_id"
        ),
        sa.ForeignKeyConstraint(
            ["block_id"], ["search_blocks.id"], name="fk_search_places_block_id"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_search_places_block_id", "search_places", ["block_id"])
