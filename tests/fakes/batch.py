"""A store and an org in memory, as far as a worker's pipeline asks them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from relay.core.errors import StoreUnavailable
from relay.core.model import Activity, MailState
from relay.core.states import ActivityState
from relay.salesforce import FieldInfo, LookupResult, OrgSchema
from relay.salesforce.model import WriteOutcome, WriteState
from tests.fakes.values import NOON, contact, found

CONTACTS = tuple(
    contact(number, f"{name}@customer.example")
    for number, name in enumerate(("anna", "bert", "carl", "dora"), 1)
)
FIELDS = ("WhoId", "OwnerId", "Subject", "Description", "Status", "ActivityDate")


class Clock:
    """Stands still at noon."""

    def now(self):
        return NOON

    def boottime_s(self):
        return 1.0


@dataclass
class Store:
    """Raw mails, and the ledger of each."""

    raws_by_id: dict = field(default_factory=dict)
    mail_ids: dict = field(default_factory=dict)
    rows: dict = field(default_factory=dict)
    busy: set = field(default_factory=set)
    lost: set = field(default_factory=set)
    down: bool = False
    late: bool = False
    """The next commit is done, and its caller told that it was not."""

    def __post_init__(self):
        self.messages = self.mails = self.ledger = self.directory = self

    async def raws(self, blob_ids):
        return {i: self.raws_by_id[i] for i in blob_ids if i in self.raws_by_id}

    async def join(self, owner, copies):
        states = {}
        for message, key1, _, _ in copies:
            mail = self.mail_ids.setdefault(key1, len(self.mail_ids) + 1)
            rows = tuple(row for row in self.rows.values() if row.mail_id == mail)
            if message not in self.lost:
                leased = message not in self.busy
                states[message] = MailState(mail, f"mail {mail}", rows, leased)
        return states

    async def advance(
        self, owner, *, plans=(), ledger=(), settlements=(), files=(), unsent=()
    ):
        if self.down:
            raise StoreUnavailable("the disk is gone")
        for one in unsent:
            row = self.rows[one.key]
            assert (row.mail_id, row.state) == (one.mail_id, ActivityState.SENT)
            self.rows[one.key] = replace(row, state=ActivityState.PLANNED)
        for mail, drafts in plans:
            for made in drafts:
                self.rows[made.key] = Activity(
                    made.key,
                    mail,
                    made.slot,
                    made.object,
                    made.fields,
                    made.rule,
                    ActivityState.PLANNED,
                    people=made.people,
                )
        for change in ledger:
            self.rows[change.key] = replace(
                self.rows[change.key],
                state=change.state,
                error=change.error or "",
                salesforce_id=change.salesforce_id,
            )
        if self.late:
            self.late = False
            raise StoreUnavailable("the store does not answer")
        return {settlement.message_id for settlement in settlements}

    async def set_time_zone(self, user_id, zone):
        pass

    def state(self, message):
        """Return the states of a message's rows, by the contact that each names."""
        mail = self.mail_ids[f"key1 of {message}"]
        mine = [row for row in self.rows.values() if row.mail_id == mail]
        return {row.fields["WhoId"]: row.state for row in mine}


class Org:
    """Knows some people; answers each record as `verdicts` say, by its contact.

    `fails` are errors by call, `lookup` or `create`; `merges` says by contact who takes
    its place once a record for it was asked for. No record is taken whose row is not
    committed as *sent*.
    """

    def __init__(self, store):
        self.people = list(CONTACTS)
        self.verdicts = {}
        self.fails = {}
        self.merges = {}
        self.created = []
        self.looked_up = []
        self._store = store
        self.lookup = self.records = self.schema = self

    async def get(self, *, fresh=False):
        yes = (True, True, True, True, False, False, False, False)
        known = {n: FieldInfo(n, n, "string", 1000, *yes) for n in FIELDS}
        return OrgSchema(
            {"Task": known}, frozenset({"Task"}), closed_statuses=("Done",)
        )

    async def find(self, keys, *, fresh=frozenset(), **more):
        self.looked_up.append((list(keys), fresh))
        if "lookup" in self.fails:
            raise self.fails["lookup"]
        return LookupResult(found(*(p for p in self.people if p.email_key in keys)))

    async def create(self, records, **more):
        keys = [key for key, _, _ in records]
        assert {self._store.rows[key].state for key in keys} <= {ActivityState.SENT}
        if "create" in self.fails:
            raise self.fails["create"]
        outcomes = []
        for key, _, fields in records:
            said = self.verdicts.get(fields["WhoId"], (WriteState.WRITTEN, ""))
            state, code = said.pop(0) if isinstance(said, list) else said
            number = f"00T{len(self.created):012d}AAA"
            self.created.append(fields["WhoId"])
            self._merge(fields["WhoId"])
            made = number if state is WriteState.WRITTEN else None
            outcomes.append(WriteOutcome(key, state, made, code, "as it says"))
        return outcomes

    def _merge(self, contact_id):
        if contact_id in self.merges:
            self.people = [p for p in self.people if p.id != contact_id]
            self.people.append(self.merges[contact_id])


class Files:
    """There are none."""

    def plan(self, run, work):
        pass
