"""Whatever line a stranger puts into a signed mail: it is seen, or it changes nothing.

Where a signature counts after the change, the mail must say what it said before.
"""

from __future__ import annotations

import pytest

from relay.core.errors import UnparsableMessage
from relay.mail import parse
from tests.fakes.authentication import MAIL, Checker
from tests.fakes.dns import DNS
from tests.fakes.signing import Signer

LINES = [
    *(b"From: eve@evil.example", b"From : eve@evil.example", b"From x y", b">From x"),
    *(b"To: eve@evil.example", b"To : eve@evil.example", b"\teve@evil.example,"),
    *(b" eve@evil.example", b"Cc: eve@evil.example", b"Bcc: eve@evil.example"),
    *(b"Resent-From: eve@evil.example", b"Resent-To: eve@evil.example"),
    *(b"Subject: No offer", b"SUBJECT: No offer", b"Subject:\r\n No offer"),
    *(b"Thread-Topic: No offer", b"Date: Tue, 1 Dec 2026 11:00:00 +0000"),
    *(b"Content-Type: text/html", b"Content-Type: multipart/mixed; boundary=x"),
    *(b"Content-Disposition: attachment; filename=a", b"MIME-Version: 2.0"),
    *(b"Content-Transfer-Encoding: base64", b"Content-Description: No offer"),
    *(b"Content-ID: <1>", b"Content-Location: x", b"Content-Language: x"),
    *(b"", b" ", b"junk", b"\0", b"\0Subject: No offer", b"\xef\xbb\xbfSubject: No"),
    *(b"X: a\rSubject: No offer", b"X: a\nSubject: No offer", b"X: a\n\nNo offer"),
]
READ = ("from_", "to", "cc", "date", "subject", "text", "html", "attachments", "key2")


def said(raw: bytes) -> list[str]:
    """Return what is logged of a mail; blank lines at its end count for nothing."""
    mail = parse(raw)
    return [repr(getattr(mail, name)).replace("\\n", "") for name in READ]


@pytest.mark.parametrize("form", ["relaxed/relaxed", "simple/simple"])
async def test_a_line_more(form):
    """Each such line, at the beginning of each line of the header."""
    fields = "from to subject date message-id content-type mime-version".split()
    with DNS() as dns:
        checker = Checker(dns)
        raw = (
            Signer("corp.example")
            .publish(dns)
            .sign(MAIL, fields=fields, canonicalize=form)
        )
        before, counted = said(raw), 0
        head = raw.index(b"\r\n\r\n") + 2
        places = [0] + [n + 2 for n in range(head) if raw[n : n + 2] == b"\r\n"]
        for line in LINES:
            for place in places:
                changed = raw[:place] + line + b"\r\n" + raw[place:]
                (one,) = (await checker.check(changed)).dkim or (None,)
                if one is None or not one.counts:
                    continue
                counted += 1
                try:
                    after = said(changed)
                except UnparsableMessage:
                    continue
                assert after == before, changed
        assert counted > 0
        await checker.close()
