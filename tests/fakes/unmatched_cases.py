"""An org, and people in mail who are in it under another address: labelled cases.

`build(seed)` fills a sandbox org with companies, Contacts and Leads, then writes to
each of some hundred people in a way that no record's e-mail field has: an alias, a
name after a wedding, an umlaut written out, initials, a private mailbox, a short form
of the first name, the next employer, a slip of the fingers, a shared mailbox, or a
colleague who has no record. The label is the record from which a case was made; it is
never what the scorer says.

Names are drawn with replacement, so that the org has namesakes, families in one company
and companies with names alike: the near misses are part of it.
"""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.model import Person, Place
from relay.core.org import FieldInfo, OrgSchema
from relay.sandbox.org import SandboxOrg

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = (
    "Alexander Andrea Anna Antonia Barbara Benjamin Catherine Charlotte Christian "
    "Christopher Daniel David Edward Elizabeth Emma Ewa Florian François Friedrich "
    "Gabriele Gregory Günther Hannah Helena Henry Ignacio Isabel Jacob James Jennifer "
    "Jörg Joanna Johannes José Joseph Julia Jürgen Katarzyna Katharina Kenneth Lars "
    "Laura Leonard Łukasz Magnus Małgorzata Manuel Margaret Maria Martin Matthew "
    "Maximilian Michael Nicholas Oliver Patricia Patrick Pedro Peter Philip Rachel "
    "Rebecca Richard Robert Ronald Samuel Sebastian Søren Stefan Stephanie Steven "
    "Susan Theresa Thomas Timothy Ulrich Victoria William Åsa Zoë"
).split()
LAST = (
    "Adams Andersen Bauer Baker Bennett Björk Böhm Braun Carter Castillo Clarke "
    "Dubois Dvořák Fischer Fournier García Gómez González Graf Groß Gruber Hansen "
    "Harris Hernández Hoffmann Huber Hughes Iversen Jackson Jørgensen Jäger Kaiser "
    "Keller Klein Köhler Kowalski Krüger Lambert Lang Larsen Lefèvre Lewis Lindström "
    "López Maier Marino Martínez Mayer Meyer Miller Moore Moreau Müller Murphy "
    "Neumann Nilsson Nowak O'Brien O'Neil Öztürk Parker Pérez Petit Phillips Richter "
    "Roberts Romano Rossi Roth Sánchez Schäfer Schmid Schmidt Schmitt Schneider "
    "Schröder Schulz Schwarz Silva Smith Sørensen Stewart Svensson Taylor Thompson "
    "Torres Turner Vogel Wagner Walker Weber Weiß White Williams Wójcik Wolf Wright "
    "Young Zieliński Zimmermann"
).split()
WORDS = (
    "Alpine Anchor Atlas Aurora Beacon Birch Bridge Castle Cedar Cobalt Crown Delta "
    "Dune Eagle Ember Falcon Forge Glacier Granite Harbor Helix Iron Juniper Kestrel "
    "Lumen Maple Meridian Nimbus Nordic Oak Orbit Pioneer Quartz Raven River Sable "
    "Silver Solar Summit Terra Titan Union Vector Vertex Willow Zenith"
).split()
TRADES = (
    "Logistics Systems Foods Energy Motors Pharma Textiles Consulting Media Robotics "
    "Insurance Optics Software Shipping Tools"
).split()
FORMS = ("GmbH", "Inc.", "Ltd", "AG", "SARL", "S.p.A.", "", "Group")
ENDINGS = ("com", "de", "co.uk", "net", "eu", "fr", "io")
FREE = ("gmail.com", "gmx.de", "outlook.com", "yahoo.com", "web.de", "icloud.com")
NICKNAMES = {
    "Alexander": "Alex",
    "Andrea": "Andy",
    "Barbara": "Barb",
    "Benjamin": "Ben",
    "Catherine": "Kate",
    "Charlotte": "Lotte",
    "Christian": "Chris",
    "Christopher": "Chris",
    "Daniel": "Dan",
    "David": "Dave",
    "Edward": "Ted",
    "Elizabeth": "Liz",
    "Florian": "Flo",
    "Friedrich": "Fritz",
    "Gregory": "Greg",
    "Henry": "Harry",
    "Ignacio": "Nacho",
    "James": "Jim",
    "Jennifer": "Jenny",
    "Johannes": "Hans",
    "José": "Pepe",
    "Joseph": "Joe",
    "Katharina": "Kathi",
    "Kenneth": "Ken",
    "Margaret": "Peggy",
    "Matthew": "Matt",
    "Maximilian": "Max",
    "Michael": "Mike",
    "Nicholas": "Nick",
    "Patricia": "Pat",
    "Rebecca": "Becky",
    "Richard": "Dick",
    "Robert": "Bob",
    "Samuel": "Sam",
    "Sebastian": "Basti",
    "Stefan": "Steve",
    "Stephanie": "Steffi",
    "Steven": "Steve",
    "Susan": "Sue",
    "Theresa": "Tess",
    "Thomas": "Tom",
    "Timothy": "Tim",
    "Ulrich": "Uli",
    "Victoria": "Vicky",
    "William": "Bill",
}
PATTERNS: tuple[Callable[[str, str], str], ...] = (
    lambda f, s: f"{f}.{s}",
    lambda f, s: f"{f[0]}{s}",
    lambda f, s: f"{f[0]}.{s}",
    lambda f, s: f"{f}{s}",
    lambda f, s: f"{f}_{s}",
    lambda f, s: f"{s}.{f}",
    lambda f, s: f"{f}",
    lambda f, s: f"{s}",
    lambda f, s: f"{f}{s[0]}",
)
SHARED = ("info", "office", "sales", "buchhaltung", "support", "einkauf", "contact")
_OUT = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "ł": "l"}


