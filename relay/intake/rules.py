"""The rules of what is accepted, decided on values; nothing here waits or keeps state.

Every limit of a mail is decided here, once: `recipient` for one RCPT, `size`,
`line_ends` and `header` for a mail, `sender` for a mail and one of its recipients. The
answer is a `Rejection` where something is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import domain_key, fold_ascii
from relay.core.authentication import Outcome, Policy
from relay.core.directory import record_in, token_of
from relay.core.reminders import tag_of
from relay.intake.judging import Writers
from relay.intake.refusals import Rejection
from relay.mail import decode_header, header_fields
from relay.sender import judge_author, read_author
from relay.sender.policy import against

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import SMTPSettings
    from relay.core.authentication import MailKind
    from relay.core.directory import Directory, User
    from relay.sender import Author

_POSTMASTER: Final = "postmaster"
_PASSED_ON: Final = frozenset(
    {
        "list-id", "list-post", "mailing-list", "x-forwarded-to", "x-forwarded-for",
        "delivered-to", "x-ms-exchange-inbox-rules-loop",
        "x-ms-exchange-forwardingaddress",
    }
)  # fmt: skip
"""Fields that mailing lists (RFC 2919, RFC 2369) and forwarders write; `Delivered-To`
(RFC 9228) says that the mail was in a mailbox, from where a server sent it on."""
_LATER_SEAL: Final = re.compile(rb"(?:^|;)\s*i=(?:[2-9]|[1-9][0-9])\s*(?:;|$)")
_REWRITTEN: Final = re.compile(r"SRS[01][=+-]|[^@]*\+caf_=", re.IGNORECASE)
"""Envelope senders that forwarders make: SRS, and Gmail's."""
_LONGEST_DATE: Final = 100
_LONGEST_SHOWN: Final = 1000
"""Characters of a header kept for listings."""


@dataclass(frozen=True, slots=True)
class Addressee:
    """A recipient that may have mail; `user_id` None is postmaster."""

    rcpt: str
    user_id: int | None


@dataclass(frozen=True, slots=True)
class LineEnds:
    """What a mail has beside CR LF.

    `bare_dot` is a dot alone between line ends of which one is bare: an attempt at SMTP
    smuggling.
    """

    bare_cr: int = 0
    bare_lf: int = 0
    bare_dot: bool = False

    def __str__(self) -> str:
        """Name the bare line ends; empty where there are none."""
        if not (self.bare_lf or self.bare_cr):
            return ""
        return f"{self.bare_lf} bare LF and {self.bare_cr} bare CR"


@dataclass(frozen=True, slots=True)
class Headers:
    """What the intake reads from a header block; texts are for listings."""

    from_values: tuple[bytes, ...] = ()
    fields: int = 0
    received: int = 0
    to_text: str = ""
    subject: str = ""
    message_id: str = ""
    date: str = ""
    resent_from: bytes | None = None
    """The most recent Resent-From: that of the topmost block of Resent fields."""
    passed_on: bool = False
    """A mailing list or a forwarder left its marks."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A user whose list has an author of the mail: each such author, and their way."""

    user: User
    authors: Sequence[tuple[Author, MailKind]]


