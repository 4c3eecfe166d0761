"""The settings of notices: mails of the relay to its users, through a smarthost."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from relay.config.values import (
    Days,
    Flag,
    Number,
    OptionalFile,
    OptionalListener,
    OptionalSecret,
    OptionalText,
    Seconds,
    Section,
    is_loopback,
    mistake,
)
from relay.core.addresses import address_key

Level = Literal["all", "problems", "none"]
_Hour = Annotated[int, Field(strict=True, ge=0, le=23)]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise mistake("is no time zone", 'write it like "Europe/Berlin"') from None
    return value


def _mailbox(value: str | None) -> str | None:
    if value and address_key(value) is None:
        raise mistake("is no e-mail address", "write it like relay@example.com")
    return value


_TimeZone = Annotated[str, AfterValidator(_zone)]
_Mailbox = Annotated[OptionalText, AfterValidator(_mailbox)]


class NoticesSettings(Section):
    """Mails of the relay to its users; none without a smarthost."""

    smarthost: OptionalListener = Field(
        default=None,
        description="Mail server that takes the notices, host:port, such as "
        "smtp.example.com:587; empty: the relay sends none.",
    )
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        description="Encryption: starttls (port 587), implicit (port 465), or none "
        "(loopback hosts only).",
    )
    from_address: _Mailbox = Field(
        default=None, description="Address in From of the notices."
    )
    from_name: Annotated[str, Field(max_length=200)] = Field(
        default="Relay to Salesforce", description="Name in From of the notices."
    )
    envelope_from: _Mailbox = Field(
        default=None,
        description="Envelope sender; empty: the null sender, so that nobody answers a "
        "notice. Set it if the smarthost takes no null sender (Microsoft 365, Gmail).",
    )
    user: OptionalText = Field(
        default=None,
        description="User name at the smarthost; for XOAUTH2 the mailbox that sends.",
    )
    password: OptionalSecret = Field(
        default=None, description="Password at the smarthost."
    )
    client_certificate: OptionalFile = Field(
        default=None,
        description="PEM file with the client certificate for the smarthost.",
    )
    client_key: OptionalFile = Field(
        default=None,
        description="PEM file with its private key; empty: in the same file.",
    )
    ca_file: OptionalFile = Field(
        default=None,
        description="PEM file with the authorities that the smarthost's certificate is "
        "checked against; empty: those of the system.",
    )
    tenant: OptionalText = Field(
        default=None,
        description="Tenant of Microsoft 365, for XOAUTH2; the token endpoint follows "
        "from it.",
    )
    token_url: OptionalText = Field(
        default=None,
        description="Token endpoint for XOAUTH2 (client credentials), https://…; "
        "empty: that of the tenant.",
    )
    client_id: OptionalText = Field(
        default=None, description="Id of the app that gets the token."
    )
    client_secret: OptionalSecret = Field(
        default=None, description="Secret of that app."
    )
    scope: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        default="https://outlook.office365.com/.default",
        description="Scope of the token.",
    )
    level: Level = Field(
        default="problems",
        description="Which notices a user gets who has not chosen: all, problems or "
        "none.",
    )
    digest: Flag = Field(
        default=True, description="Send a digest once a day: true or false."
    )
    digest_hour: _Hour = Field(
        default=8,
        description="Hour of the digest in the user's time zone, 0 to 23.",
    )
    time_zone: _TimeZone = Field(
        default="UTC",
        description="Time zone of users whose own is not known, an IANA name.",
    )
    gather_s: Number = Field(
        default=60,
        description="Time that a notice waits for further events of its kind, in "
        "seconds.",
    )
    interval_s: Number = Field(
        default=900,
        description="Least time between two notices of one kind to one user, in "
        "seconds; what happens meanwhile is in the second.",
    )
    timeout_s: Seconds = Field(
        default=30, description="Wait for an answer of the smarthost, in seconds."
    )
    keep_days: Days = Field(
        default=30,
        description="Time for which notices that were sent or refused are kept, in "
        "days.",
    )

    @property
    def with_token(self) -> bool:
        """Say whether the login is XOAUTH2."""
        return bool(self.tenant or self.token_url)

    @property
    def token_endpoint(self) -> str:
        """Return where the token is fetched; empty without XOAUTH2."""
        if self.token_url:
            return self.token_url
        if not self.tenant:
            return ""
        return f"https://login.microsoftonline.com/{self.tenant}/oauth2/v2.0/token"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse a smarthost that cannot work, or to which a password goes in clear."""
        if self.smarthost is None:
            return self
        if not self.from_address:
            raise mistake(
                "is missing: notices need a sender",
                "write it like relay@example.com",
                key="from_address",
            )
        if self.tls == "none" and not is_loopback(self.smarthost.host):
            raise mistake(
                "is for loopback hosts only: the notices and the login would travel "
                "in clear",
                "write starttls or implicit",
                key="tls",
            )
        if self.with_token and not (
            self.user and self.client_id and self.client_secret
        ):
            raise mistake(
                "needs a mailbox and an app",
                "set notices.user, notices.client_id and notices.client_secret",
                key="tenant",
            )
        if self.password and not self.user:
            raise mistake("needs a user", "set notices.user", key="password")
        return self

    @model_validator(mode="after")
    def _token_is_safe(self) -> Self:
        url = self.token_url or ""
        plain = url.startswith(("http://127.0.0.1:", "http://[::1]:"))
        if url and not (url.startswith("https://") or plain):
            raise mistake(
                "is not an https:// address",
                "a secret travels there",
                key="token_url",
            )
        return self
