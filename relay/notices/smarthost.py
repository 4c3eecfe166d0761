"""The smarthost: one SMTP session for the notices that are due, and its login.

A session is encrypted before anything is said in it (STARTTLS is demanded, never only
tried), and the server's certificate is checked. The login is a password, XOAUTH2 with a
token of the client credentials flow, a client certificate, or none.

What an answer means is decided here: a 5yz about one notice refuses it, everything else
may pass. A session that breaks after the content has left leaves its notice without an
answer: it may be out.

Source: RFC 5321 section 4.2; RFC 3207; RFC 4954; RFC 6749 section 4.4; Microsoft Learn,
"Authenticate an SMTP connection using OAuth" (XOAUTH2).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import aiosmtplib

from relay.core.errors import TransientError
from relay.core.notices import NO_ANSWER
from relay.salesforce import WriteOutcome
from relay.salesforce.model import WriteState
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.config import NoticesSettings
    from relay.core.clock import Clock

FIRST_REST_S: Final = 10.0
"""Wait after the smarthost could not be used; it doubles up to `LONGEST_REST_S`."""
LONGEST_REST_S: Final = 900.0
_PERMANENT: Final = 500
_MAX_ANSWER: Final = 65_536
_SOONER_S: Final = 60.0
"""So long before its end a token is fetched anew."""
_SHORTEST_LIFE_S: Final = 30.0

_NO_SENDERS: Final[Mapping[str, str]] = {}

logger = get_logger(__name__)


class SmarthostError(TransientError):
    """The smarthost, or the token endpoint, cannot be used now; nothing was sent.

    Attributes:
        hint: What helps; may be empty.
    """

    def __init__(self, text: str, hint: str = "") -> None:
        """Say what failed, and what helps."""
        super().__init__(text)
        self.hint = hint


class Rest:
    """Lets the smarthost rest after it could not be used, longer each time.

    Many logins that fail would lock the relay out.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin without a rest."""
        self._clock = clock
        self._failures = 0
        self._until_s = float("-inf")

    @property
    def holds(self) -> bool:
        """Say whether the smarthost is left alone now."""
        return self._clock.boottime_s() < self._until_s

    @property
    def next_s(self) -> float:
        """Return how long the next rest takes, in seconds."""
        return min(FIRST_REST_S * 2.0**self._failures, LONGEST_REST_S)

    def begin(self, error: SmarthostError) -> None:
        """Rest: the smarthost could not be used."""
        wait_s = self.next_s
        self._failures += 1
        self._until_s = self._clock.boottime_s() + wait_s
        logger.warning(
            "smarthost_unusable",
            error=str(error),
            hint=error.hint,
            retry_after_s=wait_s,
        )

    def end(self) -> None:
        """Begin anew with the shortest rest: the smarthost could be used."""
        self._failures = 0


# ---------------------------------------------------------------- the token


class TokenSource:
    """Fetches the token for XOAUTH2, and keeps it for as long as it is valid."""

    def __init__(self, settings: NoticesSettings, clock: Clock) -> None:
        """Keep the settings; nothing is fetched yet."""
        self._settings = settings
        self._clock = clock
        self._token = ""
        self._valid_until_s = 0.0

    def forget(self) -> None:
        """Drop the token: the smarthost has refused it."""
        self._token = ""

    async def token(self) -> str:
        """Return a token.

        Raises:
            SmarthostError: None can be had now.
        """
        if not self._token or self._clock.boottime_s() >= self._valid_until_s:
            answer = await asyncio.to_thread(self._fetch)
            token, life_s = answer.get("access_token"), answer.get("expires_in", 0)
            if not isinstance(token, str) or not token.isprintable() or not token:
                raise SmarthostError(
                    "the token endpoint gave no token",
                    "check notices.tenant, notices.client_id and notices.scope",
                )
            known = isinstance(life_s, int | float) and life_s > 0
            wait_s = float(life_s) - _SOONER_S if known else 0.0
            self._token = token
            self._valid_until_s = self._clock.boottime_s() + max(
                wait_s, _SHORTEST_LIFE_S
            )
        return self._token

    def _fetch(self) -> dict[str, Any]:
        """Ask the endpoint; runs in a thread."""
        settings = self._settings
        form = {
            "grant_type": "client_credentials",
            "client_id": settings.client_id or "",
            "client_secret": (
                settings.client_secret.get_secret_value()
                if settings.client_secret
                else ""
            ),
            "scope": settings.scope,
        }
        request = urllib.request.Request(  # noqa: S310 - checked in the settings
            settings.token_endpoint,
            urllib.parse.urlencode(form).encode("ascii"),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        opener = urllib.request.build_opener(
            _NoRedirect, urllib.request.HTTPSHandler(context=_trust(settings))
        )
        try:
            with opener.open(request, timeout=settings.timeout_s) as answer:
                read = json.loads(answer.read(_MAX_ANSWER))
        except urllib.error.HTTPError as error:
            raise SmarthostError(
                f"the token endpoint answered {error.code}{_oauth_error(error)}",
                "check notices.tenant, notices.client_id and notices.client_secret",
            ) from error
        except (OSError, ValueError) as error:
            raise SmarthostError(
                f"no token: {_words(error)}", "check notices.token_url and the network"
            ) from error
        if not isinstance(read, dict):
            raise SmarthostError("the token endpoint gave no token", "")
        return read


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: the secret is for one host."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        """Return no further request, so that the 30x is an error."""


def _oauth_error(error: urllib.error.HTTPError) -> str:
    """Return the word of RFC 6749 section 5.2, if the answer has one."""
    with error, suppress(OSError, ValueError):
        word = json.loads(error.read(_MAX_ANSWER)).get("error")
        if isinstance(word, str) and word.isascii() and word.isprintable():
            return f" ({word[:80]})"
    return ""


# ---------------------------------------------------------------- the session


class Smarthost:
    """Sends notices through the smarthost of the settings."""

    def __init__(self, settings: NoticesSettings, clock: Clock) -> None:
        """Keep the settings; nothing is connected."""
        self._settings = settings
        self._clock = clock
        self._tokens = TokenSource(settings, clock)

    async def check(self) -> str:
        """Connect, log in, and leave; return what was reached, for people.

        Raises:
            SmarthostError: It cannot be used; names what helps.
        """
        async with self._session() as client:
            answer = await client.noop()
        settings = self._settings
        how = "XOAUTH2" if settings.with_token else "a password"
        if not settings.user:
            how = "a client certificate" if settings.client_certificate else "no login"
        return f"{settings.smarthost} answers {answer.code}, {settings.tls}, {how}"

    async def send(
        self,
        mails: Sequence[tuple[str, str, bytes]],
        *,
        not_after_boottime_s: float,
        senders: Mapping[str, str] = _NO_SENDERS,
    ) -> list[WriteOutcome]:
        """Send mails, each with its key and recipient, in one session.

        A mail whose turn comes after `not_after_boottime_s` is not sent: another
        process may have its lease by then.

        Args:
            mails: Keys, recipients and bytes.
            not_after_boottime_s: See above.
            senders: Envelope senders by key, where it is not that of the settings.

        Raises:
            SmarthostError: Nothing was sent.
        """
        outcomes: list[WriteOutcome] = []
        async with self._session() as client:
            for key, recipient, raw in mails:
                late = self._clock.boottime_s() > not_after_boottime_s
                if late or not client.is_connected:
                    outcomes.append(WriteOutcome(key, WriteState.NOT_SENT))
                    continue
                sender = senders.get(key, self._settings.envelope_from or "")
                outcomes.append(
                    await self._send_one(client, key, sender, recipient, raw)
                )
        return outcomes

    async def _send_one(
        self, client: aiosmtplib.SMTP, key: str, sender: str, recipient: str, raw: bytes
    ) -> WriteOutcome:
        """Send one mail; each of the three steps has its own meaning when it fails."""
        options = []
        if client.supports_extension("8bitmime"):
            options.append("BODY=8BITMIME")
        elif not raw.isascii():
            text = "the smarthost takes no mail of 8 bits (8BITMIME)"
            return WriteOutcome(key, WriteState.REFUSED, code="554", text=text)
        plain = recipient.isascii() and sender.isascii()
        if not plain:
            if not client.supports_extension("smtputf8"):
                text = "the smarthost takes no address like this (SMTPUTF8)"
                return WriteOutcome(key, WriteState.REFUSED, code="553", text=text)
            options.append("SMTPUTF8")
        encoding = "ascii" if plain else "utf-8"
        left = False
        try:
            await client.mail(sender, options=options, encoding=encoding)
            await client.rcpt(recipient, encoding=encoding)
            left = True
            answer = await client.data(raw)
        except ValueError as error:
            return WriteOutcome(key, WriteState.REFUSED, text=_words(error))
        except aiosmtplib.SMTPResponseException as error:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.rset()
            return _judged(key, error)
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            words = _words(error)
            if left:
                # It may have taken the mail: sent again, it has the same Message-ID.
                text = f"{NO_ANSWER}: {words}"
                return WriteOutcome(key, WriteState.UNKNOWN, text=text)
            return WriteOutcome(key, WriteState.RETRY, text=words)
        return WriteOutcome(key, WriteState.WRITTEN, id=answer.message[:100])

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Connect, encrypt, log in; leave at the end.

        Raises:
            SmarthostError: One of the steps failed.
        """
        settings = self._settings
        if settings.smarthost is None:
            raise SmarthostError("notices.smarthost is not set", "")
        client = aiosmtplib.SMTP(
            hostname=settings.smarthost.host,
            port=settings.smarthost.port,
            use_tls=settings.tls == "implicit",
            start_tls=settings.tls == "starttls",
            tls_context=None if settings.tls == "none" else _trust(settings, own=True),
            timeout=settings.timeout_s,
        )
        try:
            await client.connect()
            # Extensions are known only now; and a server that wants a certificate of
            # ours says so with the first answer after the handshake (TLS 1.3).
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            raise _not_reached(settings, error) from error
        try:
            await self._login(client)
            yield client
        finally:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()
            client.close()

    async def _login(self, client: aiosmtplib.SMTP) -> None:
        settings = self._settings
        if not settings.user:
            return
        try:
            if not settings.with_token:
                password = settings.password
                secret = password.get_secret_value() if password else ""
                await client.login(settings.user, secret)
                return
            try:
                await client.auth_xoauth2(settings.user, await self._tokens.token())
            except aiosmtplib.SMTPAuthenticationError:
                # It may have been revoked before its time: one fresh one is tried.
                self._tokens.forget()
                await client.auth_xoauth2(settings.user, await self._tokens.token())
        except aiosmtplib.SMTPAuthenticationError as error:
            self._tokens.forget()
            hint = (
                "check the mailbox and the app's right SMTP.SendAsApp"
                if settings.with_token
                else "check notices.user and notices.password"
            )
            text = f"the smarthost refuses the login: {_words(error)}"
            raise SmarthostError(text, hint) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            text = f"no login at the smarthost: {_words(error)}"
            raise SmarthostError(text, "check notices.tls and notices.user") from error


