"""Users can be removed, ended relay addresses stay known, internal domains are set.

A domain of our own was, until now, each `*@domain` among the accepted addresses of any
user. It is a setting now. Its default may be another than what held so far, so the
upgrade of a relay that has users writes into the setting what held: each `*@domain`,
except domains of free mail (there every customer was taken for a colleague) and domains
that a disabled user alone had and that no active user has an address in. Both are
faults; the audit names what is no longer internal.
"""

import json
import time

import sqlalchemy as sa
from alembic import op

from relay.core.addresses import address_key, domain_of
from relay.core.free_mail import is_free_mail

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = "match.internal_domains"


def upgrade() -> None:
    """Add the columns, and keep what is internal today."""
    op.add_column("users", sa.Column("removed_at", sa.BigInteger()))
    op.add_column("relay_addresses", sa.Column("ended_at", sa.BigInteger()))
    for name in ("accepted", "refused"):
        op.add_column(
            "relay_addresses",
            sa.Column(
                name, sa.BigInteger(), nullable=False, server_default=sa.text("0")
            ),
        )
        op.add_column("relay_addresses", sa.Column(f"{name}_at", sa.BigInteger()))
    op.add_column("audit", sa.Column("user_id", sa.BigInteger()))
    op.add_column("audit", sa.Column("undoes", sa.BigInteger()))
    op.create_index("ix_audit_user_id", "audit", ["user_id"])
    connection = op.get_bind()
    connection.execute(
        sa.text(
            "UPDATE audit SET user_id = "
            "(SELECT users.id FROM users WHERE users.email = audit.subject)"
        )
    )
    keep_internal_domains(connection)


def keep_internal_domains(connection: sa.Connection) -> None:
    """Write the domains that were internal into the setting, less the faults."""
    users = connection.execute(sa.text("SELECT id, email, active FROM users")).all()
    if not users:
        return
    active = {row.id for row in users if row.active}
    of_users = {
        domain_of(key)
        for row in users
        if row.active and (key := address_key(row.email))
    }
    kept: set[str] = set()
    dropped: set[str] = set()
    query = sa.text(
        "SELECT user_id, address FROM accepted_addresses "
        "WHERE in_force AND address LIKE '*@%'"
    )
    for user_id, pattern in connection.execute(query):
        domain = domain_of(pattern)
        ours = user_id in active or domain in of_users
        (kept if ours and not is_free_mail(domain) else dropped).add(domain)
    dropped -= kept
    if not dropped and kept == {one for one in of_users if not is_free_mail(one)}:
        return  # The default says the same.
    connection.execute(
        sa.text("INSERT INTO settings (key, value) VALUES (:key, :value)"),
        {"key": KEY, "value": json.dumps(sorted(kept))},
    )
    connection.execute(
        sa.text(
            "INSERT INTO audit (at, actor, action, subject, old, new) "
            "VALUES (:at, 'relay', 'setting_set', :key, :old, :new)"
        ),
        {
            "at": time.time_ns() // 1000,
            "key": KEY,
            "old": json.dumps(sorted(kept | dropped)),
            "new": json.dumps(sorted(kept)),
        },
    )
    connection.execute(sa.text("UPDATE meta SET revision = revision + 1"))
