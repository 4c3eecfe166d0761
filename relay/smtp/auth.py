"""Who logs in at a submission listener: the words of AUTH, and the check behind them.

PLAIN and LOGIN hand the password over as it is, so that `submission` offers them under
TLS or on this machine alone. The name is the user's e-mail address, the password one of
their app passwords; whether it was name or password that was wrong is not told, neither
in words nor in time. Hashing is slow on purpose: it runs in threads of its own, few
enough that guessing costs the guesser more than us, and a password that was right is
remembered, salted, for as long as the process lives.

Source: RFC 4954; RFC 4616 (PLAIN); draft-murchison-sasl-login (LOGIN).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key
from relay.core.errors import RelayError
from relay.core.passwords import hash_password, normal, verify_password
from relay.smtp import replies
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.core.directory import AppPassword, Directory, User
    from relay.intake.ports import MailStore
    from relay.smtp.replies import Reply

log = get_logger(__name__)

_THREADS: Final = 2
_MOST_AT_ONCE: Final = 4
"""Hashes that one peer may ask for at a time; others wait behind them in the queue."""
_MOST_NAME: Final = 320
_MOST_PASSWORD: Final = 256
"""Longer ones than any that we make; more would only cost hashing."""
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
    """What a mail program handed over."""

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


class Logins:
    """Checks credentials against the directory."""

    def __init__(self, sink: MailStore) -> None:
        """Prepare; threads start with the first login."""
        self._sink = sink
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="smtp-login")
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}
        self._under_way: Counter[str] = Counter()
        self._nobody = ""
        self._notes: set[asyncio.Task[None]] = set()

    async def check(
        self, credentials: Credentials, directory: Directory, peer_group: str = ""
    ) -> User | None:
        """Return who logs in, or None; takes equally long for a wrong name.

        Raises:
            AuthRefused: The peer has too many logins under way at this moment.
        """
        user = _find(credentials.name, directory)
        own = directory.app_passwords.get(user.id, ()) if user else ()
        for kept in own:
            if self._remembers(credentials.password, kept):
                self._note_use(kept)
                return user
        found = await self._hashed(credentials.password, own, peer_group)
        if found is None or user is None:
            return None
        self._known[found.hash] = self._digest(credentials.password, found)
        self._note_use(found)
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
            self._nobody = self._nobody or hash_password(secrets.token_hex())
            verify_password(password, self._nobody)
        return next((one for one in own if verify_password(password, one.hash)), None)

    def _remembers(self, password: str, kept: AppPassword) -> bool:
        known = self._known.get(kept.hash)
        return known is not None and hmac.compare_digest(
            known, self._digest(password, kept)
        )

    def _digest(self, password: str, kept: AppPassword) -> bytes:
        message = kept.hash.encode() + normal(password)
        return hmac.new(self._key, message, hashlib.sha256).digest()

    def _note_use(self, kept: AppPassword) -> None:
        task = asyncio.get_running_loop().create_task(self._store_use(kept))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _store_use(self, kept: AppPassword) -> None:
        try:
            await self._sink.credentials.app_password_used(kept.user_id, kept.name)
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
