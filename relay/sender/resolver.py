"""Questions to the DNS, for SPF, DKIM and DMARC: one resolver for a process.

`Resolver` asks the configured name servers (recursive ones, such as the machine's own)
over UDP, and over TCP where an answer is cut off. It remembers answers for their time
to live, also that there are none, and within bounds. Questions that are under way are
asked once, however many mails wait for them.

`Resolver.for_mail` gives the view of one mail: it has a deadline for everything
together, and a bound on how many questions a mail may cause, because a stranger's
records decide which questions are asked.

A failure is never an empty answer: `DNSFailure` says that nobody knows, and what is
built on it is temporary. Only a name server's own words (NXDOMAIN, or NOERROR without
records) mean that there is nothing.

Source: RFC 1035, RFC 2308 (absence is cached), RFC 6891 (EDNS), RFC 9520 (failures are
cached for a moment).
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    import dns.message

    from relay.config import DNSSettings
    from relay.core.clock import Clock

Server = tuple[str, int]
"""IP address and port of a name server."""

DEFAULT_TIMEOUT_S: Final = 3.0
DEFAULT_MAIL_TIMEOUT_S: Final = 10.0
DEFAULT_LOOKUPS: Final = 60
DEFAULT_CACHE_ENTRIES: Final = 10_000

_UDP_BYTES: Final = 1232
"""What passes every network unfragmented (DNS flag day 2020)."""
MAX_ANSWER_BYTES: Final = 16_384
"""Honest answers have less than half of that; longer ones are not read."""
_THREAD_BYTES: Final = 2048
"""Answers above this are read in a thread: 16 KB of records take some 50 ms."""
_CACHE_UNIT_BYTES: Final = 512
"""An answer costs an entry of the cache for each of these."""
_MAX_TTL_S: Final = 86_400.0
_MAX_ABSENCE_S: Final = 900.0
_MIN_TTL_S: Final = 1.0
_FAILURE_S: Final = 5.0
"""How long a failure is remembered, so that a dead server is not asked by each mail
of a burst (RFC 9520 section 3.2 asks for 1 s to 5 min)."""
_ROUNDS: Final = 2
"""How often each server is asked over UDP before the question is given up."""
_SILENT_S: Final = 30.0
"""How long a server that gave no answer is asked after the others."""
_LONGEST_NAME: Final = 253
_LONGEST_LABEL: Final = 63


class DNSFailure(Exception):  # noqa: N818 - a failure, not an error of ours
    """Nobody knows what the DNS has: no answer, or one that cannot be used."""


class LookupsExhausted(DNSFailure):
    """The mail asks for more than its bound; asking again later changes nothing."""


class Status(StrEnum):
    """What a name server said."""

    FOUND = "found"
    NO_DATA = "no data"
    """The name exists, without such a record."""
    NO_NAME = "no name"
    """The name does not exist, nor anything below it (RFC 8020)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one name and type.

    `values` has TXT records as bytes, their strings joined; addresses, mail exchangers
    (by preference) and PTR names as text, names without a last dot. It is empty unless
    `status` is FOUND.
    """

    status: Status
    values: tuple[Any, ...] = ()
    ttl_s: float = 0.0
    size_bytes: int = 0


_ABSENT: Final = Answer(Status.NO_NAME)


class Resolver:
    """Asks, and remembers; belongs to one event loop."""

    def __init__(
        self,
        servers: Sequence[Server],
        clock: Clock,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        mail_timeout_s: float = DEFAULT_MAIL_TIMEOUT_S,
        lookups: int = DEFAULT_LOOKUPS,
        cache_entries: int = DEFAULT_CACHE_ENTRIES,
        executor: Executor | None = None,
    ) -> None:
        """Take the settings; nothing is asked and no file read yet.

        Args:
            servers: Name servers in the order in which they are asked; none: those of
                the machine (`/etc/resolv.conf`), read with the first question.
            clock: For times to live.
            timeout_s: The longest time for one question, all tries together.
            mail_timeout_s: The longest time for all questions of one mail together.
            lookups: The most questions of one mail.
            cache_entries: The most answers that are remembered; an answer counts once
                for each 512 bytes.
            executor: Reads long answers; None: the loop's own threads.
        """
        self._servers = tuple(servers)
        self._clock = clock
        self._timeout_s = timeout_s
        self._mail_timeout_s = mail_timeout_s
        self._lookups = lookups
        self._executor = executor
        self._cache = _Cache(cache_entries, clock)
        self._asking: dict[tuple[str, str], asyncio.Task[Answer]] = {}
        self._silent: dict[Server, float] = {}

    def for_mail(self, *, timeout_s: float | None = None) -> MailLookups:
        """Return the view of one mail, whose time begins now."""
        limit_s = self._mail_timeout_s if timeout_s is None else timeout_s
        return MailLookups(self, limit_s, self._lookups)

    async def close(self) -> None:
        """End the questions that are under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, name: str, rdtype: str) -> Answer:
        """Return what the DNS has, from the cache if it is fresh.

        A name that cannot stand in a question does not exist.

        Raises:
            DNSFailure: No server gave a usable answer in time.
        """
        name = name.rstrip(".").lower()
        if not is_name(name):
            return _ABSENT
        key = (name, rdtype)
        known = self._cache.get(key)
        if isinstance(known, Answer):
            return known
        if known is not None:
            raise DNSFailure(known)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._question(*key))
            self._asking[key] = task
            task.add_done_callback(partial(self._asked, key))
        # Others wait for the same answer: one mail that gives up must not end it.
        return await asyncio.shield(task)

    def _asked(self, key: tuple[str, str], task: asyncio.Task[Answer]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # Taken: nobody may be waiting for it any more.

    async def _question(self, name: str, rdtype: str) -> Answer:
        try:
            answer = await self._try_servers(name, rdtype)
        except DNSFailure as failure:
            self._cache.put((name, rdtype), str(failure), _FAILURE_S)
            raise
        longest_s = _MAX_TTL_S if answer.status is Status.FOUND else _MAX_ABSENCE_S
        ttl_s = min(max(answer.ttl_s, _MIN_TTL_S), longest_s)
        self._cache.put((name, rdtype), answer, ttl_s, answer.size_bytes)
        return answer

    async def _try_servers(self, name: str, rdtype: str) -> Answer:
        """Ask each server in turn, twice, until one gives a usable answer."""
        servers = self._servers or await self._system_servers()
        tries = self._in_order(servers) * _ROUNDS
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._timeout_s
        problem = "no name server is configured"
        failed: set[Server] = set()
        for number, server in enumerate(tries):
            left_s = end_s - loop.time()
            if left_s <= 0:
                break
            if server in failed:
                continue
            share_s = left_s / (len(tries) - number)
            try:
                wire = await asyncio.wait_for(
                    _exchange(server, name, rdtype, share_s), left_s
                )
                return await self._read(rdtype, wire)
            except TimeoutError:
                self._silent[server] = self._clock.boottime_s() + _SILENT_S
                problem = "no answer"
            except _Unusable as error:
                failed.add(server)  # It will say the same again.
                problem = str(error)
            except OSError as error:
                self._silent[server] = self._clock.boottime_s() + _SILENT_S
                problem = error.strerror or type(error).__name__
        text = f"{rdtype} of {name}: {problem}"
        raise DNSFailure(text)

    def _in_order(self, servers: Sequence[Server]) -> list[Server]:
        """Put servers that gave no answer lately behind the others.

        Otherwise each question would wait for a server that is down.
        """
        now_s = self._clock.boottime_s()
        return sorted(servers, key=lambda one: self._silent.get(one, 0.0) > now_s)

    async def _read(self, rdtype: str, wire: bytes) -> Answer:
        if len(wire) > MAX_ANSWER_BYTES:
            raise _Unusable(f"an answer of {len(wire)} bytes")
        if len(wire) <= _THREAD_BYTES:
            return _read_answer(wire, rdtype)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _read_answer, wire, rdtype)

    async def _system_servers(self) -> tuple[Server, ...]:
        loop = asyncio.get_running_loop()
        self._servers = await loop.run_in_executor(self._executor, _resolv_conf)
        return self._servers


