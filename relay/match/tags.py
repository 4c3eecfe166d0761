"""Record tags: the ids of records that the author of a mail names in it.

    (ref: 006Hs00001LTtvp, 001Hs00004RsxVJ)     a list in brackets
    ref:006Hs00001LTtvpIAD                      one id, or several with commas

A tag stands in the subject or in the first 5,000 characters of the text, as it does for
Salesforce's own address for copies; of a list in brackets, all of it. An id has 15
characters, or 18 with a checksum that holds. Which object an id belongs to, and whether
there is such a record, only Salesforce can say.

Email-to-Case writes `ref:_00D…._500….:ref` into mail; that is no tag.

Source: Salesforce Help, "Guidelines for Using Email to Salesforce".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final

from relay.core.ids import record_id
from relay.core.model import WHO_OBJECTS, Chosen, Match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from relay.core.model import Found, NamedRecord

SCANNED: Final = 5_000
"""Characters of a text that are read for tags."""
MAX_IDS: Final = 50
"""Records that one mail may name, as many as Salesforce logs one mail on."""
NAMED: Final = "named by a tag"
"""The rule of a record that the mail names."""
MAX_IGNORED: Final = 10
"""What is kept for the trace of what was no id."""
NOT_OWN: Final = (
    "it stands in what somebody else wrote; write the tag into a note of your own, "
    "or have quoted tags count: relay settings set match.record_tags on"
)
"""Why an id in quoted or received mail is ignored."""
_LONGEST_SHOWN: Final = 40

_BLANK: Final = "(?:[\\s\u200b\u2060\ufeff]|&nbsp;|&#160;|&#xa0;)"
_GAP: Final = rf"(?:{_BLANK}|<[^<>]{{0,300}}>){{0,20}}"
"""What may stand between the parts of a tag, in HTML as well."""
_START: Final = rf"(?<![^\W_])ref{_GAP}[:\uff1a]{_GAP}"
_ID: Final = r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?(?![A-Za-z0-9])"
_BETWEEN: Final = rf"{_GAP}[,;]{_GAP}"
_INSIDE: Final = r"[^()\uff08\uff09]{0,2000}"
_OPEN: Final = rf"[(\uff08]{_GAP}{_START}"
_TAG: Final = re.compile(
    rf"{_OPEN}(?P<list>{_INSIDE})[)\uff09]|{_START}(?P<bare>{_ID}(?:{_BETWEEN}{_ID})*)",
    re.IGNORECASE,
)
_UNCLOSED: Final = re.compile(rf"{_OPEN}{_INSIDE}\Z", re.IGNORECASE)
_HINT: Final = re.compile(r"[Rr][Ee][Ff](?![A-Za-z])")
_WORD: Final = ascii_letters + digits
_NO_WORD: Final = re.compile(rf"{_BLANK}|<[^<>]{{0,300}}>|[,;>]", re.IGNORECASE)
_LIKE_AN_ID: Final = re.compile(r"[A-Za-z0-9]{15,18}")
_DIGIT: Final = re.compile(r"[0-9]")
_MARKUP: Final = re.compile(r"<[^<>]{0,300}>")


@dataclass(frozen=True, slots=True)
class Tags:
    """The records that a mail names.

    Attributes:
        ids: Ids of 18 characters, each once, in the order of the mail.
        ignored: What stands in a tag and names no record, each with the reason.
    """

    ids: tuple[str, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Say whether there is anything to use or to tell."""
        return bool(self.ids or self.ignored)


NO_TAGS: Final = Tags()


def read_tags(texts: Iterable[str]) -> Tags:
    """Return the records that these texts name, each read to its 5,000th character.

    Args:
        texts: Subject and texts, in the order in which their ids count.
    """
    ids: dict[str, None] = {}
    ignored: dict[str, str] = {}
    for written in _all_words(texts):
        found = _id(written)
        if found is None:
            _note(ignored, written, "it is no record id")
        elif found in ids or len(ids) < MAX_IDS:
            ids.setdefault(found)
        else:
            _note(ignored, written, f"a mail names {MAX_IDS} records at most")
    return Tags(tuple(ids), tuple(ignored.items()))


