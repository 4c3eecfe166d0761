"""A sandbox org and a relay per test, in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """Run a freshly seeded org."""
    org = SandboxProcess(tmp_path)
    yield org
    org.stop()


@pytest.fixture
def idle(tmp_path: Path, sandbox: SandboxProcess) -> Iterator[RelayProcess]:
    """Configure a relay that the test starts itself."""
    relay = RelayProcess(tmp_path / "relay", sandbox.url)
    yield relay
    if relay.process and relay.process.running:
        relay.kill()


@pytest.fixture
def relay(idle: RelayProcess) -> RelayProcess:
    """Run a relay with the user Ada."""
    idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    return idle


@pytest.fixture
def ada(relay: RelayProcess) -> str:
    """Return Ada's relay address."""
    return str(relay.json("user", "list")[0]["relay_address"])
