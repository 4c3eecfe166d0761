"""Lists the alerts that hold, and sends a test to those whom alerts go to.

The thresholds are settings that hold without a restart (`config.alerts.RULES`); who is
told stands in the settings file.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.config.alerts import RULES
from relay.core.addresses import address_key
from relay.core.alerts import Alert, AlertEvent, sentence, stamp
from relay.core.directory import Role
from relay.core.errors import InvalidInput
from relay.core.notices import NoticeDraft, NoticeKind, NoticeLevel
from relay.store.alerts import Telling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from relay.config import AlertsSettings, Settings
    from relay.core.directory import Directory, User
    from relay.core.model import Json
    from relay.store import Store
    from relay.store.alerts import WebhookCall

    Tell = Callable[[Alert | None, AlertEvent], Telling]


@dataclass(frozen=True, slots=True)
class Alerting:
    """The alerts at a glance.

    Attributes:
        alerts: Those that hold first, then those that have ended.
        calls: The latest webhook calls, oldest first.
        ways: How alerts are told: `mail`, `webhook`, both or none.
    """

    alerts: tuple[Alert, ...]
    calls: tuple[WebhookCall, ...]
    ways: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """Return the stable names."""
        return {
            "alerts": [one.as_json() for one in self.alerts],
            "webhook_calls": [one.as_json() for one in self.calls],
            "ways": list(self.ways),
        }


def ways(settings: Settings) -> tuple[str, ...]:
    """Return how alerts are told."""
    return tuple(
        name
        for name, is_on in (
            ("mail", settings.alerts.mail and settings.notices.smarthost is not None),
            ("webhook", settings.alerts.webhook_url is not None),
        )
        if is_on
    )


async def alerting(
    store: Store, settings: Settings, *, open_only: bool = False, limit: int = 50
) -> Alerting:
    """Return the alerts, and how they were told lately."""
    return Alerting(
        tuple(await store.alerts.find(open_only=open_only, limit=limit)),
        tuple(await store.alerts.calls(limit=limit)),
        ways(settings),
    )


async def test(
    store: Store, settings: Settings, directory: Directory, now: datetime
) -> Telling:
    """Plan a test by each way; the worker of a running relay sends it.

    Raises:
        InvalidInput: Alerts are told in no way.
    """
    if not ways(settings):
        raise InvalidInput(
            "alerts are told to nobody",
            "set notices.smarthost, or alerts.webhook_url with alerts.webhook_secret",
        )
    telling = await store.alerts.test(teller(settings, directory, now))
    if not telling.calls and not telling.mails:
        raise InvalidInput(
            "alerts are told to nobody: there is no active administrator who gets "
            "notices",
            "set alerts.mail_to",
        )
    return telling


# ------------------------------------------------------------------ telling


def teller(settings: Settings, directory: Directory, now: datetime) -> Tell:
    """Return what says how an event of an alert is told."""
    told = ways(settings)

    def tell(alert: Alert | None, event: AlertEvent) -> Telling:
        calls: dict[str, str] = {}
        if "webhook" in told:
            calls[f"msg_{secrets.token_hex(16)}"] = body(alert, event, now)
        mails: dict[str, NoticeDraft] = {}
        if "mail" in told:
            facts = _facts(alert, event)
            for address, user in recipients(settings, directory):
                draft = NoticeDraft(
                    NoticeKind.ALERT,
                    address,
                    user_id=user.id if user else None,
                    facts=facts,
                )
                mails[f"alert-{secrets.token_hex(8)}"] = draft
        return Telling(calls, mails)

    return tell


def body(alert: Alert | None, event: AlertEvent, now: datetime) -> str:
    """Return the body of a webhook call (Standard Webhooks, "Payload structure")."""
    data: dict[str, Any] = {"event": event.value}
    data |= {"text": sentence(None)} if alert is None else alert.as_json()
    return json.dumps(
        {"type": f"alert.{event.value}", "timestamp": stamp(now), "data": data},
        ensure_ascii=True,
    )


def _facts(alert: Alert | None, event: AlertEvent) -> Mapping[str, Json]:
    """Return what the letter is made of."""
    if alert is None:
        return {"event": event.value}
    return {
        "event": event.value,
        "rule": alert.rule.value,
        "subject": alert.subject,
        "facts": dict(alert.facts),
        "raised_at": stamp(alert.raised_at),
        "cleared_at": stamp(alert.cleared_at) if alert.cleared_at else None,
    }


def recipients(
    settings: Settings, directory: Directory
) -> list[tuple[str, User | None]]:
    """Return to whom alerts are mailed: addresses, with their users where known."""
    named = settings.alerts.mail_to
    everybody = [user for user in directory.users.values() if not user.removed_at]
    if named:
        by_key = {address_key(user.email): user for user in everybody}
        return [(one, by_key.get(address_key(one))) for one in named]
    common = directory.settings.get("notices.level") or settings.notices.level
    return [
        (user.email, user)
        for user in everybody
        if user.role is Role.ADMIN
        and user.active
        and (user.notify or common) != NoticeLevel.NONE
    ]


def thresholds(settings: AlertsSettings, directory: Directory) -> AlertsSettings:
    """Return the settings with what the store has of them."""
    kept = {
        name: directory.settings[key]
        for name in RULES
        if (key := f"alerts.{name}") in directory.settings
    }
    return settings.model_copy(update=kept) if kept else settings
