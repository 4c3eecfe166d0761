"""Second factors: codes of an app (TOTP), recovery codes, and passkeys.

A code is of one half minute; the one before and the one after are taken, too, for
clocks that differ, and each works once. A recovery code stands for the app that was
lost. A passkey proves, by a key that never leaves its device, that somebody is at this
site: no copy of the page can ask for it.

The challenge of a passkey is signed and not kept: strangers can ask for many, and fill
nothing. It works for five minutes, once.

Source: RFC 6238 (TOTP) sections 5.2 and 6; W3C Web Authentication Level 2 section 7.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pyotp
import segno
import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from relay.accounts.sealing import Sealer, Unreadable
from relay.accounts.service import WrongPassword
from relay.core.accounts import may_sign_in, same
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from relay.accounts.service import Accounts, Peer
    from relay.config import Settings
    from relay.core.accounts import Passkey
    from relay.core.directory import User
    from relay.store import Store

log = get_logger(__name__)

STEP_S: Final = 30
_AROUND: Final = (0, -1, 1)
"""Half minutes whose codes are taken, from now."""
_CODES: Final = 10
_ALPHABET: Final = "abcdefghijkmnopqrstuvwxyz2345679"
"""Without l, 8, 0 and 1, which are taken for others."""
_CODE: Final = 16
"""Letters of a recovery code: 80 bits."""
_GROUP: Final = 4
_NAME: Final = "Relay"
_NONCE: Final = 16
_CHALLENGE_LIFE: Final = timedelta(minutes=5)
_CHALLENGE: Final = b"relay passkey challenge 1\0"
_LONGEST: Final = 16_384
"""Characters of what a browser sends of a passkey."""
_LONGEST_NAME: Final = 60
_LONGEST_ID: Final = 1400
"""Characters of a credential's id: 1023 bytes as base64url (Web Authentication 4)."""


@dataclass(frozen=True, slots=True)
class Site:
    """The site for which a passkey is.

    Attributes:
        host: The name of the host, such as `relay.example.com`.
        origin: With scheme and port.
    """

    host: str
    origin: str


def site_of(settings: Settings, scheme: str, host: str) -> Site | None:
    """Return the site as browsers see it; None where they make no passkeys.

    They do so for names alone, not for IP addresses, and only over TLS or on localhost.
    """
    origin = str(settings.web.public_url or f"{scheme}://{host}")
    parts = urlsplit(origin)
    name = parts.hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        local = name == "localhost" or name.endswith(".localhost")
        if name and (local or parts.scheme == "https"):
            return Site(name, f"{parts.scheme}://{parts.netloc}")
    return None


