"""What a decision needs: facts of the mail, and one look-up for many mails.

`relay.match` decides without waiting; here Salesforce is asked for what it needs to
know. The worker decides a batch with `Decisions`, `relay explain` a single mail. What
Salesforce refused changes the facts for the next draft: a record has gone, a field has
changed, an owner is inactive. The mail is then drafted anew, once in an attempt,
without what the refusals named.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from relay.activity import message_identifier
from relay.core.addresses import address_key
from relay.core.directory import record_in
from relay.core.errors import OrgPaused
from relay.core.retry import Retry
from relay.core.states import ActivityState
from relay.diagnose.org import setting_problems
from relay.mail import own_words, without_quotes
from relay.match import (
    Answers,
    Context,
    MailFacts,
    Redraft,
    Rules,
    decide,
    logged_elsewhere,
    records_of,
    rep_of,
    with_earlier,
)
from relay.outbox.owner_changes import INACTIVE_OWNER
from relay.salesforce.errors import Category, rule
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Mapping,
        Sequence,
    )

    from relay.config import Settings
    from relay.core.content import Earlier
    from relay.core.directory import Directory, User
    from relay.core.model import Draft, Found
    from relay.core.org import OrgSchema, SalesforceUser
    from relay.match import Decision, Question
    from relay.outbox.batch import BatchMail
    from relay.outbox.mode import WriteMode
    from relay.salesforce import FoundRecord, Org

    Asked = tuple[MailFacts, Question]
    Threads = Callable[[Collection[str]], Awaitable[Mapping[str, Earlier]]]

NOTHING: Final = frozenset[str]()

_ESSENTIAL: Final = frozenset(
    {"WhoId", "WhatId", "TaskWhoIds", "RelatedToId", "ToIds", "CcIds", "Status"}
    | {"MessageIdentifier", "Subject", "OwnerId", "Description", "TextBody"}
)
"""Fields without which a record would not be what it is for."""

_MEANT: Final = {
    "INVALID_EMAIL_ADDRESS": ("FromAddress", "ToAddress", "CcAddress", "BccAddress")
}
"""Fields that a code speaks of where the answer names none."""

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions of mails, in their order, and what they were made of."""

    decisions: tuple[Decision, ...]
    answers: Answers
    context: Context


