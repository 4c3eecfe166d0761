# ruff: noqa: E501 - tables: a mail is a few lines, in whatever script it comes.
"""A labelled corpus: mails of many programs, languages and shapes, and what is right.

Each mail came to the relay address of Ada, a rep of `seller.example`. `CORPUS` says of
each who is in it and where, in which direction it went, what its text begins with and
must not hold, and what becomes of it in an org of a few records (`HELD`). All of it was
written down from what the programs do, and not from what the relay reads.

`harmless` are changes that change nobody: a footer with a `From:` line, quote marks,
another line width, a list's footer, a banner above.
"""

from __future__ import annotations

import base64
import html as markup
import quopri
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from relay.core.directory import Directory, Exclusion, Role, SkipKind, User
from relay.core.model import Candidate, Found, OpportunityRole
from tests.fakes import programs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.programs import Words

RELAY: Final = "log-a@bcc.relay.example"
ADA: Final = "Ada Berger <ada@seller.example>"
BEN: Final = "Ben Koch <ben@seller.example>"
MARA: Final = "Mara Voss <mara@acme.example>"
OLGA: Final = "Olga Lind <olga@acme.example>"
TIM: Final = "Tim Low <tim@leads.example>"
NOBODY: Final = "Nils Ohm <nils@elsewhere.example>"
SUBJECT: Final = "Offer 4711 for Q3"
BEGINS: Final = "Hello Ada, how much is it?"
BODY: Final = (BEGINS, "", "Mara Voss", "Acme Ltd.")
NOTE: Final = "For the CRM, please see below."

# ---------------------------------------------------------------- the org

C_MARA: Final = "003000000000001AAA"
C_OLGA: Final = "003000000000002AAA"
L_TIM: Final = "00Q000000000003AAA"
C_TWIN: Final = "003000000000004AAA"
L_TWIN: Final = "00Q000000000005AAA"
O_ACME: Final = "006000000000006AAA"


def _candidate(record: str, name: str, address: str) -> Candidate:
    sobject = "Lead" if record.startswith("00Q") else "Contact"
    return Candidate(record, sobject, address, name, datetime(2025, 1, 1, tzinfo=UTC))


_PEOPLE: Final = (
    _candidate(C_MARA, "Mara Voss", "mara@acme.example"),
    _candidate(C_OLGA, "Olga Lind", "olga@acme.example"),
    _candidate(L_TIM, "Tim Low", "tim@leads.example"),
    _candidate(C_TWIN, "Tova Twin", "tova@twice.example"),
    _candidate(L_TWIN, "Tova Twin", "tova@twice.example"),
)
_ROLE: Final = OpportunityRole(O_ACME, "Acme Q3", C_MARA)
USERS: Final = {
    1: User(
        1, "Ada", "ada@seller.example", Role.REP, True, "005000000000001AAA", "log-a"
    ),
    2: User(2, "Ben", "ben@seller.example", Role.REP, True, None, "log-b"),
}
DIRECTORY: Final = Directory(
    revision=1,
    users=USERS,
    by_token={"log-a": 1, "log-b": 2},
    accepted={
        1: frozenset({"ada@seller.example", "ada.berger@home.example"}),
        2: frozenset(),
    },
    exclusions=(
        Exclusion("*@press.example", None, SkipKind.ADDRESS),
        Exclusion("*@lawyers.example", None, SkipKind.MAIL),
    ),
)


def held(keys: list[str]) -> Found:
    """Return what the org holds for these addresses."""
    people: dict[str, tuple[Candidate, ...]] = {}
    for one in _PEOPLE:
        if one.email_key in keys:
            people[one.email_key] = (*people.get(one.email_key, ()), one)
    return Found(people, {C_MARA: (_ROLE,)} if "mara@acme.example" in people else {})


# ---------------------------------------------------------------- what is right


@dataclass(frozen=True)
class Right:
    """What is right of one mail that is logged, or is not.

    Addresses are those of each place, in order; `records` are the ids that the mail is
    logged on; `begins`, `holds` and `lacks` are about its text.
    """

    direction: str = "outbound"
    sender: str = "ada@seller.example"
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    subject: str = SUBJECT
    begins: str = BEGINS
    holds: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    note: str = ""
    state: str = "logged"
    reason: str = ""
    records: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Labelled:
    """A mail of the corpus, and what is right of each mail that is logged of it.

    `lines` are the text of one that forwards in it, and `made` makes its bytes of such
    lines; `forwards` says that a mail in it is the one that counts.
    """

    name: str
    raw: bytes = field(repr=False)
    right: tuple[Right, ...]
    program: str = ""
    language: str = ""
    forwards: bool = False
    lines: tuple[str, ...] = ()
    made: Callable[[list[str]], bytes] | None = field(default=None, repr=False)


# ---------------------------------------------------------------- making mails

HEAD: Final = (
    "From: {sender}\nTo: {to}\n{cc}Subject: {subject}\nDate: Sat, 28 Nov 2026 09:00:00 +0000\n"
    "Message-ID: <{ident}@mail.seller.example>\nMIME-Version: 1.0\n{extra}"
)


