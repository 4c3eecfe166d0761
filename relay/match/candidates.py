"""Which records may be meant by an address that no record has, and how likely. Pure.

A search found records near a person: in the domain of the address, or with the name.
`rank` scores each of them by evidence that a person can check: the domain, the display
name, what the local part spells, how far two addresses differ. Each piece of evidence
adds to a sum or takes from it, and has its reason in words; the sum becomes a score
from 0 to 100. A score is a hint for a person who decides: the relay never logs by it.

Names are compared letter by letter in their plainest form, in which Müller, Mueller
and Muller are one, so that no table of languages is needed; short forms of first names
(Bob, Robert) are in `names`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import domain_of
from relay.core.free_mail import is_free_mail
from relay.core.unmatched import Scored
from relay.match.names import SHARED, TITLES, plain, same_first_name, squeeze

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.core.model import Person
    from relay.core.unmatched import SearchHit

LEAST: Final = 10
"""A score below this is no candidate."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_IN_BRACKETS: Final = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_PARTS: Final = re.compile(r"[._\-+]+")
_SECOND_LEVEL: Final = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})
_FORMS: Final = """
    ab ag as bv co company corp corporation gmbh group holding inc kg limited llc llp
    ltd nv oy plc pty sa sarl se spa srl und and the
"""
_COMPANY: Final = frozenset(_FORMS.split())
"""Words in names of companies that name nobody."""
_SHORTEST_TYPO: Final = 5
"""Letters that a word needs for one wrong letter to be taken for a slip."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What speaks for a record (above 0) or against it, and the reason in words."""

    weight: float
    reason: str = ""


_NONE: Final = _Evidence(0.0)


def rank(
    person: Person,
    hits: Iterable[SearchHit],
    before: Mapping[str, str] | None = None,
) -> tuple[Scored, ...]:
    """Return the candidates for a person, the likeliest first.

    The same records give the same order, whatever order they came in.

    Args:
        person: Who has no record.
        hits: What a search found; a record may come more than once.
        before: By id of a record, in words how mail of this address met it before.
    """
    unique = {hit.id: hit for hit in hits}
    colleagues = _colleagues(person, unique.values())
    scored = [
        _score(person, hit, (before or {}).get(hit.id, ""), colleagues)
        for hit in unique.values()
    ]
    return tuple(
        sorted(
            (one for one in scored if one.score >= LEAST),
            key=lambda one: (-one.score, one.hit.object, one.hit.name, one.hit.id),
        )
    )


def _colleagues(person: Person, hits: Iterable[SearchHit]) -> dict[str, list[str]]:
    """Return, by Account id, the names of people in the domain of the address."""
    domain = domain_of(person.key)
    found: dict[str, list[str]] = {}
    if is_free_mail(domain):
        return found
    for hit in sorted(hits, key=lambda one: (one.name, one.id)):
        there = hit.object == "Contact" and domain_of(hit.email) == domain
        if there and hit.account_id:
            found.setdefault(hit.account_id, []).append(hit.name)
    return found


def _score(
    person: Person, hit: SearchHit, before: str, colleagues: Mapping[str, list[str]]
) -> Scored:
    if hit.object == "Account":
        base, evidence = _account(person, hit, colleagues)
    else:
        base, evidence = _someone(person, hit)
    if before:
        evidence.insert(0, _Evidence(8.0, before))
    total = base + sum(one.weight for one in evidence)
    reasons = [one.reason for one in evidence if one.reason and one.weight > 0]
    return Scored(hit, round(100 / (1 + math.exp(-total))), tuple(reasons))


# ---------------------------------------------------------------- people


