"""Every reply of the SMTP server, in one table, each with the section that asks for it.

A refusal begins as a reason (`relay.intake.Rejection`); `BY_REASON` at the end says
which reply that is in SMTP. A reply is generic to the peer: the details stand in the
log and in the refusal, under the id that the reply ends with (`(ref …)`). A text names
what helps where the reader can do it. Nothing from the peer reaches a reply line as it
is: a value is cut to printable ASCII first, so that no reply can be split.

Source: RFC 5321 section 4.2 (replies), RFC 3463 (enhanced codes), RFC 2034 section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from relay.core.addresses import fold_ascii
from relay.core.translate import IN_ENGLISH, N_, Texts, ascii_text, texts
from relay.intake import Accepted, Refused, Rejection
from relay.sender import CAUSES, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.directory import Directory
    from relay.intake.refusals import ReplyLine

MAX_REPLY_LINE: Final = 512
"""Octets of a reply line with its CRLF (RFC 5321 section 4.5.3.1.5)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One row of the table: code, enhanced code, text, and where it is asked for.

    `text` may have `{name}` fields for `line`. An empty `enhanced` is for replies that
    RFC 2034 section 4 exempts (greeting, HELO, EHLO, 354).
    """

    code: int
    enhanced: str
    text: str
    source: str

    @property
    def head(self) -> str:
        """Return the codes, such as `550 5.1.1`."""
        return f"{self.code} {self.enhanced}".rstrip()

    def line(
        self, *, ref: str = "", texts: Texts = IN_ENGLISH, **values: object
    ) -> str:
        """Return the reply as one printable ASCII line without its CRLF.

        The text is cut, never the id behind it, so that the line fits RFC 5321
        section 4.5.3.1.5. A translation is written without its accents: a reply holds
        ASCII alone, and the client need not know UTF-8 (RFC 6531 section 3.7.4.2).
        """
        text = ascii_text(texts(self.text)).format_map(
            {key: printable(str(value)) for key, value in values.items()}
        )
        end = f" (ref {ref})" if ref else ""
        room = MAX_REPLY_LINE - 2 - len(self.head) - 1 - len(end)
        return f"{self.head} {printable(text)[:room]}{end}"


@cache
def encoded(reply: Reply) -> bytes:
    """Return the wire form of a reply that has no fields."""
    return reply.line().encode("ascii") + b"\r\n"


def printable(text: str) -> str:
    """Return text with everything but printable ASCII shown as `?`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


# ------------------------------------------------------------------ going well

GREETING: Final = Reply(220, "", "{hostname} ESMTP", "RFC 5321 section 4.3.1")
GREETING_LMTP: Final = Reply(220, "", "{hostname} LMTP", "RFC 2033 section 4.1")
HELO: Final = Reply(250, "", "{hostname}", "RFC 5321 section 4.1.1.1")
START_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS", "RFC 3207 section 4")
MAIL_OK: Final = Reply(250, "2.1.0", "Sender OK", "RFC 5321 section 4.1.1.2")
RCPT_OK: Final = Reply(250, "2.1.5", "Recipient OK", "RFC 5321 section 4.1.1.3")
GO_AHEAD: Final = Reply(
    354, "", "End data with <CR><LF>.<CR><LF>", "RFC 5321 section 4.1.1.4"
)
TAKEN: Final = Reply(250, "2.0.0", "OK {id}", "RFC 5321 section 6.1")
TAKEN_SEVERAL: Final = Reply(
    250, "2.0.0", "OK {count} messages, the first is {id}", "RFC 5321 section 6.1"
)
CHUNK_TAKEN: Final = Reply(250, "2.0.0", "{size} bytes received", "RFC 3030 section 2")
CHALLENGE: Final = Reply(334, "", "{text}", "RFC 4954 section 4")
LOGGED_IN: Final = Reply(235, "2.7.0", "Logged in", "RFC 4954 section 6")
RESET: Final = Reply(250, "2.0.0", "OK", "RFC 5321 section 4.1.1.5")
NOTHING: Final = Reply(250, "2.0.0", "OK", "RFC 5321 section 4.1.1.9")
CANNOT_VERIFY: Final = Reply(
    252, "2.1.5", "Cannot verify; send mail and see", "RFC 5321 section 3.5.3"
)
HELP: Final = Reply(
    214,
    "2.0.0",
    "This server takes mail for relay addresses only",
    "RFC 5321 section 4.1.1.8",
)
BYE: Final = Reply(221, "2.0.0", "Bye", "RFC 5321 section 4.1.1.10")

