"""The one table of settings: every key with its type, default, unit and sentence.

`config.example.toml` is generated from here, and a test compares the two. The models
are frozen; a relative path is taken from the folder of the file that names it, else
from the working directory (`sources`). Building a model by hand raises pydantic's
`ValidationError`; `load` turns that into `ConfigError`.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay.config.file_types import DENIED_FILES, FileType
from relay.config.records import ExtraFields, KeyField, OwnerId, RecordTypes
from relay.config.values import (
    Count,
    CountOrZero,
    Domain,
    Flag,
    HostName,
    HostPort,
    Listener,
    ListenerPlace,
    Network,
    Number,
    OptionalFile,
    OptionalListener,
    OptionalOrigin,
    OptionalPath,
    OptionalProxy,
    OptionalSecret,
    OptionalText,
    Origin,
    Seconds,
    Share,
    SocketMode,
    StoreURL,
    UnixPath,
    is_domain,
    is_loopback,
    is_rsa_key,
    mistake,
)
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

MIB = 1024 * 1024


def _machine_name() -> str:
    """Return the machine's own name, where it can stand in an SMTP greeting."""
    name = socket.gethostname().lower()
    return name if is_domain(name) else "localhost"


class _Section(BaseModel):
    """One table of the file; unknown keys are mistakes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False
    )


class ListenerSettings(_Section):
    """One more way in, a table of its own for each."""

    address: ListenerPlace = Field(
        description="Where to listen: host:port, or unix:/path for a Unix socket.",
    )
    protocol: Literal["smtp", "lmtp", "submission"] = Field(
        default="smtp",
        description="smtp; lmtp (a reply for each recipient, for a mail server on this "
        "side); or submission (people log in with an app password).",
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
        description="PEM file with the authorities whose client certificates show a "
        "trusted relay; empty: none is asked for.",
    )
    require_client_certificate: Flag = Field(
        default=False,
        description="Take mail only from those who show one: true or false.",
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


class SMTPSettings(_Section):
    """The intake: where mail arrives, and how much of it."""

    listen: tuple[Listener, ...] = Field(
        default=(HostPort("0.0.0.0", 25),),  # noqa: S104 - a mail server faces out
        description="Addresses to listen on, a list of host:port; port 0 is any free. "
        "Other ways in are tables, at the end of this section.",
    )
    hostname: HostName = Field(
        default_factory=_machine_name,
        description="Name in the greeting; empty: the name of the machine.",
    )
    domains: tuple[Domain, ...] = Field(
        default=(),
        description="Domains of relay addresses, the part after the @; one at least "
        "is needed to take mail.",
    )
    max_message_bytes: Count = Field(
        default=35 * MIB,
        description="Largest mail taken, in bytes; announced as SIZE.",
    )
    postmaster_max_bytes: Count = Field(
        default=MIB,
        description="Largest mail for postmaster, to whom anybody may write, in bytes.",
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
    max_recipients: Count = Field(
        default=100, description="Recipients of one mail, a count."
    )
    max_connections: Count = Field(
        default=2000, description="Sessions at a time, a count."
    )
    max_connections_per_peer: Count = Field(
        default=1200,
        description="Sessions at a time from one IP address (IPv6: from one /64), a "
        "count.",
    )
    max_mails_per_minute_per_peer: Count = Field(
        default=600_000,
        description="Mails from one IP address (IPv6: one /64) in a minute, a count; "
        "further ones wait in their own queue.",
    )
    max_mails_per_minute_per_user: Count = Field(
        default=600_000,
        description="Mails for one user in a minute, a count; further ones wait in "
        "their own queue.",
    )
    max_failed_logins_per_minute_per_peer: Count = Field(
        default=10,
        description="Failed logins from one IP address (IPv6: one /64) in a minute, a "
        "count; then nobody there may log in for a while.",
    )
    max_commands: Count = Field(
        default=2000,
        description="Commands of a session for which no mail was taken, a count; then "
        "it is closed.",
    )
    greeting_wait_s: Number = Field(
        default=0,
        description="Wait before the greeting, in seconds; who talks in it is turned "
        "away. 0: none.",
    )
    timeout_s: Seconds = Field(
        default=300,
        description="Wait for the next command of a session, in seconds.",
    )
    data_timeout_s: Seconds = Field(
        default=600,
        description="Time for one whole mail to arrive after DATA, in seconds.",
    )
    transaction_timeout_s: Seconds = Field(
        default=1800,
        description="Time from the greeting, or from one mail, to the end of the next, "
        "in seconds.",
    )
    min_data_rate: CountOrZero = Field(
        default=500,
        description="Slowest pace of a mail after its first timeout_s, in bytes a "
        "second; 0: none.",
    )
    max_header_bytes: Count = Field(
        default=256 * 1024, description="Largest header of a mail, in bytes."
    )
    max_header_fields: Annotated[int, Field(strict=True, ge=1, le=9999)] = Field(
        default=2000, description="Fields in the header of a mail, a count up to 9999."
    )
    max_received: Count = Field(
        default=50,
        description="Received lines from which a mail counts as looping, a count.",
    )
    bare_newlines: Literal["keep", "refuse"] = Field(
        default="keep",
        description="Mail with a CR or LF that is not part of a CR LF: keep "
        "(unchanged, noted in the trace) or refuse.",
    )
    max_errors: Count = Field(
        default=20,
        description="Refused commands after which a session is closed, a count.",
    )
    drain_s: Number = Field(
        default=30,
        description="Time that open sessions get to finish when the relay stops, in "
        "seconds.",
    )

    listeners: tuple[ListenerSettings, ...] = Field(
        default=(),
        description="Further listeners: LMTP, submission, implicit TLS, behind a load "
        "balancer; as many tables as wanted.",
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


class StoreSettings(_Section):
    """The store: the database, and where large mail lies."""

    url: StoreURL = Field(
        default="sqlite:///relay.db",
        repr=False,
        description="Database: sqlite:///FILE (four slashes for an absolute path) or "
        "postgresql://USER:PASSWORD@HOST/DATABASE.",
    )
    spool: OptionalPath = Field(
        default=None,
        description="Folder for large mail; empty: FILE.spool beside the SQLite file, "
        "a temporary folder with PostgreSQL.",
    )
    min_free_bytes: CountOrZero = Field(
        default=256 * MIB,
        description="Free disk space below which no mail is taken (452), in bytes.",
    )
    postmaster_keep: Count = Field(
        default=1000,
        description="Newest messages for postmaster that are kept, a count; older ones "
        "are removed.",
    )
    busy_timeout_s: Number = Field(
        default=5.0,
        description="Wait for a locked SQLite database, in seconds.",
    )
    inline_bytes: CountOrZero = Field(
        default=256 * 1024,
        description="Mail up to this size is kept in the database row itself, in "
        "bytes.",
    )


class SalesforceSettings(_Section):
    """The org that this relay serves. Client credentials, or a JWT with a key file."""

    instance_url: OptionalOrigin = Field(
        default=None,
        description="Address of the org, https://…my.salesforce.com; http:// for "
        "loopback hosts only.",
    )
    login_url: OptionalOrigin = Field(
        default=None,
        description="Host that gives tokens at /services/oauth2/token; empty: "
        "instance_url.",
    )
    audience: Origin = Field(
        default="https://login.salesforce.com",
        description="Audience of the JWT; https://test.salesforce.com for sandboxes.",
    )
    proxy: OptionalProxy = Field(
        default=None,
        repr=False,
        description="HTTP proxy on the way to Salesforce, http://host:port; empty: "
        "none.",
    )
    client_id: OptionalText = Field(
        default=None, description="Consumer key of the External Client App."
    )
    client_secret: OptionalSecret = Field(
        default=None,
        description="Consumer secret, for the client credentials flow.",
    )
    username: OptionalText = Field(
        default=None,
        description="User name of the integration user, for the JWT bearer flow.",
    )
    private_key_file: OptionalFile = Field(
        default=None,
        description="PEM file with the private key, for the JWT bearer flow.",
    )
    api_version: Annotated[str, Field(pattern=r"^[1-9][0-9]{1,2}[.]0$")] = Field(
        default="66.0", description="Version of the REST API, as text."
    )
    write_as: Literal["auto", "email_message", "task", "nothing"] = Field(
        default="auto",
        description="What a mail becomes: email_message (needs Enhanced Email), task, "
        "or auto: the first mail is written as EmailMessage and read back; where it "
        "made no activity, it is taken back and Tasks are written from then on. "
        "nothing: all is planned and shown (relay show), nothing written.",
    )
    timeout_s: Seconds = Field(
        default=30, description="Wait for an answer of Salesforce, in seconds."
    )
    settle_s: Number = Field(
        default=600,
        description="A record was sent and no answer came: it is looked for, and sent "
        "again only when it is still absent this long after timeout_s, in seconds. "
        "Salesforce may work on a call for ten minutes; less risks doubles.",
    )
    describe_ttl_s: Seconds = Field(
        default=3600,
        description="Time for which the org's objects and fields are remembered, in "
        "seconds.",
    )
    workers: Count = Field(
        default=4, description="Calls to Salesforce at a time, a count of threads."
    )
    cache_s: Number = Field(
        default=5,
        description="Time for which records found for an address are remembered, in "
        "seconds; 0: ask each time.",
    )
    cache_negative_s: Number = Field(
        default=2,
        description="Time for which it is remembered that an address has no record, in "
        "seconds; 0: ask each time.",
    )
    daily_share: Share = Field(
        default=1.0,
        description="Share of the org's API calls in 24 hours that the relay may use "
        "itself, above 0 up to 1.",
    )
    slow_at: Share = Field(
        default=0.8,
        description="Share of the calls, the org's or the relay's own, from which the "
        "relay writes less often in larger batches, above 0 up to 1.",
    )
    pause_at: Share = Field(
        default=0.95,
        description="Share of the calls from which the relay only takes mail and "
        "writes nothing until calls are free again, above 0 up to 1.",
    )
    pause_max_s: Seconds = Field(
        default=900,
        description="Longest rest of an org that cannot be used before one mail tries "
        "it again, in seconds.",
    )
    max_addresses_per_mail: Count = Field(
        default=50,
        description="Addresses of one mail that are looked up, a count; further ones "
        "are left out, visibly.",
    )
    key_field: KeyField = Field(
        default="Relay_Key__c",
        description="Unique custom field on Activity and EmailMessage for the relay's "
        "key; used where the org has it (relay setup salesforce). Empty: never.",
    )
    owner_after_s: Number = Field(
        default=30,
        description="Wait before the Tasks that Salesforce makes of EmailMessages are "
        "given to their reps, in seconds; they are changed together.",
    )
    fallback_owner: OwnerId = Field(
        default="",
        description="Id of the user or queue that gets a Task whose rep is inactive in "
        "Salesforce; empty: the mail becomes dead, with that reason.",
    )
    files_attach: Flag = Field(
        default=True,
        description="Attachments become Files on the records of a mail: true or false.",
    )
    files_max_bytes: Count = Field(
        default=25 * MIB,
        description="Largest file, decoded, in bytes; larger ones stay in the relay.",
    )
    files_max_count: Count = Field(
        default=50, description="Files of one mail, a count; further ones are left out."
    )
    files_allow: tuple[FileType, ...] = Field(
        default=(),
        description="Media types (application/pdf, image/*) and endings (.pdf) that "
        "become Files; empty: all.",
    )
    files_deny: tuple[FileType, ...] = Field(
        default=DENIED_FILES,
        description="Media types and endings that never do; wins over files_allow.",
    )
    files_inline_min_bytes: CountOrZero = Field(
        default=51_200,
        description="Images inside the text below this size (logos) are left out, in "
        "bytes.",
    )
    files_original_eml: Flag = Field(
        default=False,
        description="The whole mail becomes a File too, relay addresses in its header "
        "masked: true or false.",
    )
    files_hold_s: Seconds = Field(
        default=900,
        description="Wait before files are tried again in an org whose storage is "
        "full, in seconds.",
    )
    look_before_write: Flag = Field(
        default=False,
        description="Look first whether another tool has logged a mail, by its "
        "Message-ID: true or false. Costs about a call for 200 mails.",
    )
    record_type: RecordTypes = Field(
        default={},
        description="Record type by object, as developer names: { Task = "
        '"Sales_Email" }.',
    )
    fields: ExtraFields = Field(
        default={},
        description="Further fields by object, { Task = { Priority = "
        '"Low" } }; or, instead of this line, a table [salesforce.fields.Task] at the '
        "end. Placeholders such as {subject} are in docs/salesforce.md.",
    )

    @model_validator(mode="after")
    def _slow_before_pause(self) -> Self:
        if self.slow_at > self.pause_at:
            raise mistake(
                "is above salesforce.pause_at",
                "write a share of at most salesforce.pause_at",
                key="slow_at",
            )
        return self

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if self.instance_url is not None and (lack := self._lacks()):
            key, problem, mend = lack
            raise mistake(problem, mend, key=key)
        return self

    @model_validator(mode="after")
    def _key_is_one(self) -> Self:
        """Refuse a file that cannot sign now, rather than at the first login."""
        if self.private_key_file is not None and not is_rsa_key(self.private_key_file):
            raise mistake(
                "is no RSA private key that can be read",
                "give the unencrypted PEM file whose certificate the app has",
                key="private_key_file",
            )
        return self

    def _lacks(self) -> tuple[str, str, str] | None:
        """Return key, problem and mend of what keeps a login from being tried."""
        if self.instance_url is None:
            return (
                "instance_url",
                "is needed to reach Salesforce",
                'write the org\'s address, such as "https://example.my.salesforce.com"',
            )
        if self.client_id is None:
            return (
                "client_id",
                "is needed to log in",
                "write the consumer key of the External Client App",
            )
        if self.client_secret is not None:
            if self.private_key_file is not None:
                return (
                    "private_key_file",
                    "stands beside salesforce.client_secret",
                    "keep the one whose flow the app allows",
                )
            return None
        if self.private_key_file is None:
            return (
                "client_secret",
                "is needed to log in",
                (
                    "set it or salesforce.client_secret_file (client credentials), or "
                    "salesforce.username and salesforce.private_key_file (JWT)"
                ),
            )
        if self.username is None:
            return (
                "username",
                "is needed beside salesforce.private_key_file",
                "write the user name of the integration user",
            )
        return None


class ServeSettings(_Section):
    """The processes of `relay serve`."""

    processes: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        default=1,
        description="Processes that take mail and share the ports, a count up to 64; "
        "more than one needs PostgreSQL. The worker has a process of its own.",
    )
    restart_max_s: Seconds = Field(
        default=10,
        description="Longest wait before a process that keeps ending is started "
        "again, in seconds.",
    )


class MatchSettings(_Section):
    """How records are chosen."""

    several: Literal["all", "oldest", "most_activity"] = Field(
        default="all",
        description="Where several Contacts or Leads have one address: all of them, "
        "the oldest, or the one with the most Tasks and Events (most_activity; costs "
        "two more queries).",
    )


class WorkerSettings(_Section):
    """The worker: batches, leases, and when to try again."""

    batch: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        default=1000, description="Messages claimed at a time, a count up to 1000."
    )
    batch_bytes: Count = Field(
        default=64 * MIB,
        description="Raw mail in one batch, in bytes; a larger mail is a batch of its "
        "own.",
    )
    lease_s: Seconds = Field(
        default=120,
        description="How long a claim holds unless renewed, in seconds; a crash of "
        "another host's relay is noticed after that.",
    )
    poll_s: Seconds = Field(
        default=1.0,
        description="Longest wait before the queue is looked at again, in seconds.",
    )
    retry_first_s: Number = Field(
        default=30, description="Wait after the first failure, in seconds; it doubles."
    )
    retry_max_s: Number = Field(
        default=3600, description="Longest wait between two attempts, in seconds."
    )
    retry_days: Seconds = Field(
        default=5,
        description="Age at which a message that keeps failing becomes dead, in days.",
    )
    threads: Count = Field(default=2, description="Threads that read mail, a count.")
    gather_ms: Number = Field(
        default=100,
        description="While mail keeps arriving, the worker waits up to this long for "
        "more of it, so that one call to Salesforce serves many, in milliseconds. A "
        "mail that comes alone never waits.",
    )


class WebSettings(_Section):
    """Mail over HTTP: POST /messages."""

    listen: OptionalListener = Field(
        default=None,
        description="Address of POST /messages, host:port, plain HTTP: loopback, or "
        "behind a proxy with TLS; empty: none.",
    )


class TelemetrySettings(_Section):
    """Log, metrics and health."""

    listen: OptionalListener = Field(
        default=None,
        description="Address of /metrics, /healthz and /readyz, host:port; empty: "
        "none.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console",
        description="Form of the log: console for people, json for machines.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least severe event logged: debug, info, warning or error.",
    )
    mask_addresses: Flag = Field(
        default=False,
        description="Shorten the e-mail addresses in the log: true or false.",
    )


class UserSettings(_Section):
    """The people who log."""

    rotation_grace_days: CountOrZero = Field(
        default=30,
        description="How long an old relay address works after a rotation, in days.",
    )


class Settings(BaseSettings):
    """Everything that is fixed for the life of the process."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True
    )

    smtp: SMTPSettings = Field(default_factory=SMTPSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    salesforce: SalesforceSettings = Field(default_factory=SalesforceSettings)
    match: MatchSettings = Field(default_factory=MatchSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    user: UserSettings = Field(default_factory=UserSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is given
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing by itself: `load` alone looks at file and environment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _store_takes_all_processes(self) -> Self:
        """SQLite has one writer at a time: a second intake would only wait for it."""
        if self.serve.processes > 1 and self.store.url.startswith("sqlite"):
            raise mistake(
                "needs PostgreSQL: SQLite has one writer at a time",
                "write 1, or set store.url to a PostgreSQL database",
                key="serve.processes",
            )
        return self

    @model_validator(mode="after")
    def _listeners_apart(self) -> Self:
        """Refuse one address for two listeners; the second could not start."""
        taken = {place: "smtp.listen" for place in self.smtp.listen if place.port}
        taken |= {
            one.address: "one of smtp.listeners"
            for one in self.smtp.listeners
            if isinstance(one.address, HostPort) and one.address.port
        }
        for name, place in (
            ("telemetry", self.telemetry.listen),
            ("web", self.web.listen),
        ):
            if place is None or not place.port:
                continue
            if place in taken:
                raise mistake(
                    f"is the same address as {taken[place]}",
                    "give each listener its own port",
                    key=f"{name}.listen",
                )
            taken[place] = f"{name}.listen"
        return self

    def require_salesforce(self) -> SalesforceSettings:
        """Return the Salesforce section, complete enough to try a login.

        Commands that never talk to Salesforce work without it.

        Raises:
            ConfigError: Something is missing; names the first key and the mend.
        """
        # Reading the section's own check keeps it in one place.
        if lack := self.salesforce._lacks():  # noqa: SLF001
            key, problem, mend = lack
            text = f"salesforce.{key} (not set): {problem}; {mend}"
            raise ConfigError(text)
        return self.salesforce

    def require_domains(self) -> tuple[str, ...]:
        """Return the domains of relay addresses, at least one.

        Raises:
            ConfigError: None is set, so that no relay address can exist.
        """
        if not self.smtp.domains:
            text = (
                "smtp.domains (not set): no relay address can exist without one; "
                'write for instance ["log.example.com"]'
            )
            raise ConfigError(text)
        return self.smtp.domains
