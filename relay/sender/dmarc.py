"""DMARC: whether what was proven belongs to the domain that the author claims.

The policy of a domain and the extent of an organization are both found by the DNS tree
walk: `walk` asks for `_dmarc` records from a name upwards, at most eight of them, and
`Walk.organizational_domain` reads the extent from what was found. No list of public
suffixes is involved: a domain above which nobody publishes a record is an organization
of its own.

`check` compares the author's domain with the domains that SPF and DKIM have proven.
SPF counts by the envelope sender alone. A signature counts only if it covers the mail
(`Signature.counts`), which is more than DMARC asks for.

Source: RFC 9989, sections 4.4 (alignment), 4.7 (records), 4.10 (tree walk), 5.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from relay.core.authentication import DMARCCheck, Identity, Result
from relay.sender.resolver import DNSFailure, Status, is_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.authentication import Signature, SPFCheck
    from relay.sender.resolver import MailLookups

MAX_QUERIES: Final = 8
_KEPT_LABELS: Final = 7
"""Where a name has more labels, the walk goes on here (section 4.10, step 4)."""
_POLICIES: Final = frozenset({"none", "quarantine", "reject"})
_VERSION: Final = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
_TAG: Final = re.compile(r"[ \t]*([A-Za-z]+)[ \t]*=[ \t]*([ -:<-~]+?)[ \t]*")
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:[^\s,!]+", re.IGNORECASE)


# ------------------------------------------------------------------ records


@dataclass(frozen=True, slots=True)
class Record:
    """A DMARC policy record.

    Attributes:
        domain: Where it stands, without `_dmarc`.
        policy: `p`; what it says for the domain itself.
        subdomains: `sp`; empty where it is not set.
        nonexistent: `np`; empty where it is not set.
        public_suffix: `psd`: `y`, `n` or `u`.
        testing: `t=y`.
        strict_spf: `aspf=s`.
        strict_dkim: `adkim=s`.
        applies: False where `p`, `sp` or `np` is in error and nobody can be told: then
            there is no DMARC for the mail (section 4.10.1).
    """

    domain: str
    policy: str = "none"
    subdomains: str = ""
    nonexistent: str = ""
    public_suffix: str = "u"
    testing: bool = False
    strict_spf: bool = False
    strict_dkim: bool = False
    applies: bool = True

    def policy_for(self, domain: str, *, exists: bool) -> str:
        """Return what is asked for mail of a domain (section 4.10.1)."""
        if domain == self.domain:
            return self.policy
        if not exists and self.nonexistent:
            return self.nonexistent
        return self.subdomains or self.policy


def read_record(domain: str, texts: Sequence[bytes]) -> Record | None:
    """Read the TXT records at a `_dmarc` name; None unless exactly one is of DMARC.

    Unknown tags, and tags in error other than `v` and the policies, are ignored
    (sections 4.7 and 4.8); of a tag that stands twice the first counts.
    """
    found = [
        text
        for text in (one.decode("utf-8", "replace").strip(" \t") for one in texts)
        if _VERSION.match(text)
    ]
    if len(found) != 1:
        return None
    tags: dict[str, str] = {}
    for part in found[0].split(";"):
        if (tag := _TAG.fullmatch(part)) is not None:
            tags.setdefault(tag[1].lower(), tag[2])
    return _record(domain, tags)


def _record(domain: str, tags: dict[str, str]) -> Record:
    values = {name: value.strip().lower() for name, value in tags.items()}
    record = Record(
        domain,
        public_suffix=_one_of(values, "psd", "ynu", "u"),
        testing=_one_of(values, "t", "yn", "n") == "y",
        strict_spf=_one_of(values, "aspf", "rs", "r") == "s",
        strict_dkim=_one_of(values, "adkim", "rs", "r") == "s",
    )
    given = {name: values[name] for name in ("p", "sp", "np") if name in values}
    if "p" not in given or not _POLICIES.issuperset(given.values()):
        # A record without `p` counts as `p=none` if somebody wants reports; it is
        # `p=none` by its definition too, and both mean the same here: no policy.
        reports = tags.get("rua", "").split(",")
        told = any(_URI.match(uri.strip()) for uri in reports)
        return replace(record, applies=told)
    return replace(
        record,
        policy=given["p"],
        subdomains=given.get("sp", ""),
        nonexistent=given.get("np", ""),
    )


def _one_of(values: dict[str, str], tag: str, allowed: str, default: str) -> str:
    value = values.get(tag, default)
    return value if len(value) == 1 and value in allowed else default


# ------------------------------------------------------------------ the tree walk


@dataclass(frozen=True, slots=True)
class Walk:
    """The records found from a domain upwards, the longest name first."""

    start: str
    records: tuple[Record, ...] = ()

    @property
    def organizational_domain(self) -> str:
        """Return the domain at the top of the organization (section 4.10.2)."""
        for record in self.records:
            if record.public_suffix == "n":
                return record.domain
            if record.public_suffix == "y" and record.domain != self.start:
                labels = self.start.split(".")
                return ".".join(labels[-1 - len(record.domain.split(".")) :])
        return self.records[-1].domain if self.records else self.start

    @property
    def policy_record(self) -> Record | None:
        """Return the record whose policy applies to mail of this domain.

        It stands at the domain, else at its organization, else at the public suffix
        above it (section 4.10.1).
        """
        by_domain = {record.domain: record for record in self.records}
        for domain in (self.start, self.organizational_domain):
            if (record := by_domain.get(domain)) is not None:
                return record
        # A walk ends at the suffix, so its record is the last that was found.
        last = self.records[-1] if self.records else None
        return last if last is not None and last.public_suffix == "y" else None


def targets(domain: str) -> list[str]:
    """Return the names that a walk asks for, at most eight (section 4.10)."""
    labels = domain.split(".")
    names = [domain]
    labels = labels[1:] if len(labels) <= _KEPT_LABELS else labels[-_KEPT_LABELS:]
    while labels:
        names.append(".".join(labels))
        labels = labels[1:]
    return names


@dataclass(slots=True)
class Walker:
    """Walks for one mail; a name that two walks share is asked once.

    Attributes:
        queries: How many `_dmarc` names were asked for.
    """

    lookups: MailLookups
    queries: int = 0
    _known: dict[str, Record | None] = field(default_factory=dict)

    async def walk(self, domain: str) -> Walk:
        """Find the records from a domain upwards.

        Raises:
            DNSFailure: One of them could not be asked for, so nobody knows.
        """
        records: list[Record] = []
        for name in targets(domain):
            record = await self._record(name)
            if record is None:
                continue
            records.append(record)
            if record.public_suffix in {"y", "n"}:
                break
        return Walk(domain, tuple(records))

    async def _record(self, name: str) -> Record | None:
        if name not in self._known:
            self.queries += 1
            answer = await self.lookups.txt(f"_dmarc.{name}")
            self._known[name] = read_record(name, answer.values)
        return self._known[name]


# ------------------------------------------------------------------ alignment


@dataclass(frozen=True, slots=True)
class Alignment:
    """The mail's checks, each with its `aligned`, and what DMARC makes of them."""

    spf: tuple[SPFCheck, ...]
    dkim: tuple[Signature, ...]
    dmarc: DMARCCheck