def _someone(person: Person, hit: SearchHit) -> tuple[float, list[_Evidence]]:
    """Weigh a Contact or a Lead."""
    local, _, domain = person.key.rpartition("@")
    own_local, _, own_domain = hit.email.rpartition("@")
    near = _near_domain(domain, own_domain, hit)
    name = _name(person, hit)
    spelt = _local(local, hit)
    address = _address(local, own_local, domain, own_domain)
    if name.weight > 0 and spelt.weight > 0:
        # One fact said twice: the mail program writes the name into both.
        spelt = _Evidence(spelt.weight * 0.5)
    if plain(local.partition("+")[0]) in SHARED and name.weight <= 0:
        # A shared mailbox is nobody's.
        near = _Evidence(near.weight * 0.3, near.reason)
    found = [address, name, spelt, near]
    if near.weight <= 0 and own_domain and not is_free_mail(domain):
        found.append(_Evidence(-0.4))
    return -3.2, [one for one in found if one is not _NONE]


def _near_domain(domain: str, own: str, hit: SearchHit) -> _Evidence:
    """Compare the domain of the address with those of the record."""
    company = hit.account_name or hit.name
    if is_free_mail(domain):
        return _NONE
    if domain == own:
        return _Evidence(2.2, f"same domain as {company}")
    if own and not is_free_mail(own):
        if domain.endswith(f".{own}") or own.endswith(f".{domain}"):
            return _Evidence(2.0, f"domain {own} belongs together with it")
        if _label(domain) == _label(own):
            return _Evidence(1.7, f"sister domain of {own}")
        if _one_off(domain, own):
            return _Evidence(1.8, f"domain differs from {own} by a typo")
    if hit.domain and (hit.domain == domain or _label(hit.domain) == _label(domain)):
        return _Evidence(1.9, f"same domain as the web site of {company}")
    if hit.account_name and _named_so(domain, hit.account_name):
        return _Evidence(1.3, f"domain fits the name of {company}")
    return _NONE


def _name(person: Person, hit: SearchHit) -> _Evidence:
    """Compare the display name with the name of the record."""
    words = [] if "@" in person.name else words_of(person.name)
    first, last = _names_of(hit)
    if not words or not last:
        return _NONE
    lasts = [word for word in words if any(_same(word, one) for one in last)]
    if lasts:
        return _with_last([word for word in words if word not in lasts], first)
    firsts = [word for word in words if any(same_first_name(word, f) for f in first)]
    if firsts:
        return _with_first([word for word in words if word not in firsts], last)
    if all(len(word) == 1 for word in words):
        fits = "".join(words) == "".join(one[0] for one in (*first, *last))
        return _Evidence(1.0, "initials fit") if fits else _NONE
    return _Evidence(-2.6)


def _names_of(hit: SearchHit) -> tuple[list[str], list[str]]:
    """Return first and last names of a record."""
    last = words_of(hit.last_name)
    if last:
        return words_of(hit.first_name), last
    words = words_of(hit.name)
    return words[:-1], words[-1:]


def _with_last(rest: Sequence[str], first: Sequence[str]) -> _Evidence:
    """Weigh a display name whose last name fits; `rest` are its other words."""
    if not rest or not first:
        return _Evidence(1.5, "last name fits")
    pairs = [(word, one) for word in rest for one in first]
    if any(_same(word, one) for word, one in pairs):
        return _Evidence(3.2, "name fits")
    if any(same_first_name(word, one) for word, one in pairs):
        return _Evidence(3.0, "name fits, the first name in short")
    if any(_initial(word, one) for word, one in pairs):
        return _Evidence(2.2, "last name and initial fit")
    if any(_one_off(word, one) for word, one in pairs):
        return _Evidence(2.6, "name fits but for a typo")
    # A namesake: another person of that last name.
    return _Evidence(-1.8)


def _with_first(rest: Sequence[str], last: Sequence[str]) -> _Evidence:
    """Weigh a display name whose first name fits, and whose last name does not."""
    if not rest:
        return _Evidence(1.2, "first name fits")
    if any(_one_off(word, one) for word in rest for one in last):
        return _Evidence(2.6, "name fits but for a typo")
    if any(len(word) == 1 and last[0].startswith(word) for word in rest):
        return _Evidence(2.0, "first name and initial fit")
    return _Evidence(0.9, "first name fits, the last name may have changed")


