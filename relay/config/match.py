"""Settings of what a mail is logged on: whom to look for, which records to choose.

An admin changes every key of this section while the relay runs (`relay settings set
match.KEY`): what the store holds stands before the file (`relay.match.Context`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from relay.config.values import (
    BodyRule,
    Flag,
    InternalDomain,
    Number,
    Section,
    Text,
    mistake,
)
from relay.core import subjects
from relay.core.match_rules import FIELD, condition_problem, read_field_rule

AUTO: Final = "auto"
"""In a list of e-mail fields: every field of type e-mail that can be looked up."""
NONE: Final = "none"
MAX_FIELDS: Final = 10
"""Entries of one list of fields: each makes the queries longer."""
CONFIDENTIAL_MARKS: Final = (
    *("[private]", "[personal]", "[confidential]", "[do not log]"),
    *("[privat]", "[persönlich]", "[vertraulich]", "[privé]", "[confidentiel]"),
    *("[privado]", "[confidencial]", "[privato]", "[riservato]", "[vertrouwelijk]"),
)
_PERSON_FIELD: Final = "__pc"
_PEOPLE: Final = frozenset({"contact", "lead"})


def _email_field(value: str) -> str:
    name = value.strip()
    if name.lower() == AUTO:
        return AUTO
    hint = 'write API names, such as "Email" and "Work_Email__c", or "auto"'
    if not FIELD.fullmatch(name):
        raise mistake("is no API name of a field", hint)
    if name.lower() == "personemail":
        raise mistake(
            "is the e-mail of a person account",
            'write "Email": a person account is found through its Contact',
        )
    if name.lower().endswith(_PERSON_FIELD):
        raise mistake(
            "is how a person account shows a field of its Contact",
            f'write "{name[: -len(_PERSON_FIELD)]}__c"',
        )
    return name


def _field_rule(value: str) -> str:
    hint = 'write it like "Case.ContactId: open" or "Project__c.Customer_Email__c"'
    try:
        rule = read_field_rule(value)
    except ValueError:
        raise mistake("is no Object.Field", hint) from None
    if rule.object.lower() in _PEOPLE:
        raise mistake(
            f"names {rule.object}",
            "Contacts and Leads are found by match.contact_email_fields and "
            "match.lead_email_fields",
        )
    return str(rule)


def _account_way(value: str) -> str:
    way = value.strip()
    if way.lower() in {"website", "contacts"}:
        return way.lower()
    if not FIELD.fullmatch(way):
        hint = 'write "website", "contacts", or a field, such as "Email_Domain__c"'
        raise mistake("is no way to an Account", hint)
    return way


def _none_is_empty(value: object) -> object:
    """Read `none`, alone, as the empty list."""
    if isinstance(value, str) and value.strip().lower() in {"", NONE}:
        return ()
    if isinstance(value, list | tuple) and [str(v).lower() for v in value] == [NONE]:
        return ()
    return value


def _subject(value: str) -> str:
    if wrong := subjects.problem(value):
        raise mistake(*wrong)
    return " ".join(value.split())


def _condition(value: str) -> str:
    text = value.strip()
    if problem := condition_problem(text):
        hint = "write what may stand behind WHERE in SOQL, such as \"Status__c = 'A'\""
        raise mistake(problem, hint)
    return text


EmailField = Annotated[str, AfterValidator(_email_field)]
EmailFields = Annotated[
    tuple[EmailField, ...], Field(min_length=1, max_length=MAX_FIELDS)
]
Rule = Annotated[str, AfterValidator(_field_rule)]
AccountWay = Annotated[str, AfterValidator(_account_way)]
Condition = Annotated[str, AfterValidator(_condition)]
Subject = Annotated[str, Field(max_length=1000), AfterValidator(_subject)]


class MatchSettings(Section):
    """How the relay chooses records."""

    several: Literal["all", "oldest", "newest", "most_activity", "mine"] = Field(
        default="all",
        description="Where several Contacts or Leads have the same address: log on "
        "all of them, the oldest, the newest, the one with the most Tasks and Events "
        "(most_activity; costs two more queries), or the oldest that the rep owns "
        "(mine; the oldest of all where the rep owns none).",
    )
    objects: Annotated[
        tuple[Literal["contact", "lead", "person_account"], ...], Field(min_length=1)
    ] = Field(
        default=("contact", "lead", "person_account"),
        description="Which people are looked for, a list: contact, lead, "
        "person_account.",
    )
    contact_email_fields: EmailFields = Field(
        default=("Email",),
        description="Fields of Contact that are searched for an address, in order. "
        "auto: every field of type e-mail, as Salesforce's own mail integration does.",
    )
    lead_email_fields: EmailFields = Field(
        default=("Email",),
        description="Fields of Lead that are searched for an address, in order; auto "
        "as for Contacts.",
    )
    follow_converted_leads: Flag = Field(
        default=True,
        description="Where an address has no Contact but a Lead that was converted, "
        "log on the Contact that the Lead became.",
    )
    opportunities: Literal["all", "newest", "mine", "primary", "none"] = Field(
        default="all",
        description="Open Opportunities in which a Contact has a role: log on all of "
        "them, the newest of each Contact, those that the rep owns (mine), those where "
        "the Contact is the primary one, or none.",
    )
    account_opportunities: Flag = Field(
        default=False,
        description="Also the open Opportunities of the Contact's Account, whoever has "
        "a role in them; match.opportunities chooses among all of them.",
    )
    accounts: Annotated[
        tuple[AccountWay, ...], BeforeValidator(_none_is_empty), Field(max_length=5)
    ] = Field(
        default=(),
        description="Where nobody of a mail has a record, log on the one Account with "
        "the domain of an address; ways to find it, in order: website (the host of "
        "Account.Website), contacts (addresses of its Contacts), or the name of a "
        "field of Account that holds the domain. Empty or none: no Account.",
    )
    lookups: Annotated[
        tuple[Rule, ...],
        BeforeValidator(_none_is_empty),
        Field(max_length=MAX_FIELDS),
    ] = Field(
        default=(),
        description="Further records of a chosen Contact or its Account, by look-up "
        'fields, such as "Case.ContactId: open" or "Project__c.Account__c: open '
        'newest". open: without closed ones; newest: the one that was created last.',
    )
    more_objects: Annotated[
        tuple[Rule, ...],
        BeforeValidator(_none_is_empty),
        Field(max_length=MAX_FIELDS),
    ] = Field(
        default=(),
        description="Further records by an e-mail field of their own, such as "
        '"Case.SuppliedEmail: open" or "Project__c.Customer_Email__c".',
    )
    contact_condition: Condition = Field(
        default="",
        description="Only Contacts (and person accounts) for which this piece of SOQL "
        "holds, such as \"Status__c = 'Active'\"; empty: all.",
    )
    lead_condition: Condition = Field(
        default="",
        description="Only Leads that are not converted and for which this piece of "
        "SOQL holds; empty: all.",
    )
    opportunity_condition: Condition = Field(
        default="",
        description="Only open Opportunities for which this piece of SOQL holds; "
        "empty: all.",
    )
    account_condition: Condition = Field(
        default="",
        description="Only Accounts (of match.accounts) for which this piece of SOQL "
        "holds; empty: all.",
    )
    thread: Flag = Field(
        default=False,
        description="Log a reply also on the Opportunities, Cases and other related "
        "records on which an earlier mail of its thread was logged.",
    )
    visibility: Literal["relay", "user"] = Field(
        default="relay",
        description="user: only records that the rep can read in Salesforce; relay: "
        "all that the integration user can read.",
    )
    unmatched_create: Flag = Field(
        default=False,
        description="Whether `relay unmatched create` may make Leads and Contacts of "
        "people without a record.",
    )
    unmatched_task: Flag = Field(
        default=False,
        description="Whether a mail of which nobody has a record also makes an open "
        "Task of the rep in Salesforce, once, as Email to Salesforce does.",
    )
    rematch_s: Number = Field(
        default=900,
        description="How often the relay looks whether records appeared for mail that "
        "did not match, in seconds; one API call, and none while all mail matches. 0: "
        "never.",
    )
    internal_domains: tuple[InternalDomain, ...] = Field(
        default=("auto",),
        description="Domains of your own company, a list: people there are not looked "
        "up, and mail among them alone is not logged. auto: the domains of the active "
        "users' own addresses, except those of free mail, such as gmail.com.",
    )
    record_tags: Literal["on", "own_text", "off"] = Field(
        default="own_text",
        description="Record ids that a mail names in its subject or the first 5,000 "
        "characters of its text: log on those records where a user of the relay wrote "
        "them (own_text), also where they stand in quoted or received mail (on), or "
        "do nothing (off).",
    )
    remove_tags: Flag = Field(
        default=False,
        description="Take record tags out of subject and text of what is logged: true "
        "or false.",
    )
    confidential: Literal["skip", "log"] = Field(
        default="skip",
        description="Mail that is marked as confidential: skip or log it.",
    )
    confidential_marks: tuple[Text, ...] = Field(
        default=CONFIDENTIAL_MARKS,
        description="Marks of confidential mail in its subject, a list; case and "
        "blanks do not count.",
    )
    confidential_sensitivity: tuple[
        Literal["personal", "private", "company-confidential"], ...
    ] = Field(
        default=("personal", "private", "company-confidential"),
        description="Values of the field Sensitivity that mark a mail as confidential, "
        "a list of personal, private and company-confidential.",
    )
    body: Literal["full", "text", "without_quotes", "headers", "subject"] = Field(
        default="full",
        description="How much of a mail is logged: full, without HTML (text), without "
        "the mails that it quotes (without_quotes), without text and files (headers), "
        "or the subject alone.",
    )
    body_rules: tuple[BodyRule, ...] = Field(
        default=(),
        description="How much is logged of mail with some customers, a list of "
        "ADDRESS-OR-DOMAIN: MODE. Of several that fit a mail the one holds that lets "
        "the least through.",
    )
    kinds: Annotated[
        tuple[Literal["mails", "replies", "reminders"], ...],
        BeforeValidator(_none_is_empty),
    ] = Field(
        default=("mails", "replies", "reminders"),
        description="What is logged, a list: mails, replies (received answers to "
        "earlier mail; with Salesforce's API alone), and reminders (open reminder "
        "tasks of users who sync them). Empty or none: nothing.",
    )
    subject: Subject = Field(
        default="",
        description="Subject of what is logged: free text with fields, such as "
        '"[Sales] {{activity_subject}}"; replies then read "Reply: " and their '
        "subject. Fields: "
        + ", ".join(subjects.FIELDS)
        + ". Empty: the subject of the mail.",
    )
    task_type: Flag = Field(
        default=True,
        description="Set Task.Type to Email or Reply, if the picklist of the org has "
        "that very word and no default.",
    )
    forward_note: Literal["above", "leave_out"] = Field(
        default="above",
        description="What a rep writes above a forwarded mail: it stands above the "
        "text on the record, under a line that says whose note it is (above), or is "
        "not kept (leave_out).",
    )
    more_headers: tuple[Literal["bcc", "reply_to"], ...] = Field(
        default=(),
        description="Fields whose people count beside those of To and Cc, a list of "
        "bcc and reply_to. A customer in Bcc is then shown on a record.",
    )
