"""Whether the sender of a mail is who may write for a user.

`accepted` compares the author with the user's accepted addresses. `policy` judges what
was found about the author (`relay.core.authentication`), and `causes` is the catalogue
of what may speak against a mail, in words that a rep understands. What the intake does
with a verdict, and when it asks for one, is left to it.
"""

from relay.sender.accepted import (
    ACCEPTED,
    LOOKS_ALIKE,
    NOT_ACCEPTED,
    Author,
    Listing,
    is_listed,
    judge,
    judge_author,
    read_author,
)
from relay.sender.causes import CAUSES, Cause, cause, in_words

__all__ = [
    "ACCEPTED",
    "CAUSES",
    "LOOKS_ALIKE",
    "NOT_ACCEPTED",
    "Author",
    "Cause",
    "Listing",
    "cause",
    "in_words",
    "is_listed",
    "judge",
    "judge_author",
    "read_author",
]
