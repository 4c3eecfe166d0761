# ruff: noqa: E501 - a table: a program is a line, in whatever script it comes.
"""A labelled corpus of forwards: programs, languages and shapes, and what is right.

`CORPUS` holds mails of Ada's. Most forward a mail of Mara's to Ada, with Tim in copy;
of each is known who wrote to whom, when, and what the forwarder wrote beside it. Others
look like a forward and are none. `harmless` changes a mail in ways that change nobody.
"""

from __future__ import annotations

import base64
import html as markup
from dataclasses import dataclass, field
from datetime import datetime

from relay.mail.forward_labels import _FORWARDED, _ORIGINAL, _TABLE, LANGUAGES, MONTHS

ADA = "Ada Berger <ada@seller.example>"
MARA = "Mara Voss <mara@acme.example>"
TIM = "Tim Low <tim@leads.example>"
SUBJECT = "Offer 4711 for Q3"
BODY = "Hello Ada,\n\nhow much is it?\n\nMara"
NOTE = "For the CRM.\nPlease see below."
WHEN = datetime(2026, 11, 25, 16, 58)  # noqa: DTZ001 - nobody says in which zone


@dataclass(frozen=True)
class Mail:
    """A mail of the corpus: `sender` None means that it is no forward."""

    name: str
    raw: bytes = field(repr=False)
    sender: str | None = "mara@acme.example"
    to: tuple[str, ...] = ("ada@seller.example",)
    cc: tuple[str, ...] = ()
    subject: str = SUBJECT
    when: datetime | None = WHEN
    note: str = NOTE
    shown: str = "how much is it?"
    outbound: bool = False
    unsure: str | None = None


def rows() -> dict[str, tuple[str, str, str, str, str]]:
    """Return the labels of each language: sender, date, recipients, copies, subject."""
    found = {}
    for row in _TABLE.strip().split("\n"):
        language, *columns = row.split("|")
        found[language] = tuple(names.split(",")[0] for names in columns)
    return found  # type: ignore[return-value]


WORDS = rows()
# A line for each language of the tables, as far as they have one.
FORWARD_LINES = {
    language: phrases.split("|")
    for language, phrases in zip(
        [
            "en", "de", "fr", "es", "pt", "it", "nl", "af", "da", "nb", "sv", "fi", "is", "et",
            "lv", "lt", "pl", "cs", "sk", "sl", "hr", "sr", "bg", "mk", "ru", "uk", "be", "kk",
            "ro", "hu", "el", "tr", "az", "ca", "gl", "eu", "ga", "cy", "sq", "ka", "hy", "he",
            "ar", "fa", "ur", "hi", "bn", "th", "vi", "id", "ms", "tl", "sw", "zh", "ja", "ko",
        ],
        _FORWARDED.strip().split("\n"),
        strict=True,
    )
}  # fmt: skip
FORWARD_LINES["nn"] = ["Vidaresend melding"]
PREFIX = {
    "de": "WG", "fr": "TR", "es": "RV", "pt": "ENC", "it": "I", "nl": "FW", "da": "VS", "nb": "VS",
    "sv": "VB", "fi": "VL", "pl": "PD", "hu": "TOV", "el": "ΠΡΘ", "tr": "İLT", "zh": "转发", "ja": "転送",
    "ko": "전달", "he": "הועבר", "lv": "Pārs", "et": "Edasi", "id": "Trs", "ro": "FW", "ru": "FW",
}  # fmt: skip


def month(language: str) -> str:
    """Return the beginning of November in a language, as programs shorten it."""
    stems = [stem for stem, number in MONTHS.get(language, ()) if number == 11]
    return stems[0] if stems else "11"


