"""What DNS and cryptography say of where a mail comes from, as frozen values.

An `Authentication` holds facts, not a judgement: which checks passed, for which domain.
A `Verdict` is the judgement made from them: by which policy, what happens, and why.
Both are stored with the message or the refusal, and shown: `plain` and `from_json`
store facts, `describe` says them in words.

Source: RFC 8601 section 2.7 (results), RFC 7208 (SPF), RFC 6376 and 8463 (DKIM), RFC
9989 (DMARC), RFC 8617 (ARC).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from relay.core.addresses import address_key, domain_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.model import Json


class Result(StrEnum):
    """What a check came to (RFC 8601 section 2.7)."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    """Nothing was there to check: no record, no signature."""
    POLICY = "policy"
    """There is something to check, and we do not count it; the text says why."""
    TEMPERROR = "temperror"
    """DNS did not answer; another attempt may come to another result."""
    PERMERROR = "permerror"


class Identity(StrEnum):
    """Which name SPF was checked for."""

    MAIL_FROM = "mailfrom"
    HELO = "helo"


@dataclass(frozen=True, slots=True)
class SPFCheck:
    """SPF for one identity. `domain` is empty where there is nothing to check.

    `aligned` is about the envelope sender alone: its domain is that of the author, in
    the way that the DMARC record asks for. A HELO name is never aligned, nor is a null
    sender, for which the HELO name was checked (RFC 9989 section 4.4.2).
    """

    identity: Identity
    domain: str
    result: Result
    text: str = ""
    aligned: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM signature. `domain` is `d=`, `identity` is `i=`, as A-labels.

    `covers` says that each header field that the relay uses is signed, and none stands
    twice; `missing` names the others (`subject`, or `subject twice`). Without `covers`
    a stranger may have changed what the mail says, even where `result` is pass.
    `digest` identifies the signature: a second mail with it is a copy, or a replay.
    `key_bits` is 0 where the key was not found. `weak` is an RSA key below 2048 bits.
    """

    domain: str
    selector: str
    result: Result
    text: str = ""
    identity: str = ""
    algorithm: str = ""
    key_bits: int = 0
    weak: bool = False
    covers: bool = False
    missing: tuple[str, ...] = ()
    signed_at: datetime | None = None
    expires_at: datetime | None = None
    digest: str = ""
    aligned: bool = False
    """Its domain is that of the author, in the way that the DMARC record asks for."""

    @property
    def counts(self) -> bool:
        """Say whether it proves that its domain sent this mail as it is."""
        return self.result is Result.PASS and self.covers


@dataclass(frozen=True, slots=True)
class DMARCCheck:
    """DMARC for the author's domain.

    `policy_domain` is where the record stands, `organizational_domain` the result of
    the tree walk; `policy` is `none`, `quarantine`, `reject`, or empty without a
    record. `testing` is `t=y`. `queries` counts the look-ups at `_dmarc`.

    `result` is `none` where no record applies; the two `aligned` are told all the same,
    for domains that are identical. `dkim_aligned` needs a signature that covers the
    mail (`Signature.counts`): where only another one would pass, `result` is `policy`.
    """

    domain: str
    result: Result
    text: str = ""
    policy: str = ""
    policy_domain: str = ""
    organizational_domain: str = ""
    testing: bool = False
    spf_aligned: bool = False
    dkim_aligned: bool = False
    queries: int = 0

    @property
    def effective_policy(self) -> str:
        """Return the policy, one level lower while it is tested (RFC 9989, 4.7)."""
        if not self.testing:
            return self.policy
        return {"reject": "quarantine"}.get(self.policy, "none" if self.policy else "")