def encoded(text: str) -> str:
    """Return a header value as programs encode it."""
    if text.isascii():
        return text
    return f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="


def part(kind: str, text: str, how: str) -> str:
    """Return a text part in an encoding, with its header."""
    head = f"Content-Type: text/{kind}; charset=utf-8\n"
    if how == "base64":
        body = base64.encodebytes(text.replace("\n", "\r\n").encode()).decode()
    elif how == "quoted-printable":
        body = quopri.encodestring(text.encode()).decode()
    else:
        body, how = text, "8bit"
    return f"{head}Content-Transfer-Encoding: {how}\n\n{body}\n"


def mail(
    body: str, *, sender: str = ADA, to: str = RELAY, cc: str = "", subject: str = SUBJECT,
    extra: str = "", ident: str = "f",
) -> bytes:  # fmt: skip
    """Return a mail with a body that begins with the header of its content."""
    head = HEAD.format(
        sender=sender,
        to=to,
        cc=f"Cc: {cc}\n" if cc else "",
        subject=encoded(subject),
        extra=extra,
        ident=ident,
    )
    return (head + body).replace("\r\n", "\n").replace("\n", "\r\n").encode()


def multi(kind: str, *parts: str) -> str:
    """Return a multipart of parts."""
    mark = f"=_{zlib.crc32(''.join(parts).encode()):08x}"
    body = "".join(f"--{mark}\n{one}\n" for one in parts)
    return f'Content-Type: multipart/{kind}; boundary="{mark}"\n\n{body}--{mark}--\n'


def text_mail(
    lines: list[str] | tuple[str, ...], how: str = "8bit", **more: str
) -> bytes:
    """Return a mail of plain text."""
    return mail(part("plain", "\n".join(lines), how), **more)


def page_mail(page: str, how: str = "quoted-printable", **more: str) -> bytes:
    """Return a mail of a page alone."""
    return mail(part("html", f"<html><body>{page}</body></html>", how), **more)


def both_mail(lines: list[str], page: str, **more: str) -> bytes:
    """Return a mail with text and page."""
    plain = part("plain", "\n".join(lines), "quoted-printable")
    rich = part("html", f"<html><body>{page}</body></html>", "quoted-printable")
    return mail(multi("alternative", plain, rich), **more)


def esc(text: str) -> str:
    """Return text as it stands in a page."""
    return markup.escape(text, quote=False)


def linked(people: str) -> str:
    """Return people as pages show them: each address a link."""
    shown = []
    for one in people.split(", "):
        name, _, address = one.rpartition(" ")
        address = address.strip("<>")
        link = f'<a href="mailto:{address}" target="_blank">{address}</a>'
        shown.append(f"{esc(name)} &lt;{link}&gt;" if name else f"&lt;{link}&gt;")
    return ", ".join(shown)


def divs(lines: list[str] | tuple[str, ...]) -> str:
    """Return lines as a page, each in a block."""
    return "".join(f"<div>{esc(line) or '<br>'}</div>" for line in lines)


# ---------------------------------------------------------------- programs


@dataclass(frozen=True)
class Inner:
    """The mail that is forwarded."""

    sender: str = MARA
    to: str = ADA
    cc: str = TIM
    body: tuple[str, ...] = BODY


def gmail(w: Words, m: Inner) -> list[str]:
    """Gmail: its line, then From, Date, Subject, To, Cc."""
    cc = [f"{w.cc}: {m.cc}"] if m.cc else []
    return [
        w.line, f"{w.sender}: {m.sender}", f"{w.date}: {w.when}", f"{w.subject}: {SUBJECT}",
        f"{w.to}: {m.to}", *cc, "", "", *m.body,
    ]  # fmt: skip


def gmail_page(w: Words, m: Inner) -> str:
    """Gmail in HTML: one block, its lines broken by <br>."""
    name, _, address = m.sender.rpartition(" ")
    cc = f"{w.cc}: {linked(m.cc)}<br>" if m.cc else ""
    who = f'<strong class="gmail_sendername" dir="auto">{esc(name)}</strong> <span dir="auto">&lt;<a href="mailto:{address[1:-1]}">{address[1:-1]}</a>&gt;</span>'
    return (
        f'<div class="gmail_quote"><div dir="ltr" class="gmail_attr">{w.line}<br>{w.sender}: {who}<br>'
        f"{w.date}: {esc(w.when)}<br>{w.subject}: {SUBJECT}<br>{w.to}: {linked(m.to)}<br>{cc}</div><br><br>{divs(m.body)}</div>"
    )


def outlook(w: Words, m: Inner) -> list[str]:
    """Outlook on Windows: no line; people with semicolons."""
    cc = [f"{w.cc}: {m.cc.replace(', ', '; ')}"] if m.cc else []
    return [
        f"{w.sender}: {m.sender} ", f"{w.date}: {w.when}", f"{w.to}: {m.to.replace(', ', '; ')}", *cc,
        f"{w.subject}: {SUBJECT}", "", *m.body,
    ]  # fmt: skip


