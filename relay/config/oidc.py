"""The section `oidc`: signing in to the console with an account of another site."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from relay.config.values import (
    Flag,
    OptionalSecret,
    OptionalText,
    Section,
    Text,
    Unset,
    is_loopback,
    mistake,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIBRARIES: Final = ("authlib", "httpx2")
"""Those of the extra `oidc`."""


def _issuer(value: str) -> str:
    """Return the address of a provider as its tokens name it: it is compared whole."""
    hint = 'write it like "https://login.example.com", as the provider names itself'
    value = value.strip()
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise mistake("is not an https:// address", hint) from None
    if parts.scheme not in {"http", "https"} or not host or not value.isascii():
        raise mistake("is not an https:// address", hint)
    if parts.query or parts.fragment or parts.username is not None:
        raise mistake("has more than host and path", hint)
    if parts.scheme == "http" and not is_loopback(host):
        raise mistake("http:// is for loopback hosts only", "write https://")
    return value


def _subject(value: str) -> str:
    subject, _, address = value.rpartition(":")
    if not subject.strip() or "@" not in address:
        raise mistake(
            "is no pair of subject and user",
            'write it like "248289761001: ada@corp.example.com"',
        )
    return f"{subject.strip()}: {address.strip()}"


class OIDCSettings(Section):
    """Signing in to the console by OpenID Connect; needs the extra `oidc`."""

    issuer: Annotated[Annotated[str, AfterValidator(_issuer)] | None, Unset] = Field(
        default=None,
        description="The provider's issuer, such as https://accounts.google.com, "
        "https://login.microsoftonline.com/TENANT/v2.0 or "
        "https://DOMAIN.my.salesforce.com; empty: nobody signs in so.",
    )
    name: Text = Field(
        default="OpenID Connect",
        description="Name of the provider on the sign-in page, such as Google.",
    )
    client_id: OptionalText = Field(
        default=None, description="Client id of the relay at the provider."
    )
    client_secret: OptionalSecret = Field(
        default=None,
        description="Client secret of the relay at the provider; empty: a public "
        "client.",
    )
    scopes: tuple[Text, ...] = Field(
        default=("openid", "email"),
        description="Scopes that are asked for, a list; openid is one of them.",
    )
    claim: Text = Field(
        default="email",
        description="Claim that is compared with the users' e-mail addresses; one that "
        "is not email is never verified, and needs trust_addresses.",
    )
    trust_addresses: Flag = Field(
        default=False,
        description="Believe addresses that the provider does not call verified: true "
        "only where its administrators alone give them out, as in one tenant of "
        "Microsoft Entra.",
    )
    subjects: tuple[Annotated[str, AfterValidator(_subject)], ...] = Field(
        default=(),
        description="Users who are known by the claim sub and not by address, a list "
        "of SUBJECT: ADDRESS.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse a provider that could never answer, or a missing library."""
        if self.issuer is not None and not all(map(find_spec, _LIBRARIES)):
            raise mistake(
                "needs a library that is not installed",
                "install relay-to-salesforce[oidc]",
                key="issuer",
            )
        if self.issuer is not None and self.client_id is None:
            hint = "write the client id that the provider gave the relay"
            raise mistake("is needed beside oidc.issuer", hint, key="client_id")
        if self.issuer is not None and "openid" not in self.scopes:
            raise mistake("lacks openid", "add it", key="scopes")
        return self

    def users_by_subject(self) -> Mapping[str, str]:
        """Return the addresses of users by their subject."""
        pairs = (one.rpartition(": ") for one in self.subjects)
        return {subject: address for subject, _, address in pairs}
