"""ARC: what servers on the way say that they saw, sealed one upon the other.

Whoever forwards a mail and changes it breaks its signatures; with ARC it says what it
had found before. Anybody can seal anything, so a chain is worth what its sealers are:
only configured ones count, and never as the only proof. Without configured sealers ARC
is not looked at.

dkimpy verifies seals and signatures; the body is hashed by `relay.sender.canonical`.

Source: RFC 8617.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dkim  # type: ignore[import-untyped]  # it has no types
import dkim.util  # type: ignore[import-untyped]

from relay.core.addresses import domain_key
from relay.core.authentication import ARCCheck, Result
from relay.sender.canonical import RELAXED, SIMPLE
from relay.sender.dkim import (
    SILENT,
    HeaderLines,
    Key,
    KeyOrProblem,
    Problem,
    is_bounded,
    key,
    read_lines,
)
from relay.sender.results import parse_methods

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from relay.sender.resolver import MailLookups

MAX_INSTANCES: Final = 10
"""RFC 8617 allows 50; each costs two signatures and two keys, and honest chains have
three."""

_SEAL: Final = b"arc-seal"
_SIGNATURE: Final = b"arc-message-signature"
_RESULTS: Final = b"arc-authentication-results"


@dataclass(frozen=True, slots=True)
class Chain:
    """The ARC fields of a mail, before any key is known.

    `keys` names the keys that are needed, `forms` how bodies are hashed. `problem` is
    why the chain is broken already.
    """

    lines: HeaderLines
    instances: int = 0
    keys: frozenset[tuple[str, str]] = frozenset()
    forms: frozenset[str] = frozenset()
    problem: str = ""


def read_chain(head: bytes) -> Chain:
    """Return the chain of a mail; without ARC fields it has no instances."""
    try:
        lines = read_lines(head)
    except Problem as error:
        return Chain([], problem=str(error))
    ours = [
        (name.lower(), value)
        for name, value in lines
        if name.lower() in {_SEAL, _SIGNATURE, _RESULTS}
    ]
    if not ours:
        return Chain(lines)
    if not all(is_bounded(value) for _, value in ours):
        return Chain(lines, problem="an ARC field is too long")
    seals = sum(name == _SEAL for name, _ in ours)
    if len(ours) > 3 * MAX_INSTANCES:
        return Chain(lines, seals, problem=f"more than {MAX_INSTANCES} instances")
    keys, forms = set(), set()
    for name, value in ours:
        if name == _RESULTS:
            continue
        try:
            tags = dkim.util.parse_tag_value(value)
        except dkim.util.InvalidTagValueList:
            return Chain(lines, seals, problem="an ARC field is no list of tags")
        if b"l" in tags:
            return Chain(lines, seals, problem="l= signs a part of the body alone")
        keys.add(_key_of(tags))
        if name == _SIGNATURE:
            forms.add(_form_of(tags))
    return Chain(lines, seals, frozenset(keys), frozenset(forms & {SIMPLE, RELAXED}))


def _key_of(tags: Mapping[bytes, bytes]) -> tuple[str, str]:
    selector, domain = (
        domain_key(tags.get(tag, b"").decode("utf-8", "replace"))
        for tag in (b"s", b"d")
    )
    algorithm = tags.get(b"a", b"").decode("utf-8", "replace")
    return f"{selector}._domainkey.{domain}", algorithm


def _form_of(tags: Mapping[bytes, bytes]) -> str:
    form = tags.get(b"c", b"relaxed/relaxed").partition(b"/")[2] or b"simple"
    return form.decode("ascii", "replace").lower()


async def chain_keys(
    lookups: MailLookups, chain: Chain | None
) -> dict[str, KeyOrProblem]:
    """Ask for the keys of a chain, by the names where they stand."""
    found: dict[str, KeyOrProblem] = {}
    if chain is None or chain.problem:
        return found
    for name, algorithm in sorted(chain.keys):
        # ARC has RSA with SHA-256 alone (RFC 8617 section 4.1.2).
        if algorithm == "rsa-sha256":
            found[name] = await key(lookups, name, algorithm)
    return found


class _HeadOnly(dkim.ARC):  # type: ignore[misc]  # dkimpy has no types
    """A chain of which dkimpy verifies the header; the body is hashed elsewhere."""

    bodies: Mapping[str, bytes]

    def verify_sig(
        self,
        sig: dict[bytes, bytes],
        include_headers: list[bytes],
        sig_header: tuple[bytes, bytes],
        dnsfunc: object,
    ) -> bool:
        """Compare bh= with the hash that was made, and let dkimpy do the rest."""
        head = dict(sig)
        stated = head.pop(b"bh", None)
        if stated is not None:
            made = self.bodies.get(_form_of(sig), b"")
            if b"".join(stated.split()) != base64.b64encode(made):
                return False
        return bool(super().verify_sig(head, include_headers, sig_header, dnsfunc))


def judge_chain(
    chain: Chain,
    keys: Mapping[str, KeyOrProblem],
    bodies: Mapping[str, bytes],
    sealers: Collection[str],
    author_domain: str,
) -> ARCCheck:
    """Verify a chain (RFC 8617 section 5.2); belongs in a thread, never raises.

    Args:
        chain: From `read_chain`.
        keys: From `chain_keys`.
        bodies: The hash of the body in each of the chain's forms.
        sealers: The domains whose word counts.
        author_domain: For whom claims are wanted, as an A-label.
    """
    if chain.problem:
        return ARCCheck(Result.FAIL, instances=chain.instances, text=chain.problem)
    for found in keys.values():
        if not isinstance(found, Key) and found[0] is Result.TEMPERROR:
            return ARCCheck(Result.TEMPERROR, "", chain.instances, text=found[1])
    records = {
        name: found.record for name, found in keys.items() if isinstance(found, Key)
    }
    verifier = _HeadOnly(logger=SILENT)
    verifier.headers = [[name, value] for name, value in chain.lines]
    verifier.bodies = bodies

    def record(name: bytes, **_: object) -> bytes | None:
        return records.get(domain_key(name.decode("utf-8", "replace")))

    try:
        result, sets, reason = verifier.verify(dnsfunc=record)
    except Exception as error:  # noqa: BLE001 - a stranger's bytes; they did not verify
        text = f"the chain cannot be verified ({type(error).__name__})"
        return ARCCheck(Result.FAIL, instances=chain.instances, text=text)
    if result == dkim.CV_None:
        return ARCCheck(Result.NONE, text="the mail has no ARC chain")
    sealer = _domain(sets[0].get("as-domain", b"")) if sets else ""
    trusted = sealer in {domain_key(name) for name in sealers}
    if result != dkim.CV_Pass:
        return ARCCheck(Result.FAIL, sealer, chain.instances, text=reason[:200])
    claims = _claims(sets, sealers, author_domain) if trusted else ()
    return ARCCheck(
        Result.PASS, sealer, len(sets), trusted, "the chain is whole", claims
    )


def _claims(
    sets: list[dict[str, Any]], sealers: Collection[str], author_domain: str
) -> tuple[str, ...]:
    """Return the author's domain if a trusted sealer saw it pass.

    The sets come from the last one back; one counts while every seal upon it is of a
    trusted sealer too.
    """
    known = {domain_key(name) for name in sealers}
    for one in sets:
        if _domain(one["as-domain"]) not in known:
            break
        value = one["aar-value"]
        for method in parse_methods(value.partition(b";")[2]):
            if method.result is Result.PASS and method.domain == author_domain:
                return (author_domain,)
    return ()


def _domain(value: bytes) -> str:
    return domain_key(value.decode("utf-8", "replace"))
