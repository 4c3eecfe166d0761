"""What is kept back: confidential mail, and the parts of a mail that are not logged.

A confidential mail is skipped as a whole. It says so by a mark in its subject
(`[private]`) or by its Sensitivity field; of a forwarded mail the words of the
forwarder count as well. Of any other mail a body mode says how much is logged
(`relay.core.bodies`).

Source: RFC 2156 section 5.3.4, RFC 4021 section 2.1.55 (Sensitivity).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from relay.core.bodies import BodyMode, least
from relay.core.states import Event
from relay.match.plan import Verdict, participants
from relay.match.tags import without_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay.core.bodies import BodyRules
    from relay.core.model import Email
    from relay.match.plan import OurAddresses

CONFIDENTIAL: Final = "confidential"
"""The reason of a mail that is skipped because it is confidential."""

_IN_BRACKETS: Final = re.compile(r"(?<=\[)\s+|\s+(?=\])")


# ---------------------------------------------------------------- whole mails


def confidential(
    email: Email, marks: Iterable[str], sensitivities: Iterable[str]
) -> Verdict | None:
    """Skip a mail that its author, or who forwarded it, has marked as confidential.

    Args:
        email: The mail.
        marks: Marks of subjects (`match.confidential_marks`).
        sensitivities: Values of the Sensitivity field (`match.confidential_values`).
    """
    value = email.sensitivity.strip().lower()
    if value and value in sensitivities:
        detail = f"it is marked as confidential: Sensitivity: {value}"
        return Verdict(Event.RULED_OUT, CONFIDENTIAL, detail)
    for subject in filter(None, (email.subject, email.outer_subject)):
        mark = mark_in(subject, marks)
        if mark:
            detail = f"it is marked as confidential: {mark} in the subject"
            return Verdict(Event.RULED_OUT, CONFIDENTIAL, detail)
    return None


def mark_in(subject: str, marks: Iterable[str]) -> str:
    """Return the first mark that a subject has; empty if it has none.

    Case, width and blanks do not count. A mark that begins or ends with a letter or a
    digit is no part of a longer word.
    """
    folded = _folded(subject)
    for mark in marks:
        sought = _folded_mark(mark)
        start = folded.find(sought) if sought else -1
        while start >= 0:
            end = start + len(sought)
            before, after = folded[start - 1 : start], folded[end : end + 1]
            if not (_joined(before, sought[0]) or _joined(sought[-1], after)):
                return mark
            start = folded.find(sought, start + 1)
    return ""


def _folded(text: str) -> str:
    whole = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _IN_BRACKETS.sub("", whole)


@lru_cache(256)
def _folded_mark(mark: str) -> str:
    """Fold a mark once, and not for each mail."""
    return _folded(mark)


def _joined(one: str, other: str) -> bool:
    return one.isalnum() and other.isalnum()


# ---------------------------------------------------------------- parts of a mail


def body_mode(
    email: Email, default: BodyMode, rules: BodyRules, ours: OurAddresses
) -> tuple[BodyMode, str]:
    """Return how much of a mail is logged, and by which rule.

    Each outside person of the mail has the mode of a rule, or else that of all mail;
    the one holds that lets the least through.

    Args:
        email: The mail.
        default: The mode of all mail (`match.body`).
        rules: Modes for the mail of some (`match.body_rules`).
        ours: Who is no customer: without a rule of their own they do not count.
    """
    if not rules:
        return default, "match.body"
    modes: list[tuple[BodyMode, str]] = []
    for person in participants(email):
        found = rules.mode(ours.address_rules.mailbox(person.key))
        if found:
            modes.append((found, f"match.body_rules, for {person.address}"))
        elif not ours.rule(person.key):
            modes.append((default, "match.body"))
    if not modes:
        return default, "match.body"
    mode = least(each for each, _ in modes)
    return next(each for each in modes if each[0] is mode)


def as_logged(
    email: Email,
    mode: BodyMode,
    *,
    without_quotes: Callable[[Email], Email],
    remove_tags: bool = False,
) -> Email:
    """Return a mail as it is logged: without what is kept back.

    Args:
        email: The mail.
        mode: How much of it is logged.
        without_quotes: Takes quoted mails off text and HTML.
        remove_tags: Take record tags out (`match.remove_tags`).
    """
    if not mode.has_text:
        email = replace(email, text="", html=None, note="", attachments=())
    elif mode is BodyMode.TEXT:
        email = replace(email, html=None)
    elif mode is BodyMode.WITHOUT_QUOTES:
        email = without_quotes(email)
    if not remove_tags:
        return email
    return replace(
        email,
        subject=" ".join(without_tags(email.subject).split()),
        text=without_tags(email.text),
        html=email.html and without_tags(email.html),
        note=without_tags(email.note),
    )
