"""Which attachments become files, under which names and keys."""

from __future__ import annotations

import dataclasses

import pytest

from relay.activity import FilePlan, FileRules, plan_files
from relay.activity.attachments import file_key, file_name
from relay.core.bodies import BodyMode
from relay.core.model import Attachment, Email
from relay.mail import masked, parse

RULES = FileRules(deny=(".exe", "application/pgp-signature"), inline_min_bytes=1000)


def mail(*attachments: Attachment, html: str | None = None) -> Email:
    """Return a mail with these attachments."""
    email = parse(b"From: a@x.example\r\nSubject: Offer: 1/2\r\n\r\nhi\r\n")
    return dataclasses.replace(email, attachments=attachments, html=html)


def file(name: str = "a.pdf", size: int = 5000, **fields: object) -> Attachment:
    """Return an attachment whose content nobody else has."""
    values = {"content_type": "application/pdf", "sha256": f"{name}{size}"}
    return Attachment(name=name, size_bytes=size, **{**values, **fields})  # type: ignore[arg-type]


def plan(email: Email, rules: FileRules = RULES, *records: str) -> FilePlan:
    """Plan for these records, or for one."""
    return plan_files(
        email,
        rules,
        mail_id=7,
        blob_id="blob",
        raw_bytes=900,
        activity_keys=records or ("one",),
    )


def reasons(email: Email, rules: FileRules = RULES) -> dict[str, str]:
    """Return why files are left out."""
    return dict(plan(email, rules).left_out)


def test_every_record_gets_every_file() -> None:
    """A row for each record and content, each with a key of its own."""
    drafts = plan(mail(file("a.pdf"), file("b.pdf")), RULES, "one", "two").drafts
    assert [(d.name, d.activity_key) for d in drafts] == [
        ("a.pdf", "one"),
        ("a.pdf", "two"),
        ("b.pdf", "one"),
        ("b.pdf", "two"),
    ]
    assert len({d.key for d in drafts}) == 4
    assert drafts[0].key == file_key("one", "a.pdf5000")


def test_a_mail_that_is_not_logged_in_full_keeps_files_back() -> None:
    """Where no text is logged, no file is; the original holds all that is kept back."""
    rules = dataclasses.replace(RULES, original_eml=True, body=BodyMode.HEADERS)
    assert plan(mail(file()), rules).drafts == ()
    assert set(reasons(mail(file()), rules).values()) == {
        "of this mail is logged: headers"
    }
    rules = dataclasses.replace(rules, body=BodyMode.TEXT)
    made = plan(mail(file()), rules)
    assert [draft.name for draft in made.drafts] == ["a.pdf"]
    assert [reason for _, reason in made.left_out] == ["of this mail is logged: text"]


def test_the_same_content_is_one_file() -> None:
    """Whatever its names are; the trace says where it went."""
    twice = mail(file("a.pdf", sha256="x"), file("b.pdf", sha256="x"))
    assert [d.name for d in plan(twice).drafts] == ["a.pdf"]
    assert reasons(twice) == {"b.pdf": "same as a.pdf"}


def test_logos_are_left_out_and_pictures_are_not() -> None:
    """Small images inside the text are left out, as such or by a cid: in the HTML."""
    image = {"content_type": "image/png", "content_id": "l@x"}
    inline = file("l.png", 999, inline=True, **image)
    shown = file("m.png", 999, **image)
    assert reasons(mail(inline, shown, html='<img src="cid:l@x">')) == {
        "l.png": "inline image of 999 bytes, below 1000",
        "m.png": "inline image of 999 bytes, below 1000",
    }
    assert not reasons(mail(shown))
    assert not reasons(mail(file("l.png", 1000, inline=True, **image)))
    assert not reasons(mail(file("a.pdf", 10, inline=True)))


