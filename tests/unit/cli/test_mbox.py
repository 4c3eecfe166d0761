"""Where the mails of an mbox begin and end, whoever wrote it."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli import mbox

LINE = b"From ada@corp.example Mon Mar  2 09:00:00 2026\n"
HEAD = b"Subject: s\nFrom: ada@corp.example\n\n"
PRICE = b"Dear Kim,\n\nFrom now on the price is 5.\n\nAda\n"


def cut(data, limit=10**6):
    """Return (mail, lines taken as text) of each in a file with these bytes."""
    file, again = io.BytesIO(data), io.BytesIO(data)
    return [(mbox.read(again, span, limit)[0], span.noted) for span in mbox.spans(file)]


def test_a_sentence_is_no_separator():
    """A paragraph that begins with From stays in its mail, and is told of."""
    data = LINE + HEAD + PRICE + b"\n" + LINE + HEAD + b"Bye.\n"
    assert cut(data) == [(HEAD + PRICE, 1), (HEAD + b"Bye.\n", 0)]


@pytest.mark.parametrize(
    "line",
    [
        b"From ada Mon Mar  2 09:00:00 2026\n",
        b"From - Mon Mar 02 09:00:00 2026\r\n",
        b"From 1234@xxx Mon Mar 02 09:00:00 +0000 2026\n",
        b"From ada at corp.example  Mon Mar  2 09:00:00 2026\n",
        b"From ada Mon Mar  2 09:00 2026\n",
        b"From ada Mon Mar  2 09:00:00 EST 2026 remote from host\n",
    ],
)
def test_separators_as_they_are_written(line):
    """Sender, seconds and time zone differ from program to program."""
    data = line + HEAD + b"1\n\n" + line + HEAD + b"2\n"
    assert cut(data) == [(HEAD + b"1\n", 0), (HEAD + b"2\n", 0)]


@pytest.mark.parametrize("line", [b"From a b\n", b"From \n", b"From ada, today\n"])
def test_a_writer_without_dates(line):
    """Where the first line has no date, a header block behind the line is the mark."""
    data = line + HEAD + PRICE + b"\n" + line + HEAD + b"2\n"
    assert cut(data) == [(HEAD + PRICE, 1), (HEAD + b"2\n", 0)]


@pytest.mark.parametrize(
    "text",
    [
        b"x\n" + LINE + b"Subject: not after an empty line\n",
        b"x\n\n" + LINE + b"no header field\n",
        b"x\n\n" + LINE,
    ],
)
def test_what_only_looks_like_a_separator(text):
    """A separator stands behind an empty line, before a field; no mail is cut."""
    assert cut(LINE + HEAD + text) == [(HEAD + text, 1)]


def judged(data):
    """Return of each mail how many of its lines may begin another."""
    return [span.doubtful for span in mbox.spans(io.BytesIO(data))]


UNDATED = b"From ada@corp.example\n"
RFC_DATED = b"From - Tue, 02 Jan 2024 00:00:00 +0000\n"


@pytest.mark.parametrize(
    ("first", "between", "more"),
    [
        (LINE, LINE, b""),
        (LINE, b"\n" + RFC_DATED, b""),
        (LINE, b"\n" + UNDATED, b""),
        (RFC_DATED, b"\n" + RFC_DATED, b""),
        (UNDATED, LINE, b""),
        (UNDATED, b"\r\n" + UNDATED, b""),
        (LINE, b"\n" + UNDATED, b">From old\nX-Status: R\n"),
    ],
)
def test_writers_differ_in_one_file(first, between, more):
    """A header block makes a mail, with a date or behind an empty line."""
    data = first + HEAD + b"1\n" + between + more + HEAD + b"2\n"
    assert [mail for mail, _ in cut(data)] == [HEAD + b"1\n", more[1:] + HEAD + b"2\n"]
    assert judged(data) == [0, 0]


def test_a_mail_without_a_body_hides_none():
    """Also where its header does not end with an empty line."""
    data = LINE + b"From: ada@corp.example\n" + LINE + HEAD + b"2\n"
    assert cut(data) == [(b"From: ada@corp.example\n", 0), (HEAD + b"2\n", 0)]


@pytest.mark.parametrize(
    "text",
    [
        b"x\n" + LINE + b"Subject: one field\n",
        b"x\n\n" + LINE + b"no field\n",
        b"x\n" + UNDATED + HEAD,
        b"x\n\n" + UNDATED + b"Subject: one field\n",
        b"x\n\n" + RFC_DATED + b"Unknown: field\n",
        b"x\n\nFrom our calendar:\nDate: 5 May\nPlace: Rome\n",
    ],
)
def test_what_may_begin_a_mail_is_told(text):
    """With some marks of a beginning and not all, nobody knows: it is left whole."""
    data = LINE + HEAD + text + b"\n" + LINE + HEAD + b"2\n"
    assert judged(data) == [1, 0]
    assert cut(data)[0] == (HEAD + text, 1)


@pytest.mark.parametrize(
    "text",
    [
        b"x\n\nFrom now on the price is 5.\n",
        b"x\n\nFrom now on the price is:\nApples: 5\nPears: 6\n",
        b"x\nFrom now on:\nDate: 5 May\n",
        b"x\n\nFrom Mon, 2 Mar 2026 we close at 5.\n\nFrom: me\n",
    ],
)
def test_sentences_are_in_no_doubt(text):
    """They neither cut a mail nor keep it out."""
    data = LINE + HEAD + text + b"\n" + LINE + HEAD + b"2\n"
    assert judged(data) == [0, 0]
    assert cut(data)[0][0] == HEAD + text


def test_a_writer_without_dates_and_a_price():
    """Where no separator has a date, any field behind one leaves a doubt."""
    data = UNDATED + HEAD + b"x\n\nFrom now on:\nApples: 5\n\n" + UNDATED + HEAD
    assert judged(data) == [1, 0]


def with_length(body, length=None):
    length = len(body) if length is None else length
    return b"Subject: s\nContent-Length: %d\n\n" % length + body


@pytest.mark.parametrize("behind", [b"", b"\n", b"\n\n"])
def test_a_length_that_fits_is_believed(behind):
    """An unquoted separator inside it is text (mboxcl2)."""
    inside = b"x\n\n" + LINE + HEAD + b"quoted\n"
    data = LINE + with_length(inside) + behind + LINE + HEAD + b"2\n" + behind
    last = HEAD + b"2\n" + behind[1:]
    assert cut(data) == [(with_length(inside), 1), (last, 0)]
    assert cut(LINE + with_length(inside) + behind) == [(with_length(inside), 1)]


@pytest.mark.parametrize("length", [0, 1, 2, 7, 40, 10**14])
def test_a_length_that_does_not_fit_is_not(length):
    """Somebody has changed the mail since, or lies: separators count."""
    first = with_length(b"one\n", length)
    data = LINE + first + b"\n" + LINE + HEAD + b"2\n"
    assert cut(data) == [(first, 0), (HEAD + b"2\n", 0)]


def test_a_body_without_a_last_line_end():
    """Its length leads to the line end that belongs to the mbox."""
    body = b"x\n\n" + LINE + HEAD + b"no end"
    data = LINE + with_length(body) + b"\n\n" + LINE + HEAD + b"2\n"
    assert cut(data) == [(with_length(body), 1), (HEAD + b"2\n", 0)]


def test_quotes_are_undone_where_there_are_any():
    """mboxrd loses one `>`; a mail with unquoted text is no mboxrd."""
    quoted = b">From a\n>>From b\n> From c\nx>From d\n"
    (found,) = cut(LINE + HEAD + quoted)
    assert found == (HEAD + b"From a\n>From b\n> From c\nx>From d\n", 0)
    (found,) = cut(LINE + HEAD + quoted + b"\nFrom me\n")
    assert found == (HEAD + quoted + b"\nFrom me\n", 1)


def test_empty_lines_at_the_beginning():
    """They belong to no mail, and the file is an mbox all the same."""
    data = b"\n\r\n" + LINE + HEAD + b"1\n"
    assert mbox.is_mbox(io.BytesIO(data))
    assert cut(data) == [(HEAD + b"1\n", 0)]


@pytest.mark.parametrize("data", [b"", b"\n", b"Subject: From \n\n", b"\nFrom: a\n\n"])
def test_a_mail_is_no_mbox(data):
    """`From:` is a field of a header."""
    assert not mbox.is_mbox(io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "mails"),
    [
        (LINE, []),
        (LINE + b"\n", [b"\n"]),
        (LINE + b"Subject: s", [b"Subject: s"]),
        (LINE + b"Subject: s\n\n" + LINE + HEAD, [b"Subject: s\n\n", HEAD]),
        (LINE + HEAD + b"x\n\n\n", [HEAD + b"x\n\n"]),
    ],
)
def test_mails_without_much_in_them(data, mails):
    """No body, no header, nothing at all."""
    assert [mail for mail, _ in cut(data)] == mails


def test_a_mail_beyond_the_limit_is_not_kept():
    """Its size is told, and its beginning; memory stays what it was."""
    data = LINE + HEAD + b"x" * 50_000_000 + b"\n\n" + LINE + HEAD + b"2\n"
    file = io.BytesIO(data)
    first, second = mbox.spans(file)
    tracemalloc.start()
    raw, size = mbox.read(file, first, 1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == len(HEAD) + 50_000_001
    assert raw.startswith(HEAD)
    assert peak < 4_000_000
    assert mbox.read(file, second, 100) == (HEAD + b"2\n", len(HEAD) + 2)


PIECES = [LINE, HEAD, b"\n", b"\r\n", b"From x\n", b">From y\n", b"Content-Length: 5\n"]


@given(st.lists(st.sampled_from([*PIECES, b"text\n", b"no end"]), max_size=20))
def test_no_byte_is_lost(pieces):
    """Whatever the file, each line is in one mail, or is one of the mbox's own."""
    data = LINE + b"".join(pieces)
    spans = list(mbox.spans(io.BytesIO(data)))
    at = len(LINE)
    for span in spans:
        assert span.start == at
        assert span.start <= span.end <= span.stop
        assert not data[span.end : span.stop].strip()
        separator, newline, _ = data[span.stop :].partition(b"\n")
        at = span.stop + len(separator + newline)
    assert at == len(data) or (not spans and not data[at:].strip())
