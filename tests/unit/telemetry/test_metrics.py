"""Names and labels of the metrics are stable."""

from __future__ import annotations

import pytest

from relay.telemetry import metrics

NAMES = (
    "relay_smtp_connections_total relay_smtp_connections relay_messages_accepted_total "
    "relay_refusals_total relay_commit_seconds relay_queue relay_queue_oldest_seconds "
    "relay_attempts_total relay_salesforce_calls_total relay_salesforce_call_seconds "
    "relay_org_paused relay_org_api_used relay_org_api_limit relay_activities_total"
).split()


def test_every_metric_is_exposed_once():
    """Dashboards rely on these names; none is declared twice."""
    lines = metrics.exposition().decode().splitlines()
    declared = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(declared) == len(set(declared))
    assert set(NAMES) <= set(declared)


COUNTED = [
    (metrics.REFUSALS, "relay_refusals_total", {"reason": "unknown_recipient"}),
    (
        metrics.SALESFORCE_CALLS,
        "relay_salesforce_calls_total",
        {"kind": "query", "outcome": "ok"},
    ),
    (metrics.ATTEMPTS, "relay_attempts_total", {"event": "logged"}),
    (
        metrics.ACTIVITIES,
        "relay_activities_total",
        {"object": "Task", "state": "written"},
    ),
    (metrics.MESSAGES_HELD, "relay_messages_held_total", {"reason": "no_proof"}),
    (metrics.SMTP_CONNECTIONS_TOTAL, "relay_smtp_connections_total", {}),
]


@pytest.mark.parametrize(("metric", "name", "labels"), COUNTED)
def test_counting_by_label(metric, name, labels):
    """An event adds one to its name and labels, whatever was counted before."""
    before = metrics.REGISTRY.get_sample_value(name, labels) or 0.0
    (metric.labels(**labels) if labels else metric).inc()
    assert metrics.REGISTRY.get_sample_value(name, labels) == before + 1


def test_text_format():
    """Labels show in the text, and no time of creation beside them."""
    metrics.QUEUE.labels(state="queued").set(3)
    text = metrics.exposition().decode()
    assert 'relay_queue{state="queued"} 3.0' in text
    assert "_created" not in text
