"""Finds records near people that no record has: by domain, by name, by local part.

This is for a person who looks at one unmatched mail, never for the flow of mail: five
queries, one call, for all people of the mail. What it returns is scored elsewhere
(`relay.match.candidates`), so that it may find too much, and each query has a limit.

A domain can only be found with a wildcard in front, which no index serves: in an org
with very many people Salesforce may give such a query up. Then the people found by name
and by local part, which are indexed, are still there. All text comes from mail, and
goes through the quoting of `soql`.

Source: SOQL and SOSL Reference, "LIKE", "Quoted String Escape Sequences"; Object
Reference, "Contact", "Lead", "Account".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from relay.core.addresses import address_key, domain_key, domain_of, unicode_domain
from relay.core.errors import InvalidInput
from relay.core.free_mail import is_free_mail
from relay.core.ids import record_id
from relay.core.unmatched import SearchHit
from relay.salesforce.connection import refused
from relay.salesforce.people import MAX_EMAIL
from relay.salesforce.soql import MAX_ENCODED, Query, clean, encoded, statement
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from relay.core.model import Person
    from relay.core.org import OrgSchema
    from relay.salesforce.connection import Connection
    from relay.salesforce.schema import Schema

MAX_PEOPLE: Final = 5
"""People that one search is for; the first ones of the mail."""
MAX_ROWS: Final = 200
"""Records of one query."""
_BETWEEN: Final = len("%20OR%20")
_MAX_WORDS: Final = 4
"""Words of one name that are looked for."""
_SHORTEST: Final = 3
"""Letters of a name that is looked for: fewer fit too much."""
_LONGEST: Final = 40
_LONGEST_NAME: Final = 200
"""Characters of a display name that are looked at."""
_SHORTEST_LABEL: Final = 4
"""Letters of a domain's label that is looked for under other endings as well."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_SECOND_LEVEL: Final = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})
_WRITTEN_OUT: Final = (("ae", "ä"), ("oe", "ö"), ("ue", "ü"), ("ss", "ß"))
_WITH_DOTS: Final = (("a", "ä"), ("o", "ö"), ("u", "ü"), ("o", "ø"), ("e", "é"))
_SHORTEST_WRITTEN: Final = 4

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Contact": ("Name", "FirstName", "LastName", "Email", "AccountId"),
    "Lead": ("Name", "FirstName", "LastName", "Email", "Company", "Website"),
    "Account": ("Name", "Website"),
}
"""What is read of each object, as far as our user may see it."""
_OF_ACCOUNT: Final = ("Name", "Website")

logger = get_logger(__name__)


class Search:
    """Looks for records near unmatched people. On demand alone: it costs a call.

    Args:
        connection: What the parts of `Org` share.
        schema: Which objects the org has for our user.
    """

    def __init__(self, connection: Connection, schema: Schema) -> None:
        """Keep the parts; nothing is asked yet."""
        self._connection = connection
        self._schema = schema

    async def near(self, people: Sequence[Person]) -> tuple[SearchHit, ...]:
        """Return Contacts, open Leads and Accounts near these people, by id.

        At most `MAX_PEOPLE` of them are looked for, in one call of at most five
        queries. A query that Salesforce gives up is left out where another was
        answered.

        Raises:
            OrgPaused: The org cannot be used.
            SalesforceUnavailable: Anything else; nothing was found.
        """
        wanted = plan(people, await self._schema.get())
        if not wanted:
            return ()
        queries = [query for _, query in wanted]
        answers = await self._connection.queries.run("search", queries)
        failed = [one for one in answers if not isinstance(one, list)]
        if len(failed) == len(answers):
            raise refused("search", failed[0], pauses=False)
        for one in failed:
            logger.warning("search_incomplete", code=one.code)
        return read(
            (sobject, rows)
            for (sobject, _), rows in zip(wanted, answers, strict=True)
            if isinstance(rows, list)
        )

    async def by_text(self, text: str) -> tuple[SearchHit, ...]:
        """Return what a person looks for by its name, e-mail address or number.

        Contacts, open Leads, Accounts, Opportunities and Cases, in this order, each by
        name; at most `MOST_HITS` of each, in one call. An object that Salesforce does
        not search is left out where another was answered.

        Raises:
            InvalidInput: The text is shorter than two characters.
            OrgPaused: The org cannot be used.
            SalesforceUnavailable: Anything else; nothing was found.
        """
        wanted = plan_text(text, await self._schema.get(also=_MORE))
        queries = [query for _, query in wanted]
        answers = await self._connection.queries.run("search", queries)
        failed = [one for one in answers if not isinstance(one, list)]
        if answers and len(failed) == len(answers):
            raise refused("search", failed[0], pauses=False)
        return tuple(
            hit
            for (sobject, _), rows in zip(wanted, answers, strict=True)
            if isinstance(rows, list)
            for hit in read_text(sobject, rows)
        )


# ------------------------------------------------------------------ by a text

