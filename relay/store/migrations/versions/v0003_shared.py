"""What several relays share becomes rows: leases, the org's pause, API calls.

Until now the pause and the usage were one value each, and the last relay that wrote it
won. The calls that were counted move to rows of their own; a pause that was noted is
dropped, as every start of a relay dropped it.
"""

import contextlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

RELAY = "before revision 0003"
SECOND = 1_000_000
MINUTE = 60


def upgrade() -> None:
    """Make the tables, and move what was counted."""
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "org_pauses",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger()),
        sa.Column("until", sa.BigInteger()),
        sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("code", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("text", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("probes", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column(
            "tripped_by", sa.Text(), nullable=False, server_default=sa.text("''")
        ),
        sa.PrimaryKeyConstraint("org", name="pk_org_pauses"),
    )
    calls = op.create_table(
        "api_calls",
        sa.Column("relay", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("relay", "hour", name="pk_api_calls"),
    )
    readings = op.create_table(
        "api_readings",
        sa.Column("minute", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("minute", name="pk_api_readings"),
    )
    notes = sa.table("notes", sa.column("key", sa.Text), sa.column("value", sa.Text))
    connection = op.get_bind()
    kept = connection.scalar(
        sa.select(notes.c.value).where(notes.c.key == "salesforce.usage")
    )
    made, said = counted(kept)
    if made:
        connection.execute(calls.insert(), made)
    if said:
        connection.execute(readings.insert(), said)
    connection.execute(
        notes.delete().where(notes.c.key.in_(["salesforce.usage", "salesforce.pause"]))
    )


def counted(kept: str | None) -> tuple[list[dict[str, object]], list[dict[str, int]]]:
    """Return the rows of calls and of readings that a noted usage makes.

    A note that makes no sense makes none: the count then begins anew.
    """
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        note = json.loads(kept or "null")
        made: list[dict[str, object]] = [
            {"relay": RELAY, "hour": int(hour), "calls": int(count)}
            for hour, count in note["own"].items()
        ]
        said: list[dict[str, int]] = []
        if note["told"]:
            at, used, total = note["told"]
            said.append(
                {
                    "minute": int(at // MINUTE),
                    "at": int(at * SECOND),
                    "used": int(used),
                    "total": int(total),
                }
            )
        return made, said
    return [], []
