"""What the org must let us see and do, and what is said when it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from relay.config import SalesforceSettings, Settings
from relay.core.clock import SystemClock
from relay.core.directory import Directory
from relay.core.errors import StoreUnavailable
from relay.diagnose import Level, hints, org
from relay.salesforce import FieldInfo, OrgSchema
from relay.salesforce.budget import Budget


def _field(name: str, *, createable: bool = True) -> FieldInfo:
    return FieldInfo(
        name=name,
        label=name,
        type="string",
        length=255,
        createable=createable,
        updateable=True,
        filterable=True,
        nillable=True,
        defaulted=False,
        unique=False,
        external_id=False,
        restricted=False,
    )


WRITTEN = {"Task": org.TASK, "EmailMessage": org.EMAIL_MESSAGE}


def _schema(
    *, hide: tuple[str, ...] = (), lock: tuple[str, ...] = (), no: tuple[str, ...] = ()
) -> OrgSchema:
    """Return an org with everything but what is named as `Object` or `Object.Field`."""
    names = dict(org.READ)
    for name, fields in WRITTEN.items():
        names[name] = (*fields, *org.OPTIONAL[name])
    fields = {
        name: {
            field: _field(field, createable=f"{name}.{field}" not in lock)
            for field in wanted
            if f"{name}.{field}" not in hide
        }
        for name, wanted in names.items()
        if name not in hide
    }
    writable = frozenset(names) - set(no)
    return OrgSchema(fields, writable, deletables=writable)


def _results(schema: OrgSchema) -> dict[str, Level]:
    return {finding.area: finding.level for finding in org.permissions(schema)}


def test_an_open_org_is_fine() -> None:
    """With every right there is nothing to do."""
    findings = org.permissions(_schema())
    assert {finding.level for finding in findings} == {Level.OK}
    assert [finding.area for finding in findings] == [*org.READ, *WRITTEN]


@pytest.mark.parametrize("name", ["Contact", "Lead", "Opportunity"])
def test_a_hidden_object_fails_by_name(name: str) -> None:
    """What is not visible cannot be matched: a failure that names the right."""
    finding = next(f for f in org.permissions(_schema(hide=(name,))) if f.area == name)
    assert finding.level is Level.FAIL
    assert f"Read on {name}" in finding.hint


def test_a_hidden_field_is_named() -> None:
    """Field-level security hides a field as if it did not exist."""
    findings = org.permissions(_schema(hide=("Contact.Email",)))
    (failed,) = [finding for finding in findings if finding.level is Level.FAIL]
    assert failed.area == "Contact"
    assert "Email" in failed.text


def test_a_task_that_cannot_be_written_fails() -> None:
    """No right to create Tasks, or a needed field that may not be set."""
    assert _results(_schema(no=("Task",)))["Task"] is Level.FAIL
    assert _results(_schema(lock=("Task.OwnerId",)))["Task"] is Level.FAIL


def test_an_optional_field_is_a_warning() -> None:
    """Without TaskSubtype a Task says less, but it is there."""
    assert _results(_schema(lock=("Task.TaskSubtype",)))["Task"] is Level.WARN


def test_without_email_message_there_are_tasks() -> None:
    """An org without Enhanced Email works: a warning."""
    assert _results(_schema(no=("EmailMessage",)))["EmailMessage"] is Level.WARN


@pytest.mark.parametrize(
    ("usage", "result"),
    [
        (None, Level.WARN),
        ((10, 100), Level.OK),
        ((80, 100), Level.WARN),
        ((100, 100), Level.FAIL),
    ],
)
def test_spent_calls_are_told(usage: tuple[int, int] | None, result: Level) -> None:
    """Near the org's limit it is a warning, at the limit a failure."""
    budget = Budget(SalesforceSettings(), SystemClock())
    if usage:
        budget.report(*usage)
    finding = org.calls(budget)
    assert finding.level is result
    if usage:
        assert "quota" in finding.text


def test_every_reason_of_a_pause_has_a_hint() -> None:
    """Whatever pauses the org, the admin reads what to do."""
    reasons = {"credentials", "quota", "budget", "down", "access"}
    assert set(hints.PAUSE_HINTS) == reasons
    assert all(hints.PAUSE_HINTS.values())


SECTION = SalesforceSettings(key_field="")


@pytest.mark.parametrize(
    ("owners", "blind", "result", "words"),
    [
        (0, 0, Level.OK, "not proven yet"),
        (3, 0, Level.OK, "all 3 reps"),
        (3, 1, Level.FAIL, "of 1 of 3 reps"),
    ],
)
def test_what_is_said(owners: int, blind: int, result: Level, words: str) -> None:
    """Only reps whose Tasks were tried and not one was read are a failure."""
    finding = org.visible(SECTION, OrgSchema({"Task": {}}), owners, blind)
    assert (finding.level, words in finding.text) == (result, True)
    assert ("View All Data" in finding.hint) is (result is Level.FAIL)


LOCATION = SimpleNamespace(createable=True)
WHOLE = OrgSchema(
    {"ContentVersion": {"FirstPublishLocationId": LOCATION}},  # type: ignore[dict-item]
    frozenset({"ContentVersion"}),
)
BARE = OrgSchema({}, frozenset({"ContentVersion"}))


@pytest.mark.parametrize(
    ("schema", "attach", "result", "detail"),
    [
        (WHOLE, True, "ok", "attachments become Files"),
        (BARE, True, "ok", "a call of their own"),
        (OrgSchema({}), True, "warn", "may not be created"),
        (OrgSchema({}), False, "ok", "off"),
    ],
)
def test_files_are_checked(
    schema: OrgSchema, *, attach: bool, result: str, detail: str
) -> None:
    """What the org allows, and what the settings want."""
    section = SalesforceSettings(files_attach=attach)
    (found,) = (f for f in org.writing(section, schema) if f.area == "files")
    assert str(found.level) == result
    assert detail in found.text


@pytest.mark.parametrize("stored", [{}, {"match.several": "most_activity"}])
async def test_settings_of_matching_are_compared_with_the_org(
    stored: dict[str, str],
) -> None:
    """What holds now is compared: a value of the store stands before the file's."""

    class Directories:
        async def load(self) -> Directory:
            return Directory(1, {}, {}, {}, (), settings=stored)

    class Schema:
        async def get(self, *, also: tuple[str, ...] = ()) -> OrgSchema:
            del also
            return OrgSchema({"Task": {}})

    access: Any = SimpleNamespace(
        require=lambda: SimpleNamespace(directory=Directories())
    )
    asked: Any = SimpleNamespace(schema=Schema())
    found = await org.matching(Settings(), access, asked)
    said = [
        (one.area, one.level, one.text) for one in found if one.area == "match.several"
    ]
    problem = "the integration user may not read Event"
    assert said == [("match.several", Level.FAIL, problem)] * len(stored)


async def test_matching_is_not_judged_where_the_store_is_down() -> None:
    """The line says so, and leaves the cause to the lines above."""

    def broken() -> None:
        text = "no answer"
        raise StoreUnavailable(text)

    access: Any = SimpleNamespace(require=broken)
    nobody: Any = None
    (found,) = await org.matching(Settings(), access, nobody)
    assert (found.level, found.text) == (Level.WARN, "cannot be tested: no answer")
