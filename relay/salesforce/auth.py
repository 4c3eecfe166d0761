"""Access tokens: one login for all threads, and no login too many.

Two flows: client credentials (a secret), and JWT bearer (a key, RS256). Threads that
need a token at the same moment share one login and its outcome. A token that was
refused is replaced once. If Salesforce refuses the fresh one too, or the login itself,
the relay waits before it asks again, and each wait doubles: Salesforce locks out users
who try too often.

Source: Salesforce Help, "OAuth 2.0 JWT Bearer Flow", "OAuth 2.0 Client Credentials
Flow"; RFC 7523 section 2.1.
"""

from __future__ import annotations

import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeGuard, TypeVar
from urllib.parse import urlsplit

from relay.config.values import is_loopback
from relay.core.errors import (
    CredentialsRefused,
    OrgPaused,
    RelayError,
    SalesforceDown,
)
from relay.core.ids import record_id
from relay.salesforce import errors, transport
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Json

TOKEN_PATH: Final = "/services/oauth2/token"  # noqa: S105 - a path, no password
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_TOKEN: Final = 8192
"""Characters of a token; Salesforce takes no head above 16 kB."""
_OAUTH_ERROR: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
JWT_LIFE_S: Final = 180
"""Salesforce takes assertions that end within a few minutes."""

FIRST_WAIT_S: Final = 10.0
"""Wait after a fresh token was refused; doubles up to `MAX_WAIT_S`."""
FIRST_LOGIN_WAIT_S: Final = 60.0
"""Wait after a login was refused; doubles up to `MAX_WAIT_S`."""
MAX_WAIT_S: Final = 3600.0

E = TypeVar("E", bound=RelayError)

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """An access token, where to use it, and whose it is; compared by identity."""

    value: str
    instance: str
    user_id: str | None = None

    def __repr__(self) -> str:
        """Return a form without the token itself."""
        return f"Token(at {self.instance})"


