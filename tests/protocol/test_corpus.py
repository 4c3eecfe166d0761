"""Hard mails through a real intake into a real store: unchanged, or refused by rule."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

from relay.config import StoreSettings
from relay.core.clock import SystemClock
from relay.store import Store
from tests.fakes.dialog import Talk
from tests.fakes.intake import running
from tests.fakes.wire_mails import CORPUS, WIRE, WireMail, arrived, stuffed


@pytest.fixture
async def store(tmp_path):
    """A store on SQLite."""
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/relay.db", min_free_bytes=0)
    opened = await Store.open(settings, SystemClock())
    yield opened
    await opened.close()


async def stored(store, tmp_path, message_id):
    """Return the raw bytes of a message, and the digest that the store keeps."""
    with sqlite3.connect(tmp_path / "relay.db") as database:
        row = database.execute(
            "SELECT b.id, b.sha256 FROM messages m JOIN blobs b ON b.id = m.blob_id "
            "WHERE m.id = ?",
            (message_id,),
        ).fetchone()
    database.close()
    return await store.messages.raw(row[0]), row[1]


async def send(talk, case, size=0):
    """Send one mail for postmaster, who takes mail from anybody; return the reply."""
    assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith("250 ")
    assert (await talk.ask("RCPT TO:<postmaster>")).startswith("250 ")
    assert (await talk.ask("DATA")).startswith("354 ")
    data = stuffed(case.raw)
    for at in range(0, len(data), size or len(data)):
        await talk.send(data[at : at + (size or len(data))])
    return (await talk.reply())[-1]


def test_corpus_is_large():
    """There are more than 200 mails, each with a name of its own."""
    assert len(CORPUS) >= 200
    assert len({case.name for case in CORPUS}) == len(CORPUS)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("inline_bytes", [262_144, 0], ids=["rows", "files"])
async def test_corpus_arrives_unchanged(inline_bytes, store, tmp_path):
    """Each mail is stored byte for byte, or refused for a reason of RFC 5321."""
    limits = {"inline_bytes": inline_bytes}
    limits |= dict.fromkeys(("max_message_bytes", "postmaster_max_bytes"), 8_000_000)
    async with running(store, **limits) as intake:
        talk = await Talk.connect(*intake.listening[0])
        await talk.reply()
        await talk.ask("EHLO client.example")
        wrong = []
        for case in CORPUS:
            reply = await send(talk, case)
            if reply[:3] != "250":
                if not case.refused or not reply.startswith(case.refused):
                    wrong.append((case.name, reply))
                continue
            raw, digest = await stored(store, tmp_path, reply.rpartition(" ")[2])
            assert digest == hashlib.sha256(raw).hexdigest()
            if case.refused or raw != arrived(case.raw):
                wrong.append((case.name, "taken" if case.refused else "changed"))
        await talk.close()
    assert wrong == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_corpus_in_pieces(size, store, tmp_path):
    """The pieces in which a mail comes in change nothing about it."""
    async with running(store, max_message_bytes=8_000_000, inline_bytes=400) as intake:
        talk = await Talk.connect(*intake.listening[0])
        await talk.reply()
        await talk.ask("EHLO client.example")
        for case in WIRE:
            if len(case.raw) > 2000 * size:
                continue
            reply = await send(talk, case, size)
            assert reply.startswith(case.refused or "250 "), (case.name, reply)
            if not case.refused:
                raw, _ = await stored(store, tmp_path, reply.rpartition(" ")[2])
                assert raw == arrived(case.raw), case.name
        await talk.close()


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b"", b".\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b"a\r\n.\r\n", b"a\r\n..\r\n.\r\n"),
        (b"a\n.b", b"a\n.b\r\n.\r\n"),
    ],
)
def test_stuffing_of_the_test_itself(raw, sent):
    """The corpus is sent as RFC 5321 section 4.5.2 says."""
    assert stuffed(raw) == sent
    assert isinstance(CORPUS[0], WireMail)
