"""Whether the sender of a mail is who may write for a user.

`judge` compares the header From with the user's accepted addresses and gives one
verdict, with a text that a rep understands. It reads no network and keeps nothing; the
intake turns the verdict into a reply and a refusal row.
"""

from relay.sender.accepted import (
    NOT_ACCEPTED,
    Author,
    Verdict,
    judge,
    judge_author,
    read_author,
)

__all__ = [
    "NOT_ACCEPTED",
    "Author",
    "Verdict",
    "judge",
    "judge_author",
    "read_author",
]
