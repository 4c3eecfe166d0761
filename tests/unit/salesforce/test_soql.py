"""Statements hold what they should, quoted, and stay below the limit of a URL."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.salesforce import soql

ANY = st.text(
    st.characters(codec=None) | st.sampled_from("'\"\\%_@.\x00\n\ud800é😀"), max_size=60
)


def test_values_are_quoted_and_cleaned():
    """Quotes and backslashes are escaped, what no query may hold is gone."""
    text = soql.statement("WHERE A = {} AND B IN {}", "o'x\\\x00", ["a\ud800", 'b"'])
    assert text == "WHERE A = 'o\\'x\\\\' AND B IN ('a','b\\\"')"


@given(ANY)
def test_no_value_leaves_its_quotes(value):
    """Between the quotes no quote stands unescaped, and all of it can be encoded."""
    text = soql.statement("{}", value)
    inner = text[1:-1].replace("\\\\", "").replace("\\'", "")
    assert text[0] == text[-1] == "'"
    assert "'" not in inner
    assert soql.encoded(text).isascii()


@given(st.lists(ANY, max_size=80), st.integers(200, 3000))
def test_chunks_keep_order_and_length(values, limit):
    """Every value stands in one chunk, and no chunk of several is too long."""
    template = "SELECT Id FROM Contact WHERE Email IN {}"
    overhead = len(soql.encoded(template)) + 8
    parts = list(soql.chunks(values, overhead, limit))
    assert [v for part in parts for v in part] == values
    for part in parts:
        length = len(soql.encoded(soql.statement(template, part)))
        assert length <= limit or len(part) == 1


def test_four_hundred_addresses_fit_into_a_query():
    """Chunks are filled: an ordinary address costs its length and a few bytes."""
    addresses = [f"p{n}@x.example" for n in range(2000)]
    parts = list(soql.chunks(addresses, 300))
    assert len(parts[0]) > 400


def test_nothing_makes_no_query():
    """An empty IN list is malformed, so that there is no chunk for it."""
    assert list(soql.chunks([], 10)) == []
