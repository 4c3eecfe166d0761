"""Mails made to hurt: reading one takes time in proportion to its size, and no more."""

from __future__ import annotations

import contextlib

import pytest

from relay.core.errors import UnparsableMessage
from relay.mail import parse
from tests.fakes.cpu import assert_linear
from tests.fakes.hostile import FAMILIES

SIZE = 1 << 16


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_grows_no_faster_than_its_mails(name: str) -> None:
    """Four times the bytes take no more than about four times the CPU."""
    make = FAMILIES[name]
    mails = {size: make(size) for size in (SIZE // 4, SIZE)}
    assert_linear(lambda size: read(mails[size]), SIZE)


def read(raw: bytes) -> None:
    with contextlib.suppress(UnparsableMessage):
        parse(raw)
