"""What an org holds on its first day: picklists, users, and a small believable company.

Everybody lives under `.example`. The order is fixed, so that ids are the same in every
run. Planted rows are unchecked: some of them (a converted lead, an inactive user) could
not be made through the API.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.config import INTEGRATION_USERNAME
from relay.sandbox.values import stamp

if TYPE_CHECKING:
    from relay.sandbox.records import Records

_STATUSES: Final = (
    ("Not Started", False, True),
    ("In Progress", False, False),
    ("Completed", True, False),
    ("Waiting on someone else", False, False),
    ("Deferred", False, False),
)
_PRIORITIES: Final = (("High", True), ("Normal", False), ("Low", False))
_STAGES: Final = (
    # name, closed, won, category, its name, probability
    ("Prospecting", False, False, "Pipeline", "Pipeline", 10),
    ("Qualification", False, False, "Pipeline", "Pipeline", 10),
    ("Needs Analysis", False, False, "Pipeline", "Pipeline", 20),
    ("Value Proposition", False, False, "Pipeline", "Pipeline", 50),
    ("Proposal/Price Quote", False, False, "Pipeline", "Pipeline", 75),
    ("Negotiation/Review", False, False, "Pipeline", "Pipeline", 90),
    ("Closed Won", True, True, "Closed", "Closed", 100),
    ("Closed Lost", True, False, "Omitted", "Omitted", 0),
)
_USERS: Final = (
    # username, first name, last name, time zone, active
    (INTEGRATION_USERNAME, "Relay", "Integration", "Europe/London", True),
    ("ada@corp.example", "Ada", "Berger", "Europe/Berlin", True),
    ("ben@corp.example", "Ben", "Castillo", "America/New_York", True),
    ("cleo@corp.example", "Cleo", "Dunne", "Pacific/Auckland", True),
    ("dora@corp.example", "Dora", "Eklund", "Europe/Stockholm", False),
)
_ACCOUNTS: Final = (
    # name, web site, industry, owner
    ("Acme Tools", "acme.example", "Manufacturing", "ada"),
    ("Birch Bakery", "birch.example", "Food & Beverage", "ada"),
    ("Cobalt Shipping", "cobalt.example", "Shipping", "ben"),
    ("Dune Energy", "dune.example", "Energy", "ben"),
    ("Elm Clinic", "elm.example", "Healthcare", "cleo"),
)
_CONTACTS: Final = (
    # first name, last name, address, title, account or None, owner
    ("Mara", "Lindqvist", "mara@acme.example", "Head of Purchasing", 0, "ada"),
    ("Jonas", "Weber", "jonas.weber@acme.example", "Plant Manager", 0, "ada"),
    ("Priya", "Nair", "priya@acme.example", "CFO", 0, "ada"),
    ("Tom", "Okafor", "tom@birch.example", "Owner", 1, "ada"),
    ("Lucía", "Ramos", "lucia@birch.example", "Shop Manager", 1, "ada"),
    ("Henrik", "Dahl", "henrik.dahl@cobalt.example", "Fleet Director", 2, "ben"),
    ("Aiko", "Tanaka", "aiko@cobalt.example", "Buyer", 2, "ben"),
    ("Sam", "O'Neill", "sam.o'neill@dune.example", "Procurement Lead", 3, "ben"),
    ("Farid", "Haddad", "farid@dune.example", "Engineer", 3, "ben"),
    ("Grace", "Mbeki", "grace@elm.example", "Medical Director", 4, "cleo"),
    ("Noah", "Petit", "noah@elm.example", "IT Manager", 4, "cleo"),
    ("Ines", "Vogel", "ines.vogel@home.example", None, None, "cleo"),
)
_LEADS: Final = (
    # first name, last name, address, company, status, owner
    ("Olga", "Novak", "olga@fjord.example", "Fjord Foods", 0, "ada"),
    ("Peter", "Quist", "peter@gale.example", "Gale Media", 1, "ben"),
    ("Rosa", "Silva", "rosa@heron.example", "Heron Travel", 0, "cleo"),
    # The same person as the contact of Cobalt, entered twice.
    ("Aiko", "Tanaka", "aiko@cobalt.example", "Cobalt Shipping", 0, "cleo"),
    # The same address as the first lead, from a web form.
    ("O.", "Novak", "Olga@Fjord.example", "Fjord", 0, "ben"),
    # Converted into the contact of Elm Clinic.
    ("Grace", "Mbeki", "grace@elm.example", "Elm Clinic", 2, "cleo"),
)
_LEAD_STATUS: Final = (
    "Open - Not Contacted",
    "Working - Contacted",
    "Closed - Converted",
)
_OPPORTUNITIES: Final = (
    # name, account, stage, amount, owner, contacts with their roles, first is primary
    (
        "Acme: 40 torque wrenches",
        0,
        "Proposal/Price Quote",
        18_400,
        "ada",
        ((0, "Decision Maker"), (1, "Technical Buyer")),
    ),
    ("Acme: service contract", 0, "Closed Won", 6_000, "ada", ((0, "Business User"),)),
    ("Birch: second oven", 1, "Qualification", 9_900, "ada", ((3, "Decision Maker"),)),
    (
        "Cobalt: fleet trackers",
        2,
        "Negotiation/Review",
        52_000,
        "ben",
        ((5, "Economic Buyer"), (6, "Evaluator")),
    ),
    ("Cobalt: pilot", 2, "Closed Lost", 4_000, "ben", ((6, "Evaluator"),)),
    ("Dune: site survey", 3, "Prospecting", 12_500, "ben", ((7, "Decision Maker"),)),
    (
        "Elm: records migration",
        4,
        "Needs Analysis",
        31_000,
        "cleo",
        ((9, "Executive Sponsor"), (10, "Technical Buyer")),
    ),
    ("Elm: training", 4, "Value Proposition", 3_200, "cleo", ((10, "Evaluator"),)),
)


def plant_basics(records: Records) -> None:
    """Plant the organisation, its picklists, users, and a queue."""
    profile = records.state.mint.new("00e")
    owner = records.state.mint.new("005")
    insert = records.system_insert
    insert(
        "Organization",
        {
            "Name": "Corp",
            "OrganizationType": "Enterprise Edition",
            "InstanceName": "SANDBOX",
            "IsSandbox": True,
            "TimeZoneSidKey": "Europe/London",
            "LanguageLocaleKey": "en_US",
        },
        owner,
    )
    insert("Profile", {"Id": profile, "Name": "Sales", "UserType": "Standard"}, owner)
    for number, (username, first, last, zone, active) in enumerate(_USERS):
        insert(
            "User",
            {
                "Id": owner if number == 0 else None,
                "Username": username,
                "Email": username,
                "FirstName": first,
                "LastName": last,
                "Name": f"{first} {last}",
                "Alias": username.partition("@")[0],
                "CommunityNickname": username.partition("@")[0],
                "IsActive": active,
                "TimeZoneSidKey": zone,
                "LocaleSidKey": "en_GB",
                "LanguageLocaleKey": "en_US",
                "EmailEncodingKey": "UTF-8",
                "UserType": "Standard",
                "ProfileId": profile,
            },
            owner,
        )
    insert("Group", {"Name": "Inbox", "DeveloperName": "Inbox", "Type": "Queue"}, owner)
    for order, (name, closed, default) in enumerate(_STATUSES, 1):
        values = {"IsClosed": closed, "IsDefault": default}
        insert("TaskStatus", {**_entry(name, order), **values}, owner)
    for order, (name, high) in enumerate(_PRIORITIES, 1):
        values = {"IsHighPriority": high, "IsDefault": name == "Normal"}
        insert("TaskPriority", {**_entry(name, order), **values}, owner)
    for order, (name, closed, won, category, shown, percent) in enumerate(_STAGES, 1):
        stage = {
            "IsActive": True,
            "IsClosed": closed,
            "IsWon": won,
            "ForecastCategory": category,
            "ForecastCategoryName": shown,
            "DefaultProbability": percent,
        }
        insert("OpportunityStage", {**_entry(name, order), **stage}, owner)


def plant_people(records: Records) -> None:
    """Plant accounts, contacts, leads, and opportunities with contact roles."""
    planter = _Planter(records)
    accounts = [
        planter.plant(
            "Account",
            owner,
            Name=name,
            Website=f"https://{site}/",
            Industry=industry,
        )
        for name, site, industry, owner in _ACCOUNTS
    ]
    contacts = [
        planter.plant(
            "Contact",
            owner,
            FirstName=first,
            LastName=last,
            Name=f"{first} {last}",
            Email=address,
            Title=title,
            AccountId=None if account is None else accounts[account],
        )
        for first, last, address, title, account, owner in _CONTACTS
    ]
    for first, last, address, company, status, owner in _LEADS:
        converted: dict[str, Any] = {}
        if _LEAD_STATUS[status] == "Closed - Converted":
            converted = {
                "IsConverted": True,
                "ConvertedDate": planter.day(30),
                "ConvertedContactId": contacts[9],
                "ConvertedAccountId": accounts[4],
            }
        planter.plant(
            "Lead",
            owner,
            FirstName=first,
            LastName=last,
            Name=f"{first} {last}",
            Email=address,
            Company=company,
            Status=_LEAD_STATUS[status],
            **converted,
        )
    for name, account, stage, amount, owner, roles in _OPPORTUNITIES:
        _plant_opportunity(
            records,
            planter,
            owner,
            [(contacts[contact], role) for contact, role in roles],
            {
                "Name": name,
                "AccountId": accounts[account],
                "StageName": stage,
                "Amount": amount,
            },
        )


def _plant_opportunity(
    records: Records,
    planter: _Planter,
    owner: str,
    roles: list[tuple[str, str]],
    values: dict[str, Any],
) -> None:
    stage = next(
        row
        for row in records.state.rows.all("OpportunityStage")
        if row["ApiName"] == values["StageName"]
    )
    opportunity = planter.plant(
        "Opportunity",
        owner,
        CloseDate=planter.day(20 if stage["IsClosed"] else -45),
        IsClosed=stage["IsClosed"],
        IsWon=stage["IsWon"],
        Probability=stage["DefaultProbability"],
        ForecastCategory=stage["ForecastCategory"],
        ForecastCategoryName=stage["ForecastCategoryName"],
        ContactId=roles[0][0],
        **values,
    )
    for number, (contact, role) in enumerate(roles):
        planter.plant(
            "OpportunityContactRole",
            owner,
            OpportunityId=opportunity,
            ContactId=contact,
            Role=role,
            IsPrimary=number == 0,
        )


class _Planter:
    """Plants rows as if people had entered them, one every three days."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._state = records.state
        self._age = timedelta(days=400)

    def day(self, ago: int) -> str:
        """Return the date so many days ago."""
        return (self._state.clock.now() - timedelta(days=ago)).date().isoformat()

    def plant(self, name: str, owner: str, **values: Any) -> str:
        """Store a row that belongs to a user, and return its id."""
        made = stamp(self._state.clock.now() - self._age)
        self._age -= timedelta(days=3)
        user = self._state.user_by_name(f"{owner}@corp.example")
        user_id = str(user["Id"]) if user else self._state.integration_user_id
        info = self._records.object(name)
        audit = {
            "CreatedDate": made,
            "LastModifiedDate": made,
            "SystemModstamp": made,
            "OwnerId": user_id,
        }
        values |= {field: audit[field] for field in audit if field in info.fields}
        return str(self._records.system_insert(name, values, user_id)["Id"])


def _entry(name: str, order: int) -> dict[str, Any]:
    return {"ApiName": name, "MasterLabel": name, "SortOrder": order}
