"""DMARC by RFC 9989: the tree walk, records, alignment; each case names its section.

Every case asks a real DNS on loopback, which counts the questions: a walk asks for at
most eight `_dmarc` names.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from relay.core.authentication import Identity, Result, Signature, SPFCheck
from relay.sender import dmarc
from relay.sender.dmarc import Walk, read_record, targets
from tests.fakes.dns import DNS

REJECT = "v=DMARC1; p=reject"


@dataclass(frozen=True)
class Case:
    """One mail: what the DNS has, what was proven, and what DMARC makes of it."""

    name: str
    records: dict[str, str | list[str]]
    author: str
    spf: str = ""
    """The envelope sender's domain, for which SPF passes."""
    dkim: tuple[str, ...] = ()
    """Domains whose signatures are good."""
    result: Result = Result.FAIL
    policy: str = "reject"
    policy_domain: str = ""
    organization: str = ""
    spf_aligned: bool = False
    dkim_aligned: bool = False
    testing: bool = False
    names: tuple[str, ...] = ()
    """Names that exist beside those of the records."""
    asked: int | None = None
    """How many `_dmarc` names are asked for."""
    options: dict[str, object] = field(default_factory=dict)


def passing(**values):
    return {"result": Result.PASS, **values}


BANK = {
    "bank.example": "v=DMARC1; p=reject; psd=y",
    "giant.bank.example": REJECT,
}
DEEP = "a.b.c.d.e.f.g.h.i.j.k.example.com"

