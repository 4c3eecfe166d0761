"""What a saved mail tells of its sender, without DNS and without a peer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.sender.offline import NO_SPF, known_offline
from tests.fakes.authentication import MAIL
from tests.fakes.signing import Signer

NOW = datetime.now(UTC)
CORP = Signer("corp.example")
ADA = "ada@corp.example"


def told(mail, now=NOW):
    """Return what is said about a mail of Ada's."""
    *lines, last = known_offline(mail, ADA, now)
    assert last == NO_SPF
    return lines


@pytest.mark.parametrize("mail", [MAIL, MAIL.replace(b"\r\n", b"\n"), b"From: a@x\r\n"])
def test_an_unsigned_mail(mail):
    """SPF is all that could prove it."""
    assert told(mail) == ["not signed (DKIM): SPF alone can prove the author"]


def test_a_whole_signature():
    """Whether it is good, DNS says when the mail comes in."""
    (line,) = told(CORP.sign(MAIL))
    assert line.startswith("DKIM signature of corp.example: covers all that is used;")


def test_what_a_signature_leaves_open():
    """A field that is not signed, or stands twice, is named."""
    (line,) = told(b"Subject: x\r\n" + CORP.sign(MAIL))
    assert "does not cover subject twice" in line
    (line,) = told(CORP.sign(MAIL, fields=["from", "to", "date"]))
    assert "does not cover" in line
    assert "subject" in line


def test_a_signature_that_does_not_count():
    """For its form alone, such as l=."""
    (line,) = told(CORP.sign(MAIL, length=True))
    assert line.startswith("DKIM signature of corp.example: does not count: l=")


def test_results_in_a_file_are_not_believed():
    """Anybody can write that field."""
    lines = told(b"Authentication-Results: mx; dkim=pass\r\n" + MAIL)
    assert "counts only from a configured server" in lines[-1]


def test_time_is_asked():
    """A signature of the future does not count yet."""
    (line,) = told(CORP.sign(MAIL), NOW - timedelta(days=1))
    assert "does not count: signed in the future" in line
