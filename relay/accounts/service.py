"""Signing in and out, one-time links, and what limits guessing.

An answer never tells whether there is a user of an address: the text is the same, and
so is the work. Tries are counted in the store before they are judged, for an account
from one peer, for the account from everywhere, and for the peer: many at once, from
many processes, do not slip through.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from relay.accounts.passwords import Busy, Hasher, WeakPassword, weakness
from relay.core.accounts import Level, digest, may_sign_in, new_secret
from relay.core.addresses import address_key
from relay.core.errors import InvalidInput, NotFound
from relay.core.peers import peer_network
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import datetime

    from relay.config import Settings
    from relay.core.accounts import SecondFactors, Session, SignInLink
    from relay.core.directory import User
    from relay.core.model import Json
    from relay.core.notices import NoticeDraft
    from relay.store import Store

    LinkMail = Callable[[User, str, datetime], NoticeDraft]
    """Makes the notice that mails a link, until when it works."""

log = get_logger(__name__)

LINK_PATH: Final = "/sign-in/link/"
"""Where one-time links lead, below the address of the console."""
LINK_LIFE: Final = timedelta(hours=24)
WINDOW: Final = timedelta(minutes=15)
"""For how long tries are counted."""
OF_PAIR: Final = 10
"""Wrong tries for one account from one peer in the window."""
OF_PEER: Final = 50
INVITATIONS: Final = 3
"""One-time links that are mailed, or shown in the console, for a user in the window."""
OF_ACCOUNT: Final = 100
"""From everywhere. High, since anybody could lock a user out with it."""
_NOTED: Final = 10
"""Failures of an account in the window that leave a line in the history each."""
_BUSY_S: Final = 5
_NOBODY: Final = 0
"""The number of no user."""


class WrongPassword(Exception):  # noqa: N818 - an answer
    """Address and password, or code, do not fit; which of them is not said."""


class LinkEnded(Exception):  # noqa: N818 - an answer
    """The link was used, has expired, or was never made."""


class TooManyTries(Exception):  # noqa: N818 - an answer
    """So many tries were wrong that the next one has to wait."""

    def __init__(self, wait_s: int) -> None:
        """Take the seconds to wait."""
        super().__init__(wait_s)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Peer:
    """From where somebody signs in.

    Attributes:
        address: The IP address of the browser, as far as it is known.
        agent: What the browser calls itself.
    """

    address: str
    agent: str = ""

    @property
    def network(self) -> str:
        """The address, or the network that one customer has of IPv6."""
        return peer_network(self.address)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: the secret for the cookie, and who signed in."""

    secret: str = field(repr=False)
    user: User