async def check(
    lookups: MailLookups,
    author_domain: str,
    mail_from: str,
    spf: tuple[SPFCheck, ...],
    dkim: tuple[Signature, ...],
) -> Alignment:
    """Compare what was proven with the author's domain (section 5.3).

    Args:
        lookups: The view of this mail.
        author_domain: The one domain of From, as an A-label.
        mail_from: The envelope sender; of the null sender nothing is aligned.
        spf: The checks of SPF.
        dkim: The signatures.
    """
    if not is_name(author_domain):
        none = DMARCCheck(author_domain, Result.NONE, "From has no domain name")
        return Alignment(spf, dkim, none)
    walker = Walker(lookups)
    try:
        return await _check(walker, author_domain, bool(mail_from), spf, dkim)
    except DNSFailure as failure:
        # What is identical to the author's domain is aligned by any record.
        spf, dkim = _align(spf, dkim, frozenset({author_domain}), bool(mail_from))
        text = f"the DNS did not answer: {failure}"
        found = DMARCCheck(
            author_domain, Result.TEMPERROR, text, queries=walker.queries
        )
        return Alignment(spf, dkim, _proven(found, spf, dkim))


async def _check(
    walker: Walker,
    author: str,
    has_sender: bool,  # noqa: FBT001 - an argument of `check`, told in one word
    spf: tuple[SPFCheck, ...],
    dkim: tuple[Signature, ...],
) -> Alignment:
    walk = await walker.walk(author)
    record = walk.policy_record
    organization = walk.organizational_domain
    if record is None or not record.applies:
        spf, dkim = _align(spf, dkim, frozenset({author}), has_sender)
        text = f"{author} has no DMARC record, nor has a domain above it"
        if record is not None:
            text = f"the DMARC record at {record.domain} has an error in its policy"
        none = DMARCCheck(
            author,
            Result.NONE,
            text,
            organizational_domain=organization,
            queries=walker.queries,
        )
        return Alignment(spf, dkim, _proven(none, spf, dkim))
    exists = author == record.domain or await _exists(walker.lookups, author)
    policy = record.policy_for(author, exists=exists)
    by_spf, unknown_spf = await _aligned_domains(
        walker, author, organization, record.strict_spf, _passed_spf(spf, has_sender)
    )
    by_dkim, unknown_dkim = await _aligned_domains(
        walker, author, organization, record.strict_dkim, _passed_dkim(dkim)
    )
    spf, _ = _align(spf, (), by_spf | {author}, has_sender)
    _, dkim = _align((), dkim, by_dkim | {author}, has_sender)
    found = DMARCCheck(
        author,
        Result.FAIL,
        policy=policy,
        policy_domain=record.domain,
        organizational_domain=organization,
        testing=record.testing,
        queries=walker.queries,
    )
    found = _judged(_proven(found, spf, dkim), spf, dkim)
    unknown = unknown_spf or unknown_dkim
    if unknown and found.result in {Result.FAIL, Result.POLICY}:
        text = f"the DNS did not answer: {unknown}"
        found = replace(found, result=Result.TEMPERROR, text=text)
    return Alignment(spf, dkim, found)


