"""Signing in with an account of another site: OpenID Connect, code flow with PKCE.

The provider says who somebody is; the relay says what they may. An account of the
provider is a user's where it has the user's verified address, or a subject that an
administrator wrote down: an address alone is what anybody can enter at some providers.

What has to come back (state, nonce, the verifier of PKCE, where to go on) travels in a
signed cookie of the browser, for ten minutes, once. Nothing is kept for strangers.

Source: OpenID Connect Core 1.0 sections 3.1.2 and 3.1.3; RFC 7636; RFC 9700.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import jwt

from relay.accounts.service import WrongPassword, console_url
from relay.core.accounts import may_sign_in, same
from relay.core.addresses import address_key
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config import Settings
    from relay.core.directory import User
    from relay.store import Store

log = get_logger(__name__)

BACK_PATH: Final = "/sign-in/oidc/back"
LIFE: Final = timedelta(minutes=10)
"""How long a sign-in at the provider may take."""
_KNOWN_FOR_S: Final = 3600.0
"""How long what the provider says of itself is believed."""
_TIMEOUT_S: Final = 10.0
_LEEWAY_S: Final = 60
_ALGORITHMS: Final = ("RS256", "PS256", "ES256")
"""None is symmetric: else the public key could sign."""
_COOKIE: Final = b"relay oidc state 1\0"
_LONGEST: Final = 4000
_EMAIL: Final = "email"
"""The claim of which a provider may say that it is verified."""


class ProviderUnavailable(Exception):  # noqa: N818 - an answer
    """The provider cannot be asked now."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a browser goes to sign in, and the cookie that it brings back."""

    url: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Provider:
    """What a provider says of itself."""

    authorize: str
    token: str
    userinfo: str | None
    keys: jwt.PyJWKSet
    until: float


