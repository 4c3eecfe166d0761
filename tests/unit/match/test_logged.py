"""Which mail is logged: the one that came, or those that it forwards."""

from __future__ import annotations

from datetime import datetime

import pytest

from relay.config import MatchSettings, SalesforceSettings
from relay.core.automatic import Automatic, AutomaticKind
from relay.core.directory import SkipKind
from relay.core.model import Attachment, Email, Forward, Mailbox, Place
from relay.core.states import Event
from relay.match import Context, Logged, Rules, direction, plan, to_log
from relay.match.plan import UNSURE
from tests.fakes.values import NOON, boxes, directory, email

RELAY = "log-a@in.relay.example"
MARA = Mailbox("Mara Voss", "mara@acme.example")
RULES = Rules(
    frozenset({"in.relay.example"}), 50, MatchSettings(), SalesforceSettings()
)


def forward(**changes: object) -> Forward:
    """Return a mail of Mara's to Ada, forwarded in a text."""
    values: dict[str, object] = {
        "how": "inline",
        "from_": MARA,
        "to": boxes("ada@corp.example"),
        "cc": boxes("tim@leads.example"),
        "subject": "Question",
        "date": datetime(2026, 3, 3, 9, 15),  # noqa: DTZ001 - no zone stands there
        "text": "How much is it?",
        "note": "for the record",
        "key": "c",
        "keys": ("i1", "i2"),
    }
    return Forward(**values | changes)  # type: ignore[arg-type]


def context(*accepted: str) -> Context:
    """Return the rules, with what may send for Ada."""
    people = directory(accepted=accepted or ("ada@corp.example",))
    return Context.of(people, RULES)


def logged(mail: Email, *accepted: str) -> list[Logged]:
    """Return what is logged of a mail of Ada's."""
    where = context(*accepted)
    return list(to_log(mail, where.directory.users[1], where))


def one(mail: Email, *accepted: str) -> Email:
    """Return the only mail that is logged."""
    (found,) = logged(mail, *accepted)
    return found.email


def test_a_mail_to_a_customer_is_logged_as_it_is() -> None:
    """What goes to somebody else is a mail of its own, whatever it forwards."""
    plain = email(to=boxes("kim@customer.example"))
    assert one(plain) is plain
    assert direction(plain) == "outbound"
    for more in (
        {"to": boxes("kim@customer.example", RELAY)},
        {"to": boxes(RELAY), "cc": boxes("kim@customer.example")},
        {"to": boxes(RELAY), "bcc": boxes("kim@customer.example")},
    ):
        mail = email(forwards=(forward(),), forward_unsure="no_mark", **more)
        found = one(mail)
        assert (found.forwards, found.forward_unsure) == ((), "")
        assert found.subject == mail.subject
        assert not found.incoming


@pytest.mark.parametrize(
    "to", [(), (RELAY,), (RELAY, "ADA@corp.example"), ("me@home.example",)]
)
def test_a_forward_to_the_relay_alone_logs_the_forwarded_mail(
    to: tuple[str, ...],
) -> None:
    """The relay's address, the author's and the rep's own are nobody else's."""
    mail = email(to=boxes(*to), forwards=(forward(),), references=("<t@acme.example>",))
    (found,) = logged(mail, "ada@corp.example", "me@home.example")
    made = found.email
    assert made.from_ == (MARA,)
    assert (made.to, made.cc) == (
        boxes("ada@corp.example"),
        boxes("tim@leads.example"),
    )
    assert (made.subject, made.text, made.note) == (
        "Question",
        "How much is it?",
        "for the record",
    )
    assert (made.date, made.local_date) == (None, forward().date)
    assert (made.key1, made.key2, made.dated) == ("i1", "i2", True)
    assert (made.message_id, made.references) == (None, ("<t@acme.example>",))
    assert made.incoming
    assert direction(made) == "inbound"
    assert (made.forwarded, made.forwarder) == ("inline", mail.from_[0])
    assert [tuple(line) for line in found.steps] == [
        (
            "kind",
            "forwarded mail of mara@acme.example, inbound",
            "inline, forwarded by ada@corp.example",
        ),
        ("note", "14 characters", ""),
    ]


def test_the_author_of_an_incoming_mail_comes_first() -> None:
    """From counts for mail that was received; exclusions hold for it, too."""
    mail = one(email(to=boxes(RELAY), forwards=(forward(),)))
    where = context()
    found = plan(mail, where.ours, ())
    assert [(p.key, p.place) for p in found.people] == [
        ("mara@acme.example", Place.FROM),
        ("tim@leads.example", Place.CC),
    ]
    excluded = directory(("mara@acme.example", SkipKind.ADDRESS)).exclusions
    people = plan(mail, where.ours, excluded).people
    assert [p.key for p in people] == ["tim@leads.example"]