# ------------------------------------------------------------------ ends a session

SHUTTING_DOWN: Final = Reply(
    421, "4.3.2", "Restarting, please come again", "RFC 5321 section 3.8"
)
TIMED_OUT: Final = Reply(
    421, "4.4.2", "Too slow, closing the connection", "RFC 5321 section 4.5.3.2"
)
TOO_MANY_CONNECTIONS: Final = Reply(
    421, "4.7.0", "Too many connections, try again later", "RFC 5321 section 3.8"
)
TOO_MANY_ERRORS: Final = Reply(
    421, "4.7.0", "Too many errors, closing the connection", "RFC 5321 section 7.8"
)
TOO_MANY_COMMANDS: Final = Reply(
    421, "4.7.0", "Too many commands, closing the connection", "RFC 5321 section 7.8"
)
TOO_MANY_UNKNOWN: Final = Reply(
    421,
    "4.7.0",
    "Too many unknown recipients from your network, closing the connection",
    "RFC 5321 section 7.8",
)
PEER_TOO_FAST: Final = Reply(
    421, "4.7.0", "Too much mail at a time, come again later", "RFC 5321 section 7.8"
)
EARLY_TALKER: Final = Reply(
    421, "4.5.0", "Wait for the greeting", "RFC 5321 section 4.3.1"
)
EARLY_COMMAND: Final = Reply(
    503,
    "5.5.0",
    "Improper pipelining: wait for the reply to EHLO",
    "RFC 2920 section 3.1",
)
NO_PROXY_HEADER: Final = Reply(
    421,
    "4.7.0",
    "A PROXY header is expected here, and none came",
    "RFC 5321 section 3.8",
)
PROXY_HEADER: Final = Reply(
    500, "5.5.1", "No PROXY header is taken here", "RFC 5321 section 4.2.4"
)
EARLY_DATA: Final = Reply(
    503,
    "5.5.0",
    "Improper pipelining: wait for the reply to DATA",
    "RFC 2920 section 3.1",
)
WRONG_PROTOCOL: Final = Reply(
    500, "5.5.1", "This is an SMTP server", "RFC 5321 section 4.2.4"
)

# ------------------------------------------------------------------ commands

