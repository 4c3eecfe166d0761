"""One call of a webhook: signed, bounded in time and size, and never to a stranger.

The signature is that of Standard Webhooks: HMAC-SHA256 over id, time and body, with
the bytes behind `whsec_` as key. A call that is sent again has the same id and a new
time. An address is looked up once, judged, and connected to as it was judged, so that a
name that leads elsewhere a moment later leads nowhere. Redirects are not followed: an
answer of 3xx is a failure.

Source: Standard Webhooks specification, "Signature scheme", "Deliverability and
reliability"; RFC 9110 sections 10.2.3 (Retry-After) and 15.5.11 (410 Gone).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from relay import __version__
from relay.config.alerts import KEY_PREFIX

if TYPE_CHECKING:
    from relay.config import AlertsSettings

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_MOST_READ: Final = 16_384
_MOST_KEPT: Final = 1000
_LONGEST_WAIT_S: Final = 86_400.0
_OK: Final = range(200, 300)
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        taken: The receiver has it (2xx).
        final: Another try cannot help: the address is private, or 410 Gone.
        status: The status of the answer; None: there was none.
        response: The beginning of the answer.
        error: What went wrong, for people; empty if it was taken.
        wait_s: How long the receiver asks to wait.
    """

    taken: bool = False
    final: bool = False
    status: int | None = None
    response: str = ""
    error: str = ""
    wait_s: float | None = None


class Forbidden(Exception):  # noqa: N818 - a verdict
    """The webhook's address may not be called."""


def signature(secret: str, key: str, at_s: int, body: str) -> str:
    """Return the header webhook-signature for a body that is sent at a time."""
    raw = base64.b64decode(secret.removeprefix(KEY_PREFIX))
    signed = f"{key}.{at_s}.{body}".encode()
    digest = hmac.new(raw, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def call(settings: AlertsSettings, key: str, body: str, at_s: int) -> Answer:
    """Make one call; blocks for `alerts.webhook_timeout_s` at most.

    Args:
        settings: The section `alerts`, with a webhook.
        key: The id of the call.
        body: JSON.
        at_s: The time, in seconds since 1970.
    """
    if settings.webhook_url is None or settings.webhook_secret is None:
        return Answer(final=True, error="alerts.webhook_url is not set any more")
    secret = settings.webhook_secret.get_secret_value().strip()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"relay-to-salesforce/{__version__}",
        "webhook-id": key,
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature(secret, key, at_s, body),
    }
    try:
        return _post(settings, settings.webhook_url, body.encode(), headers)
    except Forbidden as error:
        return Answer(final=True, error=str(error))
    except TimeoutError:
        return Answer(error=f"no answer within {settings.webhook_timeout_s:g} s")
    except (OSError, http.client.HTTPException) as error:
        return Answer(error=f"{type(error).__name__}: {error}"[:_MOST_KEPT])


def _post(
    settings: AlertsSettings, url: str, body: bytes, headers: dict[str, str]
) -> Answer:
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    deadline_s = time.monotonic() + settings.webhook_timeout_s
    connected = _connect(host, port, settings, deadline_s)
    # Each read has its time, and a peer may send a byte before each ends: the timer
    # ends the whole call.
    late = threading.Event()

    def stop() -> None:
        late.set()
        with_socket(connected)

    timer = threading.Timer(max(0.0, deadline_s - time.monotonic()), stop)
    timer.daemon = True
    timer.start()
    try:
        connected.settimeout(max(0.001, deadline_s - time.monotonic()))
        line = (
            _tls(settings).wrap_socket(connected, server_hostname=host)
            if (secure)
            else connected
        )
        connection = http.client.HTTPConnection(host, port)
        connection.sock = line
        path = parts.path or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        said = answer.read(_MOST_READ).decode("utf-8", "replace")
        return _judged(answer.status, said, answer.headers.get("Retry-After", ""))
    except (OSError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        connected.close()


def with_socket(connected: socket.socket) -> None:
    """End a connection so that whoever reads from it wakes up."""
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It has ended by itself.


def _tls(settings: AlertsSettings) -> ssl.SSLContext:
    file = settings.webhook_ca_file
    return ssl.create_default_context(cafile=str(file) if file else None)


def _connect(
    host: str, port: int, settings: AlertsSettings, deadline_s: float
) -> socket.socket:
    """Connect to one of the host's addresses, if all of them may be called.

    Raises:
        Forbidden: One is not public.
        OSError: None answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not settings.webhook_allow_private:
        for address in addresses:
            if not is_public(address):
                text = (
                    f"alerts.webhook_url leads to {address}, which is not a public "
                    "address; alerts.webhook_allow_private lets it"
                )
                raise Forbidden(text)
    last: OSError = OSError(f"{host} has no address")
    for address in addresses:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        try:
            return socket.create_connection((address, port), timeout=left_s)
        except OSError as error:
            last = error
    raise last


def is_public(address: str) -> bool:
    """Say whether an address is one of the public Internet, not of a network of ours.

    An IPv4 address within an IPv6 one is judged itself.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _judged(status: int, said: str, retry_after: str) -> Answer:
    kept = "".join(c if c.isprintable() else " " for c in said)[:_MOST_KEPT].strip()
    if status in _OK:
        return Answer(taken=True, status=status, response=kept)
    wait_s = float(retry_after) if retry_after.isdecimal() else None
    return Answer(
        final=status == _GONE,
        status=status,
        response=kept,
        error=f"answered {status}",
        wait_s=None if wait_s is None else min(wait_s, _LONGEST_WAIT_S),
    )