class Accounts:
    """Signs people in."""

    def __init__(
        self, store: Store, settings: Settings, hasher: Hasher | None = None
    ) -> None:
        """Take the store, the settings, and what makes hashes."""
        self._store = store
        self._settings = settings
        self._hasher = hasher or Hasher()
        self._tasks: set[asyncio.Task[None]] = set()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the answer; the store finishes it before it closes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("sign_in_not_noted", error=str(error))

    # ------------------------------------------------------------ sessions

    @property
    def idle(self) -> timedelta:
        """After how long without use a session ends."""
        return timedelta(seconds=self._settings.web.session_idle_s)

    @property
    def life(self) -> timedelta:
        """After how long a session ends in any case."""
        return timedelta(seconds=self._settings.web.session_max_s)

    async def by_password(self, address: str, password: str, peer: Peer) -> SignedIn:
        """Sign a user in by address and password.

        Raises:
            WrongPassword: They do not fit, or the user may not sign in.
            TooManyTries: This one was not judged.
        """
        key = address_key(address) or address.strip().casefold()
        keys = self._keys(f"password {key}", peer)
        number = await self._take(keys, address, peer)
        user = await self._user(key)
        kept = await self._store.accounts.password(user.id if user else _NOBODY)
        try:
            right = await self._hasher.fits(password, kept)
        except Busy:
            await self._store.accounts.give_back(list(keys))
            raise TooManyTries(_BUSY_S) from None
        if user is None or kept is None or not right:
            log.warning(
                "sign_in_failed",
                address=address[:320],
                peer=peer.address,
                by="password",
            )
            if user is not None and number <= _NOTED:
                # Beside the answer: a write more would tell that there is the user.
                self._later(
                    self._store.accounts.note_failure(user.id, "password", peer.address)
                )
            raise WrongPassword
        await self._store.accounts.give_back(list(keys))
        if self._hasher.is_weaker(kept):
            fresh = await self._hasher.hash(password)
            await self._store.accounts.replace_hash(user.id, kept, fresh)
        return await self.begin(user, "password", peer)

    async def begin(
        self, user: User, method: str, peer: Peer, *, strong: bool = False
    ) -> SignedIn:
        """Begin a session of a user who has proved who they are.

        Args:
            user: Who.
            method: By what.
            peer: From where.
            strong: It needs no second factor.

        Raises:
            WrongPassword: The user was disabled or removed meanwhile.
        """
        secret = new_secret()
        try:
            await self._store.accounts.begin(
                user.id,
                secret,
                method=method,
                strong=strong,
                life=self.life,
                address=peer.address,
                agent=peer.agent,
            )
        except NotFound:
            raise WrongPassword from None
        log.info("signed_in", user=user.email, peer=peer.address, by=method)
        return SignedIn(secret, user)

    async def session(self, secret: str) -> tuple[Session, Mapping[str, Json]] | None:
        """Return the session of a cookie with the settings in force, if it lives."""
        return await self._store.accounts.session(secret, self.idle)

    def level(self, session: Session, kept: Mapping[str, Json]) -> Level:
        """Say how far somebody is in, by the settings in force."""
        required = in_force(self._settings, kept, "require_second_factor")
        return session.level(required=session.user.role.value in required)

    async def renew(
        self, session: Session, secret: str, *, shown: str | None = None
    ) -> str | None:
        """Give a session a new cookie: rights have changed, or a factor was shown.

        Return its secret; None: another request was faster, and carries it.
        """
        fresh = new_secret()
        done = await self._store.accounts.renew(
            session.id, secret, fresh, session.user.role, shown=shown
        )
        return fresh if done else None

    async def factors_of(self, user: User) -> SecondFactors:
        """Return the second factors of a user."""
        return await self._store.factors.of(user.id)

    async def sign_out(self, session: Session, secret: str) -> None:
        """End the session of a browser, by the secret of its cookie."""
        user = session.user
        await self._store.accounts.sign_out(user.id, secret, f"web:{user.email}")
        log.info("signed_out", user=user.email)

    async def _user(self, key: str) -> User | None:
        """Return the user of an address who may sign in."""
        for user in await self._store.directory.users():
            own = address_key(user.email) or user.email.casefold()
            if own == key and may_sign_in(user):
                return user
        return None

    # ------------------------------------------------------------ tries

    def _keys(self, account: str, peer: Peer) -> dict[str, int]:
        """Return under which keys a try is counted, with how many each may have."""
        network = peer.network
        return {
            digest(f"account {account}"): OF_ACCOUNT,
            digest(f"pair {account} {network}"): OF_PAIR,
            digest(f"peer {network}"): OF_PEER,
        }

    async def take(self, account: str, who: str, peer: Peer) -> list[str]:
        """Count a try for an account; return what `give_back` takes if it was right.

        Raises:
            TooManyTries: So many were wrong that this one is not to be judged.
        """
        keys = self._keys(account, peer)
        await self._take(keys, who, peer)
        return list(keys)

    async def give_back(self, keys: Sequence[str]) -> None:
        """Take a try that was right out of the count."""
        await self._store.accounts.give_back(keys)

    async def _take(self, keys: Mapping[str, int], who: str, peer: Peer) -> int:
        wait_s, number = await self._store.accounts.take_try(keys, WINDOW)
        if wait_s:
            log.warning("sign_in_throttled", address=who[:320], peer=peer.address)
            raise TooManyTries(wait_s)
        return number

    # ------------------------------------------------------------ links

    async def make_link(
        self, user: User, actor: str, mail: LinkMail | None = None
    ) -> tuple[str, datetime]:
        """Make a one-time link for a user; return it, and when it ends.

        Links that were made for the user before end.

        Args:
            user: Whose.
            actor: Who makes it.
            mail: Makes the notice that mails it; None: it is handed over.

        Raises:
            NotFound: There is no such user.
            InvalidInput: The user is disabled.
        """
        if not may_sign_in(user):
            problem = f"{user.email} is disabled and cannot sign in"
            raise InvalidInput(problem, f"relay user enable {user.email}")
        secret = new_secret()
        url = f"{console_url(self._settings)}{LINK_PATH}{secret}"
        ends = await self._store.accounts.add_link(
            *(user.id, digest(secret), LINK_LIFE, actor),
            mail=partial(mail, user, url) if mail else None,
        )
        log.info("sign_in_link_made", user=user.email, by=actor, mailed=bool(mail))
        return url, ends

    async def forgot(
        self,
        address: str,
        peer: Peer,
        mail: LinkMail,
    ) -> None:
        """Mail a link to the user of an address, if there is one.

        Nothing of that shows to who asks: the work is done beside the answer. A user
        gets one such mail in `WINDOW`, so that nobody can fill their mailbox with it.

        Args:
            address: As entered.
            peer: From where it was asked for.
            mail: Makes the notice with the link.

        Raises:
            TooManyTries: This peer asks too often.
        """
        key = address_key(address) or address.strip().casefold()
        await self.take(f"forgot {key}", address, peer)

        async def work() -> None:
            user = await self._user(key)
            if user is None:
                return
            once = {digest(f"mailed {user.id}"): 1}
            wait_s, _ = await self._store.accounts.take_try(once, WINDOW)
            if not wait_s:
                await self.make_link(user, f"web:{user.email}", mail)

        self._later(work())

    async def take_invitation(self, user: User) -> int:
        """Count an invitation of a user; return how long the next has to wait, or 0.

        So nobody's mailbox is filled with them, whoever asks for it.
        """
        key = {digest(f"invited {user.id}"): INVITATIONS}
        wait_s, _ = await self._store.accounts.take_try(key, WINDOW)
        return wait_s

    async def link(self, secret: str) -> SignInLink:
        """Return what a link is for; nothing is used up.

        Raises:
            LinkEnded: It does not work any more.
        """
        found = await self._store.accounts.link(secret)
        if found is None:
            raise LinkEnded
        return found

    async def use_link(self, secret: str, password: str, peer: Peer) -> SignedIn:
        """Set the password of the link's user, and sign them in.

        Raises:
            LinkEnded: It does not work any more.
            WeakPassword: The password is too easy to guess; the link still works.
            TooManyTries: Too many hashes wait.
        """
        found = await self.link(secret)
        hashed = await self._hashed(password, found.user)
        user = await self._store.accounts.use_link(secret, hashed)
        if user is None:
            raise LinkEnded
        return await self.begin(user, "link", peer)

    # ------------------------------------------------------------ passwords

    async def change_password(
        self, session: Session, old: str, new: str, peer: Peer
    ) -> None:
        """Set a user's password anew; who does not know the old one may not.

        Every other session of the user ends.

        Raises:
            WrongPassword: The old one does not fit.
            WeakPassword: The new one is too easy to guess.
            TooManyTries: Too many old ones were wrong.
        """
        user = session.user
        key = address_key(user.email) or user.email.casefold()
        keys = self._keys(f"password {key}", peer)
        await self._take(keys, user.email, peer)
        kept = await self._store.accounts.password(user.id)
        try:
            right = await self._hasher.fits(old, kept)
        except Busy:
            await self._store.accounts.give_back(list(keys))
            raise TooManyTries(_BUSY_S) from None
        if not right:
            await self._store.accounts.note_failure(
                user.id, "password change", peer.address
            )
            raise WrongPassword
        await self._store.accounts.give_back(list(keys))
        hashed = await self._hashed(new, user)
        await self._store.accounts.set_password(
            user.id, hashed, f"web:{user.email}", keep=session.id
        )

    async def _hashed(self, password: str, user: User) -> str:
        weak = weakness(password, user)
        if weak is not None:
            raise WeakPassword(weak)
        try:
            return await self._hasher.hash(password)
        except Busy:
            raise TooManyTries(_BUSY_S) from None


def console_url(settings: Settings) -> str:
    """Return the address of the console, without a slash at its end."""
    web = settings.web
    base = str(web.public_url or f"http://{web.listen}").rstrip("/")
    return f"{base}{web.base_path}"


def in_force(settings: Settings, kept: Mapping[str, Json], name: str) -> Any:
    """Return the value of a setting of `web` that the store may override."""
    return kept.get(f"web.{name}", getattr(settings.web, name))