UNKNOWN_COMMAND: Final = Reply(
    500, "5.5.2", "Command not recognized", "RFC 5321 section 4.2.4"
)
NOT_IMPLEMENTED: Final = Reply(
    502, "5.5.1", "Command not implemented", "RFC 5321 section 4.2.4"
)
LINE_TOO_LONG: Final = Reply(
    500, "5.5.2", "Command line too long", "RFC 5321 section 4.5.3.1.4"
)
BARE_LINE_END: Final = Reply(
    500, "5.5.2", "Commands end with <CR><LF>", "RFC 5321 section 2.3.8"
)
NOT_TEXT: Final = Reply(
    500, "5.5.2", "Commands are ASCII or UTF-8", "RFC 6531 section 3.3"
)
BAD_ARGUMENT: Final = Reply(501, "5.5.4", "Syntax: {syntax}", "RFC 5321 section 4.2.2")
BAD_PARAMETER: Final = Reply(
    501, "5.5.4", "Bad value of parameter {name}", "RFC 5321 section 4.2.4"
)
UNKNOWN_PARAMETER: Final = Reply(
    555, "5.5.4", "Parameter {name} not recognized", "RFC 5321 section 4.1.1.11"
)
BAD_SENDER: Final = Reply(
    501, "5.1.7", "Bad sender address syntax", "RFC 5321 section 4.1.2"
)
BAD_RECIPIENT: Final = Reply(
    501, "5.1.3", "Bad recipient address syntax", "RFC 5321 section 4.1.2"
)
NEEDS_SMTPUTF8: Final = Reply(
    553, "5.6.7", "Address needs the SMTPUTF8 parameter", "RFC 6531 section 3.5"
)
HELLO_FIRST: Final = Reply(
    503, "5.5.1", "Send EHLO or HELO first", "RFC 5321 section 4.1.4"
)
NESTED_MAIL: Final = Reply(
    503, "5.5.1", "Sender already given", "RFC 5321 section 4.1.4"
)
MAIL_FIRST: Final = Reply(503, "5.5.1", "Send MAIL first", "RFC 5321 section 4.1.4")
RCPT_FIRST: Final = Reply(503, "5.5.1", "Send RCPT first", "RFC 5321 section 4.1.4")
NO_VALID_RECIPIENT: Final = Reply(
    554, "5.5.1", "No valid recipients", "RFC 5321 section 3.3"
)
TLS_NOT_AVAILABLE: Final = Reply(502, "5.5.1", "TLS not offered", "RFC 3207 section 4")
TLS_ALREADY: Final = Reply(503, "5.5.1", "TLS already active", "RFC 3207 section 4.2")
TLS_REQUIRED: Final = Reply(
    530, "5.7.0", "Must issue a STARTTLS command first", "RFC 3207 section 4"
)

CHUNKS_UNDER_WAY: Final = Reply(
    503, "5.5.1", "BDAT has begun: end it with LAST, or RSET", "RFC 3030 section 2"
)

# ------------------------------------------------------------------ login

UNKNOWN_MECHANISM: Final = Reply(
    504, "5.5.4", "Mechanisms are PLAIN and LOGIN", "RFC 4954 section 4"
)
BAD_AUTH: Final = Reply(
    501, "5.5.2", "Cannot decode that response", "RFC 4954 section 4"
)
AUTH_TOO_LONG: Final = Reply(
    500, "5.5.6", "Authentication exchange line is too long", "RFC 4954 section 6"
)
AUTH_CANCELLED: Final = Reply(
    501, "5.7.0", "Authentication cancelled", "RFC 4954 section 4"
)
AUTH_IN_MAIL: Final = Reply(
    503, "5.5.1", "Not in the middle of a mail", "RFC 4954 section 4"
)
LOGGED_IN_ALREADY: Final = Reply(
    503, "5.5.1", "Logged in already", "RFC 4954 section 4"
)
LOGIN_FAILED: Final = Reply(
    535,
    "5.7.8",
    "Wrong name or password; the name is your e-mail address, the password an app "
    "password",
    "RFC 4954 section 6",
)
LOGINS_UNDER_WAY: Final = Reply(
    454, "4.7.0", "Other logins are under way, try again", "RFC 4954 section 6"
)
LOGIN_NEEDS_TLS: Final = Reply(
    538, "5.7.11", "Encryption required: use STARTTLS first", "RFC 4954 section 6"
)
LOGIN_FIRST: Final = Reply(
    530, "5.7.0", "Authentication required", "RFC 4954 section 6"
)
TOO_MANY_LOGINS: Final = Reply(
    421, "4.7.0", "Too many failed logins, try again later", "RFC 4954 section 4"
)
CLIENT_CERTIFICATE_REQUIRED: Final = Reply(
    530, "5.7.0", "A client certificate is required", "RFC 3463 section 3.8"
)
SENDER_NOT_OWN: Final = Reply(
    550,
    "5.7.1",
    N_("This sender is not one of your accepted addresses"),
    "RFC 6409 section 6.1",
)
RECIPIENT_NOT_OWN: Final = Reply(
    550, "5.7.1", N_("This is not your own relay address"), "RFC 6409 section 6.1"
)