@dataclass(frozen=True, slots=True)
class ARCCheck:
    """The ARC chain; `trusted` if it is whole and its last sealer a configured one."""

    result: Result
    sealer: str = ""
    instances: int = 0
    trusted: bool = False
    text: str = ""
    claims: tuple[str, ...] = ()
    """Domains that the trusted sealer saw pass, aligned with the author."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """All that was found about one mail, for one author.

    `author` is the address that was judged: that of From, or of Resent-From in a mail
    that was redirected. `source` names what the facts stand on: `checks`, or a
    trusted path (`network`, `certificate`, `login`, `results`), with `source_detail`
    naming which.
    """

    author: str
    source: str
    source_detail: str = ""
    spf: tuple[SPFCheck, ...] = ()
    dkim: tuple[Signature, ...] = ()
    dmarc: DMARCCheck | None = None
    arc: ARCCheck | None = None
    lookups: int = 0
    elapsed_ms: int = 0


# ------------------------------------------------------------------ in words


def describe(found: Authentication) -> list[str]:
    """Say what was found, a sentence for each check, the decisive one first."""
    if found.source in _TRUSTED:
        detail = f": {found.source_detail}" if found.source_detail else ""
        return [f"{_TRUSTED[found.source]}{detail}"]
    lines = []
    if found.source_detail:
        lines.append(f"as told by {found.source_detail}")
    if found.dmarc is not None:
        lines.append(_dmarc_in_words(found.dmarc))
    lines += [_signature_in_words(one) for one in found.dkim]
    if not found.dkim:
        lines.append("not signed (DKIM)")
    lines += [_spf_in_words(one) for one in found.spf]
    if found.arc is not None:
        lines.append(_arc_in_words(found.arc))
    return lines


_TRUSTED: Final = {
    "network": "came from a trusted network",
    "certificate": "came with a trusted client certificate",
    "login": "came from a user who logged in",
    "http": "came from a program with an API token",
    "import": "was imported on the relay's machine",
}
_ALIGNED: Final = ", aligned with the From address"


def _dmarc_in_words(check: DMARCCheck) -> str:
    policy = ""
    if check.policy:
        testing = ", in test mode" if check.testing else ""
        policy = f" (policy {check.policy}{testing}, published at "
        policy += f"{check.policy_domain})"
    return f"DMARC {check.result}: {check.text}{policy}"


def _signature_in_words(one: Signature) -> str:
    name = one.domain or "an unknown domain"
    if one.result is not Result.PASS:
        return f"DKIM signature of {name}: {one.result}: {one.text}"
    aligned = _ALIGNED if one.aligned else ", which is not the domain of From"
    line = f"signed by {name}{aligned}"
    if one.weak:
        line += f"; weak key of {one.key_bits} bits"
    if not one.covers:
        line += f"; the signature does not cover: {', '.join(one.missing)}"
    return line


def _spf_in_words(one: SPFCheck) -> str:
    who = "envelope sender" if one.identity is Identity.MAIL_FROM else "HELO name"
    aligned = _ALIGNED if one.aligned and one.result is Result.PASS else ""
    return f"SPF of the {who}: {one.result}: {one.text}{aligned}"


def _arc_in_words(arc: ARCCheck) -> str:
    if arc.result is Result.NONE:
        return "no ARC chain"
    trusted = "a trusted sealer" if arc.trusted else "not a trusted sealer"
    line = (
        f"ARC {arc.result}: {arc.text}; sealed by {arc.sealer or 'nobody'}, {trusted}"
    )
    if arc.claims:
        line += f", who saw pass: {', '.join(arc.claims)}"
    return line


# ------------------------------------------------------------------ to be stored


def from_json(stored: Mapping[str, Any]) -> Authentication:
    """Return the value of which `plain` made this.

    Names that are not known are ignored, names that are missing have their default, so
    that what another version has stored can be read.

    Raises:
        ValueError, TypeError, KeyError: It is no such value.
    """
    dmarc, arc = stored.get("dmarc"), stored.get("arc")
    of_dmarc = None if dmarc is None else DMARCCheck(**_checked(DMARCCheck, dmarc))
    return Authentication(
        **{
            **_known(Authentication, stored),
            "spf": tuple(_spf(one) for one in stored.get("spf", ())),
            "dkim": tuple(_signature(one) for one in stored.get("dkim", ())),
            "dmarc": of_dmarc,
            "arc": None if arc is None else _arc(arc),
        }
    )


def _known(kind: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in stored.items() if name in names}


def _checked(kind: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    return _known(kind, stored) | {"result": Result(stored["result"])}


def _spf(stored: Mapping[str, Any]) -> SPFCheck:
    values = _checked(SPFCheck, stored)
    return SPFCheck(**values | {"identity": Identity(stored["identity"])})


def _signature(stored: Mapping[str, Any]) -> Signature:
    values = _checked(Signature, stored)
    values["missing"] = tuple(values.get("missing", ()))
    for name in ("signed_at", "expires_at"):
        if (text := values.get(name)) is not None:
            values[name] = datetime.fromisoformat(text)
    return Signature(**values)


def _arc(stored: Mapping[str, Any]) -> ARCCheck:
    values = _checked(ARCCheck, stored)
    values["claims"] = tuple(values.get("claims", ()))
    return ARCCheck(**values)


# ------------------------------------------------------------------ the judgement


class Outcome(StrEnum):
    """What becomes of a mail."""

    ACCEPT = "accept"
    FLAG = "flag"
    """Accepted, and shown as one that a stricter policy would have stopped."""
    HOLD = "hold"
    """Kept, and not logged before its real author or an admin releases it."""
    REFUSE = "refuse"
    RETRY = "retry"
    """Refused for now (451): DNS did not answer."""


class Policy(StrEnum):
    """What proves that a mail comes from its author."""

    ALIGNED = "aligned"
    """A DKIM signature or SPF of the author's own domain."""
    SIGNED = "signed"
    """A DKIM signature of the author's own domain: SPF is not enough."""
    ANY_PASS_NONE_FAIL = "any_pass_none_fail"  # noqa: S105 - a policy, no password
    """One of SPF, DKIM and DMARC passes, and none fails."""
    LISTED = "listed"
    """No proof: the author is on the user's list, and anybody can write that."""


