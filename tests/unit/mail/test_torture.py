"""Every mail of the torture table gives what can be read of it, cleanly, in time."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import UnparsableMessage
from relay.mail import parse
from tests.fakes.cpu import assert_cpu_below
from tests.fakes.torture import CASES, Case

if TYPE_CHECKING:
    from relay.core.model import Email

UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def texts(value: object) -> list[str]:
    """Return every string within a value."""
    if isinstance(value, str):
        return [value]
    if dataclasses.is_dataclass(value):
        return [
            text
            for field in dataclasses.fields(value)
            for text in texts(getattr(value, field.name))
        ]
    if isinstance(value, tuple):
        return [text for item in value for text in texts(item)]
    return []


def read(case: Case) -> Email:
    email = parse(case.raw)
    for text in texts(email):
        assert not UNCLEAN.search(text), repr(text[:80])
        text.encode("utf-8")
    return email


def test_the_table_is_large_and_each_name_is_there_once() -> None:
    """The table holds well over sixty mails, each under a name of its own."""
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_torture(case: Case) -> None:
    """The mail gives an Email with all that is expected of it, or is unparsable."""
    if case.unparsable:
        with pytest.raises(UnparsableMessage):
            parse(case.raw)
        return
    emails = []
    assert_cpu_below(2, lambda: emails.append(read(case)))
    email = emails[-1]
    if case.to is not None:
        assert [box.address for box in email.to] == case.to
    if case.from_ is not None:
        assert [box.address for box in email.from_] == case.from_
    if case.names is not None:
        assert [box.name for box in email.to] == case.names
    if case.subject is not None:
        assert email.subject == case.subject
    if case.text is not None:
        assert email.text == case.text
    for piece in case.holds:
        assert piece in email.text
    for piece in case.lacks:
        assert piece not in email.text
    if case.files is not None:
        assert [item.name for item in email.attachments] == case.files
    assert case.repairs <= set(email.repairs)
    if case.text is not None and not case.repairs:
        known = {
            "boundary_not_closed",
            "header_line_ignored",
            "multipart_without_parts",
        }
        assert set(email.repairs) <= known | {"charset_mended", "from_missing"}
