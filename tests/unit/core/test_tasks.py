"""Reminders and Tasks: what a value means on the other side, and merging."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from relay.core import tasks
from relay.core.org import FieldInfo, OrgSchema
from relay.core.reminders import Priority, Reminder, Status
from relay.core.tasks import (
    LEFT,
    Agreed,
    Brake,
    Clash,
    NewTask,
    Policy,
    Side,
    Task,
    TaskNames,
)

NAMES = TaskNames()
T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
HERE = {
    "name": "Call Mara",
    "details": "About the offer",
    "due": "2026-03-05",
    "priority": "Normal",
    "status": "Open",
}
THERE = {
    "Subject": "Call Mara",
    "Description": "About the offer",
    "ActivityDate": "2026-03-05",
    "Priority": "Normal",
    "Status": "Not Started",
}
AGREED = Agreed(HERE, THERE)
CONTACT = "0035g00000AbCdEAAV"
LEAD = "00Q5g00000AbCdEEAV"
DEAL = "0065g00000AbCdEAAV"


def task(**values):
    return Task("00T1", "0051", T0, {**THERE, **values})


def merged(here=(), there=(), agreed=AGREED, wins=Side.HERE, **more):
    return tasks.merge(
        {**HERE, **dict(here)}, task(**dict(there)), agreed, NAMES, wins, **more
    )


@pytest.mark.parametrize(
    ("fields", "before", "lost"),
    [
        ({"ActivityDate": "2026-03-09"}, {"ActivityDate": "2026-03-05"}, []),
        ({"ActivityDate": "2026-03-09"}, {"ActivityDate": "2026-03-09"}, []),
        ({"ActivityDate": "2026-03-09"}, {}, []),
        ({"ActivityDate": "2026-03-09"}, {"Priority": "High"}, []),
        ({"Status": "Completed"}, {"Status": "In Progress"}, []),
        ({"Subject": "Mine"}, {"Subject": "Call Mara"}, []),
        (
            {"ActivityDate": "2026-03-09"},
            {"ActivityDate": "2026-04-01"},
            [Clash("due", "2026-03-05", "2026-04-01", Side.HERE)],
        ),
        (
            {"Subject": "Mine"},
            {"Subject": "Theirs"},
            [Clash("name", "Call Mara", "Theirs", Side.HERE)],
        ),
    ],
)
def test_what_is_written_over_unseen(fields, before, lost):
    """A value that nobody had read; not an echo, nor one that means nothing here."""
    found = tasks.overwritten(HERE, fields, before, AGREED, NAMES)
    assert list(found) == lost


def test_what_is_written_over_from_a_word_without_meaning():
    """The value before meant nothing, the one that was lost did."""
    agreed = Agreed(HERE, {**THERE, "Status": "Deferred"})
    found = tasks.overwritten(
        *(HERE, {"Status": "Not Started"}, {"Status": "Completed"}, agreed, NAMES)
    )
    assert found == (Clash("status", "Open", "Complete", Side.HERE),)


def reminder(**values):
    fields = {
        "name": "Call Mara",
        "details": "About the offer",
        "due": date(2026, 3, 5),
    }
    return Reminder("01J", 1, 1, **{**fields, **values})


# ------------------------------------------------------------------ mapping


@pytest.mark.parametrize(
    ("rule", "name", "there", "here"),
    [
        ("R29", "status", "Not Started", "Open"),
        ("R29", "status", "Completed", "Complete"),
        ("R30", "status", "In Progress", LEFT),
        ("R30", "status", "Deferred", LEFT),
        ("R31", "priority", "Normal", "Normal"),
        ("R31", "priority", "High", "High"),
        ("R32", "priority", "Low", LEFT),
        ("R34", "name", "Whatever", LEFT),
        ("R35", "due", "2026-03-05", "2026-03-05"),
        ("R35", "due", None, None),
        ("R36", "details", " a\r\nb ", "a\nb"),
        ("R36", "details", None, ""),
        ("R36", "details", "a\n\nrelay-key: reminder-0123", "a"),
    ],
)
def test_what_a_value_of_a_task_means(rule, name, there, here):
    """Each rule of the mapping, from Salesforce to here."""
    assert tasks.inward(name, there, NAMES) == here, rule


@pytest.mark.parametrize(
    ("rule", "edit", "there", "fields"),
    [
        ("R29", {"status": "Complete"}, {}, {"Status": "Completed"}),
        (
            "R29",
            {"status": "Complete"},
            {"Status": "Deferred"},
            {"Status": "Completed"},
        ),
        ("R31", {"priority": "High"}, {}, {"Priority": "High"}),
        ("R32", {"priority": "High"}, {"Priority": "Low"}, {"Priority": "High"}),
        ("R32", {"due": None}, {"Priority": "Low"}, {"ActivityDate": None}),
        ("R30", {"due": None}, {"Status": "Deferred"}, {"ActivityDate": None}),
        ("R33", {"name": "Write"}, {}, {"Subject": "[R] Write"}),
        ("R35", {"due": "2026-03-06"}, {}, {"ActivityDate": "2026-03-06"}),
        ("R36", {"details": "\0x \n"}, {}, {"Description": "x"}),
        ("R36", {"details": ""}, {}, {"Description": None}),
        ("R36", {"details": "About the offer \r\n"}, {}, {}),
    ],
)
def test_what_an_edit_becomes_in_the_task(rule, edit, there, fields):
    """Each rule of the mapping, from here to Salesforce; nothing else is written."""
    agreed = Agreed(HERE, {**THERE, **there})
    found = tasks.outward({**HERE, **edit}, agreed, NAMES, "[R] Write")
    assert found == fields, rule


def test_a_reopened_reminder_leaves_an_open_task_as_it_is():
    """R30: a status without counterpart is not overwritten; a closed one is opened."""
    done = {**HERE, "status": "Complete"}
    for status, fields in (
        ("In Progress", {}),
        ("Completed", {"Status": "Not Started"}),
    ):
        agreed = Agreed(done, {**THERE, "Status": status})
        assert tasks.outward(HERE, agreed, NAMES) == fields


def test_a_name_stays_here_where_the_subject_does_not_follow_it():
    """R33: without the field in the template a Subject is never written again."""
    here = {**HERE, "name": "Write"}
    assert tasks.outward(here, AGREED, NAMES) == {}
    assert tasks.sent(here, AGREED, {}, NAMES).here["name"] == "Write"


def test_an_org_that_calls_its_statuses_otherwise():
    """The two names count; without them TaskStatus.IsClosed does."""

    def schema(closed, still, priorities=("High", "Normal")):
        def field(name, *values, length=0):
            flags = (True, name != "Type", True, True, False, False, False, False)
            return FieldInfo(name, name, "picklist", length, *flags, values)

        fields = [field("Priority", *priorities), field("Type")]
        fields.append(field("Description", length=500))
        return OrgSchema(
            {"Task": {each.name: each for each in fields}},
            closed_statuses=closed,
            open_statuses=still,
        )

    names = tasks.names_of(schema(("Aborted", "Completed"), ("New", "Not Started")))
    assert (names.open, names.complete) == ("Not Started", "Completed")
    assert names.closed == {"Aborted", "Completed"}
    assert names.length == 500
    assert names.priorities == {"High", "Normal"}
    assert "Type" in names.createable
    assert "Type" not in names.updateable
    assert names.unsynced == ("name", "due", "status")
    names = tasks.names_of(schema(("Erledigt", "Hinfällig"), ("Offen", "Wartet")))
    assert (names.open, names.complete) == ("Offen", "Erledigt")
    bare = tasks.names_of(OrgSchema({}))
    assert (bare.open, bare.complete, bare.closed) == (
        *("Not Started", "Completed"),
        {"Completed"},
    )
    assert bare.priorities == frozenset()


def test_a_priority_that_the_org_does_not_have_is_left_out():
    """A picklist without the value would refuse the whole Task."""
    names = TaskNames(priorities=frozenset({"P1", "Normal"}))
    high = {**HERE, "priority": "High"}
    assert tasks.outward(high, AGREED, names) == {}
    new = NewTask("0051", "S", "k")
    fields, _ = tasks.new_fields(reminder(priority=Priority.HIGH), new, names)
    assert "Priority" not in fields


# ------------------------------------------------------------------ merging


def test_nothing_changed_is_no_change():
    """An echo of what was agreed changes nothing, whatever its stamp."""
    found = merged()
    assert (found.take, found.clashes, found.agreed) == ({}, (), AGREED)


def test_edits_of_different_fields_are_both_kept():
    """Field by field: what was edited there comes here, what was edited here waits."""
    found = merged({"due": "2026-03-09"}, {"Priority": "High"})
    assert found.take == {"priority": "High"}
    assert not found.clashes
    assert found.agreed.here == {**HERE, "priority": "High"}
    here = {**HERE, "due": "2026-03-09", "priority": "High"}
    assert tasks.outward(here, found.agreed, NAMES) == {"ActivityDate": "2026-03-09"}


@pytest.mark.parametrize("wins", Side)
def test_the_same_field_edited_on_both_sides_is_a_clash(wins):
    """One wins; both values are kept."""
    found = merged({"due": "2026-03-09"}, {"ActivityDate": "2026-03-07"}, wins=wins)
    assert found.clashes == (Clash("due", "2026-03-09", "2026-03-07", wins),)
    here = {**HERE, "due": "2026-03-09"}
    if wins is Side.HERE:
        assert found.take == {}
        fields = tasks.outward(here, found.agreed, NAMES)
        assert fields == {"ActivityDate": "2026-03-09"}
    else:
        assert found.take == {"due": "2026-03-07"}
        assert tasks.outward(here | found.take, found.agreed, NAMES) == {}


def test_the_same_edit_on_both_sides_is_none():
    """A write of ours whose answer was lost comes back as an edit to the same value."""
    found = merged({"due": None}, {"ActivityDate": None})
    assert (found.take, found.clashes) == ({}, ())
    assert found.agreed == Agreed(
        {**HERE, "due": None}, {**THERE, "ActivityDate": None}
    )


def test_a_value_that_means_nothing_is_left_alone():
    """R30, R32: it comes and goes; only what it becomes again may count."""
    for name, column, odd, again in (
        ("status", "Status", "Deferred", "Completed"),
        ("priority", "Priority", "Low", "High"),
    ):
        found = merged(there={column: odd})
        assert (found.take, found.clashes) == ({}, ())
        assert found.agreed.there[column] == odd
        later = merged(there={column: again}, agreed=found.agreed)
        assert later.take == {name: tasks.inward(name, again, NAMES)}
        back = merged(there={column: THERE[column]}, agreed=found.agreed)
        assert back.take == {}


def test_a_completion_here_beats_a_status_that_means_nothing():
    """R29: a completion sets Completed, also where the Task was put off meanwhile."""
    found = merged({"status": "Complete"}, {"Status": "Deferred"}, wins=Side.SALESFORCE)
    assert (found.take, found.clashes) == ({}, ())
    here = {**HERE, "status": "Complete"}
    assert tasks.outward(here, found.agreed, NAMES) == {"Status": "Completed"}


@pytest.mark.parametrize("wins", Side)
def test_a_subject_is_never_taken_and_may_clash(wins):
    """R34; a Subject that was changed there is overwritten by a clash alone (R33)."""
    there = {"Subject": "By hand"}
    assert merged(there=there).take == {}
    assert merged({"name": "Write"}, there).clashes == ()
    found = merged({"name": "Write"}, there, wins=wins, subject="Write")
    assert found.take == {}
    assert found.clashes == (Clash("name", "Write", "By hand", wins),)
    fields = tasks.outward({**HERE, "name": "Write"}, found.agreed, NAMES, "Write")
    assert fields == ({"Subject": "Write"} if wins is Side.HERE else {})
    echo = merged({"name": "Write"}, {"Subject": "Write"}, subject="Write")
    assert echo.clashes == ()


def test_a_hidden_field_is_neither_taken_nor_sent():
    """What was edited meanwhile is merged once the field can be seen again."""
    there = {key: value for key, value in THERE.items() if key != "Description"}
    here = {**HERE, "details": "More"}
    hidden = TaskNames(
        readable=frozenset(there), updateable=NAMES.updateable, createable=frozenset()
    )
    found = tasks.merge(
        here, Task("00T1", "0051", T0, there), AGREED, hidden, Side.HERE
    )
    assert (found.take, found.agreed) == ({}, AGREED)
    assert tasks.outward(here, AGREED, hidden) == {}
    after = tasks.sent(here, AGREED, {}, hidden)
    assert after == AGREED
    assert hidden.unsynced == ("details",)
    seen = merged(here, {"Description": "Other"}, agreed=after)
    assert [one.field for one in seen.clashes] == ["details"]


def test_edits_and_moves_since():
    """What a deletion on the other side would lose."""
    assert tasks.edits({**HERE, "due": None}, AGREED) == {"due": None}
    assert tasks.moves(task(Status="Deferred"), AGREED) == {"Status": "Deferred"}


def test_who_wins():
    """By time, a tie to Salesforce; or as it is set."""
    later = T0 + timedelta(seconds=1)
    assert tasks.winner(Policy.LATER, later, T0) is Side.HERE
    assert tasks.winner(Policy.LATER, T0, T0) is Side.SALESFORCE
    assert tasks.winner(Policy.HERE, T0, later) is Side.HERE
    assert tasks.winner(Policy.SALESFORCE, later, T0) is Side.SALESFORCE


# ------------------------------------------------------------------ new ones


def test_a_new_task_carries_its_key_once():
    """In the unique field, or else in the last line of the Description."""
    key = tasks.task_key("01J")
    assert len(key) == 40
    assert tasks.is_reminder_key(key)
    assert not tasks.is_reminder_key("0" * 40)
    assert tasks.task_key("01J", 2) != key
    names = TaskNames(createable=NAMES.createable | {"OwnerId", "WhoId", "WhatId"})
    fields, agreed = tasks.new_fields(
        reminder(person=CONTACT, record=DEAL),
        NewTask("0051", "", key, extra={"Custom__c": 1, "Subject": "x"}),
        names,
    )
    assert fields == {
        "Subject": "Call Mara",
        "Description": f"About the offer\n\nrelay-key: {key}",
        "ActivityDate": "2026-03-05",
        "Priority": "Normal",
        "Status": "Not Started",
        "OwnerId": "0051",
        "WhoId": CONTACT,
        "WhatId": DEAL,
        "Custom__c": 1,
    }
    assert tasks.key_of(fields["Description"]) == key
    assert agreed.here == HERE
    assert merged(there=fields, agreed=agreed).take == {}
    fields, _ = tasks.new_fields(
        reminder(details="", due=None, status=Status.COMPLETE),
        NewTask("0051", "[R] Call", key, "Relay_Key__c"),
        names,
    )
    assert fields == {
        "Subject": "[R] Call",
        "Priority": "Normal",
        "Status": "Completed",
        "OwnerId": "0051",
        "Relay_Key__c": key,
    }


@pytest.mark.parametrize(
    ("person", "record", "who", "what"),
    [
        (LEAD, DEAL, LEAD, None),
        ("mara@acme.example", DEAL, None, DEAL),
        ("", LEAD, LEAD, None),
        ("", CONTACT, CONTACT, None),
        (DEAL, "", None, None),
    ],
)
def test_a_lead_and_a_record_do_not_go_together(person, record, who, what):
    """Salesforce refuses a Task that names both; the Lead stays."""
    names = TaskNames(createable=frozenset({"WhoId", "WhatId"}))
    one = reminder(person=person, record=record)
    fields, _ = tasks.new_fields(one, NewTask("0051", "S", "k"), names)
    assert (fields.get("WhoId"), fields.get("WhatId")) == (who, what)


def test_details_leave_room_for_the_key():
    """A Description that is too long would be refused; characters may count twice."""
    names = TaskNames(length=100)
    one = reminder(details="😀" * 90)
    fields, _ = tasks.new_fields(one, NewTask("0051", "S", "k" * 40), names)
    assert tasks.key_of(fields["Description"]) == "k" * 40
    assert len(fields["Description"].encode("utf-16-le")) // 2 <= 100
    assert tasks.plain("a" * 60, 100) == "a" * 60


def test_an_imported_task_becomes_a_reminder():
    """R26, R34: the Subject is the name once; what means nothing gets some value."""
    here, agreed = tasks.imported(task(), NAMES)
    assert (here, agreed) == (HERE, AGREED)
    odd = Task(
        "00T1",
        "0051",
        T0,
        {"Subject": " ", "Status": "Cancelled", "Priority": "Low"},
        is_closed=True,
    )
    here, agreed = tasks.imported(odd, NAMES)
    assert here == {
        "name": "(no subject)",
        "details": "",
        "due": None,
        "priority": "Normal",
        "status": "Complete",
    }
    fields = tasks.outward({**here, "due": "2026-03-05"}, agreed, NAMES)
    assert fields == {"ActivityDate": "2026-03-05"}
    still = tasks.imported(task(Status="In Progress"), NAMES)[0]
    assert still["status"] == "Open"


def test_values_of_a_reminder():
    """A day is written as JSON writes it."""
    assert tasks.values_of(reminder()) == HERE


# ------------------------------------------------------------------ the brake


@pytest.mark.parametrize(
    ("deletions", "living", "holds"),
    [(20, 1000, False), (21, 1000, True), (5, 5, False), (6, 59, True), (6, 60, False)],
)
def test_the_brake(deletions, living, holds):
    """More than 20, or more than 10 % of what is no handful."""
    assert Brake().holds(deletions, living) is holds