@dataclass(frozen=True, slots=True)
class Case:
    """One person of a mail, and the record that is meant."""

    kind: str
    person: Person
    right: str
    shown: str


@dataclass(frozen=True, slots=True)
class _Company:
    id: str
    name: str
    domain: str
    pattern: Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class _Someone:
    id: str
    first: str
    last: str
    email: str
    company: _Company | None


def written_out(name: str) -> str:
    """Return a name as Germans and Danes write it in ASCII."""
    return bare("".join(_OUT.get(c, c) for c in name.lower()))


def bare(name: str) -> str:
    """Return a name without its marks, as everybody else writes it."""
    small = name.lower().replace("ß", "ss").replace("ø", "o").replace("ł", "l")
    marks = unicodedata.normalize("NFKD", small)
    return "".join(c for c in marks if c.isascii() and c.isalnum())


def schema() -> OrgSchema:
    """Return what describe says of the objects that are searched."""
    names = "Id Name FirstName LastName Email AccountId Company Website".split()
    fields = {
        name: FieldInfo(
            *(name, name, "string", 80, True, True, True, True, False, False, False),
            restricted=False,
        )
        for name in names
    }
    return OrgSchema(dict.fromkeys(("Contact", "Lead", "Account"), fields))


class _Builder:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.org = SandboxOrg(seed=False)
        self.companies: list[_Company] = []
        self.people: list[_Someone] = []
        self.taken: set[str] = set()

    def plant(self, name: str, **values: object) -> str:
        made = self.org.records.system_insert(
            name, values, self.org.integration_user_id
        )
        return str(made["Id"])

    # ------------------------------------------------------------ the org

    def fill(self) -> None:
        dice = self.dice
        for _ in range(70):
            self.company()
        for company in self.companies:
            family = dice.choice(LAST)
            for number in range(dice.randint(2, 9)):
                # In every fourth company two people have one last name.
                last = family if number < 2 and dice.random() < 0.25 else None
                self.someone(company, last)
        for _ in range(90):
            self.lead()
        self.org.rows.commit()

    def company(self) -> None:
        dice = self.dice
        word, trade = dice.choice(WORDS), dice.choice(TRADES)
        name = f"{word} {trade} {dice.choice(FORMS)}".strip()
        label = dice.choice(
            [f"{word}{trade}", f"{word}-{trade}", word, f"{word[:2]}{trade[:3]}"]
        ).lower()
        domain = f"{label}.{dice.choice(ENDINGS)}"
        if domain in self.taken:
            return
        self.taken.add(domain)
        site = dice.choice((f"https://www.{domain}/", domain, f"www.{domain}", ""))
        made = self.plant("Account", Name=name, Website=site or None)
        self.companies.append(_Company(made, name, domain, dice.choice(PATTERNS)))

    def someone(self, company: _Company, last: str | None = None) -> None:
        first, last = self.dice.choice(FIRST), last or self.dice.choice(LAST)
        spell = self.dice.choice((written_out, bare))
        email = f"{company.pattern(spell(first), spell(last))}@{company.domain}"
        if email in self.taken:
            return
        self.taken.add(email)
        made = self.plant(
            "Contact",
            FirstName=first,
            LastName=last,
            Name=f"{first} {last}",
            Email=email,
            AccountId=company.id,
        )
        self.people.append(_Someone(made, first, last, email, company))

    def lead(self) -> None:
        dice = self.dice
        first, last = dice.choice(FIRST), dice.choice(LAST)
        word, trade = dice.choice(WORDS), dice.choice(TRADES)
        domain = dice.choice((*FREE, f"{word}{trade}.{dice.choice(ENDINGS)}".lower()))
        local = dice.choice(PATTERNS[:4])(bare(first), bare(last))
        if f"{local}@{domain}" in self.taken:
            return
        self.taken.add(f"{local}@{domain}")
        made = self.plant(
            "Lead",
            FirstName=first,
            LastName=last,
            Name=f"{first} {last}",
            Email=f"{local}@{domain}",
            Company=f"{word} {trade}",
        )
        company = None
        if domain not in FREE:
            company = _Company(made, f"{word} {trade}", domain, PATTERNS[0])
        self.people.append(_Someone(made, first, last, f"{local}@{domain}", company))

    # ------------------------------------------------------------ the cases

    def shown(self, first: str, last: str) -> str:
        """Return a display name, as mail programs and people write them."""
        roll = self.dice.random()
        if roll < 0.60:
            return f"{first} {last}"
        if roll < 0.70:
            return f"{last}, {first}"
        if roll < 0.74:
            return f"{first} {last} (external)"
        if roll < 0.79:
            return f"{first[0]}. {last}"
        if roll < 0.84:
            return first
        return ""

    def employed(self) -> _Someone:
        while True:
            one = self.dice.choice(self.people)
            if one.company:
                return one

    def case(self, kind: str) -> Case | None:
        one, address, name = getattr(self, f"_{kind}")()
        if address in self.taken or address.startswith("@"):
            return None
        right = one if isinstance(one, str) else one.id
        said = one if isinstance(one, str) else f"{one.first} {one.last} <{one.email}>"
        return Case(kind, Person(address, address, name, Place.TO), right, said)

    def _alias(self):
        """Another pattern of the name in the company's domain."""
        one = self.employed()
        local = self.dice.choice(PATTERNS)(bare(one.first), bare(one.last))
        return one, f"{local}@{one.company.domain}", self.shown(one.first, one.last)

    def _umlaut(self):
        """The other way to write an umlaut, in the address and often in the name."""
        while True:
            one = self.employed()
            if written_out(one.last) != bare(one.last):
                break
        spell = written_out if bare(one.last) in one.email else bare
        local = one.company.pattern(spell(one.first), spell(one.last))
        name = self.shown(one.first, one.last)
        if self.dice.random() < 0.5:
            name = " ".join(
                "".join(_OUT.get(c, c) for c in word.lower()).title()
                for word in name.split()
            )
        return one, f"{local}@{one.company.domain}", name

    def _married(self):
        """A new last name; the first name and the company stay."""
        one = self.employed()
        new = self.dice.choice([last for last in LAST if last != one.last])
        if self.dice.random() < 0.4:
            new = self.dice.choice((f"{one.last}-{new}", f"{new}-{one.last}"))
        spelt = [bare(part) for part in new.split("-")]
        local = one.company.pattern(bare(one.first), "-".join(spelt))
        return one, f"{local}@{one.company.domain}", f"{one.first} {new}"

    def _initials(self):
        """Two letters, sometimes with the name beside them."""
        one = self.employed()
        local = f"{bare(one.first)[0]}{bare(one.last)[0]}"
        name = self.dice.choice(
            (f"{one.first[0]}. {one.last}", f"{one.first} {one.last}")
        )
        return one, f"{local}@{one.company.domain}", name

    def _private(self):
        """A mailbox at a provider of free mail."""
        one = self.dice.choice(self.people)
        local = self.dice.choice(PATTERNS[:5])(bare(one.first), bare(one.last))
        local += self.dice.choice(("", "", "1", "77", "1984"))
        name = self.shown(one.first, one.last)
        return one, f"{local}@{self.dice.choice(FREE)}", name

    def _nickname(self):
        """The short form of the first name, in the name, the address or both."""
        while True:
            one = self.employed()
            if one.first in NICKNAMES:
                break
        short = NICKNAMES[one.first]
        local = one.company.pattern(bare(short), bare(one.last))
        name = self.dice.choice((f"{short} {one.last}", f"{short} {one.last}", short))
        return one, f"{local}@{one.company.domain}", name

    def _moved(self):
        """The next employer, whom the org may know or not."""
        one = self.employed()
        if self.dice.random() < 0.5:
            there = self.dice.choice(self.companies)
            if there is one.company:
                there = self.companies[0]
            domain, pattern = there.domain, there.pattern
        else:
            domain = (
                f"{self.dice.choice(WORDS)}works.{self.dice.choice(ENDINGS)}".lower()
            )
            pattern = self.dice.choice(PATTERNS[:6])
        local = pattern(bare(one.first), bare(one.last))
        return one, f"{local}@{domain}", f"{one.first} {one.last}"

    def _slip(self):
        """A slip of the fingers, on either side of the @."""
        one = self.employed()
        local, domain = one.email.split("@")
        if self.dice.random() < 0.5 and len(local) > 4:
            local = self.slipped(local)
        else:
            label, dot, rest = domain.partition(".")
            domain = f"{self.slipped(label)}{dot}{rest}"
        return one, f"{local}@{domain}", self.shown(one.first, one.last)

    def slipped(self, text: str) -> str:
        at = self.dice.randrange(1, len(text) - 1)
        return self.dice.choice(
            (
                text[:at] + text[at + 1 :],
                text[:at] + text[at] + text[at:],
                text[:at] + text[at + 1] + text[at] + text[at + 2 :],
                text[:at] + self.dice.choice("aeinrst") + text[at + 1 :],
            )
        )

    def _plus(self):
        """A plus tag, or a dot that the record does not have."""
        one = self.dice.choice(self.people)
        local, domain = one.email.split("@")
        if "." in local and self.dice.random() < 0.5:
            local = local.replace(".", "")
        else:
            local += self.dice.choice(("+crm", "+news", "+2026"))
        return one, f"{local}@{domain}", self.shown(one.first, one.last)

    def _sister(self):
        """Another ending of the company's domain, or a domain below it."""
        one = self.employed()
        local, domain = one.email.split("@")
        label = domain.split(".")[0]
        others = [end for end in ENDINGS if domain != f"{label}.{end}"]
        new = f"{label}.{self.dice.choice(others)}"
        if self.dice.random() < 0.3:
            new = f"{self.dice.choice(('mail', 'uk', 'mx'))}.{domain}"
        return one, f"{local}@{new}", self.shown(one.first, one.last)

    def _shared(self):
        """A mailbox of the company; the Account is meant."""
        company = self.dice.choice(self.companies)
        local = self.dice.choice(SHARED)
        name = self.dice.choice(("", "", company.name, local.title()))
        return company.id, f"{local}@{company.domain}", name

    def _colleague(self):
        """Somebody of a company who has no record; the Account is meant."""
        company = self.dice.choice(self.companies)
        first, last = self.dice.choice(FIRST), self.dice.choice(LAST)
        local = company.pattern(bare(first), bare(last))
        return company.id, f"{local}@{company.domain}", self.shown(first, last)


KINDS = {
    "alias": 55,
    "umlaut": 35,
    "married": 35,
    "initials": 25,
    "private": 50,
    "nickname": 45,
    "moved": 45,
    "slip": 50,
    "plus": 25,
    "sister": 35,
    "shared": 40,
    "colleague": 45,
}
"""How many cases of each kind."""


def build(seed: int) -> tuple[SandboxOrg, list[Case]]:
    """Return an org and its cases; the same seed gives the same."""
    made = _Builder(seed)
    made.fill()
    cases = []
    for kind, count in KINDS.items():
        found: list[Case] = []
        while len(found) < count:
            if case := made.case(kind):
                found.append(case)
        cases += found
    return made.org, cases