def _initial(one: str, other: str) -> bool:
    """Say whether one of two words is the initial of the other."""
    short, long = sorted((one, other), key=len)
    return len(short) == 1 and long.startswith(short)


def _local(local: str, hit: SearchHit) -> _Evidence:
    """Say what of the record's name the local part spells."""
    first, last = words_of(hit.first_name), words_of(hit.last_name)
    written = local.partition("+")[0].rstrip("0123456789")
    whole = plain(written)
    if not last or not whole or whole in SHARED:
        return _NONE
    parts = [word for part in _PARTS.split(written) if (word := plain(part))]
    firsts = {"".join(first), *first} - {""}
    lasts = {"".join(last), *last}
    return (
        _both(whole, firsts, lasts)
        or _in_parts(parts, firsts, lasts)
        or _one_name(whole, firsts, lasts)
        or _parts_else(whole, parts, first, last)
    )


def _both(whole: str, firsts: set[str], lasts: set[str]) -> _Evidence | None:
    """Weigh a local part that is made of both names."""
    typo = None
    for first in sorted(firsts):
        for last in sorted(lasts):
            both = {squeeze(first + last), squeeze(last + first)}
            if whole in both:
                return _Evidence(2.8, "address spells the name")
            if whole in {squeeze(first[0] + last), squeeze(last + first[0])}:
                return _Evidence(2.1, "address has initial and last name")
            if whole in {squeeze(first + last[0]), squeeze(last[0] + first)}:
                return _Evidence(1.6, "address has first name and initial")
            if any(_one_off(whole, one) for one in both):
                typo = _Evidence(2.3, "address spells the name but for a typo")
    return typo


def _in_parts(
    parts: Sequence[str], firsts: set[str], lasts: set[str]
) -> _Evidence | None:
    """Weigh a local part in parts (`bob.stone`) of which one is the last name."""
    others = [part for part in parts if part not in lasts]
    if len(parts) == len(others) or not others:
        return None
    if any(same_first_name(part, one) for part in others for one in firsts):
        return _Evidence(2.6, "address spells the name, in short")
    return _Evidence(-0.8)


def _one_name(whole: str, firsts: set[str], lasts: set[str]) -> _Evidence | None:
    """Weigh a local part without separators: one name, or a short one and the last."""
    for last in sorted(lasts):
        short = whole.removesuffix(last)
        if short != whole and any(same_first_name(short, one) for one in firsts):
            return _Evidence(2.6, "address spells the name, in short")
    if whole in lasts:
        return _Evidence(1.5, "address is the last name")
    if any(same_first_name(whole, one) for one in firsts):
        return _Evidence(1.3, "address is the first name")
    return None


def _parts_else(
    whole: str, parts: Sequence[str], first: Sequence[str], last: Sequence[str]
) -> _Evidence:
    """Weigh initials, and a local part that spells another name."""
    if first and whole in {first[0][0] + last[0][0], first[0][0] + last[-1][0]}:
        return _Evidence(1.1, "address has the initials")
    if len(parts) < 2:  # noqa: PLR2004 - two names
        return _NONE
    return _Evidence(0.5) if set(parts) & set(first) else _Evidence(-0.5)


