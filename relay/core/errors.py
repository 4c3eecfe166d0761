"""Every error of the relay.

    RelayError
    ├── PermanentError            trying again cannot help
    │   ├── MessageRejected       carries the SMTP reply
    │   ├── UnparsableMessage     no mail can be read from the bytes
    │   └── ActivityRefused       Salesforce will not have this record
    ├── TransientError            the same thing may succeed later (retry_after_s)
    │   ├── StoreUnavailable
    │   │   └── StoreFull
    │   ├── RawUnreadable         one raw mail: its neighbours can be read
    │   ├── SalesforceUnavailable
    │   │   └── SalesforceDown    the org as a whole: it is paused
    │   ├── RecordLocked
    │   ├── OrgPaused             stops work for the whole org, gives the attempt back
    │   │   ├── SalesforceLimited
    │   │   └── CredentialsRefused
    │   ├── LeaseLost             another worker may hold the mail: stop working on it
    │   └── OutcomeUnknown        sent, no answer: look up before writing again
    ├── IllegalTransition         a change that the state table does not have
    ├── Conflict                  it is there already
    ├── NotFound                  no such user, message, address …
    ├── InvalidInput              what an admin entered does not fit
    ├── NotAllowed                who asks may not
    ├── TooOften                  it was done often enough for now (wait_s)
    ├── NeedsConfirmation         something speaks against it; asked again, it is done
    └── NoSalesforce              the relay has no org to ask
    ConfigError                   outside the tree: nothing may swallow it

Whether a failure is permanent is decided where it is seen, and never guessed from a
text later. Error texts name what went wrong, and hold no secret and no mail content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import StrEnum


class RelayError(Exception):
    """Anything that the relay itself raises.

    Attributes:
        retry: What to do after it; `relay.core.retry.EFFECTS` says what follows.
    """

    retry: Retry = Retry.BACKOFF


class PermanentError(RelayError):
    """Trying the same thing again cannot succeed."""

    retry = Retry.NEVER


class MessageRejected(PermanentError):  # noqa: N818 - the name says what happened
    """The mail is refused during SMTP.

    Attributes:
        code: SMTP reply code, 4yz or 5yz (RFC 5321 section 4.2).
        enhanced: Enhanced status code, such as `5.7.1` (RFC 3463).
        text: What the sender reads; names the hint, never an internal.
        reason: A stable word for journal and metrics, such as `sender_not_accepted`.
    """

    def __init__(self, code: int, enhanced: str, text: str, reason: str) -> None:
        """Take the reply apart into code, enhanced code, text, and a reason word."""
        super().__init__(f"{code} {enhanced} {text}")
        self.code = code
        self.enhanced = enhanced
        self.text = text
        self.reason = reason


class UnparsableMessage(PermanentError):  # noqa: N818
    """No mail can be read from the bytes; they are kept."""


class ActivityRefused(PermanentError):  # noqa: N818
    """Salesforce will not take this record.

    Attributes:
        code: Salesforce's `errorCode`, or an HTTP status as text.
    """

    def __init__(self, code: str, text: str) -> None:
        """Keep Salesforce's code beside the text for the admin."""
        super().__init__(text)
        self.code = code


class TransientError(RelayError):
    """The same thing may succeed later.

    Attributes:
        retry_after_s: Seconds to wait, where the other side said so; else None.
    """

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        """Say what failed, and how long to wait if that is known."""
        super().__init__(text)
        self.retry_after_s = retry_after_s


class StoreUnavailable(TransientError):  # noqa: N818
    """The store cannot be read or written now; nothing was changed."""


class StoreFull(StoreUnavailable):
    """The disk is below its floor; nothing was stored."""


class RawUnreadable(TransientError):  # noqa: N818
    """The raw bytes of one mail cannot be read now; those of others can.

    Attributes:
        code: The reason word of the attempt.
    """

    code: Final = "raw_unreadable"


class SalesforceUnavailable(TransientError):  # noqa: N818
    """Salesforce did not do it: down, too slow, or answered nonsense.

    Attributes:
        code: Salesforce's `errorCode`, an HTTP status, or a word for the transport.
    """

    def __init__(
        self, text: str, *, code: str = "", retry_after_s: float | None = None
    ) -> None:
        """Keep the code beside the text."""
        super().__init__(text, retry_after_s=retry_after_s)
        self.code = code


class SalesforceDown(SalesforceUnavailable):
    """The org as a whole cannot be reached: it is paused, attempts are given back."""

    retry = Retry.PAUSE


class RecordLocked(SalesforceUnavailable):
    """Another transaction holds the row; nothing was written."""

    retry = Retry.SOON