MOST_HITS: Final = 10
_SHORTEST_TEXT: Final = 2
_LONGEST_TEXT: Final = 80
_MORE: Final = frozenset({"Opportunity", "Case"})
_BY_TEXT: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "Contact": (("Name", "Email"), ""),
    "Lead": (("Name", "Email", "Company"), "IsConverted = false"),
    "Account": (("Name",), ""),
    "Opportunity": (("Name",), ""),
    "Case": (("Subject", "CaseNumber"), ""),
}
"""By object: the fields that are searched, the first of which names the record."""


def plan_text(text: str, schema: OrgSchema) -> list[tuple[str, Query]]:
    """Return objects with the query that looks for a text in each.

    Raises:
        InvalidInput: The text is too short.
    """
    text = " ".join(clean(text).split())[:_LONGEST_TEXT]
    if len(text) < _SHORTEST_TEXT:
        raise InvalidInput("the text is too short", "write two characters or more")
    found = []
    for sobject, (names, condition) in _BY_TEXT.items():
        known = [name for name in names if schema.field(sobject, name)]
        if not known:
            continue
        fits = " OR ".join(
            statement(f"{name} LIKE '%{{:like}}%'", text) for name in known
        )
        where = f"{condition} AND ({fits})" if condition else fits
        shown = [*known]
        if sobject in {"Contact", "Opportunity"} and schema.field("Account", "Name"):
            shown.append("Account.Name")
        # Names of fields are the table's; the text was quoted.
        soql = f"SELECT Id, {', '.join(shown)} FROM {sobject} WHERE {where}"  # noqa: S608
        order = known[0]
        found.append((sobject, Query(f"{soql} ORDER BY {order} LIMIT {MOST_HITS}")))
    return found