def _address(local: str, own_local: str, domain: str, own_domain: str) -> _Evidence:
    """Say how far two whole addresses differ."""
    if not own_local:
        return _NONE
    written = local.partition("+")[0].replace(".", "").replace("-", "").replace("_", "")
    own = own_local.partition("+")[0]
    own = own.replace(".", "").replace("-", "").replace("_", "")
    same_local = written == own
    shared = plain(written) in SHARED
    if same_local and domain == own_domain:
        return _Evidence(4.0, "address differs by a dot or what stands behind a plus")
    near = _one_off(domain, own_domain) or _label(domain) == _label(own_domain)
    if same_local and near and not is_free_mail(own_domain):
        weight = 0.8 if shared else 2.5
        return _Evidence(weight, "address differs in the domain alone")
    if same_local and near:
        return _Evidence(2.5, "address differs by a typo in the domain")
    if domain == own_domain and _one_off(written, own):
        return _Evidence(3.0, "address differs by a typo")
    if same_local and not shared and len(written) >= _SHORTEST_TYPO:
        return _Evidence(1.0, "same local part in another domain")
    return _NONE


# ---------------------------------------------------------------- companies


def _account(
    person: Person, hit: SearchHit, colleagues: Mapping[str, list[str]]
) -> tuple[float, list[_Evidence]]:
    """Weigh an Account: the company of somebody who has no record of their own."""
    local, _, domain = person.key.rpartition("@")
    there = colleagues.get(hit.id, [])
    near = _near_domain(domain, "", hit)
    found = []
    if there:
        shown = " and ".join(there[:2]) + (" and others" if len(there) > 2 else "")  # noqa: PLR2004 - two names are enough
        found.append(_Evidence(2.2, f"colleague of {shown}"))
    if near.weight > 0:
        found.append(_Evidence(near.weight * (0.4 if there else 1.0), near.reason))
    if not found:
        return -3.2, []
    named = bool(person.name) and _named_so(f"{plain(person.name)}.x", hit.name)
    if named:
        found.append(_Evidence(1.0, "name of the company"))
    nobody = all(word in SHARED for word in words_of(person.name))
    if (named or nobody) and plain(local.partition("+")[0]) in SHARED:
        found.append(_Evidence(1.8, "a mailbox that people share"))
    return -2.2, found


def _named_so(domain: str, name: str) -> bool:
    """Say whether a domain is made of the name of a company."""
    label = squeeze(plain(_label(domain).replace("-", "")))
    words = [word for word in words_of(name) if word not in _COMPANY]
    if len(label) < 3 or not words:  # noqa: PLR2004 - two letters fit too much
        return False
    joined = squeeze("".join(words))
    initials = "".join(word[0] for word in words)
    long = len(label) >= _SHORTEST_TYPO
    return (
        label in {joined, words[0], initials}
        or (long and joined.startswith(label))
        or (len(joined) >= _SHORTEST_TYPO and label.startswith(joined))
    )


# ---------------------------------------------------------------- words


def words_of(name: str) -> list[str]:
    """Return the words of a name in their plainest form, without titles."""
    words = [plain(word) for word in _WORD.findall(_IN_BRACKETS.sub(" ", name))]
    return [word for word in words if word and word not in TITLES]


def _same(one: str, other: str) -> bool:
    return one == other and len(one) > 1


def _label(domain: str) -> str:
    """Return the part of a domain that its owner chose: `acme` of mail.acme.co.uk."""
    labels = domain.split(".")[:-1]
    if len(labels) > 1 and labels[-1] in _SECOND_LEVEL:
        labels = labels[:-1]
    return labels[-1] if labels else domain


def _one_off(one: str, other: str) -> bool:
    """Say whether two words differ by one letter, or by two that changed places."""
    if one == other or min(len(one), len(other)) < _SHORTEST_TYPO:
        return False
    if abs(len(one) - len(other)) > 1:
        return False
    at = 0
    while at < min(len(one), len(other)) and one[at] == other[at]:
        at += 1
    if len(one) == len(other):
        if one[at + 1 :] == other[at + 1 :]:
            return True
        swapped = one[at : at + 2] == other[at : at + 2][::-1]
        return swapped and one[at + 2 :] == other[at + 2 :]
    long, short = (one, other) if len(one) > len(other) else (other, one)
    return long[at + 1 :] == short[at:]
