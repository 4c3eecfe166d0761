"""Metrics of several processes as one: nothing counted twice, nothing falling."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from relay.telemetry import metrics
from relay.telemetry.totals import Totals


def text(accepted, connections=0, queued=0, started=100):
    return f"""\
# TYPE relay_messages_accepted_total counter
relay_messages_accepted_total {accepted}
# TYPE relay_smtp_connections_total counter
relay_smtp_connections_total 5
# TYPE relay_smtp_connections gauge
relay_smtp_connections {connections}
# TYPE relay_queue gauge
relay_queue{{state="queued"}} {queued}
# TYPE relay_info gauge
relay_info{{version="1"}} 1
# TYPE process_start_time_seconds gauge
process_start_time_seconds {started}
# TYPE relay_commit_seconds histogram
relay_commit_seconds_bucket{{le="0.1"}} {accepted}
relay_commit_seconds_bucket{{le="+Inf"}} {accepted}
relay_commit_seconds_sum 0.5
relay_commit_seconds_count {accepted}
"""


def values(exposed):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed.decode())
        for sample in family.samples
    }


def test_counters_and_histograms_are_summed():
    """Each process counts what it did."""
    found = values(Totals().exposition([(text(3), True), (text(4), False)]))
    assert found["relay_messages_accepted_total",] == 7
    assert found["relay_smtp_connections_total",] == 10
    assert found["relay_commit_seconds_bucket", ("le", "0.1")] == 7
    assert found["relay_commit_seconds_sum",] == 1.0


def test_gauges_are_what_they_are():
    """Sessions add up; the queue is what the worker saw; the start is the first."""
    found = values(
        Totals().exposition([(text(0, 2, 9, 100), True), (text(0, 3, 50, 300), False)])
    )
    assert found["relay_smtp_connections",] == 5
    assert found["relay_queue", ("state", "queued")] == 9
    assert found["relay_info", ("version", "1")] == 1
    assert found["process_start_time_seconds",] == 100


def test_what_an_ended_process_counted_stays():
    """A counter never falls; the gauges of the dead are gone."""
    totals = Totals()
    totals.retire(text(10, connections=7))
    totals.retire(text(5))
    for _ in range(2):
        found = values(totals.exposition([(text(1, connections=1), True)]))
        assert found["relay_messages_accepted_total",] == 16
        assert found["relay_smtp_connections",] == 1


def test_the_relays_own_metrics_survive_the_way():
    """One process alone reads as it would by itself, names and help included."""
    own = metrics.exposition()
    again = Totals().exposition([(own.decode(), True)])
    assert set(values(again)) == set(values(own))
    assert {line for line in own.splitlines() if line.startswith(b"# TYPE relay")} == {
        line for line in again.splitlines() if line.startswith(b"# TYPE relay")
    }