def date_of(language: str, *, long: bool = False) -> str:
    """Return the date as a program writes it in that language."""
    if language == "en":
        return (
            "Wednesday, November 25, 2026 4:58 PM"
            if long
            else "Wed, Nov 25, 2026 at 4:58 PM"
        )
    if language == "zh":
        return (
            "2026年11月25日 星期三 16:58" if long else "2026年11月25日(星期三) 下午4:58"
        )
    if language == "ja":
        return "2026年11月25日(水) 16:58"
    if language == "ko":
        return "2026년 11월 25일 수요일 오후 4:58"
    if language == "hu":
        return "2026. november 25., szerda 16:58"
    if language == "vi":
        return "Thứ Tư, 25 tháng 11, 2026 16:58"
    if language == "th":
        return "25 พฤศจิกายน 2569 16:58"
    return f"25 {month(language)} 2026 16:58" if long else "25.11.2026 16:58"


def mailto(people: str) -> str:
    """Return people as Outlook shows them in plain text."""
    return people.replace("<", "[mailto:").replace(">", "]")


def gmail(w: tuple[str, ...], language: str) -> list[str]:
    """Gmail: its line, then labels in the order From, Date, Subject, To, Cc."""
    line = f"---------- {FORWARD_LINES[language][0]} ---------"
    return [
        line,
        f"{w[0]}: {MARA}",
        f"{w[1]}: {date_of(language)}",
        f"{w[4]}: {SUBJECT}",
        f"{w[2]}: {ADA}",
        f"{w[3]}: {TIM}",
        "",
        "",
    ]


def outlook(w: tuple[str, ...], language: str) -> list[str]:
    """Outlook on Windows, 2013 to new: no line, semicolons between people."""
    return [
        "",
        f"{w[0]}: {MARA}",
        f"{w[1]}: {date_of(language, long=True)}",
        f"{w[2]}: {ADA}",
        f"{w[3]}: {TIM}",
        f"{w[4]}: {SUBJECT}",
        "",
    ]


def outlook_old(w: tuple[str, ...], language: str) -> list[str]:
    """Outlook in plain text: `-----Original Message-----` and `[mailto:…]`."""
    return [
        "-----Original Message-----",
        f"{w[0]}: {mailto(MARA)}",
        f"{w[1]}: {date_of(language, long=True)}",
        f"{w[2]}: Ada Berger <ada@seller.example>",
        f"{w[3]}: {mailto(TIM)}",
        f"{w[4]}: {SUBJECT}",
        "",
    ]


def outlook_mobile(w: tuple[str, ...], language: str) -> list[str]:
    """Outlook on phones and on the web: a rule of underscores above."""
    return [
        "_" * 32,
        f"{w[0]}: {MARA}",
        f"{w[1]}: {date_of(language, long=True)}",
        f"{w[2]}: {ADA}",
        f"{w[3]}: {TIM}",
        f"{w[4]}: {SUBJECT}",
        "",
    ]


def outlook_mac(w: tuple[str, ...], language: str) -> list[str]:
    """Outlook for Mac: bold labels, which plain text shows as stars."""
    return [
        f"*{w[0]}: *{MARA}",
        f"*{w[1]}: *{date_of(language, long=True)}",
        f"*{w[2]}: *{ADA}",
        f"*{w[3]}: *{TIM}",
        f"*{w[4]}: *{SUBJECT}",
        "",
    ]


def apple(w: tuple[str, ...], language: str) -> list[str]:
    """Apple Mail: its line, then From, Subject, Date, To, Cc."""
    line = next(
        (p for p in FORWARD_LINES[language][1:] if len(p) > 12),
        FORWARD_LINES[language][0],
    )
    return [
        f"{line}:",
        "",
        f"{w[0]}: {MARA}",
        f"{w[4]}: {SUBJECT}",
        f"{w[1]}: {date_of(language)}",
        f"{w[2]}: {ADA}",
        f"{w[3]}: {TIM}",
        "",
    ]


def ios(w: tuple[str, ...], language: str) -> list[str]:
    """Mail on phones of Apple: the same, quoted."""
    first, *others = apple(w, language)
    return [first, "", *(f"> {line}" for line in others[1:])]