# ------------------------------------------------------------------ refusals

# Never translated: its language would tell that there is such a user.
UNKNOWN_RECIPIENT: Final = Reply(
    550, "5.1.1", "No such relay address here", "RFC 5321 section 3.3"
)
LOGGING_OFF: Final = Reply(
    550,
    "5.2.1",
    N_("Your administrator has switched logging off: this mail is not logged"),
    "RFC 3463 section 3.3",
)
TOO_MANY_RECIPIENTS: Final = Reply(
    452, "4.5.3", N_("Too many recipients, send again"), "RFC 5321 section 4.5.3.1.10"
)
USER_TOO_FAST: Final = Reply(
    450,
    "4.7.0",
    N_("Too much mail for this address at a time, try again later"),
    "RFC 5321 section 4.2.3",
)
SENDER_NOT_ACCEPTED: Final = Reply(550, "5.7.1", "{text}", "RFC 5321 section 7.9")
SENDER_NOT_PROVEN: Final = {
    one.reason: Reply(451 if one.temporary else 550, one.enhanced, "{text}", one.source)
    for one in CAUSES.values()
}
"""The replies to what speaks against a sender, as the catalogue of causes has them."""
TOO_LARGE: Final = Reply(
    552, "5.3.4", N_("Mail is larger than {limit} bytes"), "RFC 1870 section 6.1"
)
HEADER_TOO_LARGE: Final = Reply(
    552, "5.3.4", N_("Mail header is larger than {limit} bytes"), "RFC 3463 section 3.4"
)
TOO_MANY_FIELDS: Final = Reply(
    552,
    "5.3.4",
    N_("Mail header has more than {limit} fields"),
    "RFC 5321 section 4.5.3.1.9",
)
LOOP: Final = Reply(
    554, "5.4.6", N_("Mail is looping: too many Received lines"), "RFC 5321 section 6.3"
)
BARE_DOT: Final = Reply(
    554,
    "5.5.2",
    N_("A lone dot between bare line ends; lines end with <CR><LF>"),
    "RFC 5321 section 2.3.8",
)
BARE_NEWLINE: Final = Reply(
    554,
    "5.5.2",
    N_("Mail has a CR or LF on its own; lines end with <CR><LF>"),
    "RFC 5321 section 2.3.8",
)
DISK_FULL: Final = Reply(
    452, "4.3.1", N_("Not enough disk space, try again later"), "RFC 5321 section 4.2.2"
)
STORE_UNAVAILABLE: Final = Reply(
    451, "4.3.0", N_("Cannot store mail now, try again later"), "RFC 5321 section 4.2.2"
)
INTERNAL_ERROR: Final = Reply(
    451, "4.3.0", N_("Internal error, try again later"), "RFC 5321 section 4.2.2"
)


# ------------------------------------------------------------------ reasons

