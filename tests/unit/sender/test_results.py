"""Authentication-Results are read as RFC 8601 has them, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.authentication import Identity, Result
from relay.sender.results import read_results

AUTHOR = "ada@corp.example"


def read(*fields, ids=("mx.corp.example",), author=AUTHOR, count=1):
    """Read a header with these lines on top."""
    head = "".join(f"{line}\r\n" for line in fields) + "From: ada@corp.example\r\n"
    return read_results(head.encode(), ids, author, fields=count)


def results(text, **options):
    return read(f"Authentication-Results: mx.corp.example; {text}", **options)


def test_whole_field():
    """Folding, comments, versions, reasons and properties (RFC 8601 section 2.2)."""
    found = read(
        "Authentication-Results: (by milter) MX.corp.example 1;\r\n"
        " spf=pass (sender (is) ok) smtp.mailfrom=bounce@corp.example;\r\n"
        '\tdkim/1=pass reason="good; \\"very\\" good" header.d=Corp.example\r\n'
        '  header.s=s1 header.a=rsa-sha256 header.b="ab/cd+e=";\r\n'
        " dmarc=pass (p=reject dis=none) header.from=corp.example"
    )
    assert (found.source, found.source_detail) == ("results", "MX.corp.example")
    (spf,) = found.spf
    assert (spf.identity, spf.domain, spf.result, spf.aligned) == (
        Identity.MAIL_FROM, "corp.example", Result.PASS, True,
    )  # fmt: skip
    (signature,) = found.dkim
    assert (signature.domain, signature.selector, signature.algorithm) == (
        "corp.example", "s1", "rsa-sha256",
    )  # fmt: skip
    assert signature.counts
    assert signature.aligned
    assert found.dmarc.result is Result.PASS
    assert (found.dmarc.spf_aligned, found.dmarc.dkim_aligned) == (True, True)


@pytest.mark.parametrize(
    ("text", "domain", "aligned"),
    [
        ("dkim=pass header.i=@corp.example header.s=20230601", "corp.example", True),
        ("dkim=pass header.i=ada@corp.example", "corp.example", True),
        ("dkim=pass header.i=@mail.corp.example", "mail.corp.example", False),
        ("dkim=pass header.d=evil.example header.i=@corp.example",
         "evil.example", False),
        ("dkim=pass header.i=@corp.example.evil.example",
         "corp.example.evil.example", False),
        ("dkim=pass header.d=x.example header.d=corp.example", "", False),
        ("dkim=pass", "", False),
        ('dkim=pass header.d="corp.example"', "corp.example", True),
        ("dkim=pass header.d=xn--strae-oqa.example", "xn--strae-oqa.example", False),
    ],
)  # fmt: skip
def test_whose_signature(text, domain, aligned):
    """Gmail writes `header.i` alone; where both stand, d= is who signed."""
    (signature,) = results(text).dkim
    assert (signature.domain, signature.aligned) == (domain, aligned)
    assert signature.counts is bool(domain)


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("pass", Result.PASS),
        ("PASS", Result.PASS),
        ("fail", Result.FAIL),
        ("hardfail", Result.FAIL),
        ("bestguesspass", Result.NEUTRAL),
        ("passed", Result.NEUTRAL),
        ("temperror", Result.TEMPERROR),
        ("invalid", Result.PERMERROR),
    ],
)
def test_result_words(word, result):
    """Only `pass` is a pass."""
    assert results(f"dmarc={word} header.from=corp.example").dmarc.result is result


def test_shapes_of_providers():
    """Microsoft writes `action=` before its properties, and `compauth`."""
    found = read(
        "Authentication-Results: mx.corp.example; spf=pass (sender IP is 40.1.1.2)\r\n"
        " smtp.mailfrom=corp.example; dkim=pass (signature was verified)\r\n"
        " header.d=corp.example;dmarc=pass action=none header.from=corp.example;"
        "compauth=pass reason=100"
    )
    assert found.spf[0].domain == "corp.example"
    assert found.dmarc.result is Result.PASS
    assert results("none").dkim == ()
    helo = results("spf=none smtp.helo=mail.corp.example").spf[0]
    assert (helo.identity, helo.domain, helo.aligned) == (
        Identity.HELO, "mail.corp.example", False,
    )  # fmt: skip
    assert results("spf=pass smtp.mfrom=<ada@corp.example>").spf[0].aligned


@pytest.mark.parametrize(
    "text",
    [
        "dmarc=pass header.from=evil.example",
        "dmarc=pass",
        "dmarc=pass header.from=corp.example; dmarc=fail header.from=corp.example",
        "dmarc=pass header.from=corp.example header.from=evil.example",
    ],
)
def test_dmarc_of_another_domain_does_not_count(text):
    """A pass is one of the author's domain, told once."""
    assert results(text).dmarc.result is Result.NEUTRAL


