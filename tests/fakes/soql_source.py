"""A small org in memory, for the query language alone.

Accounts, people, opportunities with roles, tasks, files: enough metadata for every kind
of field and relationship, and rows that tests change as they like.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from relay.core.ids import checksum
from relay.sandbox.soql import FieldMeta, ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from relay.sandbox.soql import Row

PREFIXES = {
    "Account": "001",
    "Contact": "003",
    "User": "005",
    "Opportunity": "006",
    "OpportunityContactRole": "00K",
    "Group": "00G",
    "Lead": "00Q",
    "Task": "00T",
    "ContentDocumentLink": "06A",
    "ContentVersion": "068",
}


def make_id(name: str, number: int) -> str:
    """Return the 18-character id of a record of an object."""
    id15 = f"{PREFIXES[name]}{number:012d}"
    return id15 + checksum(id15)


def text(name: str, type_: str = "string") -> FieldMeta:
    return FieldMeta(name, type_)


def to(name: str, *targets: str, relation: str | None = None) -> FieldMeta:
    return FieldMeta(
        name,
        "reference",
        reference_to=targets,
        relationship_name=relation or name.removesuffix("Id"),
    )


def boolean(name: str) -> FieldMeta:
    return FieldMeta(name, "boolean", aggregatable=False)


def moment(name: str) -> FieldMeta:
    return FieldMeta(name, "datetime", groupable=False)


LONG_TEXT = FieldMeta(
    "Description",
    "textarea",
    filterable=False,
    sortable=False,
    groupable=False,
    aggregatable=False,
)
COMMON = (FieldMeta("Id", "id"), boolean("IsDeleted"), moment("CreatedDate"))

OBJECTS = [
    ObjectMeta(
        "Account",
        [
            *COMMON,
            text("Name"),
            text("Industry", "picklist"),
            FieldMeta("BillingStreet", "textarea"),
            FieldMeta("BillingAddress", "address", filterable=False, sortable=False),
            FieldMeta("AnnualRevenue", "currency", groupable=False),
            FieldMeta("NumberOfEmployees", "int"),
            to("ParentId", "Account"),
            to("OwnerId", "User"),
            LONG_TEXT,
        ],
        {
            "Contacts": ("Contact", "AccountId"),
            "ChildAccounts": ("Account", "ParentId"),
            "Opportunities": ("Opportunity", "AccountId"),
        },
    ),
    ObjectMeta(
        "Contact",
        [
            *COMMON,
            text("Name"),
            text("LastName"),
            text("Email", "email"),
            text("Phone", "phone"),
            text("Title"),
            boolean("HasOptedOutOfEmail"),
            to("AccountId", "Account"),
            to("OwnerId", "User"),
            LONG_TEXT,
        ],
        {
            "OpportunityContactRoles": ("OpportunityContactRole", "ContactId"),
            "ContentDocumentLinks": ("ContentDocumentLink", "LinkedEntityId"),
            "Tasks": ("Task", "WhoId"),
        },
    ),
    ObjectMeta(
        "Lead",
        [
            *COMMON,
            text("Name"),
            text("Company"),
            text("Email", "email"),
            boolean("IsConverted"),
            to("OwnerId", "Group", "User"),
        ],
        {"Tasks": ("Task", "WhoId")},
    ),
    ObjectMeta(
        "Opportunity",
        [
            *COMMON,
            text("Name"),
            text("StageName", "picklist"),
            boolean("IsClosed"),
            FieldMeta("Amount", "currency", groupable=False),
            FieldMeta("Probability", "percent"),
            FieldMeta("CloseDate", "date"),
            to("AccountId", "Account"),
            to("OwnerId", "User"),
        ],
        {
            "OpportunityContactRoles": ("OpportunityContactRole", "OpportunityId"),
            "Tasks": ("Task", "WhatId"),
            "Hidden": ("Nowhere", "OpportunityId"),
        },
    ),
    ObjectMeta(
        "OpportunityContactRole",
        [
            *COMMON,
            text("Role", "picklist"),
            boolean("IsPrimary"),
            to("OpportunityId", "Opportunity"),
            to("ContactId", "Contact"),
        ],
    ),
    ObjectMeta(
        "Task",
        [
            *COMMON,
            boolean("IsArchived"),
            text("Subject", "combobox"),
            text("Status", "picklist"),
            FieldMeta("ActivityDate", "date", aggregatable=False),
            FieldMeta("CallDurationInSeconds", "int"),
            FieldMeta("TaskWhoIds", "junctionidlist", filterable=False),
            to("WhoId", "Contact", "Lead"),
            to("WhatId", "Account", "Opportunity", "*"),
            to("OwnerId", "Group", "User"),
            to("GoneId", "Nowhere"),
            LONG_TEXT,
        ],
    ),
    ObjectMeta(
        "User",
        [
            *COMMON,
            text("Name"),
            text("Email", "email"),
            text("Username"),
            boolean("IsActive"),
            to("ManagerId", "User"),
        ],
    ),
    ObjectMeta("Group", [*COMMON, text("Name"), text("Type", "picklist")]),
    ObjectMeta(
        "ContentDocumentLink",
        [
            *COMMON,
            to("ContentDocumentId", "ContentDocument"),
            to("LinkedEntityId", "*"),
        ],
    ),
    ObjectMeta(
        "ContentVersion",
        [*COMMON, text("Title"), FieldMeta("VersionData", "base64", filterable=False)],
    ),
]


class MemorySource:
    """A `Source` over lists of rows.

    Attributes:
        hidden: Ids that sharing hides from the asking user.
        indexed: Whether `lookup` answers.
        looked_up: What `lookup` was asked.
        scanned: The objects whose rows were all read.
    """

    version = "66.0"

    def __init__(self, seed: int = 0) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.hidden: set[str] = set()
        self.indexed = False
        self.looked_up: list[tuple[str, str, frozenset[str]]] = []
        self.scanned: list[str] = []
        self._random = random.Random(seed)
        self._by_name = {meta.name.lower(): meta for meta in OBJECTS}

    def add(self, name: str, number: int, **fields: Any) -> str:
        """Add a row and return its id."""
        row = {"Id": make_id(name, number), "IsDeleted": False} | fields
        row.setdefault("CreatedDate", "2026-01-02T03:04:05.000+0000")
        self.tables[name].append(row)
        return str(row["Id"])

    def describe(self, name: str) -> ObjectMeta | None:
        return self._by_name.get(name.lower())

    def rows(self, name: str, *, all_rows: bool) -> Iterable[Row]:
        self.scanned.append(name)
        return self.tables[name]

    def lookup(
        self, name: str, field: str, values: Collection[str]
    ) -> Iterable[Row] | None:
        if not self.indexed:
            return None
        self.looked_up.append((name, field, frozenset(values)))
        is_id = field == "Id" or field.endswith("Id")
        return [
            row
            for row in self.tables[name]
            if (row.get(field) if is_id else str(row.get(field)).lower()) in values
        ]

    def find(self, record_id: str) -> tuple[str, Row] | None:
        for name, rows in self.tables.items():
            for row in rows:
                if row["Id"] == record_id:
                    return name, row
        return None

    def visible(self, name: str, row: Row) -> bool:
        return row["Id"] not in self.hidden

    def shuffle(self, rows: list[Any]) -> None:
        self._random.shuffle(rows)

    def required_filters(self, name: str) -> Collection[str]:
        if name == "ContentDocumentLink":
            return ("Id", "ContentDocumentId", "LinkedEntityId")
        return ()

    def filter_problem(
        self, name: str, values: Mapping[str, Collection[str]]
    ) -> str | None:
        return None


def sample() -> MemorySource:
    """Return an org with two accounts, their people, deals, tasks and a lead."""
    org = MemorySource()
    boss = org.add("User", 1, Name="Bo Boss", Email="bo@x.example", IsActive=True)
    ann = org.add("User", 2, Name="Ann Rep", ManagerId=boss, IsActive=True)
    queue = org.add("Group", 1, Name="Inbox", Type="Queue")
    acme = org.add(
        "Account",
        1,
        Name="Acme",
        Industry="Energy",
        AnnualRevenue=1000.5,
        NumberOfEmployees=7,
        OwnerId=ann,
        BillingAddress={"city": "Berlin"},
        BillingStreet="Way 1",
    )
    sub = org.add("Account", 2, Name="acme Labs", ParentId=acme, OwnerId=boss)
    eve = org.add(
        "Contact",
        1,
        Name="Eve O'Neil",
        LastName="O'Neil",
        Email="Eve@Acme.example",
        AccountId=acme,
        OwnerId=ann,
        HasOptedOutOfEmail=True,
    )
    max_ = org.add(
        "Contact", 2, Name="Max Muster", Email="max@acme.example", AccountId=sub
    )
    org.add("Contact", 3, Name="No Account", Email=None, Title="100%_sure")
    lead = org.add("Lead", 1, Name="Lea Der", Company="Lead Co", OwnerId=queue)
    deal = org.add(
        "Opportunity",
        1,
        Name="Big deal",
        StageName="Prospecting",
        IsClosed=False,
        Amount=300.0,
        CloseDate="2026-05-13",
        AccountId=acme,
    )
    old = org.add(
        "Opportunity",
        2,
        Name="Old deal",
        StageName="Closed Won",
        IsClosed=True,
        Amount=100.0,
        CloseDate="2026-04-30",
        AccountId=acme,
    )
    org.add(
        "Opportunity",
        3,
        Name="Open end",
        StageName="Prospecting",
        IsClosed=False,
        CloseDate="2026-06-01",
        AccountId=sub,
    )
    org.add(
        "OpportunityContactRole", 1, OpportunityId=deal, ContactId=eve, IsPrimary=True
    )
    org.add(
        "OpportunityContactRole", 2, OpportunityId=old, ContactId=eve, IsPrimary=False
    )
    org.add(
        "OpportunityContactRole", 3, OpportunityId=deal, ContactId=max_, IsPrimary=False
    )
    org.add("Task", 1, Subject="Email: Hi", WhoId=eve, WhatId=deal, OwnerId=ann)
    org.add("Task", 2, Subject="Call", WhoId=lead, OwnerId=queue)
    org.add("Task", 3, Subject="Old", WhoId=eve, OwnerId=ann, IsArchived=True)
    org.add("Task", 4, Subject="Gone", WhoId=eve, OwnerId=ann, IsDeleted=True)
    return org
