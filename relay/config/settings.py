"""The one table of settings: every key with its type, default, unit and sentence.

`config.example.toml` is generated from here, and a test compares the two. The models
are frozen; a relative path is taken from the folder of the file that names it, else
from the working directory (`sources`). Building a model by hand raises pydantic's
`ValidationError`; `load` turns that into `ConfigError`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay.config.alerts import AlertsSettings
from relay.config.dns import DNSSettings
from relay.config.match import MatchSettings
from relay.config.notices import NoticesSettings
from relay.config.oidc import OIDCSettings
from relay.config.reminders import RemindersSettings
from relay.config.salesforce import SalesforceSettings
from relay.config.sender import SenderSettings
from relay.config.smtp import SMTPSettings
from relay.config.values import (
    MIB,
    AddressRule,
    BasePath,
    Count,
    CountOrZero,
    Days,
    DaysOrZero,
    Flag,
    HostPort,
    Network,
    Number,
    OptionalKey,
    OptionalListener,
    OptionalOrigin,
    OptionalPath,
    PartsOfDays,
    Seconds,
    Section,
    StoreURL,
    Threads,
    mistake,
)
from relay.core.automatic import DEFAULT_RULES, AutomaticKind
from relay.core.errors import ConfigError
from relay.core.mailboxes import DEFAULT_ADDRESS_RULES, AddressRules

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

    from relay.core.directory import Directory


class StoreSettings(Section):
    """The store: the database, and the folder for large mail."""

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
        description="Free disk space below which the relay takes no mail (452), in "
        "bytes.",
    )
    postmaster_keep: Count = Field(
        default=1000,
        description="Number of messages for postmaster that are kept; the relay "
        "removes the oldest.",
    )
    refusal_keep_days: Days = Field(
        default=90,
        description="Time for which refusals are kept, in days; the relay removes "
        "older ones.",
    )
    discard_keep_days: Days = Field(
        default=7,
        description="Time for which a retry, hold, release or discard can be taken "
        "back, in days; then the relay removes the raw mail of what was discarded.",
    )
    busy_timeout_s: Number = Field(
        default=5.0,
        description="Wait for a locked SQLite database, in seconds.",
    )
    timeout_s: Seconds = Field(
        default=10.0,
        description="Wait for a database that does not answer, in seconds; then the "
        "relay answers 451 and connects again.",
    )
    inline_bytes: CountOrZero = Field(
        default=256 * 1024,
        description="Mail up to this size is stored in the database row, larger mail "
        "in a file, in bytes.",
    )


class ServeSettings(Section):
    """The processes of `relay serve`."""

    processes: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        default=1,
        description="Processes that take mail and share the ports, a count up to 64; "
        "more than one needs PostgreSQL. The worker has its own process.",
    )
    restart_max_s: Seconds = Field(
        default=10,
        description="Longest wait before a process that ends again and again is "
        "restarted, in seconds.",
    )


_AutomaticRule = Literal["skip", "log"]


def _automatic(kind: AutomaticKind, what: str) -> Any:
    return Field(
        default=DEFAULT_RULES[kind], description=f"{what}: skip, or log as any mail."
    )


class AutomaticSettings(Section):
    """Mail that no person wrote; the relay never answers it."""

    delivery_report: _AutomaticRule = _automatic(
        AutomaticKind.DELIVERY_REPORT, "Reports on the delivery of a mail"
    )
    read_receipt: _AutomaticRule = _automatic(
        AutomaticKind.READ_RECEIPT, "Read receipts"
    )
    abuse_report: _AutomaticRule = _automatic(
        AutomaticKind.ABUSE_REPORT, "Complaints of a mailbox provider"
    )
    calendar_reply: _AutomaticRule = _automatic(
        AutomaticKind.CALENDAR_REPLY, "Answers to invitations"
    )
    auto_reply: _AutomaticRule = _automatic(
        AutomaticKind.AUTO_REPLY, "Out-of-office and other automatic replies"
    )
    auto_generated: _AutomaticRule = _automatic(
        AutomaticKind.AUTO_GENERATED, "Mail that calls itself automatic"
    )
    list_mail: _AutomaticRule = _automatic(
        AutomaticKind.LIST_MAIL, "Mail that a mailing list has sent on"
    )
    bulk_mail: _AutomaticRule = _automatic(
        AutomaticKind.BULK_MAIL, "Mail with Precedence: bulk or junk"
    )
    null_sender: _AutomaticRule = _automatic(
        AutomaticKind.NULL_SENDER, "Mail with the null sender and no other sign"
    )
    reply_suppressed: _AutomaticRule = _automatic(
        AutomaticKind.REPLY_SUPPRESSED, "Mail with X-Auto-Response-Suppress alone"
    )
    campaign: _AutomaticRule = _automatic(
        AutomaticKind.CAMPAIGN,
        "Mail of a sales or newsletter tool (List-Unsubscribe, Feedback-ID)",
    )

    def rules(self) -> dict[str, str]:
        """Return the rule of each kind."""
        return {str(kind): getattr(self, kind) for kind in DEFAULT_RULES}


class WorkerSettings(Section):
    """The worker: batches, leases, and when to try again."""

    batch: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        default=1000, description="Messages claimed at a time, a count up to 1000."
    )
    batch_bytes: Count = Field(
        default=64 * MIB,
        description="Raw mail in one batch, in bytes; a larger mail is a batch by "
        "itself.",
    )
    lease_s: Seconds = Field(
        default=120,
        description="Length of a lease, in seconds; the worker renews it. After a "
        "crash, a relay on another host takes the messages when the lease ends.",
    )
    poll_s: Seconds = Field(
        default=1.0,
        description="Longest wait before the worker looks at the queue again, in "
        "seconds.",
    )
    retry_first_s: Number = Field(
        default=30,
        description="Wait after the first failure, in seconds; it doubles with each "
        "further one.",
    )
    retry_max_s: Number = Field(
        default=3600, description="Longest wait between two attempts, in seconds."
    )
    retry_days: PartsOfDays = Field(
        default=5,
        description="Time for which a message may keep failing before it becomes "
        "dead, in days from its first failure. Time in which the relay was stopped or "
        "the org was paused does not count. A message with a write of unknown outcome "
        "does not become dead.",
    )
    threads: Threads = Field(default=2, description="Threads that read mail, a count.")
    gather_ms: Number = Field(
        default=100,
        description="Longest wait for further mail while mail keeps arriving, in "
        "milliseconds, so that one call to Salesforce serves many mails. A mail that "
        "arrives alone does not wait.",
    )


class WebSettings(Section):
    """The API, and mail over HTTP: POST /messages."""

    listen: OptionalListener = Field(
        default=None,
        description="Address of the console, the API and POST /messages, host:port, "
        "plain HTTP: loopback, or behind a proxy with TLS; empty: none.",
    )
    api_requests_per_minute: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="Requests to the API of one token in a minute, for each process; "
        "more are answered 429.",
    )
    public_url: OptionalOrigin = Field(
        default=None,
        description="Address under which people reach web.listen with a browser, such "
        "as https://relay.example.com; needed for the links that release held mail; "
        "empty: none.",
    )
    base_path: BasePath = Field(
        default="",
        description="Path below which a proxy shows the console, such as /relay, and "
        "none that begins as a page does, such as /log; empty: the whole host is the "
        "relay's.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, "
        "a list of addresses and networks. The address of a browser counts in the "
        "limit of wrong passwords and stands in the history.",
    )
    session_idle_s: Seconds = Field(
        default=8 * 3600,
        description="Time without use after which a browser is signed out, in seconds.",
    )
    session_max_s: Seconds = Field(
        default=7 * 86_400,
        description="Time after which a browser is signed out in any case, in seconds.",
    )
    require_second_factor: tuple[Literal["rep", "monitor", "admin"], ...] = Field(
        default=(),
        description="Roles that need a second factor beside a password, a list of rep, "
        "monitor and admin.",
    )
    monitor_sees_bodies: Flag = Field(
        default=False,
        description="Whether the role monitor may read whole mails: true or false.",
    )
    factor_key: OptionalKey = Field(
        default=None,
        description="Key that seals the secrets of code apps in the store, at least 32 "
        "characters, the same for all relays of a store; empty: they are kept as they "
        "are.",
    )


class TelemetrySettings(Section):
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


class UserSettings(Section):
    """The users of the relay."""

    rotation_grace_days: DaysOrZero = Field(
        default=30,
        description="Time for which an old relay address works after a rotation, in "
        "days.",
    )
    address_rules: tuple[AddressRule, ...] = Field(
        default=DEFAULT_ADDRESS_RULES,
        description="Which spellings are one mailbox, a list of DOMAIN: plus, dots, "
        "alias OTHER-DOMAIN. plus: what stands behind a + says nothing; dots: dots "
        "before the @ say nothing; alias: the same people have addresses in both "
        "domains. Without a rule an address is only itself.",
    )
    language: Literal["en", "es", "pt", "fr", "sv"] = Field(
        default="en",
        description="Language in which the relay writes to users who have chosen none: "
        "en, es, pt, fr or sv.",
    )


class Settings(BaseSettings):
    """Everything that is fixed for the life of the process."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True
    )

    smtp: SMTPSettings = Field(default_factory=SMTPSettings)
    sender: SenderSettings = Field(default_factory=SenderSettings)
    dns: DNSSettings = Field(default_factory=DNSSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    salesforce: SalesforceSettings = Field(default_factory=SalesforceSettings)
    match: MatchSettings = Field(default_factory=MatchSettings)
    automatic: AutomaticSettings = Field(default_factory=AutomaticSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    oidc: OIDCSettings = Field(default_factory=OIDCSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    user: UserSettings = Field(default_factory=UserSettings)
    notices: NoticesSettings = Field(default_factory=NoticesSettings)
    reminders: RemindersSettings = Field(default_factory=RemindersSettings)
    alerts: AlertsSettings = Field(default_factory=AlertsSettings)

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

    def directory(self, loaded: Directory) -> Directory:
        """Return a directory read by the rules of the file, where the store has none.

        The store knows the rules that were set at run time, and the defaults.
        """
        # The same directory stays the same object: what is made of one is kept for it.
        if loaded.language != self.user.language:
            loaded = replace(loaded, language=self.user.language)
        if "user.address_rules" in loaded.settings:
            return loaded
        return loaded.read_by(AddressRules.of(self.user.address_rules))

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
            ConfigError: Something is missing; names the first key and the hint.
        """
        # Reading the section's own check keeps it in one place.
        if lack := self.salesforce._lacks():  # noqa: SLF001
            key, problem, hint = lack
            text = f"salesforce.{key} (not set): {problem}; {hint}"
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