class MailKind(StrEnum):
    """On which way a mail came from its author."""

    DIRECT = "direct"
    FORWARDED = "forwarded"
    """A mailing list or a forwarder passed it on, and may have changed it."""
    REDIRECT = "redirect"
    """A person passed it on unchanged, and stands in `Resent-From`."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a policy that is not in force would have made of a mail."""

    policy: str
    outcome: Outcome
    cause: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return the stable names that `relay show --json` prints."""
        return {
            "policy": self.policy,
            "outcome": self.outcome.value,
            "cause": self.cause or None,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one mail for one recipient.

    `cause` is a row of the catalogue of causes (`S…`), empty where nothing speaks
    against the mail; `reason` is its word in the log. `text` is a sentence for the
    person who sent the mail: which check failed, and what helps. `proof` says in words
    by what the author was proven. `address` is the author that was judged: From, or
    Resent-From. `monitor` is what another policy would have said.
    """

    outcome: Outcome
    policy: str
    kind: str
    proof: str = ""
    cause: str = ""
    text: str = ""
    authentication: Authentication | None = None
    address: str = ""
    reason: str = ""
    monitor: Foresight | None = None
    detail: str = ""
    """The technical term in `text`, such as the domain of another signature."""

    def as_json(self) -> dict[str, Json]:
        """Return the stable names that `relay show --json` prints."""
        return {
            "outcome": self.outcome.value,
            "policy": self.policy,
            "kind": self.kind,
            "address": self.address,
            "domain": domain_of(address_key(self.address) or ""),
            "proof": self.proof,
            "cause": self.cause or None,
            "reason": self.reason or None,
            "text": self.text,
            "detail": self.detail,
            "monitor": None if self.monitor is None else self.monitor.as_json(),
            "authentication": plain(self.authentication),
        }


def plain(value: object) -> Json:
    """Return a value of this module as JSON holds it, with its own names."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return value