def test_an_own_mail_that_is_forwarded_was_sent() -> None:
    """A rep forwards from Sent what the relay was not in BCC of."""
    sent = forward(from_=Mailbox("", "ben@corp.example"), date=NOON, note="")
    (found,) = logged(email(to=boxes(RELAY), forwards=(sent,)))
    assert not found.email.incoming
    assert (found.email.date, found.email.local_date) == (NOON, None)
    assert found.steps[0].result == "forwarded mail of ben@corp.example, outbound"
    assert len(found.steps) == 1


def test_an_attached_mail_is_logged_as_it_was_read() -> None:
    """Its own keys and Message-ID count, its files where they stand in the bytes."""
    file = Attachment("rfq.pdf", "application/pdf", 9, start=500, end=512)
    inner = email(
        from_=(MARA,), message_id="<o@acme.example>", key1="o1", key2="o2",
        automatic=Automatic(AutomaticKind.AUTO_REPLY, "Auto-Submitted: auto-replied"),
        forwards=(forward(),), forward_unsure="no_mark",
    )  # fmt: skip
    attached = forward(
        how="attached", email=inner, attachments=(file,), inner=forward()
    )
    (found,) = logged(email(to=boxes(RELAY), forwards=(attached,)))
    made = found.email
    assert (made.message_id, made.key1, made.key2) == ("<o@acme.example>", "o1", "o2")
    assert made.attachments == (file,)
    assert (made.automatic, made.forwards, made.forward_unsure) == (None, (), "")
    assert found.steps[1].detail.startswith("it forwards a mail of mara@acme.example")


def test_several_attached_mails_are_logged_each_by_itself() -> None:
    """What cannot be read among them is one more, and ends as unmatched."""
    pair = (forward(), forward(subject="Other"))
    mail = email(to=boxes(RELAY), forwards=pair, forward_unsure="attached_unreadable")
    found = logged(mail)
    assert [each.email.subject for each in found] == [
        "Question",
        "Other",
        mail.subject,
    ]
    assert [each.email.forward_unsure for each in found] == [
        "",
        "",
        "attached_unreadable",
    ]


@pytest.mark.parametrize("reason", [*UNSURE, "new_word"])
def test_what_is_unsure_is_unmatched(reason: str) -> None:
    """No guess: the reason says what was unsure, and what the rep can do."""
    (found,) = logged(email(to=boxes(RELAY), forward_unsure=reason))
    assert found.steps[0].result == "forward that is unsure"
    verdict = plan(found.email, context().ours, ()).verdict
    assert verdict is not None
    assert (verdict.event, verdict.reason) == (Event.NO_MATCH, "forward_unsure")
    assert verdict.detail.startswith(UNSURE.get(reason, reason))
    assert "forward that mail as an attachment" in verdict.detail


def test_a_forward_among_colleagues_is_internal() -> None:
    """It is a mail of its own; the trace says how the forwarded one is logged."""
    mail = email(to=boxes("ben@corp.example", RELAY), forwards=(forward(),))
    (found,) = logged(mail)
    assert "to the relay address alone" in found.steps[0].detail
    verdict = plan(found.email, context().ours, ()).verdict
    assert verdict is not None
    assert verdict.reason == "internal_only"


@pytest.mark.parametrize("passed_on", [True, False])
def test_a_customers_mail_that_came_is_inbound(passed_on: bool) -> None:
    """Redirected by a person or by a rule; its forwards are the customer's own."""
    mail = email(
        from_=(MARA,), to=boxes("ada@corp.example"),
        forwards=(forward(),), passed_on=passed_on,
    )  # fmt: skip
    (found,) = logged(mail)
    assert found.email.incoming
    assert found.email.subject == mail.subject
    assert tuple(found.steps[0]) == (
        "kind",
        "mail of mara@acme.example, inbound",
        "passed on as it was" if passed_on else "",
    )


def test_a_listed_domain_sends_and_is_no_sign_of_a_colleague() -> None:
    """`*@gmail.com` on the list: what came straight was sent by the rep."""
    mail = email(from_=boxes("ada@gmail.com"), to=boxes("kim@gmail.com"))
    assert not one(mail, "*@gmail.com").incoming
    received = email(
        from_=boxes("kim@gmail.com"), to=boxes("ada@corp.example"), passed_on=True
    )
    assert one(received, "*@gmail.com").incoming
    other = forward(from_=Mailbox("", "kim@gmail.com"))
    mail = email(from_=boxes("ada@gmail.com"), to=boxes(RELAY), forwards=(other,))
    assert one(mail, "*@gmail.com").incoming


def test_a_mail_without_an_author_was_sent() -> None:
    """Nothing says that it was received."""
    mail = email(from_=(), to=boxes(RELAY), forwards=(forward(),))
    assert one(mail).forwarder is None
    assert not one(email(from_=boxes("nobody"), to=boxes("kim@x.example"))).incoming