class OrgPaused(TransientError):  # noqa: N818
    """No call to this org can succeed now: all work waits, attempts are given back.

    Attributes:
        code: Salesforce's `errorCode` or OAuth `error`.
    """

    retry = Retry.PAUSE

    def __init__(
        self, text: str, *, code: str = "", retry_after_s: float | None = None
    ) -> None:
        """Keep the code beside the sentence for the admin."""
        super().__init__(text, retry_after_s=retry_after_s)
        self.code = code


class SalesforceLimited(OrgPaused):
    """The org's API calls are used up."""


class CredentialsRefused(OrgPaused):
    """Salesforce refuses our login; an admin must act."""


class OutcomeUnknown(TransientError):  # noqa: N818
    """The request left, no usable answer came: it may have been done."""

    retry = Retry.LOOK_UP


class LeaseLost(TransientError):  # noqa: N818
    """The lease of a mail is not ours any more; nothing was changed.

    Attributes:
        mail_ids: The mails to drop: another worker may be working on them by now.
    """

    def __init__(self, mail_ids: frozenset[int]) -> None:
        """Name the mails."""
        super().__init__("another worker may hold the mail")
        self.mail_ids = mail_ids


class IllegalTransition(RelayError):  # noqa: N818
    """A state change that the tables in `core.states` do not have.

    `state` and `event` are a `State` and an `Event`. For a row of the ledger, or a
    file, both are an `ActivityState`: the one it has and the one it should have taken.
    (Their types stand in `core.states`, which raises this and may not be imported.)
    """

    def __init__(self, state: StrEnum, event: StrEnum) -> None:
        """Name the state and the event."""
        super().__init__(f"what is {state} cannot take {event}")
        self.state = state
        self.event = event


class Conflict(RelayError):  # noqa: N818
    """It is there already, or stands in the way; nothing was changed.

    Attributes:
        hint: What helps; empty: remove what is in the way.
    """

    def __init__(self, text: str = "", hint: str = "") -> None:
        """Take what is in the way, and what helps."""
        super().__init__(text)
        self.hint = hint


class NotFound(RelayError):  # noqa: N818
    """There is no such user, message, address or setting.

    Attributes:
        hint: What helps; empty: list what there is, and name one.
    """

    def __init__(self, text: str = "", hint: str = "") -> None:
        """Take what there is not, and what helps."""
        super().__init__(text)
        self.hint = hint


class ConfigError(Exception):
    """The configuration is wrong: the relay refuses to start, with exit status 2.

    The text is one line that names the key, the value and the hint.

    Attributes:
        problems: A line for each mistake, where several were found; the text tells
            the first of them, and how many more there are.
    """

    def __init__(self, text: str, problems: Sequence[str] = ()) -> None:
        """Take the line, and all lines where there are several."""
        super().__init__(text)
        self.problems = tuple(problems) or (text,)


class InvalidInput(RelayError):  # noqa: N818 - the name says what happened
    """An input does not fit.

    Attributes:
        problem: What is wrong with it.
        hint: What fits; may be empty.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        """Take the two halves of a line of the form `problem; hint`."""
        super().__init__(f"{problem}; {hint}" if hint else problem)
        self.problem = problem
        self.hint = hint


class NotAllowed(RelayError):  # noqa: N818
    """Who asks may not do this, or not to what is another's; nothing was changed.

    Attributes:
        word: `not_allowed`, or `not_yours` where it is another user's.
        hint: Who may.
    """

    def __init__(self, text: str, hint: str, *, word: str = "not_allowed") -> None:
        """Say what is not allowed, and who may."""
        super().__init__(text)
        self.hint = hint
        self.word = word


class TooOften(RelayError):  # noqa: N818
    """It was done so often lately that the next time has to wait.

    Attributes:
        wait_s: How long, in seconds.
        hint: What helps.
    """

    def __init__(self, text: str, wait_s: int, hint: str) -> None:
        """Say what was done too often, how long to wait, and what helps."""
        super().__init__(text)
        self.wait_s = wait_s
        self.hint = hint


class NeedsConfirmation(RelayError):  # noqa: N818
    """Something speaks against it, and nobody has said that it is meant so.

    Attributes:
        concerns: What speaks against it, in sentences.
        words: Their stable words, where they have some.
    """

    def __init__(self, concerns: Sequence[str], words: Sequence[str] = ()) -> None:
        """Take what speaks against it."""
        super().__init__("; ".join(concerns))
        self.concerns = tuple(concerns)
        self.words = tuple(words)


class NoSalesforce(RelayError):  # noqa: N818
    """The relay has no org, so that nothing can be asked of Salesforce."""

    hint: Final = "set salesforce.instance_url"

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the relay has no org")
