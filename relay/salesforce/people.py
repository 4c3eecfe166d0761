"""The questions of a look-up, and what their rows mean. Pure.

First people are asked for by address: Contacts with their open Opportunities, Leads,
Users, and records with an e-mail field of their own. What was found leads to the rest:
the Contacts that converted Leads became, then Opportunities by condition or by Account,
records that look a Contact or Account up, and Accounts by the domain of whoever has no
record. A question that nothing leads to costs nothing.

Source: SOQL and SOSL Reference, "Relationship Queries", "LIKE"; Object Reference,
"Contact" (child relationship OpportunityContactRoles), "Lead", "User", "Account".
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from relay.core.addresses import (
    address_key,
    domain_key,
    domain_of,
    spellings,
    unicode_domain,
)
from relay.core.free_mail import is_free_mail
from relay.core.ids import record_id
from relay.core.model import Candidate, Found, OpportunityRole, Related
from relay.core.org import LookupResult, SalesforceUser
from relay.salesforce import soql
from relay.salesforce.lookup_rules import CONTACTS, WEBSITE, LookupRules, RecordRule
from relay.salesforce.soql import Ask, asks_for, literal, moment, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from relay.core.model import Json
    from relay.core.org import OrgSchema
    from relay.salesforce.soql import Rows

MAX_EMAIL: Final = 80
"""Length of Lead.Email and Contact.Email: what is longer cannot match."""
MAX_USER_EMAIL: Final = 128
"""Length of User.Email."""
NOBODY: Final = "nobody@relay.invalid"
"""An address that no query is refused for, and that nobody has (RFC 2606)."""
NO_ID: Final = "000000000000000AAA"
MAX_ACCESS: Final = 200
"""Records in one question for access (Object Reference, "UserRecordAccess")."""
ACCESS: Final = (
    "SELECT RecordId, HasReadAccess FROM UserRecordAccess "
    "WHERE UserId = '{}' AND RecordId IN {{}}"
)

_OPEN: Final = "IsClosed = false"
_DEAL: Final = "Id, Name, OwnerId, CreatedDate, AccountId"


class Kind(Enum):
    """What the rows of a question are."""

    CONTACTS = "Contacts by address"
    CONTACTS_BY_ID = "Contacts that Leads became"
    LEADS = "Leads by address"
    USERS = "Users by address"
    USERS_BY_ID = "Users by id"
    OPPORTUNITIES = "Opportunities of roles"
    ACCOUNT_OPPORTUNITIES = "Opportunities of Accounts"
    TASK_COUNTS = "Tasks of people"
    EVENT_COUNTS = "Events of people"


@dataclass(frozen=True, slots=True)
class Accounts:
    """Rows of Accounts, or of Contacts, found in one way for some domains."""

    way: str
    field: str


USERS: Final = (
    "SELECT Id, Name, Email, IsActive, TimeZoneSidKey FROM User WHERE {} IN {{}}"
)
EVERYBODY: Final = soql.Query(
    "SELECT Id, Name, Email, IsActive, TimeZoneSidKey FROM User WHERE IsActive = true "
    "AND UserType = 'Standard' ORDER BY Name LIMIT 2000"
)
COUNTS: Final = (
    "SELECT WhoId, COUNT(Id) total FROM {} WHERE WhoId IN {{}} GROUP BY WhoId"
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a look-up asks for: address keys, users' address keys, ids of users.

    `records` are ids that mails name; they are asked for each time.
    """

    addresses: tuple[str, ...] = ()
    user_emails: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    records: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything is asked."""
        return bool(self.addresses or self.user_emails or self.user_ids)


@dataclass(slots=True)
class Gathered:
    """What the rows of all answers so far say; the order of rows plays no part."""

    candidates: dict[str, dict[str, Candidate]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    roles: dict[str, dict[str, OpportunityRole]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    deals: dict[str, dict[str, OpportunityRole]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    related: dict[str, dict[tuple[str, str], Related]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    converted: dict[str, dict[str, str]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By address key, the Contacts that converted Leads became, with the Lead."""
    allowed: set[str] | None = None
    """Opportunities that meet the condition; None: there is none, or not asked yet."""
    users: dict[str, SalesforceUser] = field(default_factory=dict)

    def result(self) -> LookupResult:
        """Return it as a value, in an order of its own."""
        allowed = self.allowed
        found = Found(
            {
                key: tuple(sorted(by_id.values(), key=lambda c: (c.created_at, c.id)))
                for key, by_id in self.candidates.items()
                if by_id
            },
            {
                sfid: roles
                for sfid, by_id in self.roles.items()
                if (
                    roles := tuple(
                        by_id[i]
                        for i in sorted(by_id)
                        if allowed is None or i in allowed
                    )
                )
            },
            account_opportunities={
                sfid: tuple(by_id[i] for i in sorted(by_id))
                for sfid, by_id in self.deals.items()
            },
            related={
                key: tuple(by_id[i] for i in sorted(by_id))
                for key, by_id in self.related.items()
            },
        )
        return LookupResult(found, tuple(self.users[i] for i in sorted(self.users)))