class TokenProvider:
    """Gives out tokens; safe to use from many threads.

    Args:
        settings: Credentials, login host, time-outs.
        clock: Boot time for waits, wall-clock time for the JWT.
        server_ahead_s: Seconds by which Salesforce's clock is ahead of ours.
        observe: Called with (kind, flight, outcome) after each call.
    """

    def __init__(
        self,
        settings: SalesforceSettings,
        clock: Clock,
        *,
        server_ahead_s: Callable[[], float] = lambda: 0.0,
        observe: Callable[[str, transport.Flight, str], None],
    ) -> None:
        """Keep the parts; nothing is asked yet."""
        self._settings = settings
        self._clock = clock
        self._server_ahead_s = server_ahead_s
        self._observe = observe
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._proven = False
        self._login_in_flight: Future[Token] | None = None
        self._refusals = 0
        self._refusal: OrgPaused | None = None
        self._quiet_until_s = 0.0
        self._session: requests.Session | None = None

    def token(self, *, instead_of: Token | None = None) -> Token:
        """Return a token; the current one unless that is the one to be replaced.

        Args:
            instead_of: A token that Salesforce has just refused.

        Raises:
            CredentialsRefused: Salesforce refuses the login, or did so a moment ago.
            OrgPaused: Too many logins, and the like.
            SalesforceDown: No token could be fetched now.
        """
        with self._lock:
            current = self._token
            if current is not None and current is not instead_of:
                return current
            self._raise_if_quiet()
            if current is not None and self._refusals and not self._proven:
                raise self._refused()
            flight = self._login_in_flight
            if leading := flight is None:
                flight = self._login_in_flight = Future()
        if leading:
            self._lead(flight)
        error = flight.exception()
        if isinstance(error, RelayError):
            # A copy each: one exception raised by many threads mixes their tracebacks.
            raise _copy(error)
        return flight.result()

    def proven(self, token: Token) -> None:
        """Note that Salesforce took the token."""
        if self._proven and not self._refusals:
            return
        with self._lock:
            if token is self._token:
                self._proven = True
                self._refusals = 0

    def refuse(self, token: Token) -> OrgPaused:
        """Note that a token was refused although it was fresh; return the error."""
        with self._lock:
            if token is self._token:
                return self._refused()
            return _copy(self._refusal) if self._refusal else self._session_error()

    def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            self._session.close()

    # ------------------------------------------------------------ refusals

    def _raise_if_quiet(self) -> None:
        left = self._quiet_until_s - self._clock.boottime_s()
        if self._refusal is not None and left > 0:
            raise _copy(self._refusal, retry_after_s=left)

    def _refused(self) -> OrgPaused:
        """Drop the token and be quiet for a while."""
        self._token = None
        return self._be_quiet(self._session_error(), FIRST_WAIT_S)

    def _session_error(self) -> CredentialsRefused:
        return CredentialsRefused(
            "Salesforce gives tokens and refuses them: check the session settings and "
            "the IP restrictions of the integration user",
            code="INVALID_SESSION_ID",
        )

    def _be_quiet(self, error: OrgPaused, first_s: float) -> OrgPaused:
        wait = min(first_s * 2.0 ** min(self._refusals, 16), MAX_WAIT_S)
        wait = max(wait, error.retry_after_s or 0.0)
        self._refusals += 1
        self._quiet_until_s = self._clock.boottime_s() + wait
        self._refusal = _copy(error, retry_after_s=wait)
        logger.warning("salesforce_login_refused", code=error.code, wait_s=wait)
        return _copy(self._refusal)

    # ------------------------------------------------------------ the login

    def _lead(self, flight: Future[Token]) -> None:
        """Log in for all threads that wait."""
        try:
            token = self._login()
        except OrgPaused as error:
            with self._lock:
                self._token = None
                self._login_in_flight = None
                refusal = self._be_quiet(error, FIRST_LOGIN_WAIT_S)
            flight.set_exception(refusal)
        except BaseException as error:
            with self._lock:
                self._login_in_flight = None
            flight.set_exception(error)
            if not isinstance(error, RelayError):
                raise
        else:
            with self._lock:
                self._token, self._proven = token, False
                self._login_in_flight = None
            flight.set_result(token)
            logger.info("salesforce_login", instance=token.instance)

    def _login(self) -> Token:
        base = self._settings.login_url or self._settings.instance_url
        form = self._form()
        if self._session is None:
            self._session = transport.session([base or ""], self._settings.proxy)
        url = "https://" + urlsplit(base or "").netloc + TOKEN_PATH
        flight = transport.Flight(self._clock, self._settings.timeout_s)
        outcome = "unavailable"
        try:
            with transport.flying(flight):
                response = self._session.post(url, data=form, timeout=flight.timeout_s)
            outcome = "ok" if flight.status == HTTPStatus.OK else "refused"
        except Exception as error:  # noqa: BLE001 - the table knows them all
            row = errors.foreign(error)
            code = row.code.rpartition(".")[2]
            # Not `from error`: its text may name the user, its request the secret.
            text = f"login: {row.sentence}"
            raise SalesforceDown(text, code=code) from None
        finally:
            self._observe("login", flight, outcome)
        try:
            content = response.json()
        except ValueError:
            content = None
        return self._read(response.status_code, content)

    def _form(self) -> dict[str, str]:
        settings = self._settings
        if settings.client_secret is not None:
            return {
                "grant_type": "client_credentials",
                "client_id": settings.client_id or "",
                "client_secret": settings.client_secret.get_secret_value(),
            }
        return {"grant_type": JWT_GRANT, "assertion": self._assertion()}

    def _assertion(self) -> str:
        """Sign a JWT; the key is read each time, so that it can be exchanged."""
        import jwt  # noqa: PLC0415 - not needed for client credentials

        settings = self._settings
        now = self._clock.now().timestamp() + self._server_ahead_s()
        claims = {
            "iss": settings.client_id,
            "sub": settings.username,
            "aud": settings.audience,
            "exp": int(now) + JWT_LIFE_S,
        }
        try:
            key = (settings.private_key_file or Path()).read_bytes()
            return jwt.encode(claims, key, algorithm="RS256")
        except Exception as error:  # noqa: BLE001 - whatever it is, it cannot sign
            text = (
                "the login could not be signed with salesforce.private_key_file "
                f"({type(error).__name__}): it must be readable, PEM, and RSA"
            )
            # Not `from error`: the text of a key error may quote the key.
            raise CredentialsRefused(text, code="private_key_file") from None

    def _read(self, status: int, content: Json) -> Token:
        if not isinstance(content, dict):
            row = errors.rule(
                "", status if status >= HTTPStatus.INTERNAL_SERVER_ERROR else 0
            )
            text = f"login: HTTP {status} without JSON: {row.sentence}"
            raise SalesforceDown(text, code=f"HTTP_{status}")
        value = content.get("access_token")
        if status == HTTPStatus.OK and _is_token(value):
            return Token(value, self._instance(content), _user_id(content.get("id")))
        error = content.get("error")
        if not isinstance(error, str) or not _OAUTH_ERROR.fullmatch(error):
            text = f"login: HTTP {status} without token and reason"
            raise SalesforceDown(text, code=f"HTTP_{status}")
        said = str(content.get("error_description") or "")
        row = errors.login_rule(error, said)
        text = f"login: {error}: {row.sentence}"
        if said:
            text += f" ({errors.redacted(said)})"
        raise errors.build(row, error, text)

    def _instance(self, content: dict[str, Json]) -> str:
        """Return where to call: where the answer says, if that is safe."""
        configured = self._settings.instance_url or ""
        named = content.get("instance_url")
        try:
            parts = urlsplit(named if isinstance(named, str) else "")
            _ = parts.port  # raises for a port that is no number
        except ValueError:
            return configured
        host = parts.hostname or ""
        if not host or parts.username is not None or not parts.netloc.isascii():
            return configured
        here = is_loopback(urlsplit(configured).hostname or "")
        if is_loopback(host) != here:
            return configured
        if parts.scheme == "https" or (here and parts.scheme == "http"):
            return transport.origin(parts.geturl())
        return configured


def _is_token(value: Json) -> TypeGuard[str]:
    """Say whether a value can stand in an Authorization header."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TOKEN
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _user_id(url: Json) -> str | None:
    """Return the user's id from the identity URL (`…/id/<org>/<user>`)."""
    last = url.rstrip("/").rpartition("/")[2] if isinstance(url, str) else ""
    return record_id(last) if last.startswith("005") else None


def _copy(error: E, *, retry_after_s: float | None = None) -> E:
    """Return the error anew, with another wait if one is given."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(error.__dict__)
    copy.args = error.args
    if retry_after_s is not None:
        copy.retry_after_s = retry_after_s  # type: ignore[attr-defined]
    return copy
