"""The letters: one template for each kind of notice, as text and as HTML.

A template returns blocks (paragraphs, lists, links); two renderers make text and HTML
of them, so that both say the same, and everything is escaped in one place. What comes
from a mail (its subject, its From) was perhaps written by a stranger: it is cut, and a
link in it is made unclickable, so that no notice can be used to lure anybody.

Source: RFC 3834 sections 3 and 5; RFC 2046 section 5.1.4 (multipart/alternative).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from relay.core.alerts import Alert, AlertEvent, AlertRule, hint, sentence
from relay.core.automatic import NOTICE_HEADER
from relay.core.notices import NoticeKind
from relay.core.translate import IN_ENGLISH, N_, Texts
from relay.sender.causes import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from zoneinfo import ZoneInfo

    from relay.config import NoticesSettings
    from relay.core.model import Json
    from relay.core.notices import NoticeItem, NoticeRow

_LONGEST: Final = 120
_SCHEME: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}):(?=//)")
_HOST: Final = re.compile(r"(?i)\bwww\.")


# ---------------------------------------------------------------- blocks


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or two."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list; each entry is a first line and further ones."""

    entries: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the relay's own; `text` is what it does."""

    text: str
    url: str


Block = Paragraph | Items | Link


@dataclass(frozen=True, slots=True)
class Letter:
    """A subject and what follows."""

    subject: str
    blocks: tuple[Block, ...]

    @property
    def text(self) -> str:
        """Return the letter as plain text."""
        return "\n\n".join(_as_text(block) for block in self.blocks) + "\n"

    @property
    def html(self) -> str:
        """Return the letter as HTML."""
        body = "\n".join(_as_html(block) for block in self.blocks)
        return (
            '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>\n<body>\n'
            f"{body}\n</body></html>\n"
        )


def _as_text(block: Block) -> str:
    if isinstance(block, Paragraph):
        return block.text
    if isinstance(block, Link):
        return f"{block.text}:\n{block.url}"
    return "\n".join("- " + "\n  ".join(entry) for entry in block.entries)


def _as_html(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Link):
        url = html.escape(block.url, quote=True)
        return f'<p><a href="{url}">{html.escape(block.text)}</a></p>'
    entries = "".join(
        f"<li>{'<br>'.join(html.escape(line) for line in entry)}</li>\n"
        for entry in block.entries
    )
    return f"<ul>\n{entries}</ul>"


# ---------------------------------------------------------------- templates


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a template works with.

    Attributes:
        row: The notice.
        zone: Time zone of the recipient.
        links: A link that releases each held message, by its id; those that have one.
        texts: The texts in the recipient's language.
    """

    row: NoticeRow
    zone: ZoneInfo
    links: Mapping[str, str]
    texts: Texts = IN_ENGLISH

    def when(self, at: datetime) -> str:
        """Return a time as the recipient's clock shows it."""
        return at.astimezone(self.zone).strftime("%Y-%m-%d %H:%M")

    def entry(self, item: NoticeItem, *more: str) -> tuple[str, ...]:
        """Return an event as an entry of a list: what mail, and what is said of it."""
        _ = self.texts
        facts = item.facts
        subject = shown(facts.get("subject")) or _("(no subject)")
        party = shown(facts.get("to") or facts.get("from"))
        if not party:
            first = _("“{subject}”, {time}")
        elif facts.get("to"):
            first = _("“{subject}” to {address}, {time}")
        else:
            first = _("“{subject}” from {address}, {time}")
        said = tuple(line for line in more if line)
        words = {"subject": subject, "address": party, "time": self.when(item.at)}
        return (first.format_map(words), *said, f"id {facts.get('id', '')}")

    @property
    def beyond(self) -> tuple[Block, ...]:
        """Say how many events are not in the list."""
        more = self.row.count - len(self.row.items)
        said = self.texts.ngettext("And {count} more.", "And {count} more.", more)
        return (Paragraph(said.format(count=more)),) if more > 0 else ()

    def ngettext(self, one: str, many: str) -> str:
        """Return the form of a subject for the number of events."""
        return self.texts.ngettext(one, many, self.row.count).format(
            count=self.row.count
        )


