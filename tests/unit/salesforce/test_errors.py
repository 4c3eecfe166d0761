"""The error table: complete, consistent, and read in the right order."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import relay.sandbox
from relay.core.errors import (
    ActivityRefused,
    CredentialsRefused,
    OrgPaused,
    RecordLocked,
    RelayError,
    SalesforceLimited,
    SalesforceUnavailable,
)
from relay.salesforce import answers, errors
from relay.salesforce.errors import Category, Retry

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
    rules = (
        *errors.TABLE,
        *errors.STATUS_TABLE,
        *errors.LOGIN_TABLE,
        *errors.FOREIGN_TABLE,
    )
    for row in rules:
        assert re.fullmatch(r"[A-Z].*\.", row.sentence), row.code
        assert row.permanent == issubclass(row.error, ActivityRefused), row.code
        if row.retry is Retry.PAUSE:
            assert issubclass(row.error, OrgPaused), row.code
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
        (500, SalesforceUnavailable),
        (503, SalesforceUnavailable),
        (599, SalesforceUnavailable),
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


def test_every_error_can_be_built():
    """Each row gives an error with its code, wait and text."""
    for row in (*errors.TABLE, *errors.LOGIN_TABLE, *errors.STATUS_TABLE):
        error = answers.build(row, row.code, "text")
        assert isinstance(error, RelayError)
        assert str(error) == "text"
        assert getattr(error, "code", row.code) == row.code


def test_the_sandbox_answers_no_code_that_the_table_does_not_know():
    """What the strict stand-in can say, the relay understands."""
    from relay.sandbox.errors import STATUS

    pages = [f.read_text() for f in Path(relay.sandbox.__path__[0]).rglob("*.py")]
    source = "\n".join(pages)
    said = {
        *STATUS,
        *re.findall(r"(?:Sandbox|SOQL)Error\(\s*\"([A-Z][A-Z_]+)\"", source),
    }
    assert {code for code in said if not errors.known(code)} == set()
    logins = set(re.findall(r"OAuthError\(\s*\"([a-z_]+)\"", source))
    assert logins
    assert {e for e in logins if errors.login_rule(e).code != e} == set()
