"""The guard of the unit tests works."""

from __future__ import annotations

import socket

import pytest


def test_unit_tests_cannot_connect():
    """A connection attempt fails the test that makes it."""
    with socket.socket() as one, pytest.raises(pytest.fail.Exception):
        one.connect(("127.0.0.1", 9))
