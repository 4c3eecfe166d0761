"""The original mail without its secret: relay addresses in it are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.masking import mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def masked(pieces: Iterable[bytes], domains: Iterable[str]) -> Iterator[bytes]:
    """Yield the mail, as long as it was, with relay addresses masked.

    Args:
        pieces: The raw mail.
        domains: The domains of relay addresses.
    """
    names = frozenset(domains)
    return mask(names).pieces(pieces) if names else iter(pieces)