# ------------------------------------------------------------------ people by address


def plan(question: Question, rules: LookupRules) -> list[Ask]:
    """Return the first questions: whom these addresses, and user ids, belong to.

    An internationalised address is asked for in ASCII and as people read it:
    Salesforce keeps what was typed.
    """
    people = tuple(_distinct(_spelt(question.addresses), MAX_EMAIL))
    asks: list[Ask] = []
    if rules.contact_fields:
        asks += split(_contacts(rules, people))
    for ask in _leads(rules, people):
        asks += split(ask)
    for rule in rules.by_address:
        asks += split(_records(rule, people, NOBODY))
    emails = _distinct(_spelt(question.user_emails), MAX_USER_EMAIL)
    users = Ask(USERS.format("Email"), tuple(emails), about=Kind.USERS)
    asks += split(users)
    ids = tuple(sfid for i in question.user_ids if (sfid := record_id(i)))
    return asks + split(Ask(USERS.format("Id"), ids, about=Kind.USERS_BY_ID))


def _spelt(keys: Iterable[str]) -> Iterator[str]:
    """Yield each address in every form in which an org may hold it."""
    for key in keys:
        yield from spellings(key)


def _distinct(keys: Iterable[str], longest: int) -> list[str]:
    """Return what can be an address in Salesforce, each once, in order."""
    return [
        k for k in dict.fromkeys(keys) if 0 < len(k) <= longest and soql.clean(k) == k
    ]


def _contacts(rules: LookupRules, people: tuple[str, ...]) -> Ask:
    return Ask(
        _contact_template(rules, _in(rules.contact_fields)),
        people,
        about=Kind.CONTACTS,
        setting="match.contact_condition" if rules.contact_condition else "",
        harmless=NOBODY,
    )


def _contact_template(rules: LookupRules, by: str) -> str:
    fields = ["Id", "Name", "CreatedDate", "OwnerId", "AccountId"]
    fields += [name for name in rules.contact_fields if name not in fields]
    if rules.knows_person_accounts:
        fields.append("IsPersonAccount")
    if rules.role_fields:
        deal = ("Name", "OwnerId", "CreatedDate")
        columns = [*rules.role_fields, *(f"Opportunity.{name}" for name in deal)]
        roles = _select(columns, "OpportunityContactRoles", [f"Opportunity.{_OPEN}"])
        fields.append(f"({roles})")
    where = [by]
    if rules.person_accounts is not None:
        where.append(f"IsPersonAccount = {str(rules.person_accounts).lower()}")
    return _select(fields, "Contact", where, rules.contact_condition)