def thunderbird(w: tuple[str, ...], language: str) -> list[str]:
    """Thunderbird: its line, then labels with tabs, the subject first."""
    line = f"-------- {FORWARD_LINES[language][0]} --------"
    return [
        line,
        f"{w[4]}: \t{SUBJECT}",
        f"{w[1]}: \t{date_of(language)}",
        f"{w[0]}: \t{MARA}",
        f"{w[2]}: \t{ADA}",
        f"{w[3]}: \t{TIM}",
        "",
        "",
    ]


def yahoo(w: tuple[str, ...], language: str) -> list[str]:
    """Yahoo: its line, then From, To, Cc, Sent, Subject."""
    line = f"----- {FORWARD_LINES[language][0]} -----"
    return [
        line,
        f"{w[0]}: {MARA}",
        f"{w[2]}: {ADA}",
        f"{w[3]}: {TIM}",
        f"{w[1]}: {date_of(language)}",
        f"{w[4]}: {SUBJECT}",
        "",
    ]


def gmx(w: tuple[str, ...], language: str) -> list[str]:
    """GMX and web.de: the date first, names in quotes."""
    return [
        f"{w[1]}: {date_of(language, long=True)}",
        f'{w[0]}: "Mara Voss" <mara@acme.example>',
        f"{w[2]}: {ADA}",
        f"{w[3]}: {TIM}",
        f"{w[4]}: {SUBJECT}",
        "",
    ]


def samsung(w: tuple[str, ...], language: str) -> list[str]:
    """Mail on phones of Samsung: two spaces, a date in brackets of its own."""
    return [
        "-------- Original message --------",
        f"{w[0]}: {MARA} ",
        f"{w[1]}: {date_of(language)}  (GMT+01:00) ",
        f"{w[2]}: {ADA} ",
        f"{w[3]}: {TIM} ",
        f"{w[4]}: {SUBJECT} ",
        "",
    ]


def zoho(w: tuple[str, ...], language: str) -> list[str]:
    """Zoho: a line of equal signs above, and once more below."""
    line = f"============ {FORWARD_LINES[language][0]} ============"
    return [
        line,
        f"{w[0]}: {MARA}",
        f"{w[2]}: {ADA}",
        f"{w[3]}: {TIM}",
        f"{w[1]}: {date_of(language)}",
        f"{w[4]}: {SUBJECT}",
        line,
        "",
    ]


def emclient(w: tuple[str, ...], language: str) -> list[str]:
    """eM Client: labels without a colon."""
    line = f"------ {FORWARD_LINES[language][0]} ------"
    return [
        line,
        f"{w[0]}\t{MARA}",
        f"{w[2]}\t{ADA}",
        f"{w[3]}\t{TIM}",
        f"{w[1]}\t{date_of(language)}",
        f"{w[4]}\t{SUBJECT}",
        "",
    ]


PROGRAMS = (
    gmail, outlook, outlook_old, outlook_mobile, outlook_mac, apple, ios, thunderbird,
    yahoo, gmx, samsung, zoho, emclient,
)  # fmt: skip
SHAPES = ("plain", "html", "both", "base64")


def compose(subject: str, lines: list[str], shape: str, extra: str = "") -> bytes:
    """Return a mail of Ada's with this text, in one of the shapes."""
    text = "\n".join(lines)
    page = (
        "<html><body>"
        + "".join(f"<div>{markup.escape(line) or '<br>'}</div>" for line in lines)
        + "</body></html>"
    )
    head = (
        f"From: {ADA}\nTo: log-x@bcc.relay.example\nSubject: {subject}\nDate: Sat, 28 Nov 2026 09:00:00 +0000\n"
        f"Message-ID: <f@mail.seller.example>\nMIME-Version: 1.0\n{extra}"
    )
    if shape == "plain":
        body = f"Content-Type: text/plain; charset=utf-8\n\n{text}"
    elif shape == "html":
        body = f"Content-Type: text/html; charset=utf-8\n\n{page}"
    elif shape == "base64":
        encoded = base64.encodebytes(text.replace("\n", "\r\n").encode()).decode()
        body = f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n{encoded}"
    else:
        body = (
            f'Content-Type: multipart/alternative; boundary="F"\n\n--F\nContent-Type: text/plain; charset=utf-8\n\n{text}\n'
            f"--F\nContent-Type: text/html; charset=utf-8\n\n{page}\n--F--\n"
        )
    return (head + body).replace("\n", "\r\n").encode()


