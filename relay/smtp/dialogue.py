"""Command lines in, replies out: what every verb of a session uses.

A `Dialogue` reads lines within the limits of time, gathers replies and the refusals
that they name, and counts what the peer does wrong; too much of it ends the session.
Refusals are recorded before the replies leave, so that an id which a peer reads is in
the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.intake import Occasion, Rejection
from relay.smtp import replies
from relay.smtp.wire import MOST_REPLIES, Draining, TooSlow

if TYPE_CHECKING:
    from relay.config import SMTPSettings
    from relay.core.model import Refusal
    from relay.intake import RefusalRecorder
    from relay.smtp.connections import Connections
    from relay.smtp.envelope import GrammarError
    from relay.smtp.replies import Reply
    from relay.smtp.wire import Wire

MAX_COMMAND_LINE: Final = 2048
"""Octets of a command line taken: 512 of RFC 5321, and more for all parameters."""
_PERMANENT: Final = 500
"""Codes from here on say that the peer must not try again (RFC 5321 section 4.2.1)."""


class Dialogue:
    """The lines and replies of one session.

    Attributes:
        peer: The address of the peer, for refusals.
        over: No further command is read.
        say: Puts a reply into the next write.
        say_line: Puts a reply line, without its CRLF, into the next write.
    """

    def __init__(
        self,
        wire: Wire,
        settings: SMTPSettings,
        recorder: RefusalRecorder,
        connections: Connections,
    ) -> None:
        """Begin on a connection; `connections` say whether the relay stops."""
        self.peer = wire.peer
        self.over = False
        # Taken as they are: each mail has several replies.
        self.say = wire.say
        self.say_line = wire.say_line
        self._wire = wire
        self._settings = settings
        self._recorder = recorder
        self._connections = connections
        self._refusals: list[Refusal] = []
        self._mails = 0
        self._errors = 0
        self._commands = 0
        self._progress_at = 0.0

    # ------------------------------------------------------------------ lines

    def begin(self) -> None:
        """Begin to count the time until the first mail."""
        self._progress_at = self._wire.loop.time()

    async def next_command(self) -> bytes | None:
        """Return the next command line with its LF; None: the session has ended."""
        while not self.over:
            try:
                line = await self.next_line()
            except TooSlow:
                if self._mails and not self._commands:
                    # It kept its connection for more mail: no offence.
                    self.say(replies.TIMED_OUT)
                else:
                    self.end("timeout")
                break
            except Draining:
                self.say(replies.SHUTTING_DOWN)
                break
            except ValueError:
                self.fail(replies.LINE_TOO_LONG)
                continue
            self._commands += 1
            if self._commands <= self._settings.max_commands:
                return line
            self.end("too_many_commands")
        return None

    async def next_line(self, limit: int = MAX_COMMAND_LINE) -> bytes:
        """Return the next line with its LF; replies leave before it is waited for.

        Raises:
            ValueError: It is longer than the limit.
            TooSlow, EOFError, Draining: As `Wire.wait`.
        """
        wire = self._wire
        while True:
            if self._connections.draining and not wire.busy:
                raise Draining
            line = wire.inbox.line(limit)
            if line is not None:
                if len(wire.out) >= MOST_REPLIES:
                    await self.flush()
                return line
            await self.flush()
            left = self.time_left()
            if left <= 0:
                raise TooSlow
            await wire.wait(left)

    def time_left(self) -> float:
        """Return the seconds left until the next mail must be here."""
        limit_s = self._settings.transaction_timeout_s
        return self._progress_at + limit_s - self._wire.loop.time()

    def made_progress(self) -> None:
        """Take note of a mail that was accepted: time and errors are counted anew."""
        self._mails += 1
        self._errors = 0
        self._commands = 0
        self._progress_at = self._wire.loop.time()

    # ------------------------------------------------------------------ replies

    def fail(self, reply: Reply, **values: object) -> None:
        """Say a reply that counts as an error; too many end the session."""
        self._wire.say(reply, **values)
        self.count_error()

    def refuse(
        self, rejection: Rejection, *, mail_from: str = "", rcpt: str = ""
    ) -> None:
        """Refuse a command: a reply with the id of its refusal."""
        occasion = Occasion(self.peer, mail_from, rcpt)
        refusal = self._recorder.make(occasion, rejection)
        self._refusals.append(refusal)
        self._wire.say_line(refusal.reply)
        if replies.reply_to(rejection).code >= _PERMANENT:
            self.count_error()

    def complain(
        self, error: GrammarError, *, mail_from: str = "", rcpt: str = ""
    ) -> None:
        """Refuse an argument that the grammar does not have."""
        rejection = replies.OtherReply(
            error.reason, values=error.values, reply=error.reply
        )
        self.refuse(rejection, mail_from=mail_from, rcpt=rcpt)

    def count_error(self) -> None:
        """Count an error of the peer."""
        self._errors += 1
        if self._errors >= self._settings.max_errors and not self.over:
            self.end("too_many_errors")

    def end(self, reason: str, reply: Reply | None = None) -> None:
        """End the session for what its peer did; it is counted with the refusals."""
        reply = reply or replies.BY_REASON[reason]
        self._recorder.count(self.peer, replies.OtherReply(reason, reply=reply))
        self._wire.say(reply)
        self.over = True

    async def flush(self) -> None:
        """Record the refusals, then write the replies that name them."""
        if self._refusals:
            refusals, self._refusals = self._refusals, []
            await self._recorder.record(refusals)
        await self._wire.flush()