def read_text(sobject: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[SearchHit]:
    """Yield the records of one object."""
    name, *_ = _BY_TEXT[sobject][0]
    for row in rows:
        sfid = record_id(row.get("Id") or "")
        if sfid is None:
            continue
        account = row.get("Account")
        company = (
            account.get("Name") if isinstance(account, dict) else row.get("Company")
        )
        shown = _text(row.get(name)) or _text(row.get("CaseNumber"))
        email = address_key(_text(row.get("Email"))) or ""
        yield SearchHit(sfid, sobject, shown, email=email, account_name=_text(company))


# ------------------------------------------------------------------ asking


def plan(people: Sequence[Person], schema: OrgSchema) -> list[tuple[str, Query]]:
    """Return objects with their queries; none where nothing can be looked for."""
    some = list(people)[:MAX_PEOPLE]
    domains = [domain_of(one.key) for one in some]
    domains = [
        domain
        for domain in dict.fromkeys(domains)
        if len(domain) <= MAX_EMAIL and not is_free_mail(domain)
    ]
    in_domain = [term for domain in domains for term in _in_domain(domain)]
    by_name = [term for one in some for term in _by_name(one)]
    accounts = [term for domain in domains for term in _of_account(domain)]
    wanted = [
        ("Contact", in_domain),
        ("Contact", by_name),
        ("Lead", in_domain),
        ("Lead", by_name),
        ("Account", accounts),
    ]
    return [
        (sobject, _query(sobject, terms, schema))
        for sobject, terms in wanted
        if terms and schema.has(sobject)
    ]


def _query(sobject: str, terms: Iterable[str], schema: OrgSchema) -> Query:
    """Join conditions, which are quoted already, as many as fit into a URL."""
    known = [name for name in _FIELDS[sobject] if schema.field(sobject, name)]
    if sobject == "Contact" and "AccountId" in known:
        there = [name for name in _OF_ACCOUNT if schema.field("Account", name)]
        known += [f"Account.{name}" for name in there]
    open_only = "IsConverted = false AND " if sobject == "Lead" else ""
    # Neither names of fields nor numbers come from mail.
    head = f"SELECT Id, {', '.join(known)} FROM {sobject} WHERE {open_only}("  # noqa: S608
    tail = f") LIMIT {MAX_ROWS}"
    room = MAX_ENCODED - len(encoded(head)) - len(encoded(tail))
    joined: list[str] = []
    for term in dict.fromkeys(terms):
        room -= len(encoded(term)) + _BETWEEN
        if room < 0:
            break
        joined.append(term)
    return Query(head + " OR ".join(joined) + tail)


def _in_domain(domain: str) -> Iterator[str]:
    """Yield conditions for addresses in a domain, below it, and in its sisters."""
    for shown in dict.fromkeys((domain, unicode_domain(domain))):
        yield statement("Email LIKE '%@{:like}'", shown)
    label, owned = _owned(domain)
    if owned != domain:
        yield statement("Email LIKE '%@{:like}'", owned)
    yield statement("Email LIKE '%.{:like}'", owned)
    if len(label) >= _SHORTEST_LABEL:
        yield statement("Email LIKE '%@{:like}.%'", label)


def _of_account(domain: str) -> Iterator[str]:
    """Yield conditions for Accounts with this web site, or named like it."""
    label, owned = _owned(domain)
    yield statement("Website LIKE '%{:like}%'", owned)
    if len(label) >= _SHORTEST_LABEL:
        yield statement("Website LIKE '%{:like}.%'", label)
        yield statement("Name LIKE '{:like}%'", label)
        first = re.split(r"[-0-9]", label)[0]
        if first != label and len(first) >= _SHORTEST_LABEL:
            yield statement("Name LIKE '{:like}%'", first)


def _owned(domain: str) -> tuple[str, str]:
    """Return the label that the owner of a domain chose, and the domain from there."""
    labels = domain.split(".")
    at = len(labels) - 2
    if at > 0 and labels[at] in _SECOND_LEVEL:
        at -= 1
    at = max(at, 0)
    return labels[at], ".".join(labels[at:])


def _by_name(person: Person) -> Iterator[str]:
    """Yield conditions for people with these names, and with this local part."""
    local = person.key.rpartition("@")[0].partition("+")[0]
    shown = "" if "@" in person.name else person.name[:_LONGEST_NAME]
    words = [word for word in _WORD.findall(shown) if len(word) <= _LONGEST]
    spelt = [word for word in re.split(r"[._\-]+", local.rstrip("0123456789")) if word]
    if len(local) >= _SHORTEST:
        yield statement("Email LIKE '{:like}@%'", local[:_LONGEST])
    names = dict.fromkeys(
        word.lower()
        for word in (*words[-_MAX_WORDS:][::-1], *spelt[:_MAX_WORDS])
        if _SHORTEST <= len(word) <= _LONGEST
    )
    if len(spelt) == 1 and len(spelt[0]) > _SHORTEST + 1:
        # jdoe and doej: an initial stands beside the name.
        names |= dict.fromkeys((spelt[0][1:], spelt[0][:-1]))
    for name in names:
        yield statement("LastName IN {}", list(spellings_of(name)))
    for name in words[-1:]:
        if len(name) >= _SHORTEST:
            yield statement("LastName LIKE '{:like}-%'", name)
            for part in name.split("-")[: _MAX_WORDS if "-" in name else 0]:
                if len(part) >= _SHORTEST:
                    yield statement("LastName IN {}", list(spellings_of(part)))


def spellings_of(name: str) -> tuple[str, ...]:
    """Return a name as it is, and with umlauts written out or not.

    Salesforce does not know that Müller, Mueller and Muller may be one name.
    """
    found = {name: None}
    for long, short in _WRITTEN_OUT:
        if long in name:
            found[name.replace(long, short)] = None
            found[name.replace(long, short.translate(_BARE))] = None
        if short in name:
            found[name.replace(short, long)] = None
            found[name.replace(short, short.translate(_BARE))] = None
    if len(name) >= _SHORTEST_WRITTEN and name.isascii():
        for bare, marked in _WITH_DOTS:
            if name.count(bare) == 1:
                found[name.replace(bare, marked)] = None
    return tuple(found)


_BARE: Final = str.maketrans("äöüßøé", "aousoe")


# ------------------------------------------------------------------ reading


def read(
    answers: Iterable[tuple[str, Iterable[Mapping[str, Any]]]],
) -> tuple[SearchHit, ...]:
    """Return what the rows of each object say, each record once, by id."""
    found: dict[str, SearchHit] = {}
    for sobject, rows in answers:
        for row in rows:
            sfid = record_id(row.get("Id") or "")
            if sfid:
                found[sfid] = _READERS[sobject](sfid, row)
    return tuple(found[sfid] for sfid in sorted(found))


def _contact(sfid: str, row: Mapping[str, Any]) -> SearchHit:
    account = row.get("Account")
    account = account if isinstance(account, dict) else {}
    return SearchHit(
        sfid,
        "Contact",
        _text(row.get("Name")),
        _text(row.get("FirstName")),
        _text(row.get("LastName")),
        address_key(_text(row.get("Email"))) or "",
        record_id(row.get("AccountId") or ""),
        _text(account.get("Name")),
        site_of(_text(account.get("Website"))),
    )


def _lead(sfid: str, row: Mapping[str, Any]) -> SearchHit:
    return SearchHit(
        sfid,
        "Lead",
        _text(row.get("Name")),
        _text(row.get("FirstName")),
        _text(row.get("LastName")),
        address_key(_text(row.get("Email"))) or "",
        None,
        _text(row.get("Company")),
        site_of(_text(row.get("Website"))),
    )


def _account(sfid: str, row: Mapping[str, Any]) -> SearchHit:
    name = _text(row.get("Name"))
    site = site_of(_text(row.get("Website")))
    return SearchHit(
        sfid, "Account", name, account_id=sfid, account_name=name, domain=site
    )


_READERS: Final = {
    "Contact": _contact,
    "Lead": _lead,
    "Account": _account,
}


def site_of(website: str) -> str:
    """Return the domain of a web site as people type it; empty: there is none."""
    text = website.strip().lower()
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
    return domain_key(host.removeprefix("www.")) if "." in host else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
