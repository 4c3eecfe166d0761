"""Passwords that people choose: the rules, and the slow hash.

Long rather than odd: no rule asks for a digit or a sign. What guessers try first is
refused: the user's own name and address, words that many take, one key many times.

One hash is made at a time in a process, in a thread: each takes 64 MiB and all of a
core for some 0.2 s, and many sign-ins at once must not take either from the mail.

Source: NIST SP 800-63B section 5.1.1; RFC 9106 section 4 (Argon2id).
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from relay.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.directory import User

T = TypeVar("T")
SHORTEST: Final = 12
LONGEST: Final = 256
"""Characters; a longer one would be work for the hash alone."""
_FEWEST: Final = 5
"""Different characters."""
_MOST_WAITING: Final = 20
"""Hashes that wait for their turn, some four seconds of work."""
_PART: Final = 4
"""Letters of a name that make a password easy to guess."""
_COMMON: Final = frozenset(
    (
        "abc",
        "abcd",
        "abcdef",
        "abcdefgh",
        "access",
        "admin",
        "administrator",
        "azerty",
        "baseball",
        "changeme",
        "company",
        "contrasena",
        "dragon",
        "football",
        "geheim",
        "hello",
        "iloveyou",
        "letmein",
        "login",
        "master",
        "monkey",
        "motdepasse",
        "office",
        "passwd",
        "password",
        "passwort",
        "princess",
        "qazwsx",
        "qwerty",
        "qwertyuiop",
        "relay",
        "sales",
        "salesforce",
        "secret",
        "senha",
        "shadow",
        "starwars",
        "summer",
        "sunshine",
        "superman",
        "test",
        "trustno",
        "welcome",
        "winter",
        "zaq",
    )
)
"""Words that many people take; what is left of a password without them counts."""


class Weak(StrEnum):
    """Why a password is refused."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    FEW_CHARACTERS = "few_characters"
    LIKE_NAME = "like_name"
    COMMON = "common"


HINTS: Final = {
    Weak.TOO_SHORT: f"it has fewer than {SHORTEST} characters; four words are easy "
    "to remember",
    Weak.TOO_LONG: f"it has more than {LONGEST} characters",
    Weak.FEW_CHARACTERS: "it has the same few characters again and again",
    Weak.LIKE_NAME: "it is little more than your name or address",
    Weak.COMMON: "it is little more than a word that many people take",
}
"""What is wrong with a password, in English, for people."""


class WeakPassword(InvalidInput):
    """A password is too easy to guess; `weak` says why."""

    def __init__(self, weak: Weak) -> None:
        """Take what is wrong with it."""
        problem = f"the password is too easy to guess: {HINTS[weak]}"
        super().__init__(problem, "take another one")
        self.weak = weak


def weakness(password: str, user: User) -> Weak | None:
    """Say why a password of a user is too easy to guess; None: it is not."""
    text = normal(password)
    if len(text) < SHORTEST:
        return Weak.TOO_SHORT
    if len(text) > LONGEST:
        return Weak.TOO_LONG
    if len(set(text)) < _FEWEST:
        return Weak.FEW_CHARACTERS
    letters = "".join(char for char in text.casefold() if char.isalpha())
    local, _, domain = user.email.casefold().partition("@")
    own = [*re.split(r"\W+", user.name.casefold()), *re.split(r"\W+", local)]
    own += domain.split(".")
    if not letters:
        return Weak.COMMON
    if _is_little_more(letters, [part for part in own if len(part) >= _PART]):
        return Weak.LIKE_NAME
    return Weak.COMMON if _is_little_more(letters, sorted(_COMMON)) else None


def _is_little_more(letters: str, words: list[str]) -> bool:
    """Say whether hardly anything is left of a text without these words."""
    left = letters
    for word in sorted(words, key=len, reverse=True):
        left = left.replace(word, "")
    return len(left) < _PART and left != letters


def normal(password: str) -> str:
    """Return a password as it is hashed: the same on every keyboard and system."""
    return unicodedata.normalize("NFKC", password)


class Busy(Exception):  # noqa: N818 - an answer
    """More hashes wait than can be made in good time."""


class Hasher:
    """Makes and checks hashes, one at a time, beside the loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """Take the cost; None: as RFC 9106 recommends where memory is short."""
        self._hasher = hasher or PasswordHasher()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """Return the hash of a password. Slow.

        Raises:
            Busy: Too many wait already.
        """
        return await self._one(self._hasher.hash, _bytes(password))

    async def fits(self, password: str, kept: str | None) -> bool:
        """Say whether this is the password of a hash.

        Without a hash it takes the same time, and the answer is no: so that the time
        does not tell whether there is such a user.

        Raises:
            Busy: Too many wait already.
        """
        if self._nobody is None:
            self._nobody = await self.hash("nobody has this password")
        hashed = self._nobody if kept is None else kept
        right = await self._one(self._verify, hashed, _bytes(password))
        return right and kept is not None

    def is_weaker(self, kept: str) -> bool:
        """Say whether a hash was made at another cost than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _one(self, work: Callable[..., T], *values: object) -> T:
        if self._waiting >= _MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, *values)
        finally:
            self._waiting -= 1


def _bytes(password: str) -> bytes:
    return normal(password)[: LONGEST + 1].encode("utf-8", "surrogatepass")
