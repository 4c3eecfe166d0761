"""The fast way to JSON writes what the slower way would, or nothing."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from relay.core import ascii_json


@pytest.mark.parametrize("value", ["ü", "\ud800", 2**70, {1: "a"}])
def test_what_is_left_to_the_slower_way(value):
    """Other scripts, lone surrogates, long numbers, names that are no text."""
    assert ascii_json.ascii_json(value) is None


def test_the_rest_is_compact_ascii():
    """A NUL stays an escape, and nothing is between the parts."""
    value = [{"at": "2026-01-01", "n": 1, "x": None, "s": 'a"\0'}]
    line = ascii_json.ascii_json(value)
    assert line == json.dumps(value, separators=(",", ":"))


def test_without_the_library(monkeypatch):
    """Where it is not installed, everything is left to the slower way."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = importlib.util.find_spec("relay.core.ascii_json")
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    assert without.ascii_json("a") is None
    assert ascii_json.ascii_json("a") == '"a"'
