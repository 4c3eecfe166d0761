"""Which processes a relay has, and how their answers become one."""

from __future__ import annotations

from relay.config import ServeSettings, Settings, StoreSettings
from relay.serve.overview import merged
from relay.serve.process import parts

POSTGRES = StoreSettings(url="postgresql://relay@db/relay")


def names(settings, *roles):
    return [part.name for part in parts(settings, frozenset(roles))]


def test_intake_and_worker_are_apart_by_default():
    """One process takes mail, another logs it."""
    assert names(Settings(), "smtp", "worker") == ["smtp-0", "worker-0"]


def test_a_role_alone_is_one_process():
    """A service of its own runs its part alone."""
    assert names(Settings(), "worker") == ["worker-0"]
    assert names(Settings(), "smtp") == ["smtp-0"]


def test_intake_processes_are_as_many_as_set():
    """`serve.processes` multiplies the intake, not the worker."""
    settings = Settings(store=POSTGRES, serve=ServeSettings(processes=3))
    assert names(settings, "smtp", "worker") == [
        "smtp-0",
        "smtp-1",
        "smtp-2",
        "worker-0",
    ]


def test_one_that_is_not_well_speaks_for_all():
    """Of several answers to one check, the failing one is shown."""
    well = {"ok": True, "fatal": True, "detail": "fine"}
    ill = {"ok": False, "fatal": True, "detail": "no database"}
    found = merged([{"store": well}, {"store": ill, "smtp": well}, {"store": well}])
    assert found == {"store": ill, "smtp": well}
