"""Which files of a mail go to Salesforce, and under which key and name. Pure.

Every record of the mail gets every file that passes the rules, once, however often its
content stands in the mail. What is left out comes with a reason, for the trace.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.activity.text import cut, one_line
from relay.core.bodies import BodyMode
from relay.core.files import FileDraft

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.core.model import Attachment, Email

ORIGINAL_TYPE: Final = "message/rfc822"
_MAX_NAME: Final = 200
"""UTF-16 units; ContentVersion.Title holds 255, and so do file systems, in bytes."""
_MAX_ENDING: Final = 20
_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_ENDINGS: Final = {"image/jpeg": ".jpg", "text/plain": ".txt", ORIGINAL_TYPE: ".eml"}


@dataclass(frozen=True, slots=True)
class FileRules:
    """What may become a file; see `[salesforce]` in the settings.

    `allow` and `deny` hold media types (`application/pdf`, `image/*`) and endings
    (`.exe`); an empty `allow` allows all, `deny` wins. `body` says how much of the mail
    is logged: where no text is, no file is either, and the original is a file only of a
    mail that is logged in full.
    """

    attach: bool = True
    max_bytes: int = 26_214_400
    max_count: int = 50
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    inline_min_bytes: int = 51_200
    original_eml: bool = False
    body: BodyMode = BodyMode.FULL


@dataclass(frozen=True, slots=True)
class FilePlan:
    """The files of a mail, and the names of others with the reason for each."""

    drafts: tuple[FileDraft, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def file_key(activity_key: str, content: str) -> str:
    """Return the key of a file on a record: 40 hexadecimal digits.

    Args:
        activity_key: The key of the record.
        content: The digest of the content, or `original`.
    """
    return hashlib.sha256(f"{activity_key}\nfile:{content}".encode()).hexdigest()[:40]


def plan_files(
    email: Email,
    rules: FileRules,
    *,
    mail_id: int,
    blob_id: str,
    raw_bytes: int,
    activity_keys: Sequence[str],
) -> FilePlan:
    """Return the files to hang on the records of a mail.

    Args:
        email: As read from the bytes of `blob_id`.
        rules: What may become a file.
        mail_id: The mail.
        blob_id: Where the bytes are.
        raw_bytes: How many they are.
        activity_keys: The mail's records that are in Salesforce.
    """
    if not rules.attach or not activity_keys:
        return FilePlan()
    left_out: list[tuple[str, str]] = []
    chosen: dict[str, tuple[Attachment, str]] = {}
    for number, attachment in enumerate(email.attachments, 1):
        name = file_name(attachment.name, attachment.content_type, number)
        if attachment.sha256 in chosen:
            left_out.append((name, f"same as {chosen[attachment.sha256][1]}"))
        elif reason := _reason(email, attachment, name, rules):
            left_out.append((name, reason))
        elif len(chosen) >= rules.max_count:
            left_out.append((name, f"more than {rules.max_count} files"))
        else:
            chosen[attachment.sha256] = (attachment, name)
    drafts = [
        FileDraft(
            key=file_key(record, digest),
            mail_id=mail_id,
            activity_key=record,
            blob_id=blob_id,
            name=name,
            content_type=file.content_type,
            size_bytes=file.size_bytes,
            sha256=digest,
            start=file.start,
            end=file.end,
            encoding=file.encoding,
        )
        for digest, (file, name) in chosen.items()
        for record in activity_keys
    ]
    if rules.original_eml:
        name = file_name(f"{one_line(email.subject) or 'mail'}.eml", ORIGINAL_TYPE, 0)
        if rules.body is not BodyMode.FULL:
            left_out.append((name, _kept_back(rules.body)))
        elif raw_bytes > rules.max_bytes:
            left_out.append((name, _too_large(raw_bytes, rules)))
        else:
            drafts += [
                FileDraft(
                    key=file_key(record, "original"),
                    mail_id=mail_id,
                    activity_key=record,
                    blob_id=blob_id,
                    name=name,
                    content_type=ORIGINAL_TYPE,
                    size_bytes=raw_bytes,
                    sha256="",
                    start=0,
                    end=raw_bytes,
                )
                for record in activity_keys
            ]
    return FilePlan(tuple(drafts), tuple(left_out))


def _reason(email: Email, file: Attachment, name: str, rules: FileRules) -> str:
    """Return why a file is left out, or nothing."""
    if not rules.body.has_text:
        return _kept_back(rules.body)
    if not file.size_bytes:
        return "empty"
    kind = file.content_type.lower()
    if kind.startswith("image/") and (file.inline or _in_text(email, file)):
        limit = rules.inline_min_bytes
        if file.size_bytes < limit:
            return f"inline image of {file.size_bytes} bytes, below {limit}"
    if _matches(rules.deny, kind, name):
        return f"type {kind} is denied"
    if rules.allow and not _matches(rules.allow, kind, name):
        return f"type {kind} is not allowed"
    if file.size_bytes > rules.max_bytes:
        return _too_large(file.size_bytes, rules)
    return ""


def _in_text(email: Email, file: Attachment) -> bool:
    """Say whether the HTML shows an image, whatever its disposition says."""
    return bool(
        file.content_id and email.html and f"cid:{file.content_id}" in email.html
    )


def _kept_back(body: BodyMode) -> str:
    return f"of this mail is logged: {body}"


def _too_large(size: int, rules: FileRules) -> str:
    return f"{size} bytes, above {rules.max_bytes}"


def _matches(patterns: Iterable[str], kind: str, name: str) -> bool:
    folded = name.lower().rstrip(". ")
    for pattern in patterns:
        if pattern.startswith("."):
            if folded.endswith(pattern):
                return True
        elif pattern.endswith("/*"):
            if kind.startswith(pattern[:-1]):
                return True
        elif kind == pattern:
            return True
    return False


def file_name(name: str, content_type: str, number: int) -> str:
    """Return a name that any system takes, with the ending that its type needs.

    Salesforce reads the kind of a file from its ending alone.
    """
    clean = _NOT_IN_NAMES.sub("_", one_line(name)).strip(" .") or f"attachment-{number}"
    stem, dot, ending = clean.rpartition(".")
    if not stem or not dot or len(ending) > _MAX_ENDING or " " in ending:
        guessed = _ENDINGS.get(content_type) or mimetypes.guess_extension(content_type)
        stem, ending = clean, (guessed or ".bin")[1:]
    return f"{cut(stem, _MAX_NAME, '…')}.{ending}"