class OIDC:
    """One provider."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """Take the settings and the store; nothing is asked before it is needed."""
        self._section = settings.oidc
        self._issuer = str(settings.oidc.issuer)
        self._store = store
        self._back = f"{console_url(settings)}{BACK_PATH}"
        self._provider: _Provider | None = None
        self._asking = asyncio.Lock()
        self.name = settings.oidc.name

    # ------------------------------------------------------------ there and back

    async def begin(self, wanted: str) -> Begun:
        """Return where to sign in.

        Args:
            wanted: The page to go on to.

        Raises:
            ProviderUnavailable: It does not say where.
        """
        provider = await self._known()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                provider.authorize, state=state, nonce=nonce, code_verifier=verifier
            )
        ends = self._store.context.clock.now() + LIFE
        values = [state, nonce, verifier, wanted, int(ends.timestamp())]
        return Begun(str(url), await self._signed(values))

    async def end(self, cookie: str, answer: Mapping[str, str]) -> tuple[User, str]:
        """Return who has signed in, and where to go on.

        Args:
            cookie: What `begin` gave the browser.
            answer: The parameters with which the provider sent it back.

        Raises:
            WrongPassword: It is not to be believed, or the account is nobody's here.
            ProviderUnavailable: It cannot be asked.
        """
        state, nonce, verifier, wanted = await self._read(cookie)
        if not same(state, answer.get("state", "")):
            raise _refused("the state is another one")
        # RFC 9207: with it, no other provider can stand in for this one.
        if answer.get("iss", self._issuer) != self._issuer:
            raise _refused("the answer is of another issuer")
        if "code" not in answer:
            raise _refused(f"the provider says {answer.get('error', 'nothing')[:100]}")
        provider = await self._known()
        tokens = await self._tokens(provider, answer["code"], verifier)
        claims = await self._claims(provider, str(tokens.get("id_token", "")), nonce)
        if self._section.claim not in claims or "email_verified" not in claims:
            claims = await self._more(provider, tokens, claims)
        return await self._user(claims), wanted

    async def _user(self, claims: Mapping[str, Any]) -> User:
        """Return whose account it is.

        Raises:
            WrongPassword: Nobody's who may sign in.
        """
        address = self._section.users_by_subject().get(str(claims.get("sub")))
        if address is None:
            # It is said of the claim `email`, and of no other (Core 5.1).
            verified = self._section.claim == _EMAIL and (
                claims.get("email_verified") in {True, "true"}
            )
            if not verified and not self._section.trust_addresses:
                raise _refused("the address is not verified")
            address = str(claims.get(self._section.claim, ""))
        key = address_key(address)
        for user in await self._store.directory.users():
            if key is not None and key == address_key(user.email) and may_sign_in(user):
                return user
        raise _refused("no user has this address", address=address[:320])

    # ------------------------------------------------------------ the provider

    def _client(self) -> Any:
        from authlib.integrations.httpx_client import (  # noqa: PLC0415 - an extra
            AsyncOAuth2Client,
        )

        secret = self._section.client_secret
        return AsyncOAuth2Client(
            client_id=self._section.client_id,
            client_secret=secret.get_secret_value() if secret else None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope=" ".join(self._section.scopes),
            redirect_uri=self._back,
            code_challenge_method="S256",
            timeout=_TIMEOUT_S,
        )

    async def _known(self) -> _Provider:
        """Return what the provider says of itself, at most an hour old.

        Raises:
            ProviderUnavailable: It says nothing, or says that it is another one.
        """
        async with self._asking:
            now = self._store.context.clock.boottime_s()
            if self._provider is None or self._provider.until <= now:
                self._provider = await self._discover(now + _KNOWN_FOR_S)
            return self._provider

    async def _discover(self, until: float) -> _Provider:
        place = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        async with self._client() as client:
            try:
                found = await self._json(client, place)
                if found["issuer"] != self._issuer:
                    text = f"it calls itself {str(found['issuer'])[:200]}"
                    raise ValueError(text)
                keys = jwt.PyJWKSet.from_dict(
                    await self._json(client, found["jwks_uri"])
                )
                return _Provider(
                    str(found["authorization_endpoint"]),
                    str(found["token_endpoint"]),
                    found.get("userinfo_endpoint"),
                    keys,
                    until,
                )
            except _faults() as error:
                log.warning("oidc_unavailable", issuer=self._issuer, error=str(error))
                raise ProviderUnavailable from error

    async def _json(
        self, client: Any, place: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        answer = await client.request(
            "GET", place, withhold_token=True, headers=headers
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def _tokens(
        self, provider: _Provider, code: str, verifier: str
    ) -> dict[str, Any]:
        from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415 - an extra

        async with self._client() as client:
            try:
                found = await client.fetch_token(
                    provider.token,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                )
            except AuthlibBaseError as error:
                raise _refused(f"the code was refused: {error}") from error
            except _faults() as error:
                log.warning("oidc_unavailable", issuer=self._issuer, error=str(error))
                raise ProviderUnavailable from error
        return dict(found)

    async def _claims(
        self, provider: _Provider, token: str, nonce: str
    ) -> dict[str, Any]:
        """Return what an ID token says, once all of it holds (Core 3.1.3.7)."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(provider, header.get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self._section.client_id,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.PyJWTError as error:
            raise _refused(f"the ID token does not hold: {error}") from error
        if not same(str(claims.get("nonce", "")), nonce):
            raise _refused("the nonce is another one")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get(
            "azp"
        ) != self._section.client_id:
            raise _refused("the ID token is for another client")
        return claims

    async def _key(self, provider: _Provider, kid: str | None) -> jwt.PyJWK:
        """Return the key that signed; the provider may have made a new one."""
        for attempt in range(2):
            found = [one for one in provider.keys.keys if kid in {None, one.key_id}]
            if found:
                return found[0]
            if not attempt:
                self._provider = None
                provider = await self._known()
        raise jwt.InvalidKeyError("no key of the provider has this kid")

    async def _more(
        self, provider: _Provider, tokens: Mapping[str, Any], claims: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the claims with those of the provider's userinfo (Core 5.3)."""
        if provider.userinfo is None or "access_token" not in tokens:
            return claims
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        async with self._client() as client:
            try:
                found = await self._json(client, str(provider.userinfo), headers)
            except _faults() as error:
                log.warning("oidc_unavailable", issuer=self._issuer, error=str(error))
                raise ProviderUnavailable from error
        if found.get("sub") != claims["sub"]:
            raise _refused("the userinfo is of another subject")
        return found | claims

    # ------------------------------------------------------------ the cookie

    async def _signed(self, values: list[Any]) -> str:
        text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
        return f"{text}.{await self._signature(text)}"

    async def _signature(self, text: str) -> str:
        key = (await self._store.sender.release_key()).encode()
        return hmac.new(key, _COOKIE + text.encode(), hashlib.sha256).hexdigest()

    async def _read(self, cookie: str) -> tuple[str, str, str, str]:
        """Return state, nonce, verifier and page of a cookie; it works once.

        Raises:
            WrongPassword: It is not ours, too old, or was used.
        """
        text, _, signature = cookie[:_LONGEST].partition(".")
        if not cookie.isascii() or not same(await self._signature(text), signature):
            raise _refused("the cookie is missing")
        state, nonce, verifier, wanted, ends = json.loads(
            base64.urlsafe_b64decode(text)
        )
        if ends <= self._store.context.clock.now().timestamp():
            raise _refused("it took too long")
        used = hashlib.sha256(state.encode()).hexdigest()
        wait_s, _ = await self._store.accounts.take_try({used: 1}, LIFE)
        if wait_s:
            raise _refused("it was used before")
        return state, nonce, verifier, wanted


def _refused(why: str, **more: str) -> WrongPassword:
    log.warning("sign_in_failed", by="oidc", why=why, **more)
    return WrongPassword()


def _faults() -> tuple[type[Exception], ...]:
    """Return what the HTTP client raises when a provider does not answer well."""
    import httpx2  # noqa: PLC0415 - an extra

    return (
        *(httpx2.HTTPError, httpx2.InvalidURL, jwt.PyJWTError),
        *(ValueError, TypeError, KeyError),
    )