def outlook_page(w: Words, m: Inner) -> str:
    """Outlook on Windows in HTML: a border above, bold labels in one paragraph."""
    rows = [
        (w.sender, m.sender),
        (w.date, w.when),
        (w.to, m.to.replace(", ", "; ")),
        (w.cc, m.cc.replace(", ", "; ")),
        (w.subject, SUBJECT),
    ]
    lines = "<br>\n".join(
        f"<b>{label}:</b> {esc(value)}" for label, value in rows if value
    )
    return (
        '<div><div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm">'
        f'<p class="MsoNormal">{lines}<o:p></o:p></p></div></div><p class="MsoNormal"><o:p>&nbsp;</o:p></p>'
        + "".join(
            f'<p class="MsoNormal">{esc(line) or "&nbsp;"}<o:p></o:p></p>'
            for line in m.body
        )
    )


def outlook_web(w: Words, m: Inner) -> list[str]:
    """Outlook on the web: a rule above, and each address twice where there is no name."""
    return ["_" * 32, *outlook(w, m)]


def outlook_web_page(w: Words, m: Inner) -> str:
    """Outlook on the web in HTML: <hr>, then a block that has an id."""
    rows = [
        (w.sender, m.sender),
        (w.date, w.when),
        (w.to, m.to.replace(", ", "; ")),
        (w.cc, m.cc.replace(", ", "; ")),
        (w.subject, SUBJECT),
    ]
    lines = "<br>".join(
        f"<b>{label}:</b> {esc(value)}" for label, value in rows if value
    )
    return (
        '<hr tabindex="-1" style="display:inline-block; width:98%">'
        f'<div id="divRplyFwdMsg" dir="ltr"><font face="Calibri, sans-serif" color="#000000" style="font-size:11pt">{lines}</font><div>&nbsp;</div></div>'
        f"<div>{divs(m.body)}</div>"
    )


def outlook_mobile(w: Words, m: Inner) -> list[str]:
    """Outlook on phones: a line that sells it, a rule, the header."""
    return ["Get Outlook for iOS<https://aka.ms/o0ukef>", *outlook_web(w, m)]


def outlook_mobile_page(w: Words, m: Inner) -> str:
    """The same in HTML."""
    return (
        '<div id="ms-outlook-mobile-signature" dir="auto">Get <a href="https://aka.ms/o0ukef">Outlook for iOS</a></div>'
        + outlook_web_page(w, m)
    )


def outlook_mac(w: Words, m: Inner) -> list[str]:
    """Outlook for Mac: no line; commas between people."""
    cc = [f"{w.cc}: {m.cc}"] if m.cc else []
    return [
        f"{w.sender}: {m.sender}", f"{w.date}: {w.when}", f"{w.to}: {m.to}", *cc, f"{w.subject}: {SUBJECT}", "", *m.body,
    ]  # fmt: skip


def apple(w: Words, m: Inner) -> list[str]:
    """Apple Mail: all of it quoted; From, Subject, Date, To, Cc."""
    cc = [f"{w.cc}: {m.cc}"] if m.cc else []
    lines = [
        w.line, "", f"{w.sender}: {m.sender}", f"{w.subject}: {SUBJECT}", f"{w.date}: {w.when}", f"{w.to}: {m.to}", *cc, "", *m.body,
    ]  # fmt: skip
    return [f"> {line}".rstrip() for line in lines]


def apple_page(w: Words, m: Inner) -> str:
    """Apple Mail in HTML: a quote, each field in a block, the label bold."""
    rows = [
        (w.sender, linked(m.sender)),
        (w.subject, f"<b>{SUBJECT}</b>"),
        (w.date, esc(w.when)),
        (w.to, linked(m.to)),
        (w.cc, linked(m.cc) if m.cc else ""),
    ]
    fields = "".join(
        f'<div style="margin: 0px;"><span style="color:rgba(0,0,0,1);"><b>{label}: </b></span><span>{value}<br></span></div>'
        for label, value in rows
        if value
    )
    return (
        f'<blockquote type="cite"><div>{w.line}</div><br class="Apple-interchange-newline">{fields}<br>'
        f"<div>{divs(m.body)}</div></blockquote>"
    )


def ios(w: Words, m: Inner) -> list[str]:
    """Mail on phones of Apple: the line alone, the rest quoted; sender, date, to, subject."""
    cc = [f"{w.cc}: {m.cc}"] if m.cc else []
    lines = [
        f"{w.sender}: {m.sender}",
        f"{w.date}: {w.when}",
        f"{w.to}: {m.to}",
        *cc,
        f"{w.subject}: {SUBJECT}",
        "",
        *m.body,
    ]
    return [w.line, "", *(f"> {line}".rstrip() for line in lines)]


def thunderbird(w: Words, m: Inner) -> list[str]:
    """Thunderbird: its line, labels with a tab, the subject first."""
    cc = [f"{w.cc}: \t{m.cc}"] if m.cc else []
    return [
        w.line, f"{w.subject}: \t{SUBJECT}", f"{w.date}: \t{w.when}", f"{w.sender}: \t{m.sender}", f"{w.to}: \t{m.to}", *cc, "", "", *m.body,
    ]  # fmt: skip


