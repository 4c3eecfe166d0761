"""Login for submission: the words of AUTH, the check, and what a user may send.

PLAIN and LOGIN show the password to the server, so `submission` offers them only under
TLS or on this machine. The name is the user's e-mail address, the password is one of
their app passwords. The reply does not say whether the name or the password was wrong,
neither in words nor by the time that it takes. Hashing is slow on purpose: it runs in
threads of its own, so few that guessing costs the attacker more than us, and a password
that was right is remembered, salted, for as long as the process lives.

Source: RFC 4954; RFC 4616 (PLAIN); draft-murchison-sasl-login (LOGIN).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import hashlib
import hmac
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key
from relay.core.errors import RelayError
from relay.core.mailboxes import may_send
from relay.core.passwords import hash_password, normal, verify_password
from relay.intake import Rejection
from relay.smtp import replies
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.core.directory import AppPassword, Directory, User
    from relay.smtp.dialogue import Dialogue
    from relay.smtp.limits import Rate
    from relay.smtp.replies import Reply
    from relay.store import Store

log = get_logger(__name__)

_THREADS: Final = 2
_MOST_AT_ONCE: Final = 4
"""Hashes that one peer may ask for at a time; others wait behind them in the queue."""
_MOST_NAME: Final = 320
_MOST_PASSWORD: Final = 256
"""Longer ones than any that we make; more would only cost hashing."""
_MAX_ANSWER: Final = 12_288
"""Octets of an answer to AUTH, which may be longer (RFC 4954 section 4)."""
_MOST_FAILURES: Final = 3
"""Failed logins of one session."""
_CANCEL: Final = b"*"
_EMPTY: Final = "="
"""An initial response that is there and empty (RFC 4954 section 4)."""


class AuthRefused(Exception):  # noqa: N818 - a verdict
    """The exchange failed; `reply` says how."""

    def __init__(self, reply: Reply) -> None:
        """Take the row of the reply table."""
        super().__init__(reply.head)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Credentials:
    """Name and password that a mail program has sent."""

    name: str
    password: str = field(repr=False)


async def exchange(
    argument: str, ask: Callable[[bytes], Awaitable[bytes]]
) -> Credentials:
    """Read the credentials of one AUTH command.

    Args:
        argument: What stands behind the verb.
        ask: Sends a challenge, not yet encoded; returns the answer line without CRLF.

    Raises:
        AuthRefused: The mechanism is unknown, or what came is none.
    """
    mechanism, _, initial = argument.partition(" ")
    first = None if not initial else initial.encode()
    if mechanism.upper() == "PLAIN":
        return _plain(_decoded(await ask(b"") if first is None else first))
    if mechanism.upper() == "LOGIN":
        name = _decoded(await ask(b"Username:") if first is None else first)
        return _credentials(name, _decoded(await ask(b"Password:")))
    raise AuthRefused(replies.UNKNOWN_MECHANISM)


def _decoded(answer: bytes) -> bytes:
    if answer == _CANCEL:
        raise AuthRefused(replies.AUTH_CANCELLED)
    if answer == _EMPTY.encode():
        return b""
    try:
        return base64.b64decode(answer, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AuthRefused(replies.BAD_AUTH) from error


def _plain(message: bytes) -> Credentials:
    """Read `authzid NUL authcid NUL password` (RFC 4616 section 2)."""
    fields = message.split(b"\0")
    if len(fields) != 3:  # noqa: PLR2004 - see above
        raise AuthRefused(replies.BAD_AUTH)
    acts_for, name, password = fields
    if acts_for not in {b"", name}:
        # Nobody may act for another.
        raise AuthRefused(replies.LOGIN_FAILED)
    return _credentials(name, password)


def _credentials(name: bytes, password: bytes) -> Credentials:
    if len(name) > _MOST_NAME or len(password) > _MOST_PASSWORD:
        raise AuthRefused(replies.LOGIN_FAILED)
    try:
        return Credentials(name.decode(), password.decode())
    except UnicodeDecodeError as error:
        raise AuthRefused(replies.BAD_AUTH) from error


class Login:
    """The login of one session, and what its user may send.

    A user who has logged in may send mail from their accepted addresses to their own
    relay address. Nothing is passed on to other addresses: the relay takes mail for
    relay addresses alone, whoever sends it (RFC 6409).

    Attributes:
        user_id: The user who has logged in, or None.
        email: Their address, or an empty text.
    """

    def __init__(self) -> None:
        """Begin without a login."""
        self.user_id: int | None = None
        self.email = ""
        self._failures = 0

    async def log_in(
        self,
        argument: str,
        talk: Dialogue,
        logins: Logins,
        failures: Rate,
        directory: Callable[[], Directory],
        peer_group: str,
    ) -> User | None:
        """Hold the exchange of one AUTH command, reply, and return the user.

        A failed login is a refusal, and counts against the rate of its peer; a mail
        program asks its user before it tries again. `directory` is asked after the
        exchange: a peer may hold that open while an admin removes the password.
        """
        name = ""
        try:
            credentials = await exchange(argument, functools.partial(_ask, talk))
            name = credentials.name
            user = await logins.check(credentials, directory(), peer_group)
        except AuthRefused as error:
            if error.reply is not replies.LOGIN_FAILED:
                talk.fail(error.reply)
                return None
            user = None
        if user is None:
            failures.count(peer_group)
            talk.refuse(Rejection("login_failed", f"as {name!r}"[:200]))
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                talk.end("too_many_logins", replies.TOO_MANY_ERRORS)
            return None
        self.user_id = user.id
        self.email = user.email
        log.info("smtp_login", peer=talk.peer, user=user.email)
        talk.say(replies.LOGGED_IN)
        return user

    def forget(self) -> None:
        """Forget the user, when the session begins anew under TLS."""
        self.user_id = None
        self.email = ""

    def sender_refused(self, mail_from: str, directory: Directory) -> Rejection | None:
        """Say why the user may not send with this envelope sender."""
        user = self._user(directory)
        if user is None:
            return Rejection("login_required")
        if not mail_from:
            return None
        key = address_key(mail_from)
        accepted = directory.accepted.get(user.id, frozenset())
        if key and may_send(accepted, key):
            return None
        detail = f"{user.email} has not registered it"
        return replies.OtherReply(
            "sender_not_accepted", detail, user.id, reply=replies.SENDER_NOT_OWN
        )

    def recipient_refused(
        self, user_id: int | None, directory: Directory
    ) -> Rejection | None:
        """Say why the user may not write to the relay address of this user.

        `user_id` None is postmaster, to whom every user may write.
        """
        user = self._user(directory)
        if user is None:
            return Rejection("login_required")
        if user_id in {None, user.id}:
            return None
        detail = f"{user.email} has logged in"
        return Rejection("not_own_relay_address", detail, user_id)

    def _user(self, directory: Directory) -> User | None:
        """Return the user who has logged in, if they still may."""
        if self.user_id is None:
            return None
        user = directory.users.get(self.user_id)
        return user if user is not None and user.active else None


async def _ask(talk: Dialogue, challenge: bytes) -> bytes:
    """Send a challenge; return the answer line."""
    talk.say(replies.CHALLENGE, text=base64.b64encode(challenge).decode("ascii"))
    try:
        line = await talk.next_line(_MAX_ANSWER)
    except ValueError as error:
        raise AuthRefused(replies.AUTH_TOO_LONG) from error
    return line.removesuffix(b"\n").removesuffix(b"\r")


class Logins:
    """Checks credentials against the directory."""

    def __init__(self, store: Store) -> None:
        """Prepare; threads start with the first login."""
        self._store = store
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="smtp-login")
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}
        self._under_way: Counter[str] = Counter()
        self._no_password = ""
        self._recording: set[asyncio.Task[None]] = set()

    async def check(
        self, credentials: Credentials, directory: Directory, peer_group: str = ""
    ) -> User | None:
        """Return the user who logs in, or None; takes equally long for a wrong name.

        Raises:
            AuthRefused: The peer has too many logins under way at this moment.
        """
        user = _find(credentials.name, directory)
        own = directory.app_passwords.get(user.id, ()) if user else ()
        for kept in own:
            if self._remembers(credentials.password, kept):
                self._record_use(kept)
                return user
        found = await self._hashed(credentials.password, own, peer_group)
        if found is None or user is None:
            return None
        self._known[found.hash] = self._digest(credentials.password, found)
        self._record_use(found)
        return user

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _hashed(
        self, password: str, own: tuple[AppPassword, ...], peer_group: str
    ) -> AppPassword | None:
        if self._under_way[peer_group] >= _MOST_AT_ONCE:
            raise AuthRefused(replies.LOGINS_UNDER_WAY)
        self._under_way[peer_group] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._compare, password, own
            )
        finally:
            self._under_way[peer_group] -= 1
            if not self._under_way[peer_group]:
                del self._under_way[peer_group]

    def _compare(
        self, password: str, own: tuple[AppPassword, ...]
    ) -> AppPassword | None:
        """Hash until one fits; runs in a thread."""
        if not own:
            self._no_password = self._no_password or hash_password(secrets.token_hex())
            verify_password(password, self._no_password)
        return next((one for one in own if verify_password(password, one.hash)), None)

    def _remembers(self, password: str, kept: AppPassword) -> bool:
        known = self._known.get(kept.hash)
        return known is not None and hmac.compare_digest(
            known, self._digest(password, kept)
        )

    def _digest(self, password: str, kept: AppPassword) -> bytes:
        message = kept.hash.encode() + normal(password)
        return hmac.new(self._key, message, hashlib.sha256).digest()

    def _record_use(self, kept: AppPassword) -> None:
        task = asyncio.get_running_loop().create_task(self._store_use(kept))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _store_use(self, kept: AppPassword) -> None:
        try:
            await self._store.credentials.app_password_used(kept.user_id, kept.name)
        except RelayError as error:
            log.warning("app_password_use_not_noted", error=str(error))


def _find(name: str, directory: Directory) -> User | None:
    key = address_key(name)
    if key is None:
        return None
    for user in directory.users.values():
        if user.active and address_key(user.email) == key:
            return user
    return None
