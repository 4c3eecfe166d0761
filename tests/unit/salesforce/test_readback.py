"""Read-backs find what is ours, and only that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.activity import KEY_LINE
from relay.salesforce import readback, soql

KEY = "ab12" * 10
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def row(number=1, **more):
    return {
        "Id": f"0050000000000{number:02d}",
        "IsDeleted": False,
        "CreatedDate": f"2026-03-04T12:00:{number:02d}.000+0000",
        "CreatedById": "005000000000001AAA",
        **more,
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"Hello\n\nrelay-key: {KEY}", KEY),
        (f"relay-key: {KEY}", KEY),
        (f"Hello\r\n\r\nrelay-key: {KEY}\r\n \n", KEY),
        (f"relay-key: {KEY}\nand more", None),
        (f"quoted relay-key: {KEY}", None),
        ("relay-key: ", None),
        ("relay-key: not a key!", None),
        ("", None),
        (None, None),
    ],
)
def test_the_key_is_the_last_line_and_nothing_else(text, key):
    """A key that a mail quotes in its text is not taken for the record's own."""
    assert readback.key_of(text) == key


def test_the_key_line_is_the_one_that_is_written():
    """Writer and reader agree on the line."""
    assert readback.KEY_LINE == KEY_LINE


def test_of_two_tasks_with_one_key_the_living_older_one_counts():
    """A deleted double does not hide the record that is there."""
    text = f"relay-key: {KEY}"
    rows = [
        row(1, Description=text, IsDeleted=True),
        row(3, Description=text),
        row(2, Description=text),
        row(4, Description="somebody's own task"),
    ]
    found = readback.read_own_tasks(rows)
    assert list(found) == [KEY]
    assert found[KEY].id.startswith("005000000000002")
    assert not found[KEY].is_deleted


def test_the_window_is_written_unquoted_with_its_zone():
    """Moments in SOQL are no texts, and have a zone."""
    query = readback.own_tasks_query("005000000000001AAA", NOON, NOON + timedelta(1))
    assert query.deleted
    assert "CreatedDate >= 2026-03-04T12:00:00+00:00" in query.soql
    assert "CreatedById = '005000000000001AAA'" in query.soql


def test_windows_are_halved_without_a_gap():
    """Two halves meet; the shortest window is not cut."""
    first, second = soql.halves((NOON, NOON + timedelta(seconds=9)))
    assert first[0] == NOON
    assert first[1] == second[0]
    assert second[1] == NOON + timedelta(seconds=9)
    assert soql.halves((NOON, NOON + timedelta(seconds=3))) == []


def test_identifiers_that_differ_in_case_are_two_mails():
    """Salesforce compares without case; a Message-ID does not."""
    rows = [row(2, MessageIdentifier="<A@x>"), row(1, MessageIdentifier="<a@x>")]
    found = readback.read_identifiers(["<a@x>", "<no@x>"], rows)
    assert [r.id for r in found["<a@x>"]] == ["005000000000001AAA"]
    assert list(found) == ["<a@x>"]


def test_identifier_queries_are_cut_to_length():
    """Long Message-IDs make several queries, deleted rows included."""
    identifiers = [f"<{'x' * 700}{n}@x>" for n in range(60)]
    asks = readback.identifier_asks([*identifiers, *identifiers, ""])
    queries = [ask.query() for ask in asks]
    assert len(queries) == 4
    assert all(query.deleted for query in queries)
    for query in queries:
        assert len(soql.encoded(query.soql)) <= soql.MAX_ENCODED


def test_ids_are_proven_before_they_stand_in_a_query():
    """What is no record id is not asked for."""
    assert readback.id_asks(["//evil.example/x", "' OR ''='", "x"]) == []
    (ask,) = readback.id_asks(["005000000000001"])
    assert "'005000000000001AAA'" in ask.query().soql


def test_field_names_are_proven_too():
    """A key field that is no API name reaches no query."""
    with pytest.raises(ValueError, match="API name"):
        readback.key_asks("Task", "Key__c FROM User --", ["k"])


def test_a_living_record_wins_over_a_deleted_one_with_its_key():
    """A unique value may stand on a deleted row as well."""
    rows = [row(1, Key__c="k", IsDeleted=True), row(2, Key__c="k"), row(3, Key__c=None)]
    assert readback.read_keys("Key__c", rows)["k"].id == "005000000000002AAA"
    assert readback.read_keys("Key__c", rows[::-1]) == readback.read_keys(
        "Key__c", rows
    )


def test_a_row_without_an_id_is_no_record():
    """Nothing could be done with it; it hides no other."""
    rows = [row(1, Key__c="k") | {"Id": None}, row(2, Key__c="k") | {"Id": "nonsense"}]
    assert readback.read_keys("Key__c", rows) == {}
    assert list(readback.read_by_id([*rows, row(3)])) == ["005000000000003AAA"]


@pytest.mark.parametrize("sobject", ["Task", "EmailMessage"])
def test_a_record_that_is_read_by_id_shows_every_key_that_it_carries(sobject):
    """Unique field, identifier or last line: whichever place held the key then."""
    place = readback.OBJECTS[sobject]
    text = f"Hello\n\nrelay-key: {KEY}" if sobject == "Task" else " <a@b.example>\n"
    other = KEY if sobject == "Task" else "<a@b.example>"
    rows = [
        row(1, **{place: text, "K__c": "k", "LastModifiedById": "005000000000001AAA"}),
        row(2, **{place: None, "K__c": None}, IsDeleted=True),
        row(3, **{place: text}) | {"Id": "nonsense"},
    ]
    found = readback.read_keyed(sobject, "K__c", rows)
    assert [record.keys for record in found.values()] == [{"k", other}, set()]
    assert [record.is_deleted for record in found.values()] == [False, True]
    first, second = found.values()
    assert first.created_by_id == first.modified_by_id == "005000000000001AAA"
    assert second.modified_by_id is None
    (ask,) = readback.keyed_asks(sobject, "K__c", [next(iter(found)), "nonsense"])
    assert f"{place}, K__c FROM {sobject} WHERE Id IN {{}}" in ask.template
    assert ask.deleted
    assert ask.values == (next(iter(found)),)
    with pytest.raises(ValueError, match="API name"):
        readback.keyed_asks(sobject, "Id FROM User--", [])