def _trust(settings: NoticesSettings, *, own: bool = False) -> ssl.SSLContext:
    """Return what is trusted, and with `own` our client certificate.

    Raises:
        SmarthostError: A file cannot be used.
    """
    try:
        ca = settings.ca_file
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if own and settings.client_certificate:
            key = settings.client_key
            context.load_cert_chain(
                settings.client_certificate, str(key) if key else None
            )
    except (OSError, ssl.SSLError) as error:
        raise SmarthostError(
            f"a certificate cannot be read: {_words(error)}",
            "check notices.ca_file, notices.client_certificate and notices.client_key",
        ) from error
    return context


def _not_reached(settings: NoticesSettings, error: Exception) -> SmarthostError:
    text = f"{settings.smarthost} cannot be used: {_words(error)}"
    certificate = isinstance(error.__cause__ or error, ssl.SSLError)
    if certificate or "certificate" in str(error).lower():
        return SmarthostError(
            text, "check notices.tls, notices.ca_file and the host name"
        )
    return SmarthostError(text, "check notices.smarthost, notices.tls and the network")


def _judged(key: str, error: aiosmtplib.SMTPResponseException) -> WriteOutcome:
    """Return what an answer of 4yz or 5yz about one mail means (RFC 5321 4.2.1)."""
    state = WriteState.REFUSED if error.code >= _PERMANENT else WriteState.RETRY
    text = " ".join(str(error.message).split())[:300]
    return WriteOutcome(key, state, code=str(error.code), text=text)


def _words(error: BaseException) -> str:
    """Return an error as one line; one without words has its name."""
    code = getattr(error, "code", None)
    text = " ".join(str(getattr(error, "message", "") or error).split())[:300]
    if isinstance(code, int):
        return f"{code} {text}"
    return text or type(error).__name__
