"""Reading mail: what holds for all bytes, all address lists and all sound mails."""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

from hypothesis import assume, example, given
from hypothesis import strategies as st

from relay.core.addresses import (
    address_key,
    domain_key,
    fold_ascii,
    spellings,
    unicode_domain,
)
from relay.core.errors import UnparsableMessage
from relay.core.model import Mailbox
from relay.mail import (
    addresses,
    content_keys,
    decode_header,
    header_fields,
    mailboxes,
    parse,
)
from relay.mail.dates import parse_date
from relay.mail.html import html_to_text
from relay.mail.words import clean, decode

if TYPE_CHECKING:
    from relay.core.model import Email

UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# Bytes that are mails now and then: pieces of header and MIME, and anything at all.
PIECES = st.sampled_from(
    [
        b"From: a@x.example\r\n",
        b"To: ",
        b"Subject: ",
        b"Date: ",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"Content-Type: ",
        b"multipart/mixed; boundary=b\r\n",
        b'multipart/alternative; boundary="a"\r\n',
        b"text/html",
        b"; charset=utf-8\r\n",
        b"; charset=utf-16\r\n",
        b"message/rfc822\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"--a\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Disposition: attachment; ",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"filename*0*=utf-8''%C3",
        b"=?utf-8?b?",
        b"=?iso-2022-jp?q?",
        b"?=",
        b"=C3=BC",
        b"<",
        b">",
        b"(",
        b")",
        b'"',
        b"\\",
        b",",
        b";",
        b":",
        b"@",
        b"x.example",
        b"\0",
        b"\xff",
        b"\x1b$B",
        b"<p>",
        b"<!--",
        b"&#x",
        b"<script>",
    ]
)
MAILS = st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=60).map(b"".join)
HEADED = st.tuples(st.just(b"From: a@x.example\r\n"), MAILS).map(b"".join)

PRINTABLE = st.text(
    st.characters(
        exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp", "Zs"], include_characters=" "
    ),
    max_size=30,
)
ATOM = st.text(
    "abcdefghijklmnopqrstuvwxyz0123456789!#$%&*+-/=?^_{|}~", min_size=1, max_size=10
)
ADDRESS = st.builds(
    lambda local, domain: f"{local}@{domain}",
    st.lists(ATOM, min_size=1, max_size=3).map(".".join),
    st.from_regex(r"[a-z0-9]{1,10}(\.[a-z0-9]{1,10}){0,2}", fullmatch=True),
)


def shown(name: str) -> str:
    """Return a name as it is read: blanks folded, no comma or quote around it."""
    name = " ".join(name.replace('"', "").split())
    if len(name) > 1 and name[0] == name[-1] == "'":
        name = name[1:-1].strip()
    return name.strip(", ")


def quoted(name: str) -> bytes:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return b'"' + escaped.encode() + b'"'


def encoded(name: str) -> bytes:
    from base64 import b64encode

    return b"=?utf-8?b?" + b64encode(name.encode()) + b"?="


def read(raw: bytes) -> Email | None:
    try:
        return parse(raw)
    except UnparsableMessage:
        return None


def strings(email: Email) -> list[str]:
    boxes = [*email.from_, *email.to, *email.cc, *email.bcc, *email.reply_to]
    return [
        email.subject,
        email.text,
        email.html or "",
        email.headers,
        email.message_id or "",
        *email.in_reply_to,
        *email.references,
        email.key1,
        email.key2,
        *[box.name for box in boxes],
        *[box.address for box in boxes],
        *[item.name for item in email.attachments],
        *[item.content_type for item in email.attachments],
        *[item.content_id or "" for item in email.attachments],
    ]


@given(st.one_of(st.binary(max_size=300), MAILS, HEADED))
@example(b"")
@example(b":")
def test_any_bytes_give_an_email_or_unparsable(raw: bytes) -> None:
    """Nothing else is raised, all text is clean, and keys are those of the bytes."""
    email = read(raw)
    if email is None:
        assert header_fields(raw) == []
        return
    for text in strings(email):
        assert not UNCLEAN.search(text)
        text.encode("utf-8")
    assert (email.key1, email.key2) == content_keys(raw)
    assert all(item.size_bytes >= 0 for item in email.attachments)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=6)), max_size=40).map(b"".join))
def test_any_address_list_is_read(value: bytes) -> None:
    """No list raises; every address has two sides and no control characters."""
    for box in mailboxes([value]):
        local, at, domain = box.address.partition("@")
        assert local
        assert at
        assert domain
        assert not UNCLEAN.search(box.name + box.address)
        assert "\n" not in box.name


