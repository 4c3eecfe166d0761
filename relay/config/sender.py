"""The settings of sender trust: what proves an author, and what happens otherwise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from relay.config.values import (
    Days,
    Domain,
    HostName,
    Network,
    OptionalKey,
    Section,
    Text,
)

PolicyName = Literal["aligned", "signed", "any_pass_none_fail", "listed"]
Otherwise = Literal["refuse", "hold", "flag"]
_Tries = Annotated[int, Field(strict=True, ge=1, le=1000)]
_Hours = Annotated[float, Field(strict=True, gt=0, le=168, allow_inf_nan=False)]
_Checks = Annotated[int, Field(strict=True, ge=1, le=10_000)]
_Door = Literal["http", "import"]


class AuthservSettings(Section):
    """A mail server of yours that checks mail and writes down what it found."""

    id: HostName = Field(
        description="The name at the beginning of its Authentication-Results, its "
        "authserv-id, a host name.",
    )
    networks: tuple[Network, ...] = Field(
        min_length=1,
        description="Networks from which this server hands mail over; from elsewhere "
        "its name counts for nothing.",
    )


class SenderSettings(Section):
    """Sender trust: what proves that a mail comes from its author."""

    policy: PolicyName = Field(
        default="aligned",
        description="What proves the author of a mail: aligned (a DKIM signature or "
        "SPF of the author's own domain), signed (a DKIM signature alone), "
        "any_pass_none_fail (one of SPF, DKIM and DMARC passes and none fails), or "
        "listed (nothing: the author is on the user's list; for closed networks).",
    )
    otherwise: Otherwise = Field(
        default="refuse",
        description="What happens to a mail whose author is not proven: refuse, hold "
        "(until the author or an admin releases it), or flag (log it all the same, and "
        "show it).",
    )
    forwarded_policy: Literal["same"] | PolicyName = Field(
        default="same",
        description="What proves the author of a mail that a mailing list or a "
        "forwarder passed on: same (as policy), aligned, signed, any_pass_none_fail or "
        "listed.",
    )
    forwarded_otherwise: Otherwise = Field(
        default="hold",
        description="What happens to such a mail whose author is not proven: refuse, "
        "hold or flag.",
    )
    monitor: Literal["none", "aligned", "signed", "any_pass_none_fail"] = Field(
        default="none",
        description="A policy that is judged beside the one in force and stops "
        "nothing: none, aligned, signed or any_pass_none_fail; relay sender report "
        "shows what it would have stopped.",
    )
    trusted_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose mail counts as proven: mail servers of yours that "
        "let nobody write a From of somebody else, a list.",
    )
    trusted_certificates: tuple[Text, ...] = Field(
        default=(),
        description="Names in client certificates (see client_ca of a listener) whose "
        "mail counts as proven, a list: the first DNS name of a certificate, else its "
        "common name.",
    )
    trusted_doors: tuple[_Door, ...] = Field(
        default=("import",),
        description="Ways in whose mail counts as proven, a list: import (its user has "
        "the relay's machine), http (every holder of an API token may write as any "
        "user; not for programs that pass on mail from outside).",
    )
    authserv: tuple[AuthservSettings, ...] = Field(
        default=(),
        description="Mail servers of yours whose Authentication-Results the relay "
        "takes for its own checks.",
    )
    arc_sealers: tuple[Domain, ...] = Field(
        default=(),
        description="Domains of forwarders whose ARC seals the relay reads, a list; "
        "what they saw keeps a forwarded mail from being refused, and proves nothing.",
    )
    signature_max_age_days: Days = Field(
        default=7,
        description="Age of a DKIM signature above which the relay holds a mail that "
        "nothing else proves, in days.",
    )
    signature_keep_days: Days = Field(
        default=30,
        description="Time for which the relay remembers DKIM signatures, to find one "
        "that comes again with another mail, in days.",
    )
    temporary_tries: _Tries = Field(
        default=6,
        description="Times that a mail is answered 451 because DNS does not answer, a "
        "count; then it is held.",
    )
    temporary_hours: _Hours = Field(
        default=4,
        description="Time after which such a mail is held, in hours, whatever the "
        "number of tries.",
    )
    max_checks: _Checks = Field(
        default=500,
        description="Mails whose sender is checked at a time in one process, a count; "
        "one peer gets a quarter of them. Most of the time they wait for DNS.",
    )
    release_days: Days = Field(
        default=7,
        description="Time for which the link works that releases a held mail, in days.",
    )
    release_secret: OptionalKey = Field(
        default=None,
        description="Key that signs such links, at least 32 characters; empty: the "
        "relay makes one and keeps it in the store.",
    )
