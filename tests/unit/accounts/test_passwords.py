"""Passwords of people: what is refused, and the slow hash."""

from __future__ import annotations

import asyncio
import threading

import pytest
from argon2 import PasswordHasher

from relay.accounts.passwords import Busy, Hasher, Weak, weakness
from relay.core.directory import Role, User

ADA = User(1, "Ada Byron", "ada.byron@corp.example", Role.REP, True, None, "token")
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "ada likes long walks",
        "zq8Kd02mXp1v",
        "лошадь батарея скоба",
    ],
)
def test_long_passwords_are_fine(password):
    """No rule asks for digits or signs, and a name may stand in a sentence."""
    assert weakness(password, ADA) is None


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("elevenchars", Weak.TOO_SHORT),
        ("", Weak.TOO_SHORT),
        ("x" * 257, Weak.TOO_LONG),
        ("aaaaaaaaaaaaaa", Weak.FEW_CHARACTERS),
        ("abababababab", Weak.FEW_CHARACTERS),
        ("AdaByron2026!", Weak.LIKE_NAME),
        ("byronbyron12", Weak.LIKE_NAME),
        ("corp-example-99", Weak.LIKE_NAME),
        ("Password2026!!", Weak.COMMON),
        ("welcomewelcome", Weak.COMMON),
        ("123456789012", Weak.COMMON),
        (
            "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff12\uff10\uff12\uff16",
            Weak.COMMON,
        ),
    ],
)
def test_what_guessers_try_first_is_refused(password, why):
    """With the reason, whatever case, width or digits around it."""
    assert weakness(password, ADA) is why


async def test_a_hash_fits_its_password_alone():
    """The same letters in another Unicode form are the same password."""
    hasher = Hasher(QUICK)
    kept = await hasher.hash("caf\u00e9 noir et blanc")
    assert kept.startswith("$argon2id$")
    assert await hasher.fits("cafe\u0301 noir et blanc", kept)
    assert not await hasher.fits("cafe noir et blanc", kept)
    assert not await hasher.fits("caf\u00e9 noir et blanc", "no hash")
    assert not await hasher.fits("\ud800", kept)


async def test_without_a_hash_the_work_is_the_same():
    """Nobody's password fits nothing, and a hash is computed all the same."""
    done = []

    class Counting(PasswordHasher):
        def verify(self, *values):
            done.append(values)
            return super().verify(*values)

    hasher = Hasher(Counting(time_cost=1, memory_cost=8, parallelism=1))
    assert not await hasher.fits("nobody has this password", None)
    assert len(done) == 1


async def test_a_weaker_hash_is_known():
    """So that it can be made anew at the next sign-in."""
    kept = await Hasher(QUICK).hash("some password")
    assert not Hasher(QUICK).is_weaker(kept)
    assert Hasher().is_weaker(kept)


async def test_hashes_are_made_one_at_a_time():
    """Many at once wait for each other; too many are turned away."""
    running, most, lock, go = 0, 0, threading.Lock(), threading.Event()

    class Slow(PasswordHasher):
        def hash(self, password, **_):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            go.wait(10)
            with lock:
                running -= 1
            return "hash"

    hasher = Hasher(Slow())
    tasks = [asyncio.create_task(hasher.hash("x")) for _ in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await hasher.hash("x")
    go.set()
    assert await asyncio.gather(*tasks) == ["hash"] * 20
    assert most == 1
    assert await hasher.hash("x") == "hash"
