"""The error table: complete, consistent, and read in the right order."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import MaxRetryError, NameResolutionError

import relay.sandbox
from relay.core.errors import (
    ActivityRefused,
    CredentialsRefused,
    OrgPaused,
    OutcomeUnknown,
    RecordLocked,
    RelayError,
    SalesforceDown,
    SalesforceLimited,
    SalesforceUnavailable,
)
from relay.core.retry import EFFECTS, Retry, Then
from relay.salesforce import errors
from relay.salesforce.errors import Category
from relay.salesforce.model import WriteOutcome, WriteState

ALL = (
    *errors.TABLE,
    *errors.STATUS_TABLE,
    *errors.LOGIN_TABLE,
    *errors.FOREIGN_TABLE,
)

# Reference: SOAP API Guide, "Core Data Types"; the codes that the product rules name.
D16 = """FAILED_WRITE QUERY_TIMEOUT SERVER_UNAVAILABLE UNABLE_TO_LOCK_ROW
REQUEST_LIMIT_EXCEEDED INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"""
D17 = """AUTHENTICATION_FAILURE EXPIRED_ACCESS INACTIVE_USER INACTIVE_ORGANIZATION
INVALID_GRANT"""
D18 = """API_CURRENTLY_DISABLED INSUFFICIENT_ACCESS INSUFFICIENT_ACCESS_OR_READONLY
INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY INVALID_FIELD_FOR_INSERT_UPDATE
INVALID_TYPE FIELD_CUSTOM_VALIDATION_EXCEPTION REQUIRED_FIELD_MISSING ENTITY_IS_LOCKED
TXN_SECURITY_NO_ACCESS FIELD_FILTER_VALIDATION_EXCEPTION FIELD_INTEGRITY_EXCEPTION
CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"""
OTHER = "CANNOT_UPDATE_CONVERTED_LEAD UNKNOWN_EXCEPTION"


REFERENCE = """INVALID_SESSION_ID INVALID_AUTH_HEADER REQUEST_LIMIT_EXCEEDED
UNABLE_TO_LOCK_ROW SERVER_UNAVAILABLE TEMPORARY_QUERY_MORE_FAILURE
TOO_MANY_APEX_REQUESTS INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE QUERY_TIMEOUT
REQUEST_RUNNING_TOO_LONG UNKNOWN_EXCEPTION STRING_TOO_LONG REQUIRED_FIELD_MISSING
FIELD_CUSTOM_VALIDATION_EXCEPTION CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY
CANNOT_EXECUTE_FLOW_TRIGGER FIELD_INTEGRITY_EXCEPTION INVALID_FIELD
INVALID_FIELD_FOR_INSERT_UPDATE INVALID_TYPE INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST
INVALID_EMAIL_ADDRESS MALFORMED_ID INVALID_CROSS_REFERENCE_KEY ENTITY_IS_DELETED
NOT_FOUND INSUFFICIENT_ACCESS INSUFFICIENT_ACCESS_OR_READONLY
INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY INACTIVE_OWNER_OR_USER ENTITY_IS_LOCKED
CANNOT_UPDATE_CONVERTED_LEAD DUPLICATE_VALUE DUPLICATE_EXTERNAL_ID DUPLICATES_DETECTED
STORAGE_LIMIT_EXCEEDED MALFORMED_QUERY JSON_PARSER_ERROR TXN_SECURITY_NO_ACCESS
TXN_SECURITY_METERING_ERROR TXN_SECURITY_RUNTIME_EXCEPTION API_DISABLED_FOR_ORG
ORG_LOCKED TRIAL_EXPIRED EXCEEDED_ID_LIMIT INVALID_REPLICATION_DATE
INVALID_QUERY_LOCATOR"""
STATUSES = "300 401 404 405 414 415 420 431 502 503"


def test_every_code_of_the_reference_has_a_row_of_its_own():
    """No code that Salesforce documents for our calls is left to its HTTP status."""
    assert [code for code in REFERENCE.split() if not errors.known(code)] == []
    exact = {row.code for row in errors.STATUS_TABLE}
    assert {
        s for s in STATUSES.split() if s not in exact and f"{s[0]}xx" not in exact
    } == set()


def test_every_row_says_what_happens_to_the_message():
    """The sentence is that of the row's retry rule; so is what it promises."""
    for row in (*errors.TABLE, *errors.STATUS_TABLE, *errors.LOGIN_TABLE):
        effect = EFFECTS[row.retry]
        assert row.fate.startswith(effect.sentence), row.code
        assert row.fate.endswith("looked for first") != row.wrote_nothing, row.code