def shown(value: Json) -> str:
    """Return what a stranger may have written, short, on one line, without links."""
    text = " ".join(str(value or "").split())
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    return _without_links(text)


def _without_links(text: str) -> str:
    return _HOST.sub("www[.]", _SCHEME.sub(r"\1[:]", text))


def _refused(sheet: Sheet) -> Letter:
    _, row = sheet.texts, sheet.row
    entries = tuple(
        sheet.entry(item, shown_reply(item.facts.get("reply"))) for item in row.items
    )
    return Letter(
        sheet.ngettext(
            "A mail was not logged: refused", "{count} mails were not logged: refused"
        ),
        (
            Paragraph(
                _(
                    "Mail that names you as its sender came to your relay address and "
                    "was refused. It is not in Salesforce."
                )
            ),
            Items(entries),
            *sheet.beyond,
            Paragraph(
                _(
                    "If you sent it, do what the line below it says, then send it "
                    "again. If you did not, somebody may know your relay address: ask "
                    "your administrator for a new one (relay user rotate)."
                )
            ),
        ),
    )


def shown_reply(value: Json) -> str:
    """Return the relay's own reply to a mail without the number of the refusal.

    It may repeat what the mail said of its sender.
    """
    return _without_links(re.sub(r" \(ref [0-9a-z]+\)$", "", str(value or "")))


def _held(sheet: Sheet) -> Letter:
    _, row = sheet.texts, sheet.row
    blocks: list[Block] = [
        Paragraph(
            _(
                "The relay could not prove that this mail is yours. It is kept, and is "
                "not in Salesforce until you or an administrator release it."
            )
        )
    ]
    for item in row.items:
        # Whole, as a refusal is: what helps stands at the end.
        said = item.facts.get("detail") or item.facts.get("reason")
        judged = in_words(item.facts.get("verdict"), _)
        detail = shown_reply(judged or _.told(str(said or "")))
        blocks.append(Items((sheet.entry(item, detail),)))
        if url := sheet.links.get(str(item.facts.get("id"))):
            blocks.append(Link(_("I have sent this mail: release it"), url))
    if not sheet.links:
        blocks.append(
            Paragraph(_("An administrator releases it with: relay release ID"))
        )
    blocks += sheet.beyond
    title = sheet.ngettext("A mail is held back", "{count} mails are held back")
    return Letter(title, tuple(blocks))


def _unmatched(sheet: Sheet) -> Letter:
    _, row = sheet.texts, sheet.row
    entries = tuple(
        sheet.entry(item, shown(_.told(str(item.facts.get("detail") or ""))))
        for item in row.items
    )
    return Letter(
        sheet.ngettext(
            "A mail has no record in Salesforce",
            "{count} mails have no record in Salesforce",
        ),
        (
            Paragraph(
                _(
                    "Nobody in To and Cc of this mail is a Contact or an open Lead in "
                    "Salesforce, so it was not logged. It is kept."
                )
            ),
            Items(entries),
            *sheet.beyond,
            Paragraph(
                _(
                    "Add the people to Salesforce; then an administrator logs the mail "
                    "with: relay retry ID"
                )
            ),
        ),
    )


def _failed(sheet: Sheet) -> Letter:
    _, row = sheet.texts, sheet.row
    entries = tuple(
        sheet.entry(item, shown(_.told(str(item.facts.get("detail") or ""))))
        for item in row.items
    )
    return Letter(
        sheet.ngettext(
            "A mail could not be logged", "{count} mails could not be logged"
        ),
        (
            Paragraph(_("Salesforce did not take this mail. It is kept.")),
            Items(entries),
            *sheet.beyond,
            Paragraph(
                _(
                    "An administrator sees the cause with relay show ID, and logs the "
                    "mail with relay retry ID once it is removed."
                )
            ),
        ),
    )