class Factors:
    """Adds, asks for and removes second factors."""

    def __init__(
        self, accounts: Accounts, store: Store, sealer: Sealer | None = None
    ) -> None:
        """Take what signs people in, the store, and what seals secrets of apps."""
        self._accounts = accounts
        self._store = store
        self._sealer = sealer or Sealer(None)

    # ------------------------------------------------------------ the code app

    async def begin_app(self, user: User) -> None:
        """Make a secret for an app, which has yet to show a code.

        Raises:
            Conflict: The user has an app already.
        """
        sealed = self._sealer.seal(user.id, pyotp.random_base32(32))
        await self._store.factors.begin_app(user.id, sealed)

    async def new_app(self, user: User) -> tuple[str, str] | None:
        """Return secret and picture (SVG) of the app that was begun, if one was."""
        secret = await self._secret(user, confirmed=False)
        if secret is None:
            return None
        uri = pyotp.TOTP(secret, name=user.email, issuer=_NAME).provisioning_uri()
        picture = segno.make(uri, error="m").svg_inline(scale=4, border=4, light="#fff")
        return " ".join(secret[i : i + 4] for i in range(0, len(secret), 4)), picture

    async def confirm_app(self, user: User, code: str, peer: Peer) -> list[str]:
        """Let an app count once it has shown a code; return the recovery codes.

        Raises:
            WrongPassword: The code is not the app's.
            TooManyTries: Too many codes were wrong.
        """
        secret = await self._secret(user, confirmed=False)
        keys = await self._accounts.take(f"second {user.id}", user.email, peer)
        step = None if secret is None else self._step(secret, code)
        if step is None:
            raise WrongPassword
        await self._accounts.give_back(keys)
        codes = [_new_code() for _ in range(_CODES)]
        plain = [_plain(one) for one in codes]
        actor = f"web:{user.email}"
        if not await self._store.factors.confirm_app(user.id, step, plain, actor):
            raise WrongPassword
        log.info("factor_added", user=user.email, factor="code app")
        return codes

    async def new_codes(self, user: User) -> list[str]:
        """Return new recovery codes; the ones before end."""
        codes = [_new_code() for _ in range(_CODES)]
        plain = [_plain(one) for one in codes]
        await self._store.factors.replace_codes(user.id, plain, f"web:{user.email}")
        return codes

    async def check_code(self, user: User, code: str, peer: Peer) -> str:
        """Use up a code of the app, or a recovery code; return which it was.

        Raises:
            WrongPassword: It is none, or was used.
            TooManyTries: Too many codes were wrong.
        """
        keys = await self._accounts.take(f"second {user.id}", user.email, peer)
        secret = await self._secret(user, confirmed=True)
        step = None if secret is None else self._step(secret, code)
        if step is not None and await self._store.factors.take_step(user.id, step):
            await self._accounts.give_back(keys)
            return "code"
        actor = f"web:{user.email}"
        if step is None and await self._store.factors.use_code(
            user.id, _plain(code), actor
        ):
            await self._accounts.give_back(keys)
            return "recovery code"
        log.warning("sign_in_failed", address=user.email, peer=peer.address, by="code")
        await self._store.accounts.note_failure(user.id, "code", peer.address)
        raise WrongPassword

    async def _secret(self, user: User, *, confirmed: bool) -> str | None:
        """Return the secret of a user's app; None: there is none that can be read.

        One that was kept before there was a key is sealed now.
        """
        kept = await self._store.factors.app_secret(user.id, confirmed=confirmed)
        if kept is None:
            return None
        try:
            secret = self._sealer.open(user.id, kept)
        except Unreadable:
            log.warning(
                "factor_unreadable", user=user.email, hint="web.factor_key is another"
            )
            return None
        if self._sealer.is_to_seal(kept):
            sealed = self._sealer.seal(user.id, secret)
            await self._store.factors.replace_secret(user.id, kept, sealed)
        return secret

    def _step(self, secret: str, code: str) -> int | None:
        """Return the half minute of a code; None: it is of none around now."""
        sent = "".join(code.split())
        app = pyotp.TOTP(secret, interval=STEP_S)
        now = int(self._store.context.clock.now().timestamp()) // STEP_S
        found = None
        for around in _AROUND:  # All of them, whichever fits: the time tells nothing.
            if same(app.generate_otp(now + around), sent):
                found = now + around
        return found

    # ------------------------------------------------------------ passkeys

    async def options_to_add(self, user: User, site: Site) -> str:
        """Return what a browser needs to make a passkey, as JSON."""
        known = (await self._store.factors.of(user.id)).passkeys
        options = webauthn.generate_registration_options(
            rp_id=site.host,
            rp_name=_NAME,
            user_name=user.email,
            user_display_name=user.name,
            user_id=_handle(user),
            challenge=await self._challenge(f"add {user.id}"),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(known),
        )
        return webauthn.options_to_json(options)

    async def add_passkey(
        self, user: User, sent: str, name: str, site: Site, peer: Peer
    ) -> None:
        """Keep a passkey that a browser has made.

        Raises:
            WrongPassword: It is none, or not an answer to our challenge.
            Conflict: Somebody has it already, or the user has too many.
            TooManyTries: As for codes.
        """
        keys = await self._accounts.take(f"second {user.id}", user.email, peer)
        credential, challenge = await self._read(sent, f"add {user.id}")
        try:
            made = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=site.host,
                expected_origin=site.origin,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            log.warning("passkey_refused", user=user.email, error=str(error))
            raise WrongPassword from None
        await self._store.factors.add_passkey(
            user.id,
            bytes_to_base64url(made.credential_id),
            bytes_to_base64url(made.credential_public_key),
            made.sign_count,
            name.strip()[:_LONGEST_NAME] or "passkey",
            f"web:{user.email}",
        )
        await self._accounts.give_back(keys)
        log.info("factor_added", user=user.email, factor="passkey")

    async def options_to_sign_in(self, site: Site, user: User | None = None) -> str:
        """Return what a browser needs to show a passkey, as JSON.

        Args:
            site: Ours.
            user: Whose; None: whoever has one, who then needs no password.
        """
        known: tuple[Passkey, ...] = ()
        wish = UserVerificationRequirement.REQUIRED
        if user is not None:
            known = (await self._store.factors.of(user.id)).passkeys
            wish = UserVerificationRequirement.PREFERRED
        options = webauthn.generate_authentication_options(
            rp_id=site.host,
            challenge=await self._challenge(_purpose(user)),
            allow_credentials=_descriptors(known),
            user_verification=wish,
        )
        return webauthn.options_to_json(options)

    async def by_passkey(
        self, sent: str, site: Site, peer: Peer, user: User | None = None
    ) -> User:
        """Return whose passkey a browser has shown.

        Args:
            sent: What the browser sent.
            site: Ours.
            peer: From where.
            user: Whose it has to be; None: anybody's, with the device's own check of
                who holds it, so that no password is needed.

        Raises:
            WrongPassword: It is not to be believed.
            TooManyTries: Too many were wrong.
        """
        # By the key and not for all keys together: else a stranger could lock them all.
        who = _key_named(sent) if user is None else str(user.id)
        keys = await self._accounts.take(f"passkey {who}", who, peer)
        credential, challenge = await self._read(sent, _purpose(user))
        key = await self._store.factors.passkey(str(credential.get("id", "")))
        owner = None
        if key is not None and (user is None or key.user_id == user.id):
            owner = await self._owner(key)
        if key is None or owner is None:
            log.warning("sign_in_failed", peer=peer.address, by="passkey")
            raise WrongPassword
        try:
            shown = webauthn.verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=site.host,
                expected_origin=site.origin,
                credential_public_key=base64url_to_bytes(key.public_key),
                credential_current_sign_count=key.sign_count,
                require_user_verification=user is None,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            log.warning(
                "sign_in_failed", address=owner.email, by="passkey", error=str(error)
            )
            await self._store.accounts.note_failure(owner.id, "passkey", peer.address)
            raise WrongPassword from None
        used = await self._store.factors.passkey_used(
            key.id, key.sign_count, shown.new_sign_count
        )
        if not used:
            raise WrongPassword
        await self._accounts.give_back(keys)
        return owner

    async def _owner(self, key: Passkey) -> User | None:
        for user in await self._store.directory.users():
            if user.id == key.user_id and may_sign_in(user):
                return user
        return None

    # ------------------------------------------------------------ challenges

    async def _challenge(self, purpose: str) -> bytes:
        ends = self._store.context.clock.now() + _CHALLENGE_LIFE
        head = secrets.token_bytes(_NONCE) + int(ends.timestamp()).to_bytes(8, "big")
        return head + await self._signature(head, purpose)

    async def _signature(self, head: bytes, purpose: str) -> bytes:
        key = (await self._store.sender.release_key()).encode()
        text = _CHALLENGE + purpose.encode() + b"\0" + head
        return hmac.new(key, text, hashlib.sha256).digest()

    async def _read(self, sent: str, purpose: str) -> tuple[dict[str, Any], bytes]:
        """Return what a browser sent, and the challenge of ours that it answers.

        Raises:
            WrongPassword: It answers none, or one that was answered before.
        """
        try:
            credential = json.loads(sent[:_LONGEST])
            client = credential["response"]["clientDataJSON"]
            challenge = base64url_to_bytes(
                json.loads(base64url_to_bytes(client))["challenge"]
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            raise WrongPassword from None
        size = _NONCE + 8
        head, signature = challenge[:size], challenge[size:]
        right = await self._signature(head, purpose)
        now = int(self._store.context.clock.now().timestamp())
        if not hmac.compare_digest(right, signature) or (
            int.from_bytes(head[_NONCE:], "big") <= now
        ):
            raise WrongPassword
        used = hashlib.sha256(challenge).hexdigest()
        wait_s, _ = await self._store.accounts.take_try({used: 1}, _CHALLENGE_LIFE)
        if wait_s:
            raise WrongPassword
        return credential, challenge


def _key_named(sent: str) -> str:
    """Return the id of the passkey that a browser claims to show; empty: none."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return str(json.loads(sent[:_LONGEST])["id"])[:_LONGEST_ID]
    return ""


def _purpose(user: User | None) -> str:
    return "sign in" if user is None else f"second {user.id}"


def _handle(user: User) -> bytes:
    """Return what a device keeps for a user: it says nothing about them."""
    return hashlib.sha256(f"relay user {user.id}".encode()).digest()


def _descriptors(keys: tuple[Passkey, ...]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(id=base64url_to_bytes(one.credential_id))
        for one in keys
    ]


def _new_code() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE))
    return "-".join(text[i : i + _GROUP] for i in range(0, _CODE, _GROUP))


def _plain(code: str) -> str:
    """Return a recovery code whatever stands between its letters."""
    return "".join(char for char in code.lower() if char.isalnum())[:_LONGEST_NAME]
