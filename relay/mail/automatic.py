"""Which mail no person wrote, and which was sent on: told from its header fields.

A program made a mail where the mail says so itself (RFC 3834), where it is a report
(RFC 3464, 8098, 5965) or the answer to an invitation (RFC 6047), or where it has one of
the fields by which older programs say it. One kind is found for each mail, the most
telling one: an out-of-office reply with `Precedence: bulk` is an automatic reply.

What a rep's own mail may carry is told apart. `List-Unsubscribe` and `Feedback-ID` are
in mail that a sales tool sends for a rep, and make a kind of their own (`campaign`).
Fields of a mailing list are added by the list: a copy that comes straight from the rep
does not have them. The subject of an out-of-office reply counts only together with
another sign, since a person may write the same words.

The envelope is not known here: see `relay.core.automatic.with_null_sender`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from relay.core.automatic import (
    NOTICE_HEADER,
    Automatic,
    AutomaticKind,
    MailKind,
)
from relay.core.copies import COPY_HEADER
from relay.mail import params
from relay.mail.words import decode_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.mail.fields import Fields

Kind = AutomaticKind

_METHOD: Final = ""
"""Stands for no field: the method of the calendar part."""

_LONGEST_SIGN: Final = 120
_LONGEST_READ: Final = 1000
_MOST: Final = 20
"""Fields of one name that are read: a hostile header may have thousands."""
_KEYWORD: Final = re.compile(r"[^\s;(]+")
_COMMENT: Final = re.compile(r"\([^()]*\)")
_OFF: Final = frozenset({"", "no", "none", "false", "0"})

_SPELLING: Final = {
    "auto-submitted": "Auto-Submitted",
    "content-type": "Content-Type",
    "delivered-to": "Delivered-To",
    "feedback-id": "Feedback-ID",
    "list-id": "List-Id",
    "list-owner": "List-Owner",
    "list-post": "List-Post",
    "list-subscribe": "List-Subscribe",
    "list-unsubscribe": "List-Unsubscribe",
    "list-unsubscribe-post": "List-Unsubscribe-Post",
    "mailing-list": "Mailing-List",
    "precedence": "Precedence",
    "resent-from": "Resent-From",
    "return-path": "Return-Path",
    "subject": "Subject",
    "x-auto-response-suppress": "X-Auto-Response-Suppress",
    "x-autoreply": "X-Autoreply",
    "x-autorespond": "X-Autorespond",
    "x-autoresponse": "X-Autoresponse",
    "x-auto-reply-from": "X-Auto-Reply-From",
    "x-autoreply-from": "X-Autoreply-From",
    "x-fc-machinegenerated": "X-FC-MachineGenerated",
    "x-forwarded-for": "X-Forwarded-For",
    "x-forwarded-to": "X-Forwarded-To",
    "x-mail-autoreply": "X-Mail-Autoreply",
    "x-mailing-list": "X-Mailing-List",
    "x-ms-exchange-forwardingaddress": "X-MS-Exchange-ForwardingAddress",
    "x-ms-exchange-generated-message-source": "X-MS-Exchange-Generated-Message-Source",
    "x-ms-exchange-inbox-rules-loop": "X-MS-Exchange-Inbox-Rules-Loop",
    NOTICE_HEADER.lower(): NOTICE_HEADER,
    COPY_HEADER.lower(): COPY_HEADER,
}
"""The fields that are read, as people write them."""

_AUTOREPLY_FIELDS: Final = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponse",
    "x-mail-autoreply",
    "x-autoreply-from",
    "x-auto-reply-from",
)
_LIST_FIELDS: Final = (
    *("list-id", "list-post", "mailing-list", "x-mailing-list"),
    *("list-owner", "list-subscribe"),
)
_CAMPAIGN_FIELDS: Final = ("list-unsubscribe", "list-unsubscribe-post", "feedback-id")
_FORWARDED_FIELDS: Final = (
    *("x-forwarded-to", "x-forwarded-for", "x-ms-exchange-forwardingaddress"),
    "x-ms-exchange-inbox-rules-loop",
)
_PASSED_ON: Final = frozenset({"resent-from", *_FORWARDED_FIELDS})
FORWARDED_WORD: Final = "auto-forwarded"
"""Value of Auto-Submitted in mail that a rule of a mailbox has sent on."""
_REPORTS: Final = {
    "delivery-status": Kind.DELIVERY_REPORT,
    "disposition-notification": Kind.READ_RECEIPT,
    "feedback-report": Kind.ABUSE_REPORT,
}
_REPLY_METHODS: Final = frozenset({"reply", "counter", "declinecounter", "refresh"})
"""Methods with which a calendar answers (RFC 5546); REQUEST and CANCEL are a person's.
"""

_SUBJECTS: Final = tuple(
    text.casefold()
    for text in (
        *("Automatic reply", "Auto reply", "Auto-reply", "Autoreply"),
        *("Out of office", "Out of the office", "Auto response", "Autoresponse"),
        *("Automatische Antwort", "Abwesenheitsnotiz", "Abwesend", "Abwesenheit"),
        *("Réponse automatique", "Absence du bureau", "Absent du bureau"),
        *("Respuesta automática", "Fuera de la oficina", "Fuera de oficina"),
        *("Risposta automatica", "Fuori sede", "Fuori ufficio"),
        *("Resposta automática", "Fora do escritório", "Ausente do escritório"),
        *("Automatisch antwoord", "Afwezig", "Niet aanwezig"),
        *("Autosvar", "Automatiskt svar", "Automatisk svar", "Frånvaro", "Fravær"),
        *("Automaattinen vastaus", "Poissa"),
        *("Automatická odpověď", "Automatická odpoveď"),
        *("Automatyczna odpowiedź", "Autoodpowiedź", "Odpowiedź automatyczna"),
        *("Automatikus válasz", "Răspuns automat", "Automatski odgovor"),
        *("Samodejni odgovor", "Automaatne vastus", "Automātiska atbilde"),
        *("Automatinis atsakymas", "Otomatik yan\u0131t", "Αυτόματη απάντηση"),
        *("Автоматический ответ", "Автоответ", "Автоматична відповідь"),
        *("Автоматичен отговор", "Trả lời tự động", "Balasan otomatis"),
        *("自動応答", "自動返信", "自动答复", "自动回复", "自動回覆", "자동 회신"),
        *("תשובה אוטומטית", "מענה אוטומטי", "رد تلقائي", "ตอบกลับอัตโนมัติ"),
    )
)
"""How mail programs begin the subject of an out-of-office reply."""


def recognise(fields: Fields, calendar_method: str = "") -> Automatic | None:
    """Return what shows that no person wrote a mail; None where a person may have.

    Args:
        fields: The header of the mail.
        calendar_method: `method` of its text/calendar part, in lower case, if any.

    Source: RFC 3834 section 5 (Auto-Submitted), RFC 6522 (multipart/report), RFC 2919
    and 2369 (List-*), RFC 2076 (Precedence); MS-OXCMAIL (X-Auto-Response-Suppress).
    """
    values = _read(fields)
    if calendar_method:
        values[_METHOD] = [calendar_method]
    if not values:
        return None
    return next((found for test in _TESTS if (found := test(values))), None)


def kind_of(fields: Fields, *, null_sender: bool = False) -> MailKind:
    """Return by which way a mail came, as far as its header tells.

    The header is written by whoever sent the mail: this makes a rule looser only where
    the rule has another proof of the sender.
    """
    values = _read(fields)
    if _own_notice(values) or _report(values) or _said(values) or null_sender:
        return MailKind.AUTOMATIC
    if _list(values):
        return MailKind.LIST
    if "resent-from" in values:
        return MailKind.REDIRECTED
    if any(name in values for name in _FORWARDED_FIELDS):
        return MailKind.FORWARDED
    return MailKind.DIRECT


def passed_on(fields: Fields) -> bool:
    """Say whether a person redirected a mail, or a mailbox sent it on, as it was."""
    for name, value in fields:
        if name in _PASSED_ON:
            return True
        if name == "auto-submitted" and FORWARDED_WORD.encode() in value.lower():
            return True
    return False


# ---------------------------------------------------------------- one sign each


def _own_notice(values: Mapping[str, list[str]]) -> Automatic | None:
    return _first(values, (NOTICE_HEADER.lower(),), Kind.OWN_NOTICE) or _first(
        values, (COPY_HEADER.lower(),), Kind.OWN_COPY
    )


def _report(values: Mapping[str, list[str]]) -> Automatic | None:
    """Return the kind of a multipart/report by its report-type (RFC 6522)."""
    for text in values.get("content-type", ())[:1]:
        media_type, parameters = params.read(text.encode("utf-8", "replace"))
        if media_type != "multipart/report":
            return None
        of = params.text(parameters, "report-type").lower()
        kind = _REPORTS.get(of, Kind.AUTO_GENERATED)
        return Automatic(kind, _sign("content-type", f"{media_type}; report-type={of}"))
    return None


def _calendar(values: Mapping[str, list[str]]) -> Automatic | None:
    method = values.get(_METHOD, [""])[0]
    if method not in _REPLY_METHODS:
        return None
    sign = _sign("content-type", f"text/calendar; method={method.upper()}")
    return Automatic(Kind.CALENDAR_REPLY, sign)


def _said(values: Mapping[str, list[str]]) -> Automatic | None:
    """Read Auto-Submitted; any word but `no` says that a program made the mail."""
    for text in values.get("auto-submitted", ()):
        word = _keyword(text)
        # Of a mail that a mailbox sent on, this says nothing about who wrote it.
        if word in {"", "no", FORWARDED_WORD}:
            continue
        reply = word == "auto-replied" or _is_reply(values)
        kind = Kind.AUTO_REPLY if reply else Kind.AUTO_GENERATED
        return Automatic(kind, _sign("auto-submitted", text))
    return None


def _answering(values: Mapping[str, list[str]]) -> Automatic | None:
    """Find the fields of programs that answer and know nothing of RFC 3834."""
    for name in _AUTOREPLY_FIELDS:
        for text in values.get(name, ()):
            if _keyword(text) not in _OFF:
                return Automatic(Kind.AUTO_REPLY, _sign(name, text))
    for text in values.get("precedence", ()):
        if _keyword(text).replace("-", "_") == "auto_reply":
            return Automatic(Kind.AUTO_REPLY, _sign("precedence", text))
    for text in values.get("delivered-to", ()):
        if _keyword(text) == "autoresponder":
            return Automatic(Kind.AUTO_REPLY, _sign("delivered-to", text))
    return None


def _out_of_office(values: Mapping[str, list[str]]) -> Automatic | None:
    """Find the subject of an out-of-office reply, together with another sign."""
    if not _is_reply(values):
        return None
    beside = (
        _bulk(values)
        or _suppressed(values)
        or _first(values, ("x-ms-exchange-generated-message-source",), Kind.AUTO_REPLY)
        or _null_return_path(values)
    )
    if beside is None:
        return None
    subject = _sign("subject", values["subject"][0])
    return Automatic(Kind.AUTO_REPLY, f"{subject}, with {beside.sign}")


def _machine(values: Mapping[str, list[str]]) -> Automatic | None:
    for text in values.get("x-fc-machinegenerated", ()):
        if _keyword(text) not in _OFF:
            sign = _sign("x-fc-machinegenerated", text)
            return Automatic(Kind.AUTO_GENERATED, sign)
    return None


def _list(values: Mapping[str, list[str]]) -> Automatic | None:
    """Find what a mailing list adds (RFC 2919, RFC 2369)."""
    found = _first(values, _LIST_FIELDS, Kind.LIST_MAIL)
    return found or _precedence(values, "list", Kind.LIST_MAIL)


def _bulk(values: Mapping[str, list[str]]) -> Automatic | None:
    bulk = _precedence(values, "bulk", Kind.BULK_MAIL)
    return bulk or _precedence(values, "junk", Kind.BULK_MAIL)


def _null_return_path(values: Mapping[str, list[str]]) -> Automatic | None:
    """Find the null sender as the server of a mailbox has written it down."""
    for text in values.get("return-path", ())[:1]:
        if text.replace(" ", "") == "<>":
            return Automatic(Kind.NULL_SENDER, _sign("return-path", "<>"))
    return None


def _suppressed(values: Mapping[str, list[str]]) -> Automatic | None:
    for text in values.get("x-auto-response-suppress", ()):
        if _keyword(text) not in _OFF:
            sign = _sign("x-auto-response-suppress", text)
            return Automatic(Kind.REPLY_SUPPRESSED, sign)
    return None


def _campaign(values: Mapping[str, list[str]]) -> Automatic | None:
    return _first(values, _CAMPAIGN_FIELDS, Kind.CAMPAIGN)


_TESTS: Final = (
    _own_notice,
    _report,
    _calendar,
    _said,
    _answering,
    _out_of_office,
    _machine,
    _list,
    _bulk,
    _null_return_path,
    _suppressed,
    _campaign,
)
"""The most telling sign first: a mail has one kind."""


# ---------------------------------------------------------------- reading


def _read(fields: Fields) -> dict[str, list[str]]:
    """Return the values of the fields that are read here, as text."""
    values: dict[str, list[str]] = {}
    for name, value in fields:
        if name in _SPELLING and len(known := values.setdefault(name, [])) < _MOST:
            known.append(decode_header(value[:_LONGEST_READ]).strip())
    return values


def _keyword(text: str) -> str:
    """Return the first word, in lower case, without comments and parameters."""
    found = _KEYWORD.search(_COMMENT.sub(" ", text))
    return found[0].lower() if found else ""


def _is_reply(values: Mapping[str, list[str]]) -> bool:
    """Say whether the subject begins as that of an out-of-office reply does."""
    subject = values.get("subject", [""])[0].casefold()
    return subject.startswith(_SUBJECTS)


def _precedence(
    values: Mapping[str, list[str]], word: str, kind: AutomaticKind
) -> Automatic | None:
    for text in values.get("precedence", ()):
        if _keyword(text) == word:
            return Automatic(kind, _sign("precedence", text))
    return None


def _first(
    values: Mapping[str, list[str]], names: tuple[str, ...], kind: AutomaticKind
) -> Automatic | None:
    """Return the first of these fields that has a value."""
    for name in names:
        for text in values.get(name, ()):
            if text:
                return Automatic(kind, _sign(name, text))
    return None


def _sign(name: str, text: str) -> str:
    """Return a field as people read it, cut to a line."""
    line = f"{_SPELLING[name]}: {text}"
    return line if len(line) <= _LONGEST_SIGN else line[: _LONGEST_SIGN - 1] + "…"
