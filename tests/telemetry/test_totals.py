"""Metrics of several processes as one: nothing counted twice, nothing falling."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.telemetry import metrics, totals
from relay.telemetry.totals import SharedMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNTS = """
import sys
import time
from relay.telemetry import metrics
metrics.MESSAGES_ACCEPTED.inc({accepted})
metrics.COMMIT_SECONDS.observe(0.01)
metrics.SMTP_CONNECTIONS_TOTAL.inc(5)
metrics.SMTP_CONNECTIONS.inc({connections})
metrics.REFUSALS.labels("too_large").inc()
for state, number in {queue!r}.items():
    metrics.QUEUE.labels(state).set(number)
print(metrics.values.ValueClass.__name__, flush=True)
sys.stdin.read()
"""


def values(exposed):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed.decode())
        for sample in family.samples
    }


@pytest.fixture
def shared(tmp_path, monkeypatch) -> Iterator[SharedMetrics]:
    monkeypatch.setattr(totals, "_MEMORY", tmp_path)
    # A supervisor sets no gauge itself; other tests of this process may have.
    metrics.QUEUE.clear()
    for gauge in (metrics.QUEUE_OLDEST, metrics.ORG_PAUSED):
        gauge.set(0)
    shared = SharedMetrics()
    yield shared
    shared.close()


@pytest.fixture
def start(shared) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that counts, and return once it has."""
    started = []

    def start(accepted=0, connections=0, **queue) -> subprocess.Popen[str]:
        code = COUNTS.format(accepted=accepted, connections=connections, queue=queue)
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **shared.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout
        assert child.stdout.readline()
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_counters_and_histograms_are_summed(shared, start):
    """Each process counts what it did."""
    start(accepted=3)
    start(accepted=4)
    found = values(shared.exposition([os.getpid()]))
    assert found["relay_messages_accepted_total",] == 7
    assert found["relay_smtp_connections_total",] == 10
    assert found["relay_refusals_total", ("reason", "too_large")] == 2
    assert found["relay_commit_seconds_bucket", ("le", "0.01")] == 2
    assert found["relay_commit_seconds_bucket", ("le", "+Inf")] == 2
    assert found["relay_commit_seconds_count",] == 2
    assert found["relay_commit_seconds_sum",] == pytest.approx(0.02)


def test_gauges_are_what_they_are(shared, start):
    """Sessions add up; the queue is what was seen last; unset ones are 0."""
    start(connections=2, queued=50)
    start(connections=3, queued=9)
    found = values(shared.exposition([os.getpid()]))
    assert found["relay_smtp_connections",] == 5
    assert found["relay_queue", ("state", "queued")] == 9
    assert found["relay_org_paused",] == 0
    assert found["relay_queue_oldest_seconds",] == 0
    assert not any("pid" in dict(labels) for _, *labels in found)


def test_what_a_killed_process_counted_stays(shared, start):
    """A counter never falls, whether it was read before; the gauges of the dead go."""
    for accepted in (10, 5):
        child = start(accepted=accepted, connections=7, queued=4)
        child.kill()
        child.wait()
        shared.retire(child.pid)
    start(accepted=1, connections=1)
    for _ in range(2):
        found = values(shared.exposition([os.getpid()]))
        assert found["relay_messages_accepted_total",] == 16
        assert found["relay_commit_seconds_count",] == 3
        assert found["relay_smtp_connections",] == 1
        assert ("relay_queue", ("state", "queued")) not in found


def test_restarts_do_not_fill_the_folder(shared, start):
    """The files of all processes that ended are one for each kind."""
    sizes = set()
    for _ in range(2):
        child = start(accepted=1)
        child.kill()
        child.wait()
        shared.retire(child.pid)
        shared.retire(child.pid)
        files = sorted(file.name for file in shared.folder.iterdir())
        assert files == ["counter_ended.db", "histogram_ended.db"]
        sizes.add(sum(file.stat().st_size for file in shared.folder.iterdir()))
    assert len(sizes) == 1
    assert values(shared.exposition([]))["relay_messages_accepted_total",] == 2


def test_it_reads_as_one_process_does(shared, start):
    """Names, types, help and their order are those of a process by itself."""

    def declared(exposed):
        return [line for line in exposed.splitlines() if line.startswith(b"#")]

    # Without labels, so that other tests in this process do not matter.
    alone = metrics.exposition()
    assert declared(shared.exposition([os.getpid()])) == declared(alone)
    start(accepted=1)
    together = shared.exposition([os.getpid()])
    assert declared(together) == declared(alone)
    assert set(values(alone)) <= set(values(together))
    assert b"_created" not in together


def test_memory_files_and_time_of_all_processes(shared, start):
    """Memory and open files add up; the start is the first; CPU time never falls."""
    child = start()
    one = values(shared.exposition([os.getpid()]))
    two = values(shared.exposition([os.getpid(), child.pid]))
    for name in ("process_resident_memory_bytes", "process_open_fds"):
        assert two[name,] > one[name,] / 2
    assert two["process_start_time_seconds",] == one["process_start_time_seconds",]
    assert two["process_cpu_seconds_total",] > one["process_cpu_seconds_total",]
    child.kill()
    child.wait()
    last = values(shared.exposition([os.getpid(), child.pid]))
    assert last["process_cpu_seconds_total",] >= two["process_cpu_seconds_total",]


def test_without_room_a_process_counts_for_itself(shared):
    """A full or missing folder costs the metrics, never the process."""
    shared.close()
    child = subprocess.run(
        [sys.executable, "-c", COUNTS.format(accepted=1, connections=1, queue={})],
        env={**os.environ, **shared.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.split() == ["MutexValue"]
    assert "metrics_not_shared" in child.stderr


def test_a_process_killed_while_it_starts_spoils_nothing(shared):
    """A file of which no byte was written yet is not read, by a scrape or later."""
    dying = """
import os, pathlib
pathlib.Path.write_bytes = lambda path, _: (path.touch(), os._exit(9))
from relay.telemetry import metrics
"""
    child = subprocess.Popen(
        [sys.executable, "-c", dying], env={**os.environ, **shared.environment}
    )
    assert child.wait() == 9
    assert shared.exposition([os.getpid()])
    shared.retire(child.pid)
    assert shared.exposition([os.getpid()])


def test_the_folder_is_private_and_goes(shared, tmp_path):
    """Nobody else may read or write it, and nothing is left."""
    assert shared.folder.stat().st_mode & 0o077 == 0
    shared.close()
    shared.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_supervisor_left_is_removed(shared, tmp_path: Path):
    """Folders without a living owner go, once they are older than a start takes."""
    left, young = tmp_path / "relay-metrics-left", tmp_path / "relay-metrics-young"
    for folder in (left, young):
        folder.mkdir()
        (folder / "counter_1.db").touch()
    old = time.time() - 3_600
    for folder in (left, shared.folder):
        os.utime(folder, (old, old))
    SharedMetrics().close()
    assert sorted(tmp_path.iterdir()) == sorted([shared.folder, young])