def _leads(rules: LookupRules, people: tuple[str, ...]) -> Iterator[Ask]:
    """Yield the questions for Leads.

    A condition holds for Leads that are not converted: those that are have a Contact,
    for which there is another.
    """
    if not rules.lead_fields:
        return
    fields = ["Id", "Name", "CreatedDate", "OwnerId", *rules.lead_fields]
    follow = [*fields, "IsConverted", "ConvertedContactId"]
    by, condition = _in(rules.lead_fields), rules.lead_condition
    if rules.follow and not condition:
        yield Ask(_select(follow, "Lead", [by]), people, about=Kind.LEADS)
        return
    where = ["IsConverted = false", by]
    yield Ask(
        _select(fields, "Lead", where, condition),
        people,
        about=Kind.LEADS,
        setting="match.lead_condition" if condition else "",
        harmless=NOBODY,
    )
    if rules.follow:
        where = ["IsConverted = true", by]
        yield Ask(_select(follow, "Lead", where), people, about=Kind.LEADS)


def _in(fields: Sequence[str]) -> str:
    """Return the condition that one of the fields holds a value of the list."""
    parts = " OR ".join(f"{name} IN {{0}}" for name in fields)
    return f"({parts})" if len(fields) > 1 else parts


def _select(
    fields: Iterable[str], sobject: str, where: Iterable[str], condition: str = ""
) -> str:
    parts = [*where, *([f"({literal(condition)})"] if condition else [])]
    # Names from describe and a condition that is proven to stay within its brackets.
    return f"SELECT {', '.join(fields)} FROM {sobject} WHERE {' AND '.join(parts)}"  # noqa: S608


def _records(rule: RecordRule, values: tuple[str, ...], harmless: str) -> Ask:
    """Return the question for further records of a rule."""
    named = rule.rule
    fields = ["Id", rule.name_field, "CreatedDate" if rule.has_created else ""]
    where = [f"{named.field} IN {{0}}", *([_OPEN] if named.only_open else [])]
    template = _select(
        dict.fromkeys(name for name in (*fields, named.field) if name),
        named.object,
        where,
    )
    setting = "match.lookups" if rule.target else "match.more_objects"
    return Ask(template, values, about=rule, setting=setting, harmless=harmless)


# ------------------------------------------------------------------ what leads on


def plan_followed(gathered: Gathered, rules: LookupRules) -> list[Ask]:
    """Return the questions for Contacts that Leads became, where there is no other."""
    ids = {
        contact: None
        for key, leads in sorted(gathered.converted.items())
        if not any(c.object == "Contact" for c in gathered.candidates[key].values())
        for contact in sorted(leads)
    }
    ask = Ask(
        _contact_template(rules, "Id IN {0}"),
        tuple(ids),
        about=Kind.CONTACTS_BY_ID,
        setting="match.contact_condition" if rules.contact_condition else "",
        harmless=NO_ID,
    )
    return split(ask)


def plan_further(
    gathered: Gathered, asked: Sequence[str], rules: LookupRules
) -> list[Ask]:
    """Return the questions that Contacts lead to, and who has none.

    Args:
        gathered: The people found.
        asked: The address keys that were asked for.
        rules: What to ask for.
    """
    found = [c for by_id in gathered.candidates.values() for c in by_id.values()]
    ids = {
        "Contact": sorted({c.id for c in found if c.object == "Contact"}),
        "Account": sorted({c.account_id for c in found if c.account_id}),
    }
    condition = rules.opportunity_condition
    setting = "match.opportunity_condition" if condition else ""
    asks: list[Ask] = []
    if condition:
        deals = {i for by_id in gathered.roles.values() for i in by_id}
        template = _select(["Id"], "Opportunity", ["Id IN {0}"], condition)
        about = Kind.OPPORTUNITIES
        asks += split(
            Ask(
                template,
                tuple(sorted(deals)),
                about=about,
                setting=setting,
                harmless=NO_ID,
            )
        )
    if rules.by_account:
        template = _select(
            [_DEAL], "Opportunity", [_OPEN, "AccountId IN {0}"], condition
        )
        about = Kind.ACCOUNT_OPPORTUNITIES
        ask = Ask(
            template,
            tuple(ids["Account"]),
            about=about,
            setting=setting,
            harmless=NO_ID,
        )
        asks += split(ask)
    for rule in rules.by_id:
        asks += split(_records(rule, tuple(ids[rule.target]), NO_ID))
    domains = {
        domain_of(key)
        for key in asked
        if not gathered.candidates.get(key) and soql.clean(key) == key
    }
    named = sorted(d for d in domains if d.isascii() and not is_free_mail(d))
    for way, name in rules.accounts:
        asks += split(_accounts(Accounts(way, name), tuple(named), rules))
    return asks