def readable_records(found: Found, rep: str) -> Found:
    """Mark as unfit what the rep cannot read, if that counts (`match.visibility`)."""
    if found.readable is None or not rep:
        return found
    ids = found.readable.get(rep, frozenset())
    records = {
        sfid: record
        if record.unfit or record.id in ids
        else replace(record, unfit="the rep cannot read this record")
        for sfid, record in found.records.items()
    }
    return replace(found, records=records)


def with_named(match: Match, ids: Sequence[str], found: Found) -> Match:
    """Return a match with the records that the mail names.

    Contacts and Leads come behind those of the mail's people. Of the others, what is
    named comes first: it is what the author wants the mail on.
    """
    records = [found.records[sfid] for sfid in ids if sfid in found.records]
    fit = {record.id: record for record in records if not record.unfit}
    if not fit:
        return match
    known = {one.id: one for one in (*match.who, *match.what)}
    who = [
        _chosen(record)
        for record in fit.values()
        if record.object in WHO_OBJECTS and record.id not in known
    ]
    named = {
        record.id: known.get(record.id) or _chosen(record)
        for record in fit.values()
        if record.object not in WHO_OBJECTS
    }
    others = (one for one in match.what if one.id not in named)
    what = (*named.values(), *others)
    return Match((*match.who, *who), what, match.unknown, match.notes)


def not_used(ids: Sequence[str], found: Found) -> list[tuple[str, str]]:
    """Return the ids on which nothing can be logged, each with the reason."""
    problems = []
    for sfid in ids:
        record = found.records.get(sfid)
        if record is None:
            problems.append((sfid, "there is no such record that the relay may read"))
        elif record.unfit:
            problems.append((sfid, record.unfit))
    return problems


def _chosen(record: NamedRecord) -> Chosen:
    return Chosen(record.id, record.object, record.name, NAMED)


def without_tags(text: str) -> str:
    """Return a text or HTML without the tags that name a record.

    A line that held nothing else goes with its tag. What only looks like a tag stays.
    """
    if not any(True for _ in _tags(text)):
        return text
    return _ALONE.sub("", _TAG.sub(_without, text)).replace(_TAKEN, "")


_TAKEN: Final = "\ue000"
"""Stands for a tag that was taken out; of the characters that mean nothing."""
_ALONE: Final = re.compile(rf"^[ \t>]*{_TAKEN}[ \t{_TAKEN}]*\r?\n", re.MULTILINE)


def _without(found: re.Match[str]) -> str:
    if not any(map(_id, _words(found))):
        return found[0]
    return _TAKEN + "".join(_MARKUP.findall(found[0]))


# ---------------------------------------------------------------- parts


def _head(text: str) -> str:
    """Return what is read of a text; a tag or an id that is cut there is none."""
    head = text[:SCANNED]
    if len(text) > SCANNED and _may_have_tags(head):
        if text[SCANNED].isalnum():
            head = head.rstrip(_WORD)
        head = _UNCLOSED.sub("", head)
    return head


def _may_have_tags(text: str) -> bool:
    """Say whether `ref` ends a word: most mails are done with here, in microseconds."""
    return "ref" in text.lower() and _HINT.search(text) is not None


def _tags(text: str) -> Iterator[re.Match[str]]:
    if _may_have_tags(text):
        yield from _TAG.finditer(text)


def _all_words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for found in _tags(_head(text)):
            yield from _words(found)


def _words(found: re.Match[str]) -> list[str]:
    """Return what stands in a tag; prose in brackets is one word."""
    inside = found["bare"] or found["list"]
    words = _NO_WORD.sub(" ", inside).split()
    if not any(map(_LIKE_AN_ID.fullmatch, words)):
        return [" ".join(words)] if words else []
    return words


def _id(written: str) -> str | None:
    """Return the id in 18 characters. A word without a digit is prose."""
    return record_id(written) if _DIGIT.search(written) else None


def _note(ignored: dict[str, str], written: str, reason: str) -> None:
    if len(ignored) < MAX_IGNORED:
        ignored.setdefault(written[:_LONGEST_SHOWN], reason)
