"""What is taken and what is refused, decided on values; nothing here waits.

`recipient` answers one RCPT, `assess` the header of a mail for all its recipients. A
refusal is a value as well (`Rejection`): a row of the reply table, the fields of its
text, and a stable reason word for journal and metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.addresses import domain_key, fold_ascii
from relay.intake.refusals import Rejection
from relay.mail import decode_header, header_fields
from relay.sender import judge_author, read_author

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import SMTPSettings
    from relay.core.directory import Directory, User
    from relay.sender import Author

_POSTMASTER: Final = "postmaster"
_LONGEST_SHOWN: Final = 1000
"""Characters of a header kept for listings."""


@dataclass(frozen=True, slots=True)
class Addressee:
    """A recipient that was accepted at RCPT; `user_id` None is postmaster."""

    rcpt: str
    user_id: int | None


@dataclass(frozen=True, slots=True)
class Headers:
    """What the intake reads from a header block; texts are for listings."""

    from_values: tuple[bytes, ...] = ()
    fields: int = 0
    received: int = 0
    to_text: str = ""
    subject: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict on a mail, recipient by recipient, in the order of the RCPTs."""

    headers: Headers
    author: Author
    taken: tuple[tuple[Addressee, User | None], ...]
    refused: tuple[tuple[Addressee, Rejection], ...]

    @property
    def header_from(self) -> str:
        """Return the author's address, or what stands in From instead of one."""
        return self.author.address or shown(self.headers.from_values)


class Policy:
    """The rules of one intake."""

    def __init__(self, settings: SMTPSettings) -> None:
        """Take the limits and the domains of relay addresses."""
        self._settings = settings
        self._domains = frozenset(domain_key(name) for name in settings.domains)

    def recipient(
        self, rcpt: str, local: str, domain: str, directory: Directory
    ) -> Addressee | Rejection:
        """Return whom an envelope address names, or why it is refused.

        `rcpt` is the address in canonical form, `local` and `domain` are its parts.

        A disabled user is answered like an unknown one: the difference is nobody
        else's business, and stands in the refusal.
        """
        local = fold_ascii(local)
        if not domain:
            return Addressee(rcpt, None)
        if domain_key(domain) not in self._domains:
            detail = f"{domain} is not in smtp.domains"
            return Rejection("unknown_recipient", detail)
        if local == _POSTMASTER:
            return Addressee(rcpt, None)
        user_id = directory.by_token.get(local)
        user = None if user_id is None else directory.users.get(user_id)
        if user is None:
            detail = "no user has this relay address"
            return Rejection("unknown_recipient", detail)
        if not user.active:
            return _disabled(user)
        return Addressee(rcpt, user.id)

    def assess(
        self,
        head: bytes,
        addressees: Sequence[Addressee],
        directory: Directory,
        *,
        size_bytes: int = 0,
    ) -> Assessment:
        """Judge a mail by its header block, for each recipient.

        Users are looked up again: one may have been disabled since RCPT.
        """
        headers = read_headers(head)
        author = read_author(headers.from_values)
        trouble = self._header_trouble(headers)
        if trouble is not None:
            return Assessment(
                headers, author, (), tuple((one, trouble) for one in addressees)
            )
        taken: list[tuple[Addressee, User | None]] = []
        refused: list[tuple[Addressee, Rejection]] = []
        for addressee in addressees:
            if addressee.user_id is None:
                limit = self.largest([addressee])
                if size_bytes > limit:
                    refused.append((addressee, self.too_large(limit)))
                else:
                    taken.append((addressee, None))
                continue
            verdict = _judge(author, addressee.user_id, directory)
            if isinstance(verdict, Rejection):
                refused.append((addressee, verdict))
            else:
                taken.append((addressee, verdict))
        return Assessment(headers, author, tuple(taken), tuple(refused))

    def _header_trouble(self, headers: Headers) -> Rejection | None:
        """Say what keeps a header from being taken, whoever wrote it."""
        if headers.received >= self._settings.max_received:
            detail = f"{headers.received} Received lines"
            return Rejection("loop", detail)
        limit = self._settings.max_header_fields
        if headers.fields > limit:
            return Rejection(
                "too_many_header_fields",
                f"{headers.fields} fields",
                values={"limit": limit},
            )
        return None

    def largest(self, addressees: Sequence[Addressee]) -> int:
        """Return the bytes beyond which none of these may have a mail.

        Anybody may write to postmaster, so that such mail is kept small.
        """
        most = self._settings.max_message_bytes
        if any(addressee.user_id is not None for addressee in addressees):
            return most
        return min(most, self._settings.postmaster_max_bytes)

    def too_large(self, limit: int) -> Rejection:
        """Return the refusal of a mail beyond so many bytes."""
        return Rejection("too_large", values={"limit": limit})

    def header_too_large(self) -> Rejection:
        """Return the refusal of a header beyond `max_header_bytes`."""
        limit = {"limit": self._settings.max_header_bytes}
        return Rejection("header_too_large", values=limit)


def read_headers(head: bytes) -> Headers:
    """Read the fields that the intake needs; never raises."""
    senders: list[bytes] = []
    recipients: list[bytes] = []
    received = 0
    subject = message_id = b""
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
    return Headers(
        from_values=tuple(senders),
        fields=len(fields),
        received=received,
        to_text=shown(recipients),
        subject=shown([subject]),
        message_id=shown([message_id]),
    )


def shown(values: Sequence[bytes]) -> str:
    """Return values as one text for listings, cut to a sane length.

    No more is decoded than can be shown: a header may have thousands of fields.
    """
    texts: list[str] = []
    room = 4 * _LONGEST_SHOWN
    for value in values:
        texts.append(decode_header(value[:room]).strip())
        room -= len(value)
        if room <= 0:
            break
    return ", ".join(texts)[:_LONGEST_SHOWN]


def _judge(author: Author, user_id: int, directory: Directory) -> User | Rejection:
    user = directory.users.get(user_id)
    if user is None:
        detail = "the user is gone since RCPT"
        return Rejection("unknown_recipient", detail)
    if not user.active:
        return _disabled(user)
    accepted = directory.accepted.get(user_id, frozenset())
    verdict = judge_author(author, user, accepted)
    if verdict.accepted:
        return user
    text = {"text": verdict.text}
    return Rejection(verdict.reason, f"for {user.name}", user.id, text)


def _disabled(user: User) -> Rejection:
    return Rejection(
        "unknown_recipient",
        f"{user.name} is disabled",
        user.id,
    )
