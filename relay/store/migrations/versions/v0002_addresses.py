"""Addresses that were kept in another spelling are corrected, or named to the admin.

Until revision 0001 domains were read by IDNA 2003 and local parts case-folded, so that
`eva@straße.example` was kept as `eva@strasse.example`, whose domain may have another
owner. Where the typed address is still known (in `users.email`), the key is made anew.

Where it is not, an address is marked as not confirmed if its domain holds what IDNA
2003 put in place of another letter (`ss` for ß, small for final sigma), or allows a
joiner that IDNA 2003 took out, and no mail that was taken names just this spelling in
From. `relay check` names each such address until an admin adds it again or removes it.
It stays in force: nearly all addresses with `ss` are meant so, and an upgrade must not
stop their mail. It is taken out of force where mail came in the other spelling: one of
the two domains may be a stranger's, and only an admin knows which.

A local part alone makes no address doubtful, unless mail came in the other spelling:
its spellings share the owner of the domain, and all that ends in `ss` would be named.
"""

import contextlib
import json
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

from relay.core.addresses import (
    address_key,
    domain_key,
    domain_of,
    fold_ascii,
    unicode_domain,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JOINERS = "\u200c\u200d"

accepted = sa.table(
    "accepted_addresses",
    sa.column("id", sa.BigInteger),
    sa.column("user_id", sa.BigInteger),
    sa.column("address", sa.Text),
    sa.column("confirmed", sa.Boolean),
    sa.column("in_force", sa.Boolean),
)
exclusions = sa.table(
    "exclusions",
    sa.column("id", sa.BigInteger),
    sa.column("user_id", sa.BigInteger),
    sa.column("pattern", sa.Text),
    sa.column("confirmed", sa.Boolean),
)
users = sa.table(
    "users",
    sa.column("id", sa.BigInteger),
    sa.column("email", sa.Text),
    sa.column("email_key", sa.Text),
)
audit = sa.table(
    "audit",
    sa.column("at", sa.BigInteger),
    sa.column("actor", sa.Text),
    sa.column("action", sa.Text),
    sa.column("subject", sa.Text),
    sa.column("old", sa.Text),
    sa.column("new", sa.Text),
)
messages = sa.table(
    "messages", sa.column("user_id", sa.BigInteger), sa.column("header_from", sa.Text)
)
refusals = sa.table(
    "refusals", sa.column("user_id", sa.BigInteger), sa.column("header_from", sa.Text)
)


def upgrade() -> None:
    """Add the marks to both tables, and look at every address that is kept."""
    for table in ("accepted_addresses", "exclusions"):
        op.add_column(
            table,
            sa.Column(
                "confirmed", sa.Boolean(), nullable=False, server_default=sa.true()
            ),
        )
    op.add_column(
        "accepted_addresses",
        sa.Column("in_force", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    change = Change(op.get_bind())
    change.users()
    change.accepted()
    change.exclusions()
    if change.number:
        raised = "UPDATE meta SET revision = revision + 1"
        change.connection.execute(sa.text(raised))


class Change:
    """The rows of one store while they are looked at."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.number = 0
        self.emails: dict[int, str] = {}

    def users(self) -> None:
        """Make keys anew of the addresses that users were given."""
        rows = self.connection.execute(sa.select(users)).all()
        self.emails = {row.id: row.email for row in rows}
        taken = {row.email_key for row in rows}
        for row in rows:
            key = address_key(row.email) or fold_ascii(row.email)
            if key in taken:
                continue
            taken.add(key)
            self.connection.execute(
                sa.update(users).where(users.c.id == row.id).values(email_key=key)
            )
            own = (accepted.c.user_id == row.id) & (accepted.c.address == row.email_key)
            for found in self.connection.execute(sa.select(accepted).where(own)).all():
                self.replace(found, key)
            self.done("user_email_key", row.email, row.email_key, key)

    def accepted(self) -> None:
        """Correct what has another key today; mark what may have been changed."""
        for row in self.connection.execute(sa.select(accepted)).all():
            key = key_of(row.address)
            if key != row.address:
                self.replace(row, key)
                self.done("address_key", self.emails[row.user_id], row.address, key)
        rows = self.connection.execute(sa.select(accepted)).all()
        used = self.used({row.user_id for row in rows})
        for row in rows:
            just_so = other = False
            for key, from_refusal in used.get(row.user_id, ()):
                if covers(row.address, key):
                    just_so = just_so or not from_refusal
                elif key.lower() != as_before(key):
                    other = other or covers(row.address, as_before(key))
            if other or (may_be_changed(row.address) and not just_so):
                self.doubt(accepted, row.id)
                self.done("address_doubt", self.emails[row.user_id], row.address, None)
            if other:
                this = sa.update(accepted).where(accepted.c.id == row.id)
                self.connection.execute(this.values(in_force=False))

    def exclusions(self) -> None:
        """Do the same for what is left out of the log."""
        for row in self.connection.execute(sa.select(exclusions)).all():
            key = key_of(row.pattern)
            whose = self.emails.get(row.user_id, "everybody")
            if key != row.pattern:
                this = sa.update(exclusions).where(exclusions.c.id == row.id)
                self.connection.execute(this.values(pattern=key))
                self.done("exclude_key", whose, row.pattern, key)
            elif may_be_changed(row.pattern):
                self.doubt(exclusions, row.id)
                self.done("exclude_doubt", whose, row.pattern, None)

    def used(self, user_ids: set[int]) -> dict[int, set[tuple[str, bool]]]:
        """Return by user the keys of authors of their mail, and whether it was refused.

        Every row is read once; nothing is where no address is kept.
        """
        found: dict[int, set[tuple[str, bool]]] = {}
        for table in (messages, refusals) if user_ids else ():
            authors = (
                sa.select(table.c.user_id, table.c.header_from)
                .where(table.c.user_id.is_not(None))
                .distinct()
            )
            for user_id, author in self.connection.execute(authors):
                key = address_key(author)
                if key is not None:
                    found.setdefault(user_id, set()).add((key, table is refusals))
        return found

    def replace(self, row: sa.Row[Any], key: str) -> None:
        """Give an accepted address its key; one that is there already is enough."""
        this = accepted.c.id == row.id
        same = (accepted.c.user_id == row.user_id) & (accepted.c.address == key)
        if self.connection.scalar(sa.select(accepted.c.id).where(same)) is not None:
            self.connection.execute(sa.delete(accepted).where(this))
        else:
            self.connection.execute(sa.update(accepted).where(this).values(address=key))

    def doubt(self, table: sa.TableClause, row_id: int) -> None:
        """Mark a row as not confirmed."""
        self.connection.execute(
            sa.update(table).where(table.c.id == row_id).values(confirmed=False)
        )

    def done(self, action: str, subject: str, old: str, new: str | None) -> None:
        """Write into the audit what was changed."""
        self.number += 1
        self.connection.execute(
            sa.insert(audit).values(
                at=time.time_ns() // 1000,
                actor="relay",
                action=action,
                subject=subject,
                old=json.dumps(old),
                new=None if new is None else json.dumps(new),
            )
        )


def key_of(pattern: str) -> str:
    """Return today's key of an address or `*@domain`."""
    if pattern.startswith("*@"):
        return "*@" + domain_key(pattern[2:])
    return address_key(pattern) or pattern


def covers(pattern: str, key: str) -> bool:
    """Say whether an accepted address or `*@domain` takes an author."""
    return pattern in {key, f"*@{domain_of(key)}"}


def as_before(key: str) -> str:
    """Return under which key revision 0001 kept this address, typed by its U-labels.

    The command line turned A-labels into U-labels before it made the key.
    """
    local, _, domain = key.rpartition("@")
    domain = unicode_domain(domain).casefold()
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("idna").decode("ascii")
    return f"{local.casefold()}@{domain}"


def may_be_changed(pattern: str) -> bool:
    """Say whether IDNA 2003 may have made this domain of another one."""
    domain = unicode_domain(domain_of(pattern))
    if "ss" in domain or "\u03c3" in domain:
        return True
    # A label that is kept as written comes back as it is, with a joiner and not ASCII.
    return any(
        domain_key(f"{label[:place]}{joiner}{label[place:]}").isascii()
        for label in domain.split(".")
        if not label.isascii()
        for place in range(1, len(label) + 1)
        for joiner in JOINERS
    )