def thunderbird_page(w: Words, m: Inner) -> str:
    """Thunderbird in HTML: a table, a row for each field."""
    rows = [
        (w.subject, SUBJECT),
        (w.date, w.when),
        (w.sender, linked(m.sender)),
        (w.to, linked(m.to)),
        (w.cc, linked(m.cc) if m.cc else ""),
    ]
    cells = "".join(
        f'<tr><th nowrap="nowrap" valign="BASELINE" align="RIGHT">{label}: </th><td>{value}</td></tr>'
        for label, value in rows
        if value
    )
    return (
        f'<div class="moz-forward-container"><br><br>{w.line}<table class="moz-email-headers-table" cellspacing="0" cellpadding="0" border="0">'
        f"<tbody>{cells}</tbody></table><br><br>{divs(m.body)}</div>"
    )


def yahoo(w: Words, m: Inner) -> list[str]:
    """Yahoo in plain text: its line and the whole header on one line, without gaps."""
    people = ";".join(m.cc.split(", "))
    cc = f"{w.cc}: {people}" if m.cc else ""
    return [
        f"   {w.line} {w.sender}: {m.sender}{w.to}: {m.to}{cc}{w.date}: {w.when}{w.subject}: {SUBJECT}", f" {m.body[0]}", *m.body[1:],
    ]  # fmt: skip


def yahoo_page(w: Words, m: Inner) -> str:
    """Yahoo in HTML: a block for each field."""
    rows = [
        (w.sender, m.sender),
        (w.to, m.to),
        (w.cc, m.cc),
        (w.date, w.when),
        (w.subject, SUBJECT),
    ]
    fields = "".join(
        f"<div><b>{label}:</b> {esc(value)}</div>" for label, value in rows if value
    )
    return f'<div id="yahoo_quoted_1" class="yahoo_quoted"><div style="color:#26282a;"><div>{w.line}</div>{fields}<div><br></div>{divs(m.body)}</div></div>'


PROGRAMS: Final = (
    ("Gmail", programs.GMAIL, gmail, gmail_page),
    ("Outlook", programs.OUTLOOK, outlook, outlook_page),
    ("Outlook on the web", programs.OUTLOOK, outlook_web, outlook_web_page),
    ("Outlook on a phone", programs.OUTLOOK, outlook_mobile, outlook_mobile_page),
    ("Outlook for Mac", programs.OUTLOOK_MAC, outlook_mac, outlook_page),
    ("Apple Mail", programs.APPLE, apple, apple_page),
    ("Mail on an iPhone", programs.APPLE, ios, apple_page),
    ("Thunderbird", programs.THUNDERBIRD, thunderbird, thunderbird_page),
    ("Yahoo", programs.YAHOO, yahoo, yahoo_page),
)
_SHAPES: Final = ("plain", "both", "page", "base64")

# Who is in the mail that is forwarded, in turn, and what is right of it then.
_TURNS: Final = (
    (
        Inner(),
        Right("inbound", "mara@acme.example", ("ada@seller.example",), ("tim@leads.example",),
              records=frozenset({C_MARA, L_TIM, O_ACME})),
    ),
    (
        Inner(cc=""),
        Right("inbound", "mara@acme.example", ("ada@seller.example",), (), records=frozenset({C_MARA, O_ACME})),
    ),
    (
        Inner(to=f"{ADA}, {BEN}", cc=f"{OLGA}, {NOBODY}"),
        Right("inbound", "mara@acme.example", ("ada@seller.example", "ben@seller.example"),
              ("olga@acme.example", "nils@elsewhere.example"), records=frozenset({C_MARA, C_OLGA, O_ACME})),
    ),
    (
        Inner(sender=ADA, to=MARA, cc=TIM, body=("Hello Mara, it is 500 euros.", "", "Ada")),
        Right("outbound", "ada@seller.example", ("mara@acme.example",), ("tim@leads.example",),
              begins="Hello Mara, it is 500 euros.", records=frozenset({C_MARA, L_TIM, O_ACME})),
    ),
    (
        Inner(sender=NOBODY, cc=""),
        Right("inbound", "nils@elsewhere.example", ("ada@seller.example",), (), state="unmatched", reason="no_record"),
    ),
)  # fmt: skip