@given(
    st.lists(
        st.tuples(PRINTABLE, ADDRESS, st.sampled_from([quoted, encoded])), max_size=8
    ),
    st.sampled_from([b", ", b",", b",\r\n ", b" ,\r\n\t", b";"]),
)
def test_address_lists_round_trip(boxes: list, between: bytes) -> None:
    """A rendered list reads as the mailboxes it was rendered from."""
    rendered = between.join(
        [how(name) + b" <" + address.encode() + b">" for name, address, how in boxes]
    )
    read = mailboxes([rendered])
    assert [box.address for box in read] == [address for _, address, _ in boxes]
    for box, (name, _, how) in zip(read, boxes, strict=True):
        if how is quoted and "=?" not in name:
            assert box.name == shown(name)
        elif how is encoded:
            assert box.name.strip("', ") == " ".join(name.split()).strip("', ")


@given(
    st.lists(ADDRESS, min_size=1, max_size=6),
    st.sampled_from([",", ", ", " , ", ";", " "]),
)
def test_bare_addresses_are_never_dropped(addresses: list[str], between: str) -> None:
    """A list of addresses alone reads as itself."""
    read = mailboxes([between.join(addresses).encode()])
    assert read == tuple(Mailbox("", address) for address in addresses)


@given(
    st.lists(ADDRESS, min_size=1, max_size=5),
    st.lists(st.binary(max_size=5), max_size=5),
)
def test_an_address_in_brackets_is_found_whatever_stands_around(
    addresses: list[str], junk: list[bytes]
) -> None:
    """Junk without quotes, comments and brackets cannot hide a recipient."""
    plain = [bytes(set(piece) - set(b'"()<>[]\\')) for piece in junk]
    pieces = [b"<" + address.encode() + b">" for address in addresses]
    for index, piece in enumerate(plain):
        pieces.insert(index * 2, piece)
    found = {box.address for box in mailboxes([b" ".join(pieces)])}
    assert set(addresses) <= found


@given(
    st.lists(
        st.tuples(
            st.text("abzAZ09 ._-+='\"(),:;\\", max_size=8),
            st.text("ab09._-+=@<> ", max_size=8),
            st.sampled_from([",", ", ", " ,", "", ",,"]),
        ),
        max_size=4,
    )
)
def test_the_quick_reading_agrees_with_the_full_one(entries: list) -> None:
    """What the one expression takes, the full reading reads just so."""
    value = "".join(
        f"{name}<{address}>{end}" if len(name) % 2 else f"{name}@{address}{end}"
        for name, address, end in entries
    ).encode()
    quick = addresses._read_easy(value)
    if quick is not None:
        assert quick == addresses._List(
            addresses.MAX_ENTRIES, [], "", recipients=False
        ).read(value)


@given(ADDRESS)
def test_address_keys_are_their_own_keys(address: str) -> None:
    """A key is stable, and equal whatever the case."""
    key = address_key(address)
    assert key is not None
    assert address_key(key) == address_key(address.upper()) == key


@given(st.text(max_size=40))
def test_any_text_has_a_stable_key_or_none(text: str) -> None:
    """No text raises; a key is its own key."""
    key = address_key(text)
    if key is not None:
        assert address_key(key) == key


HEADER_TEXT = st.text(
    st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=40
).filter(lambda text: text.strip() == text)
WORDS = st.lists(
    HEADER_TEXT.filter(lambda text: " " not in text), min_size=1, max_size=6
)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(["From", "To", "Cc", "Subject", "Date", "Message-ID"], WORDS)
    ),
    st.lists(WORDS, max_size=5),
    st.sampled_from([b"\r\n ", b"\n\t", b"\r\n  \t ", b"  "]),
    st.booleans(),
)
def test_keys_do_not_change_with_folding(
    fields: dict[str, list[str]], body: list[list[str]], fold: bytes, upper: bool
) -> None:
    """Folding, line ends, the case of names and trace fields keep both keys."""

    def render(between: bytes, end: bytes, trace: bytes) -> bytes:
        lines = [trace] if trace else []
        for name, words in fields.items():
            shown = name.upper() if upper and trace else name
            joined = between.join(word.encode() for word in words)
            lines.append(shown.encode() + b": " + joined)
        text = end.join(between.join(w.encode() for w in words) for words in body)
        return end.join(lines) + end + end + text

    plain = render(b" ", b"\n", b"")
    other = render(fold, b"\r\n", b"Received: from a by b")
    assert content_keys(plain) == content_keys(other)