CASES = [
    # ---------------------------------------------------------------- appendix B.4
    Case("B.4.1 SPF of the author's own domain",
         {"example.com": REJECT, "signing.example.com": REJECT},
         "example.com", spf="example.com",
         policy_domain="example.com", organization="example.com",
         asked=2, **passing(spf_aligned=True)),
    Case("B.4.1 signature of a subdomain with a record of its own",
         {"example.com": REJECT, "signing.example.com": REJECT},
         "example.com", dkim=("signing.example.com",),
         policy_domain="example.com", organization="example.com",
         asked=3, **passing(dkim_aligned=True)),
    Case("B.4.1 both at once",
         {"example.com": REJECT, "signing.example.com": REJECT},
         "example.com", spf="example.com", dkim=("signing.example.com",),
         policy_domain="example.com", organization="example.com",
         asked=3, **passing(spf_aligned=True, dkim_aligned=True)),
    Case("B.4.2 deep name, nothing proven: eight questions",
         {"example.com": REJECT}, DEEP,
         policy_domain="example.com", organization="example.com", asked=8),
    Case("B.4.2 deep name, SPF of the organization",
         {"example.com": REJECT, "signing.example.com": REJECT},
         DEEP, spf="example.com",
         policy_domain="example.com", organization="example.com",
         asked=8, **passing(spf_aligned=True)),
    Case("B.4.2 deep name, signature of another branch",
         {"example.com": REJECT, "signing.example.com": REJECT},
         DEEP, dkim=("signing.example.com",),
         policy_domain="example.com", organization="example.com",
         asked=9, **passing(dkim_aligned=True)),
    Case("B.4.3 below a public suffix with psd=y: SPF of a subdomain",
         BANK, "giant.bank.example", spf="mail.giant.bank.example",
         policy_domain="giant.bank.example", organization="giant.bank.example",
         **passing(spf_aligned=True)),
    Case("B.4.3 the suffix does not join its tenants",
         BANK, "giant.bank.example", dkim=("mail.mega.bank.example",),
         policy_domain="giant.bank.example", organization="giant.bank.example",
         asked=2),
    Case("B.4.3 a tenant without a record is judged by the suffix",
         BANK, "mega.bank.example",
         policy_domain="bank.example", organization="mega.bank.example", asked=2),
    Case("B.4.3 two names of a tenant without records are one organization",
         BANK, "a.mega.bank.example", dkim=("b.mega.bank.example",),
         policy_domain="bank.example", organization="mega.bank.example",
         **passing(dkim_aligned=True)),
    # ---------------------------------------------------------------- appendix B.1
    Case("B.1.1 example 1: SPF identical", {"example.com": REJECT},
         "example.com", spf="example.com",
         policy_domain="example.com", organization="example.com",
         **passing(spf_aligned=True)),
    Case("B.1.1 example 2: SPF of a child", {"example.com": REJECT},
         "example.com", spf="child.example.com",
         policy_domain="example.com", organization="example.com",
         **passing(spf_aligned=True)),
    Case("B.1.1 example 3: SPF of another domain", {"example.com": REJECT},
         "child.example.com", spf="example.net",
         policy_domain="example.com", organization="example.com"),
    Case("B.1.2 example 1: DKIM identical", {"example.com": REJECT},
         "example.com", dkim=("example.com",),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("B.1.2 example 2: DKIM of a parent", {"example.com": REJECT},
         "child.example.com", dkim=("example.com",),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("B.1.2 example 3: DKIM of another domain", {"example.com": REJECT},
         "child.example.com", dkim=("example.net",),
         policy_domain="example.com", organization="example.com"),
    # ---------------------------------------------------------------- section 4.4
    Case("4.4 table: relaxed, one organization", {"example.com": REJECT},
         "news.example.com", dkim=("foo.example.com",),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("4.4 table: none, two organizations",
         {"example.com": REJECT, "example.net": REJECT},
         "news.example.com", dkim=("foo.example.net",),
         policy_domain="example.com", organization="example.com"),
    Case("4.4 case does not matter", {"example.com": REJECT},
         "example.com", dkim=("EXAMPLE.com".lower(),),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("4.4.1 any one good signature is enough", {"example.com": REJECT},
         "example.com", dkim=("list.example.net", "example.com", "evil.example"),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("4.4.2 a name that only ends alike", {"example.com": REJECT},
         "example.com", spf="notexample.com", dkim=("badexample.com",),
         policy_domain="example.com", organization="example.com", asked=2),
    Case("4.4.2 the author's domain below the sender's name", {"example.com": REJECT},
         "example.com", spf="example.com.evil.example",
         policy_domain="example.com", organization="example.com"),
    # ---------------------------------------------------------------- section 4.7
    Case("4.7 adkim=s wants the very domain",
         {"example.com": "v=DMARC1; p=reject; adkim=s"},
         "example.com", dkim=("mail.example.com",),
         policy_domain="example.com", organization="example.com", asked=2),
    Case("4.7 adkim=s with the very domain",
         {"example.com": "v=DMARC1; p=reject; adkim=s"},
         "example.com", dkim=("example.com",),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("4.7 aspf=s says nothing of DKIM",
         {"example.com": "v=DMARC1; p=reject; aspf=s"},
         "example.com", spf="mail.example.com", dkim=("mail.example.com",),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("4.7 adkim=s of the organization holds for its subdomains",
         {"example.com": "v=DMARC1; p=reject; adkim=s"},
         "mail.example.com", dkim=("example.com",),
         policy_domain="example.com", organization="example.com"),
    Case("4.7 an unknown mode is relaxed",
         {"example.com": "v=DMARC1; p=reject; adkim=strict"},
         "example.com", dkim=("mail.example.com",),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("4.7 t=y is told, with the policy as it is published",
         {"example.com": "v=DMARC1; p=reject; t=y"}, "example.com",
         policy_domain="example.com", organization="example.com", testing=True),
    Case("4.7 t=n", {"example.com": "v=DMARC1; p=reject; t=n"}, "example.com",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 pct is gone and ignored",
         {"example.com": "v=DMARC1; p=reject; pct=0"}, "example.com",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 tags in any order, blanks around them",
         {"example.com": "v=DMARC1 ;  adkim = s ;p = Quarantine ; "},
         "example.com", policy="quarantine",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 v must come first",
         {"example.com": "p=reject; v=DMARC1"}, "example.com",
         result=Result.NONE, policy="", organization="example.com"),
    Case("4.7 v is case sensitive",
         {"example.com": "v=dmarc1; p=reject"}, "example.com",
         result=Result.NONE, policy="", organization="example.com"),
    Case("4.7 another version is no record",
         {"example.com": "v=DMARC12; p=reject"}, "example.com",
         result=Result.NONE, policy="", organization="example.com"),
    Case("4.8 unknown tags are ignored",
         {"example.com": "v=DMARC1; p=reject; new=tag; 1x=2; ;;"}, "example.com",
         policy_domain="example.com", organization="example.com"),
    # ---------------------------------------------------------------- sp and np
    Case("4.7 sp for a subdomain that exists",
         {"example.com": "v=DMARC1; p=reject; sp=quarantine; np=reject"},
         "mail.example.com", names=("mail.example.com",), policy="quarantine",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 np for a subdomain that does not exist",
         {"example.com": "v=DMARC1; p=none; sp=none; np=reject"},
         "nowhere.example.com",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 without np, sp holds for what does not exist",
         {"example.com": "v=DMARC1; p=none; sp=reject"}, "nowhere.example.com",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 without np and sp, p holds",
         {"example.com": REJECT}, "nowhere.example.com",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 np is not for what exists",
         {"example.com": "v=DMARC1; p=quarantine; np=reject"}, "mail.example.com",
         names=("mail.example.com",), policy="quarantine",
         policy_domain="example.com", organization="example.com"),
    Case("3.2.13 a name exists if one below it does (RFC 8020)",
         {"example.com": "v=DMARC1; p=quarantine; np=reject"}, "mail.example.com",
         names=("host.mail.example.com",), policy="quarantine",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 sp is not for the domain itself",
         {"example.com": "v=DMARC1; p=reject; sp=none"}, "example.com",
         policy_domain="example.com", organization="example.com"),
    Case("4.7 sp of a subdomain's own record is ignored for it",
         {"example.com": "v=DMARC1; p=none", "mail.example.com":
          "v=DMARC1; p=reject; sp=none"}, "mail.example.com",
         policy_domain="mail.example.com", organization="example.com"),
    # ---------------------------------------------------------------- section 4.10
    Case("4.10 the author's own record wins over the organization's",
         {"example.com": "v=DMARC1; p=none", "mail.example.com": REJECT},
         "mail.example.com",
         policy_domain="mail.example.com", organization="example.com"),
    Case("4.10.1 a record between author and organization has no policy for it",
         {"example.com": "v=DMARC1; p=none; sp=quarantine", "b.example.com": REJECT},
         "a.b.example.com", policy="quarantine", names=("a.b.example.com",),
         policy_domain="example.com", organization="example.com"),
    Case("4.10 two records at a name are both discarded, and the walk goes on",
         {"mail.example.com": [REJECT, "v=DMARC1; p=none"],
          "example.com": "v=DMARC1; p=quarantine"}, "mail.example.com",
         policy="quarantine", names=("mail.example.com",),
         policy_domain="example.com", organization="example.com"),
    Case("4.10 two records at the only name are none",
         {"example.com": [REJECT, REJECT + "; "]}, "example.com",
         result=Result.NONE, policy="", organization="example.com"),
    Case("4.10 texts of other kinds beside a record are discarded",
         {"example.com": ["v=spf1 -all", REJECT, "hello"]}, "example.com",
         policy_domain="example.com", organization="example.com"),
    Case("4.10 psd=n ends the walk below the top",
         {"example.com": REJECT, "mail.example.com": "v=DMARC1; p=reject; psd=n"},
         "a.mail.example.com", asked=2,
         policy_domain="mail.example.com", organization="mail.example.com"),
    Case("4.10 psd=n keeps the parent's signatures out",
         {"example.com": REJECT, "mail.example.com": "v=DMARC1; p=reject; psd=n"},
         "mail.example.com", dkim=("example.com",), asked=1,
         policy_domain="mail.example.com", organization="mail.example.com"),
    Case("4.10 psd=n of a sibling keeps it out",
         {"example.com": REJECT, "news.example.com": "v=DMARC1; p=reject; psd=n"},
         "example.com", dkim=("news.example.com",), asked=3,
         policy_domain="example.com", organization="example.com"),
    Case("4.10 psd=y at the starting point is not its own suffix",
         {"bank.example": "v=DMARC1; p=reject; psd=y"}, "bank.example",
         policy_domain="bank.example", organization="bank.example", asked=1),
    Case("4.10.1 sp of a public suffix for a tenant",
         {"bank.example": "v=DMARC1; p=none; sp=quarantine; np=reject; psd=y"},
         "mega.bank.example", policy="quarantine", names=("mega.bank.example",),
         policy_domain="bank.example", organization="mega.bank.example"),
    Case("4.10.1 np of a public suffix for what is not registered",
         {"bank.example": "v=DMARC1; p=none; sp=quarantine; np=reject; psd=y"},
         "forged.bank.example",
         policy_domain="bank.example", organization="forged.bank.example"),
    Case("4.10.1 a suffix without psd=y is an organization to the walk",
         {"com": REJECT}, "example.com", dkim=("other.com",),
         policy_domain="com", organization="com", **passing(dkim_aligned=True)),
    Case("4.10 exactly eight labels: all of them are asked",
         {"h.example": REJECT}, "a.b.c.d.e.f.h.example", asked=8,
         policy_domain="h.example", organization="h.example"),
    Case("4.10 nine labels: one is left out",
         {"c.d.e.f.g.h.i.example": REJECT}, "b.c.d.e.f.g.h.i.example",
         result=Result.NONE, policy="", asked=8,
         organization="b.c.d.e.f.g.h.i.example"),
    Case("4.10 seven labels left of nine",
         {"d.e.f.g.h.i.example": REJECT}, "b.c.d.e.f.g.h.i.example", asked=8,
         policy_domain="d.e.f.g.h.i.example", organization="d.e.f.g.h.i.example"),
    Case("4.10.2 last example: only psd=y at the top",
         {"com": "v=DMARC1; p=reject; psd=y"}, "a.mail.example.com",
         dkim=("example.com",),
         policy_domain="com", organization="example.com",
         **passing(dkim_aligned=True)),
    Case("4.10.2 first example: the fewest labels",
         {"mail.example.com": REJECT, "example.com": REJECT}, "a.mail.example.com",
         dkim=("other.example.com",),
         policy_domain="example.com", organization="example.com",
         **passing(dkim_aligned=True)),
    # ---------------------------------------------------------------- no record
    Case("4.10.1 no record: DMARC does not apply",
         {}, "example.com", result=Result.NONE, policy="",
         organization="example.com", asked=2),
    Case("4.10.2 no record: the very domain is aligned all the same",
         {}, "example.com", spf="example.com", dkim=("example.com",),
         result=Result.NONE, policy="", organization="example.com",
         spf_aligned=True, dkim_aligned=True, asked=2),
    Case("4.10.2 no record at the parent: it no longer speaks for the child",
         {}, "mail.example.com", dkim=("example.com",), spf="example.com",
         result=Result.NONE, policy="", organization="mail.example.com"),
    Case("C.2 a suffix list is not asked: co.uk without records joins nobody",
         {}, "a.co.uk", dkim=("b.co.uk",), result=Result.NONE, policy="",
         organization="a.co.uk"),
    # ---------------------------------------------------------------- errors in policy
    Case("4.10.1 no p, reports wanted: p=none",
         {"example.com": "v=DMARC1; rua=mailto:d@example.com"}, "example.com",
         policy="none", policy_domain="example.com", organization="example.com"),
    Case("4.10.1 no p, nobody to tell: no DMARC",
         {"example.com": "v=DMARC1"}, "example.com",
         result=Result.NONE, policy="", organization="example.com"),
    Case("4.10.1 sp in error, reports wanted: p=none",
         {"example.com": "v=DMARC1; p=reject; sp=maybe; rua=x, mailto:d@example.com"},
         "example.com", policy="none", policy_domain="example.com",
         organization="example.com"),
    Case("4.10.1 p in error, no report that can be sent: no DMARC",
         {"example.com": "v=DMARC1; p=refuse; rua=nobody"}, "example.com",
         result=Result.NONE, policy="", organization="example.com"),
    Case("4.8 of a tag that stands twice the first counts",
         {"example.com": "v=DMARC1; p=reject; p=none"}, "example.com",
         policy_domain="example.com", organization="example.com"),
    # ---------------------------------------------------------------- section 5.3
    Case("5.3.1 a domain in A-labels",
         {"xn--strae-oqa.example": REJECT}, "xn--strae-oqa.example",
         dkim=("xn--strae-oqa.example",),
         policy_domain="xn--strae-oqa.example", organization="xn--strae-oqa.example",
         **passing(dkim_aligned=True)),
    Case("5.3.1 ss is another domain than sharp s",
         {"strasse.example": REJECT}, "strasse.example",
         dkim=("xn--strae-oqa.example",),
         policy_domain="strasse.example", organization="strasse.example"),
    Case("5.3.1 an author without a domain", {}, "", result=Result.NONE, policy=""),
    Case("5.3.5 no proof at all: fail", {"example.com": "v=DMARC1; p=none"},
         "example.com", policy="none",
         policy_domain="example.com", organization="example.com"),
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with DNS() as running:
        yield running


def publish(server, case):
    server.zones.clear()
    server.heal()
    server.counts.clear()
    for domain, texts in case.records.items():
        for text in [texts] if isinstance(texts, str) else texts:
            server.dmarc(domain, text)
    for name in case.names:
        server.records(f"{name}. IN A 192.0.2.1\n")


async def evaluate(server, author, mail_from, spf, dkim):
    resolver = server.resolver()
    try:
        return await dmarc.check(resolver.for_mail(), author, mail_from, spf, dkim)
    finally:
        await resolver.close()


def proven(case):
    spf = SPFCheck(Identity.MAIL_FROM, case.spf, Result.PASS)
    helo = SPFCheck(Identity.HELO, case.author, Result.PASS)
    checks = (spf, helo) if case.spf else (helo,)
    return checks, tuple(
        Signature(domain, "s", Result.PASS, covers=True) for domain in case.dkim
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(server, case):
    """The verdict, where it comes from, and how many names were asked for."""
    publish(server, case)
    spf, dkim = proven(case)
    mail_from = f"bounce@{case.spf or 'other.invalid'}"
    found = asyncio.run(evaluate(server, case.author, mail_from, spf, dkim)).dmarc
    assert (found.result, found.policy, found.policy_domain) == (
        case.result, case.policy, case.policy_domain,
    )  # fmt: skip
    assert found.organizational_domain == case.organization
    assert (found.spf_aligned, found.dkim_aligned, found.testing) == (
        case.spf_aligned, case.dkim_aligned, case.testing,
    )  # fmt: skip
    assert found.queries == server.dmarc_queries()
    assert case.asked is None or found.queries == case.asked


def test_enough_cases():
    """There are sixty at least, and each names where it comes from."""
    assert len(CASES) >= 60
    assert all(case.name[0] in "345ABC" for case in CASES)


@pytest.mark.parametrize("labels", range(1, 40))
def test_a_walk_asks_for_at_most_eight_names(labels):
    """Section 4.10: a long name costs no more than a short one."""
    domain = ".".join(["x"] * labels)
    names = targets(domain)
    assert len(names) <= dmarc.MAX_QUERIES
    assert len(set(names)) == len(names)
    assert names[0] == domain
    assert names[-1] == "x"


@pytest.mark.parametrize("labels", [2, 8, 9, 30, 120])
def test_server_sees_at_most_eight_questions(server, labels):
    """The same, as a name server counts it."""
    server.zones.clear()
    server.counts.clear()
    domain = ".".join(f"l{number}"[:63] for number in range(labels))
    domain = domain[-200:].lstrip(".")
    asyncio.run(evaluate(server, domain, "", (), ()))
    assert 0 < server.dmarc_queries() <= dmarc.MAX_QUERIES


def test_example_of_section_4_10():
    """The eight names of the long example, in their order."""
    assert targets("a.b.c.d.e.f.g.h.i.j.mail.example.com") == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    ]


def check_once(server, author, mail_from, spf, dkim=()):
    return asyncio.run(evaluate(server, author, mail_from, spf, dkim))


def test_null_sender_is_never_aligned(server):
    """Section 4.4.2: no HELO name stands for the envelope sender."""
    publish(server, Case("", {"example.com": REJECT}, "example.com"))
    spf = (
        SPFCheck(Identity.MAIL_FROM, "example.com", Result.PASS),
        SPFCheck(Identity.HELO, "example.com", Result.PASS),
    )
    found = check_once(server, "example.com", "", spf)
    assert not any(one.aligned for one in found.spf)
    assert found.dmarc.result is Result.FAIL


@pytest.mark.parametrize(
    "result", [one for one in Result if one not in {Result.PASS, Result.TEMPERROR}]
)
def test_only_a_pass_proves(server, result):
    """Section 4.4: a softfail or a policy result of the right domain is no proof."""
    publish(server, Case("", {"example.com": REJECT}, "example.com"))
    spf = (SPFCheck(Identity.MAIL_FROM, "example.com", result),)
    dkim = (Signature("example.com", "s", result, covers=True),)
    found = check_once(server, "example.com", "a@example.com", spf, dkim)
    assert found.dmarc.result is Result.FAIL
    assert found.spf[0].aligned  # It is the right domain, and proves nothing.


def test_signature_that_leaves_something_open(server):
    """RFC 9989 would pass it; it does not count here, and the text says so."""
    publish(server, Case("", {"example.com": REJECT}, "example.com"))
    dkim = (Signature("example.com", "s", Result.PASS, missing=("to",)),)
    found = check_once(server, "example.com", "", (), dkim).dmarc
    assert (found.result, found.dkim_aligned) == (Result.POLICY, False)
    assert "to" in found.text


# ------------------------------------------------------------------ DNS failures


def failing(server, name, records, kind="servfail"):
    publish(server, Case("", records, "example.com"))
    server.fail(kind, name)


def test_failure_above_is_temporary(server):
    """Section 4.10.1: whether there is a record, nobody knows."""
    failing(server, "_dmarc.example.com", {})
    found = check_once(server, "mail.example.com", "", ()).dmarc
    assert (found.result, found.queries) == (Result.TEMPERROR, 2)


def test_identical_domain_is_aligned_by_any_record(server):
    """What DMARC would say is not known; that the domains are the same, is."""
    failing(server, "_dmarc.example.com", {})
    dkim = (Signature("example.com", "s", Result.PASS, covers=True),)
    found = check_once(server, "example.com", "", (), dkim).dmarc
    assert (found.result, found.dkim_aligned) == (Result.TEMPERROR, True)


def test_strangers_dns_is_not_asked(server):
    """A signer outside of the organization cannot make the result temporary."""
    failing(server, "_dmarc.evil.example", {"example.com": REJECT})
    dkim = (Signature("evil.example", "s", Result.PASS, covers=True),)
    found = check_once(server, "example.com", "", (), dkim).dmarc
    assert found.result is Result.FAIL
    assert not server.asked("_dmarc.evil.example")


def test_failure_below_matters_only_without_other_proof(server):
    """A subdomain whose extent is not known leaves the result open."""
    failing(server, "_dmarc.news.example.com", {"example.com": REJECT})
    news = Signature("news.example.com", "s", Result.PASS, covers=True)
    own = Signature("example.com", "s", Result.PASS, covers=True)
    found = check_once(server, "example.com", "", (), (news,)).dmarc
    assert found.result is Result.TEMPERROR
    both = check_once(server, "example.com", "", (), (news, own)).dmarc
    assert both.result is Result.PASS


def test_failed_check_leaves_the_result_open(server):
    """SPF or DKIM that could not be checked may have been the proof."""
    publish(server, Case("", {"example.com": REJECT}, "example.com"))
    spf = (SPFCheck(Identity.MAIL_FROM, "example.com", Result.TEMPERROR, "no answer"),)
    found = check_once(server, "example.com", "a@example.com", spf).dmarc
    assert found.result is Result.TEMPERROR
    dkim = (Signature("example.com", "s", Result.TEMPERROR, "no key"),)
    found = check_once(server, "example.com", "", (), dkim).dmarc
    assert (found.result, "no key" in found.text) == (Result.TEMPERROR, True)


def test_failure_of_existence_is_temporary(server):
    """Section A.4: only NXDOMAIN says that a name does not exist."""
    publish(server, Case("", {"example.com": REJECT + "; np=none"}, "example.com"))
    server.fail("servfail", "mail.example.com", "A")
    found = check_once(server, "mail.example.com", "", ()).dmarc
    assert found.result is Result.TEMPERROR


# ------------------------------------------------------------------ records alone


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [b""],
        [b"v=DMARC1x; p=reject"],
        [b"v=DMARC1 p=reject"],
        [b"\xff\xfe"],
        [b"v=DMARC1; p=reject", b"v=DMARC1; p=reject"],
        [b"x" * 60_000],
    ],
)
def test_no_record(texts):
    """Neither nothing nor several records nor other texts are a record."""
    assert read_record("example.com", texts) is None


def test_walk_without_records():
    """The name itself is the organization, and no policy applies."""
    walk = Walk("mail.example.com")
    assert walk.organizational_domain == "mail.example.com"
    assert walk.policy_record is None