def test_what_pauses_the_org_is_of_a_class_that_the_circuit_breaker_catches():
    """And no other class is: rule and class of a row never disagree."""
    pausing = (OrgPaused, SalesforceDown)
    for row in ALL:
        pauses = EFFECTS[row.retry].then is Then.GIVE_BACK
        assert issubclass(row.error, pausing) == pauses, row.code


def test_the_error_of_one_record_keeps_its_class_and_wait():
    """A record's error is as good a reason for a pause as a call's."""

    def error_of(*code_and_text, wait_s=None):
        code, text = code_and_text
        state = WriteState.RETRY
        return errors.error_of(WriteOutcome("k", state, None, code, text, (), wait_s))

    full = error_of("STORAGE_LIMIT_EXCEEDED", "storage")
    assert isinstance(full, OrgPaused)
    assert full.retry_after_s == 900
    lock = error_of("UNABLE_TO_LOCK_ROW", "", wait_s=3.0)
    assert isinstance(lock, RecordLocked)
    assert (str(lock)[:8], lock.retry_after_s) == ("Another ", 3.0)
    assert lock.retry is Retry.SOON
    assert type(error_of("NEVER_HEARD_OF", "?")) is SalesforceUnavailable
    # The caller knows that it may be tried again, whatever the table says of the code.
    later = error_of("STRING_TOO_LONG", "subject")
    assert type(later) is SalesforceUnavailable
    assert (later.code, str(later)) == ("STRING_TOO_LONG", "subject")


def test_an_error_that_an_outcome_has_is_kept():
    """The message told its meaning apart; the code alone would not."""
    lock = RecordLocked("a trigger met a lock", code="CANNOT_EXECUTE_FLOW_TRIGGER")
    outcome = WriteOutcome("k", WriteState.RETRY, code=lock.code, error=lock)
    assert errors.error_of(outcome) is lock


@pytest.mark.parametrize(
    ("codes", "category"),
    [
        (D16, Category.INTERMITTENT),
        (D17, Category.AUTHENTICATION),
        (D18, Category.ACCESS),
        (OTHER, Category.OTHER),
    ],
)
def test_the_categories_of_the_diagnostics_page_hold(codes, category):
    """Rules D16 to D18 put each of their codes into its category."""
    for code in codes.split():
        assert errors.known(code), code
        assert errors.rule(code).category is category, code


def test_every_row_has_a_sentence_and_fits_its_class():
    """A row is whole: sentence, class, and a retry rule that goes with the class."""
    for row in ALL:
        assert re.fullmatch(r"[A-Z].*\.", row.sentence), row.code
        assert row.permanent == issubclass(row.error, ActivityRefused), row.code
        if row.permanent:
            assert row.wrote_nothing, row.code


def test_no_code_stands_twice_without_a_part_of_its_message():
    """A second row of a code is told apart, and the general one comes last."""
    seen: set[str] = set()
    for table in (errors.TABLE, errors.LOGIN_TABLE, errors.FOREIGN_TABLE):
        for row in table:
            assert row.code not in seen, row.code
            if not row.contains:
                seen.add(row.code)


