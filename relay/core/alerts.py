"""Alerts as values: what was found, what became of it, and its words.

A rule looks at one thing; a finding says that it holds for a subject. The first finding
raises an alert, which is told once, again from time to time while it still holds, and
once more when it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.core.translate import IN_ENGLISH, N_

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.model import Json
    from relay.core.translate import Texts

_GIB: Final = 1 << 30


class AlertRule(StrEnum):
    """What is looked at."""

    CONNECTION = "connection"
    QUOTA = "quota"
    QUEUE = "queue"
    REFUSALS = "refusals"
    SILENT = "silent"
    CERTIFICATE = "certificate"
    DISK = "disk"


class AlertEvent(StrEnum):
    """Why an alert is told."""

    RAISED = "raised"
    STILL = "still"
    CLEARED = "cleared"
    TEST = "test"


Key = tuple[AlertRule, str]
"""A rule and a subject: one alert at a time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule holds for a subject; `facts` are for the words."""

    rule: AlertRule
    subject: str
    facts: Mapping[str, Json] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Return what names the alert."""
        return self.rule, self.subject


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at some rules came to.

    Attributes:
        rules: Those that were looked at.
        found: What holds.
        kept: What holds no more, but not clearly: an alert stays, none is raised.
        place: Only subjects of this place were looked at, such as a host; empty: all.
    """

    rules: frozenset[AlertRule]
    found: tuple[Finding, ...] = ()
    kept: frozenset[Key] = frozenset()
    place: str = ""

    def ends(self, alert: Alert) -> bool:
        """Say whether an alert has ended by this look."""
        return (
            alert.rule in self.rules
            and alert.subject.startswith(self.place)
            and alert.key not in self.kept
            and all(one.key != alert.key for one in self.found)
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert in the store.

    `told_at` and `told` say when it was told last, and how often. `cleared_at` is None
    while it holds.
    """

    id: int
    rule: AlertRule
    subject: str
    facts: Mapping[str, Json]
    raised_at: datetime
    told_at: datetime
    told: int = 1
    cleared_at: datetime | None = None

    @property
    def key(self) -> Key:
        """Return what names the alert."""
        return self.rule, self.subject

    def as_json(self) -> dict[str, Json]:
        """Return the stable names of lists and of the webhook."""
        return {
            "id": self.id,
            "rule": self.rule.value,
            "subject": self.subject,
            "state": "cleared" if self.cleared_at else "raised",
            "raised_at": stamp(self.raised_at),
            "cleared_at": stamp(self.cleared_at) if self.cleared_at else None,
            "told_at": stamp(self.told_at),
            "told": self.told,
            "text": sentence(self),
            "hint": hint(self.rule),
            "facts": dict(self.facts),
        }


def stamp(at: datetime) -> str:
    """Return a time as the interfaces write it."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


# ------------------------------------------------------------------ words

_RAISED: Final[Mapping[AlertRule, str]] = {
    AlertRule.CONNECTION: N_("Salesforce cannot be used since {since}: {cause}"),
    AlertRule.QUOTA: N_(
        "{percent} % of the API calls are used: {used} of {limit} in 24 hours, {own} "
        "of them by the relay"
    ),
    AlertRule.QUEUE: N_("Mail waits since {since}; mails in the queue: {count}"),
    AlertRule.REFUSALS: N_(
        "{count} refusals in the last hour; {usual} an hour are usual"
    ),
    AlertRule.SILENT: N_("For {user} no mail has been logged since {since}"),
    AlertRule.CERTIFICATE: N_("The certificate in {file} ends on {until}"),
    AlertRule.DISK: N_("Only {free} GiB of disk space are free on {host}"),
}
_CLEARED: Final[Mapping[AlertRule, str]] = {
    AlertRule.CONNECTION: N_(
        "Salesforce can be used again; it could not since {since}"
    ),
    AlertRule.QUOTA: N_("Enough API calls are free again"),
    AlertRule.QUEUE: N_("No mail waits for long any more"),
    AlertRule.REFUSALS: N_("Refusals are as many as usual again"),
    AlertRule.SILENT: N_("{user} is not silent any more"),
    AlertRule.CERTIFICATE: N_("The certificate in {file} has been renewed"),
    AlertRule.DISK: N_("Enough disk space is free again on {host}"),
}
_HINTS: Final[Mapping[AlertRule, str]] = {
    AlertRule.CONNECTION: N_(
        "see relay status and relay check; mail is accepted and kept meanwhile"
    ),
    AlertRule.QUOTA: N_(
        "find the program that uses the calls, or raise salesforce.daily_share"
    ),
    AlertRule.QUEUE: N_("relay status says what it waits for"),
    AlertRule.REFUSALS: N_(
        "relay log --refused --since 1h shows them with their reasons"
    ),
    AlertRule.SILENT: N_(
        "ask whether they still put their relay address into BCC; relay user show has "
        "it"
    ),
    AlertRule.CERTIFICATE: N_("renew it; the relay loads the new one by itself"),
    AlertRule.DISK: N_(
        "free disk space; below store.min_free_bytes the relay takes no mail"
    ),
}
TEST_SENTENCE: Final = N_("This is a test of the alerts; nothing is wrong")


def sentence(alert: Alert | None, texts: Texts = IN_ENGLISH) -> str:
    """Return what an alert says, in one sentence; None: the test."""
    if alert is None:
        return texts(TEST_SENTENCE)
    table = _CLEARED if alert.cleared_at else _RAISED
    return texts(table[alert.rule]).format_map(_values(alert.facts, texts))


def hint(rule: AlertRule, texts: Texts = IN_ENGLISH) -> str:
    """Return what helps."""
    return texts(_HINTS[rule])


class _values(dict[str, object]):  # noqa: N801 - a mapping for one call
    """The facts as words; one that an older relay has not kept is a question mark."""

    def __init__(self, facts: Mapping[str, Json], texts: Texts) -> None:
        said = {name: _word(name, value) for name, value in facts.items()}
        if "cause" in said:
            said["cause"] = texts.told(said["cause"])
        super().__init__(said)

    def __missing__(self, key: str) -> str:
        return "?"


def _word(name: str, value: Json) -> str:
    if name in {"since", "until"} and isinstance(value, str):
        return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if name == "free" and isinstance(value, int):
        return f"{value / _GIB:.1f}"
    return str(value)
