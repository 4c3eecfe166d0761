"""Alerts: what is wrong, what was, how it was told, and a test of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from relay.config.alerts import RULES
from relay.console.alerts import alerting, recipients, test, thresholds
from relay.core.access import Scope
from relay.core.alerts import AlertEvent, AlertRule, hint, sentence
from relay.core.errors import InvalidInput
from relay.core.translate import texts
from relay.web.pages.context import caller_of
from relay.web.pages.render import page, reader_of, say_and_go
from relay.web.pages.rule_names import threshold

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from relay.core.alerts import Alert
    from relay.web.pages.context import Context

SHOWN = 50


def routes(context: Context) -> list[Route]:
    """Return the routes of the alerts."""
    store, settings = context.store, context.settings

    async def show(request: Request) -> Response:
        found = await alerting(store, settings, limit=SHOWN)
        directory = settings.directory(await store.directory.load())
        reader = reader_of(request)
        _ = reader.gettext
        said = texts(reader.language)
        rules = thresholds(settings.alerts, directory)
        mailed = [one[0] for one in recipients(settings, directory)]
        return page(
            request,
            "alerts/list.html",
            holding=[_row(one, said, _) for one in found.alerts if not one.cleared_at],
            ended=[_row(one, said, _) for one in found.alerts if one.cleared_at],
            calls=found.calls[::-1],
            events=_events(_),
            mailed=mailed if "mail" in found.ways else [],
            webhook="webhook" in found.ways,
            rules=[
                (f"alerts.{name}", threshold(reader, name, getattr(rules, name)))
                for name in RULES
            ],
            may_test=Scope.SETTINGS_WRITE in caller_of(request).scopes,
        )

    async def send_test(request: Request) -> Response:
        _ = reader_of(request).gettext
        directory = settings.directory(await store.directory.load())
        try:
            await test(store, settings, directory, context.clock.now())
        except InvalidInput as error:
            return say_and_go(request, "/alerts", str(error), kind="failed")
        return say_and_go(request, "/alerts", _("The test is on its way."))

    return [
        Route("/alerts", show, name="alerts"),
        Route("/alerts/test", send_test, methods=["POST"], name="alerts_test"),
    ]


def _row(alert: Alert, said: Any, _: Callable[..., str]) -> dict[str, Any]:
    """Return an alert in the reader's words."""
    return {
        "id": alert.id,
        "rule": {
            AlertRule.CONNECTION: _("connection"),
            AlertRule.QUOTA: _("API calls"),
            AlertRule.QUEUE: _("queue"),
            AlertRule.REFUSALS: _("refusals"),
            AlertRule.SILENT: _("silent user"),
            AlertRule.CERTIFICATE: _("certificate"),
            AlertRule.DISK: _("disk"),
        }[alert.rule],
        "text": sentence(alert, said),
        "hint": hint(alert.rule, said),
        "raised_at": alert.raised_at,
        "cleared_at": alert.cleared_at,
        "user_id": alert.subject if alert.rule is AlertRule.SILENT else None,
    }


def _events(_: Callable[..., str]) -> dict[AlertEvent, str]:
    return {
        AlertEvent.RAISED: _("raised"),
        AlertEvent.STILL: _("still so"),
        AlertEvent.CLEARED: _("ended"),
        AlertEvent.TEST: _("test"),
    }
