"""Address lists: what the torture table does not say already."""

from __future__ import annotations

import pytest

from relay.core.model import Mailbox
from relay.mail import addresses, mailboxes
from relay.mail.addresses import is_cut
from tests.fakes.cpu import assert_linear


def read(value: bytes) -> list[tuple[str, str]]:
    return [(box.name, box.address) for box in mailboxes([value])]


LISTS: list[tuple[bytes, list[tuple[str, str]]]] = [
    (b"", []),
    (b"a@x.example", [("", "a@x.example")]),
    (b"<a@x.example>", [("", "a@x.example")]),
    (b"A <a@x.example>,", [("A", "a@x.example")]),
    (b'"A, B" <a@x.example>', [("A, B", "a@x.example")]),
    (b'"A \\"B\\" C" <a@x.example>', [("A B C", "a@x.example")]),
    (b"A. B. C. <a@x.example>", [("A. B. C.", "a@x.example")]),
    (b"'A' <a@x.example>", [("A", "a@x.example")]),
    (b"a@x.example (A)", [("A", "a@x.example")]),
    (b"a@x.example (A), b@x.example (B)", [("A", "a@x.example"), ("B", "b@x.example")]),
    (b"N <a@x.example> (A)", [("N", "a@x.example")]),
    (b"(A) <a@x.example>", [("A", "a@x.example")]),
    (b"A (the \\) one) <a@x.example>", [("A", "a@x.example")]),
    (b"(only a comment)", []),
    (b"<a@x.example> (A) <b@x.example>", [("A", "a@x.example"), ("", "b@x.example")]),
    (b"<a@x.example> b@x.example", [("", "a@x.example"), ("", "b@x.example")]),
    (b"A a@x.example", [("A", "a@x.example")]),
    (b"Doe, a@x.example", [("Doe", "a@x.example")]),
    (b"Alice <>, Bob <b@x.example>", [("Bob", "b@x.example")]),
    (b"a@x.example <>", [("", "a@x.example")]),
    (b"One: ;, Two:a@x.example;", [("", "a@x.example")]),
    (b"Re: A <a@x.example>", [("A", "a@x.example")]),
    (b"a@x.example:25", [("25", "a@x.example")]),
    (b"[list] A <a@x.example>", [("[list] A", "a@x.example")]),
    (b"[ A <a@x.example>", [("[ A", "a@x.example")]),
    (b"<a @ x.example>", [("", "a@x.example")]),
    (b"< a@x.example >", [("", "a@x.example")]),
    (b"<a@x.example, b@x.example>", [("", "a@x.example"), ("", "b@x.example")]),
    (b'<"a b" @x.example>', [("", '"a b"@x.example')]),
    (b'<"a b"@>', []),
    (b'<"a b">', []),
    (b'"a b"@ x.example', [("", '"a b"@x.example')]),
    (b'"a b" @x.example', [("", '"a b"@x.example')]),
    (b'"a b"@', []),
    (b'"a b"@x.example c@x.example', [("", '"a b"@x.example'), ("", "c@x.example")]),
    (b'"a@x.example" b@x.example', [("a@x.example", "b@x.example")]),
    (b"<'a@x.example'>", [("", "a@x.example")]),
    (b"O'Neil <o'neil@x.example>", [("O'Neil", "o'neil@x.example")]),
    (b"''@x.example, @'.'", []),
    (b"A\r\n <a@x.example>", [("A", "a@x.example")]),
    (b"a@x.example\r\n\t,b@x.example", [("", "a@x.example"), ("", "b@x.example")]),
    (b"=?utf-8?q?A?= =?utf-8?q?B?= <a@x.example>", [("AB", "a@x.example")]),
    (b"=?utf-8?q?=3Ca=40x=2Eexample=3E?=", []),
    (b'"unclosed\\', []),
    (b'"x@y.example\\', [("", "x@y.example")]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), LISTS)
def test_lists(value: bytes, expected: list[tuple[str, str]]) -> None:
    """The list is read as a person would read it."""
    assert read(value) == expected


def test_most_mail_is_read_by_one_expression() -> None:
    """The plain form takes the quick way, and reads as the full one reads it."""
    value = b"Ann  B. Lee <ann+x@x.example>, bob@x.example ,<c_d@x.example>,"
    quick = addresses._read_easy(value)
    assert quick == addresses._List(100, [], "", recipients=False).read(value)
    assert quick is not None
    assert quick[0] == Mailbox("Ann B. Lee", "ann+x@x.example")
    for other in (b"a@x.example;b@x.example", b'"A" <a@x>', b"\xfc <a@x>", b"A a@x"):
        assert addresses._read_easy(other) is None


def test_every_field_counts() -> None:
    """The values of repeated fields are read one after the other."""
    assert mailboxes([b"a@x.example", b"", b"B <b@x.example>"]) == (
        Mailbox("", "a@x.example"),
        Mailbox("B", "b@x.example"),
    )
    assert mailboxes(()) == ()


def test_unpaired_quotes_never_hide_a_sender() -> None:
    """A From made to look like one mailbox shows both: it is refused, not trusted."""
    forged = b'"rep@corp.example, x" <evil@x.example>, "'
    assert [address for _, address in read(forged)] == [
        "rep@corp.example",
        "evil@x.example",
    ]


@pytest.mark.parametrize(
    "piece",
    [
        b"<", b">", b"(", b")", b'"', b'\\"', b'<"', b"(\\", b":", b"[", b"@", b"a@",
        b"@a", b" @ ", b"a,", b"a@x,", b'"a" ', b"(a) ", b"<a> ", b"[a] ", b"a ", b"=?",
        b"'", b",@", b"a@b:", b'"@', b"=?a?q?=00?= ", b"\xff@\xff ", b'x<("',
    ],
)  # fmt: skip
def test_time_is_linear(piece: bytes) -> None:
    """No piece, repeated to 100 KB, takes longer than its length does."""
    assert_linear(lambda size: mailboxes([piece * (size // len(piece))]), 100_000)


def test_the_number_of_entries_is_bounded() -> None:
    """Entries beyond the limit are left out, over all fields, and `is_cut` says so."""
    whole = [b"a@x.example," * 19_999] * 2
    assert len(mailboxes(whole)) == 2 * 19_999
    assert not is_cut(whole)
    assert len(mailboxes([*whole, b"b@x.example,c@x.example"])) == 2 * 19_999
    assert is_cut([*whole, b"x," * 40_000])
    assert is_cut([b""] * 40_001)


def test_in_from_an_encoded_word_hides_no_address() -> None:
    """What has a raw `@` in it is read as before: more mailboxes, never fewer."""
    value = b"=?utf-8?Q?Ada,_<eve@x.example>?= <ada@corp.example>"
    assert len(mailboxes([value])) > 1
    (box,) = mailboxes([value], recipients=True)
    assert box.address == "ada@corp.example"
