"""Answers are read whatever they are, and give nothing personal away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import ActivityRefused, OutcomeUnknown, SalesforceLimited
from relay.salesforce import answers, errors

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def said(code, message="", **more):
    return [{"errorCode": code, "message": message, **more}]


@given(st.integers(0, 700), JSON | st.lists(st.dictionaries(st.text(), JSON)))
def test_any_answer_gives_a_failure(status, content):
    """No content of an answer raises anything here."""
    failed = answers.failure(status, content)
    answers.error_for(failed, doing="x")


@pytest.mark.parametrize(
    "content",
    [None, "", "<html>", {}, {"errorCode": "X"}, [1], [{}], [{"errorCode": 7}], []],
)
def test_what_is_no_error_list_is_not_well_formed(content):
    """Only Salesforce's own form says that nothing was written."""
    failed = answers.failure(400, content)
    assert not failed.well_formed
    assert failed.code == "HTTP_400"


def test_requests_and_records_name_their_code_differently():
    """`errorCode` of a request and `statusCode` of a record are the same thing."""
    record = [{"statusCode": "STRING_TOO_LONG", "message": "m", "fields": ["Subject"]}]
    failed = answers.failure(400, record)
    assert (failed.code, failed.fields) == ("STRING_TOO_LONG", ("Subject",))
    assert answers.failure(400, said("STRING_TOO_LONG")).code == "STRING_TOO_LONG"


def test_of_several_errors_the_lasting_one_decides():
    """A record that is locked and invalid is invalid."""
    both = [*said("UNABLE_TO_LOCK_ROW"), *said("REQUIRED_FIELD_MISSING")]
    assert answers.failure(400, both).code == "REQUIRED_FIELD_MISSING"
    assert answers.failure(400, both[::-1]).code == "REQUIRED_FIELD_MISSING"


def test_the_admin_reads_the_message_without_addresses():
    """Ids and names stay, addresses and tokens go."""
    text = answers.masked(
        "Email: invalid email address: Jane.Doe+x@sub.acme.example\n"
        " on 003000000000001AAA by <bob@x.example>; token eyJ" + "a" * 90
    )
    assert "003000000000001AAA" in text
    assert "(address)" in text
    for secret in ("Jane", "acme", "bob", "aaaa", "\n"):
        assert secret not in text


def test_a_log_reads_no_quoted_value():
    """Quoted values go too, also where the quote is not closed."""
    text = answers.redacted("value 'secret one' and \"two\" near 'thr")
    for secret in ("secret", "two", "thr"):
        assert secret not in text


def test_a_message_about_a_query_is_dropped():
    """The text of a query holds halves of addresses that no mask knows."""
    failed = answers.failure(400, said("MALFORMED_QUERY", "Email IN ('jane.d\n ^"))
    assert failed.text == ""


def test_long_messages_are_cut():
    """A message of any length stays readable."""
    assert len(answers.masked("a b " * 5000)) <= 500


def test_errors_carry_code_and_wait():
    """The worker reads code and wait from the error."""
    failed = answers.failure(403, said("REQUEST_LIMIT_EXCEEDED", "TotalRequests"))
    error = answers.error_for(failed, doing="write")
    assert isinstance(error, SalesforceLimited)
    assert (error.code, error.retry_after_s) == ("REQUEST_LIMIT_EXCEEDED", 900)
    refused = answers.error_for(
        answers.failure(400, said("FIELD_INTEGRITY_EXCEPTION", "no")), doing="write"
    )
    assert isinstance(refused, ActivityRefused)
    assert refused.code == "FIELD_INTEGRITY_EXCEPTION"


def test_an_unknown_outcome_can_be_built():
    """The class of unknown outcomes has no code and is built all the same."""
    row = errors.Rule(
        "x", OutcomeUnknown, errors.Retry.LOOK_UP, errors.Category.OTHER, "S."
    )
    assert isinstance(answers.build(row, "x", "text"), OutcomeUnknown)
