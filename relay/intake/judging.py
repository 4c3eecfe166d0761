"""Who sent a mail, and what that means: the step of the intake that may wait.

Cheap questions come first: a mail whose author is on nobody's list, or for whom a
policy asks no proof, or that came on a trusted path, is judged at once and costs no
look-up. For the others an `Authenticator` asks DNS and checks signatures, once for each
author of a mail, however many recipients it has; then `relay.sender.policy` judges.

A mail waits for its own look-ups alone: each session is a task of its own, and a bound
(`Turns`) keeps one peer from taking all places. DNS that does not answer is answered
with 451; after some tries, or some hours, the mail is taken and held, so that it is
lost in no case.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from relay.core.addresses import domain_of
from relay.core.authentication import (
    Authentication,
    MailKind,
    Outcome,
    Policy,
    Verdict,
)
from relay.core.peers import peer_network
from relay.mail.identity import content_keys
from relay.sender import policy
from relay.sender.accepted import Author, is_listed
from relay.sender.authenticate import CHECKS, AuthenticationRequest
from relay.sender.dkim import USED_FIELDS, read_signatures
from relay.sender.results import is_spoiled, read_results
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from relay.config import SenderSettings
    from relay.core.clock import Clock
    from relay.core.directory import User
    from relay.core.model import Json, RawMail

log = get_logger(__name__)

_NOT_RESENT: Final = frozenset(
    name for name in USED_FIELDS if not name.startswith("resent-")
)
_MOST_RULES: Final = 10_000
_SHARE: Final = 4
"""One peer gets this part of the places at most."""
_CONTENT_BYTES: Final = 1 << 16
"""Bytes behind the header that are read of a large mail for its identity."""
_UNIX_SOCKET: Final = "local"
_HERE: Final = "127.0.0.1"
_WAIT_S: Final = 20.0
"""Longest wait for a place. The peer waits ten minutes (RFC 5321 section 4.5.3.2.6)."""


@dataclass(frozen=True, slots=True)
class Handover:
    """On which way a mail came to the relay, for sender trust.

    `door` is `smtp`, `lmtp`, `submission`, `http` or `import`; `door_detail` says more
    about the last two. `certificate` is the name in the peer's verified certificate;
    `login` and `login_id` are the user who logged in.
    """

    peer: str
    helo: str = ""
    mail_from: str = ""
    door: str = "smtp"
    door_detail: str = ""
    certificate: str = ""
    login: str = ""
    login_id: int | None = None


class Authenticates(Protocol):
    """What finds out where a mail comes from: `relay.sender.authenticate`."""

    async def authenticate(self, request: AuthenticationRequest) -> Authentication:
        """Return what was found; never raises, and ends within its deadline."""


@dataclass(frozen=True, slots=True)
class Writers:
    """Who may be the author of a mail, and how it came from them."""

    author: Author
    resent: Author | None = None
    forwarded: bool = False

    def listed(self, accepted: frozenset[str]) -> list[tuple[Author, MailKind]]:
        """Return the authors that a list has, the one who handed over last first."""
        kind = MailKind.FORWARDED if self.forwarded else MailKind.DIRECT
        found = []
        if self.resent is not None and is_listed(self.resent, accepted):
            found.append((self.resent, MailKind.REDIRECT))
        if is_listed(self.author, accepted):
            found.append((self.author, kind))
        return found


class Facts(Protocol):
    """What is remembered of earlier mails; `relay.store.sender` keeps it."""

    async def seen(self, digests: Collection[str]) -> dict[str, str]:
        """Return the content that each signature came with first."""

    async def count_try(self, key: str) -> tuple[int, float]:
        """Count a try; return how many there were, and seconds since the first."""


class Senders:
    """Judges senders; one for all doors of a process."""

    def __init__(
        self,
        config: SenderSettings,
        clock: Clock,
        *,
        settings: Callable[[], Mapping[str, Json]],
        facts: Facts,
        authenticator: Authenticates | None = None,
    ) -> None:
        """Take the parts; nothing is asked yet.

        Args:
            config: The settings of the file.
            clock: For the age of signatures.
            settings: Gives the settings in the store, as of now.
            facts: What is remembered of earlier mails.
            authenticator: Asks DNS and checks signatures; None: nothing is found, so
                that a policy that wants proof has none.
        """
        self._config = config
        self._clock = clock
        self._settings = settings
        self._facts = facts
        self._authenticator = authenticator or _NothingFound()
        self._turns = Turns(config.max_checks)
        # A certificate without a name has none that could be trusted.
        names = {one.casefold() for one in config.trusted_certificates}
        self._certificates = names - {"", "unnamed"}
        # Rules by domain, as long as an admin changes nothing.
        self._rules_of: Mapping[str, Json] | None = None
        self._rules: dict[tuple[str, MailKind], policy.Rule] = {}
        self._max_age = timedelta(days=config.signature_max_age_days)

    def examine(
        self, handover: Handover, raw: RawMail, head: bytes, mail: MailFacts
    ) -> Examination:
        """Begin to judge one mail."""
        return Examination(self, handover, raw, head, mail)

    def by_list(self, listed: Sequence[tuple[Author, MailKind]]) -> Verdict | None:
        """Return the verdict where the list alone decides; None: `examine` the mail."""
        for author, kind in listed:
            if not self.rule(author, kind).asks_for_proof:
                return policy.listed(author.address, kind)
        return None

    # ------------------------------------------------------------ for an examination

    def rule(self, author: Author, kind: MailKind) -> policy.Rule:
        """Return the rule that holds for an author now."""
        kept = self._settings()
        if kept is not self._rules_of or len(self._rules) >= _MOST_RULES:
            self._rules_of, self._rules = kept, {}
        key = domain_of(author.key), kind
        rule = self._rules.get(key)
        if rule is None:
            rule = policy.rule_for(self._config, kept, *key)
            self._rules[key] = rule
        return rule

    def trusted(
        self, handover: Handover, author: Author, user: User
    ) -> Authentication | None:
        """Return the trusted path on which a mail came, or None."""
        config = self._config
        source = ""
        if handover.login_id is not None and handover.login_id == user.id:
            source, detail = "login", handover.login
        elif handover.door in config.trusted_doors:
            source, detail = handover.door, handover.door_detail
        elif handover.certificate.casefold() in self._certificates:
            source, detail = "certificate", handover.certificate
        elif network := _among(handover.peer, config.trusted_networks):
            source, detail = "network", network
        if not source:
            return None
        return Authentication(author.address, source, detail)

    def told(
        self, handover: Handover, head: bytes, author: Author, used: frozenset[str]
    ) -> Authentication | None:
        """Return what a configured server wrote on top of the mail, or None."""
        names = self._authserv(handover)
        if not names:
            return None
        found = read_results(head, names, author.key)
        if found is None:
            return None
        return _covered(found, head, self._clock.now(), used)

    def _authserv(self, handover: Handover) -> list[str]:
        """Return the names of the servers that may have handed a mail over."""
        return [
            one.id
            for one in self._config.authserv
            if _among(handover.peer, one.networks)
        ]

    def sent_from(self, handover: Handover, head: bytes) -> str:
        """Return the address that SPF is asked about; empty where there is none.

        A server that wrote down what it found had the mail from somebody else. Where
        that cannot be read, SPF of the server itself must not take its place: it may
        send for the author's domain.
        """
        if not _is_ip(handover.peer):
            return ""
        passed_on = bool(self._authserv(handover)) and is_spoiled(head)
        return "" if passed_on else handover.peer

    async def found(
        self, handover: Handover, request: AuthenticationRequest
    ) -> Authentication | None:
        """Return what is found about an author; None: no place became free in time."""
        try:
            async with self._turns.turn(handover.peer):
                return await self._authenticator.authenticate(request)
        except TimeoutError:
            log.warning("sender_checks_busy", peer=handover.peer)
            return None

    async def reused(
        self, found: Authentication, content: Callable[[], str]
    ) -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
        """Return the signatures that came with another mail, and those to remember."""
        digests = {
            one.digest
            for one in found.dkim
            # One that leaves a field open comes first with what a stranger made of it.
            if one.digest and one.counts
        }
        if not digests:
            return frozenset(), ()
        key = content()
        known = await self._facts.seen(digests)
        return (
            frozenset(digest for digest, first in known.items() if first != key),
            tuple((digest, key) for digest in sorted(digests - known.keys())),
        )

    def history(
        self, mail: MailFacts, reused: frozenset[str], *, old: bool
    ) -> policy.History:
        """Return what a policy asks about earlier mails; `old`: age is no objection."""
        age = timedelta.max if old else self._max_age
        return policy.History(self._clock.now(), age, mail.date, reused)

    async def retried(self, verdict: Verdict, key: str) -> Verdict:
        """Count a try without an answer; hold the mail where there were enough."""
        tries, age_s = await self._facts.count_try(key)
        few = tries <= self._config.temporary_tries
        return (
            verdict
            if few and age_s < self._config.temporary_hours * 3600
            else held(verdict)
        )


def held(verdict: Verdict) -> Verdict:
    """Return the verdict that keeps a mail whose sender cannot be checked."""
    return replace(
        policy.against(
            "dns_unavailable",
            Outcome.HOLD,
            policy=verdict.policy,
            kind=verdict.kind,
            address=verdict.address,
            authentication=verdict.authentication,
        ),
        monitor=verdict.monitor,
    )


@dataclass(frozen=True, slots=True)
class MailFacts:
    """What the header of a mail says, as far as sender trust asks."""

    writers: Writers
    message_id: str = ""
    date_text: str = ""

    @property
    def date(self) -> Any:
        """Return the Date of the mail, or None where it cannot be read."""
        try:
            found = parsedate_to_datetime(self.date_text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)


class Examination:
    """One mail while its sender is judged, for each recipient.

    Attributes:
        signatures: Signatures that were found, to be remembered with the mail.
    """

    def __init__(
        self,
        senders: Senders,
        handover: Handover,
        raw: RawMail,
        head: bytes,
        mail: MailFacts,
    ) -> None:
        """Take the mail; nothing is asked yet."""
        self._senders = senders
        self._handover = handover
        self._raw = raw
        self._head = head
        self._mail = mail
        self._found: dict[str, Authentication | None] = {}
        self._reused: frozenset[str] = frozenset()
        self._content = ""
        self._tried: Verdict | None = None
        self.signatures: tuple[tuple[str, str], ...] = ()

    def _by_path(
        self, user: User, listed: Sequence[tuple[Author, MailKind]]
    ) -> Verdict | None:
        """Return the verdict for a mail that came on a trusted path, else None."""
        for author, kind in listed:
            rule = self._senders.rule(author, kind)
            trusted = self._senders.trusted(self._handover, author, user)
            if trusted is not None:
                return self._judge(rule, trusted, author, kind)
        return None

    async def verdict(
        self, user: User, listed: Sequence[tuple[Author, MailKind]]
    ) -> Verdict:
        """Return the verdict for one recipient, for the author that fares best.

        A trusted path is judged at once, everything else is asked.

        Args:
            user: Whose relay address it is.
            listed: The authors that the user's list has, at least one.

        Raises:
            StoreUnavailable: What is remembered could not be asked.
        """
        best = self._by_path(user, listed)
        if best is not None:
            return best
        for author, kind in listed:
            rule = self._senders.rule(author, kind)
            found = await self._ask(author, kind)
            if found is None and rule.policy is Policy.LISTED:
                # What is only watched stops nothing, not even for now.
                made = policy.listed(author.address, kind)
            elif found is None:
                made = policy.against(
                    "checks_busy",
                    Outcome.RETRY,
                    policy=rule.policy,
                    kind=kind,
                    address=author.address,
                )
            else:
                made = self._judge(rule, found, author, kind)
            if best is None or _ORDER[made.outcome] < _ORDER[best.outcome]:
                best = made
            if best.outcome is Outcome.ACCEPT:
                break
        if best is None:
            raise ValueError("nobody on the list")
        if best.outcome is Outcome.RETRY:
            best = await self._retried(best)
        return best

    def _judge(
        self, rule: policy.Rule, found: Authentication, author: Author, kind: MailKind
    ) -> Verdict:
        # Files that are imported are old by nature.
        old = self._handover.door == "import"
        history = self._senders.history(self._mail, self._reused, old=old)
        return policy.judge(
            rule,
            found,
            history,
            address=author.address,
            kind=kind,
            passed_on=self._mail.writers.forwarded,
        )

    async def _ask(self, author: Author, kind: MailKind) -> Authentication | None:
        """Return what is found about an author, asked once for a mail."""
        if author.key in self._found:
            return self._found[author.key]
        handover = self._handover
        # Who redirected a mail is logged only where that proves it.
        used = USED_FIELDS if kind is MailKind.REDIRECT else _NOT_RESENT
        found = self._senders.told(handover, self._head, author, used)
        if found is None:
            found = await self._senders.found(
                handover,
                AuthenticationRequest(
                    peer_ip=self._senders.sent_from(handover, self._head),
                    helo=handover.helo,
                    mail_from=handover.mail_from,
                    author=author.key,
                    raw=self._raw,
                    head=self._head,
                    used_fields=used,
                ),
            )
        self._found[author.key] = found
        if found is not None:
            reused, fresh = await self._senders.reused(found, self._content_key)
            self._reused |= reused
            self.signatures = tuple(dict.fromkeys((*self.signatures, *fresh)))
        return found

    def _content_key(self) -> str:
        """Return the identity of the mail's content (docs/flow.md, "Identity")."""
        if not self._content:
            raw = self._raw
            if raw.path is None:
                data = raw.data or b""
            else:
                with raw.path.open("rb") as file:
                    data = file.read(len(self._head) + _CONTENT_BYTES)
            self._content = content_keys(data)[1]
        return self._content

    async def _retried(self, verdict: Verdict) -> Verdict:
        """Count the try, once for a mail."""
        if self._tried is None:
            ident = self._mail.message_id or self._raw.sha256
            text = f"{self._handover.mail_from}\n{verdict.address}\n{ident}"
            key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            self._tried = await self._senders.retried(verdict, key)
        return self._tried


_ORDER: Final = {
    Outcome.ACCEPT: 0,
    Outcome.FLAG: 1,
    Outcome.HOLD: 2,
    Outcome.RETRY: 3,
    Outcome.REFUSE: 4,
}
"""From what is best for the mail to what is worst."""


class Turns:
    """Places for checks, at most so many at a time, in the order of asking.

    One peer (IPv6: one /64) has a quarter of them at most: however long the DNS of its
    domains is silent, mail of others is checked.
    """

    def __init__(self, most: int) -> None:
        """Begin with all places free."""
        self._all = asyncio.Semaphore(most)
        self._share = max(1, most // _SHARE)
        self._peers: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, peer: str) -> AsyncIterator[None]:
        """Wait for a place, and give it back at the end.

        Raises:
            TimeoutError: None became free in time.
        """
        name = peer_network(peer)
        own, users = self._peers.get(name, (asyncio.Semaphore(self._share), 0))
        self._peers[name] = own, users + 1
        try:
            # The place among the peer's own first: while it waits there, it keeps
            # nobody else from a place.
            async with asyncio.timeout(_WAIT_S) as waiting, own, self._all:
                waiting.reschedule(None)
                yield
        finally:
            own, users = self._peers[name]
            if users == 1:
                del self._peers[name]
            else:
                self._peers[name] = own, users - 1


def _among(peer: str, networks: Sequence[Any]) -> str:
    """Return the network that an address is in, or an empty text.

    Behind a Unix socket is this machine, as behind 127.0.0.1.
    """
    if not networks:
        return ""
    try:
        address = ipaddress.ip_address(_HERE if peer == _UNIX_SOCKET else peer)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return next((str(one) for one in networks if address in one), "")


def _is_ip(peer: str) -> bool:
    try:
        ipaddress.ip_address(peer)
    except ValueError:
        return False
    return True


def _covered(
    found: Authentication, head: bytes, now: datetime, used: frozenset[str]
) -> Authentication:
    """Return the word of another server, without signatures that leave something open.

    The server says that a signature of a domain passed; what it covers stands in the
    mail. Which one it was is not known where there are several: a stranger may have put
    a bad one that covers everything beside a good one that does not. So all must.
    """
    _, read = read_signatures(head, domain_of(found.author), now, used)
    open_: dict[str, tuple[str, ...]] = {}
    for one in read:
        domain, missing = one.found.domain, one.found.missing
        if not one.is_open:
            # One that we would not count, such as one with l=; the server may have.
            missing = missing or ("all that the relay uses",)
        open_[domain] = open_.get(domain) or missing
    return replace(
        found,
        dkim=tuple(
            replace(
                one,
                covers=one.covers and open_.get(one.domain) == (),
                missing=open_.get(one.domain, ()),
            )
            for one in found.dkim
        ),
    )


class _NothingFound:
    """Stands in for an authenticator where there is none."""

    async def authenticate(self, request: AuthenticationRequest) -> Authentication:
        return Authentication(request.author, CHECKS)
