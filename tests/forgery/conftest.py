"""Two relays for all forged and honest mails of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.forgery.ways import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator


def running(folder, **settings) -> Iterator[Relay]:
    """Run a relay, and see at its end that nothing waits to be logged."""
    with Relay(folder, **settings) as relay:
        yield relay
        counts = relay.counts()
        counts.pop("held")
        assert not any(counts.values()), counts


@pytest.fixture(scope="session")
def relay(tmp_path_factory) -> Iterator[Relay]:
    """Run a relay as it is without any setting of sender trust."""
    yield from running(tmp_path_factory.mktemp("forgery") / "default")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory) -> Iterator[Relay]:
    """Run one that gets strangers' mail by HTTP and from files, and trusts neither."""
    folder = tmp_path_factory.mktemp("forgery") / "gateway"
    yield from running(folder, trusted_doors=())
