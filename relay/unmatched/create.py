"""Makes a Lead or a Contact of somebody who has no record, once.

Off unless an admin allows it (`match.unmatched_create`). Duplicate rules of the org
hold: no header asks Salesforce to save all the same. Assignment rules are off: the
record belongs to the rep of the mail.

An address gets one record, however often and from wherever it is asked for: its key is
a row of the store, committed as *sent* before the request leaves. Where no answer came,
the record is looked for by its address, and made again only once it is certain that a
late request cannot make it any more.

Source: REST API Developer Guide, "Duplicate Rule Header", "Assignment Rule Header".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import Conflict, InvalidInput, OutcomeUnknown
from relay.core.free_mail import is_free_mail
from relay.core.ids import record_id
from relay.core.states import ActivityState
from relay.core.unmatched import MadeRecord
from relay.salesforce.model import WriteState
from relay.unmatched.actions import read_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.model import Candidate, Json, Person
    from relay.core.org import OrgSchema
    from relay.core.unmatched import UnmatchedMessage
    from relay.salesforce import Org
    from relay.salesforce.model import WriteOutcome
    from relay.store import Store

HEADERS: Final = {"Sforce-Auto-Assign": "FALSE"}
OBJECTS: Final = ("Lead", "Contact")
DUPLICATE: Final = "DUPLICATES_DETECTED"
SEND_WITHIN_S: Final = 5.0
"""A request that has not left by then is dropped, so that none is sent late."""
MAX_PEOPLE: Final = 50
"""People of one command."""
_LENGTHS: Final = {"FirstName": 40, "LastName": 80, "Company": 255, "Email": 80}
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Created:
    """What became of one person.

    `how` is `created`, `known` (the address has a record by now) or `refused`.
    """

    address: str
    object: str
    id: str
    how: str
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay unmatched create --json` prints."""
        return {
            "address": self.address,
            "object": self.object,
            "id": self.id,
            "how": self.how,
            "detail": self.detail,
        }


