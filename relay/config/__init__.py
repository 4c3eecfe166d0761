"""Settings that need a restart: defaults, `relay.toml`, environment, secret files.

`settings`, `smtp`, `dns` and `salesforce` hold the table of keys; `load` fills it and
turns every mistake into one `ConfigError` line that names key, value and hint.
`python -m relay.config` prints `config.example.toml` from the same table. What an admin
edits while the relay runs lives in the store, not here.
"""

from relay.config.alerts import AlertsSettings
from relay.config.dns import DNSSettings
from relay.config.load import load
from relay.config.match import MatchSettings
from relay.config.notices import NoticesSettings
from relay.config.reminders import RemindersSettings
from relay.config.salesforce import SalesforceSettings
from relay.config.sender import AuthservSettings, SenderSettings
from relay.config.settings import (
    ServeSettings,
    Settings,
    StoreSettings,
    TelemetrySettings,
    UserSettings,
    WebSettings,
    WorkerSettings,
)
from relay.config.smtp import ListenerSettings, SMTPSettings
from relay.config.values import HostPort, IPNetwork, UnixPath

__all__ = [
    "AlertsSettings",
    "AuthservSettings",
    "DNSSettings",
    "HostPort",
    "IPNetwork",
    "ListenerSettings",
    "MatchSettings",
    "NoticesSettings",
    "RemindersSettings",
    "SMTPSettings",
    "SalesforceSettings",
    "SenderSettings",
    "ServeSettings",
    "Settings",
    "StoreSettings",
    "TelemetrySettings",
    "UnixPath",
    "UserSettings",
    "WebSettings",
    "WorkerSettings",
    "load",
]
