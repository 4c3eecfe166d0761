"""Every metric of the relay, in one registry of its own.

Parts import the object they count with; no other module defines a metric. Names and
labels are stable. Label values come from fixed sets (reasons, states, kinds, events),
never from mail, so that a stranger cannot grow the registry.

A child of `relay serve` counts in files of a folder that its supervisor made; `totals`
adds them up. By itself a process counts in its own memory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)

from relay import __version__
from relay.telemetry.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

# No dashboard needs a second series with the start time of each counter.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library lacks it

REGISTRY: Final = CollectorRegistry(auto_describe=False)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Tells `prometheus_client` to count in files of a folder, by its name."""
_FILE_BYTES: Final = 128 * 1024
"""Size of a metrics file: the values of all known labels fit into it."""
_SESSIONS: Final = "livesum"
"""How a gauge of several processes is read: each has its part of the whole."""
_LOOKED_UP: Final = "livemostrecent"
"""The same, where each process looks at one thing: who looked last is right."""

_COMMIT_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_CALL_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)


def _reserve() -> None:
    """Fill the files in which this process will count, where it counts in files.

    The library makes them sparse, and a write into a hole for which the file system
    has no room kills the process (SIGBUS). Where there is no room now, this process
    counts for itself alone, and takes mail. A file gets its name once it is whole: an
    empty one, of a process that was killed here, would fail every scrape.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        return
    kinds = ("counter", "histogram", f"gauge_{_SESSIONS}", f"gauge_{_LOOKED_UP}")
    files = [Path(folder, f"{kind}_{os.getpid()}.db") for kind in kinds]
    begun = Path(folder, f"begun_{os.getpid()}")
    try:
        for file in files:
            begun.write_bytes(bytes(_FILE_BYTES))
            begun.rename(file)
    except OSError as error:
        for file in (begun, *files):
            with suppress(OSError):
                file.unlink()
        values.ValueClass = values.MutexValue
        get_logger(__name__).warning("metrics_not_shared", error=error.strerror)


_reserve()


class _Unnamed:
    """Registers a metric without its names.

    The library reserves `x` for a counter `x_total`, and refuses a gauge `x` beside it,
    although the text format has room for both.
    """

    def __init__(self, metric: Counter) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """Return what the metric holds."""
        return self._metric.collect()


# ------------------------------------------------------------------ intake

SMTP_CONNECTIONS_TOTAL: Final = Counter(
    "relay_smtp_connections_total", "SMTP sessions opened.", registry=None
)
REGISTRY.register(_Unnamed(SMTP_CONNECTIONS_TOTAL))
SMTP_CONNECTIONS: Final = Gauge(
    "relay_smtp_connections",
    "SMTP sessions open now.",
    registry=REGISTRY,
    multiprocess_mode=_SESSIONS,
)
MESSAGES_ACCEPTED: Final = Counter(
    "relay_messages_accepted_total",
    "Messages answered with 250, one for each relay address.",
    registry=REGISTRY,
)
MESSAGES_HELD: Final = Counter(
    "relay_messages_held_total",
    "Messages accepted and held, because nothing proves their author, by reason.",
    ["reason"],
    registry=REGISTRY,
)
REFUSALS: Final = Counter(
    "relay_refusals_total",
    "Recipients and mails refused, by reason.",
    ["reason"],
    registry=REGISTRY,
)
RECIPIENTS_DELAYED: Final = Counter(
    "relay_recipients_delayed_total",
    "Unknown recipients answered late, because their peer tries addresses.",
    registry=REGISTRY,
)
COMMIT_SECONDS: Final = Histogram(
    "relay_commit_seconds",
    "Time from the end of a mail until it is safe in the store.",
    buckets=_COMMIT_BUCKETS,
    registry=REGISTRY,
)

LOGGING_ON: Final = Gauge(
    "relay_logging_on",
    "1 while relay addresses accept mail; 0: an admin has switched logging off.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)

# ------------------------------------------------------------------ queue

QUEUE: Final = Gauge(
    "relay_queue",
    "Messages in the store, by state.",
    ["state"],
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
QUEUE_OLDEST: Final = Gauge(
    "relay_queue_oldest_seconds",
    "Age of the oldest queued message; 0 when none waits.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ATTEMPTS: Final = Counter(
    "relay_attempts_total",
    "Attempts settled, by what came of them.",
    ["event"],
    registry=REGISTRY,
)

# ------------------------------------------------------------------ Salesforce

SALESFORCE_CALLS: Final = Counter(
    "relay_salesforce_calls_total",
    "Calls to Salesforce, by kind and outcome.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
SALESFORCE_RIDES: Final = Counter(
    "relay_salesforce_rides_total",
    "Readings that went along with a call of mail, and cost none, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
SALESFORCE_CALL_SECONDS: Final = Histogram(
    "relay_salesforce_call_seconds",
    "Duration of calls to Salesforce, by kind.",
    ["kind"],
    buckets=_CALL_BUCKETS,
    registry=REGISTRY,
)
ORG_PAUSED: Final = Gauge(
    "relay_org_paused",
    "1 while no call is made: the org's limit, or its credentials.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ORG_API_USED: Final = Gauge(
    "relay_org_api_used",
    "API calls of the org in the last 24 hours, as last reported.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ORG_API_LIMIT: Final = Gauge(
    "relay_org_api_limit",
    "API calls that the org may make in 24 hours, as last reported.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ORG_API_SHARE: Final = Gauge(
    "relay_org_api_share",
    "Used part of the calls: the org's or the relay's own, whichever is larger.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ORG_API_OWN: Final = Gauge(
    "relay_org_api_own",
    "API calls that all relays on the database made in the last 24 hours.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ORG_API_LASTS: Final = Gauge(
    "relay_org_api_lasts_seconds",
    "Forecast: time until no call is left for writing; +Inf beyond a day.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ORG_PAUSED_SINCE: Final = Gauge(
    "relay_org_paused_since_seconds",
    "When the pause of the org began, as Unix time; 0 while it works.",
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
ORG_PAUSES: Final = Counter(
    "relay_org_pauses_total",
    "Pauses of the org, by reason.",
    ["reason"],
    registry=REGISTRY,
)
ACTIVITIES: Final = Counter(
    "relay_activities_total",
    "Ledger rows that reached a state, by Salesforce object.",
    ["object", "state"],
    registry=REGISTRY,
)

FILES: Final = Counter(
    "relay_file_changes_total",
    "Files of mails that reached a state.",
    ["state"],
    registry=REGISTRY,
)
FILES_NOW: Final = Gauge(
    "relay_files",
    "Files of mails in the store, by state.",
    ["state"],
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)

REMATCHED: Final = Counter(
    "relay_rematched_total",
    "Unmatched messages that were queued again because a record appeared.",
)
NOTICES_SENT: Final = Counter(
    "relay_notices_sent_total",
    "Attempts to send a notice to a user, by kind and by what came of them.",
    ["kind", "state"],
    registry=REGISTRY,
)
COPIES: Final = Counter(
    "relay_copies_total",
    "Attempts to send a copy to Email to Salesforce, by what came of them.",
    ["result"],
    registry=REGISTRY,
)
NOTICES: Final = Gauge(
    "relay_notices",
    "Notices in the store, by state.",
    ["state"],
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)

ALERTS: Final = Gauge(
    "relay_alerts",
    "Alerts that hold, by rule.",
    ["rule"],
    registry=REGISTRY,
    multiprocess_mode=_LOOKED_UP,
)
WEBHOOK_CALLS: Final = Counter(
    "relay_webhook_calls_total",
    "Calls of the webhook that tells alerts, by what came of them.",
    ["state"],
    registry=REGISTRY,
)

# ------------------------------------------------------------------ process

Info("relay", "The running version.", registry=REGISTRY).info({"version": __version__})
ProcessCollector(registry=REGISTRY)


def exposition() -> bytes:
    """Return every metric in the Prometheus text format (`CONTENT_TYPE`)."""
    return generate_latest(REGISTRY)