def inline() -> list[Labelled]:
    """Return a forward of each program in each of its languages."""
    found = []
    number = 0
    for name, languages, text, page in PROGRAMS:
        for language, words in languages.items():
            shape = _SHAPES[number % 4]
            inner, right = _TURNS[number * 7 // 5 % 5]
            note = NOTE if number % 3 else ""
            found.append(
                forward(
                    f"{name}, {language}, {shape}",
                    words,
                    (text, page),
                    shape,
                    inner,
                    right,
                    note,
                    (name, language),
                )
            )
            number += 1
    for language, line in programs.OUTLOOK_MAC_OLD.items():
        intro = line.format(name="Mara Voss", address="mara@acme.example")
        lines = [NOTE, "", intro, "", *(f"    {one}".rstrip() for one in BODY)]
        right = Right(
            "inbound",
            "mara@acme.example",
            note=NOTE,
            records=frozenset({C_MARA, O_ACME}),
        )
        found.append(
            Labelled(f"Outlook for Mac of 2019, {language}", text_mail(lines, subject=f"FW: {SUBJECT}"), (right,),
                     "Outlook for Mac of 2019", language, True)
        )  # fmt: skip
    return found


def forward(
    name: str, words: Words, how: tuple[Callable[[Words, Inner], list[str]], Callable[[Words, Inner], str]], shape: str,
    inner: Inner, right: Right, note: str, of: tuple[str, str],
) -> Labelled:  # fmt: skip
    """Return a forward in one shape, with a note above it or none."""
    text, page = how
    above = [note, ""] if note else [""]
    lines = [*above, *text(words, inner)]
    subject = f"{words.prefix}: {SUBJECT}"

    def made(lines: list[str]) -> bytes:
        return text_mail(lines, subject=subject)

    if shape == "plain":
        raw = made(lines)
    elif shape == "base64":
        raw = text_mail(lines, "base64", subject=subject)
    else:
        top = f'<div dir="ltr">{esc(note)}</div><br>' if note else "<br>"
        rich = top + page(words, inner)
        raw = (
            page_mail(rich, subject=subject)
            if shape == "page"
            else both_mail(lines, rich, subject=subject)
        )
    # The advertisement of a phone's program stands above the header, as a note would.
    said = note
    if "phone" in of[0]:
        link = "" if shape == "page" else "<https://aka.ms/o0ukef>"
        said = f"{note}\n\nGet Outlook for iOS{link}".strip()
    right = Right(
        **{**right.__dict__, "note": said, "lacks": (words.line,) if words.line else ()}
    )
    return Labelled(name, raw, (right,), *of, True, tuple(lines), made)


# ---------------------------------------------------------------- other shapes

LOGGED: Final = frozenset({C_MARA, O_ACME})
TEXT: Final = ("Hello Mara,", "", "here is the offer.", "", "Ada")
GREETS: Final = "Hello Mara,"


def sent(**more: object) -> Right:
    """Return what is right of a mail of Ada's to Mara."""
    values: dict[str, object] = {
        "to": ("mara@acme.example",),
        "begins": GREETS,
        "records": LOGGED,
    }
    return Right(**(values | more))  # type: ignore[arg-type]


def got(**more: object) -> Right:
    """Return what is right of a mail of Mara's to Ada."""
    values: dict[str, object] = {
        "direction": "inbound", "sender": "mara@acme.example", "to": ("ada@seller.example",), "records": LOGGED,
    }  # fmt: skip
    return Right(**(values | more))  # type: ignore[arg-type]


def attached(
    *mails: bytes, text: str = NOTE, subject: str = f"Fwd: {SUBJECT}", to: str = RELAY
) -> bytes:
    """Return a mail of Ada's to which mails are attached."""
    parts = [
        f'Content-Type: message/rfc822\nContent-Disposition: attachment; filename="{number}.eml"\n\n{one.decode()}'
        for number, one in enumerate(mails)
    ]
    return mail(
        multi("mixed", part("plain", text, "8bit"), *parts), subject=subject, to=to
    )


def of_mara(**more: str) -> bytes:
    """Return a mail of Mara's to Ada."""
    values = {"sender": MARA, "to": ADA, "ident": "o"}
    return text_mail(BODY, **(values | more))  # type: ignore[arg-type]


def direct() -> list[Labelled]:
    """Return mails that Ada has sent or answered, with the relay in copy."""
    quoted = [
        "Hello Mara,", "", "500 euros.", "", "On Wed, Nov 25, 2026 at 4:58 PM Mara Voss <mara@acme.example> wrote:", "", "> how much is it?",
    ]  # fmt: skip
    replies = {
        "en": "On Wed, Nov 25, 2026 at 4:58 PM Tim Low <tim@leads.example> wrote:",
        "de": "Am Mi., 25. Nov. 2026 um 16:58 Uhr schrieb Tim Low <tim@leads.example>:",
        "fr": "Le mer. 25 nov. 2026 à 16:58, Tim Low <tim@leads.example> a écrit :",
        "es": "El mié, 25 nov 2026 a las 16:58, Tim Low (<tim@leads.example>) escribió:",
        "it": "Il giorno mer 25 nov 2026 alle ore 16:58 Tim Low <tim@leads.example> ha scritto:",
        "nl": "Op wo 25 nov 2026 om 16:58 schreef Tim Low <tim@leads.example>:",
        "pl": "śr., 25 lis 2026 o 16:58 Tim Low <tim@leads.example> napisał(a):",
        "ja": "2026年11月25日(水) 16:58 Tim Low <tim@leads.example>:",
    }
    found = [
        Labelled("direct, relay in Bcc", text_mail(TEXT, to=MARA), (sent(),)),
        Labelled("direct, relay in Cc", text_mail(TEXT, to=MARA, cc=RELAY), (sent(cc=(RELAY,)),)),
        Labelled("direct, page alone", page_mail(divs(TEXT), to=MARA), (sent(),)),
        Labelled("direct, text and page", both_mail(list(TEXT), divs(TEXT), to=MARA), (sent(),)),
        Labelled("direct, to several", text_mail(TEXT, to=f"{MARA}, {TIM}", cc=OLGA),
                 (sent(to=("mara@acme.example", "tim@leads.example"), cc=("olga@acme.example",), records=LOGGED | {L_TIM, C_OLGA}),)),
        Labelled("direct, with a colleague", text_mail(TEXT, to=MARA, cc=BEN), (sent(cc=("ben@seller.example",)),)),
        Labelled("direct, from her other address", text_mail(TEXT, sender="Ada <ada.berger@home.example>", to=MARA),
                 (sent(sender="ada.berger@home.example"),)),
        Labelled("direct, to a person with two records", text_mail(TEXT, to="Tova Twin <tova@twice.example>"),
                 (sent(to=("tova@twice.example",), records=frozenset({C_TWIN, L_TWIN})),)),
        Labelled("direct, to nobody known", text_mail(TEXT, to=NOBODY),
                 (sent(to=("nils@elsewhere.example",), state="unmatched", reason="no_record", records=frozenset()),)),
        Labelled("direct, to a known person and another", text_mail(TEXT, to=f"{MARA}, {NOBODY}"),
                 (sent(to=("mara@acme.example", "nils@elsewhere.example")),)),
        Labelled("direct, upper case", text_mail(TEXT, to="MARA VOSS <MARA@ACME.EXAMPLE>"), (sent(to=("MARA@ACME.EXAMPLE",)),)),
        Labelled("direct, a comma in the name", text_mail(TEXT, to='"Voss, Mara" <mara@acme.example>'), (sent(),)),
        Labelled("direct, an unquoted comma in the name", text_mail(TEXT, to="Voss, Mara <mara@acme.example>"), (sent(),)),
        Labelled("direct, an encoded name with a comma", text_mail(TEXT, to="=?utf-8?q?Vo=C3=9F=2C_Mara?= <mara@acme.example>"), (sent(),)),
        Labelled("direct, an address in the name", text_mail(TEXT, to='"tim@leads.example" <mara@acme.example>'), (sent(),)),
        Labelled("direct, a comment", text_mail(TEXT, to="mara@acme.example (tim@leads.example)"), (sent(),)),
        Labelled("direct, a group", text_mail(TEXT, to=f"Customers: {MARA}, {TIM};"),
                 (sent(to=("mara@acme.example", "tim@leads.example"), records=LOGGED | {L_TIM}),)),
        Labelled("direct, hidden recipients", text_mail(TEXT, to="undisclosed-recipients:;"),
                 (sent(to=(), state="unmatched", reason="no_recipient", records=frozenset()),)),
        Labelled("direct, To missing", text_mail(TEXT, to=MARA).replace(b"To: Mara Voss <mara@acme.example>\r\n", b""),
                 (sent(to=(), state="unmatched", reason="no_recipient", records=frozenset()),)),
        Labelled("direct, to the relay alone", text_mail(TEXT), (sent(to=(RELAY,), state="unmatched", reason="no_recipient", records=frozenset()),)),
        Labelled("direct, a plus tag", text_mail(TEXT, to="mara+x@acme.example"),
                 (sent(to=("mara+x@acme.example",), state="unmatched", reason="no_record", records=frozenset()),)),
        Labelled("reply with a quote", text_mail(quoted, to=MARA, subject=f"Re: {SUBJECT}"), (sent(subject=f"Re: {SUBJECT}"),)),
        Labelled("reply to all", text_mail(quoted, to=MARA, cc=f"{TIM}, {BEN}", subject=f"RE: {SUBJECT}"),
                 (sent(subject=f"RE: {SUBJECT}", cc=("tim@leads.example", "ben@seller.example"), records=LOGGED | {L_TIM}),)),
        Labelled("reply in Outlook", text_mail([*TEXT, "", *outlook(programs.OUTLOOK["de"], Inner(sender=TIM))], to=MARA, subject=f"AW: {SUBJECT}"),
                 (sent(subject=f"AW: {SUBJECT}"),)),
        Labelled("forwarded to a customer", text_mail([*TEXT, "", *gmail(programs.GMAIL["en"], Inner(sender=TIM))], to=MARA, subject=f"Fwd: {SUBJECT}"),
                 (sent(subject=f"Fwd: {SUBJECT}", holds=("Tim Low",)),)),
    ]  # fmt: skip
    for language, line in replies.items():
        lines = [*TEXT, "", line, "", "> how much is it?"]
        found.append(
            Labelled(
                f"reply, {language}",
                text_mail(lines, to=MARA, subject=f"Re: {SUBJECT}"),
                (sent(subject=f"Re: {SUBJECT}"),),
            )
        )
    many = ", ".join(f"Guest {n} <g{n}@party.example>" for n in range(45))
    all_to = ("mara@acme.example", *(f"g{n}@party.example" for n in range(45)))
    found.append(
        Labelled(
            "a long list of recipients",
            text_mail(TEXT, to=f"{MARA}, {many}"),
            (sent(to=all_to),),
        )
    )
    return found


def left_out() -> list[Labelled]:
    """Return mails that a rule leaves out."""
    auto = {
        "out of office": ("Auto-Submitted: auto-replied\n", "auto_reply"),
        "a list": ("List-Id: <news.party.example>\nPrecedence: list\n", "list_mail"),
        "bulk": ("Precedence: bulk\n", "bulk_mail"),
    }
    none = frozenset[str]()
    found = [
        Labelled("internal alone", text_mail(TEXT, to=BEN), (sent(to=("ben@seller.example",), state="skipped", reason="internal_only", records=none),)),
        Labelled("to herself", text_mail(TEXT, to=ADA), (sent(to=("ada@seller.example",), state="skipped", reason="internal_only", records=none),)),
        Labelled("excluded address alone", text_mail(TEXT, to="p@press.example"),
                 (sent(to=("p@press.example",), state="skipped", reason="excluded", records=none),)),
        Labelled("excluded address beside a customer", text_mail(TEXT, to=f"{MARA}, p@press.example"),
                 (sent(to=("mara@acme.example", "p@press.example")),)),
        Labelled("mail with a lawyer", text_mail(TEXT, to=MARA, cc="l@lawyers.example"),
                 (sent(cc=("l@lawyers.example",), state="skipped", reason="excluded", records=none),)),
    ]  # fmt: skip
    for name, (extra, reason) in auto.items():
        raw = text_mail(TEXT, to=MARA, extra=extra)
        found.append(
            Labelled(
                f"automatic: {name}",
                raw,
                (sent(state="skipped", reason=reason, records=none),),
            )
        )
    calendar = part(
        "calendar; method=REQUEST",
        "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR",
        "8bit",
    )
    answer = part(
        "calendar; method=REPLY", "BEGIN:VCALENDAR\nMETHOD:REPLY\nEND:VCALENDAR", "8bit"
    )
    text = part("plain", "\n".join(TEXT), "8bit")
    report = multi(
        "report; report-type=delivery-status", text,
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n",
    )  # fmt: skip
    found += [
        Labelled(
            "an invitation", mail(multi("mixed", text, calendar), to=MARA), (sent(),)
        ),
        Labelled(
            "an answer to an invitation",
            mail(multi("mixed", text, answer), to=MARA),
            (sent(state="skipped", reason="calendar_reply", records=none),),
        ),
        Labelled(
            "a bounce",
            mail(report, to=MARA),
            (sent(state="skipped", reason="delivery_report", records=none),),
        ),
    ]
    return found


def attached_mails() -> list[Labelled]:
    """Return forwards of whole mails."""
    two = text_mail(
        ("Second question.",), sender=TIM, to=ADA, subject="Another", ident="p"
    )
    own = text_mail(TEXT, to=MARA, ident="s")
    of_tim = Right("inbound", "tim@leads.example", ("ada@seller.example",), (), "Another", "Second question.",
                   note=NOTE, records=frozenset({L_TIM}))  # fmt: skip
    deep = attached(of_mara(), text="Deeper")
    page = mail(part("html", divs(BODY), "base64"), sender=MARA, to=ADA, ident="o")
    eml = base64.encodebytes(of_mara()).decode()
    untyped = f'Content-Type: application/octet-stream; name="mail.eml"\nContent-Transfer-Encoding: base64\n\n{eml}'
    return [
        Labelled("attached", attached(of_mara()), (got(note=NOTE),), forwards=True),
        Labelled("attached, no note", attached(of_mara(), text=""), (got(),), forwards=True),
        Labelled("attached, no prefix", attached(of_mara(), subject="see this"), (got(note=NOTE),), forwards=True),
        Labelled("attached, in copy Tim", attached(of_mara(cc=TIM)), (got(note=NOTE, cc=("tim@leads.example",), records=LOGGED | {L_TIM}),), forwards=True),
        Labelled("two attached", attached(of_mara(), two), (got(note=NOTE), of_tim), forwards=True),
        Labelled("three attached", attached(of_mara(), two, own), (got(note=NOTE), of_tim, sent(note=NOTE)), forwards=True),
        Labelled("attached, her own", attached(own), (sent(note=NOTE),), forwards=True),
        Labelled("attached, to a colleague as well", attached(of_mara(to=f"{ADA}, {BEN}")), (got(note=NOTE, to=("ada@seller.example", "ben@seller.example")),), forwards=True),
        Labelled("attached, a page in base64", attached(page), (got(note=NOTE),), forwards=True),
        Labelled("attached, another forward in it", attached(deep.replace(ADA.encode(), MARA.encode(), 1)), (got(note=NOTE, to=(RELAY,), subject=f"Fwd: {SUBJECT}", begins="Deeper"),), forwards=True),
        Labelled("attached as a file without a type", mail(multi("mixed", part("plain", NOTE, "8bit"), untyped), subject=f"Fwd: {SUBJECT}"),
                 (got(note=NOTE),), forwards=True),
        Labelled("attached, to a customer", attached(of_mara(), to=TIM), (sent(to=("tim@leads.example",), subject=f"Fwd: {SUBJECT}", begins=NOTE, records=frozenset({L_TIM})),)),
        Labelled("attached, without a From", attached(of_mara().replace(b"From: Mara Voss <mara@acme.example>\r\n", b"")),
                 (Right(to=(RELAY,), subject=f"Fwd: {SUBJECT}", begins=NOTE, state="unmatched", reason="forward_unsure"),)),
    ]  # fmt: skip


def passed_on() -> list[Labelled]:
    """Return a customer's mails that came as they were."""
    resent = f"Resent-From: {ADA}\nResent-To: {RELAY}\nResent-Date: Sat, 28 Nov 2026 10:00:00 +0000\n"
    rule = "X-Forwarded-To: log-a@bcc.relay.example\nX-Forwarded-For: ada@seller.example log-a@bcc.relay.example\n"
    exchange = "X-MS-Exchange-Inbox-Rules-Loop: ada@seller.example\n"
    return [
        Labelled("redirected", of_mara(extra=resent), (got(),)),
        Labelled("redirected, with a copy", of_mara(extra=resent, cc=TIM), (got(cc=("tim@leads.example",), records=LOGGED | {L_TIM}),)),
        Labelled("sent on by a rule of Gmail", of_mara(extra=rule), (got(),)),
        Labelled("sent on by a rule of Exchange", of_mara(extra=rule + exchange), (got(),)),
        Labelled("sent on, a reply with a quote", text_mail([*BODY, "", "Am 24.11.2026 schrieb Tim Low <tim@leads.example>:", "> hi"], sender=MARA, to=ADA, extra=rule, subject=f"AW: {SUBJECT}"),
                 (got(subject=f"AW: {SUBJECT}"),)),
        Labelled("sent on, of nobody known", text_mail(BODY, sender=NOBODY, to=ADA, extra=rule),
                 (got(sender="nils@elsewhere.example", state="unmatched", reason="no_record", records=frozenset()),)),
        Labelled("sent on, to the team", of_mara(to=f"{ADA}, {BEN}", extra=rule), (got(to=("ada@seller.example", "ben@seller.example")),)),
    ]  # fmt: skip


def unsure() -> list[Labelled]:
    """Return mails that look like a forward, and that nobody can tell."""

    def right(subject: str) -> Right:
        return Right(
            to=(RELAY,),
            subject=subject,
            begins="",
            state="unmatched",
            reason="forward_unsure",
        )

    en = programs.OUTLOOK["en"]
    nameless = [line.replace(MARA, "Mara Voss") for line in outlook(en, Inner())]
    two = [
        line.replace(f"From: {MARA}", f"From: {MARA}; {TIM}")
        for line in outlook(en, Inner())
    ]
    fwd = f"Fwd: {SUBJECT}"
    return [
        Labelled("forward without a header", text_mail(["see below", "", "how much is it?"], subject=fwd), (right(fwd),)),
        Labelled("forward whose sender has no address", text_mail(nameless, subject=fwd), (right(fwd),)),
        Labelled("forward with two senders", text_mail(two, subject=fwd), (right(fwd),)),
        Labelled("header without a sign", text_mail(outlook(en, Inner()), subject=SUBJECT), (right(SUBJECT),)),
        Labelled("a reply that says forward", text_mail(gmail(programs.GMAIL["en"], Inner()), subject=f"Re: {SUBJECT}"), (right(f"Re: {SUBJECT}"),)),
        Labelled("a reply to the relay alone", text_mail([*TEXT, "", *outlook(en, Inner())], subject=f"Re: {SUBJECT}"),
                 (Right(to=(RELAY,), subject=f"Re: {SUBJECT}", begins=GREETS, state="unmatched", reason="no_recipient"),)),
    ]  # fmt: skip


CORPUS: Final = [
    *inline(),
    *direct(),
    *left_out(),
    *attached_mails(),
    *passed_on(),
    *unsure(),
]

# ---------------------------------------------------------------- harmless changes

_LEGAL: Final = [
    "",
    "-- ",
    "From: Legal <legal@seller.example>",
    "This mail is confidential.",
]
_LIST: Final = [
    "", "_______________________________________________", "Sales mailing list -- sales@lists.seller.example",
    "To unsubscribe send an email to sales-leave@lists.seller.example",
]  # fmt: skip
_BANNER: Final = [
    "CAUTION: This email originated from outside of the organization (postmaster@seller.example).",
    "Do not click links unless you recognize the sender.", "",
]  # fmt: skip


def _narrow(lines: list[str]) -> list[str]:
    """Break lines at 60 characters, between words."""
    found = []
    for line in lines:
        mark = "> " if line.startswith("> ") else ""
        rest = line.removeprefix(mark)
        while len(rest) > 60 and (at := rest.rfind(" ", 20, 60)) > 0:
            found.append(mark + rest[:at])
            rest = rest[at + 1 :]
        found.append(mark + rest)
    return found


HARMLESS: Final = {
    "a footer with a From line": lambda lines: [*lines, *_LEGAL],
    "quote marks": lambda lines: [f"> {line}".rstrip() for line in lines],
    "another line width": _narrow,
    "the footer of a list": lambda lines: [*lines, *_LIST],
    "a banner above": lambda lines: [*_BANNER, *lines],
    "blanks behind lines": lambda lines: [f"{line}  " for line in lines],
    "all of it": lambda lines: [
        f"> {line}".rstrip() for line in [*_BANNER, *lines, *_LEGAL, *_LIST]
    ],
}
