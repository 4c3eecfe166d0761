# ruff: noqa: E501, RUF001 - a table: a case is a line, in whatever script it comes.
"""Mails as badly made as they come, each with what must still be read from it.

`CASES` is one table: a name, the bytes, and what is expected of the `Email` (see
`Case`). The unit tests check it, the fuzzer and the property tests start from it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A mail and what is expected; None means that nothing is said about it."""

    name: str
    raw: bytes = field(repr=False)
    to: list[str] | None = None
    from_: list[str] | None = None
    names: list[str] | None = None
    subject: str | None = None
    text: str | None = None
    holds: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    files: list[str] | None = None
    repairs: set[str] = field(default_factory=set)
    unparsable: bool = False


HEAD = b"From: Ann <ann@corp.example>\r\nTo: bob@cust.example\r\nSubject: S\r\n"
DATE = b"Date: Mon, 02 Jun 2025 10:00:00 +0000\r\n"


def mail(*lines: bytes, body: bytes = b"hello\r\n", head: bytes = HEAD) -> bytes:
    """Return a mail with more header lines."""
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def headed(*lines: bytes, body: bytes = b"hello\r\n") -> bytes:
    """Return a mail with these header lines alone."""
    return mail(*lines, body=body, head=b"")


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b1") -> bytes:
    """Return a mail of these parts, each with its own header and empty line."""
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return mail(
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"',
        body=b"preamble\r\n" + body + b"--" + boundary + b"--\r\nepilogue\r\n",
    )


def part(content_type: bytes, body: bytes, *lines: bytes) -> bytes:
    """Return one part."""
    head = b"".join(line + b"\r\n" for line in lines)
    return b"Content-Type: " + content_type + b"\r\n" + head + b"\r\n" + body


def inner(kind: bytes, boundary: bytes, *parts: bytes) -> bytes:
    """Return a multipart that is a part of another."""
    body = b"".join(b"--" + boundary + b"\r\n" + item + b"\r\n" for item in parts)
    return part(
        b"multipart/" + kind + b"; boundary=" + boundary,
        body + b"--" + boundary + b"--",
    )


def deep(levels: int) -> bytes:
    """Return a mail of multiparts within multiparts."""
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
        for i in range(levels)
    )
    return HEAD + opened + b"Content-Type: text/plain\r\n\r\nat the bottom\r\n"


def flat(count: int) -> bytes:
    """Return a mail of many small parts."""
    return multipart(*[part(b"text/plain", b"part %d" % i) for i in range(count)])


PDF = part(
    b"application/pdf; name=x.pdf",
    base64.encodebytes(bytes(1000)).replace(b"\n", b"\r\n"),
    b"Content-Transfer-Encoding: base64",
    b"Content-Disposition: attachment; filename=x.pdf",
)
PLAIN = part(b"text/plain; charset=utf-8", "Grüße".encode())
HTML = part(b"text/html; charset=utf-8", b"<p>Gr&uuml;&szlig;e <b>an</b> alle</p>")
FORWARD = part(
    b"message/rfc822",
    b"From: x@y.example\r\nSubject: Old /news\r\nContent-Type: multipart/mixed;"
    b" boundary=zz\r\n\r\n--zz\r\n\r\ninside\r\n--zz--\r\n",
)


def named(*lines: bytes) -> bytes:
    """Return a mail with one attachment whose header holds these lines."""
    return multipart(PLAIN, part(b"application/octet-stream", b"x", *lines))


def to(value: bytes) -> bytes:
    """Return a mail with this To field."""
    return headed(b"From: ann@corp.example", b"To: " + value)


