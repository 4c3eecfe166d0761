"""The metrics of all processes of one relay, added up.

The children count in memory-mapped files of one folder: the multiprocess mode of
`prometheus_client`, which switches itself on by `PROMETHEUS_MULTIPROC_DIR`. So what a
child counted until the moment of its death is there, and no counter ever falls while
the relay runs. `SharedMetrics` makes the folder, gives its place to the children, adds
up what they count, and removes it.

The files of a child that has ended are added to one file, so that a child that is
started again and again does not fill the folder.

Source: prometheus_client documentation, "Multiprocess Mode (E.g. Gunicorn)".
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from relay.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.samples import Sample

_PREFIX: Final = "relay-metrics-"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
"""A file system in memory: counting never waits for a disk, nor for space on one."""
_SETTLED_S: Final = 60.0
"""Age from which a folder without a living owner is taken for left behind."""
_KINDS: Final = ("counter", "histogram", "gauge")
_GROWING: Final = ("counter", "histogram")
_CPU: Final = "process_cpu_seconds"
_SUMMED: Final = frozenset(
    {
        _CPU,
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
    }
)
_SMALLEST: Final = "process_start_time_seconds"

_Label = tuple[tuple[str, str], ...]


class SharedMetrics:
    """The folder in which the processes of one relay count."""

    def __init__(self) -> None:
        """Make the folder, and remove those of relays that were killed.

        Raises:
            OSError: There is no place for it.
        """
        in_memory = os.access(_MEMORY, os.W_OK | os.X_OK)
        parent = _MEMORY if in_memory else Path(tempfile.gettempdir())
        _remove_left_behind(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Held for as long as this process lives: it says that the folder is in use.
        self._lock = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._cpu_s = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which a child finds the folder."""
        return {metrics.FOLDER_VARIABLE: str(self.folder)}

    def close(self) -> None:
        """Remove the folder; idempotent."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def retire(self, pid: int) -> None:
        """Keep what a process has counted, now that it has ended, without its gauges.

        Call it once the process has been waited for, and before another one can have
        its id.
        """
        mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]  # the library lacks it
        for kind in _GROWING:
            ended = self.folder / f"{kind}_{pid}.db"
            if not ended.exists():
                continue
            total = MmapedDict(str(self.folder / f"{kind}_ended.db"))  # type: ignore[no-untyped-call]  # as above
            for key, value, *_ in MmapedDict.read_all_values_from_file(str(ended)):  # type: ignore[no-untyped-call]  # as above
                known, _ = total.read_value(key)  # type: ignore[no-untyped-call]  # as above
                total.write_value(key, known + value, 0.0)  # type: ignore[no-untyped-call]  # as above
            total.close()  # type: ignore[no-untyped-call]  # as above
            ended.unlink()

    def exposition(self, running: Iterable[int]) -> bytes:
        """Return the sum in the Prometheus text format.

        Args:
            running: The ids of the processes whose memory and open files count, this
                one among them.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(list(self._families(list(running)))))
        return generate_latest(registry)

    def _families(self, running: list[int]) -> Iterator[Metric]:
        """Yield each metric as one process exposes it, with the values of all."""
        counted = {
            (kind, family.name): family.samples
            for kind in _KINDS
            # One kind after the other: a counter `x_total` and a gauge `x` have one
            # name here, and the library would take one for the other.
            for family in MultiProcessCollector.merge(  # type: ignore[no-untyped-call]  # as above
                [str(file) for file in self.folder.glob(f"{kind}_*.db")]
            )
        }
        for family in metrics.REGISTRY.collect():
            if family.name.startswith("process_"):
                continue
            shared = counted.get((family.type, family.name), [])
            samples = {_key(sample): sample for sample in family.samples}
            # A gauge that no child has set yet is 0, as in this process.
            samples |= {_key(sample): sample for sample in shared}
            family.samples = list(samples.values())
            yield family
        yield from self._processes(running)

    def _processes(self, running: list[int]) -> list[Metric]:
        """Return memory, open files and CPU time of all processes together."""
        found: dict[str, Metric] = {}
        for pid in running:
            collector = ProcessCollector(pid=partial(int, pid), registry=None)
            for family in collector.collect():
                known = found.setdefault(family.name, family)
                if known is not family:
                    name, _, value, *_ = family.samples[0]
                    ours = known.samples[0].value
                    known.samples = []
                    known.add_sample(name, {}, _joined(family.name, ours, value))
        cpu = found.get(_CPU)
        if cpu is not None:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = cpu.samples[0].value + ended.ru_utime + ended.ru_stime
            # A child that has just ended may be missing on both sides for a moment.
            self._cpu_s = max(self._cpu_s, used)
            cpu.samples = []
            cpu.add_sample(f"{_CPU}_total", {}, self._cpu_s)
        return list(found.values())


class _Families:
    """Metrics that are ready, in the form that the library's writer takes."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._families


def _key(sample: Sample) -> tuple[str, _Label]:
    return sample.name, tuple(sorted(sample.labels.items()))


def _joined(name: str, one: float, other: float) -> float:
    """Return one value for two processes."""
    if name in _SUMMED:
        return one + other
    return min(one, other) if name == _SMALLEST else max(one, other)


def _remove_left_behind(parent: Path) -> None:
    """Remove the folders of supervisors that were killed; their lock is free."""
    for folder in parent.glob(f"{_PREFIX}*"):
        # One may be removed by another supervisor while we look.
        with suppress(OSError):
            facts = folder.stat()
            age_s = time.time() - facts.st_mtime
            if facts.st_uid != os.geteuid() or age_s < _SETTLED_S:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
