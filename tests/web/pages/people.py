"""Mail and people for the pages: put into the store as intake and worker do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relay.core.access import OF_ROLE, Caller
from relay.core.clock import SystemClock
from relay.core.directory import Role, User
from relay.core.ids import new_message_id
from relay.core.model import Envelope, Person, Place, RawMail, Recipient, Step
from relay.core.queue import LeaseOwner, Settlement

if TYPE_CHECKING:
    from relay.core.states import Event
    from relay.store import Store

OWNER = LeaseOwner("host", "boot", 10, "1")
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> javascript:alert(3) "
    "\u202egnp.exe " + "W" * 3000
)


def caller(user: User) -> Caller:
    """Return a user who is signed in."""
    return Caller(f"web:{user.email}", OF_ROLE[user.role], user)


async def add(store: Store, name: str, role: Role = Role.REP) -> Caller:
    """Add a user; return them as signed in."""
    email = f"{name.lower()}@corp.example"
    return caller(await store.directory.add_user(name, email, role, None, "test"))


async def put(store: Store, user: User, subject: str) -> str:
    """Store a message for a user; return its id."""
    id_, at = new_message_id(SystemClock()), datetime.now(UTC)
    rcpt = f"{user.relay_token}@in.relay.example"
    raw = b"Subject: x\r\n\r\nHello\r\n"
    await store.messages.put(
        Envelope(
            mail_from=user.email,
            peer="127.0.0.1",
            helo="test",
            tls=False,
            received_at=at,
            recipients=(Recipient(id_, rcpt, user.id),),
            header_from=user.email,
            subject=subject,
            rfc_message_id=f"<{id_}@test>",
            trace=(Step(at, "rcpt", "accepted", rcpt),),
        ),
        RawMail(len(raw), "0" * 64, data=raw),
    )
    return id_


async def end(
    store: Store,
    user: User,
    event: Event,
    reason: str,
    *,
    subject: str = "The offer",
    detail: str = "",
    people: tuple[Person, ...] = (),
) -> str:
    """Store a message and let its first attempt end so; return its id."""
    id_ = await put(store, user, subject)
    (claimed,) = await store.queue.claim(OWNER, 1, 60)
    await store.mails.join(OWNER, [(id_, id_, id_ + "2", "")])
    ending: dict[str, Any] = {"unknown": people} if people else {}
    settled = Settlement(claimed.id, claimed.attempt, event, reason, detail, **ending)
    await store.ledger.advance(OWNER, settlements=[settled])
    return id_


def person(address: str, name: str = "") -> Person:
    """Return somebody of a mail."""
    return Person(address, address, name, Place.TO)


MARA = person("lindqvist@acme.example", "Mara L.")