def _accounts(about: Accounts, domains: tuple[str, ...], rules: LookupRules) -> Ask:
    """Return the question for Accounts with these domains.

    A web site is found by a part of it, and its host is compared afterwards. Person
    accounts are people, who are found by address alone.
    """
    setting = "match.account_condition" if rules.account_condition else "match.accounts"
    ours = "IsPersonAccount = false"
    where = [ours] if rules.knows_person_accounts else []
    if about.way == CONTACTS:
        # The Account's condition cannot be asked through its Contacts as it stands.
        where = [f"Account.{part}" for part in where]
        template = _select(
            ["Id", "AccountId", "Account.Name", "Email"],
            "Contact",
            ["({0:literal})", "AccountId != null", *where],
        )
        each = "Email LIKE '%@{:like}'"
    elif about.way == WEBSITE:
        template = _select(
            ["Id", "Name", "Website"],
            "Account",
            ["({0:literal})", *where],
            rules.account_condition,
        )
        each = "Website LIKE '%{:like}%'"
    else:
        template = _select(
            dict.fromkeys(["Id", "Name", about.field]),
            "Account",
            [f"{about.field} IN {{0}}", *where],
            rules.account_condition,
        )
        each = ""
        domains = tuple(
            form for d in domains for form in dict.fromkeys((d, unicode_domain(d)))
        )
    return Ask(
        template,
        domains,
        each=each,
        about=about,
        setting=setting,
        harmless="relay.invalid",
    )


def plan_allowed_accounts(found: Found, rules: LookupRules) -> list[Ask]:
    """Return the questions which Accounts of Contacts meet the Accounts' condition."""
    if not rules.account_condition:
        return []
    ids = {
        one.id
        for related in found.related.values()
        for one in related
        if one.rule == CONTACTS
    }
    template = _select(["Id"], "Account", ["Id IN {0}"], rules.account_condition)
    return split(
        Ask(
            template,
            tuple(sorted(ids)),
            setting="match.account_condition",
            harmless=NO_ID,
        )
    )


def read_allowed_accounts(found: Found, answers: Iterable[tuple[Ask, Rows]]) -> Found:
    """Return what was found without the Accounts of Contacts that do not meet it."""
    allowed = {record_id(row.get("Id") or "") for _, rows in answers for row in rows}
    return replace(
        found,
        related={
            key: kept
            for key, related in found.related.items()
            if (
                kept := tuple(
                    one for one in related if one.rule != CONTACTS or one.id in allowed
                )
            )
        },
    )


def condition_asks(sobject: str, rules: LookupRules) -> list[Ask]:
    """Return the questions in which the condition of an object stands, about nobody."""
    if sobject == "Contact":
        return [_contacts(rules, (NOBODY,))]
    if sobject == "Lead":
        return [ask for ask in _leads(rules, (NOBODY,)) if ask.setting]
    deal = sobject == "Opportunity"
    condition = rules.opportunity_condition if deal else rules.account_condition
    return [Ask(_select(["Id"], sobject, ["Id IN {0}"], condition), (NO_ID,))]


def access_asks(user: str, ids: Sequence[str]) -> list[Ask]:
    """Return the questions which of these records a user can read.

    Source: Object Reference, "UserRecordAccess".
    """
    ask = Ask(
        ACCESS.format(user),
        (),
        about=user,
        setting="match.visibility",
        harmless=NO_ID,
    )
    return [
        one
        for at in range(0, len(ids), MAX_ACCESS)
        for one in split(replace(ask, values=tuple(ids[at : at + MAX_ACCESS])))
    ]


# ------------------------------------------------------------------ reading


