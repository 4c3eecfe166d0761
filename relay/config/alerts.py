"""Settings of alerts: from when on the relay raises one, and whom it tells."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from relay.config.values import (
    MIB,
    CountOrZero,
    Days,
    DaysOrZero,
    Flag,
    Number,
    OptionalFile,
    OptionalSecret,
    OptionalText,
    Seconds,
    Section,
    mistake,
)
from relay.core.addresses import address_key

KEY_PREFIX: Final = "whsec_"
"""Begins a secret of Standard Webhooks; Base64 follows."""
_LEAST_SECRET: Final = 24
RULES: Final = (
    "connection_after_s",
    "quota_at",
    "queue_age_s",
    "refusals_per_hour",
    "refusals_times",
    "silent_days",
    "certificate_days",
    "disk_free_bytes",
    "remind_hours",
)
"""Settings of `[alerts]` that an admin may change while the relay runs."""
_SHARE_OR_ZERO = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


def _webhook(value: str | None) -> str | None:
    if not value:
        return value
    try:
        parts = urlsplit(value)
        fits = bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
        parts = urlsplit("")
    if not fits or parts.scheme not in {"https", "http"} or parts.username:
        raise mistake("is no web address", "write it like https://example.com/hook")
    return value


def _key(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    hint = "make one: echo whsec_$(openssl rand -base64 32)"
    text = value.get_secret_value().strip()
    try:
        raw = base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)
    except binascii.Error:
        raw = b""
    if not text.startswith(KEY_PREFIX) or len(raw) < _LEAST_SECRET:
        problem = "is not whsec_ with Base64 of at least 24 bytes"
        raise mistake(problem, hint)
    return value


def _recipient(value: str) -> str:
    if address_key(value) is None:
        raise mistake("is no e-mail address", "write it like it@example.com")
    return value


class AlertsSettings(Section):
    """When the relay raises an alert, and whom it tells; 0 switches a rule off."""

    connection_after_s: Number = Field(
        default=300,
        description="Time for which Salesforce cannot be used before an alert, in "
        "seconds.",
    )
    quota_at: _SHARE_OR_ZERO = Field(
        default=0.8,
        description="Part of the API calls (of the org, or of salesforce.daily_share) "
        "whose use is an alert.",
    )
    queue_age_s: Number = Field(
        default=1800,
        description="Age of the oldest waiting mail that is an alert, in seconds.",
    )
    refusals_per_hour: CountOrZero = Field(
        default=50,
        description="Refusals in an hour that are an alert, where they are also "
        "refusals_times as many as usual.",
    )
    refusals_times: Annotated[float, Field(strict=True, ge=1, le=1000)] = Field(
        default=5,
        description="How many times the hourly mean of the last seven days is a jump.",
    )
    silent_days: DaysOrZero = Field(
        default=14,
        description="After how many days without logged mail a user is an alert.",
    )
    certificate_days: DaysOrZero = Field(
        default=21,
        description="How many days before its end a certificate is an alert.",
    )
    disk_free_bytes: CountOrZero = Field(
        default=1024 * MIB,
        description="Free disk space below which an alert is raised, in bytes.",
    )
    remind_hours: Annotated[float, Field(strict=True, ge=0, le=8760)] = Field(
        default=24,
        description="Hours after which an alert that still holds is told again; 0: "
        "never.",
    )
    mail: Flag = Field(
        default=True,
        description="Tell alerts by mail, where notices.smarthost is set: true or "
        "false.",
    )
    mail_to: tuple[Annotated[str, AfterValidator(_recipient)], ...] = Field(
        default=(),
        description="Addresses that alerts are mailed to; empty: all active "
        "administrators who get notices.",
    )
    webhook_url: Annotated[OptionalText, AfterValidator(_webhook)] = Field(
        default=None,
        description="Web address that alerts are posted to, signed as Standard "
        "Webhooks; empty: none.",
    )
    webhook_secret: Annotated[OptionalSecret, AfterValidator(_key)] = Field(
        default=None,
        description="Key of the signature, whsec_ and Base64; needed with webhook_url.",
    )
    webhook_allow_private: Flag = Field(
        default=False,
        description="Let webhook_url lead to a private or loopback address, and be "
        "plain HTTP: true or false.",
    )
    webhook_ca_file: OptionalFile = Field(
        default=None,
        description="PEM file with the authorities that the webhook's certificate is "
        "checked against; empty: those of the system.",
    )
    webhook_timeout_s: Seconds = Field(
        default=15, description="Longest time of one webhook call, in seconds."
    )
    check_s: Seconds = Field(
        default=60, description="Time between two looks at the rules, in seconds."
    )
    keep_days: Days = Field(
        default=90, description="Time for which ended alerts are kept, in days."
    )

    @model_validator(mode="after")
    def _webhook_is_signed(self) -> Self:
        """Refuse calls that nobody can verify, or that everybody can read."""
        if self.webhook_url is None:
            return self
        if self.webhook_secret is None:
            raise mistake(
                "needs a key: the receiver could not tell the relay from others",
                "set alerts.webhook_secret or alerts.webhook_secret_file",
                key="webhook_url",
            )
        if self.webhook_url.startswith("http:") and not self.webhook_allow_private:
            raise mistake(
                "is plain HTTP: alerts would travel in clear",
                "write https://…, or set alerts.webhook_allow_private for a receiver "
                "in your own network",
                key="webhook_url",
            )
        return self