BY_REASON: Final = {
    **SENDER_NOT_PROVEN,
    "bare_dot": BARE_DOT,
    "bare_newline": BARE_NEWLINE,
    "client_certificate_required": CLIENT_CERTIFICATE_REQUIRED,
    "disk_full": DISK_FULL,
    "early_command": EARLY_COMMAND,
    "early_data": EARLY_DATA,
    "early_talker": EARLY_TALKER,
    "header_too_large": HEADER_TOO_LARGE,
    "internal_error": INTERNAL_ERROR,
    "logging_off": LOGGING_OFF,
    "login_failed": LOGIN_FAILED,
    "login_in_the_clear": LOGIN_NEEDS_TLS,
    "login_required": LOGIN_FIRST,
    "loop": LOOP,
    "needs_smtputf8": NEEDS_SMTPUTF8,
    "no_proxy_header": NO_PROXY_HEADER,
    "no_valid_recipient": NO_VALID_RECIPIENT,
    "not_own_relay_address": RECIPIENT_NOT_OWN,
    "peer_too_fast": PEER_TOO_FAST,
    "proxy_header": PROXY_HEADER,
    "sender_not_accepted": SENDER_NOT_ACCEPTED,
    "store_unavailable": STORE_UNAVAILABLE,
    "timeout": TIMED_OUT,
    "tls_required": TLS_REQUIRED,
    "too_large": TOO_LARGE,
    "too_many_commands": TOO_MANY_COMMANDS,
    "too_many_connections": TOO_MANY_CONNECTIONS,
    "too_many_connections_of_network": TOO_MANY_CONNECTIONS,
    "too_many_connections_of_peer": TOO_MANY_CONNECTIONS,
    "too_many_errors": TOO_MANY_ERRORS,
    "too_many_header_fields": TOO_MANY_FIELDS,
    "too_many_logins": TOO_MANY_LOGINS,
    "too_many_recipients": TOO_MANY_RECIPIENTS,
    "too_many_unknown_recipients": TOO_MANY_UNKNOWN,
    "too_slow": TIMED_OUT,
    "unknown_recipient": UNKNOWN_RECIPIENT,
    "user_too_fast": USER_TOO_FAST,
}
"""The reply to a reason, of the intake and of the dialogue alike."""


@dataclass(frozen=True, slots=True)
class OtherReply(Rejection):
    """A rejection whose reply is not the usual one of its reason."""

    reply: Reply = INTERNAL_ERROR


def reply_to(rejection: Rejection) -> Reply:
    """Return the reply to a rejection."""
    if isinstance(rejection, OtherReply):
        return rejection.reply
    return BY_REASON[rejection.reason]


def reply_line(rejection: Rejection, ref: str, language: str | None = None) -> str:
    """Return the reply to a rejection as a line, with the id of its refusal.

    Args:
        rejection: Why.
        ref: The id of the refusal.
        language: The one of the user whose mail program shows the reply; None: English.
    """
    said, values = texts(language), dict(rejection.values)
    if rejection.verdict is not None and "text" in values:
        values["text"] = ascii_text(in_words(rejection.verdict, said))
    return reply_to(rejection).line(ref=ref, texts=said, **values)


def replier(directory: Callable[[], Directory]) -> ReplyLine:
    """Return what says a reply in the language of the user whose mail is refused.

    Whoever is no user reads English. The codes are the same in each language.
    """

    def line(rejection: Rejection, ref: str) -> str:
        # Where no user is known nothing is asked that could fail: a reply comes.
        if rejection.user_id is None:
            return reply_line(rejection, ref)
        language = directory().language_of(rejection.user_id)
        return reply_line(rejection, ref, language)

    return line


def outcome_line(outcome: Accepted | Refused) -> str:
    """Return the one reply that SMTP has for a mail, whoever it was for.

    A mail that one recipient may have is accepted; the reply to one that nobody may
    have is that of the first recipient.
    """
    if isinstance(outcome, Refused):
        return outcome.refusals[0].reply
    first = outcome.recipients[0].message_id
    count = len(outcome.recipients)
    if count == 1:
        return TAKEN.line(id=first)
    return TAKEN_SEVERAL.line(count=count, id=first)


def outcome_lines(outcome: Accepted | Refused) -> dict[str, str]:
    """Return the reply for each recipient, by RCPT in lower case, as LMTP has it."""
    lines = {fold_ascii(refusal.rcpt): refusal.reply for refusal in outcome.refusals}
    if isinstance(outcome, Accepted):
        for one in outcome.recipients:
            lines[fold_ascii(one.rcpt)] = TAKEN.line(id=one.message_id)
    return lines
