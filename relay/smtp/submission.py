"""Submission: people's own mail programs, which log in first, and send for themselves.

Who has logged in as a user may hand over mail from that user's accepted addresses to
that user's relay address. Nothing is passed on to anybody else: the relay takes mail
for relay addresses alone, whoever sends it.

Source: RFC 6409; RFC 4954.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, domain_of
from relay.intake.refusals import Rejection
from relay.smtp import replies
from relay.smtp.auth import AuthRefused, exchange
from relay.smtp.listener import is_this_machine
from relay.smtp.session import VERBS, SMTPSession
from relay.telemetry import get_logger

if TYPE_CHECKING:
    import asyncio

    from relay.core.directory import User
    from relay.intake.rules import Addressee
    from relay.smtp.listener import Listener
    from relay.smtp.server import SMTPServer

log = get_logger(__name__)

_MAX_ANSWER: Final = 12_288
"""Octets of an answer line, which may be longer than a command (RFC 4954 section 4)."""
_MOST_FAILURES: Final = 3
"""Failed logins of a session; a mail program asks its user in between."""


class SubmissionSession(SMTPSession):
    """One session of a mail program."""

    def __init__(
        self, intake: SMTPServer, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        """Prepare for one connection of the intake."""
        super().__init__(intake, loop, listener)
        self._user_id: int | None = None
        self._failures = 0

    @property
    def _offers_login(self) -> bool:
        """Say whether a password may travel here: under TLS, or on this machine."""
        return self._under_tls or (not self.via and is_this_machine(self.peer))

    def _forget_hello(self) -> None:
        """Forget also who has logged in (RFC 3207 section 4.2)."""
        super()._forget_hello()
        self._user_id = None
        self._login = ""

    async def smtp_AUTH(self, arg: str | None) -> None:  # noqa: N802
        """Log in (RFC 4954 section 4)."""
        if not self._helo:
            self.fail(replies.HELLO_FIRST)
        elif not arg:
            self.fail(replies.BAD_ARGUMENT, syntax="AUTH mechanism [response]")
        elif self._user_id is not None:
            self.fail(replies.LOGGED_IN_ALREADY)
        elif self._transaction is not None:
            self.fail(replies.AUTH_IN_MAIL)
        elif not self._offers_login:
            self._refuse(Rejection("login_in_the_clear"))
        elif not self._intake.limits.logins.allows(self.peer_group):
            self._refuse(Rejection("too_many_logins"))
            self._over = True
        else:
            await self._log_in(arg)

    async def _log_in(self, arg: str) -> None:
        name = ""
        try:
            credentials = await exchange(arg, self._ask)
            name = credentials.name
            user = await self._intake.logins.check(
                credentials, self._intake.directory(), self.peer_group
            )
            if user is None:
                raise AuthRefused(replies.LOGIN_FAILED)  # noqa: TRY301
        except AuthRefused as error:
            if error.reply is replies.LOGIN_FAILED:
                self._failed(name)
            else:
                self.fail(error.reply)
            return
        self._user_id = user.id
        self._login = user.email
        if not self.trusted:
            # An office behind one address is many people; each has a rate.
            self._trusted_by_login = True
            self._intake.trust(self)
        log.info("smtp_login", peer=self.peer, user=user.email)
        self.say(replies.LOGGED_IN)

    def _failed(self, name: str) -> None:
        self._intake.limits.logins.count(self.peer_group)
        detail = f"as {name!r}"[:200]
        self._refuse(Rejection("login_failed", detail))
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self.end(replies.TOO_MANY_ERRORS, "too_many_logins")

    async def _ask(self, challenge: bytes) -> bytes:
        text = base64.b64encode(challenge).decode("ascii")
        self.say(replies.CHALLENGE, text=text)
        try:
            line = await self._next_line(_MAX_ANSWER)
        except ValueError as error:
            raise AuthRefused(replies.AUTH_TOO_LONG) from error
        return line.removesuffix(b"\n").removesuffix(b"\r")

    # ------------------------------------------------------------------ rights

    def _sender_trouble(self, mail_from: str) -> Rejection | None:
        """Say why this sender may not begin a mail here."""
        user = self._user()
        if user is None:
            return Rejection("login_required")
        key = address_key(mail_from) if mail_from else None
        accepted = self._intake.directory().accepted.get(user.id, frozenset())
        own = not mail_from or (
            key is not None and (key in accepted or f"*@{domain_of(key)}" in accepted)
        )
        if own:
            return super()._sender_trouble(mail_from)
        detail = f"{user.email} has not registered it"
        return replies.OtherReply(
            "sender_not_accepted", detail, user.id, reply=replies.SENDER_NOT_OWN
        )

    def _recipient_trouble(self, addressee: Addressee) -> Rejection | None:
        """Say why this recipient is not for who has logged in."""
        user = self._user()
        if user is None:
            return Rejection("login_required")
        if addressee.user_id in {None, user.id}:
            return super()._recipient_trouble(addressee)
        detail = f"{user.email} has logged in"
        return Rejection(
            "not_own_relay_address",
            detail,
            addressee.user_id,
        )

    def _user(self) -> User | None:
        """Return who has logged in, if they still may."""
        if self._user_id is None:
            return None
        user = self._intake.directory().users.get(self._user_id)
        return user if user is not None and user.active else None


SubmissionSession.verbs = {
    **VERBS,
    "AUTH": SubmissionSession.smtp_AUTH,
}
