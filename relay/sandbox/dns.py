"""A DNS server on loopback: answers from zone text, and misbehaves on demand.

It stands for the resolver of a machine and for every name server of the world behind
it: names that its zones hold have answers, all others do not exist. The demo and the
tests bring their own zones, so that SPF, DKIM and DMARC need no network. It speaks UDP
and TCP on one port, follows CNAMEs, knows wildcards, and sets TC where an answer does
not fit a datagram.

Zone text is that of master files (RFC 1035 section 5.1). It may hold many zones, each
after a line `$ORIGIN name.`: an SOA stands at the origin, and names outside of it are
passed over. `txt_record` writes a TXT record of any length.

A fault is set for a name and a type, each of them `*` for all: see `FAULTS`. `counts`
has what was asked, by lower-case name without a last dot, and type.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zonefile

if TYPE_CHECKING:
    from types import TracebackType

FAULTS: Final = {
    "silence": "never answers",
    "servfail": "answers SERVFAIL",
    "refused": "answers REFUSED",
    "delay": "answers after `value` seconds",
    "truncation": "answers empty with TC over UDP, in full over TCP",
    "udp_only": "answers with TC over UDP, and closes TCP connections",
    "oversized": "answers with nearly 64 KB of strangers' TXT, A, MX or PTR records",
    "wrong_id": "answers with an id that was not asked",
    "wrong_question": "answers another question than the one that was asked",
    "garbage": "answers bytes that are no DNS message",
}

_ORIGIN: Final = re.compile(r"^\$ORIGIN[ \t]+", re.MULTILINE)
_UDP_BYTES: Final = 512
"""What a client without EDNS can take (RFC 1035 section 4.2.1)."""
_OVERSIZED_BYTES: Final = 64_000
_STRING_BYTES: Final = 255
_TTL_S: Final = 300
_MAX_CHAIN: Final = 16
_PORT_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """How questions of one name and type go wrong; a kind of `FAULTS`."""

    kind: str
    value: float = 0.0


def txt_record(name: str, text: str | bytes, ttl_s: int = _TTL_S) -> str:
    """Return the zone line of a TXT record, cut into strings that DNS can hold."""
    data = text.encode() if isinstance(text, str) else text
    pieces = [
        data[start : start + _STRING_BYTES]
        for start in range(0, len(data) or 1, _STRING_BYTES)
    ]
    quoted = " ".join(f'"{_escaped(piece)}"' for piece in pieces)
    return f"{name.rstrip('.')}. {ttl_s} IN TXT {quoted}\n"


def _escaped(data: bytes) -> str:
    """Write a character string as a master file has it (RFC 1035 section 5.1)."""
    return "".join(
        chr(byte)
        if ord(" ") <= byte < 0x7F and byte not in b'"\\'  # noqa: PLR2004 - DEL
        else f"\\{byte:03d}"
        for byte in data
    )


class Zones:
    """Records by name and type, and the answers that follow from them."""

    def __init__(self, text: str = "") -> None:
        """Begin with the records of a zone text."""
        self._records: dict[dns.name.Name, dict[int, dns.rrset.RRset]] = {}
        self._existing: set[dns.name.Name] = set()
        self.add(text)

    def add(self, text: str) -> None:
        """Add the records of a zone text to those that are there.

        Raises:
            dns.exception.DNSException: The text is no zone; nothing was added.
        """
        found: list[dns.rrset.RRset] = []
        for part in _ORIGIN.split(f"$ORIGIN .\n{text}")[1:]:
            origin, _, lines = part.partition("\n")
            found += dns.zonefile.read_rrsets(
                lines, rdclass=None, default_ttl=_TTL_S, origin=origin.strip()
            )
        for rrset in found:
            for rdata in rrset:
                self._put(rrset.name, rrset.ttl, rdata)

    def clear(self) -> None:
        """Forget all records."""
        self._records.clear()
        self._existing.clear()

    def _put(self, name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> None:
        kinds = self._records.setdefault(name, {})
        if rdata.rdtype not in kinds:
            kinds[rdata.rdtype] = dns.rrset.RRset(name, rdata.rdclass, rdata.rdtype)
        kinds[rdata.rdtype].add(rdata, ttl)
        while name not in self._existing:
            # A name above one that exists exists too (RFC 8020 section 2).
            self._existing.add(name)
            if name == dns.name.root:
                return
            name = name.parent()

    def answer(self, response: dns.message.Message) -> None:
        """Fill in answer, authority and return code for the response's question."""
        question = response.question[0]
        name = question.name
        for _ in range(_MAX_CHAIN):
            kinds = self._at(name)
            if kinds is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                break
            if (found := kinds.get(question.rdtype)) is not None:
                response.answer.append(_renamed(found, name))
                return
            alias = kinds.get(dns.rdatatype.CNAME)
            if alias is None:
                break
            response.answer.append(_renamed(alias, name))
            name = alias[0].target
        self._soa(name, response)

    def _at(self, name: dns.name.Name) -> dict[int, dns.rrset.RRset] | None:
        """Return the records at a name, by a wildcard too; None: it does not exist."""
        if name in self._existing:
            return self._records.get(name, {})
        while name != dns.name.root:
            name = name.parent()
            wildcard = self._records.get(dns.name.Name((b"*", *name.labels)))
            if wildcard is not None:
                return wildcard
            if name in self._existing:
                return None  # The closest encloser ends the search (RFC 4592, 3.3.1).
        return None

    def _soa(self, name: dns.name.Name, response: dns.message.Message) -> None:
        """Say how long the absence holds, where a zone says so (RFC 2308 section 3)."""
        while True:
            kinds = self._records.get(name, {})
            if (soa := kinds.get(dns.rdatatype.SOA)) is not None:
                response.authority.append(soa)
                return
            if name == dns.name.root:
                return
            name = name.parent()