@pytest.mark.parametrize(
    ("one", "rules", "reason"),
    [
        (file("A.EXE"), RULES, "denied"),
        (file("a.exe. "), RULES, "denied"),
        (file("s.asc", content_type="application/pgp-signature"), RULES, "denied"),
        (file("a.pdf", 0), RULES, "empty"),
        (file("a.pdf", 11), FileRules(max_bytes=10), "11 bytes, above 10"),
        (file("a.pdf"), FileRules(allow=("image/*", ".txt")), "not allowed"),
        (file("a.pdf"), FileRules(allow=(".pdf",), deny=("application/*",)), "denied"),
    ],
)
def test_rules(one: Attachment, rules: FileRules, reason: str) -> None:
    """What a rule leaves out is named with its reason."""
    ((_, why),) = reasons(mail(one), rules).items()
    assert reason in why


@pytest.mark.parametrize("allow", [("image/*",), (".png",), ("image/png",), ()])
def test_what_is_allowed(allow: tuple[str, ...]) -> None:
    """By group, ending or type; an empty list allows all."""
    image = file("p.png", content_type="image/png")
    assert not reasons(mail(image), FileRules(allow=allow))


def test_limits_and_switches() -> None:
    """Beyond the count files are left out; off, or without a record, there is none."""
    many = mail(*(file(f"{n}.pdf") for n in range(5)))
    few = plan(many, FileRules(max_count=2))
    assert len(few.drafts) == 2
    assert few.left_out[-1] == ("4.pdf", "more than 2 files")
    assert plan(many, FileRules(attach=False)) == FilePlan()
    nowhere = plan_files(
        many, RULES, mail_id=1, blob_id="b", raw_bytes=1, activity_keys=()
    )
    assert nowhere == FilePlan()


def test_the_original_mail() -> None:
    """On request, named after the subject, with a key that every copy shares."""
    rules = FileRules(original_eml=True)
    (draft,) = plan(mail(), rules).drafts
    assert (draft.name, draft.sha256, draft.end) == ("Offer_ 1_2.eml", "", 900)
    assert draft.key == file_key("one", "original")
    assert reasons(mail(), dataclasses.replace(rules, max_bytes=100))


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("a.pdf", "application/pdf", "a.pdf"),
        ("", "application/pdf", "attachment-3.pdf"),
        ("", "image/jpeg", "attachment-3.jpg"),
        ("notes", "text/plain", "notes.txt"),
        ("notes", "x/unheard-of", "notes.bin"),
        ("../../etc/passwd", "text/plain", "_.._etc_passwd"),
        ("a\r\nb\x00.pdf", "application/pdf", "a b_.pdf"),
        (".htaccess", "text/plain", "htaccess.txt"),
        ("v1.2 final", "text/plain", "v1.2 final.txt"),
        ("é" * 300 + ".pdf", "application/pdf", "é" * 199 + "….pdf"),
    ],
)
def test_names(name: str, kind: str, wanted: str) -> None:
    """Every name can be a file's, and has an ending."""
    assert file_name(name, kind, 3) == wanted


def test_the_secret_is_masked() -> None:
    """Relay addresses become x's, quoted ones too; all else keeps its place."""
    raw = (
        b"Received: from x by y for <log-abc123@in.relay.example>; now\r\n"
        b"Bcc: log-abc123@IN.relay.example, kim@x.example\r\n\r\n"
        b"> Cc: log-abc123@in.relay.example\r\n"
    )
    for size in (1, 7, 1000):
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
        out = b"".join(masked(pieces, ["in.relay.example"]))
        assert len(out) == len(raw)
        head, _, body = out.partition(b"\r\n\r\n")
        assert b"abc123" not in head
        assert b"<xxxxxxxxxx@in.relay.example>" in head
        assert b"kim@x.example" in head
        assert body == b"> Cc: xxxxxxxxxx@in.relay.example\r\n"


def test_a_mail_without_a_body_is_masked() -> None:
    """A header that never ends is one all the same."""
    out = b"".join(masked([b"To: log-a@in.example"], ["in.example"]))
    assert out == b"To: xxxxx@in.example"
    assert b"".join(masked([b"To: a@b.example\n\nx"], [])) == b"To: a@b.example\n\nx"
