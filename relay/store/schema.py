"""The tables, one definition for SQLite and PostgreSQL.

Columns that end in `_at` or `_until` hold microseconds since 1970 in UTC. The
migrations in `migrations/` make exactly this schema; a test compares the two on both
databases. A change here needs a new migration and a new `HEAD`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

HEAD: Final = "0022"
"""The newest migration. Known here so that a start need not load Alembic."""

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts a primary key up by itself only where it is declared INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")
_ZERO = text("0")
_EMPTY = text("''")
_NO_PEOPLE = text("'[]'")


def _serial() -> Column[int]:
    return Column("id", _Serial, primary_key=True)


def _user(*, nullable: bool) -> Column[int]:
    return Column("user_id", _Serial, ForeignKey("users.id"), nullable=nullable)


# ------------------------------------------------------------------ people

meta: Final = Table(
    "meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Raised by every change of what `Directory` holds, in the same transaction.
    Column("revision", BigInteger, nullable=False),
)

users: Final = Table(
    "users",
    metadata,
    _serial(),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("salesforce_id", String(18)),
    Column("time_zone", Text),
    Column("created_at", BigInteger, nullable=False),
    # Set: removed; the row stays for the messages, and its key is free again.
    Column("removed_at", BigInteger),
    # Null: never activated, and not active.
    Column("activated_at", BigInteger),
    # Which notices the user wants; null: as `notices.level` says.
    Column("notify", String(16)),
    # In which language the relay writes to the user; null: as `user.language` says.
    Column("language", String(8)),
    # api or bcc; null: the user has not chosen.
    Column("log_by", String(8)),
    # The user's own address of Email to Salesforce.
    Column("salesforce_address", Text),
)

relay_addresses: Final = Table(
    "relay_addresses",
    metadata,
    Column("token", String(64), primary_key=True),
    _user(nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Null: the current one. Set: rotated away, works until then.
    Column("expires_at", BigInteger),
    # Set: it takes no mail any more; the row says whose it was.
    Column("ended_at", BigInteger),
    Column("accepted", BigInteger, nullable=False, server_default=_ZERO),
    Column("refused", BigInteger, nullable=False, server_default=_ZERO),
    Column("accepted_at", BigInteger),
    Column("refused_at", BigInteger),
    Index(None, "user_id"),
)

accepted_addresses: Final = Table(
    "accepted_addresses",
    metadata,
    _serial(),
    _user(nullable=False),
    Column("address", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
    # False: kept before domains were read by IDNA 2008, perhaps in another spelling.
    Column("confirmed", Boolean, nullable=False, server_default=true()),
    Column("in_force", Boolean, nullable=False, server_default=true()),
    Column("source", String(16), nullable=False, server_default=text("'admin'")),
    # Who sends from it for the user; empty: the user.
    Column("delegate", Text, nullable=False, server_default=_EMPTY),
    UniqueConstraint("user_id", "address"),
)

address_claims: Final = Table(
    "address_claims",
    metadata,
    _serial(),
    _user(nullable=False),
    Column("address", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=_ZERO),
    UniqueConstraint("user_id", "address"),
)

app_passwords: Final = Table(
    "app_passwords",
    metadata,
    _serial(),
    _user(nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("used_at", BigInteger),
    UniqueConstraint("user_id", "name"),
)

api_tokens: Final = Table(
    "api_tokens",
    metadata,
    _serial(),
    Column("name", Text, nullable=False, unique=True),
    _user(nullable=True),  # None: the request says for whom.
    Column("hash", String(64), nullable=False, unique=True),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("used_at", BigInteger),
    # With spaces between. A token from before there were others may hand mail over.
    Column("scopes", Text, nullable=False, server_default=text("'mail:submit'")),
    # Null: never.
    Column("expires_at", BigInteger),
)

api_answers: Final = Table(
    "api_answers",
    metadata,
    # Of the token's name and the Idempotency-Key.
    Column("key", String(64), primary_key=True),
    # Of method, path and body: another request is not answered with this answer.
    Column("request", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Null: the request is being worked on.
    Column("status", Integer),
    Column("headers", Text, nullable=False, server_default=_EMPTY),
    Column("body", Text, nullable=False, server_default=_EMPTY),
    Index(None, "created_at"),
)

# ------------------------------------------------------------------ accounts

passwords: Final = Table(
    "passwords",
    metadata,
    Column("user_id", _Serial, ForeignKey("users.id"), primary_key=True),
    Column("hash", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

sign_in_links: Final = Table(
    "sign_in_links",
    metadata,
    # The digest of the secret in the link.
    Column("hash", String(64), primary_key=True),
    _user(nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index(None, "user_id"),
)

sign_ins: Final = Table(
    "sign_ins",
    metadata,
    Column("user_id", _Serial, ForeignKey("users.id"), primary_key=True),
    # The last one-time link that was made for the user; null: none was.
    Column("invited_at", BigInteger),
    Column("invited_by", Text, nullable=False, server_default=_EMPTY),
    Column("link_ends_at", BigInteger),
    # The notice that has the link; null: it was handed over, not mailed.
    Column("notice_key", String(64)),
    # The last sign-in; null: the user never did.
    Column("signed_in_at", BigInteger),
)

sessions: Final = Table(
    "sessions",
    metadata,
    _serial(),
    # The digest of the cookie; the one before it works for some seconds more.
    Column("hash", String(64), nullable=False, unique=True),
    Column("former_hash", String(64)),
    Column("former_until", BigInteger),
    _user(nullable=False),
    Column("method", Text, nullable=False),
    # Whether a second factor was shown, or what needs none, such as a passkey.
    Column("strong", Boolean, nullable=False),
    # The user's role when the cookie was given out.
    Column("role", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Index(None, "user_id"),
    Index(None, "former_hash"),
)

sign_in_tries: Final = Table(
    "sign_in_tries",
    metadata,
    # A digest: of an account, of a peer, or of both together.
    Column("key", String(80), primary_key=True),
    Column("tries", Integer, nullable=False),
    # When the count begins anew.
    Column("until", BigInteger, nullable=False),
)

totp_secrets: Final = Table(
    "totp_secrets",
    metadata,
    Column("user_id", _Serial, ForeignKey("users.id"), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    # Null: the user has not yet shown a code, and it counts for nothing.
    Column("confirmed_at", BigInteger),
    # The half minute of the last code; none of before, and not the same, works again.
    Column("last_step", BigInteger),
)

recovery_codes: Final = Table(
    "recovery_codes",
    metadata,
    # The digest of user and code.
    Column("hash", String(64), primary_key=True),
    _user(nullable=False),
    Column("used_at", BigInteger),
    Index(None, "user_id"),
)

passkeys: Final = Table(
    "passkeys",
    metadata,
    _serial(),
    _user(nullable=False),
    Column("credential_id", Text, nullable=False, unique=True),
    Column("public_key", Text, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Index(None, "user_id"),
)

# ------------------------------------------------------------------ rules

exclusions: Final = Table(
    "exclusions",
    metadata,
    _serial(),
    _user(nullable=True),
    Column("pattern", Text, nullable=False),
    Column("skip", String(16), nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("confirmed", Boolean, nullable=False, server_default=true()),
)

settings: Final = Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

notes: Final = Table(
    "notes",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# ------------------------------------------------------------------ shared by relays

leases: Final = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
)

org_pauses: Final = Table(
    "org_pauses",
    metadata,
    Column("org", Text, primary_key=True),
    # Rises with every change; a relay changes only the version that it knows.
    Column("version", BigInteger, nullable=False),
    # Null: the org is not paused.
    Column("since", BigInteger),
    Column("until", BigInteger),
    Column("reason", Text, nullable=False, server_default=_EMPTY),
    Column("code", Text, nullable=False, server_default=_EMPTY),
    Column("text", Text, nullable=False, server_default=_EMPTY),
    Column("probes", Integer, nullable=False, server_default=_ZERO),
    Column("tripped_by", Text, nullable=False, server_default=_EMPTY),
)

api_calls: Final = Table(
    "api_calls",
    metadata,
    Column("relay", Text, primary_key=True),
    # Hours since 1970.
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
)

api_readings: Final = Table(
    "api_readings",
    metadata,
    # Minutes since 1970: one reading a minute is kept.
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
)

audit: Final = Table(
    "audit",
    metadata,
    _serial(),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("old", Text),
    Column("new", Text),
    # Whom the change is about, whatever their address is by now; null: everybody.
    Column("user_id", BigInteger),
    # The change that this one took back.
    Column("undoes", BigInteger),
    Index(None, "user_id"),
)

# ------------------------------------------------------------------ mail

blobs: Final = Table(
    "blobs",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    # The bytes are in exactly one place: here, in a spool file, or in `blob_chunks`.
    Column("file", Text),
    Column("chunks", Integer, nullable=False),
    Column("data", LargeBinary),
)

blob_chunks: Final = Table(
    "blob_chunks",
    metadata,
    Column("blob_id", String(26), ForeignKey("blobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

mails: Final = Table(
    "mails",
    metadata,
    _serial(),
    Column("key1", Text, nullable=False, unique=True),
    Column("key2", Text, nullable=False, unique=True),
    Column("rfc_message_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", BigInteger),
    # What tells it by its words (`core.content`); null: nothing does, or older mail.
    Column("content_key", String(64)),
    Column("opening_key", String(64)),
    Column("sent_at", BigInteger),
    # As a clock showed it, taken for UTC.
    Column("sent_clock", BigInteger),
    Column("recipients", Text),
    Column("inline", Boolean),
    # Whether it was received and not sent; null: not known.
    Column("incoming", Boolean),
    Index(
        "ix_mails_opening_key",
        "opening_key",
        sqlite_where=text("opening_key IS NOT NULL"),
        postgresql_where=text("opening_key IS NOT NULL"),
    ),
)

messages: Final = Table(
    "messages",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("blob_id", String(26), ForeignKey("blobs.id"), nullable=False),
    _user(nullable=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("peer", Text, nullable=False),
    Column("helo", Text, nullable=False),
    Column("tls", Boolean, nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("rcpt", Text, nullable=False),
    Column("header_from", Text, nullable=False),
    Column("header_to", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("rfc_message_id", Text, nullable=False),
    Column("trace", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False),
    # From here on: what the intake leaves to the defaults.
    Column("detail", Text, nullable=False, server_default=_EMPTY),
    Column("mail_id", _Serial, ForeignKey("mails.id")),
    Column("attempts", Integer, nullable=False, server_default=_ZERO),
    Column("failures", Integer, nullable=False, server_default=_ZERO),
    Column("crashes", Integer, nullable=False, server_default=_ZERO),
    Column("lone_crashes", Integer, nullable=False, server_default=_ZERO),
    Column("alone", Boolean, nullable=False, server_default=false()),
    Column("lease_owner", Text),
    Column("lease_until", BigInteger),
    Column("claimed_at", BigInteger),
    Column("renewed_at", BigInteger),  # Since when a person wants it tried again.
    Column("failing_since", BigInteger),  # `Claimed.failing_since`, at its last end.
    # What was found about the author, as JSON; null: mail for postmaster, older mail.
    Column("verdict", Text),
    # Of several mails in one message each has a message: which came first, which part.
    Column("parent_id", String(26)),
    Column("part", Integer),
    Index(
        "ix_messages_parent_id",
        "parent_id",
        "part",
        unique=True,
        sqlite_where=text("parent_id IS NOT NULL"),
        postgresql_where=text("parent_id IS NOT NULL"),
    ),
    # Serves claims, and what waits for what (relay.store.log) without a look at the
    # rows: hence the columns after the id. Few indexes keep `put` cheap.
    Index(
        "ix_messages_queue",
        "state",
        "next_attempt_at",
        "id",
        "reason",
        "received_at",
        "user_id",
    ),
    # Finds other messages of a blob before it is removed. The index grows at its end.
    Index(None, "blob_id"),
    # Serve what people ask for, in the order of the ids (relay.store.search).
    Index(None, "state", "id"),
    Index(None, "user_id", "id"),
    Index(None, "rfc_message_id", "id"),
    Index(
        "ix_messages_reason_id",
        "reason",
        "id",
        sqlite_where=text("reason <> ''"),
        postgresql_where=text("reason <> ''"),
    ),
    Index(
        "ix_messages_of_nobody",
        "id",
        sqlite_where=text("user_id IS NULL"),
        postgresql_where=text("user_id IS NULL"),
    ),
    Index(
        "ix_messages_mail_id",
        "mail_id",
        sqlite_where=text("mail_id IS NOT NULL"),
        postgresql_where=text("mail_id IS NOT NULL"),
    ),
)

attempts: Final = Table(
    "attempts",
    metadata,
    _serial(),
    Column("message_id", String(26), ForeignKey("messages.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("event", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    # The worker's lease owner, or the person who asked for the change.
    Column("actor", Text, nullable=False),
    Column("trace", Text, nullable=False),
    Index(None, "message_id"),
)

acts: Final = Table(
    "acts",
    metadata,
    # The change of the history that it is.
    Column(
        "id", BigInteger, ForeignKey("audit.id"), primary_key=True, autoincrement=False
    ),
    Column("at", BigInteger, nullable=False),
    Column("event", String(16), nullable=False),
    # The user who did it; null: the shell, or a program.
    Column("user_id", BigInteger),
    Column("messages", Integer, nullable=False),
    # Set: it is too old to be taken back; so many raw mails were removed then.
    Column("ended_at", BigInteger),
    Column("removed", Integer, nullable=False, server_default=_ZERO),
    Index(
        "ix_acts_at",
        "at",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

act_messages: Final = Table(
    "act_messages",
    metadata,
    Column("act_id", BigInteger, ForeignKey("acts.id"), primary_key=True),
    Column("message_id", String(26), primary_key=True),
    # The row of `attempts` that the act wrote, and the one that took it back.
    Column("attempt_id", BigInteger, nullable=False),
    Column("undone_attempt", BigInteger),
    # From here on: what the message was before.
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("renewed_at", BigInteger),
    Column("failing_since", BigInteger),
    Column("failures", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("lone_crashes", Integer, nullable=False),
    Index(None, "message_id"),
)

refusals: Final = Table(
    "refusals",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("peer", Text, nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("rcpt", Text, nullable=False),
    Column("header_from", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _user(nullable=True),
    Column("detail", Text, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("rfc_message_id", Text, nullable=False),
    # Null: a refusal of its own. Set: what further refusals of one peer fold into.
    Column("bucket", Text, unique=True),
    # Null: the refusal was not for what was found about the author.
    Column("verdict", Text),
    Index(
        "ix_refusals_user_id_id",
        "user_id",
        "id",
        sqlite_where=text("user_id IS NOT NULL"),
        postgresql_where=text("user_id IS NOT NULL"),
    ),
)

changes: Final = Table(
    "changes",
    metadata,
    # Triggers of messages and refusals write it: see migration 0015.
    _serial(),
    Column("row_id", String(26), nullable=False),
    Column("is_new", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    # The transaction, on PostgreSQL; 0 on SQLite, whose ids are in commits' order.
    Column("xact", BigInteger, nullable=False),
    # Has no rows on SQLite.
    Index("ix_changes_xact_id", "xact", "id", sqlite_where=text("xact <> 0")),
)

# ------------------------------------------------------------------ search

# What relay.store.search_index knows: rows together in blocks, and their words.
search_blocks: Final = Table(
    "search_blocks",
    metadata,
    _serial(),
    # The table of the rows.
    Column("source", String(16), nullable=False),
    # The rows above the first id up to the last one; the first is that of a row.
    Column("after_id", String(26), nullable=False),
    Column("first_id", String(26), nullable=False),
    Column("last_id", String(26), nullable=False),
    Column("rows", Integer, nullable=False),
    # One relay makes a block, however many try.
    UniqueConstraint("source", "after_id"),
)

search_words: Final = Table(
    "search_words",
    metadata,
    _serial(),
    Column("word", String(64), nullable=False, unique=True),
)

search_places: Final = Table(
    "search_places",
    metadata,
    Column("word_id", _Serial, ForeignKey("search_words.id"), primary_key=True),
    Column("block_id", _Serial, ForeignKey("search_blocks.id"), primary_key=True),
    Index(None, "block_id"),
    # Half the size: the key is the row.
    sqlite_with_rowid=False,
)

# ------------------------------------------------------------------ sender trust

signatures: Final = Table(
    "signatures",
    metadata,
    Column("digest", String(64), primary_key=True),
    # Of the mail that came with it first: K2 (docs/flow.md, "Identity").
    Column("content", String(64), nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Index(None, "seen_at"),
)

sender_tries: Final = Table(
    "sender_tries",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("first_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Index(None, "first_at"),
)

used_links: Final = Table(
    "used_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("used_at", BigInteger, nullable=False),
    # From then on the link is refused for its age.
    Column("expires_at", BigInteger, nullable=False),
)

activities: Final = Table(
    "activities",
    metadata,
    _serial(),
    Column("key", Text, nullable=False, unique=True),
    Column("mail_id", _Serial, ForeignKey("mails.id"), nullable=False),
    Column("slot", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("salesforce_id", String(18)),
    Column("sent_at", BigInteger),
    Column("error", Text, nullable=False, server_default=_EMPTY),
    Column("lookups", Integer, nullable=False, server_default=_ZERO),
    Column("created_at", BigInteger, nullable=False),
    # Address keys, as a JSON list, of the people whose records the row names.
    Column("people", Text, nullable=False, server_default=_NO_PEOPLE),
    # The unique field that holds the key; null where there is none.
    Column("key_field", Text),
    # Who is to own the Task that the platform makes, and from when; null: settled.
    Column("owner", String(18)),
    Column("owner_due_at", BigInteger),
    Index(None, "mail_id"),
    Index(
        "ix_activities_salesforce_id",
        "salesforce_id",
        sqlite_where=text("salesforce_id IS NOT NULL"),
        postgresql_where=text("salesforce_id IS NOT NULL"),
    ),
    Index(
        "ix_activities_owner_due_at",
        "owner_due_at",
        sqlite_where=text("owner_due_at IS NOT NULL"),
        postgresql_where=text("owner_due_at IS NOT NULL"),
    ),
)

copies: Final = Table(
    "copies",
    metadata,
    _serial(),
    Column("key", Text, nullable=False, unique=True),
    # A mail is copied once, whoever's copies of it come.
    Column("mail_id", _Serial, ForeignKey("mails.id"), nullable=False, unique=True),
    Column("message_id", Text, nullable=False),
    _user(nullable=False),
    Column("recipient", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("sent_at", BigInteger),
    Column("written_at", BigInteger),
    Column("error", Text, nullable=False, server_default=_EMPTY),
    Column("lookups", Integer, nullable=False, server_default=_ZERO),
)

files: Final = Table(
    "files",
    metadata,
    _serial(),
    Column("key", Text, nullable=False, unique=True),
    Column("mail_id", _Serial, ForeignKey("mails.id"), nullable=False),
    Column("activity_key", Text, ForeignKey("activities.key"), nullable=False),
    Column("blob_id", String(26), ForeignKey("blobs.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # Empty for the original mail, whose bytes differ from copy to copy.
    Column("sha256", String(64), nullable=False),
    # Where the encoded content stands in the blob.
    Column("start_byte", BigInteger, nullable=False),
    Column("end_byte", BigInteger, nullable=False),
    Column("encoding", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("version_id", String(18)),
    Column("document_id", String(18)),
    Column("sent_at", BigInteger),
    # When to do something about it; null: never again.
    Column("due_at", BigInteger),
    Column("error", Text, nullable=False, server_default=_EMPTY),
    Column("lookups", Integer, nullable=False, server_default=_ZERO),
    Column("failures", Integer, nullable=False, server_default=_ZERO),
    Column("lease_owner", Text),
    Column("lease_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "mail_id"),
    Index(None, "blob_id"),
    Index(
        "ix_files_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

# ------------------------------------------------------------------ notices

notices: Final = Table(
    "notices",
    metadata,
    _serial(),
    # Part of the Message-ID: a notice that was sent twice can be told.
    Column("key", String(64), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    _user(nullable=True),
    Column("recipient", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # When to send it; null: never again.
    Column("due_at", BigInteger),
    Column("written_at", BigInteger),
    Column("error", Text, nullable=False, server_default=_EMPTY),
    Column("failures", Integer, nullable=False, server_default=_ZERO),
    Column("failing_since", BigInteger),
    Column("lease_owner", Text),
    Column("lease_until", BigInteger),
    Index(None, "user_id"),
    Index(
        "ix_notices_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

notice_items: Final = Table(
    "notice_items",
    metadata,
    # Names the event: it is told once.
    Column("key", String(64), primary_key=True),
    Column("notice_id", _Serial, ForeignKey("notices.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
    Index(None, "notice_id"),
)

# ------------------------------------------------------------------ unmatched

unmatched_people: Final = Table(
    "unmatched_people",
    metadata,
    # A row may outlive the state: who reads them looks at the message as well.
    Column("message_id", String(26), ForeignKey("messages.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("place", String(16), nullable=False),
    Index(None, "key"),
)

searches: Final = Table(
    "searches",
    metadata,
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("hits", Text, nullable=False),
    Index(None, "at"),
)

resolutions: Final = Table(
    "resolutions",
    metadata,
    _serial(),
    Column("mail_id", _Serial, ForeignKey("mails.id"), nullable=False),
    Column("record_id", String(18), nullable=False),
    Column("object", Text, nullable=False),
    Column("name", Text, nullable=False),
    # The address key of whom it stands for; empty: for nobody in particular.
    Column("key", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("mail_id", "record_id"),
)

aliases: Final = Table(
    "aliases",
    metadata,
    Column("key", Text, primary_key=True),
    Column("record_id", String(18), nullable=False),
    Column("object", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
)

made_records: Final = Table(
    "made_records",
    metadata,
    Column("key", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("salesforce_id", String(18)),
    Column("sent_at", BigInteger),
    Column("error", Text, nullable=False, server_default=_EMPTY),
    Column("actor", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# ------------------------------------------------------------------ reminders

reminders: Final = Table(
    "reminders",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("owner_id", _Serial, ForeignKey("users.id"), nullable=False),
    Column("assignee_id", _Serial, ForeignKey("users.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("details", Text, nullable=False),
    # A day as 2026-12-01, which sorts; null: none.
    Column("due", String(10)),
    Column("priority", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    # A Salesforce id or an address key; empty: nobody.
    Column("person", Text, nullable=False),
    Column("record", String(18), nullable=False),
    # No foreign key: a reminder outlives its message.
    Column("message_id", String(26)),
    # What made it, where that may be tried again; null: a person.
    Column("origin", Text, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    # Set: a tombstone.
    Column("removed_at", BigInteger),
    Index(None, "assignee_id", "status", "due"),
    Index(None, "owner_id"),
    Index(
        "ix_reminders_message_id",
        "message_id",
        sqlite_where=text("message_id IS NOT NULL"),
        postgresql_where=text("message_id IS NOT NULL"),
    ),
)

reminder_changes: Final = Table(
    "reminder_changes",
    metadata,
    _serial(),
    Column("reminder_id", String(26), ForeignKey("reminders.id"), nullable=False),
    # All fields of one edit have the version that it made.
    Column("version", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("field", String(32), nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    # The version that this edit took back.
    Column("undoes", BigInteger),
    UniqueConstraint("reminder_id", "version", "field"),
)

reminder_feeds: Final = Table(
    "reminder_feeds",
    metadata,
    Column(
        "user_id",
        _Serial,
        ForeignKey("users.id"),
        primary_key=True,
        autoincrement=False,
    ),
    # Of the secret in the URL.
    Column("hash", String(64), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("used_at", BigInteger),
)

# ------------------------------------------------------------------ reminders in step

reminder_syncs: Final = Table(
    "reminder_syncs",
    metadata,
    Column(
        "user_id",
        _Serial,
        ForeignKey("users.id"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("salesforce_id", String(18), nullable=False),
    Column("is_on", Boolean, nullable=False),
    Column("first_on_at", BigInteger),
    Column("on_at", BigInteger),
    Column("off_at", BigInteger),
    Column("phase", String(16), nullable=False),
    # By Salesforce's clock, and the last id of that stamp.
    Column("since", BigInteger),
    Column("after", String(18), nullable=False, server_default=_EMPTY),
    Column("imported", BigInteger, nullable=False, server_default=_ZERO),
    Column("pushed", BigInteger, nullable=False, server_default=_ZERO),
    Column("synced_at", BigInteger),
    Column("stopped", String(16)),
    Column("stopped_text", Text, nullable=False, server_default=_EMPTY),
    Column("permit", BigInteger, nullable=False, server_default=_ZERO),
)

reminder_tasks: Final = Table(
    "reminder_tasks",
    metadata,
    Column("reminder_id", String(26), ForeignKey("reminders.id"), primary_key=True),
    Column("user_id", _Serial, ForeignKey("users.id"), nullable=False),
    Column("key", String(40), nullable=False, unique=True),
    Column("turn", BigInteger, nullable=False),
    Column("task_id", String(18), unique=True),
    Column("state", String(16), nullable=False),
    Column("sent_at", BigInteger),
    Column("lookups", BigInteger, nullable=False),
    # Of the reminder, as it was dealt with.
    Column("version", BigInteger, nullable=False),
    # JSON: what both sides agreed on last.
    Column("here", Text, nullable=False),
    Column("there", Text, nullable=False),
    Column("stamp", BigInteger),
    Column("ended", String(16)),
    Column("code", Text, nullable=False, server_default=_EMPTY),
    Column("error", Text, nullable=False, server_default=_EMPTY),
    Column("failures", BigInteger, nullable=False, server_default=_ZERO),
    Column("failing_since", BigInteger),
    Column("due_at", BigInteger),
    Index(None, "user_id", "state"),
)

reminder_clashes: Final = Table(
    "reminder_clashes",
    metadata,
    _serial(),
    Column("reminder_id", String(26), ForeignKey("reminders.id"), nullable=False),
    Column("user_id", _Serial, ForeignKey("users.id"), nullable=False),
    Column("task_id", String(18), nullable=False),
    Column("field", String(32), nullable=False),
    # JSON: the values of both sides.
    Column("here", Text, nullable=False),
    Column("there", Text, nullable=False),
    Column("kept", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("undone_at", BigInteger),
    Column("undone_by", Text, nullable=False, server_default=_EMPTY),
    Index(None, "user_id", "id"),
    Index(None, "reminder_id"),
)

# ------------------------------------------------------------------ alerts

alerts: Final = Table(
    "alerts",
    metadata,
    _serial(),
    Column("rule", String(16), nullable=False),
    # What it is about: an org, a user, a file, a host.
    Column("subject", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("raised_at", BigInteger, nullable=False),
    # When it was told last, and how often.
    Column("told_at", BigInteger, nullable=False),
    Column("told", Integer, nullable=False),
    # Null: it is still so.
    Column("cleared_at", BigInteger),
    # One at a time for a rule and a subject, however many relays find it.
    Index(
        "ix_alerts_open",
        "rule",
        "subject",
        unique=True,
        sqlite_where=text("cleared_at IS NULL"),
        postgresql_where=text("cleared_at IS NULL"),
    ),
)

webhook_calls: Final = Table(
    "webhook_calls",
    metadata,
    _serial(),
    # Header webhook-id: the receiver knows by it what it has had before.
    Column("key", String(64), nullable=False, unique=True),
    Column("alert_id", _Serial, ForeignKey("alerts.id"), nullable=True),
    Column("event", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # When to send it; null: never again.
    Column("due_at", BigInteger),
    Column("written_at", BigInteger),
    Column("failures", Integer, nullable=False, server_default=_ZERO),
    Column("failing_since", BigInteger),
    # What the receiver answered last.
    Column("status", Integer),
    Column("response", Text, nullable=False, server_default=_EMPTY),
    Column("error", Text, nullable=False, server_default=_EMPTY),
    Column("lease_owner", Text),
    Column("lease_until", BigInteger),
    Index(None, "alert_id"),
    Index(
        "ix_webhook_calls_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)