def _logged(sheet: Sheet) -> Letter:
    _, row = sheet.texts, sheet.row
    title = sheet.ngettext("A mail was logged", "{count} mails were logged")
    entries = tuple(sheet.entry(item) for item in row.items)
    return Letter(
        title, (Paragraph(_("In Salesforce:")), Items(entries), *sheet.beyond)
    )


_DIGEST: Final = (
    ("logged", N_("{count} logged in Salesforce")),
    ("unmatched", N_("{count} without a record in Salesforce")),
    ("held", N_("{count} held back")),
    ("refused", N_("{count} refused")),
    ("dead", N_("{count} failed")),
    ("skipped", N_("{count} left out by a rule")),
    ("queued", N_("{count} waiting")),
)


def _digest(sheet: Sheet) -> Letter:
    _, facts = sheet.texts, sheet.row.facts
    counts: Mapping[str, Json] = facts.get("counts") or {}
    entries = tuple(
        (_(words).format(count=counts[state]),)
        for state, words in _DIGEST
        if counts.get(state)
    )
    return Letter(
        _("Your mail in Salesforce: {day}").format(day=facts.get("day", "")),
        (
            Paragraph(_("What became of your mail in the last 24 hours:")),
            Items(entries),
            Paragraph(_("Your administrator changes how often you get such mails.")),
        ),
    )


def _claim_code(sheet: Sheet) -> Letter:
    _, facts = sheet.texts, sheet.row.facts
    return Letter(
        _("Your code to confirm this address"),
        (
            Paragraph(
                _(
                    "{user} wants mail from this address to be logged in Salesforce. "
                    "If that is you, enter this code:"
                ).format(user=shown(facts.get("user")))
            ),
            Paragraph(str(facts.get("code", ""))),
            Paragraph(_("It is valid until {time}.").format(time=facts.get("until"))),
            Paragraph(
                _("If it is not you, do nothing: without the code nothing happens.")
            ),
        ),
    )


def _claim_done(sheet: Sheet) -> Letter:
    _, facts = sheet.texts, sheet.row.facts
    return Letter(
        _("An address was added"),
        (
            Paragraph(
                _("Mail from {address} is logged for {user} from now on.").format(
                    address=shown(facts.get("address")), user=shown(facts.get("user"))
                )
            ),
            Paragraph(
                _(
                    "If you did not ask for this, tell your administrator: relay "
                    "history shows who added it."
                )
            ),
        ),
    )


_ALERT_TITLES: Final[Mapping[str, str]] = {
    AlertEvent.RAISED: N_("Alert: {text}"),
    AlertEvent.STILL: N_("Alert, still so: {text}"),
    AlertEvent.CLEARED: N_("Alert ended: {text}"),
    AlertEvent.TEST: N_("Test: {text}"),
}


def _alert(sheet: Sheet) -> Letter:
    _, facts = sheet.texts, sheet.row.facts
    event = AlertEvent(str(facts.get("event", "test")))
    alert = None if event is AlertEvent.TEST else _alert_of(facts)
    # What Salesforce says stands in it, and what a user is called.
    said = shown(sentence(alert, _))
    blocks: list[Block] = [Paragraph(said)]
    if alert is not None and event is not AlertEvent.CLEARED:
        since = sheet.when(alert.raised_at)
        blocks.append(Paragraph(_("Raised at {time}.").format(time=since)))
        what = hint(alert.rule, _)
        blocks.append(Paragraph(_("What to do: {hint}.").format(hint=what)))
    blocks.append(
        Paragraph(_("An administrator sees all alerts with relay alerts list."))
    )
    return Letter(_(_ALERT_TITLES[event]).format(text=said), tuple(blocks))


def _alert_of(facts: Mapping[str, Json]) -> Alert:
    raised = datetime.fromisoformat(str(facts["raised_at"]))
    cleared = facts.get("cleared_at")
    return Alert(
        0,
        AlertRule(str(facts["rule"])),
        str(facts.get("subject", "")),
        facts.get("facts") or {},
        raised,
        raised,
        cleared_at=datetime.fromisoformat(str(cleared)) if cleared else None,
    )


