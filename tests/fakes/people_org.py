"""People and their Tasks in an org in memory.

It passes `tests/salesforce/test_people_contract.py`, as the real client does. What one
record of a call is answered can be told, as no sandbox could tell it.
"""

from __future__ import annotations

from relay.salesforce import FieldInfo, LookupResult, OrgSchema
from relay.salesforce.model import WriteOutcome, WriteState
from tests.fakes.values import contact, found

CONTACTS = tuple(
    contact(number, f"{name}@customer.example")
    for number, name in enumerate(("anna", "bert", "carl", "dora"), 1)
)
FIELDS = ("WhoId", "OwnerId", "Subject", "Description", "Status", "ActivityDate")
OPEN = "open"
"""Stands for the contact of a Task that names none."""


class PeopleOrg:
    """Knows some people; answers each record as `verdicts` say, by its contact.

    `fails` are errors by call, `lookup` or `create`; `merges` says by contact who takes
    its place once a record for it was asked for. `before` is awaited first, with the
    name of the call and its keys.
    """

    def __init__(self):
        self.people = list(CONTACTS)
        self.users = ()
        self.verdicts = {}
        self.fails = {}
        self.merges = {}
        self.created = []
        self.looked_up = []
        self.before = None
        self._made = 0
        self.lookup = self.records = self.schema = self

    async def get(self, *, fresh=False):
        yes = (True, True, True, True, False, False, False, False)
        known = {n: FieldInfo(n, n, "string", 1000, *yes) for n in FIELDS}
        return OrgSchema(
            {"Task": known},
            frozenset({"Task"}),
            closed_statuses=("Done",),
            open_statuses=("To do",),
        )

    async def find(self, addresses, *, fresh=frozenset(), **more):
        await self._begin("lookup", addresses)
        self.looked_up.append((list(addresses), fresh))
        known = [p for p in self.people if p.email_key in addresses]
        return LookupResult(found(*known), self.users)

    async def create(self, records, **more):
        await self._begin("create", [key for key, _, _ in records])
        outcomes = []
        for key, _, fields in records:
            said = self.verdicts.get(
                fields.get("WhoId", OPEN), (WriteState.WRITTEN, "")
            )
            state, code = said.pop(0) if isinstance(said, list) else said
            self.created.append(fields.get("WhoId", OPEN))
            self._merge(fields.get("WhoId", OPEN))
            made = None
            if state is WriteState.WRITTEN:
                self._made += 1
                made = f"00T{self._made:012d}AAA"
            outcomes.append(WriteOutcome(key, state, made, code, "as it says"))
        return outcomes

    async def _begin(self, name, keys):
        if self.before is not None:
            await self.before(name, keys)
        if name in self.fails:
            raise self.fails[name]

    def _merge(self, contact_id):
        if contact_id in self.merges:
            self.people = [p for p in self.people if p.id != contact_id]
            self.people.append(self.merges[contact_id])