def test_the_code_decides_before_the_status():
    """A lock is a lock at 400 and at 500; a used-up quota is not a refusal."""
    assert errors.rule("UNABLE_TO_LOCK_ROW", 400).error is RecordLocked
    assert errors.rule("UNABLE_TO_LOCK_ROW", 500).error is RecordLocked
    assert errors.rule("REQUEST_LIMIT_EXCEEDED", 403).error is SalesforceLimited


def test_a_lock_inside_a_trigger_or_flow_is_a_lock():
    """Automation that met a lock is tried again, not given up."""
    text = "Relay: execution of AfterInsert caused by: UNABLE_TO_LOCK_ROW, unable to"
    for code in ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER"):
        assert errors.rule(code, 400, text).error is RecordLocked
        assert errors.rule(code, 400, "a bug").error is ActivityRefused


def test_the_quota_waits_long_and_the_traffic_jam_short():
    """The two meanings of REQUEST_LIMIT_EXCEEDED have different waits."""
    total = errors.rule("REQUEST_LIMIT_EXCEEDED", 403, "TotalRequests Limit exceeded.")
    jam = errors.rule("REQUEST_LIMIT_EXCEEDED", 403, "ConcurrentPerOrgLongTxn Limit")
    assert (total.retry_after_s, jam.retry_after_s) == (900, 15)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, ActivityRefused),
        (401, CredentialsRefused),
        (403, OrgPaused),
        (404, OrgPaused),
        (418, ActivityRefused),
        (429, SalesforceLimited),
        (500, SalesforceDown),
        (503, SalesforceDown),
        (599, SalesforceDown),
        (302, OrgPaused),
        (200, SalesforceUnavailable),
        (0, SalesforceUnavailable),
        (777, SalesforceUnavailable),
    ],
)
def test_without_a_known_code_the_status_decides(status, cls):
    """There is a row for every status, and for none."""
    assert errors.rule("", status).error is cls
    assert errors.rule("NEVER_HEARD_OF", status).error is cls


def test_an_unknown_login_error_pauses():
    """Nobody knocks again and again for a reason that nobody knows."""
    assert errors.login_rule("never_heard_of").error is CredentialsRefused
    assert (
        "approved"
        in errors.login_rule(
            "invalid_grant", "user hasn't approved this consumer"
        ).sentence
    )


def foreign_classes():
    """Return every exception class of the libraries below."""
    import http.client

    import jwt.exceptions
    import requests.exceptions
    import simple_salesforce.exceptions
    import urllib3.exceptions

    modules = (
        http.client,
        jwt.exceptions,
        requests.exceptions,
        simple_salesforce.exceptions,
        urllib3.exceptions,
    )
    for module in modules:
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if (
                issubclass(cls, Exception)
                and not issubclass(cls, Warning)
                and cls.__module__ == module.__name__
            ):
                yield cls


