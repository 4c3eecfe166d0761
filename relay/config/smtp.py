"""The settings of the ways in: listeners, TLS, limits."""

from __future__ import annotations

import socket
import ssl
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from relay.config.values import (
    MIB,
    Domain,
    Flag,
    HostName,
    HostPort,
    Listener,
    ListenerPlace,
    Network,
    OptionalFile,
    Section,
    SocketMode,
    UnixPath,
    is_domain,
    is_loopback,
    mistake,
)

# Each with the bounds between which it can be meant: beyond them lies a slip.
_Size = Annotated[int, Field(strict=True, ge=65_536, le=2 * 1024 * MIB - 1)]
"""From what every server must take (RFC 5321 section 4.5.3.1.7) to 31 bits of SIZE."""
_HeaderSize = Annotated[int, Field(strict=True, ge=4096, le=16 * MIB)]
_Fields = Annotated[int, Field(strict=True, ge=1, le=9999)]
_Recipients = Annotated[int, Field(strict=True, ge=1, le=100_000)]
_Sessions = Annotated[int, Field(strict=True, ge=1, le=100_000)]
_Rate = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
_Commands = Annotated[int, Field(strict=True, ge=10, le=1_000_000)]
_Errors = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
_Hops = Annotated[int, Field(strict=True, ge=1, le=1000)]
_Pace = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
_Pause = Annotated[float, Field(strict=True, ge=0, le=240, allow_inf_nan=False)]
"""Clients wait five minutes for the greeting (RFC 5321 section 4.5.3.2.1)."""
_Patience = Annotated[float, Field(strict=True, ge=1, le=86_400, allow_inf_nan=False)]
_Drain = Annotated[float, Field(strict=True, ge=0, le=3600, allow_inf_nan=False)]


def _machine_name() -> str:
    """Return the machine's own name, where it can stand in an SMTP greeting."""
    name = socket.gethostname().lower()
    return name if is_domain(name) else "localhost"


class ListenerSettings(Section):
    """One more way in, a table of its own for each."""

    address: ListenerPlace = Field(
        description="Where to listen: host:port, or unix:/path for a Unix socket.",
    )
    protocol: Literal["smtp", "lmtp", "submission"] = Field(
        default="smtp",
        description="smtp; lmtp (one reply for each recipient, for a local mail "
        "server); or submission (users log in with an app password).",
    )
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        description="starttls (where smtp.tls_certificate is set), implicit (TLS from "
        "the first byte), or none.",
    )
    require_tls: Flag = Field(
        default=False,
        description="Take mail on this listener only under TLS: true or false.",
    )
    proxy_from: tuple[Network, ...] = Field(
        default=(),
        description="Networks of load balancers that begin each connection with a "
        "PROXY protocol header, v1 or v2.",
    )
    client_ca: OptionalFile = Field(
        default=None,
        description="PEM file with the authorities whose client certificates mark a "
        "trusted relay; it needs require_client_certificate. Empty: the relay asks "
        "for no certificate.",
    )
    require_client_certificate: Flag = Field(
        default=False,
        description="Take mail only from peers that present such a certificate: true "
        "or false.",
    )
    socket_mode: SocketMode = Field(
        default="660", description="Rights of a Unix socket, in octal."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.address, UnixPath):
            self._fits_a_unix_socket()
        if self.tls == "none" and self.require_tls:
            raise mistake(
                'cannot be met with tls = "none"',
                'write tls = "starttls" or "implicit"',
                key="require_tls",
            )
        if self.tls == "none" and self.client_ca is not None:
            raise mistake(
                'cannot be used with tls = "none"',
                'write tls = "starttls" or "implicit"',
                key="client_ca",
            )
        if self.require_client_certificate and self.client_ca is None:
            raise mistake(
                "needs the authorities",
                "set client_ca too",
                key="require_client_certificate",
            )
        if self.client_ca is not None and not self.require_client_certificate:
            # TLS has no way to ask for a certificate and let others pass: many mail
            # servers show theirs to everybody, and would never get through.
            raise mistake(
                "would shut out everybody with a certificate of another authority",
                "set require_client_certificate = true, on a listener for trusted "
                "relays alone",
                key="client_ca",
            )
        return self

    def _fits_a_unix_socket(self) -> None:
        if self.tls == "implicit" or self.require_tls or self.client_ca is not None:
            raise mistake(
                "is a Unix socket, which has no TLS",
                "leave tls, require_tls and client_ca out, or listen on host:port",
                key="address",
            )
        if self.proxy_from:
            raise mistake(
                "is for listeners with host:port", "leave it out", key="proxy_from"
            )

    @property
    def needs_certificate(self) -> bool:
        """Say whether this listener is of no use without `smtp.tls_certificate`."""
        if self.tls == "implicit" or self.require_tls or self.client_ca is not None:
            return True
        # A password is only taken under TLS, or on this machine.
        return (
            self.protocol == "submission"
            and isinstance(self.address, HostPort)
            and not is_loopback(self.address.host)
        )


