"""Honest mail of the shapes that there are: taken, or held with a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.forgery import honest
from tests.forgery.honest import (
    FIRM_ADA,
    SHAPES,
    Shape,
    by_key,
    signed,
    slow_dns,
    usual,
)
from tests.forgery.ways import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.forgery.ways import Answer


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory) -> Iterator[Relay]:
    """Run a relay as it is without any setting of sender trust."""
    folder = tmp_path_factory.mktemp("honest") / "default"
    with Relay(folder, honest) as relay:
        yield relay


def fared_well(answer: Answer, shape: Shape) -> None:
    """Assert that a mail is taken by its proof, or held for its cause."""
    assert answer.code == 250, answer.text
    verdict = answer.row["verdict"]
    if shape.held:
        assert (answer.state, answer.cause) == ("held", shape.held), verdict
        assert "release it" in verdict["text"] or "RFC" in verdict["text"]
    else:
        assert (answer.state, answer.cause) == ("queued", ""), verdict["text"]
        assert shape.proof in verdict["proof"]
        assert shape.proof


def test_there_are_enough():
    """Forty shapes and more, each under a name of its own."""
    assert len({one.name for one in SHAPES}) == len(SHAPES) >= 40


@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_shape(mailbox, shape):
    """From the provider's server to the queue."""
    fared_well(mailbox.smtp(shape.delivery), shape)


def test_dns_comes_back(mailbox):
    """A mail that cannot be checked now is asked for again, and taken then."""
    shape = slow_dns()
    mailbox.dns.fail("servfail", "late.example")
    first = mailbox.smtp(shape.delivery)
    assert (first.code, first.cause) == (451, "S401")
    mailbox.dns.heal()
    mailbox.clock.ahead_s += 60
    fared_well(mailbox.smtp(shape.delivery), shape)


def test_a_stranger_comes_first(mailbox):
    """What a stranger made of her mail is held, and holds up no mail of hers."""
    fields = ("from", "to", "subject", "date", "content-type")
    shape = by_key(
        "signed without Cc",
        lambda: signed("firm.example", usual(FIRM_ADA, ident=None), fields),
    )
    genuine = shape.delivery
    altered = replace(genuine, raw=b"Cc: eve@evil.example\r\n" + genuine.raw)
    first = mailbox.smtp(altered)
    assert (first.state, first.cause) == ("held", "S205")
    fared_well(mailbox.smtp(genuine), shape)
