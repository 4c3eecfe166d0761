"""Mutated mails into the reader.

Invariant: whatever the bytes, `parse` returns an `Email` or raises
`UnparsableMessage`, within a time set by their number; the text of the Email holds no
control characters and no lone surrogates; reading twice gives the same; the keys are
those of `content_keys`; the From that the intake judges is the From of the Email.

The seed of a run is printed when it fails; `FUZZ_SEED` repeats it and
`FUZZ_SECONDS` makes it longer. What once broke is kept in `corpus/mail/`.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import random
import re
import time
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import UnparsableMessage
from relay.mail import content_keys, header_fields, mailboxes, parse
from tests.fakes.mutants import CORPUS, mutate, seeds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relay.core.model import Email

SECONDS = float(os.environ.get("FUZZ_SECONDS", "4"))
SLOWEST_S = 1.0
UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@pytest.fixture(autouse=True)
def own_garbage() -> Iterator[None]:
    """Keep what earlier tests left out of the collections that are timed here."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def check(raw: bytes) -> Email | None:
    """Hold one input against the invariant."""
    started = time.process_time()
    try:
        email = parse(raw)
    except UnparsableMessage:
        email = None
    assert time.process_time() - started < SLOWEST_S
    if email is None:
        return None
    for text in texts(email):
        assert not UNCLEAN.search(text)
        text.encode("utf-8")
    assert (email.key1, email.key2) == content_keys(raw)
    senders = [value for name, value in header_fields(raw) if name == "from"]
    # The name may be in the charset of the body, which the intake does not know.
    judged = [box.address for box in mailboxes(senders)]
    assert [box.address for box in email.from_] == judged
    return email


def texts(value: object) -> list[str]:
    """Return every string within a value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in value for text in texts(item)]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return [text for f in fields for text in texts(getattr(value, f.name))]
    return []


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus_is_read(path: Path) -> None:
    """Each kept mail has a sender, and reads the same twice."""
    raw = path.read_bytes()
    email = check(raw)
    assert email is not None
    assert email.from_
    assert email == parse(raw)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.timeout(30)
def test_every_beginning_of_a_mail_is_read(path: Path) -> None:
    """A mail cut off at any byte holds to the invariant."""
    raw = path.read_bytes()
    for end in range(len(raw)):
        check(raw[:end])


@pytest.mark.timeout(60 + 2 * SECONDS)
def test_mutated_mails() -> None:
    """Mutations of real-looking mails hold to the invariant, for a bounded time."""
    seed = int(os.environ.get("FUZZ_SEED") or random.randrange(1 << 32))
    chance = random.Random(seed)
    starts = seeds()
    until = time.monotonic() + SECONDS
    raw, count = b"", 0
    try:
        while time.monotonic() < until:
            raw = mutate(chance.choice(starts), chance, starts)
            email = check(raw)
            count += 1
            if email is not None and not chance.randrange(20):
                starts.append(raw[:4000])
    except Exception as error:
        error.add_note(f"seed {seed}, input {count}: {raw!r}")
        raise
    assert count > 20 * SECONDS


def test_random_bytes() -> None:
    """Bytes that never were a mail hold to the invariant."""
    chance = random.Random(5)
    for size in range(400):
        check(chance.randbytes(size))
        check(b"From: a@x.example\r\n" + chance.randbytes(size))
