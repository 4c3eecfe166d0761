"""Opens the store, and is all its operations together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from relay.core.errors import ConfigError, StoreUnavailable
from relay.store import migrate
from relay.store.accounts import Accounts
from relay.store.acts import Acts
from relay.store.alerts import Alerts
from relay.store.answers import Answers
from relay.store.attachments import Attachments
from relay.store.changes import Changes
from relay.store.claims import Claims
from relay.store.context import StoreContext, in_thread
from relay.store.copies import Copies
from relay.store.credentials import Credentials
from relay.store.database import (
    SQLiteDatabase,
    masked,
    parse_url,
    prepare_file,
)
from relay.store.directory import DirectoryStore
from relay.store.errors import code, translate
from relay.store.factors import Factors
from relay.store.figures import Figures
from relay.store.history import History
from relay.store.ledger import ActivityLedger
from relay.store.log import LogQueries
from relay.store.mails import Mails
from relay.store.messages import MessageStore
from relay.store.notices import Notices
from relay.store.past import PastMails
from relay.store.postgres import PostgresDatabase
from relay.store.queue import Queue
from relay.store.refusals import Refusals
from relay.store.reminder_sync import ReminderSync
from relay.store.reminders import Reminders
from relay.store.search_index import SearchIndex
from relay.store.sender import SenderFacts
from relay.store.shared import Leases, OrgPauses, SharedFacts, UsageCounts
from relay.store.spool import Spool, private_temporary_folder, spool_beside
from relay.store.undo import Undo
from relay.store.unmatched import Unmatched
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from relay.config import StoreSettings
    from relay.core.clock import Clock
    from relay.core.queue import LeaseOwner
    from relay.store.database import Database

T = TypeVar("T")

log = get_logger(__name__)


class Store:
    """Everything the relay must not forget, in parts; each call is one transaction.

    All operations raise `StoreUnavailable` when the database cannot be used; what they
    were to change is then unchanged. Several stores, in one process or several, may be
    open on one database.

    Attributes:
        context: What the parts share.
        owner: The process that opened the store, where it was named at `open`.
        messages: Accepted mail, its raw bytes, and the disk it needs.
        refusals: What was refused.
        log: Queries over messages and refusals, for people.
        search_index: Where in them a word can stand at all.
        changes: Which of them came or changed, in the order of commits.
        figures: What charts count.
        queue: The worker's claims on messages, and what people do to messages.
        acts: What people did to messages, and taking it back.
        mails: Which messages are copies of one mail.
        past: Mail that has been dealt with, for looking back.
        ledger: What is written to Salesforce for each mail, and how far it is.
        attachments: The files of mails, and how far they are.
        notices: Mails of the relay to its users, and how far they are.
        copies: Copies of mails to Email to Salesforce, and how far they are.
        directory: Users, addresses, exclusions and settings.
        credentials: App passwords and API tokens.
        accounts: Passwords and sessions of the console.
        factors: Second factors of the console.
        answers: What the API answered lately, for requests that are sent again.
        claims: Addresses that users have yet to prove.
        history: Who changed what, and taking it back.
        sender: What sender trust must not forget.
        unmatched: What did not match, its people, and what was decided.
        undo: Logged mails whose records are taken out of Salesforce.
        reminders: What people are to do, with the history of each.
        reminder_sync: Reminders in step with Tasks of Salesforce.
        shared: Small facts that all relays on one database share, by key.
        leases: Named rights that one process of all relays has at a time.
        pauses: The pause of the org, one for all relays.
        usage: The API calls of all relays together.
        alerts: What is wrong, and the webhook calls that tell it.
    """

    def __init__(self, context: StoreContext, owner: LeaseOwner | None = None) -> None:
        """Make the parts over an open database; use `open`."""
        self.context = context
        self.owner = owner
        self.messages = MessageStore(context)
        self.refusals = Refusals(context)
        self.log = LogQueries(context)
        self.search_index = SearchIndex(context)
        self.changes = Changes(context)
        self.figures = Figures(context)
        self.queue = Queue(context)
        self.acts = Acts(context)
        self.mails = Mails(context)
        self.past = PastMails(context)
        self.ledger = ActivityLedger(context)
        self.attachments = Attachments(context)
        self.notices = Notices(context)
        self.copies = Copies(context)
        self.directory = DirectoryStore(context)
        self.credentials = Credentials(context)
        self.accounts = Accounts(context)
        self.factors = Factors(context)
        self.answers = Answers(context)
        self.claims = Claims(context)
        self.history = History(context)
        self.sender = SenderFacts(context)
        self.unmatched = Unmatched(context)
        self.undo = Undo(context)
        self.reminders = Reminders(context)
        self.reminder_sync = ReminderSync(context)
        self.shared = SharedFacts(context)
        self.leases = Leases(context)
        self.pauses = OrgPauses(context)
        self.usage = UsageCounts(context)
        self.alerts = Alerts(context)

    @classmethod
    async def open(
        cls,
        settings: StoreSettings,
        clock: Clock,
        *,
        owner: LeaseOwner | None = None,
    ) -> Store:
        """Open the store; an empty one is created with the newest schema.

        Raises:
            ConfigError: The URL or its place is wrong, or the schema is not this
                relay's; the text names what to do.
            StoreUnavailable: The database does not answer now.
        """
        database, spool = await _connect(settings)
        try:
            revision = await _first(settings, database, migrate.revision_of)
            if revision is None:
                await _first(settings, database, migrate.upgrade, write=True)
            else:
                migrate.check(revision)
            database.timeout_s = settings.timeout_s
            store = cls(StoreContext(database, clock, settings, spool), owner)
            await store.messages.sweep()
        except BaseException:
            await database.close()
            raise
        return store

    @staticmethod
    async def upgrade(settings: StoreSettings) -> tuple[str | None, str]:
        """Bring the schema to the newest revision; return (from, to).

        Raises:
            ConfigError: The schema is newer than this relay, or not a relay's.
            StoreUnavailable: The database does not answer; nothing was changed.
        """
        database, _ = await _connect(settings)
        try:
            return await _first(settings, database, migrate.upgrade, write=True)
        finally:
            await database.close()

    async def tidy(self) -> None:
        """Remove what is left behind or too old to be wanted; do it each hour."""
        await self.messages.sweep()
        discarded = await self.acts.purge()
        if discarded:
            log.info("discarded_purged", count=discarded)
        await self.changes.purge()
        await self.accounts.purge()
        tombstones = await self.reminders.purge()
        if tombstones:
            log.info("reminders_purged", count=tombstones)
        purged = await self.refusals.purge()
        if purged:
            log.info("refusals_purged", count=purged)

    async def close(self) -> None:
        """Finish what is under way, then close; later calls fail."""
        self.context.refuse_calls()
        await self.messages.finish()
        await self.context.database.close()


async def _connect(settings: StoreSettings) -> tuple[Database, Spool]:
    """Return the database, not yet spoken to, and the spool folder."""
    url = parse_url(settings.url)
    if url.get_backend_name() == "sqlite":
        path = await in_thread(lambda: prepare_file(url))
        folder = settings.spool or spool_beside(path)
        spool = await in_thread(lambda: Spool(folder))
        return SQLiteDatabase(url, settings.busy_timeout_s), spool
    spool = await in_thread(lambda: Spool(settings.spool or private_temporary_folder()))
    try:
        return PostgresDatabase(url), spool
    except ModuleNotFoundError as error:
        text = (
            f"store.url = {masked(url)!r}: the PostgreSQL driver is missing; "
            "install relay-to-salesforce[postgres]"
        )
        raise ConfigError(text) from error


async def _first(
    settings: StoreSettings,
    database: Database,
    work: Callable[[Connection], T],
    *,
    write: bool = False,
) -> T:
    """Speak to a database for the first time; what is wrong with it shows here."""
    try:
        return await (database.write(work) if write else database.read(work))
    except StoreUnavailable as error:
        what = code(error)
        for prefix, hint in _HINTS.items():
            if what.startswith(prefix):
                text = f"store.url = {masked(settings.url)!r}: {hint}"
                raise ConfigError(text) from error
        raise _named(settings, error) from error
    except OSError as error:
        raise _named(settings, translate(error)) from error


def _named(settings: StoreSettings, error: BaseException) -> BaseException:
    """Say which server does not answer, and what to look at."""
    url = parse_url(settings.url)
    if url.get_backend_name() == "sqlite" or type(error) is not StoreUnavailable:
        return error
    place = f"{url.host or url.query.get('host') or 'this machine'}"
    place += f":{url.port}" if url.port else ""
    text = f"{error}: store.url leads to {place}; see that PostgreSQL runs there, and "
    return StoreUnavailable(text + "that this machine may reach it")


_HINTS = {
    "SQLITE_NOTADB": "is not a SQLite database; name another file",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup",
    "SQLITE_CANTOPEN": "cannot be opened; give this user the right to write there",
    "SQLITE_READONLY": "cannot be written; give this user the right to write it",
    # SQLSTATE: invalid authorisation; no such database; no right.
    "28": "the login is refused; check user and password",
    "3D000": "there is no such database; create it first",
    "42501": "this user may not create or use the tables; grant it the right",
}
