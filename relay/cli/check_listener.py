"""Proves each listener from outside: a real session, as a stranger would have it.

`relay check` is another process than the relay, so what answers here answers senders
too, as far as this machine's own firewall goes. The session asks for an address that
does not exist and sends no mail. The refusal stands in the journal like any
other; its sender, `relay-check@` the relay's own name, says whose it is.
"""

from __future__ import annotations

import asyncio
import secrets
import smtplib
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from relay.cli.check_ports import ANYWHERE, any_certificate
from relay.cli.finding import Finding, fail, ok, warn
from relay.cli.output import clean
from relay.config import HostPort

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.config import ListenerSettings, Settings, SMTPSettings

TIMEOUT_S: Final = 4.0
_UNKNOWN: Final = 550
_NEEDS_LOGIN: Final = 530
_FINE: Final = 250


async def sessions(loaded: Settings, failed: Collection[str] = ()) -> list[Finding]:
    """Hold a session with each listener that answers.

    `failed` names those, as `str(place)`, that are known not to be this relay.
    """
    found = await asyncio.gather(
        *(
            asyncio.to_thread(_session, listener, loaded.smtp)
            for listener in loaded.smtp.all_listeners()
            if str(listener.address) not in failed
        )
    )
    return [finding for finding in found if finding is not None]


def _session(listener: ListenerSettings, smtp: SMTPSettings) -> Finding | None:
    """Return what came of a session; None where nobody listens."""
    check = f"session {listener.address}"
    if isinstance(listener.address, HostPort) and not listener.address.port:
        return None
    if listener.proxy_from or listener.require_client_certificate:
        return ok(check, "not tried: it serves a load balancer or known clients only")
    try:
        return _talk(check, listener, smtp)
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    except (OSError, smtplib.SMTPException) as error:
        text = f"the session broke: {clean(str(error) or type(error).__name__)}"
        return fail(check, text, "see the log of relay serve at this time")


def _talk(check: str, listener: ListenerSettings, smtp: SMTPSettings) -> Finding:
    client = _connect(listener, TIMEOUT_S + smtp.greeting_wait_s)
    try:
        client.ehlo()
        secured = isinstance(client, smtplib.SMTP_SSL)
        wanted = smtp.tls_certificate is not None and listener.tls == "starttls"
        if wanted and isinstance(listener.address, HostPort):
            if not client.has_extn("starttls"):
                text = "STARTTLS is not offered, though a certificate is set"
                return fail(check, text, "restart the relay: kill -HUP, or stop, serve")
            client.starttls(context=any_certificate())
            client.ehlo()
            secured = True
        version = (
            client.sock.version() if isinstance(client.sock, ssl.SSLSocket) else ""
        )
        how = f"{version}, " if secured else ""
        if listener.protocol == "submission":
            return _submission(check, client, smtp, how)
        return _stranger(check, client, smtp, how)
    finally:
        with suppress(OSError, smtplib.SMTPException):
            client.quit()
        client.close()


def _stranger(
    check: str, client: smtplib.SMTP, smtp: SMTPSettings, how: str
) -> Finding:
    """Ask for a relay address that nobody has."""
    if not smtp.domains:
        return warn(check, f"{how}answers", "set smtp.domains")
    rcpt = f"check-{secrets.token_hex(8)}@{smtp.domains[0]}"
    code, reply = client.mail(_sender(smtp))
    if code == _FINE:
        code, reply = client.rcpt(rcpt)
    said = f"{code} {clean(reply.decode('utf-8', 'replace'))}"
    if code == _UNKNOWN:
        return ok(check, f"{how}an unknown address gets {said} (in the journal, too)")
    if code in {_FINE, 251, 252}:  # RFC 5321 section 4.2.2
        mend = "it is no relay, or not this one: see who listens there"
        return fail(check, f"{how}an unknown address is taken: {said}", mend)
    mend = "550 was expected; see relay log --refused"
    return warn(check, f"{how}an unknown address gets {said}", mend)


def _submission(
    check: str, client: smtplib.SMTP, smtp: SMTPSettings, how: str
) -> Finding:
    code, reply = client.mail(_sender(smtp))
    said = f"{code} {clean(reply.decode('utf-8', 'replace'))}"
    if code == _NEEDS_LOGIN:
        return ok(check, f"{how}without a login: {said}")
    mend = "530 was expected: nobody may submit without a login"
    return fail(check, f"{how}without a login: {said}", mend)


def _sender(smtp: SMTPSettings) -> str:
    """Return the sender that tells these sessions from an attack in the journal."""
    return f"relay-check@{smtp.hostname}"


def _connect(listener: ListenerSettings, timeout_s: float) -> smtplib.SMTP:
    place = listener.address
    if not isinstance(place, HostPort):
        return smtplib.LMTP(str(place.path), timeout=timeout_s)
    host = ANYWHERE.get(place.host, place.host)
    if listener.tls == "implicit":
        return smtplib.SMTP_SSL(
            host, place.port, timeout=timeout_s, context=any_certificate()
        )
    if listener.protocol == "lmtp":
        return smtplib.LMTP(host, place.port, timeout=timeout_s)
    return smtplib.SMTP(host, place.port, timeout=timeout_s)
