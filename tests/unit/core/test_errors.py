"""The error tree: what is permanent, what is transient, and what each carries."""

from __future__ import annotations

import inspect

import pytest

from relay.core import errors
from relay.core.errors import (
    ActivityRefused,
    ConfigError,
    CredentialsRefused,
    IllegalTransition,
    InvalidInput,
    LeaseLost,
    MessageRejected,
    NeedsConfirmation,
    NoSalesforce,
    NotAllowed,
    NotFound,
    OrgPaused,
    OutcomeUnknown,
    PermanentError,
    RecordLocked,
    RelayError,
    SalesforceLimited,
    SalesforceUnavailable,
    StoreFull,
    StoreUnavailable,
    TransientError,
    UnparsableMessage,
)
from relay.core.states import Event, State

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, Exception)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_is_drawn_in_the_tree(kind: type[Exception]) -> None:
    """The module opens with a tree that names each class."""
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__


@pytest.mark.parametrize("kind", CLASSES)
def test_no_error_is_permanent_and_transient(kind: type[Exception]) -> None:
    """The two branches share nothing, so that a handler cannot take both."""
    assert not (issubclass(kind, PermanentError) and issubclass(kind, TransientError))
    assert issubclass(kind, RelayError) is (kind is not ConfigError)


def test_a_rejection_carries_its_reply() -> None:
    """A refused mail knows reply code, enhanced code, text and reason."""
    error = MessageRejected(550, "5.7.1", "Not from this address.", "sender")
    assert str(error) == "550 5.7.1 Not from this address."
    assert (error.code, error.enhanced) == (550, "5.7.1")
    assert (error.text, error.reason) == ("Not from this address.", "sender")
    assert isinstance(error, PermanentError)


def test_salesforce_codes_are_kept() -> None:
    """The code of Salesforce stays beside the text, for the error table."""
    assert (
        ActivityRefused("REQUIRED_FIELD_MISSING", "x").code == "REQUIRED_FIELD_MISSING"
    )
    locked = RecordLocked("x", code="UNABLE_TO_LOCK_ROW", retry_after_s=3)
    assert (locked.code, locked.retry_after_s) == ("UNABLE_TO_LOCK_ROW", 3)
    assert isinstance(locked, SalesforceUnavailable)
    limited = SalesforceLimited("x", code="REQUEST_LIMIT_EXCEEDED", retry_after_s=60)
    assert (limited.code, limited.retry_after_s) == ("REQUEST_LIMIT_EXCEEDED", 60)
    assert issubclass(CredentialsRefused, OrgPaused)
    assert not issubclass(SalesforceUnavailable, OrgPaused)


def test_transient_errors_may_say_when() -> None:
    """`retry_after_s` is None unless the other side said so."""
    assert TransientError("x").retry_after_s is None
    assert OutcomeUnknown("x", retry_after_s=2.5).retry_after_s == 2.5
    assert isinstance(StoreFull("x"), StoreUnavailable)
    assert issubclass(UnparsableMessage, PermanentError)
    assert issubclass(NotFound, RelayError)


def test_an_illegal_change_names_state_and_event() -> None:
    """The text says what was tried on what."""
    error = IllegalTransition(State.DISCARDED, Event.REQUEUE)
    assert (error.state, error.event) == (State.DISCARDED, Event.REQUEUE)
    assert "discarded" in str(error)
    assert "requeue" in str(error)


def test_a_wrong_configuration_holds_every_line() -> None:
    """One mistake is its own text; of several, the text is the first."""
    assert ConfigError("one").problems == ("one",)
    several = ConfigError("one, and 1 more", ["one", "two"])
    assert (str(several), several.problems) == ("one, and 1 more", ("one", "two"))


def test_a_lost_lease_names_the_mails() -> None:
    """The worker is told which mails to drop; it may succeed later elsewhere."""
    error = LeaseLost(frozenset({1, 2}))
    assert error.mail_ids == {1, 2}
    assert isinstance(error, TransientError)


def test_an_invalid_input_says_what_is_wrong_and_what_fits() -> None:
    """One line for people, and both halves for whoever shows them apart."""
    error = InvalidInput("no time span", "write 10m")
    assert (str(error), error.problem, error.hint) == (
        "no time span; write 10m", "no time span", "write 10m",
    )  # fmt: skip
    assert str(InvalidInput("no time span")) == "no time span"


def test_what_is_not_done_says_why() -> None:
    """Who may, what speaks against it, and which setting is missing."""
    refused = NotAllowed("this is another user's", "an admin may", word="not_yours")
    assert (refused.word, refused.hint) == ("not_yours", "an admin may")
    assert NotAllowed("no", "").word == "not_allowed"
    asked = NeedsConfirmation(["one", "two"], ["a", "b"])
    assert (str(asked), asked.words) == ("one; two", ("a", "b"))
    assert asked.concerns == ("one", "two")
    assert "instance_url" in NoSalesforce().hint
