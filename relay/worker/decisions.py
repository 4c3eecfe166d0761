"""What a decision needs from Salesforce: one look-up for many mails.

`relay.match` decides without waiting; here is asked what it needs to know. The worker
decides a batch with `Decisions`, `relay explain` a single mail.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.activity import message_identifier
from relay.core.addresses import address_key
from relay.match import (
    Answers,
    Context,
    Rules,
    Several,
    decide,
    logged_elsewhere,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from relay.config import Settings
    from relay.core.directory import Directory, User
    from relay.core.org import OrgSchema, SalesforceUser
    from relay.match import Decision, MailFacts, Question
    from relay.outbox.mode import WriteMode
    from relay.salesforce import FoundRecord, Org

    Asked = tuple[MailFacts, Question]

NOBODY: Final = frozenset[str]()


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
    ) -> None:
        """Keep the parts; the directory is read when a mail is decided."""
        self._settings = settings
        self._org = org
        self._mode = mode
        self._directory = directory
        self._rules = rules(settings)
        self._context: Context | None = None

    @property
    def context(self) -> Context:
        """Return the rules with the present directory, indexed once for each edit."""
        directory = self._directory()
        if self._context is None or self._context.directory is not directory:
            self._context = Context.of(directory, self._rules)
        return self._context

    async def decide(
        self, asked: Sequence[Asked], *, fresh: Collection[str] = NOBODY
    ) -> Decided:
        """Look up all people of these mails together, then decide each mail.

        Args:
            asked: Mails with their questions, each with people to look for.
            fresh: Address keys and user ids that are asked anew, although remembered.

        Raises:
            RelayError: Salesforce could not be asked; nothing is decided.
        """
        context = self.context
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
            activity_counts=context.several is Several.MOST_ACTIVITY,
            fresh=frozenset(fresh),
        )
        schema = await self._org.schema.get()
        known = await self._mode.known(schema)
        answers = Answers(
            result.found,
            result.users,
            schema,
            known or await self._mode.likely(schema),
            mode_known=known is not None,
        )
        decisions = [
            decide(mail, question, answers, context) for mail, question in asked
        ]
        if self._settings.salesforce.look_before_write:
            decisions = await self._look_before_write(asked, decisions, schema)
        return Decided(tuple(decisions), answers, context)

    async def users(self, users: Sequence[User]) -> Sequence[SalesforceUser]:
        """Return the Salesforce users of these users alone.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        result = await self._org.lookup.find((), user_emails=emails_of(users))
        return result.users

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
            if decision.match.who and not mail.begun and mail.email.message_id:
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
        # An identifier that fits no query counts as logged by nobody.
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
        several=Several(settings.match.several),
        records=settings.salesforce,
        shadow=settings.salesforce.write_as == "nothing",
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
