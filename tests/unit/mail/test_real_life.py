"""What real programs make of mail is read as a person would read it."""

from __future__ import annotations

import pytest

from relay.mail import decoded, parse
from tests.fakes.cpu import assert_cpu_below
from tests.fakes.real_life import KINDS, MEMBERS, Member


def test_each_kind_has_several_members() -> None:
    """A kind is mended, not a mail."""
    assert len(KINDS) >= 24
    assert all(len(members) >= 3 for members in KINDS.values())
    names = [(kind, member.name) for kind, member in MEMBERS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "member",
    [member for _, member in MEMBERS],
    ids=[f"{kind}: {member.name}" for kind, member in MEMBERS],
)
def test_member(member: Member) -> None:
    """The mail gives people, text, files and repairs as they are right."""
    assert_cpu_below(2, lambda: parse(member.raw))
    email = parse(member.raw)
    said = {
        "to": tuple(box.address for box in email.to),
        "names": tuple(box.name for box in email.to),
        "subject": email.subject,
        "date": email.date,
        "text": email.text,
        "from_name": email.from_[0].name if email.from_ else "",
    }
    right = {name: getattr(member, name) for name in said}
    assert {n: v for n, v in said.items() if right[n] is not None} == {
        n: v for n, v in right.items() if v is not None
    }
    assert all(piece in email.text for piece in member.shown)
    assert not any(piece in email.text for piece in member.hidden)
    assert all(piece in (email.html or "") for piece in member.html)
    assert set(member.repairs) <= set(email.repairs)
    assert "data:image" not in (email.html or "") + email.text
    if member.files is not None:
        assert [file.name for file in email.attachments] == [f[0] for f in member.files]
        for file, (_, content) in zip(email.attachments, member.files, strict=True):
            found = b"".join(
                decoded([member.raw[file.start : file.end]], file.encoding)
            )
            assert len(found) == file.size_bytes
            assert content is None or found == content
        inline = [file.name for file in email.attachments if file.inline]
        assert set(member.inline) <= set(inline)
        assert inline == list(member.inline) or not member.inline
