"""The metrics of several processes as one.

Counters and histograms are summed, and those of a process that has ended stay in the
sum, so that no counter ever falls while the relay runs. Gauges are of three kinds: a
few are summed; the state of queue and org is taken from one process that has looked
just now; of the others the largest counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SUMMED: Final = frozenset(
    {
        "relay_smtp_connections",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
    }
)
_SMALLEST: Final = frozenset({"process_start_time_seconds"})
_OF_THE_WORKER: Final = ("relay_queue", "relay_files", "relay_org_")
"""Beginnings of the names that only the process knows which has just looked."""
_GROWING: Final = frozenset({"counter", "histogram", "summary"})

_Sample = tuple[str, tuple[tuple[str, str], ...]]


class Totals:
    """Adds up what processes tell, those that have ended included."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._ended = _Sum()

    def retire(self, text: str) -> None:
        """Keep what a process has counted, now that it has ended."""
        self._ended.add(text, growing_only=True)

    def exposition(self, told: Iterable[tuple[str, bool]]) -> bytes:
        """Return the sum in the Prometheus text format.

        Args:
            told: The metrics of each process that runs, and whether it has just looked
                at queue and org.
        """
        total = self._ended.copy()
        for text, fresh in told:
            total.add(text, fresh=fresh)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(total)
        return generate_latest(registry)


class _Sum:
    """Families by type and name, each with its samples."""

    def __init__(self) -> None:
        self._families: dict[tuple[str, str], tuple[str, dict[_Sample, float]]] = {}

    def copy(self) -> _Sum:
        made = _Sum()
        for key, (text, samples) in self._families.items():
            made._families[key] = (text, dict(samples))
        return made

    def add(
        self, text: str, *, growing_only: bool = False, fresh: bool = False
    ) -> None:
        for family in text_string_to_metric_families(text):
            growing = family.type in _GROWING
            if growing_only and not growing:
                continue
            if not (growing or fresh) and family.name.startswith(_OF_THE_WORKER):
                continue
            _, samples = self._families.setdefault(
                (family.type, family.name), (family.documentation, {})
            )
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                known = samples.get(key)
                if known is None:
                    samples[key] = sample.value
                elif growing or family.name in _SUMMED:
                    samples[key] = known + sample.value
                elif family.name in _SMALLEST:
                    samples[key] = min(known, sample.value)
                else:
                    samples[key] = max(known, sample.value)

    def collect(self) -> Iterator[Metric]:
        """Return the families, as the library's writer wants them."""
        for (kind, name), (text, samples) in self._families.items():
            metric = Metric(name, text, kind)
            for (sample, labels), value in samples.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric
