"""Everything that DNS and cryptography say of one mail, in one value.

`Authenticator.authenticate` runs SPF and DKIM side by side, then DMARC, and ARC where
sealers are configured. It never raises: what goes wrong is a result. It never holds up
the event loop: hashing and cryptography run in threads of their own, in small pieces,
and everything that is asked of the DNS ends with the mail's deadline.

It states facts. Whether they are enough is for the policy to say.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, domain_of
from relay.core.authentication import (
    Authentication,
    DMARCCheck,
    Identity,
    Result,
    Signature,
    SPFCheck,
)
from relay.sender import arc, dkim, dmarc, spf
from relay.sender.canonical import body_hashes
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from relay.core.authentication import ARCCheck
    from relay.core.clock import Clock
    from relay.core.model import RawMail
    from relay.sender.resolver import MailLookups, Resolver

    T = TypeVar("T")

log = get_logger(__name__)

CHECKS: Final = "checks"
"""`Authentication.source` of what was checked here."""
_THREADS: Final = 2
_OUR_FAULT: Final = "the relay failed to check; its log has the reason"
DEFAULT_MAX_BYTES: Final = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AuthenticationRequest:
    """One mail, for one author.

    Attributes:
        peer_ip: The peer's address; empty for a door that has none: no SPF then.
        helo: As the peer gave it.
        mail_from: The envelope sender; empty for the null sender.
        author: The address that is judged, of From or Resent-From.
        raw: The mail.
        head: Its header block, without the empty line, as `MailBuffer.finish` gives it.
        used_fields: Lower-case names of the header fields that a signature must cover
            where they are present.
    """

    peer_ip: str
    helo: str
    mail_from: str
    author: str
    raw: RawMail
    head: bytes
    used_fields: frozenset[str] = dkim.USED_FIELDS


class Authenticator:
    """Checks mails; one for a process, as its resolver is."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        *,
        sealers: Iterable[str] = (),
        max_bytes: int = DEFAULT_MAX_BYTES,
        threads: int = _THREADS,
    ) -> None:
        """Take the parts; nothing is opened yet.

        Args:
            resolver: Asks the DNS; its deadline for a mail bounds all checks together.
            clock: Says whether signatures are expired.
            sealers: Domains whose ARC seals count; none: ARC is not looked at.
            max_bytes: Of a longer mail no signature is verified.
            threads: How many mails are hashed at a time.
        """
        self._resolver = resolver
        self._clock = clock
        self._sealers = frozenset(sealers)
        self._max_bytes = max_bytes
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="sender")

    async def close(self) -> None:
        """Let the threads end with their work."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def authenticate(self, request: AuthenticationRequest) -> Authentication:
        """Check a mail; returns within the mail's deadline and the time to hash it.

        Never raises but on cancellation. A failure of ours is a `temperror`, so that
        another attempt is made.
        """
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        lookups = self._resolver.for_mail()
        author_domain = domain_of(address_key(request.author) or "")
        of_spf, (of_dkim, of_arc) = await asyncio.gather(
            self._spf(lookups, request), self._signed(lookups, request, author_domain)
        )
        try:
            found = await dmarc.check(
                lookups, author_domain, request.mail_from, of_spf, of_dkim
            )
        except Exception:
            log.exception("sender_check_failed", check="dmarc")
            trouble = DMARCCheck(author_domain, Result.TEMPERROR, _OUR_FAULT)
            found = dmarc.Alignment(of_spf, of_dkim, trouble)
        return Authentication(
            author=request.author,
            source=CHECKS,
            spf=found.spf,
            dkim=found.dkim,
            dmarc=found.dmarc,
            arc=of_arc,
            lookups=lookups.used,
            elapsed_ms=round((loop.time() - started_s) * 1000),
        )

    async def _spf(
        self, lookups: MailLookups, request: AuthenticationRequest
    ) -> tuple[SPFCheck, ...]:
        try:
            return await spf.check(
                lookups, request.peer_ip, request.helo, request.mail_from
            )
        except Exception:
            log.exception("sender_check_failed", check="spf")
            return (SPFCheck(Identity.MAIL_FROM, "", Result.TEMPERROR, _OUR_FAULT),)

    async def _signed(
        self,
        lookups: MailLookups,
        request: AuthenticationRequest,
        author_domain: str,
    ) -> tuple[tuple[Signature, ...], ARCCheck | None]:
        try:
            return await self._signatures(lookups, request, author_domain)
        except Exception:
            log.exception("sender_check_failed", check="dkim")
            return (Signature("", "", Result.TEMPERROR, _OUR_FAULT),), None

    async def _signatures(
        self,
        lookups: MailLookups,
        request: AuthenticationRequest,
        author_domain: str,
    ) -> tuple[tuple[Signature, ...], ARCCheck | None]:
        """Verify signatures, in the mail's order, and the ARC chain if it matters.

        The body is read once, for all of them, while the DNS is asked for their keys.
        """
        lines, read, chain = await self._in_thread(
            partial(self._read, request, author_domain)
        )
        open_ = [one for one in read if one.is_open]
        forms = {one.body_form for one in open_} | (chain.forms if chain else set())
        bodies, keys, chain_keys = await asyncio.gather(
            self._in_thread(
                partial(body_hashes, request.raw, len(request.head), forms)
            ),
            asyncio.gather(
                *(dkim.key(lookups, one.key_name, one.found.algorithm) for one in open_)
            ),
            arc.chain_keys(lookups, chain),
        )
        judged = await self._in_thread(
            lambda: {
                one.index: dkim.judge(one, lines, key, bodies)
                for one, key in zip(open_, keys, strict=True)
            }
        )
        of_arc = None
        if chain is not None:
            of_arc = await self._in_thread(
                partial(
                    arc.judge_chain,
                    chain,
                    chain_keys,
                    bodies,
                    self._sealers,
                    author_domain,
                )
            )
        return tuple(judged.get(one.index, one.found) for one in read), of_arc

    def _read(
        self, request: AuthenticationRequest, author_domain: str
    ) -> tuple[dkim.HeaderLines, list[dkim.ReadSignature], arc.Chain | None]:
        """Take the header apart; runs in a thread."""
        lines, read = dkim.read_signatures(
            request.head, author_domain, self._clock.now(), request.used_fields
        )
        if request.raw.size_bytes > self._max_bytes:
            text = f"not looked at: the mail has more than {self._max_bytes} bytes"
            read = [
                one.with_result(Result.POLICY, text) if one.is_open else one
                for one in read
            ]
            return lines, read, None
        return lines, read, arc.read_chain(request.head) if self._sealers else None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