def _passed_spf(spf: tuple[SPFCheck, ...], has_sender: bool) -> set[str]:  # noqa: FBT001
    return {
        one.domain
        for one in spf
        if has_sender
        and one.identity is Identity.MAIL_FROM
        and one.result is Result.PASS
    }


def _passed_dkim(dkim: tuple[Signature, ...]) -> set[str]:
    return {one.domain for one in dkim if one.result is Result.PASS}


async def _aligned_domains(
    walker: Walker,
    author: str,
    organization: str,
    strict: bool,  # noqa: FBT001 - of the record, for SPF or DKIM
    domains: set[str],
) -> tuple[frozenset[str], str]:
    """Return those domains that are aligned with the author (section 4.10.2).

    The text says why that is not known of one of them.
    """
    aligned = {author} & domains
    unknown = ""
    for domain in sorted(domains - aligned):
        # An organization ends in its own name. So nobody else's domain is aligned, and
        # a stranger's name servers are not asked.
        if strict or not f".{domain}".endswith(f".{organization}"):
            continue
        try:
            walk = await walker.walk(domain)
        except DNSFailure as failure:
            unknown = str(failure)
            continue
        if walk.organizational_domain == organization:
            aligned.add(domain)
    return frozenset(aligned), unknown


def _align(
    spf: tuple[SPFCheck, ...],
    dkim: tuple[Signature, ...],
    domains: frozenset[str],
    has_sender: bool,  # noqa: FBT001 - as above
) -> tuple[tuple[SPFCheck, ...], tuple[Signature, ...]]:
    """Mark the checks whose domain is one of these, also those that failed."""
    return (
        tuple(
            replace(
                one,
                aligned=has_sender
                and one.identity is Identity.MAIL_FROM
                and one.domain in domains,
            )
            for one in spf
        ),
        tuple(replace(one, aligned=one.domain in domains) for one in dkim),
    )


def _proven(
    found: DMARCCheck, spf: tuple[SPFCheck, ...], dkim: tuple[Signature, ...]
) -> DMARCCheck:
    return replace(
        found,
        spf_aligned=any(one.aligned and one.result is Result.PASS for one in spf),
        dkim_aligned=any(one.aligned and one.counts for one in dkim),
    )


def _judged(
    found: DMARCCheck, spf: tuple[SPFCheck, ...], dkim: tuple[Signature, ...]
) -> DMARCCheck:
    """Give the result of a mail to which a record applies."""
    if found.spf_aligned or found.dkim_aligned:
        ways = [
            name
            for name, proven in (
                ("SPF", found.spf_aligned),
                ("DKIM", found.dkim_aligned),
            )
            if proven
        ]
        text = f"{' and '.join(ways)} speak for {found.domain}"
        if len(ways) == 1:
            text = f"{ways[0]} speaks for {found.domain}"
        return replace(found, result=Result.PASS, text=text)
    for one in dkim:
        if one.aligned and one.result is Result.PASS:
            text = (
                f"the signature of {one.domain} is good and does not cover: "
                f"{', '.join(one.missing)}"
            )
            return replace(found, result=Result.POLICY, text=text)
    unknown = [
        one.text
        for one in spf
        if one.identity is Identity.MAIL_FROM and one.result is Result.TEMPERROR
    ]
    unknown += [one.text for one in dkim if one.result is Result.TEMPERROR]
    if unknown:
        text = f"nothing proves the author, and the DNS failed: {unknown[0]}"
        return replace(found, result=Result.TEMPERROR, text=text)
    text = f"neither SPF nor DKIM speaks for {found.domain}"
    return replace(found, text=text)


async def _exists(lookups: MailLookups, domain: str) -> bool:
    """Say whether a domain exists: only NXDOMAIN says that it does not.

    Source: sections 3.2.13 and A.4; RFC 8020.
    """
    return (await lookups.a(domain)).status is not Status.NO_NAME
