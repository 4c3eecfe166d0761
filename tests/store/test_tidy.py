"""A relay that runs for long keeps its store tidy by itself."""

from __future__ import annotations

import os
import time

import pytest

from relay import app
from relay.app import App
from relay.config import HostPort, Settings, SMTPSettings, StoreSettings
from relay.core.errors import StoreUnavailable
from tests.fakes.waiting import until


@pytest.fixture
async def intake(tmp_path, monkeypatch):
    """Run an intake that tidies up all the time."""
    monkeypatch.setattr(app, "TIDY_S", 0.05)
    running = App(
        Settings(
            smtp=SMTPSettings(
                listen=(HostPort("127.0.0.1", 0),), domains=("in.example",)
            ),
            store=StoreSettings(url=f"sqlite:///{tmp_path}/relay.db", min_free_bytes=0),
        ),
        roles=frozenset({"smtp"}),
    )
    await running.start()
    yield running
    await running.drain()


async def gone(path):
    await until(lambda: not path.exists())


async def test_what_a_crash_left_goes_without_a_restart(intake):
    """Old files without a row are removed while the relay runs; young ones stay."""
    young = intake.store.messages.spool_temporary()
    young.touch()
    orphan = intake.store.messages.spool_dir / ("0" * 26 + ".eml")
    for path in (orphan, intake.store.messages.spool_temporary()):
        path.touch()
        old = time.time() - 7200
        os.utime(path, (old, old))
        await gone(path)
    assert young.exists()


async def test_trouble_does_not_end_it(intake, monkeypatch):
    """A look that fails is followed by another, whatever the error is."""
    errors = [StoreUnavailable("away"), RuntimeError("a fault of our own")]

    async def fail():
        raise errors.pop(0)

    with monkeypatch.context() as patched:
        patched.setattr(intake.store, "tidy", fail)
        await until(lambda: not errors)
    orphan = intake.store.messages.spool_dir / ("0" * 26 + ".eml")
    orphan.touch()
    os.utime(orphan, (1, 1))
    await gone(orphan)
