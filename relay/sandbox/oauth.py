"""Tokens: the two flows that a service uses, and the sessions they open.

Client credentials act as the one user set for them; JWT bearer acts as any user who
has approved the app, and is proven by the public key registered for it. Nothing else
opens a session; SOAP login is refused.

Source: RFC 6749 section 5.2; RFC 7523; Salesforce Help, "OAuth 2.0 JWT Bearer Flow",
"OAuth 2.0 Client Credentials Flow".
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote_plus

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from relay.sandbox.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwt.types import Options

    from relay.sandbox.org import SandboxOrg

JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MAX_AHEAD_S: Final = 300
"""How far ahead `exp` of an assertion may lie."""
_MIN_KEY_BITS: Final = 2_048
_FORM: Final = "application/x-www-form-urlencoded"
_UNPROVEN: Final[Options] = {
    "verify_exp": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""PyJWT checks the signature; the claims are checked here, by the sandbox's clock."""


class OAuthError(Exception):
    """A refusal of the token endpoint; `error` is the code of RFC 6749."""

    def __init__(self, error: str, description: str) -> None:
        """Keep code and description."""
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


def token_answer(org: SandboxOrg, headers: Mapping[str, str], raw: bytes) -> Answer:
    """Answer `POST /services/oauth2/token`."""
    try:
        user_id = _grant(org, headers, raw)
    except OAuthError as error:
        body = {"error": error.error, "error_description": error.description}
        return Answer(400, body, {"Cache-Control": "no-store"})
    company = next(iter(org.rows.all("Organization")))
    body = {
        "access_token": org.sessions.open(user_id),
        "signature": base64.b64encode(secrets.token_bytes(32)).decode(),
        "scope": "api",
        "instance_url": org.url,
        "id": f"{org.url}/id/{company['Id']}/{user_id}",
        "token_type": "Bearer",
        "issued_at": str(int(org.clock.now().timestamp() * 1000)),
    }
    return Answer(200, body, {"Cache-Control": "no-store"})


def _grant(org: SandboxOrg, headers: Mapping[str, str], raw: bytes) -> str:
    """Return the id of the user whom the token is for."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", "the form must be urlencoded")
    try:
        form = dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True))
    except ValueError:
        raise OAuthError("invalid_request", "the form cannot be read") from None
    grant = form.get("grant_type", "")
    if grant == "client_credentials":
        return _client_credentials(org, headers, form)
    if grant == JWT_GRANT:
        return _jwt_bearer(org, form.get("assertion", ""))
    raise OAuthError("unsupported_grant_type", "grant type not supported")


def _client_credentials(
    org: SandboxOrg, headers: Mapping[str, str], form: Mapping[str, str]
) -> str:
    if headers.get("host", "").startswith(("login.", "test.")):
        raise OAuthError("invalid_grant", "request not supported on this domain")
    client_id, secret = _basic(headers.get("authorization", ""))
    client_id = client_id or form.get("client_id", "")
    secret = secret or form.get("client_secret", "")
    if client_id != org.config.client_id:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    expected = org.config.client_secret
    if not expected or not hmac.compare_digest(secret.encode(), expected.encode()):
        raise OAuthError("invalid_client", "invalid client credentials")
    user_id = org.state.integration_user_id
    if not user_id:
        raise OAuthError("invalid_grant", "no client credentials user enabled")
    return user_id


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise OAuthError("invalid_client", "invalid client credentials") from None
    return unquote_plus(name), unquote_plus(secret)


def _jwt_bearer(org: SandboxOrg, assertion: str) -> str:
    claims = _claims(org, assertion)
    if claims.get("aud") not in [*org.config.jwt_audiences, org.url]:
        raise OAuthError("invalid_grant", "audience is invalid")
    ahead = _expiry(claims.get("exp")) - org.clock.now().timestamp()
    if ahead <= 0:
        raise OAuthError("invalid_grant", "expired authorization code")
    if not ahead <= _MAX_AHEAD_S:  # Infinity and NaN as well.
        raise OAuthError("invalid_grant", "invalid assertion: exp is too far ahead")
    subject = str(claims.get("sub", ""))
    approved = org.config.jwt_users or [org.config.run_as]
    if subject.lower() not in {name.lower() for name in approved}:
        raise OAuthError("invalid_grant", "user hasn't approved this consumer")
    user = org.state.user_by_name(subject)
    if user is None:
        raise OAuthError("inactive_user", "user is inactive")
    return str(user["Id"])


def _claims(org: SandboxOrg, assertion: str) -> dict[str, Any]:
    try:
        unproven = jwt.decode(
            assertion, options={**_UNPROVEN, "verify_signature": False}
        )
    except jwt.PyJWTError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    if unproven.get("iss") != org.config.client_id:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    key = read_public_key(org.config.jwt_public_key)
    if key is None:
        raise OAuthError("invalid_grant", "no certificate is registered for the app")
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion, key, algorithms=["RS256"], options=_UNPROVEN
        )
    except jwt.PyJWTError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    return claims


def _expiry(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise OAuthError("invalid_grant", "invalid assertion: exp is missing")
    try:
        return float(value)
    except ValueError:
        raise OAuthError("invalid_grant", "invalid assertion: exp is wrong") from None


def read_public_key(pem: str) -> RSAPublicKey | None:
    """Read a public key or certificate; None where none is registered.

    Raises:
        ValueError: The text holds no RSA key of at least 2,048 bits.
    """
    if not pem:
        return None
    raw = pem.encode()
    key = (
        x509.load_pem_x509_certificate(raw).public_key()
        if b"CERTIFICATE" in raw
        else load_pem_public_key(raw)
    )
    if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_KEY_BITS:
        msg = f"the app takes RSA keys of at least {_MIN_KEY_BITS} bits"
        raise ValueError(msg)
    return key
