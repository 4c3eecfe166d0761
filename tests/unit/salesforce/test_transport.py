"""Where bytes leave and in which time; JSON without surrogates and NaN."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from relay.salesforce import transport
from relay.salesforce.transport import Flight, TooLateError

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still."""

    def now(self):
        return NOON

    def boottime_s(self):
        return 100.0


def test_a_flight_leaves_in_time_or_not_at_all():
    """The moment itself is still in time."""
    flight = Flight(Clock(), 1.0, not_after_s=100.0)
    flight.leave()
    assert flight.left
    late = Flight(Clock(), 1.0, not_after_s=99.9)
    with pytest.raises(TooLateError):
        late.leave()
    assert not late.left


@pytest.mark.parametrize(
    "url", ["http://example.com", "http://10.0.0.1:80", "ftp://127.0.0.1", "http://"]
)
def test_plain_http_is_for_loopback_alone(url):
    """A token never travels in clear over a network."""
    with pytest.raises(ValueError, match="loopback"):
        transport.session([url])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:80",
        "https://x.example",
    ],
)
def test_loopback_and_https_are_fine(url):
    """Loopback in clear is for sandboxes; adapters exist for this origin alone."""
    session = transport.session([url], proxy="http://proxy.example:3128")
    assert len(session.adapters) == 1
    assert session.trust_env is False
    assert bool(session.proxies) == url.startswith("https")
    session.close()


# ------------------------------------------------------------ JSON


@pytest.fixture(params=["fast", "slow"])
def library(request, monkeypatch):
    """Run each test with either writer and reader."""
    if request.param == "slow":
        monkeypatch.setattr(transport, "_dump", transport._slow_dump)
        monkeypatch.setattr(transport, "_load", json.loads)


def test_text_goes_through_as_utf8_without_spaces(library):
    """What is fine stays as it is."""
    value = {"a": "é😀\u2028\x00", "b": [1, None, True, 1.5]}
    data = transport.write_json(value)
    assert json.loads(data) == value
    assert b", " not in data
    assert "é".encode() in data


def test_a_text_alone_is_json_too(library):
    """Any value may stand on top."""
    assert json.loads(transport.write_json("é")) == "é"


def test_lone_surrogates_become_a_mark(library):
    """Salesforce would refuse them, or store something else."""
    data = transport.write_json({"a\ud800": ["x\udce9y"]})
    assert json.loads(data) == {"a\ufffd": ["x\ufffdy"]}


@pytest.mark.parametrize(
    "value", [float("nan"), {"a": [float("inf")]}, {"a": {"b": (float("-inf"),)}}]
)
def test_nan_is_an_error(library, value):
    """NaN is no JSON, and null would be another value."""
    with pytest.raises(ValueError, match="NaN"):
        transport.write_json(value)


def test_an_error_does_not_quote_the_value(library):
    """What cannot be written does not stand in the error."""
    with pytest.raises(ValueError, match="no JSON form") as caught:
        transport.write_json({"a": "jane@acme.example", "b": object()})
    assert "jane" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("data", [b"", b"<html>", b'{"a":', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_an_error(library, data):
    """An answer cut short is an error and no other exception."""
    with pytest.raises(ValueError, match="not JSON") as caught:
        transport.read_json(data)
    assert caught.value.__suppress_context__
