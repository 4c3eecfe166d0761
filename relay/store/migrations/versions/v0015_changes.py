"""What changed, in the order of commits: the table behind live views.

Triggers write it, so that no statement that moves a message can forget to.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_SQLITE_NOW = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
_WHEN = "OLD.state <> NEW.state OR OLD.reason <> NEW.reason"
_POSTGRES = """
CREATE FUNCTION relay_note_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  INSERT INTO changes (row_id, is_new, at, xact) VALUES (
    NEW.id,
    TG_OP = 'INSERT',
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    pg_current_xact_id()::text::bigint
  );
  RETURN NULL;
END $body$
"""


def upgrade() -> None:
    """Make the table and its triggers; it begins empty."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "changes",
        sa.Column("id", serial, nullable=False),
        sa.Column("row_id", sa.String(26), nullable=False),
        sa.Column("is_new", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("xact", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
    )
    op.create_index(
        "ix_changes_xact_id",
        "changes",
        ["xact", "id"],
        sqlite_where=sa.text("xact <> 0"),
    )
    # A multirow INSERT of SQLite and an upsert fire once for each row, as here.
    on = (
        ("new_messages", "AFTER INSERT ON messages", "", 1),
        ("messages", "AFTER UPDATE OF state, reason ON messages", _WHEN, 0),
        ("new_refusals", "AFTER INSERT ON refusals", "", 1),
        ("refusals", "AFTER UPDATE OF times ON refusals", "", 0),
    )
    if op.get_bind().dialect.name == "sqlite":
        for name, event, when, is_new in on:
            condition = f"WHEN {when} " if when else ""
            op.execute(
                f"CREATE TRIGGER changes_of_{name} {event} {condition}BEGIN "  # noqa: S608 - our words
                "INSERT INTO changes (row_id, is_new, at, xact) "
                f"VALUES (NEW.id, {is_new}, {_SQLITE_NOW}, 0); END"
            )
        return
    op.execute(_POSTGRES)
    for name, event, when, _ in on:
        condition = f"WHEN ({when}) " if when else ""
        op.execute(
            f"CREATE TRIGGER changes_of_{name} {event} FOR EACH ROW {condition}"
            "EXECUTE FUNCTION relay_note_change()"
        )