def read(
    gathered: Gathered, answers: Iterable[tuple[Ask, Rows]], rules: LookupRules
) -> None:
    """Take rows in.

    A row that makes no sense (no valid id, no address that was asked for) is left out.
    """
    for ask, rows in answers:
        about = ask.about
        if isinstance(about, RecordRule):
            _read_records(gathered, ask, about, rows)
        elif isinstance(about, Accounts):
            _read_accounts(gathered, ask, about, rows)
        elif about in {Kind.OPPORTUNITIES, Kind.ACCOUNT_OPPORTUNITIES}:
            _read_deals(gathered, about, rows)
        elif about in {Kind.USERS, Kind.USERS_BY_ID}:
            users = (_user(sfid, row) for row in rows if (sfid := _id(row, "Id")))
            gathered.users.update({user.id: user for user in users})
        elif about is Kind.CONTACTS_BY_ID:
            _read_followed(gathered, rows, rules)
        elif about is not None:
            _read_people(gathered, ask, rows, rules)


def _read_deals(gathered: Gathered, about: object, rows: Rows) -> None:
    """Take in which Opportunities meet the condition, or those of Accounts."""
    if about is Kind.OPPORTUNITIES:
        ids = {sfid for row in rows if (sfid := _id(row, "Id"))}
        gathered.allowed = (gathered.allowed or set()) | ids
        return
    for row in rows:
        sfid, account = _id(row, "Id"), _id(row, "AccountId")
        if sfid and account:
            gathered.deals[account][sfid] = _deal(sfid, "", row)


def _read_people(gathered: Gathered, ask: Ask, rows: Rows, rules: LookupRules) -> None:
    lead = ask.about is Kind.LEADS
    fields = rules.lead_fields if lead else rules.contact_fields
    asked = frozenset(map(address_key, ask.values))
    for row in rows:
        sfid = record_id(row.get("Id") or "")
        if sfid is None:
            continue
        for name in fields:
            key = address_key(_text(row.get(name)))
            if not key or key not in asked:
                continue
            if row.get("IsConverted") is True:
                if contact := _id(row, "ConvertedContactId"):
                    gathered.converted[key].setdefault(contact, sfid)
                continue
            made = _candidate(sfid, "Lead" if lead else "Contact", key, name, row)
            # The first field in order that holds the address is the one that is told.
            gathered.candidates[key].setdefault(sfid, made)
        if not lead:
            _read_roles(gathered, sfid, row)


def _read_followed(gathered: Gathered, rows: Rows, rules: LookupRules) -> None:
    """Take in Contacts that Leads became, under the addresses of those Leads."""
    by_id = {sfid: row for row in rows if (sfid := record_id(row.get("Id") or ""))}
    name = (*rules.lead_fields, "Email")[0]
    for key, leads in gathered.converted.items():
        if any(c.object == "Contact" for c in gathered.candidates[key].values()):
            continue
        followed = {
            contact: replace(
                _candidate(contact, "Contact", key, name, by_id[contact]), lead_id=lead
            )
            for contact, lead in leads.items()
            if contact in by_id
        }
        gathered.candidates[key].update(followed)
    for sfid, row in by_id.items():
        _read_roles(gathered, sfid, row)


def _read_roles(gathered: Gathered, contact_id: str, row: Mapping[str, Any]) -> None:
    children = row.get("OpportunityContactRoles")
    records = children.get("records") if isinstance(children, dict) else None
    for role in records if isinstance(records, list) else []:
        if not isinstance(role, dict):
            continue
        sfid, parent = _id(role, "OpportunityId"), role.get("Opportunity")
        if not sfid:
            continue
        made = _deal(sfid, contact_id, parent if isinstance(parent, dict) else {})
        made = replace(made, is_primary=role.get("IsPrimary") is True)
        known = gathered.roles[contact_id].setdefault(sfid, made)
        if made.is_primary and not known.is_primary:
            gathered.roles[contact_id][sfid] = made


def _read_records(gathered: Gathered, ask: Ask, about: RecordRule, rows: Rows) -> None:
    """Take in further records, under the address or id that leads to them."""
    asked = frozenset(map(address_key, ask.values))
    for row in rows:
        sfid, value = record_id(row.get("Id") or ""), row.get(about.rule.field)
        key: str | None
        if about.target:
            key = record_id(value or "")
        else:
            address = address_key(_text(value))
            key = address if address in asked else None
        if sfid and key:
            made = Related(
                sfid,
                about.rule.object,
                _text(row.get(about.name_field)),
                about.text,
                moment(row.get("CreatedDate")),
            )
            gathered.related[key][made.rule, sfid] = made