def full_name(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


@pytest.mark.parametrize(
    "cls", sorted(set(foreign_classes()), key=full_name), ids=full_name
)
def test_every_foreign_exception_is_in_the_map(cls):
    """A library that gains an exception fails here, not in production."""
    name = full_name(cls)
    family = {
        "jwt.exceptions": "jwt.exceptions.PyJWTError",
        "http.client": "http.client.HTTPException",
    }.get(cls.__module__, name)
    assert family in errors.foreign_names()
    row = errors.foreign(cls.__new__(cls))
    if cls.__module__ != "http.client":  # some of those are OSErrors first
        assert row.code in {name, family}


def test_no_row_names_an_exception_that_is_gone():
    """A renamed exception leaves no dead row behind."""
    import importlib

    for name in errors.foreign_names():
        module, _, cls = name.rpartition(".")
        assert hasattr(importlib.import_module(module), cls), name


def test_what_nobody_foresaw_is_unavailable_and_uncertain():
    """An exception of any other kind is transient and may have written."""
    row = errors.foreign(ZeroDivisionError())
    assert row.error is SalesforceUnavailable
    assert not row.wrote_nothing


def test_the_reason_that_requests_wraps_decides():
    """A name that DNS does not know is no broken connection: nothing has left."""
    reason = NameResolutionError("org.example", None, OSError("unknown"))
    wrapping = MaxRetryError(None, "/", reason)
    row = errors.foreign(requests.exceptions.ConnectionError(wrapping))
    assert "resolved" in row.sentence
    assert row.wrote_nothing
    assert not errors.foreign(requests.exceptions.ConnectionError("odd")).wrote_nothing


def test_every_error_can_be_built():
    """Each row gives an error with its code, wait and text."""
    for row in (*errors.TABLE, *errors.LOGIN_TABLE, *errors.STATUS_TABLE):
        error = errors.build(row, row.code, "text")
        assert isinstance(error, RelayError)
        assert str(error) == "text"
        assert getattr(error, "code", row.code) == row.code
        assert error.retry is row.retry


NO_CODES = re.compile(
    "(CALENDAR|FISCAL|DAY|HOUR|WEEK|LAST|VALUE|START|CLIENT)_.*"
    "|COUNT_DISTINCT|DEFAULT_VERSION|EXCEL_X|WORD_X|INTEGRATION_USERNAME"
)
"""Words of the sandbox that look like an `errorCode` and are none."""


def sandbox_words():
    """Yield every string of the sandbox's code that may be an `errorCode`."""
    for file in Path(relay.sandbox.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            word = node.value if isinstance(node, ast.Constant) else None
            if isinstance(word, str) and re.fullmatch(r"[A-Z]{3,}(_[A-Z]+)+", word):
                yield word


def test_the_sandbox_answers_no_code_that_the_table_does_not_know():
    """What the strict stand-in can say, however it comes to say it, is understood."""
    said = {word for word in sandbox_words() if not NO_CODES.fullmatch(word)}
    assert len(said) > 40
    assert {code for code in said if not errors.known(code)} == set()
    pages = [f.read_text() for f in Path(relay.sandbox.__path__[0]).rglob("*.py")]
    logins = set(re.findall(r"OAuthError\(\s*\"([a-z_]+)\"", "\n".join(pages)))
    assert logins
    assert {e for e in logins if errors.login_rule(e).code != e} == set()


# ------------------------------------------------------------ answers


WORDS = st.sampled_from(["errorCode", "message", "fields", "statusCode", "errors"])
"""Names that the relay looks for; few answers made at random would have one."""
TEXT = WORDS | st.text(max_size=5)
PLAIN = st.none() | st.booleans() | st.floats() | TEXT
JSON = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2)
    ),
    max_leaves=4,
)
ERROR = st.dictionaries(TEXT, PLAIN | st.lists(PLAIN, max_size=2), max_size=4)


def said(code, message="", **more):
    return [{"errorCode": code, "message": message, **more}]


@given(st.integers(0, 700), JSON | st.lists(ERROR, max_size=2))
def test_any_answer_gives_a_failure(status, content):
    """No content of an answer raises anything here."""
    failed = errors.failure(status, content)
    errors.error_for(failed, doing="x")


@pytest.mark.parametrize(
    "content",
    [None, "", "<html>", {}, {"errorCode": "X"}, [1], [{}], [{"errorCode": 7}], []],
)
def test_what_is_no_error_list_is_not_well_formed(content):
    """Only Salesforce's own form says that nothing was written."""
    failed = errors.failure(400, content)
    assert not failed.well_formed
    assert failed.code == "HTTP_400"
    assert failed.certain == failed.rule.wrote_nothing


def test_requests_and_records_name_their_code_differently():
    """`errorCode` of a request and `statusCode` of a record are the same thing."""
    record = [{"statusCode": "STRING_TOO_LONG", "message": "m", "fields": ["Subject"]}]
    failed = errors.failure(400, record)
    assert (failed.code, failed.fields) == ("STRING_TOO_LONG", ("Subject",))
    assert errors.failure(400, said("STRING_TOO_LONG")).code == "STRING_TOO_LONG"