class Maker:
    """Makes records of people who have none.

    Args:
        settings: Time-outs of the org.
        store: The open store.
        org: The started org.
        clock: For unknown outcomes.
        directory: Whose messages they are.
    """

    def __init__(
        self,
        settings: SalesforceSettings,
        store: Store,
        org: Org,
        clock: Clock,
        directory: Directory,
    ) -> None:
        """Keep the parts; nothing is asked yet."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._directory = directory

    async def create(
        self,
        messages: Sequence[UnmatchedMessage],
        sobject: str,
        actor: str,
        *,
        account: str | None = None,
        only: str | None = None,
    ) -> list[Created]:
        """Make a record of everybody in these messages, then match them anew.

        Args:
            messages: Unmatched messages.
            sobject: `Lead` or `Contact`.
            actor: Who asks.
            account: Id of the Account of Contacts.
            only: The address key of the only one to make a record of.

        Raises:
            InvalidInput: There is nobody, or too many; or the Account does not fit.
            OutcomeUnknown: Salesforce did not answer; the same call goes on later.
            Conflict: Somebody else is making one of them.
            SalesforceUnavailable, OrgPaused: Nothing more was made.
        """
        people = _people(messages, only)
        account = await self._account(sobject, account)
        schema = await self._org.schema.get()
        if sobject not in schema.createables:
            problem = f"the integration user may not create a {sobject}"
            raise InvalidInput(problem, "give it the right to create them")
        made: list[Created] = []
        for person, user_id in people:
            user = self._directory.users.get(user_id or 0)
            owner = user.salesforce_id if user else None
            fields = fields_of(person, sobject, schema, owner=owner, account=account)
            made.append(await self._make(person, sobject, fields, actor))
        done = {one.address for one in made if one.how != "refused"}
        ids = [
            one.id
            for one in messages
            if any(person.address in done for person in one.people)
        ]
        await self._store.unmatched.requeue(ids, actor)
        return made

    async def _account(self, sobject: str, account: str | None) -> str | None:
        if account is None:
            return None
        if sobject != "Contact":
            raise InvalidInput("a Lead has no Account", "leave --account out")
        sfid = record_id(account)
        if sfid is None:
            raise InvalidInput(f"{account!r} is no record id", "name an Account")
        (record,) = await read_records(self._org, [sfid])
        if record.object != "Account":
            problem = f"{account} is a record of {record.object}"
            raise InvalidInput(problem, "name an Account")
        return record.id

    async def _make(
        self, person: Person, sobject: str, fields: Mapping[str, Json], actor: str
    ) -> Created:
        """Make one record, or find that it is there.

        Raises:
            OutcomeUnknown: It may be made; the next call looks for it.
            Conflict: Somebody else is making it.
        """
        if fields.get("Email") != person.key:
            why = "Salesforce would not take the whole address"
            return Created(person.address, sobject, "", "refused", why)
        key = key_of(person.key)
        known = await self._store.unmatched.made(key)
        there = await self._org.lookup.find([person.key], fresh=[person.key])
        if found := there.found.candidates.get(person.key):
            return await self._known(person, key, known, found)
        self._need_certainty(person, known)
        row = MadeRecord(key, person.key, sobject, fields, ActivityState.SENT)
        if not await self._store.unmatched.mark_making(row, known, actor):
            text = f"somebody else is making a record for {person.address} just now"
            raise Conflict(text)
        (outcome,) = await self._org.records.create(
            [(key, sobject, fields)],
            not_after_boottime_s=self._clock.boottime_s() + SEND_WITHIN_S,
            headers=HEADERS,
        )
        return await self._end(person, sobject, key, outcome)

    async def _known(
        self,
        person: Person,
        key: str,
        known: MadeRecord | None,
        found: Sequence[Candidate],
    ) -> Created:
        """Say that the address has a record; perhaps the one that we sent."""
        first = found[0]
        if known and known.state is ActivityState.SENT:
            ours = next((one for one in found if one.object == known.object), None)
            if ours:
                written = ActivityState.WRITTEN
                await self._store.unmatched.end_making(key, written, ours.id, "")
                return Created(person.address, ours.object, ours.id, "created")
        detail = "the address has a record by now"
        return Created(person.address, first.object, first.id, "known", detail)

    def _need_certainty(self, person: Person, known: MadeRecord | None) -> None:
        """Go on only where no earlier request can still make the record.

        Raises:
            OutcomeUnknown: One may.
        """
        if known is None or known.state is not ActivityState.SENT or not known.sent_at:
            return
        settings = self._settings
        late_s = settings.timeout_s + settings.settle_s + SEND_WITHIN_S
        wait_s = (
            known.sent_at + timedelta(seconds=late_s) - self._clock.now()
        ).total_seconds()
        if wait_s > 0:
            text = (
                f"whether a {known.object} for {person.address} was made is not known "
                f"yet; run the command again in {wait_s:.0f} s"
            )
            raise OutcomeUnknown(text)

    async def _end(
        self, person: Person, sobject: str, key: str, outcome: WriteOutcome
    ) -> Created:
        """Write down what became of a request."""
        state = outcome.state
        if state is WriteState.WRITTEN and outcome.id:
            written = ActivityState.WRITTEN
            await self._store.unmatched.end_making(key, written, outcome.id, "")
            return Created(person.address, sobject, outcome.id, "created")
        if state is WriteState.UNKNOWN:
            text = (
                f"Salesforce did not say whether it made a {sobject} for "
                f"{person.address}; run the command again, it looks first"
            )
            raise OutcomeUnknown(text)
        error = f"{outcome.code} {outcome.text}".strip()
        refused = ActivityState.REFUSED
        await self._store.unmatched.end_making(key, refused, None, error)
        if outcome.error:
            raise outcome.error
        if outcome.code == DUPLICATE:
            error = (
                "a duplicate rule of the org knows somebody like this; resolve the "
                "message to that record, or create this one in Salesforce"
            )
        return Created(person.address, sobject, "", "refused", error)


def _people(
    messages: Sequence[UnmatchedMessage], only: str | None
) -> list[tuple[Person, int | None]]:
    found: dict[str, tuple[Person, int | None]] = {}
    for message in messages:
        for person in message.people:
            if only in {None, person.key}:
                found.setdefault(person.key, (person, message.user_id))
    if not 0 < len(found) <= MAX_PEOPLE:
        problem = f"{len(found)} people of these messages are without a record"
        raise InvalidInput(problem, f"choose messages with 1 to {MAX_PEOPLE}")
    return list(found.values())


def fields_of(
    person: Person,
    sobject: str,
    schema: OrgSchema,
    *,
    owner: str | None = None,
    account: str | None = None,
) -> dict[str, Json]:
    """Return the fields of a record for a person, what is required always filled.

    The name is the display name, else what the address spells; the Company of a Lead is
    that of the domain, or of a private mailbox the name.
    """
    local, _, domain = person.key.rpartition("@")
    shown = "" if "@" in person.name else person.name
    if "," in shown:
        last, _, first = shown.partition(",")
        shown = f"{first} {last}"
    words = _WORD.findall(shown)
    if not words:
        parts = re.split(r"[._+-]+", local.partition("+")[0])
        words = [part.capitalize() for part in parts if part and not part.isdigit()]
    *first_names, last_name = words or [local]
    company = domain.split(".")[0].replace("-", " ").title()
    if is_free_mail(domain):
        company = " ".join([*first_names, last_name])
    fields: dict[str, Json] = {
        "FirstName": " ".join(first_names),
        "LastName": last_name,
        "Email": person.key,
        "Company": company if sobject == "Lead" else None,
        "AccountId": account,
        "OwnerId": owner,
    }
    return {
        name: _cut(value, schema.length(sobject, name) or _LENGTHS.get(name))
        for name, value in fields.items()
        if value and schema.createable(sobject, name)
    }


def _cut(value: Json, length: int | None) -> Json:
    return value[:length] if isinstance(value, str) and length else value


def key_of(address_key: str) -> str:
    """Return the key of the record of an address: one for ever."""
    return hashlib.sha256(f"record:{address_key}".encode()).hexdigest()[:40]