GOOD = "dmarc=pass header.from=corp.example"


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [f"Authentication-Results: other.example; {GOOD}"],
        [f"Authentication-Results: mx.corp.example.evil.example; {GOOD}"],
        ["Authentication-Results: other.example; none",
         f"Authentication-Results: mx.corp.example; {GOOD}"],
        [f"X-Authentication-Results: mx.corp.example; {GOOD}"],
        [f"Authentication-Results: mx.corp.example (open; {GOOD}"],
        [f'Authentication-Results: "mx.corp.example; {GOOD}'],
        [f"Authentication-Results: mx.corp.example 2; {GOOD}"],
        [f"Authentication-Results: mx.corp.example 1 more; {GOOD}"],
        [f"Authentication-Results: mx.corp.example; dmarc; {GOOD}"],
        [f"Authentication-Results: mx.corp.example \\; {GOOD}"],
        [f"Authentication-Results: mx.corp.example; {GOOD}\0"],
        [f"Authentication-Results: mx.corp.example; {'(' * 99}{')' * 99}{GOOD}"],
        [f"Authentication-Results: mx.corp.example; {GOOD} ({'x' * 20_000})"],
        [f"Authentication-Results: ; {GOOD}"],
    ],
)  # fmt: skip
def test_fields_that_do_not_count(fields):
    """Not ours, not on top, or not readable: nothing is known."""
    assert read(*fields) is None


def test_only_the_topmost_field_counts():
    """What came with the mail stands below, and is not the server's word."""
    top = "Authentication-Results: mx.corp.example; spf=fail smtp.mailfrom=evil.example"
    forged = f"Authentication-Results: mx.corp.example; {GOOD}"
    assert read(top, forged).dmarc is None
    assert read(top, forged, count=2).dmarc.result is Result.PASS
    assert read(top, "Received: from evil", forged, count=2).dmarc is None
    assert read(
        top, "Authentication-Results: x.example; none", forged, count=3
    ).dmarc is (None)
    assert read(top, "Authentication-Results: (", forged, count=3).dmarc is None
    assert read("Received: by mx", top).spf[0].result is Result.FAIL


def test_two_known_servers_do_not_speak_together():
    """The block is of one server; what the other found stands below it."""
    top = "Authentication-Results: mx1.corp.example; none"
    below = f"Authentication-Results: mx2.corp.example; {GOOD}"
    found = read(top, below, ids=("mx1.corp.example", "mx2.corp.example"), count=2)
    assert (found.source_detail, found.dmarc) == ("mx1.corp.example", None)


def test_quoted_marks_are_no_marks():
    """A sender's local part cannot end a statement and begin another."""
    found = results('spf=fail smtp.mailfrom="a;dmarc=pass header.from=b"@evil.example')
    assert found.dmarc is None
    assert found.spf[0].domain == "evil.example"


@given(st.text(alphabet=' ()";=/\\.@abdkimspfr\t\0\r\n1é', max_size=60))
def test_any_text_is_read(text):
    """Whatever stands in the field, reading ends without an error."""
    head = b"Authentication-Results: mx.corp.example;" + text.encode() + b"\r\n"
    read_results(head, ["mx.corp.example"], AUTHOR)