def test_of_several_errors_the_lasting_one_decides():
    """A record that is locked and invalid is invalid."""
    both = [*said("UNABLE_TO_LOCK_ROW"), *said("REQUIRED_FIELD_MISSING")]
    assert errors.failure(400, both).code == "REQUIRED_FIELD_MISSING"
    assert errors.failure(400, both[::-1]).code == "REQUIRED_FIELD_MISSING"


def test_the_admin_reads_the_message_without_addresses():
    """Ids and names stay, addresses and tokens go."""
    text = errors.masked(
        "Email: invalid email address: Jane.Doe+x@sub.acme.example\n"
        " on 003000000000001AAA by <bob@x.example>; token eyJ" + "a" * 90
    )
    assert "003000000000001AAA" in text
    assert "(address)" in text
    for secret in ("Jane", "acme", "bob", "aaaa", "\n"):
        assert secret not in text


def test_a_log_reads_no_quoted_value():
    """Quoted values go too, also where the quote is not closed."""
    text = errors.redacted("value 'secret one' and \"two\" near 'thr")
    for secret in ("secret", "two", "thr"):
        assert secret not in text


def test_a_message_about_a_query_is_dropped():
    """The text of a query holds halves of addresses that no mask knows."""
    failed = errors.failure(400, said("MALFORMED_QUERY", "Email IN ('jane.d\n ^"))
    assert failed.text == ""


def test_long_messages_are_cut():
    """A message of any length stays readable."""
    assert len(errors.masked("a b " * 5000)) <= 500


def test_errors_carry_code_and_wait():
    """The worker reads code and wait from the error."""
    failed = errors.failure(403, said("REQUEST_LIMIT_EXCEEDED", "TotalRequests"))
    error = errors.error_for(failed, doing="write")
    assert isinstance(error, SalesforceLimited)
    assert (error.code, error.retry_after_s) == ("REQUEST_LIMIT_EXCEEDED", 900)
    refused = errors.error_for(
        errors.failure(400, said("FIELD_INTEGRITY_EXCEPTION", "no")), doing="write"
    )
    assert isinstance(refused, ActivityRefused)
    assert refused.code == "FIELD_INTEGRITY_EXCEPTION"


def test_an_unknown_outcome_can_be_built():
    """The class of unknown outcomes has no code and is built all the same."""
    row = errors.Rule("x", OutcomeUnknown, Retry.LOOK_UP, errors.Category.OTHER, "S.")
    assert isinstance(errors.build(row, "x", "text"), OutcomeUnknown)


@pytest.mark.parametrize("row", ALL)
def test_every_row_has_a_meaning_and_a_remedy(row: errors.Rule) -> None:
    """One sentence is shown in two halves, or with what the relay does by itself."""
    for text in (row.meaning, row.remedy):
        assert text[0].isupper()
        assert text.endswith(".")
        assert len(text) > 6
        assert ";" not in row.meaning


@pytest.mark.parametrize(
    ("reason", "detail", "code"),
    [
        ("ENTITY_IS_LOCKED", "", "ENTITY_IS_LOCKED"),
        ("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn", "REQUEST_LIMIT_EXCEEDED"),
        ("invalid_client", "", "invalid_client"),
        ("HTTP_503", "", "5xx"),
        ("HTTP_429", "", "429"),
        ("no_answer", "", "xxx"),
        ("requests.exceptions.SSLError", "", "requests.exceptions.SSLError"),
    ],
)
def test_the_reason_of_an_attempt_finds_its_row(
    reason: str, detail: str, code: str
) -> None:
    """Whatever Salesforce, its login or the way to it was the reason."""
    row = errors.rule_of_reason(reason, detail)
    assert row is not None
    assert row.code == code
    assert bool(row.contains) == bool(detail)


@pytest.mark.parametrize("reason", ["", "loop", "no_record", "HTTP_", "HTTP_9999"])
def test_other_reasons_have_no_row(reason: str) -> None:
    """They are not Salesforce's."""
    assert errors.rule_of_reason(reason) is None