def _read_accounts(gathered: Gathered, ask: Ask, about: Accounts, rows: Rows) -> None:
    """Take in Accounts under the domains that lead to them."""
    asked = frozenset(map(domain_key, ask.values))
    for row in rows:
        if about.way == CONTACTS:
            account = row.get("Account")
            sfid = _id(row, "AccountId")
            name = _text(account.get("Name")) if isinstance(account, dict) else ""
            domain = domain_of(address_key(_text(row.get("Email"))) or "")
        else:
            sfid, name = _id(row, "Id"), _text(row.get("Name"))
            if about.way == WEBSITE:
                domain = host_of(_text(row.get("Website")))
            else:
                domain = domain_key(_text(row.get(about.field)).strip())
        if sfid and domain in asked:
            made = Related(sfid, "Account", name, about.way)
            gathered.related[domain][made.rule, sfid] = made


def host_of(website: str) -> str:
    """Return the host of a web site as a domain key, without a leading `www.`."""
    text = website.strip()
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        host = parts.hostname or ""
    except ValueError:
        return ""
    return domain_key(host).removeprefix("www.")


def _candidate(
    sfid: str, sobject: str, key: str, name: str, row: Mapping[str, Any]
) -> Candidate:
    return Candidate(
        sfid,
        sobject,
        key,
        _text(row.get("Name")),
        moment(row.get("CreatedDate")),
        record_id(row.get("AccountId") or ""),
        owner_id=_id(row, "OwnerId"),
        field=name,
        person_account=row.get("IsPersonAccount") is True,
    )


def _deal(sfid: str, contact_id: str, row: Mapping[str, Any]) -> OpportunityRole:
    return OpportunityRole(
        sfid,
        _text(row.get("Name")),
        contact_id,
        owner_id=_id(row, "OwnerId"),
        created_at=moment(row.get("CreatedDate")),
    )


def read_users(rows: Iterable[Mapping[str, Any]]) -> list[SalesforceUser]:
    """Return the Users of these rows, in their order."""
    return [_user(sfid, row) for row in rows if (sfid := _id(row, "Id"))]


def _user(sfid: str, row: Mapping[str, Any]) -> SalesforceUser:
    return SalesforceUser(
        sfid,
        _text(row.get("Name")),
        address_key(_text(row.get("Email"))) or "",
        row.get("IsActive") is True,
        _text(row.get("TimeZoneSidKey")) or None,
    )


def _id(row: Mapping[str, Any], name: str) -> str:
    return record_id(row.get(name) or "") or ""


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


# ------------------------------------------------------------------ activities


def plan_counts(found: Found, schema: OrgSchema) -> list[Ask]:
    """Return the queries that count activities of records that share an address.

    Archived ones do not count: `query` does not see them.
    """
    ids = [
        candidate.id
        for candidates in found.candidates.values()
        if len(candidates) > 1
        for candidate in candidates
    ]
    ids = list(dict.fromkeys(ids))
    events = asks_for(COUNTS.format("Event"), ids) if schema.has("Event") else []
    return asks_for(COUNTS.format("Task"), ids) + events


def read_counts(found: Found, answers: Iterable[tuple[Ask, Rows]]) -> Found:
    """Return the candidates of ambiguous addresses with their numbers of activities."""
    counts: dict[str, int] = defaultdict(int)
    for _, rows in answers:
        for row in rows:
            sfid, total = record_id(row.get("WhoId") or ""), row.get("total")
            if sfid and isinstance(total, int):
                counts[sfid] += total
    return replace(
        found,
        candidates={
            key: tuple(replace(c, activity_count=counts[c.id]) for c in candidates)
            if len(candidates) > 1
            else candidates
            for key, candidates in found.candidates.items()
        },
    )