class SMTPSettings(Section):
    """The intake: where mail arrives, and its limits."""

    listen: tuple[Listener, ...] = Field(
        default=(HostPort("0.0.0.0", 25),),  # noqa: S104 - a mail server faces out
        description="Addresses to listen on, a list of host:port; port 0: any free "
        "port. Other listeners are tables at the end of this section.",
    )
    hostname: HostName = Field(
        default_factory=_machine_name,
        description="Name in the greeting; empty: the name of the machine.",
    )
    domains: tuple[Domain, ...] = Field(
        default=(),
        description="Domains of relay addresses, the part after the @; the relay "
        "needs at least one to take mail.",
    )
    max_message_bytes: _Size = Field(
        default=35 * MIB,
        description="Largest mail that the relay takes, in bytes, at least 65536; "
        "announced as SIZE.",
    )
    postmaster_max_bytes: _Size = Field(
        default=MIB,
        description="Largest mail for postmaster, which anybody may send, in bytes, "
        "at least 65536.",
    )
    tls_certificate: OptionalFile = Field(
        default=None,
        description="PEM file with the certificate chain for STARTTLS; empty: no TLS.",
    )
    tls_key: OptionalFile = Field(
        default=None,
        description="PEM file with the private key of the certificate, unencrypted.",
    )
    require_tls: Flag = Field(
        default=False, description="Take mail only after STARTTLS: true or false."
    )
    max_recipients: _Recipients = Field(
        default=100, description="Recipients of one mail, a count."
    )
    max_connections: _Sessions = Field(
        default=2000,
        description="Sessions at a time, a count; the last tenth is kept for trusted "
        "peers.",
    )
    max_connections_per_peer: _Sessions = Field(
        default=50,
        description="Sessions at a time from one IP address (IPv6: from one /64), a "
        "count.",
    )
    max_connections_per_network: _Sessions = Field(
        default=200,
        description="Sessions at a time from one IPv4 /24 or IPv6 /48, a count.",
    )
    max_mails_per_minute_per_peer: _Rate = Field(
        default=300,
        description="Mails from one IP address (IPv6: one /64) in a minute, a count; "
        "more mail waits in the sender's queue.",
    )
    max_mails_per_minute_per_user: _Rate = Field(
        default=120,
        description="Mails for one user in a minute, a count; more mail waits in the "
        "sender's queue.",
    )
    trusted_peers: tuple[Network, ...] = Field(
        default=(),
        description="Networks of mail servers that limit strangers themselves, such "
        "as your own or your provider's, a list. Like this machine and peers with a "
        "verified client certificate, they are exempt from the limits above per peer, "
        "network and user.",
    )
    max_failed_logins_per_minute_per_peer: _Rate = Field(
        default=10,
        description="Failed logins from one IP address (IPv6: one /64) in a minute, a "
        "count; then the relay refuses logins from there for a while.",
    )
    max_unknown_recipients: _Errors = Field(
        default=10,
        description="Unknown recipients of one IP address (IPv6: one /64) after which "
        "the relay closes the session, a count; it forgets one a minute. From the "
        "fourth on, each is answered later than the one before, up to 10 s.",
    )
    max_commands: _Commands = Field(
        default=2000,
        description="Commands since the start of a session or its last accepted mail, "
        "a count; then the relay closes the session.",
    )
    greeting_wait_s: _Pause = Field(
        default=0,
        description="Wait before the greeting, in seconds; a peer that sends "
        "something before it is refused. 0: no wait.",
    )
    timeout_s: _Patience = Field(
        default=300,
        description="Wait for the next command of a session, in seconds.",
    )
    data_timeout_s: _Patience = Field(
        default=600,
        description="Time in which one whole mail must arrive after DATA, in seconds.",
    )
    transaction_timeout_s: _Patience = Field(
        default=1800,
        description="Time from the greeting, or from the end of one mail, to the end "
        "of the next, in seconds.",
    )
    min_data_rate: _Pace = Field(
        default=500,
        description="Slowest rate of a mail after its first timeout_s, in bytes a "
        "second; 0: no limit.",
    )
    max_header_bytes: _HeaderSize = Field(
        default=256 * 1024,
        description="Largest header of a mail, in bytes, at least 4096.",
    )
    max_header_fields: _Fields = Field(
        default=2000, description="Fields in the header of a mail, a count up to 9999."
    )
    max_received: _Hops = Field(
        default=50,
        description="Number of Received fields from which a mail counts as looping.",
    )
    bare_newlines: Literal["keep", "refuse"] = Field(
        default="keep",
        description="Mail with a CR or LF that is not part of a CR LF: keep "
        "(unchanged, noted in the trace) or refuse.",
    )
    max_errors: _Errors = Field(
        default=20,
        description="Refused commands after which the relay closes a session, a count.",
    )
    drain_s: _Drain = Field(
        default=30,
        description="Time in which open sessions may finish when the relay stops, in "
        "seconds.",
    )

    listeners: tuple[ListenerSettings, ...] = Field(
        default=(),
        description="More listeners: LMTP, submission, implicit TLS, behind a load "
        "balancer; one table for each.",
    )

    def all_listeners(self) -> tuple[ListenerSettings, ...]:
        """Return every listener: those of `listen` as tables, then `listeners`."""
        plain = (
            ListenerSettings(address=place, require_tls=self.require_tls)
            for place in self.listen
        )
        return (*plain, *self.listeners)

    @model_validator(mode="before")
    @classmethod
    def _no_hostname_is_the_machine(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("hostname") == "":
            return {key: value for key, value in data.items() if key != "hostname"}
        return data

    @model_validator(mode="after")
    def _listens_once(self) -> Self:
        if not (self.listen or self.listeners):
            raise mistake("is an empty list", "name one at least", key="listen")
        fixed = [place for place in self.listen if place.port]
        if len(set(fixed)) < len(fixed):
            raise mistake("names a listener twice", "keep one", key="listen")
        known: set[HostPort | UnixPath] = set(fixed)
        for listener in self.listeners:
            place = listener.address
            if place in known:
                raise mistake(
                    f"has {place}, where another listener is",
                    "give each listener its own port or path",
                    key="listeners",
                )
            if isinstance(place, UnixPath) or place.port:
                known.add(place)
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        """Refuse half a configuration, and a certificate that does not load."""
        if self.tls_certificate is None and self.tls_key is None:
            if self.require_tls:
                raise mistake(
                    "needs a certificate",
                    "set smtp.tls_certificate and smtp.tls_key, or write false",
                    key="require_tls",
                )
            for listener in self.listeners:
                if listener.needs_certificate:
                    raise mistake(
                        f"has {listener.address}, which needs a certificate",
                        "set smtp.tls_certificate and smtp.tls_key",
                        key="listeners",
                    )
            return self
        if self.tls_key is None:
            raise mistake(
                "needs its key", "set smtp.tls_key too", key="tls_certificate"
            )
        if self.tls_certificate is None:
            raise mistake(
                "needs its certificate", "set smtp.tls_certificate too", key="tls_key"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # The empty password keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(self.tls_certificate, self.tls_key, password="")
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise mistake(
                "does not load together with smtp.tls_key",
                "give a PEM chain and its own unencrypted key",
                key="tls_certificate",
            ) from error
        return self
