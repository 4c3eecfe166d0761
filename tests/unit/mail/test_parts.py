"""The MIME tree: which leaves there are, where they lie, how large they are."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

from relay.mail import parts
from relay.mail.fields import scan
from relay.mail.parts import Tree, read_tree
from tests.fakes import torture

if TYPE_CHECKING:
    import pytest


def tree(raw: bytes) -> Tree:
    return read_tree(raw, scan(raw))


def contents(raw: bytes) -> list[bytes]:
    return [part.content(len(raw)) for part in tree(raw).parts]


def test_the_line_end_before_a_boundary_belongs_to_it() -> None:
    """A part ends without it (RFC 2046 section 5.1.1)."""
    raw = torture.multipart(b"\r\none\r\n", b"\r\n\r\ntwo", b"\r\n")
    assert contents(raw) == [b"one\r\n", b"\r\ntwo", b""]
    assert contents(raw.replace(b"\r\n", b"\n")) == [b"one\n", b"\ntwo", b""]


def test_preamble_and_epilogue_are_no_parts() -> None:
    """What stands around the parts is for programs that know no MIME."""
    raw = torture.multipart(b"\r\none")
    assert b"preamble" in raw
    assert b"epilogue" in raw
    assert contents(raw) == [b"one"]


def test_a_boundary_must_be_the_whole_line() -> None:
    """A line that begins like the boundary is content."""
    raw = torture.multipart(b"\r\n--b1x\r\n--b\r\n --b1\r\nx--b1")
    assert contents(raw) == [b"--b1x\r\n--b\r\n --b1\r\nx--b1"]


def test_a_boundary_may_be_the_last_bytes() -> None:
    """The line of the last boundary needs no line end."""
    raw = torture.multipart(b"\r\none").partition(b"--b1--")[0]
    assert contents(raw + b"--b1--") == [b"one"]
    assert contents(raw + b"--b1") == [b"one", b""]


def test_choices_and_related_are_inherited() -> None:
    """A leaf knows the alternative it stands in, however deep."""
    raw = torture.multipart(
        torture.inner(
            b"alternative",
            b"a",
            torture.PLAIN,
            torture.inner(b"related", b"r", torture.HTML, torture.PDF),
        ),
        torture.inner(b"alternative", b"c", torture.PLAIN),
        torture.PLAIN,
    )
    assert [(part.choice, part.related) for part in tree(raw).parts] == [
        (1, False), (1, True), (1, True), (2, False), (0, False),
    ]  # fmt: skip


def test_the_first_of_repeated_fields_counts() -> None:
    """A second Content-Type does not change what the first said."""
    raw = torture.mail(b"Content-Type: text/html", b"Content-Type: text/plain")
    assert tree(raw).parts[0].media_type == "text/html"


def test_limits_leave_the_first_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a limit what was found stands, and the limit is noted."""
    monkeypatch.setattr(parts, "MAX_PARTS", 3)
    found = tree(torture.flat(5))
    assert len(found.parts) == 3
    assert found.repairs == ["parts_cut"]
    exact = tree(torture.flat(3))
    assert (len(exact.parts), exact.repairs) == (3, [])
    monkeypatch.setattr(parts, "MAX_DELIMITERS", 2)
    raw = torture.flat(2)
    found = tree(raw)
    assert found.repairs == ["delimiters_cut", "boundary_not_closed"]
    assert found.parts[0].content(100) == b"part 0"
    monkeypatch.setattr(parts, "MAX_DEPTH", 1)
    found = tree(torture.multipart(torture.inner(b"mixed", b"i", torture.PLAIN)))
    assert [part.media_type for part in found.parts] == ["multipart/mixed"]
    assert "depth_cut" in found.repairs


def test_the_standard_library_sees_the_same_parts() -> None:
    """On sound mail there is nothing to disagree about."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "a@x.example"
    mail.set_content("Grüße\n" * 50)
    mail.add_alternative("<p>Grüße</p>" * 50, subtype="html")
    for number in range(5):
        data = bytes(range(256)) * number
        mail.add_attachment(data, maintype="a", subtype="b", filename=f"f{number}")
    raw = mail.as_bytes()
    theirs = [part for part in mail.walk() if not part.is_multipart()]
    ours = tree(raw).parts
    assert [part.media_type for part in ours] == [p.get_content_type() for p in theirs]
    assert [part.name or None for part in ours] == [p.get_filename() for p in theirs]
    for our, their in zip(ours, theirs, strict=True):
        content = their.get_payload(decode=True)
        assert isinstance(content, bytes)
        if our.name:
            assert our.content(len(raw)) == content