class Decisions:
    """Decides about mails by the settings, the directory and Salesforce."""

    def __init__(
        self,
        settings: Settings,
        org: Org,
        mode: WriteMode,
        directory: Callable[[], Directory],
        threads: Threads | None = None,
    ) -> None:
        """Keep the parts; the directory is read when a mail is decided.

        Args:
            settings: The file and the environment.
            org: Salesforce.
            mode: In which shape the org logs mail.
            directory: Returns users and rules as they are now.
            threads: Returns, by Message-ID, the related records on which earlier mails
                were logged, and their people; None: nobody knows.
        """
        self._threads = threads
        self._settings = settings
        self._org = org
        self._mode = mode
        self._directory = directory
        self._rules = rules(settings)
        self._context: Context | None = None
        self._compared: OrgSchema | None = None

    @property
    def context(self) -> Context:
        """Return the rules with the present directory, indexed once for each edit."""
        directory = self._directory()
        if self._context is None or self._context.directory is not directory:
            self._context = Context.of(directory, self._rules)
        return self._context

    async def decide(
        self, asked: Sequence[Asked], *, fresh: Collection[str] = NOTHING
    ) -> Decided:
        """Look up all that these mails ask for together, then decide each mail.

        Args:
            asked: Mails with their questions, each with something to look for.
            fresh: Address keys and user ids that are asked anew, although remembered.

        Raises:
            RelayError: Salesforce could not be asked; nothing is decided.
        """
        context = self.context
        asked = await self._with_threads(asked)
        result = await self._org.lookup.find(
            sorted({key for _, question in asked for key in question.addresses}),
            user_emails=emails_of(
                user for _, question in asked for user in question.users
            ),
            user_ids=sorted(
                {
                    user.salesforce_id
                    for _, question in asked
                    for user in question.users
                    if user.salesforce_id and not user.time_zone
                }
            ),
            match=context.match,
            records=sorted(
                {
                    sfid
                    for _, question in asked
                    for sfid in (*question.records, *question.inherited)
                }
            ),
            fresh=frozenset(fresh),
        )
        found = result.found
        if context.match.visibility == "user":
            found = await self._readable(asked, found, result.users)
        schema = await self._org.schema.get()
        self._compare(schema)
        known = await self._mode.known(schema)
        answers = Answers(
            found,
            result.users,
            schema,
            known or await self._mode.likely(schema),
            mode_known=known is not None,
            asked_in=result.asked_in,
            cached=result.cached,
        )
        decisions = [
            decide(mail, question, answers, context) for mail, question in asked
        ]
        if self._settings.salesforce.look_before_write:
            decisions = await self._look_before_write(asked, decisions, schema)
        return Decided(tuple(decisions), answers, context)

    async def _with_threads(self, asked: Sequence[Asked]) -> Sequence[Asked]:
        """Fill in the records of the mails' threads, by one question to the store.

        Raises:
            StoreUnavailable: Nothing is decided.
        """
        wanted = {one for _, question in asked for one in question.threads}
        if not wanted or self._threads is None:
            return asked
        logged = await self._threads(wanted)
        return [(mail, with_earlier(question, logged)) for mail, question in asked]

    async def _readable(
        self, asked: Sequence[Asked], found: Found, users: Sequence[SalesforceUser]
    ) -> Found:
        """Ask what each rep can read of the records that fit their mails.

        Raises:
            RelayError: Salesforce could not be asked; nothing is decided.
        """
        wanted: dict[str, set[str]] = defaultdict(set)
        for _, question in asked:
            rep = rep_of(question, users)
            if rep:
                wanted[rep] |= records_of(question.people, found)
                ids = (*question.records, *question.inherited)
                named = map(found.records.get, ids)
                wanted[rep] |= {record.id for record in named if record}
        readable = await self._org.lookup.readable(wanted)
        return replace(found, readable=readable)

    async def users(self, users: Sequence[User]) -> Sequence[SalesforceUser]:
        """Return the Salesforce users of these users alone.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        result = await self._org.lookup.find((), user_emails=emails_of(users))
        return result.users

    def _compare(self, schema: OrgSchema) -> None:
        """Log, once for each description of the org, which settings do not fit it."""
        if schema is self._compared:
            return
        self._compared = schema
        for name, problem in setting_problems(self._settings.salesforce, schema):
            logger.error(
                "setting_does_not_fit", setting=f"salesforce.{name}", problem=problem
            )

    # ------------------------------------------------------------ look before write

    async def _look_before_write(
        self, asked: Sequence[Asked], decisions: list[Decision], schema: OrgSchema
    ) -> list[Decision]:
        """Skip mails that another tool has logged; its author is named.

        Other products store the same Message-ID with their EmailMessages. What was
        deleted does not count, and neither does our own: the ledger knows that. A mail
        of which something is in Salesforce by us goes on, whoever else has it.

        Raises:
            RelayError: Salesforce could not be asked; nothing is decided.
        """
        length = schema.length("EmailMessage", "MessageIdentifier")
        fresh: dict[str, list[int]] = defaultdict(list)
        for number, ((mail, _), decision) in enumerate(
            zip(asked, decisions, strict=True)
        ):
            named = decision.match.who or decision.match.what
            if named and not mail.begun and mail.email.message_id:
                stored = message_identifier(mail.email.message_id, mail.key, length)
                fresh[stored].append(number)
        if not fresh or not schema.has("EmailMessage"):
            return decisions
        for identifier, detail in (await self._foreign(sorted(fresh))).items():
            for number in fresh[identifier]:
                decisions[number] = logged_elsewhere(decisions[number], detail)
        return decisions

    async def _foreign(self, identifiers: Sequence[str]) -> dict[str, str]:
        """Return who has logged these Message-IDs beside us, as a sentence."""
        # An identifier that fits no query counts as not logged.
        found = await self._org.records.find_email_messages(identifiers, whole=False)
        me = await self._org.access.me()
        others: dict[str, FoundRecord] = {}
        for identifier, records in found.items():
            for record in records:
                foreign = record.created_by_id not in {None, me}
                if foreign and not record.is_deleted:
                    others.setdefault(identifier, record)
        authors = {r.created_by_id for r in others.values() if r.created_by_id}
        names = await self._org.lookup.users(sorted(authors)) if authors else {}
        sentences: dict[str, str] = {}
        for identifier, record in others.items():
            author = record.created_by_id or ""
            name = names[author].name if author in names else "a user"
            sentences[identifier] = (
                f"{name} ({author}) has logged it as EmailMessage {record.id}"
            )
        return sentences


def rules(settings: Settings) -> Rules:
    """Return what the settings say about decisions."""
    return Rules(
        relay_domains=frozenset(settings.smtp.domains),
        max_people=settings.salesforce.max_addresses_per_mail,
        match=settings.match,
        records=settings.salesforce,
        shadow=settings.salesforce.write_as == "nothing",
        without_quotes=without_quotes,
        own_words=own_words,
        automatic=settings.automatic.rules(),
    )


def emails_of(users: Iterable[User]) -> list[str]:
    """Return the address keys of the users whose Salesforce id is not known."""
    return sorted(
        {
            key
            for user in users
            if not user.salesforce_id and (key := address_key(user.email))
        }
    )


def keys_of(users: Iterable[User]) -> set[str]:
    """Return under which keys and ids users are looked up and remembered."""
    emails = {address_key(user.email) or "" for user in users}
    return emails | {user.salesforce_id or "" for user in users}


def facts_of(mail: BatchMail) -> MailFacts:
    """Return what is known of a mail of the batch."""
    refused = Redraft(mail.left_out, mail.task_owner) if mail.redrafted else None
    return MailFacts(
        mail.email,
        mail.mail.key,
        mail.received_at,
        tuple(item.user for item in mail.items if item.user),
        tuple(mail.sure),
        refused,
        null_sender=all(item.claimed.null_sender for item in mail.items),
        resolved=mail.mail.resolved,
        named=tuple(record_in(item.claimed.rcpt) for item in mail.items if item.user),
    )


def check_keys(drafts: Sequence[Draft]) -> None:
    """See to it that each record carries its key: without it none is ever found again.

    Raises:
        OrgPaused: Our user may not set the field that would hold the key.
    """
    for made in drafts:
        place = "MessageIdentifier" if made.object == "EmailMessage" else "Description"
        if place not in made.fields and not made.key_field:
            text = (
                f"{made.object}.{place} may not be set by the integration user, so a "
                f"record could be written twice: give it edit access to the field"
            )
            raise OrgPaused(text, code="no_place_for_key")


# ---------------------------------------------------------------- after a refusal


def may_be_redrafted(mail: BatchMail, fallback_owner: str) -> bool:
    """Say whether a mail was refused for a reason that a new draft may remove.

    Args:
        mail: The mail.
        fallback_owner: Owner of Tasks whose rep is inactive; empty for none.
    """
    if mail.lost or mail.redrafted:
        return False
    codes = _codes(mail)
    if INACTIVE_OWNER in codes and fallback_owner:
        return True
    return any(rule(code).retry is Retry.REPLAN for code in codes)


def prepare_redraft(mail: BatchMail, fallback_owner: str) -> bool:
    """Have the next draft leave out or replace what was refused.

    Returns:
        Whether the org must be described anew first.
    """
    codes = _codes(mail)
    mail.redrafted = True
    mail.left_out = frozenset(_complaints(mail))
    if INACTIVE_OWNER in codes:
        mail.task_owner = fallback_owner
    mail.trace("redraft", ", ".join(sorted(codes)), _names(mail.left_out))
    return any(rule(code).category is Category.ACCESS for code in codes)


def _codes(mail: BatchMail) -> set[str]:
    """Return Salesforce's codes of the refused rows."""
    return {row.error.partition(" ")[0] for row in mail.of(ActivityState.REFUSED)}


def _complaints(mail: BatchMail) -> set[tuple[str, str]]:
    """Return the (object, field) that Salesforce named in its refusals.

    What a record is for stays in: without it another record would be written.
    """
    return {
        (row.object, field)
        for row in mail.of(ActivityState.REFUSED)
        if (outcome := mail.refusals.get(row.key))
        and rule(outcome.code).category is Category.ACCESS
        for field in outcome.fields or _MEANT.get(outcome.code, ())
        if field not in _ESSENTIAL and field != row.key_field
    }


def _names(fields: frozenset[tuple[str, str]]) -> str:
    listed = ", ".join(sorted(f"{sobject}.{name}" for sobject, name in fields))
    return f"without {listed}" if listed else ""