EMPTY = [
    Case("nothing at all", b"", unparsable=True),
    Case("one line end", b"\r\n", unparsable=True),
    Case("blanks only", b" \t \r\n \r\n", unparsable=True),
    Case("NUL only", bytes(100), unparsable=True),
    Case("text without a header", b"hello there\r\nhow are you\r\n", unparsable=True),
    Case("empty header, then a body", b"\r\nSubject: no\r\n\r\nx", unparsable=True),
    Case("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, unparsable=True),
    Case("header without a body", HEAD, to=["bob@cust.example"], text=""),
    Case(
        "header cut in a name",
        b"From: a@x.example\r\nSubj",
        text="Subj",
        repairs={"body_separator_missing"},
    ),
]

LINES = [
    Case("bare LF", mail().replace(b"\r\n", b"\n"), to=["bob@cust.example"], text="hello\n"),
    Case("mixed line ends", HEAD.replace(b"\r\n", b"\n", 1) + b"\r\nx\ny\rz\r\n", text="x\ny\nz\n"),
    Case("LF header, CR LF body", HEAD.replace(b"\r\n", b"\n") + b"\nx\r\n\r\ny", text="x\n\ny"),
    Case("no final newline", mail(body=b"hello"), text="hello"),
    Case("bare CR everywhere", mail().replace(b"\r\n", b"\r"), from_=["ann@corp.example", "bob@cust.example"]),
    Case("mbox From_ line", b"From ann@corp.example Mon Jun  2 10:00:00 2025\r\n" + mail(),
         to=["bob@cust.example"], text="hello\n", repairs={"header_line_ignored"}),
    Case("quoted mbox From_ line", b">From ann Mon Jun  2\r\n" + mail(),
         to=["bob@cust.example"], repairs={"header_line_ignored"}),
    Case("folded first line", b" folded\r\n" + mail(), to=["bob@cust.example"],
         repairs={"header_line_ignored"}),
    Case("a name with a blank in it", mail(b"Bad Name: x", b"Cc: c@d.example"),
         text="hello\n", repairs={"header_line_ignored"}),
    Case("empty line forgotten", HEAD + b"Dear Bob,\r\nthanks.\r\n\r\nAnn\r\n",
         holds=("Dear Bob,", "thanks.", "Ann"), repairs={"body_separator_missing"}),
    Case("empty line forgotten, no other", HEAD + b"Dear Bob\r\n", text="Dear Bob\n",
         repairs={"body_separator_missing"}),
    Case("blank before the colon", headed(b"From : a@x.example", b"TO\t: b@y.example"),
         from_=["a@x.example"], to=["b@y.example"]),
    Case("folded with a blank line of blanks", headed(b"From: a@x.example", b"Subject: a\r\n \t\r\n b"),
         subject="a      b"[:1] + "   b"),
    Case("NUL in header and body", mail(b"X: a\0b", body=b"a\0b\x07c\x1bd"), text="abcd"),
    Case("2 MB line in the body", mail(body=b"x" * 2_000_000), repairs={"text_cut"}),
    Case("1 MB header field", mail(b"X-Long: " + b"x" * 1_000_000), text="hello\n"),
    Case("1 MB of folded lines", mail(b"X-Long: a" + b"\r\n b" * 250_000), text="hello\n"),
    Case("4 MB header", HEAD + b"X: y\r\n" * 700_000 + b"\r\nhi", repairs={"header_cut", "fields_cut"},
         text="hi"),
    Case("form feed and next line", mail(body=b"a\x0cb\x0bc"), text="a\nb\nc"),
    Case("every control character", mail(body=bytes(range(32)) + b"\x7f"), text="\t\n\n\n\n"),
]  # fmt: skip

WORDS = [
    Case("raw latin-1 subject", headed(b"From: a@x.example", b"Subject: Gr\xfc\xdfe"), subject="Grüße"),
    Case("raw UTF-8 subject", headed("From: a@x.example\r\nSubject: Grüße – 東京".encode()), subject="Grüße – 東京"),
    Case("encoded word", headed(b"From: a@x.example", b"Subject: =?iso-8859-1?Q?Gr=FC=DFe_x?="), subject="Grüße x"),
    Case("words split inside a character", headed(
        b"From: a@x.example", b"Subject: =?utf-8?b?R3LD?=\r\n =?utf-8?b?vMOfZQ==?="), subject="Grüße"),
    Case("Q words split inside a character", headed(
        b"From: a@x.example", b"Subject: =?utf-8?q?Gr=C3?= =?UTF-8?Q?=BC=C3=9F?=e"), subject="Grüße"),
    Case("unknown charset in a word", headed(b"From: a@x.example", b"Subject: =?x-nix?Q?Gr=FC=DFe?="), subject="Grüße"),
    Case("broken base64 word", headed(b"From: a@x.example", b"Subject: =?utf-8?b?R3L!DvA?= x"), subject="Grü x"),
    Case("a codec that is no charset", headed(b"From: a@x.example", b"Subject: =?punycode?Q?abc-def?="), subject="abc-def"),
    Case("NUL and line end in a word", headed(b"From: a@x.example", b"Subject: =?utf-8?Q?a=00=0D=0Ab?="), subject="a b"),
    Case("language tag", headed(b"From: a@x.example", b"Subject: =?utf-8*de?Q?Gr=C3=BC=C3=9Fe?="), subject="Grüße"),
    Case("ISO-2022-JP", headed(b"From: a@x.example", b"Subject: =?iso-2022-jp?B?GyRCRWw1fhsoQg==?="), subject="東京"),
    Case("short gb2312 word", headed(b"From: a@x.example", b"Subject: =?gb2312?B?1tDOxA==?="), subject="中文"),
    Case("word without an end", headed(b"From: a@x.example", b"Subject: =?utf-8?Q?abc"), subject="=?utf-8?Q?abc"),
    Case("blanks inside a Q word", headed(b"From: a@x.example", b"Subject: =?utf-8?Q?a b?= c"), subject="a b c"),
    Case("many word openings", headed(b"From: a@x.example", b"Subject: " + b"=?utf-8?q?" * 50_000)),
    Case("lone surrogate in UTF-7", headed(b"From: a@x.example", b"Subject: =?utf-7?Q?+2AA-x?="), subject="x"),
    Case("two Subjects", headed(b"From: a@x.example", b"Subject: one", b"Subject: two"), subject="one"),
]  # fmt: skip

ADDRESSES = [
    Case("unquoted comma in a name", to(b"Doe, John <john@x.example>"), to=["john@x.example"], names=["Doe, John"]),
    Case("encoded comma in a name", to(b"=?utf-8?Q?Doe=2C_John?= <john@x.example>, b@y.example"),
         to=["john@x.example", "b@y.example"], names=["Doe, John", ""]),
    Case("encoded word in quotes", to(b'"=?utf-8?Q?M=C3=BCller?= (x)" <m@x.example>'), names=["Müller (x)"]),
    Case("group", to(b"Team: a@x.example, B <b@y.example>;, c@z.example"),
         to=["a@x.example", "b@y.example", "c@z.example"], names=["", "B", ""]),
    Case("undisclosed recipients", to(b"undisclosed-recipients:;"), to=[]),
    Case("empty To", to(b""), to=[]),
    Case("repeated To", headed(b"From: a@x.example", b"To: a@x.example", b"to: b@x.example"),
         to=["a@x.example", "b@x.example"]),
    Case("address as a name", to(b"boss@corp.example <evil@x.example>"), to=["evil@x.example"], names=["boss@corp.example"]),
    Case("address as a quoted name", to(b'"boss@corp.example" <evil@x.example>'), to=["evil@x.example"]),
    Case("comment names the person", to(b"bob@x.example (Bob (the) Builder)"), to=["bob@x.example"], names=["Bob (the) Builder"]),
    Case("comment behind brackets", to(b"<bob@x.example> (Bob), c@x.example"), names=["Bob", ""]),
    Case("comma in a quoted name", to(b'"Doe, J \\"JD\\" <x@y>" <john@x.example>'), to=["john@x.example"], names=["Doe, J JD <x@y>"]),
    Case("quote never closed", to(b'"Doe, John <john@x.example>, bob@y.example'), to=["john@x.example", "bob@y.example"]),
    Case("odd quotes around a mailbox", to(b'O"Brien <a@x.example>, "Bob" <b@y.example>'), to=["a@x.example", "b@y.example"]),
    Case("comment never closed", to(b"Bob (work <bob@x.example>, al@y.example"), to=["bob@x.example", "al@y.example"]),
    Case("bracket never closed", to(b"Bob <bob@x.example, al@y.example"), to=["bob@x.example", "al@y.example"]),
    Case("two brackets in one entry", to(b"A <a@x.example> <b@x.example>"), to=["a@x.example", "b@x.example"]),
    Case("semicolons", to(b"a@x.example; B <b@x.example>;c@x.example"), to=["a@x.example", "b@x.example", "c@x.example"]),
    Case("no commas", to(b"a@x.example b@x.example"), to=["a@x.example", "b@x.example"]),
    Case("blanks around the at sign", to(b"bob @ x.example"), to=["bob@x.example"]),
    Case("mailto", to(b"<mailto:bob@x.example>, mailto:al@x.example"), to=["bob@x.example", "al@x.example"]),
    Case("source route", to(b"<@relay.example,@b.example:bob@x.example>"), to=["bob@x.example"]),
    Case("quoted local part", to(b'"john doe"@x.example, <"a@b"@y.example>'), to=['"john doe"@x.example', '"a@b"@y.example']),
    Case("quotes around an address", to(b"\"bob@x.example\", 'al@x.example'"), to=["bob@x.example", "al@x.example"]),
    Case("address literal", to(b"bob@[192.0.2.1], al@[IPv6:2001:db8::1]"), to=["bob@[192.0.2.1]", "al@[IPv6:2001:db8::1]"]),
    Case("raw UTF-8 address", to("Jürgen <jürgen@bücher.example>".encode()), to=["jürgen@bücher.example"], names=["Jürgen"]),
    Case("raw latin-1 name", to(b"J\xfcrgen <j@x.example>"), names=["Jürgen"]),
    Case("words in an address stay", to(b"=?utf-8?q?boss?=@corp.example"), to=["=?utf-8?q?boss?=@corp.example"]),
    Case("no address at all", to(b"Bob, <>, Al <al>, @, x@, @y"), to=[]),
    Case("NUL in an address", to(b"bo\0b@x.example"), to=["bo\ufffdb@x.example"]),
    Case("commas only", to(b",,;,, ,"), to=[]),
    Case("several From fields", headed(b"From: a@x.example", b"From: b@x.example"),
         from_=["a@x.example", "b@x.example"], repairs={"from_repeated"}),
    Case("two mailboxes in From", headed(b"From: a@x.example, b@x.example"), from_=["a@x.example", "b@x.example"]),
    Case("no From", headed(b"To: a@x.example"), from_=[], repairs={"from_missing"}),
    Case(
        "30,000 recipients",
        to(b",\r\n ".join(b"N%d <n%d@x.example>" % (i, i) for i in range(30_000))),
        repairs={"addresses_cut"},
    ),
    Case(
        "9,000 recipients",
        to(b",\r\n ".join(b"N%d <n%d@x.example>" % (i, i) for i in range(9_000))),
        to=[f"n{i}@x.example" for i in range(9_000)],
    ),
    Case("brackets without end", to(b"<" * 100_000)),
    Case("parentheses without end", to(b"(" * 100_000)),
    Case("escaped quotes without end", to(b'"' + b'\\"' * 100_000)),
    Case("a long word without an at sign", to(b"a" * 200_000 + b" @ x.example")),
    Case("blanks before an at sign", to(b"a" + b" " * 200_000 + b"@ x.example")),
    Case("250,000 commas", to(b"a," * 250_000), to=[]),
]  # fmt: skip

BODIES = [
    Case("no MIME at all", mail(), text="hello\n", files=[]),
    Case("latin-1 labelled us-ascii", mail(b"Content-Type: text/plain; charset=us-ascii", body=b"Gr\xfc\xdfe \x80"), text="Grüße €"),
    Case("UTF-8 labelled latin-1", mail(b"Content-Type: text/plain; charset=iso-8859-1", body="Grüße".encode()), text="Grüße"),
    Case("unknown charset", mail(b"Content-Type: text/plain; charset=nix", body=b"Gr\xfc"), text="Grü", repairs={"charset_mended"}),
    Case("a codec as charset", mail(b"Content-Type: text/plain; charset=zlib", body=b"x"), text="x"),
    Case("unicode_escape as charset", mail(b"Content-Type: text/plain; charset=unicode_escape", body=b"\\ud800"), text="\\ud800"),
    Case("UTF-16 with a mark", mail(b"Content-Type: text/plain; charset=utf-16", body="Grü\r\nx".encode("utf-16")), text="Grü\nx"),
    Case("ISO-2022-JP body", mail(b"Content-Type: text/plain; charset=iso-2022-jp", body="東京".encode("iso-2022-jp")), text="東京"),
    Case("UTF-8 with a bad byte", mail(b"Content-Type: text/plain; charset=utf-8", body="Grüße aus Köln und Zürich ".encode() * 3 + b"\xff"),
         holds=("Grüße aus Köln",), repairs={"charset_mended"}),
    Case("UTF-8 mark", mail(b"Content-Type: text/plain; charset=utf-8", body=b"\xef\xbb\xbfhi"), text="hi"),
    Case("bad base64", mail(b"Content-Transfer-Encoding: base64", body=b"aGVs*bG8g\r\nd29ybGQ\r\n"), text="hello world",
         repairs={"base64_damaged"}),
    Case("base64 with one character too many", mail(b"Content-Transfer-Encoding: base64", body=b"aGVsbG8gd"), text="hello "),
    Case("base64 named with a comment", mail(b"Content-Transfer-Encoding: BASE64 (x)", body=b"aGVsbG8="), text="hello"),
    Case("bad quoted-printable", mail(b"Content-Transfer-Encoding: quoted-printable", body=b"a=ZZ=C3=BC=\r\nb=\r\n=4"), text="a=ZZüb=4"),
    Case("unknown encoding", mail(b"Content-Transfer-Encoding: rot99", body=b"x"), text="x", repairs={"encoding_unknown"}),
    Case("nonsense content type", mail(b"Content-Type: nonsense", body=b"x"), text="x"),
    Case("content type with 10,000 parameters", mail(b"Content-Type: text/plain" + b'; a="b' * 10_000, body=b"x"), text="x"),
    Case("HTML alone", mail(b"Content-Type: text/html", body=b"<p>a<p>b<br>c"), text="a\n\nb\nc"),
    Case("HTML with a script", mail(b"Content-Type: text/html", body=b"<script>x<y</script>a<style>b</style>c<!-- d -->e"), text="ace"),
    Case("1 MB of open tags", mail(b"Content-Type: text/html", body=b"<div>" * 200_000 + b"x"), text="x"),
    Case("an attribute list without end", mail(b"Content-Type: text/html", body=b"<a " + b"b " * 300_000)),
    Case("50,000 options", mail(b"Content-Type: text/html", body=b"<select>" + b"<option>" * 50_000)),
    Case("open comments", mail(b"Content-Type: text/html", body=b"<!--a>" * 100_000)),
    Case("open heads", mail(b"Content-Type: text/html", body=b"<head><svg>" * 60_000 + b"x"), text="x"),
    Case("open angle brackets", mail(b"Content-Type: text/html", body=b"<a <a " * 100_000)),
    Case("ampersands", mail(b"Content-Type: text/html", body=b"&&#x110000;&#xD800;&#0;&amp" * 10_000)),
    Case("base64 that is HTML", mail(b"Content-Type: text/html", b"Content-Transfer-Encoding: base64", body=b"PGI+aGk8L2I+"), text="hi"),
]  # fmt: skip

TREES = [
    Case("alternative", multipart(PLAIN, HTML, kind=b"alternative"), text="Grüße", files=[]),
    Case("alternative with empty text", multipart(part(b"text/plain", b"\r\n"), HTML, kind=b"alternative"), text="Grüße an alle"),
    Case("HTML and a list's footer", multipart(HTML, part(b"text/plain", b"list footer")), text="Grüße an alle\nlist footer"),
    Case("mixed, related, alternative", multipart(
        inner(b"related", b"r", inner(b"alternative", b"a", PLAIN, HTML),
              part(b"image/png; name=l.png", b"x", b"Content-ID: <l@x>")), PDF),
        text="Grüße", files=["l.png", "x.pdf"]),
    Case("same boundary inside", multipart(inner(b"mixed", b"b1", PLAIN), PDF), holds=("Grüße",), files=["x.pdf"]),
    Case("boundary is a prefix", multipart(inner(b"mixed", b"b", PLAIN), PDF, boundary=b"b-longer"), text="Grüße", files=["x.pdf"]),
    Case("boundary not closed", multipart(PLAIN, PDF).partition(b"\r\n--b1--")[0], text="Grüße", files=["x.pdf"], repairs={"boundary_not_closed"}),
    Case("inner boundary not closed", multipart(inner(b"mixed", b"i", PLAIN).replace(b"--i--", b""), PDF), holds=("Grüße",), files=["x.pdf"]),
    Case("boundary missing", multipart(PLAIN, PDF).replace(b'; boundary="b1"', b"").replace(b"preamble", b""),
         text="Grüße", files=["x.pdf"], repairs={"boundary_guessed"}),
    Case("boundary wrong", multipart(PLAIN, PDF).replace(b'boundary="b1"', b'boundary="other"'),
         text="Grüße", files=["x.pdf"], repairs={"boundary_guessed"}),
    Case("no boundary anywhere", mail(b"Content-Type: multipart/mixed; boundary=zz", body=b"just text"),
         text="just text", repairs={"multipart_without_parts"}),
    Case("an inner multipart without parts", multipart(part(b"multipart/mixed; boundary=none", b"kept text"), PDF),
         text="kept text", files=["x.pdf"], repairs={"multipart_without_parts"}),
    Case("boundary with blanks behind it", multipart(PLAIN, PDF).replace(b"--b1\r\n", b"--b1  \t\r\n"), text="Grüße", files=["x.pdf"]),
    Case("boundary of 300 characters", multipart(PLAIN, boundary=b"x" * 300), text="Grüße"),
    Case("empty boundary", multipart(PLAIN, boundary=b""), holds=("Grüße",)),
    Case("parts without headers", multipart(b"\r\none", b"\r\ntwo"), text="one\ntwo"),
    Case("part without an empty line", multipart(b"Content-Type: text/plain", PLAIN), text="Grüße"),
    Case("forwarded mail", multipart(PLAIN, FORWARD), text="Grüße", files=["Old _news.eml"]),
    Case("forwarded mail without a subject", multipart(PLAIN, part(b"message/rfc822", b"From: x@y\r\n\r\n")), files=["message.eml"]),
    Case("forwarded mail as base64", multipart(PLAIN, part(b"message/rfc822", base64.b64encode(b"Subject: B64\r\n\r\nx"),
         b"Content-Transfer-Encoding: base64")), files=["B64.eml"]),
    Case("nothing but a forward", mail(b"Content-Type: message/rfc822", body=b"Subject: In\r\n\r\nx"), text="", files=["In.eml"]),
    Case("forward in a forward", multipart(PLAIN, part(b"message/rfc822", mail(b"Content-Type: message/rfc822", body=mail()))), files=["S.eml"]),
    Case("250 forwards in each other", HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 250 + b"x", files=["message.eml"]),
    Case("digest", multipart(b"\r\nSubject: one\r\n\r\nx", b"\r\nSubject: two\r\n\r\ny", kind=b"digest"), files=["one.eml", "two.eml"]),
    Case("calendar", multipart(PLAIN, part(b"text/calendar; method=REQUEST", b"BEGIN:VCALENDAR"), kind=b"alternative"),
         text="Grüße", files=["invite.ics"]),
    Case("TNEF", multipart(PLAIN, part(b"application/ms-tnef; name=winmail.dat", b"x\x9f\x3e\x22")), files=["winmail.dat"]),
    Case("delivery report", multipart(PLAIN, part(b"message/delivery-status", b"Action: failed"), kind=b"report"), text="Grüße", files=[""]),
    Case("text as attachment", multipart(PLAIN, part(b"text/plain", b"notes", b"Content-Disposition: attachment; filename=n.txt")),
         text="Grüße", files=["n.txt"]),
    Case("text between pictures", multipart(PLAIN, part(b"image/png", b"x", b"Content-Disposition: inline; filename=p.png"),
         part(b"text/plain", b"more")), text="Grüße\nmore", files=["p.png"]),
    Case("10,000 parts", flat(10_000), holds=("part 0", "part 999"), lacks=("part 1000",), repairs={"parts_cut"}),
    Case("10,000 multiparts", multipart(*[inner(b"mixed", b"c%d" % i, PLAIN) for i in range(10_000)]), repairs={"parts_cut"}),
    Case("10,000 open multiparts", multipart(*[part(b"multipart/mixed; boundary=c%d" % i, b"x") for i in range(10_000)]), repairs={"parts_cut"}),
    Case("99 levels", deep(99), holds=("at the bottom",)),
    Case("5,000 levels", deep(5_000), repairs={"depth_cut"}),
    Case("1 MB of dashes", multipart(part(b"text/plain", b"\n--" * 300_000))),
    Case("part header of 1 MB", multipart(part(b"text/plain", b"x", b"X: " + b"y" * 1_000_000)), text="x"),
    Case("part with 100,000 fields", multipart(part(b"text/plain", b"x", *[b"X: y"] * 100_000))),
]  # fmt: skip

NAMES = [
    Case("RFC 2231 name", named(b"Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.pdf"), files=["Grüße.pdf"]),
    Case("RFC 2231 name in segments", named(
        b"Content-Disposition: attachment; filename*0*=utf-8'de'Gr%C3;\r\n filename*1*=%BC%C3%9Fe; filename*2=\".pdf\""), files=["Grüße.pdf"]),
    Case("segments out of order", named(b"Content-Disposition: attachment; filename*1=c.pdf; filename*0=ab"), files=["abc.pdf"]),
    Case("encoded form wins", named(b"Content-Disposition: attachment; filename=x; filename*=utf-8''y"), files=["y"]),
    Case("RFC 2231 unknown charset", named(b"Content-Disposition: attachment; filename*=nix''a%FC.pdf"), files=["aü.pdf"]),
    Case("RFC 2231 NUL", named(b"Content-Disposition: attachment; filename*=utf-8''a%00%0D%0Ab"), files=["a b"]),
    Case("RFC 2047 name", named(b'Content-Disposition: attachment; filename="=?utf-8?q?Gr=C3=BC=C3=9Fe.pdf?="'), files=["Grüße.pdf"]),
    Case("RFC 2047 name split inside a character", named(
        b'Content-Disposition: attachment; filename="=?utf-8?b?R3LD?=\r\n =?utf-8?b?vC5wZGY=?="'), files=["Grü.pdf"]),
    Case("raw latin-1 file name", named(b'Content-Disposition: attachment; filename="Gr\xfc.pdf"'), files=["Grü.pdf"]),
    Case("name without quotes", named(b"Content-Disposition: attachment; filename=a b c.pdf"), files=["a b c.pdf"]),
    Case("semicolon and quote in a name", named(b'Content-Disposition: attachment; filename="a;b\\"c.pdf"'), files=['a;b"c.pdf']),
    Case("quote never closed in a name", named(b'Content-Disposition: attachment; filename="abc.pdf'), files=['"abc.pdf']),
    Case("Windows path", named(b'Content-Disposition: attachment; filename="C:\\dir\\f.pdf"'), files=["f.pdf"]),
    Case("climbing path", named(b'Content-Disposition: attachment; filename="../../etc/passwd"'), files=["passwd"]),
    Case("dots alone", named(b'Content-Disposition: attachment; filename=".."'), files=[""]),
    Case("name in Content-Type", multipart(PLAIN, part(b'application/pdf; name="q.pdf"', b"x")), files=["q.pdf"]),
    Case("name of 10,000 characters", named(b"Content-Disposition: attachment; filename=" + b"x" * 10_000 + b".pdf"), files=["x" * 251 + ".pdf"]),
]  # fmt: skip

CASES = [*EMPTY, *LINES, *WORDS, *ADDRESSES, *BODIES, *TREES, *NAMES]