class Rules:
    """The rules of one relay."""

    def __init__(self, settings: SMTPSettings) -> None:
        """Take the limits, and the domains of relay addresses."""
        self._settings = settings
        self._domains = frozenset(domain_key(name) for name in settings.domains)

    def recipient(
        self, rcpt: str, local: str, domain: str, directory: Directory
    ) -> Addressee | Rejection:
        """Return whose relay address an envelope address is, or why it is refused.

        `rcpt` is the address in canonical form, `local` and `domain` are its parts. A
        relay address may name a record: `token+id@`, by the id of 18 characters; or
        ask for a reminder: `token+todo-3d@`, where a tag that is misspelt must not cost
        the mail. A disabled user is answered like an unknown one: only the refusal
        shows the difference, never the reply.
        """
        token = token_of(local)
        if not domain:
            return Addressee(rcpt, None)
        if domain_key(domain) not in self._domains:
            return Rejection("unknown_recipient", f"{domain} is not in smtp.domains")
        if fold_ascii(local) == _POSTMASTER:
            return Addressee(rcpt, None)
        user_id = directory.owner_of(token)
        user = None if user_id is None else directory.users.get(user_id)
        if user is None:
            return _nobody(directory, token)
        if not user.active:
            return _disabled(user)
        if not directory.logging_is_on:
            return _logging_off(user)
        if "+" in local and not (record_in(rcpt) or tag_of(rcpt)):
            detail = (
                "what stands behind the plus is no record id of 18 characters, and no "
                "tag such as todo-3d"
            )
            return Rejection("unknown_recipient", detail)
        return Addressee(rcpt, user.id)

    def size(
        self, size_bytes: int, addressees: Sequence[Addressee] | None = None
    ) -> Rejection | None:
        """Refuse a mail that is too large for each of these, or for anybody."""
        limit = self.largest(addressees)
        if size_bytes <= limit:
            return None
        return Rejection("too_large", values={"limit": limit})

    def largest(self, addressees: Sequence[Addressee] | None = None) -> int:
        """Return the bytes of the largest mail that one of these may have, or anybody.

        Anybody may write to postmaster, so mail for postmaster alone is kept small.
        """
        most = self._settings.max_message_bytes
        if addressees is None or any(one.user_id is not None for one in addressees):
            return most
        return min(most, self._settings.postmaster_max_bytes)

    def line_ends(self, line_ends: LineEnds) -> Rejection | None:
        """Refuse a mail for its line ends (RFC 5321 section 2.3.8)."""
        if line_ends.bare_dot:
            detail = "SMTP smuggling: a lone dot between bare line ends"
            return Rejection("bare_dot", detail)
        bare = str(line_ends)
        if bare and self._settings.bare_newlines == "refuse":
            return Rejection("bare_newline", bare)
        return None

    def header_too_large(self) -> Rejection:
        """Refuse a header block beyond `max_header_bytes`."""
        limit = {"limit": self._settings.max_header_bytes}
        return Rejection("header_too_large", values=limit)

    def header(self, headers: Headers) -> Rejection | None:
        """Refuse a header that no recipient may have, whoever wrote it."""
        if headers.received >= self._settings.max_received:
            return Rejection("loop", f"{headers.received} Received lines")
        limit = self._settings.max_header_fields
        if headers.fields > limit:
            detail = f"{headers.fields} fields"
            values = {"limit": limit}
            return Rejection("too_many_header_fields", detail, values=values)
        return None

    def sender(
        self, writers: Writers, addressee: Addressee, directory: Directory
    ) -> Listed | Rejection | None:
        """Return the user whose list has an author of this mail, or why there is none.

        None is postmaster, to whom anybody may write. The user is looked up again: it
        may have been disabled since RCPT.
        """
        if addressee.user_id is None:
            return None
        user = directory.users.get(addressee.user_id)
        if user is None:
            return Rejection("unknown_recipient", "the user is gone since RCPT")
        if not user.active:
            return _disabled(user)
        if not directory.logging_is_on:
            return _logging_off(user)
        accepted = directory.accepted.get(user.id, frozenset())
        # Whoever redirects a mail answers for it, whatever its From is like.
        authors = writers.listed(accepted)
        if authors:
            return Listed(user, authors)
        listing = judge_author(writers.author, user, accepted)
        verdict = against(
            listing.reason,
            Outcome.REFUSE,
            policy=Policy.LISTED,
            address=listing.address,
            detail=writers.author.detail,
        )
        return Rejection(
            listing.reason,
            f"for {user.name}",
            user.id,
            {"text": verdict.text},
            verdict.as_json(),
        )


def read_headers(head: bytes) -> Headers:
    """Read the fields that the intake needs; never raises."""
    senders: list[bytes] = []
    recipients: list[bytes] = []
    received = 0
    subject = message_id = date = b""
    resent: bytes | None = None
    passed_on = False
    fields = header_fields(head)
    for name, value in fields:
        if name == "received":
            received += 1
        elif name == "from":
            senders.append(value)
        elif name == "to":
            recipients.append(value)
        elif name == "subject":
            subject = subject or value
        elif name == "message-id":
            message_id = message_id or value
        elif name == "date":
            date = date or value
        elif name == "resent-from":
            resent = value if resent is None else resent
        elif name in _PASSED_ON:
            passed_on = True
        elif name == "arc-seal":
            # The first seal may be that of the author's own provider.
            passed_on = passed_on or _LATER_SEAL.search(value) is not None
    return Headers(
        from_values=tuple(senders),
        fields=len(fields),
        received=received,
        to_text=shown(recipients),
        subject=shown([subject]),
        message_id=shown([message_id]),
        date=date[:_LONGEST_DATE].decode("ascii", "replace"),
        resent_from=resent,
        passed_on=passed_on,
    )


def writers(headers: Headers, author: Author, mail_from: str) -> Writers:
    """Return who may have written a mail, or passed it on.

    Source: RFC 5322 section 3.6.6; RFC 2369 and 2919 (mailing lists).
    """
    resent = None
    if headers.resent_from is not None:
        resent = read_author([headers.resent_from])
    passed_on = headers.passed_on or _REWRITTEN.match(mail_from) is not None
    return Writers(author, resent, passed_on)


def shown(values: Sequence[bytes]) -> str:
    """Return values as one text for listings, cut to a sane length.

    No more is decoded than can be shown: a header may have thousands of fields.
    """
    texts: list[str] = []
    left = 4 * _LONGEST_SHOWN
    for value in values:
        texts.append(decode_header(value[:left]).strip())
        left -= len(value)
        if left <= 0:
            break
    return ", ".join(texts)[:_LONGEST_SHOWN]


def _nobody(directory: Directory, local: str) -> Rejection:
    """Refuse an address that nobody has, and say for the journal who had it."""
    user = directory.users.get(directory.former_owner_of(local) or 0)
    if user is None:
        return Rejection("unknown_recipient", "no user has this relay address")
    why = "who was removed" if user.removed_at else "who has another one now"
    detail = f"it was an address of {user.name}, {why}"
    return Rejection("unknown_recipient", detail, user.id)


def _disabled(user: User) -> Rejection:
    return Rejection("unknown_recipient", f"{user.name} is {user.state}", user.id)


def _logging_off(user: User) -> Rejection:
    """Refuse for good: what is sent while logging is off is not to be logged (R14).

    A temporary refusal would make the sender's server hold the mail back, and bring it
    once logging is on again, although an admin wanted none of it; and its author would
    hear of it days later.
    """
    detail = "an administrator has switched logging off for everybody"
    return Rejection("logging_off", detail, user.id)
