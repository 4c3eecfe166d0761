"""What the settings of `[match]` mean for the look-ups in one org.

`resolve` takes the fields and objects that an admin named through describe: what the
org does not have, or hides from our user, is left out, and `relay check` names it
(`relay.salesforce.fits`). The result is a value: equal rules ask the same questions, so
that answers can be remembered by it.

Source: REST API Developer Guide, "sObject Describe"; Object Reference, "Contact",
"Lead", "Account".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from relay.config.match import AUTO
from relay.core.match_rules import FieldRule, read_field_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.config.match import MatchSettings
    from relay.core.org import FieldInfo, OrgSchema

EMAIL: Final = "Email"
EMAIL_TYPES: Final = frozenset({"email", "string"})
"""Types of fields that can hold an address; a formula has the type of its result."""
TARGETS: Final = ("Contact", "Account")
"""Objects by whose ids further records are looked up, the person before the company."""
WEBSITE: Final = "website"
CONTACTS: Final = "contacts"
_TEXT_TYPES: Final = frozenset({"string", "url", "email", "picklist"})


@dataclass(frozen=True, slots=True)
class RecordRule:
    """A rule for further records, as this org can answer it.

    Attributes:
        rule: As the org spells it.
        text: As the admin set it.
        name_field: Field with the record's name; empty: it has none.
        target: Object whose ids the field holds; empty: it holds an address.
        has_created: The object has CreatedDate.
    """

    rule: FieldRule
    text: str
    name_field: str
    target: str = ""
    has_created: bool = True


@dataclass(frozen=True, slots=True)
class LookupRules:
    """Which questions a look-up asks.

    Attributes:
        contact_fields: E-mail fields of Contact in order; empty: none are looked for.
        lead_fields: The same for Leads.
        person_accounts: None: Contacts of all kinds; else only those that are, or are
            not, person accounts.
        knows_person_accounts: The org has IsPersonAccount.
        follow: Converted Leads are followed to their Contacts.
        role_fields: Fields of OpportunityContactRole to ask for; empty: no roles.
        by_account: Also Opportunities of Accounts.
        accounts: Ways to an Account by domain, each with the field that is asked.
        by_address: Rules for records with an e-mail field of their own.
        by_id: Rules for records that look up a Contact or an Account.
        contact_condition: SOQL that a Contact must meet; the others alike.
    """

    contact_fields: tuple[str, ...] = (EMAIL,)
    lead_fields: tuple[str, ...] = (EMAIL,)
    person_accounts: bool | None = None
    knows_person_accounts: bool = False
    follow: bool = True
    role_fields: tuple[str, ...] = ("OpportunityId", "IsPrimary")
    by_account: bool = False
    accounts: tuple[tuple[str, str], ...] = ()
    by_address: tuple[RecordRule, ...] = ()
    by_id: tuple[RecordRule, ...] = ()
    contact_condition: str = ""
    lead_condition: str = ""
    opportunity_condition: str = ""
    account_condition: str = ""

    @property
    def address_fields(self) -> tuple[str, ...]:
        """Return the fields in which an address is looked for, such as Lead.Email."""
        return (
            *(f"Contact.{name}" for name in self.contact_fields),
            *(f"Lead.{name}" for name in self.lead_fields),
            *(f"{each.rule.object}.{each.rule.field}" for each in self.by_address),
        )


def resolve(match: MatchSettings, schema: OrgSchema) -> LookupRules:
    """Return the questions that these settings ask in this org."""
    wanted = frozenset(match.objects)
    kinds = wanted & {"contact", "person_account"}
    person_accounts: bool | None = None
    if schema.person_accounts and len(kinds) == 1:
        person_accounts = "person_account" in kinds
    elif not schema.person_accounts and kinds == {"person_account"}:
        kinds = frozenset()
    deals = schema.has("Opportunity") and match.opportunities != "none"
    roles = deals and schema.has("OpportunityContactRole")
    leads = "lead" in wanted and schema.has("Lead")
    role_fields = known(schema, "OpportunityContactRole", "OpportunityId", "IsPrimary")
    return LookupRules(
        contact_fields=email_fields("Contact", match.contact_email_fields, schema)
        if kinds
        else (),
        lead_fields=email_fields("Lead", match.lead_email_fields, schema)
        if leads
        else (),
        person_accounts=person_accounts,
        knows_person_accounts=schema.person_accounts,
        follow=match.follow_converted_leads and bool(kinds),
        role_fields=role_fields if roles else (),
        by_account=deals
        and match.account_opportunities
        and match.opportunities != "primary",
        accounts=tuple(
            (way, account_field(way, schema))
            for way in match.accounts
            if not account_problem(way, schema)
        ),
        by_address=_rules(match.more_objects, schema, targets=()),
        by_id=_rules(match.lookups, schema, targets=TARGETS),
        contact_condition=match.contact_condition,
        lead_condition=match.lead_condition,
        opportunity_condition=match.opportunity_condition if deals else "",
        account_condition=match.account_condition,
    )


def named_objects(match: MatchSettings) -> frozenset[str]:
    """Return the objects that the settings name, which are to be described as well."""
    rules = map(read_field_rule, (*match.more_objects, *match.lookups))
    counted = {"Event"} if match.several == "most_activity" else set()
    return frozenset(rule.object for rule in rules) | counted


# ------------------------------------------------------------------ fields


def email_fields(
    sobject: str, names: Iterable[str], schema: OrgSchema
) -> tuple[str, ...]:
    """Return the fields that are searched for an address, in order, each once.

    Where the org has none of them, the names come back as they are: a question that
    Salesforce refuses is told, one that finds nobody is not.
    """
    fields: list[str] = []
    wanted = tuple(names)
    for name in wanted:
        if name == AUTO:
            fields += automatic(sobject, schema)
        elif (info := field_named(schema, sobject, name)) and not problem(info):
            fields.append(info.name)
    if fields:
        return tuple(dict.fromkeys(fields))
    return tuple(name for name in wanted if name != AUTO) or (EMAIL,)


def automatic(sobject: str, schema: OrgSchema) -> list[str]:
    """Return every field of type e-mail that can be looked up, `Email` first."""
    infos = schema.fields.get(sobject, {}).values()
    named = [i.name for i in infos if i.type == "email" and i.filterable]
    return sorted(named, key=lambda name: (name != EMAIL, name))


def problem(info: FieldInfo | None) -> str:
    """Say why a field cannot be searched for an address; empty where it can."""
    if info is None:
        return "is not there, or hidden from the integration user"
    if info.type not in EMAIL_TYPES:
        return f"is a {info.type}, not an e-mail"
    return "" if info.filterable else "cannot be looked up"


def field_named(schema: OrgSchema, sobject: str, name: str) -> FieldInfo | None:
    """Return a field, found without regard to case as Salesforce does."""
    exact = schema.field(sobject, name)
    if exact is not None:
        return exact
    folded = name.lower()
    return next(
        (i for n, i in schema.fields.get(sobject, {}).items() if n.lower() == folded),
        None,
    )


def known(schema: OrgSchema, sobject: str, *names: str) -> tuple[str, ...]:
    """Return those of the fields that describe shows; all where it shows no field."""
    fields = schema.fields.get(sobject, {})
    return tuple(name for name in names if name in fields or not fields)


def account_field(way: str, schema: OrgSchema) -> str:
    """Return the field that a way to Accounts asks for, as the org spells it."""
    if way == CONTACTS:
        return EMAIL
    info = field_named(schema, "Account", "Website" if way == WEBSITE else way)
    return info.name if info else way


def account_problem(way: str, schema: OrgSchema) -> str:
    """Say why Accounts cannot be found in a way; empty where they can."""
    if not schema.has("Account"):
        return "the integration user may not read Account"
    if way == CONTACTS:
        return ""
    name = "Website" if way == WEBSITE else way
    info = field_named(schema, "Account", name)
    if info is None:
        return f"Account.{name} is not there, or hidden from the integration user"
    if info.type not in _TEXT_TYPES or not info.filterable:
        return f"Account.{name} is a {info.type}, which holds no domain to look up"
    return ""


# ------------------------------------------------------------------ further records


def _rules(
    texts: Iterable[str], schema: OrgSchema, *, targets: tuple[str, ...]
) -> tuple[RecordRule, ...]:
    rules = []
    for text in texts:
        rule = read_field_rule(text)
        if not rule_problem(rule, schema, targets=targets):
            rules.append(_resolved(rule, schema, targets))
    return tuple(rules)


def rule_problem(
    rule: FieldRule, schema: OrgSchema, *, targets: tuple[str, ...]
) -> str:
    """Say why a rule finds nothing in this org; empty where it can.

    Args:
        rule: The rule.
        schema: The org, with the rule's object described.
        targets: Objects that the field may look up; empty: it is to hold an address.
    """
    if not schema.has(rule.object):
        return f"there is no {rule.object}, or the integration user may not read it"
    info = field_named(schema, rule.object, rule.field)
    if info is None or not targets:
        text = problem(info)
        if text:
            return f"{rule.name} {text}"
    elif not set(targets) & set(info.references):
        return f"{rule.name} is no look-up field to {' or '.join(targets)}"
    elif not info.filterable:
        return f"{rule.name} cannot be looked up"
    if not schema.may_name("Task", "WhatId", rule.object):
        return f"{rule.object} takes no activities: allow them in its definition"
    if rule.only_open and schema.field(rule.object, "IsClosed") is None:
        return f"{rule.object} has no IsClosed: leave out 'open'"
    if rule.newest and schema.field(rule.object, "CreatedDate") is None:
        return f"{rule.object} has no CreatedDate: leave out 'newest'"
    return ""


def _resolved(
    rule: FieldRule, schema: OrgSchema, targets: tuple[str, ...]
) -> RecordRule:
    fields = schema.fields[rule.object].values()
    info = field_named(schema, rule.object, rule.field)
    references = info.references if info else ()
    return RecordRule(
        replace(rule, field=info.name) if info else rule,
        str(rule),
        next((i.name for i in fields if i.is_name), ""),
        next((target for target in targets if target in references), ""),
        schema.field(rule.object, "CreatedDate") is not None,
    )