def _renamed(rrset: dns.rrset.RRset, name: dns.name.Name) -> dns.rrset.RRset:
    if rrset.name == name:
        return rrset
    copy = dns.rrset.RRset(name, rrset.rdclass, rrset.rdtype)
    for rdata in rrset:
        copy.add(rdata, rrset.ttl)
    return copy


class DNSServer:
    """One server on one port of loopback, over UDP and TCP.

    Use it in the running loop (`await start()`, `await stop()`), or in a thread of its
    own (`with DNSServer(text) as server`). Zones, faults and counts may be changed and
    read while it runs, from any thread.

    Attributes:
        zones: What it answers from.
        counts: How often each (name, type) was asked, over UDP and TCP together.
        tcp_queries: How many of them came over TCP.
    """

    def __init__(self, text: str = "", *, host: str = "127.0.0.1") -> None:
        """Take the zones; nothing listens yet.

        Args:
            text: Zone text; more can be added with `zones.add`.
            host: The address to listen on.
        """
        self.zones = Zones(text)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.tcp_queries = 0
        self._host = host
        self._port = 0
        self._faults: dict[tuple[str, str], Fault] = {}
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port; the port is 0 while the server is stopped."""
        return self._host, self._port

    # ------------------------------------------------------------ faults, counts

    def fail(
        self, kind: str, name: str = "*", rdtype: str = "*", value: float = 0.0
    ) -> None:
        """Make questions go wrong from now on.

        Args:
            kind: One of `FAULTS`.
            name: The name that is asked; `*` for all.
            rdtype: The type that is asked; `*` for all.
            value: Seconds of a `delay`.

        Raises:
            ValueError: There is no such kind.
        """
        if kind not in FAULTS:
            text = f"no such fault: {kind}; one of {', '.join(FAULTS)}"
            raise ValueError(text)
        self._faults[_key(name), rdtype.upper()] = Fault(kind, value)

    def heal(self) -> None:
        """Take all faults away."""
        self._faults.clear()

    def asked(self, name: str, rdtype: str = "*") -> int:
        """Return how often a name was asked for."""
        name = _key(name)
        return sum(
            count
            for (key, kind), count in self.counts.items()
            if key == name and rdtype in {kind, "*"}
        )

    def _fault(self, name: str, rdtype: str) -> Fault | None:
        for key in ((name, rdtype), (name, "*"), ("*", rdtype), ("*", "*")):
            if (fault := self._faults.get(key)) is not None:
                return fault
        return None

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen, on a port that is free for UDP and TCP alike.

        Raises:
            OSError: No such port was found.
        """
        loop = asyncio.get_running_loop()
        for left in reversed(range(_PORT_TRIES)):
            server = await asyncio.start_server(self._connection, self._host, 0)
            port = server.sockets[0].getsockname()[1]
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(self._host, port)
                )
            except OSError:
                server.close()
                if not left:
                    raise
                continue
            self._tcp, self._udp, self._port = server, transport, port
            return

    async def stop(self) -> None:
        """Stop listening, and drop what has not been answered."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._udp = self._tcp = None
        self._port = 0

    def __enter__(self) -> Self:
        """Run in a thread of its own until `__exit__`."""
        ready = threading.Event()
        failures: list[OSError] = []

        async def run() -> None:
            try:
                self._loop = asyncio.get_running_loop()
                self._stopping = asyncio.Event()
                await self.start()
            except OSError as error:
                failures.append(error)
                return
            finally:
                ready.set()
            await self._stopping.wait()
            await self.stop()

        self._thread = threading.Thread(
            target=lambda: asyncio.run(run()), name="sandbox-dns", daemon=True
        )
        self._thread.start()
        ready.wait()
        if failures:
            raise failures[0]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and wait for the thread."""
        if self._loop is None or self._stopping is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    # ------------------------------------------------------------ questions

    def datagram(self, wire: bytes, peer: tuple[str, int]) -> None:
        """Answer a question that came over UDP."""
        self._spawn(self._over_udp(wire, peer))

    def _spawn(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _over_udp(self, wire: bytes, peer: tuple[str, int]) -> None:
        response = await self._respond(wire, tcp=False)
        if response is not None and self._udp is not None:
            self._udp.sendto(response, peer)

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one question after another, each with its length before it."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(length)
                response = await self._respond(wire, tcp=True)
                if response is None:
                    return
                writer.write(struct.pack("!H", len(response)) + response)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _respond(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """Return the answer to a question; None: there is none."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        name = _key(question.name.to_text())
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.counts[name, rdtype] += 1
        self.tcp_queries += tcp
        response = dns.message.make_response(query, recursion_available=True)
        fault = self._fault(name, rdtype)
        if fault is None:
            self.zones.answer(response)
            return _wire(response, query, tcp=tcp)
        return await self._faulty(fault, query, response, tcp=tcp)

    async def _faulty(
        self,
        fault: Fault,
        query: dns.message.Message,
        response: dns.message.Message,
        *,
        tcp: bool,
    ) -> bytes | None:
        match fault.kind:
            case "silence":
                await asyncio.Event().wait()
            case "servfail":
                response.set_rcode(dns.rcode.SERVFAIL)
            case "refused":
                response.set_rcode(dns.rcode.REFUSED)
            case "garbage":
                return b"\x00" * 11
            case "truncation" | "udp_only" if not tcp:
                response.flags |= dns.flags.TC
            case "udp_only":
                return None
            case "oversized" if tcp:
                return _oversized(response)
            case "oversized":
                response.flags |= dns.flags.TC
            case _:
                if fault.kind == "delay":
                    await asyncio.sleep(fault.value)
                self.zones.answer(response)
                if fault.kind == "wrong_id":
                    response.id ^= 0x5555
                elif fault.kind == "wrong_question":
                    question = response.question[0]
                    stranger = dns.name.from_text("stranger.example")
                    response.question[0] = dns.rrset.RRset(
                        stranger, question.rdclass, question.rdtype
                    )
        return _wire(response, query, tcp=tcp)


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to the server."""

    def __init__(self, server: DNSServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagram(data, addr)


def _key(name: str) -> str:
    return name.rstrip(".").lower()


def _wire(
    response: dns.message.Message, query: dns.message.Message, *, tcp: bool
) -> bytes:
    """Return the bytes of a response, cut down to TC where they do not fit UDP."""
    limit = 65_535 if tcp else max(_UDP_BYTES, query.payload)
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.answer.clear()
        response.authority.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=limit)


def _oversized(response: dns.message.Message) -> bytes:
    """Return a response with as many records as a DNS message can hold."""
    question = response.question[0]
    head = bytearray(response.to_wire(max_size=_OVERSIZED_BYTES)[:12])
    asked = (question.name.to_wire() or b"") + struct.pack(
        "!HH", question.rdtype, question.rdclass
    )
    kind = dns.rdatatype.to_text(question.rdtype)
    records: list[bytes] = []
    size = len(asked)
    while size < _OVERSIZED_BYTES:
        data = _stranger(kind, len(records))
        # The name is a pointer to the question (RFC 1035 section 4.1.4).
        records.append(
            struct.pack(
                "!HHHIH", 0xC00C, question.rdtype, question.rdclass, _TTL_S, len(data)
            )
            + data
        )
        size += len(records[-1])
    struct.pack_into("!HHHH", head, 4, 1, len(records), 0, 0)
    return bytes(head) + asked + b"".join(records)


def _stranger(kind: str, number: int) -> bytes:
    """Return the data of a record that nobody asked for, another for each number."""
    if kind == "A":
        return struct.pack("!BBH", 10, number >> 16, number & 0xFFFF)
    if kind == "AAAA":
        return b"\x20\x01\x0d\xb8" + number.to_bytes(12)
    host = b"\x07flood%02x\x07example\x00" % (number & 0xFF)
    if kind == "MX":
        return struct.pack("!H", number & 0xFFFF) + host
    if kind == "PTR":
        return b"\x05%05d" % (number % 100_000) + host
    text = b"flood %d" % number
    return bytes([len(text)]) + text
