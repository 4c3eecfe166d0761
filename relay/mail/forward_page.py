"""The page of a mail that was forwarded, cut out of the page of the forward.

Programs put a forwarded mail below its header, in elements of their own, each in
another way. What they have in common is the text: the cut is where the rest of the page
has the words of the forwarded mail, all of them and no others. Where it does not come
out so, there is no page, and the text alone is logged: half a page would show what the
mail does not say, or hide what it says.

The cost is linear in the page, and a page beyond `MAX_PAGE` is not looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from relay.mail.html import html_to_text, pieces, unescaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.mail.html import Piece

MAX_PAGE: Final = 1 << 18
"""Characters of a page that is cut: an EmailMessage holds half as many."""

_WORD: Final = re.compile(r"\w+")
_VOID: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta"}
    | {"param", "source", "track", "wbr"}
)
"""Elements that have no end (HTML Living Standard, 13.1.2)."""
_OF_THE_PAGE: Final = frozenset({"html", "body", "head"})


def forwarded_page(page: str, text: str) -> str | None:
    """Return the part of a page that shows a text, to its end; None if unsure.

    Args:
        page: The page of the forward.
        text: The text of the forwarded mail.
    """
    wanted = _letters(text)
    if not wanted or len(page) > MAX_PAGE:
        return None
    found = list(pieces(page))
    cut = _cut(page, found, wanted)
    if cut is None:
        return None
    fragment = _balanced(page, found[cut:])
    return fragment if _letters(html_to_text(fragment)) == wanted else None


def _letters(text: str) -> str:
    return "".join(_WORD.findall(text.casefold()))


def _cut(page: str, found: Sequence[Piece], wanted: str) -> int | None:
    """Return the piece with which the text begins, and the tags that open it."""
    left = len(wanted)
    for number in range(len(found) - 1, -1, -1):
        piece = found[number]
        if piece.name:
            continue
        left -= len(_letters(unescaped(page[piece.start : piece.end])))
        if left < 0:
            return None  # The text begins within a piece.
        if left == 0:
            while number and _opens(found[number - 1]):
                number -= 1  # noqa: PLW2901 - the loop ends here
            return number
    return None


def _opens(piece: Piece) -> bool:
    return (
        bool(piece.name)
        and not piece.closing
        and piece.name not in _VOID
        and piece.name not in _OF_THE_PAGE
    )


def _balanced(page: str, found: Sequence[Piece]) -> str:
    """Return pieces without the ends of what began before them."""
    kept: list[str] = []
    open_now: Counter[str] = Counter()
    for piece in found:
        if piece.name in _OF_THE_PAGE:
            continue
        if piece.name and piece.name not in _VOID:
            if not piece.closing:
                open_now[piece.name] += 1
            elif open_now[piece.name] <= 0:
                continue
            else:
                open_now[piece.name] -= 1
        kept.append(page[piece.start : piece.end])
    return "".join(kept).strip()
