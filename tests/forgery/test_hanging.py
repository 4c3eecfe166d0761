"""Mail whose DNS never answers holds up nobody else."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.fakes.children import wait_for
from tests.forgery import honest
from tests.forgery.ways import Relay

NOBODY = "hanging.example"
WAITS = "timeout_s = 60.0\nmail_timeout_s = 60.0\n"
"""Longer than any test: what hangs does so to the end."""
SHAPE = next(one for one in honest.SHAPES if one.name == "bare address")


def publish(dns):
    """Publish the honest domains; below another one nothing is ever answered."""
    honest.publish(dns)
    for number in range(80):
        dns.fail("silence", f"m{number}.{NOBODY}")


WORLD = SimpleNamespace(publish=publish, ADDRESSES=honest.ADDRESSES)


@pytest.mark.timeout(60)
def test_honest_mail_beside_eighty_that_hang(tmp_path):
    """A stranger's domains are silent, from one peer and from many; hers is checked."""
    with Relay(tmp_path / "relay", WORLD, dns=WAITS) as relay, ExitStack() as stack:
        for number in range(80):
            peer = f"203.0.113.{number if number % 2 else 8}"
            mail_from = f"mallory@m{number}.{NOBODY}"
            hanging = replace(SHAPE.delivery, mail_from=mail_from, peer=peer)
            stack.callback(relay.hang(hanging))
        names = [f"m{number}.{NOBODY}" for number in range(80)]
        wait_for(lambda: all(relay.dns.asked(name, "TXT") for name in names))
        answer = relay.smtp(replace(SHAPE.delivery, peer="198.51.100.7"))
        assert (answer.code, answer.state) == (250, "queued")
