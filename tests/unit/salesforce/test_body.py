"""JSON bodies hold no surrogate and no NaN, with and without the fast library."""

from __future__ import annotations

import json

import pytest

from relay.salesforce import body


@pytest.fixture(params=["fast", "slow"], autouse=True)
def library(request, monkeypatch):
    """Run each test with either writer and reader."""
    if request.param == "slow":
        monkeypatch.setattr(body, "_dump", body._slow_dump)
        monkeypatch.setattr(body, "_load", json.loads)


def test_text_goes_through_as_utf8_without_spaces():
    """What is fine stays as it is."""
    value = {"a": "é😀\u2028\x00", "b": [1, None, True, 1.5]}
    data = body.write(value)
    assert json.loads(data) == value
    assert b", " not in data
    assert "é".encode() in data


def test_a_text_alone_is_json_too():
    """Any value may stand on top."""
    assert json.loads(body.write("é")) == "é"


def test_lone_surrogates_become_a_mark():
    """Salesforce would refuse them, or store something else."""
    data = body.write({"a\ud800": ["x\udce9y"]})
    assert json.loads(data) == {"a\ufffd": ["x\ufffdy"]}


@pytest.mark.parametrize(
    "value", [float("nan"), {"a": [float("inf")]}, {"a": {"b": (float("-inf"),)}}]
)
def test_nan_is_an_error(value):
    """NaN is no JSON, and null would be another value."""
    with pytest.raises(ValueError, match="NaN"):
        body.write(value)


def test_an_error_does_not_quote_the_value():
    """What cannot be written does not stand in the error."""
    with pytest.raises(ValueError, match="no JSON form") as caught:
        body.write({"a": "jane@acme.example", "b": object()})
    assert "jane" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("data", [b"", b"<html>", b'{"a":', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_an_error(data):
    """An answer cut short is an error and no other exception."""
    with pytest.raises(ValueError, match="not JSON") as caught:
        body.read(data)
    assert caught.value.__suppress_context__