def resolver_of(settings: DNSSettings, clock: Clock) -> Resolver:
    """Return a resolver with the settings of `[dns]`."""
    return Resolver(
        [(server.host, server.port) for server in settings.servers],
        clock,
        timeout_s=settings.timeout_s,
        mail_timeout_s=settings.mail_timeout_s,
        lookups=settings.lookups,
        cache_entries=settings.cache_entries,
    )


class MailLookups:
    """The questions of one mail, within its time and its bound.

    A question that the mail asked before is answered as before, and does not count.

    Attributes:
        used: How many questions were asked.
    """

    def __init__(self, resolver: Resolver, timeout_s: float, limit: int) -> None:
        """Begin now."""
        self._resolver = resolver
        self._end_s = asyncio.get_running_loop().time() + timeout_s
        self._limit = limit
        self._known: dict[tuple[str, str], Answer | DNSFailure] = {}
        self.used = 0

    def left_s(self) -> float:
        """Return the seconds that are left for this mail; at least 0."""
        return max(0.0, self._end_s - asyncio.get_running_loop().time())

    async def ask(self, name: str, rdtype: str) -> Answer:
        """Return what the DNS has.

        Raises:
            LookupsExhausted: The mail has asked its share.
            DNSFailure: No usable answer within the time of the mail.
        """
        key = (name.rstrip(".").lower(), rdtype)
        known = self._known.get(key)
        if known is None:
            known = await self._fresh(*key)
            self._known[key] = known
        if isinstance(known, DNSFailure):
            raise known
        return known

    async def _fresh(self, name: str, rdtype: str) -> Answer | DNSFailure:
        if self.used >= self._limit:
            return LookupsExhausted(
                f"the mail needs more than {self._limit} DNS look-ups"
            )
        self.used += 1
        try:
            return await asyncio.wait_for(
                self._resolver.ask(name, rdtype), self.left_s()
            )
        except TimeoutError:
            return DNSFailure(f"{rdtype} of {name}: no time is left for this mail")
        except DNSFailure as failure:
            return failure

    async def txt(self, name: str) -> Answer:
        """Return TXT records as bytes, the strings of each joined."""
        return await self.ask(name, "TXT")

    async def a(self, name: str) -> Answer:
        """Return IPv4 addresses."""
        return await self.ask(name, "A")

    async def aaaa(self, name: str) -> Answer:
        """Return IPv6 addresses."""
        return await self.ask(name, "AAAA")

    async def mx(self, name: str) -> Answer:
        """Return mail exchangers, the preferred ones first."""
        return await self.ask(name, "MX")

    async def ptr(self, address: str) -> Answer:
        """Return the names of an IP address."""
        return await self.ask(ipaddress.ip_address(address).reverse_pointer, "PTR")