def _invitation(sheet: Sheet) -> Letter:
    _, facts = sheet.texts, sheet.row.facts
    return Letter(
        _("Your invitation to the relay's console"),
        (
            Paragraph(_("Hello {name},").format(name=shown(facts.get("name")))),
            Paragraph(
                _(
                    "The relay logs the mail that you send in Salesforce. In its "
                    "console you see what became of each mail, and find your relay "
                    "address and how to use it. You sign in as {user}."
                ).format(user=shown(facts.get("user")))
            ),
            Link(_("Set a password and sign in"), str(facts.get("url", ""))),
            Paragraph(
                _(
                    "The link works once, until {time}. After that, ask for another on "
                    "the sign-in page, or your administrator."
                ).format(time=facts.get("until"))
            ),
        ),
    )


def _sign_in_link(sheet: Sheet) -> Letter:
    _, facts = sheet.texts, sheet.row.facts
    if "name" in facts:
        return _invitation(sheet)
    return Letter(
        _("Your link to set a password"),
        (
            Paragraph(
                _(
                    "Somebody, perhaps you, asked for a link to set the password of "
                    "{user} for the relay's console. It works once, until {time}."
                ).format(user=shown(facts.get("user")), time=facts.get("until"))
            ),
            Link(_("Set the password"), str(facts.get("url", ""))),
            Paragraph(
                _("If it was not you, do nothing: your password stays as it is.")
            ),
        ),
    )


TEMPLATES: Final[Mapping[NoticeKind, Callable[[Sheet], Letter]]] = {
    NoticeKind.REFUSED: _refused,
    NoticeKind.HELD: _held,
    NoticeKind.UNMATCHED: _unmatched,
    NoticeKind.FAILED: _failed,
    NoticeKind.LOGGED: _logged,
    NoticeKind.DIGEST: _digest,
    NoticeKind.CLAIM_CODE: _claim_code,
    NoticeKind.CLAIM_DONE: _claim_done,
    NoticeKind.SIGN_IN_LINK: _sign_in_link,
    NoticeKind.ALERT: _alert,
}


def letter(
    row: NoticeRow,
    zone: ZoneInfo,
    links: Mapping[str, str] | None = None,
    texts: Texts = IN_ENGLISH,
) -> Letter:
    """Return the letter for a notice.

    Args:
        row: The notice.
        zone: Time zone of the recipient.
        links: Links that release held messages, by their ids.
        texts: The texts in the recipient's language.
    """
    return TEMPLATES[row.kind](Sheet(row, zone, links or {}, texts))


# ---------------------------------------------------------------- the mail


def message_id(row: NoticeRow, domain: str) -> str:
    """Return the Message-ID of a notice: the same each time that it is sent."""
    return f"<notice.{row.key}@{domain}>"


def mail(row: NoticeRow, made: Letter, settings: NoticesSettings) -> bytes:
    """Return a notice as the bytes of a mail, with CRLF line ends.

    Raises:
        ValueError: The recipient's address cannot stand in a header.
    """
    sender = settings.from_address or ""
    domain = sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(settings.from_name, addr_spec=sender)
    # By its parts: a local part beyond ASCII is an address too (RFC 6531).
    local, _, host = row.recipient.rpartition("@")
    message["To"] = Address(username=local, domain=host)
    message["Subject"] = made.subject
    message["Date"] = format_datetime(row.created_at)
    message["Message-ID"] = message_id(row, domain)
    # RFC 3834 section 5: no program answers it. The last two are for those that do.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message[NOTICE_HEADER] = str(row.kind)
    message.set_content(made.text, cte="quoted-printable")
    message.add_alternative(made.html, subtype="html", cte="quoted-printable")
    needs_utf8 = not row.recipient.isascii()
    return message.as_bytes(policy=SMTPUTF8 if needs_utf8 else SMTP)