@given(HEADED, HEADED)
def test_different_ids_and_texts_have_different_keys(one: bytes, two: bytes) -> None:
    """Two mails with keys in common have the same sender."""
    if set(content_keys(one)) & set(content_keys(two)):
        sender = [b" ".join(v.split()) for n, v in header_fields(one) if n == "from"]
        other = [b" ".join(v.split()) for n, v in header_fields(two) if n == "from"]
        assert [v for v in sender if v] == [v for v in other if v]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_header_text_round_trips(text: str) -> None:
    """What the standard library encodes is decoded to the same line."""
    line = " ".join(clean(text).split())
    assert decode_header(encoded(line)) == line.strip()
    if line.isprintable() and "=?" not in line:
        assert decode_header(line.encode()) == line


@given(st.binary(max_size=80), st.one_of(st.none(), st.text(max_size=12)))
def test_any_bytes_decode_under_any_label(data: bytes, label: str | None) -> None:
    """No label raises; the text can be written as UTF-8 once it is clean."""
    clean(decode(data, label)[0]).encode("utf-8")


@given(st.text(max_size=60))
def test_any_text_is_a_date_or_none(text: str) -> None:
    """No text raises, and a date has its zone set."""
    found = parse_date(text)
    assert found is None or found.tzinfo is not None


@given(
    st.lists(
        st.one_of(
            st.sampled_from([*"<>!-/&;'\" ", "<p>", "<script", "</", "<!--", "<td>"]),
            st.text(max_size=4),
        ),
        max_size=40,
    ).map("".join)
)
def test_any_html_gives_text(html: str) -> None:
    """No HTML raises, and no three line ends stand together."""
    assert "\n\n\n" not in html_to_text(html) or "<pre" in html


SOUND = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]), max_size=60
)


@given(
    st.lists(SOUND, min_size=1, max_size=5),
    st.one_of(st.none(), SOUND),
    st.lists(st.tuples(SOUND, st.binary(max_size=200)), max_size=3),
)
def test_mails_of_the_standard_library_read_as_they_were_written(
    lines: list[str], html: str | None, files: list[tuple[str, bytes]]
) -> None:
    """On sound mail nothing is mended, and text and files are what was put in."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "a@x.example"
    text = "\n".join(lines) + "\n"
    mail.set_content(text)
    if html is not None:
        mail.add_alternative(html, subtype="html")
    for number, (_, data) in enumerate(files):
        mail.add_attachment(data, maintype="a", subtype="b", filename=f"f{number}.bin")
    email = parse(mail.as_bytes())
    assert email.repairs == ()
    if text.strip() or html is None:
        assert email.text.removeprefix("\ufeff") == text.removeprefix("\ufeff")
    assert [(item.name, item.size_bytes) for item in email.attachments] == [
        (f"f{number}.bin", len(data)) for number, (_, data) in enumerate(files)
    ]


# Labels in which readings of IDNA differ: deviations, joiners, wide forms, emoji,
# right to left, false A-labels; and any text at all.
LABELS = st.one_of(
    st.text("ßẞs\u017fς\u03c3\u200c\u200dक्षüÜu\u0308aAK\u212a-_0❤א\u00ad", max_size=8),
    st.text("ab-", max_size=6).map(lambda text: f"xn--{text}"),
    st.text(max_size=8),
)
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).flatmap(
    lambda labels: st.sampled_from(".\u3002\uff0e\uff61").map(
        lambda dot: dot.join(labels)
    )
)


@given(DOMAINS)
def test_a_domain_key_is_its_own_key(domain: str) -> None:
    """A key is ASCII, or what was written; its U-labels lead back to it."""
    key = domain_key(domain)
    assert domain_key(key) == key
    assert domain_key(unicode_domain(key)) == key
    if not key.isascii():
        written = re.sub("[\u3002\uff0e\uff61]", ".", domain)
        assert key == fold_ascii(written).rstrip(".")


@given(DOMAINS)
def test_what_idna_2003_took_for_one_domain_is_two(domain: str) -> None:
    """ß is not ss, final sigma not sigma, and a joiner is part of its name."""
    folds = {"ß": "ss", "ẞ": "ss", "ς": "\u03c3", "\u200c": "", "\u200d": ""}
    folded = domain.translate(str.maketrans(folds))
    if folded != domain:
        assert domain_key(folded) != domain_key(domain)


@given(st.text(min_size=1, max_size=6), DOMAINS)
def test_local_parts_are_folded_in_ascii_alone(local: str, domain: str) -> None:
    """A key keeps every character beyond ASCII, and all its spellings have it."""
    assume("@" not in domain)
    key = address_key(f"{local}@{domain}")
    if key is None:
        return
    kept = key.rpartition("@")[0]
    if not kept.isascii():
        assert [c for c in kept if c > "\x7f"] == [
            c for c in local.lstrip() if c > "\x7f"
        ]
    assert {address_key(spelt) for spelt in spellings(key)} == {key}