def is_name(name: str) -> bool:
    """Say whether a text, without a last dot, can be asked for (RFC 1035, 2.3.4)."""
    return (
        0 < len(name) <= _LONGEST_NAME
        and name.isascii()
        and all(0 < len(label) <= _LONGEST_LABEL for label in name.split("."))
    )


# ------------------------------------------------------------------ the cache


class _Cache:
    """Answers, and the words of failures, each until its time; the oldest go first."""

    def __init__(self, entries: int, clock: Clock) -> None:
        self._clock = clock
        self._left = entries
        self._rows: OrderedDict[tuple[str, str], tuple[float, int, Answer | str]] = (
            OrderedDict()
        )

    def get(self, key: tuple[str, str]) -> Answer | str | None:
        row = self._rows.get(key)
        if row is None:
            return None
        if row[0] <= self._clock.boottime_s():
            self._remove(key)
            return None
        self._rows.move_to_end(key)
        return row[2]

    def put(
        self, key: tuple[str, str], value: Answer | str, ttl_s: float, size: int = 0
    ) -> None:
        if key in self._rows:
            self._remove(key)
        cost = 1 + size // _CACHE_UNIT_BYTES
        self._rows[key] = (self._clock.boottime_s() + ttl_s, cost, value)
        self._left -= cost
        while self._left < 0:
            self._remove(next(iter(self._rows)))

    def _remove(self, key: tuple[str, str]) -> None:
        self._left += self._rows.pop(key)[1]


# ------------------------------------------------------------------ one exchange


class _Unusable(Exception):  # noqa: N818 - a verdict
    """The server answered, and the answer says nothing."""


def _resolv_conf() -> tuple[Server, ...]:
    """Return the name servers of the machine; none where it has no DNS."""
    import dns.resolver  # noqa: PLC0415 - 0.1 s, only where needed

    try:
        found = dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return ()
    return tuple((str(server), found.port) for server in found.nameservers)