def quoted(lines: list[str]) -> list[str]:
    """Return lines as a program that quotes everything writes them."""
    return [f"> {line}".rstrip() for line in lines]


FOOTER = ["", "-- ", "From: Legal <legal@seller.example>", "This mail is confidential."]
HARMLESS = {
    "as it is": lambda lines: lines,
    "footer": lambda lines: [*lines, *FOOTER],
    "quoted": quoted,
    "footer above": lambda lines: [*FOOTER, "", *lines],
}


def forwards() -> list[Mail]:
    """Return a forward of every program in every language, the shapes in turn."""
    found = []
    for number, language in enumerate(LANGUAGES):
        for index, program in enumerate(PROGRAMS):
            shape = SHAPES[(number + index) % len(SHAPES)]
            with_note = (number + index // 2) % 3 != 0
            body = BODY.split("\n")
            if program is ios:
                body = quoted(body)
            lines = [
                *(NOTE.split("\n") if with_note else []),
                "",
                *program(WORDS[language], language),
                *body,
            ]
            prefix = (
                PREFIX.get(language, "Fwd")
                if program.__name__.startswith("outlook")
                else ("Fwd", "FW")[index % 2]
            )
            found.append(
                Mail(
                    f"{program.__name__}, {language}, {shape}",
                    compose(f"{prefix}: {SUBJECT}", lines, shape),
                    cc=("tim@leads.example",),
                    note=NOTE if with_note else "",
                    when=None if program is samsung else WHEN,
                )
            )
    return found


def variants() -> list[Mail]:
    """Return forwards with harmless changes, which change no person."""
    found = []
    for language in ("en", "de", "es", "fr", "ru", "zh"):
        for program in (gmail, outlook, thunderbird, apple):
            for name, change in HARMLESS.items():
                lines = change([*program(WORDS[language], language), *BODY.split("\n")])
                found.append(
                    Mail(
                        f"{program.__name__}, {language}, {name}",
                        compose(f"Fwd: {SUBJECT}", lines, "plain"),
                        cc=("tim@leads.example",),
                        note="\n".join(FOOTER).strip()
                        if name == "footer above"
                        else "",
                    )
                )
    return found


def special() -> list[Mail]:
    """Return forwards with one thing about them, and mails that are none."""
    en, de = WORDS["en"], WORDS["de"]
    block = outlook(en, "en")
    gm = gmail(en, "en")
    body = BODY.split("\n")
    inner = gmail(en, "en")
    own = [line.replace(MARA, "#").replace(ADA, MARA).replace("#", ADA) for line in gm]
    eml = (
        f"From: {MARA}\r\nTo: {ADA}\r\nCc: {TIM}\r\nSubject: {SUBJECT}\r\nDate: Wed, 25 Nov 2026 16:58:00 +0100\r\n"
        f"Message-ID: <o@acme.example>\r\n\r\nhow much is it?\r\n"
    )
    part = "--F\r\nContent-Type: message/rfc822\r\n\r\n" + eml
    text = "--F\r\nContent-Type: text/plain\r\n\r\nFor the CRM.\r\n"

    def attached(subject: str, *parts: str) -> bytes:
        head = f'From: {ADA}\r\nTo: x@bcc.relay.example\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="F"\r\n\r\n'
        return (head + "".join(parts) + "--F--\r\n").encode()

    wrapped = [
        "---------- Forwarded message ---------", "From: Mara Voss", "<mara@acme.example>", "Date: Wed, Nov 25, 2026 at 4:58 PM",
        "Subject: Offer 4711 for Q3", "To: Ada Berger <ada@seller.example>,", "Tim Low <tim@leads.example>", "", *body,
    ]  # fmt: skip
    many = ", ".join(f"Guest {n} <g{n}@party.example>" for n in range(60))
    no = {"sender": None, "to": (), "when": None, "note": ""}
    return [
        Mail(
            "on behalf",
            compose(
                f"WG: {SUBJECT}",
                [
                    "",
                    f"Von: Büro Voss <buero@acme.example> im Auftrag von {MARA}",
                    "Gesendet: Mittwoch, 25. November 2026 16:58",
                    f"An: {ADA}; {TIM}",
                    f"Betreff: {SUBJECT}",
                    "",
                    *body,
                ],
                "base64",
            ),
            to=("ada@seller.example", "tim@leads.example"),
            note="",
        ),
        Mail(
            "on behalf, English",
            compose(
                f"FW: {SUBJECT}",
                [
                    f"From: Office <office@acme.example> On Behalf Of {MARA}",
                    *block[2:],
                    *body,
                ],
                "plain",
            ),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "mixed languages",
            compose(
                f"Fwd: {SUBJECT}",
                [
                    *NOTE.split("\n"),
                    "",
                    "---------- Forwarded message ---------",
                    f"De: {MARA}",
                    "Date: mié, 25 nov 2026 a las 16:58",
                    f"Subject: {SUBJECT}",
                    f"To: {ADA}",
                    f"Cc: {TIM}",
                    "",
                    *body,
                ],
                "both",
            ),
            cc=("tim@leads.example",),
        ),
        Mail(
            "lines broken",
            compose(f"Fwd: {SUBJECT}", wrapped, "plain"),
            to=("ada@seller.example", "tim@leads.example"),
            note="",
        ),
        Mail(
            "sixty recipients",
            compose(
                f"Fwd: {SUBJECT}", [*gm[:4], f"To: {ADA}, {many}", "", *body], "plain"
            ),
            to=("ada@seller.example", *(f"g{n}@party.example" for n in range(60))),
            note="",
        ),
        Mail(
            "address twice",
            compose(
                f"FW: {SUBJECT}",
                [
                    "From: Mara Voss <mara@acme.example<mailto:mara@acme.example>>",
                    *block[2:],
                    *body,
                ],
                "plain",
            ),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "bare address twice",
            compose(
                f"FW: {SUBJECT}",
                ["From: mara@acme.example <mara@acme.example>", *block[2:], *body],
                "plain",
            ),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "external tag",
            compose(f"[EXTERNAL] FW: {SUBJECT}", [*block, *body], "plain"),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "prefix in brackets",
            compose(f"[Fwd: {SUBJECT}]", [*thunderbird(en, "en"), *body], "plain"),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "subject edited",
            compose("Please log this", [*gm, *body], "plain"),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "forward of a reply",
            compose(
                f"FW: AW: {SUBJECT}",
                [
                    *block[:-2],
                    f"Subject: AW: {SUBJECT}",
                    "",
                    *body,
                    "",
                    *outlook(de, "de"),
                    "old",
                ],
                "plain",
            ),
            subject=f"AW: {SUBJECT}",
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "own mail",
            compose(f"Fwd: {SUBJECT}", [*own, *body], "plain"),
            sender="ada@seller.example",
            to=("mara@acme.example",),
            cc=("tim@leads.example",),
            note="",
            outbound=True,
        ),
        Mail(
            "forward of a forward",
            compose(
                f"Fwd: {SUBJECT}",
                [
                    *gm,
                    "See below.",
                    "",
                    *(line.replace(MARA, "Old <old@x.example>") for line in inner),
                    "old text",
                ],
                "plain",
            ),
            cc=("tim@leads.example",),
            note="",
            shown="old text",
        ),
        Mail(
            "blank lines between",
            compose(
                f"FW: {SUBJECT}",
                [line for one in block[1:-1] for line in (one, "")] + body,
                "plain",
            ),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "plain quote",
            compose(
                f"Fwd: {SUBJECT}",
                [
                    "For the CRM.",
                    "",
                    f"On 25 Nov 2026, at 16:58, {MARA} wrote:",
                    "",
                    *quoted(body),
                ],
                "plain",
            ),
            to=(),
            when=None,
            note="For the CRM.",
        ),
        Mail(
            "names in the text, addresses in the page",
            compose(
                f"FW: {SUBJECT}",
                [line.replace(" <mara@acme.example>", "") for line in block] + body,
                "both",
            ).replace(
                b"From: Mara Voss</div>",
                b'From: <a href="mailto:mara@acme.example">Mara Voss</a></div>',
            ),
            cc=("tim@leads.example",),
            note="",
        ),
        Mail(
            "attached",
            attached(f"FW: {SUBJECT}", text, part),
            cc=("tim@leads.example",),
            when=datetime.fromisoformat("2026-11-25T15:58:00+00:00"),
            note="For the CRM.",
        ),
        Mail(
            "attached, no prefix",
            attached("For the CRM", part),
            cc=("tim@leads.example",),
            when=datetime.fromisoformat("2026-11-25T15:58:00+00:00"),
            note="",
        ),
        # ---- no forwards
        Mail(
            "a reply in Outlook",
            compose(f"RE: {SUBJECT}", ["Yes.", *block, *body], "plain"),
            **no,
        ),
        Mail(
            "a reply in German",
            compose(f"AW: {SUBJECT}", ["Ja.", *outlook(de, "de"), *body], "html"),
            **no,
        ),
        Mail(
            "a reply in Gmail",
            compose(
                f"Re: {SUBJECT}",
                [
                    "Yes.",
                    "",
                    f"On Wed, Nov 25, 2026 at 4:58 PM {MARA} wrote:",
                    "",
                    *quoted(body),
                ],
                "plain",
            ),
            **no,
        ),
        Mail(
            "a Finnish reply",
            compose(
                f"VS: {SUBJECT}",
                ["Kyllä.", *outlook(WORDS["fi"], "fi"), *body],
                "plain",
            ),
            **no,
        ),
        Mail(
            "a reply without prefix",
            compose(SUBJECT, ["Yes.", *block, *body], "plain"),
            **no,
            unsure="no_mark",
        ),
        Mail(
            "a reply to a forward",
            compose(f"Re: Fwd: {SUBJECT}", ["Thanks.", "", *gm, *body], "plain"),
            **no,
            unsure="reply_of_forward",
        ),
        Mail(
            "a new mail",
            compose(
                SUBJECT,
                [
                    "Hello,",
                    "",
                    "From: Monday on",
                    "To: everybody",
                    "Date: soon",
                    "",
                    "Ada",
                ],
                "plain",
            ),
            **no,
        ),
        Mail(
            "a form",
            compose(
                "New request",
                ["Name: Mara", "From: Acme", "Subject: Offer", "Date: today"],
                "plain",
            ),
            **no,
        ),
        Mail("a footer alone", compose(SUBJECT, ["Hello", *FOOTER], "plain"), **no),
        Mail(
            "prefix alone",
            compose(f"Fwd: {SUBJECT}", ["see the file"], "plain"),
            **no,
            unsure="no_header",
        ),
        Mail(
            "no address",
            compose(
                f"FW: {SUBJECT}",
                [line.replace(" <mara@acme.example>", "") for line in block] + body,
                "plain",
            ),
            **no,
            unsure="no_address",
        ),
        Mail(
            "two senders",
            compose(
                f"FW: {SUBJECT}", [f"From: {MARA}, {TIM}", *block[2:], *body], "plain"
            ),
            **no,
            unsure="several_senders",
        ),
        Mail(
            "one more form",
            compose(
                f"Fwd: {SUBJECT}",
                ["---------- Forwarded message ---------", "nothing"],
                "plain",
            ),
            **no,
            unsure="no_header",
        ),
    ]


CORPUS = [*forwards(), *variants(), *special()]
ORIGINALS = tuple(_ORIGINAL.strip().split("\n"))
