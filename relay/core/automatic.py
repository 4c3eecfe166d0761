"""Automatic mail as values: its kinds, and what shows them.

`relay.mail.automatic` recognises the kinds, `relay.match` applies the rule of each, and
the settings `automatic.*` hold the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Rule = Literal["skip", "log"]
"""What becomes of automatic mail of a kind."""

NOTICE_HEADER: Final = "X-Relay-Notice"
"""Every notice that the relay sends has this field; its value is the kind."""


class AutomaticKind(StrEnum):
    """What made a mail; the value is also the reason word of a mail that is skipped."""

    OWN_NOTICE = "own_notice"
    OWN_COPY = "own_copy"
    DELIVERY_REPORT = "delivery_report"
    READ_RECEIPT = "read_receipt"
    ABUSE_REPORT = "abuse_report"
    CALENDAR_REPLY = "calendar_reply"
    AUTO_REPLY = "auto_reply"
    AUTO_GENERATED = "auto_generated"
    LIST_MAIL = "list_mail"
    BULK_MAIL = "bulk_mail"
    NULL_SENDER = "null_sender"
    REPLY_SUPPRESSED = "reply_suppressed"
    CAMPAIGN = "campaign"


DEFAULT_RULES: Final[Mapping[AutomaticKind, Rule]] = {
    AutomaticKind.DELIVERY_REPORT: "skip",
    AutomaticKind.READ_RECEIPT: "skip",
    AutomaticKind.ABUSE_REPORT: "skip",
    AutomaticKind.CALENDAR_REPLY: "skip",
    AutomaticKind.AUTO_REPLY: "skip",
    AutomaticKind.AUTO_GENERATED: "skip",
    AutomaticKind.LIST_MAIL: "skip",
    AutomaticKind.BULK_MAIL: "skip",
    AutomaticKind.NULL_SENDER: "skip",
    AutomaticKind.REPLY_SUPPRESSED: "skip",
    # A rep wrote it, and a sales tool sent it: mailbox providers ask such tools for
    # List-Unsubscribe (RFC 8058), so that the field alone says nothing of the author.
    AutomaticKind.CAMPAIGN: "log",
}
"""The rule of each kind that an admin may change; what the relay sent itself is always
skipped (`own_notice`, `own_copy`)."""


@dataclass(frozen=True, slots=True)
class Automatic:
    """What a mail shows of a program that made it.

    `sign` is the header field that showed it, for people: `Auto-Submitted:
    auto-replied`.
    """

    kind: AutomaticKind
    sign: str


class MailKind(StrEnum):
    """By which way a mail of a sender came: what a policy on senders goes by."""

    DIRECT = "direct"
    LIST = "list"
    """A mailing list sent it on; the list may have changed it."""
    FORWARDED = "forwarded"
    """A mailbox or a server sent it on by itself."""
    REDIRECTED = "redirected"
    """A person sent it on as it was (RFC 5322 section 3.6.6)."""
    AUTOMATIC = "automatic"
    """No person wrote it."""


def with_null_sender(found: Automatic | None) -> Automatic:
    """Return what shows it of a mail that came with the null sender (`MAIL FROM:<>`).

    RFC 5321 section 4.5.5 keeps it for reports and automatic answers. A sign of the
    header that says more stands before it.
    """
    weak = {AutomaticKind.REPLY_SUPPRESSED, AutomaticKind.CAMPAIGN}
    if found and found.kind not in weak:
        return found
    return Automatic(AutomaticKind.NULL_SENDER, "MAIL FROM:<>")