async def _exchange(server: Server, name: str, rdtype: str, timeout_s: float) -> bytes:
    """Return the bytes of an answer to the question, over TCP if UDP cuts it off.

    Raises:
        TimeoutError: UDP brought no answer in that time.
        OSError: The server cannot be reached.
        _Unusable: What TCP brought is not an answer to the question.
    """
    import dns.message  # noqa: PLC0415 - 50 ms, only where needed
    import dns.name  # noqa: PLC0415

    # Not from text: a backslash in a stranger's macro would be an escape there.
    labels = [label.encode("ascii") for label in name.split(".")]
    query = dns.message.make_query(
        dns.name.Name([*labels, b""]), rdtype, use_edns=0, payload=_UDP_BYTES
    )
    wire = query.to_wire()
    is_answer = partial(_answers, query)
    answer = await asyncio.wait_for(_over_udp(server, wire, is_answer), timeout_s)
    if not answer[2] & 0x02:  # TC, RFC 1035 section 4.1.1
        return answer
    answer = await _over_tcp(server, wire)
    if not is_answer(answer):
        raise _Unusable("an answer to another question")
    return answer


def _answers(query: dns.message.Message, wire: bytes) -> bool:
    """Say whether bytes answer the question: id, QR bit, and the question itself.

    A stranger who guesses id and port would have to guess the question too (RFC 5452
    section 9.1).
    """
    import dns.exception  # noqa: PLC0415 - loaded with the question
    import dns.message  # noqa: PLC0415

    if len(wire) < 12 or wire[:2] != query.id.to_bytes(2) or not wire[2] & 0x80:  # noqa: PLR2004
        return False
    try:
        head = dns.message.from_wire(wire, question_only=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return False
    # Some servers answer FORMERR and the like without repeating the question.
    return head.question == query.question or (not head.question and head.rcode() != 0)


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the datagram that answers; others are dropped."""

    def __init__(
        self, is_answer: Callable[[bytes], bool], answer: asyncio.Future[bytes]
    ) -> None:
        self._is_answer = is_answer
        self._answer = answer

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        if not self._answer.done() and self._is_answer(data):
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def _over_udp(
    server: Server, wire: bytes, is_answer: Callable[[bytes], bool]
) -> bytes:
    """Send the question from a port of its own, connected to the server alone."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(is_answer, answer), remote_addr=server
    )
    try:
        transport.sendto(wire)
        return await answer
    finally:
        transport.close()


async def _over_tcp(server: Server, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise _Unusable("a connection that ended early") from error
    finally:
        writer.close()


# ------------------------------------------------------------------ reading


def _read_answer(wire: bytes, rdtype: str) -> Answer:
    """Return what an answer says; runs in a thread where it is long.

    Raises:
        _Unusable: It says that the server failed, or cannot be read.
    """
    import dns.exception  # noqa: PLC0415 - loaded with the question
    import dns.message  # noqa: PLC0415
    import dns.rcode  # noqa: PLC0415

    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
        rcode = message.rcode()
        if rcode not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            raise _Unusable(f"the name server says {dns.rcode.to_text(rcode)}")
        if not isinstance(message, dns.message.QueryMessage):
            raise _Unusable("the name server answers no question")
        chain = message.resolve_chaining()
    except (dns.exception.DNSException, ValueError) as error:
        # Loops of CNAMEs, names longer than names can be, and the like.
        words = f"an answer that cannot be read ({type(error).__name__})"
        raise _Unusable(words) from error
    if chain.answer is None:
        absent = rcode == dns.rcode.NXDOMAIN
        status = Status.NO_NAME if absent else Status.NO_DATA
        return Answer(status, (), chain.minimum_ttl)
    values = _VALUES[rdtype](chain.answer)
    return Answer(Status.FOUND, values, chain.minimum_ttl, len(wire))


def _name(name: Any) -> str:
    return str(name).rstrip(".")


_VALUES: Final[dict[str, Callable[[Any], tuple[Any, ...]]]] = {
    "TXT": lambda rrset: tuple(b"".join(one.strings) for one in rrset),
    "A": lambda rrset: tuple(one.address for one in rrset),
    "AAAA": lambda rrset: tuple(one.address for one in rrset),
    "MX": lambda rrset: tuple(
        _name(one.exchange) for one in sorted(rrset, key=lambda one: one.preference)
    ),
    "PTR": lambda rrset: tuple(_name(one.target) for one in rrset),
}
