"""Relay addresses are found however they are encoded, and nothing else is touched."""

from __future__ import annotations

import pytest

from relay.core.masking import MAX_LOCAL, OVERLAP, Mask
from tests.fakes.cpu import assert_linear

TOKEN = "log-k7dq2mzx"
MASKED = "xxxxxxxxxxxx"
MASK = Mask(["in.relay.example", "b\u00fccher.example"])


@pytest.mark.parametrize(
    "around",
    [
        "{}@in.relay.example",
        "Cc: {}@IN.Relay.Example",
        '<a href="mailto:{}@in.relay.example">',
        "x@y.example,{}@in.relay.example.",
        "&lt;{}@in.relay.example&gt;",
        "[{}@in.relay.example]",
        "'{}@in.relay.example'",
        "{}&#64;in&#46;relay&#46;example",
        "{}&#x40;in.relay&period;example",
        "{}&commat;in.relay.example",
        "https://x.example/?to={}%40in%2Erelay.example&x",
        "{}=40in=2Erelay.example",
        "{}@<wbr>in.<wbr/>relay\u200b.example",
        "{}=\r\n@in.relay=\r\n.example",
        "Ada<br>{}@in.relay.example",
        "<td>Ada</td>{}@in.relay.example",
        "<b>{}</b>@<span class=x>in.relay.example",
        "{}@b\u00fccher.example",
        "{}@xn--bcher-kva.example",
        '"{}"@in.relay.example',
        "&quot;{}&quot;@in.relay.example",
    ],
)
def test_a_relay_address_is_masked(around: str) -> None:
    """As plain text, in HTML, in a URL, in quoted-printable."""
    text = f"\u00e9 before {around} after"
    assert MASK.text(text.format(TOKEN)) == text.format(MASKED)


def test_a_broken_or_encoded_local_part_is_masked() -> None:
    """Each letter and digit, whatever stands between them."""
    told = MASK.text("&lt;lo=\r\ng&#45;k7<wbr>d&#113;2@in.relay.example")
    assert told == "&lt;xx=\r\nxxxxxxxx<wbr>xxxxxxxx@in.relay.example"


@pytest.mark.parametrize(
    "text",
    [
        "log-a@relay.example",
        "log-a@x.in.relay.example",
        "log-a@in.relay.example.org",
        "log-a@in.relay.examples",
        "log-a@in-relay.example",
        "in.relay.example is a host, @in.relay.example none",
        "log-a @in.relay.example, log-a(@in.relay.example",
        "",
    ],
)
def test_what_is_no_relay_address_stays(text: str) -> None:
    """Other domains, those below, and what has no local part."""
    assert MASK.text(text) == text


def test_two_addresses_side_by_side() -> None:
    """Each by itself; the second begins where the first has ended."""
    text = "{0}@in.relay.example,{0}@in.relay.example;{0}@x.example"
    told = MASK.text(text.format(TOKEN))
    assert told == text.format(MASKED).removesuffix(f"{MASKED}@x.example") + (
        f"{TOKEN}@x.example"
    )


@pytest.mark.parametrize("size", [1, 7, 1000, OVERLAP - 1, OVERLAP, 20_000])
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    """Every byte keeps its place, also where a piece ends inside an address."""
    line = b"\xff Cc: %s@in.relay.example, kim@customer.example\r\n"
    raw, expected = ((line % token.encode()) * 300 for token in (TOKEN, MASKED))
    pieces = (raw[at : at + size] for at in range(0, len(raw), size))
    assert b"".join(MASK.pieces(pieces)) == expected


@pytest.mark.parametrize(
    "unit",
    ["a", "a@", "@in.relay.example", "&#64;", "<b", "<b>", "&shy;", "=\r\n", "&#4"],
)
def test_time_grows_with_length_alone(unit: str) -> None:
    """Hundreds of kilobytes that nearly match are done in a moment."""

    def work(size: int) -> None:
        text = unit * (size // len(unit)) + "@in.relay.example"
        assert len(MASK.text(text)) == len(text)

    assert_linear(work, 300_000)


def test_no_pieces_give_nothing() -> None:
    """A mail without a byte stays one."""
    assert list(MASK.pieces([])) == []


def test_no_more_than_an_address_is_masked() -> None:
    """A run without end is masked for as long as a local part can be."""
    told = MASK.text("a" * 1000 + "@in.relay.example")
    assert told.partition("@")[0] == "a" * (1000 - MAX_LOCAL) + "x" * MAX_LOCAL


@pytest.mark.parametrize("plus", ["+", "%2B", "=2b", "&#43;", "&plus;"])
def test_an_address_that_names_a_record(plus: str) -> None:
    """Token and id go, however the plus between them is written."""
    named = f"to {TOKEN}{plus}006Hs00001LTtvpIAD@in.relay.example, kim@x.example"
    told = MASK.text(named)
    assert TOKEN not in told
    assert "006Hs" not in told
    assert len(told) == len(named)
    assert told.endswith("@in.relay.example, kim@x.example")
