"""The org as a whole: seed, clock, usage, faults, sync of its parts."""

from __future__ import annotations

import re

from relay.core.ids import record_id
from relay.sandbox.config import EARLY, read_fault
from relay.sandbox.metadata import Schema
from relay.sandbox.org import SandboxOrg


def test_the_seed_is_believable_and_harmless():
    """The cast that demo and tests count on; every address is under .example."""
    org = SandboxOrg()
    dump = org.dump()
    assert len(dump["Contact"]) == 12
    assert sum(row["IsConverted"] for row in dump["Lead"]) == 1
    leads = [row["Email"].lower() for row in dump["Lead"]]
    contacts = {row["Email"].lower() for row in dump["Contact"]}
    assert len(leads) - len(set(leads)) == 1
    assert len(contacts & set(leads)) == 2
    assert {row["IsClosed"] for row in dump["Opportunity"]} == {True, False}
    inactive = [row["Username"] for row in dump["User"] if not row["IsActive"]]
    assert inactive == ["dora@corp.example"]
    assert len({row["TimeZoneSidKey"] for row in dump["User"]}) > 3
    for rows in dump.values():
        for row in rows:
            for value in row.values():
                for host in re.findall(r"@([\w.-]+)", str(value)):
                    assert host.endswith(".example")


def test_every_reference_in_the_seed_leads_somewhere():
    """No dangling ids, all of 18 characters, all of a fitting object."""
    org = SandboxOrg()
    for name, rows in org.dump().items():
        fields = org.schema.objects[name].fields
        for row in rows:
            assert record_id(row["Id"]) == row["Id"]
            for field in fields.values():
                value = row.get(field.name)
                if field.type == "reference" and value:
                    target = org.schema.of_id(value)
                    assert target.name in field.refs, (name, field.name)
                    assert org.rows.get(target.name, value)


def test_two_orgs_are_planted_alike():
    """The same ids in every run; oldest rows have the oldest stamps."""
    one, two = SandboxOrg(), SandboxOrg()
    ids = [[row["Id"] for row in org.rows.all("Contact")] for org in (one, two)]
    assert ids[0] == ids[1]
    stamps = [row["CreatedDate"] for row in one.rows.all("Contact")]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == len(stamps)


def test_metadata_is_whole():
    """References and child relationships lead to objects and fields that exist."""
    schema = Schema(["email", "shared_activities", "person_accounts", "multi_currency"])
    prefixes = [info.prefix for info in schema.objects.values()]
    assert len(set(prefixes)) == len(prefixes)
    for info in schema.objects.values():
        for field in info.fields.values():
            assert all(name in schema.objects for name in field.refs), field
        for child, field in info.children.values():
            assert info.name in schema.objects[child].fields[field].refs


def test_the_default_profile_hides_what_many_orgs_lack():
    """Checklist 9: no Task.Type, TaskWhoIds, person accounts, currencies."""
    org = SandboxOrg()
    assert "Type" not in org.schema.objects["Task"].visible
    assert "TaskWhoIds" not in org.schema.objects["Task"].fields
    assert "PersonEmail" not in org.schema.objects["Account"].fields
    for info in org.schema.objects.values():
        assert "CurrencyIsoCode" not in info.fields


def test_usage_rolls_over_a_day(bench):
    """Calls of 24 hours ago are forgotten, younger ones are not."""
    bench.org.usage.add(5)
    bench.org.clock.shift(23 * 3_600)
    bench.org.usage.add(2)
    assert bench.org.usage.used() == 7
    bench.org.clock.shift(3_600)
    assert bench.org.usage.used() == 2


def test_faults_strike_as_often_as_told(bench):
    """count, path and probability decide; the dice are the org's."""
    bench.org.faults.load(
        [
            {"kind": "reset", "count": 2, "path": "^/a"},
            {"kind": "stall", "stage": "after"},
            {"kind": "html", "probability": 0.5},
        ]
    )
    hits = [
        [fault.kind for fault in bench.org.faults.for_call(EARLY, path)]
        for path in ["/b", "/a", "/a", "/a"] * 25
    ]
    kinds = [kind for each in hits for kind in each]
    assert kinds.count("reset") == 2
    assert "stall" not in kinds
    assert 30 < kinds.count("html") < 70


def test_faults_make_the_errors_of_the_platform():
    """Codes, texts and statuses as the table of the reference has them."""
    lock = read_fault({"kind": "lock_rows"}).error("00T1")
    assert (lock.code, lock.status) == ("UNABLE_TO_LOCK_ROW", 400)
    assert lock.message.endswith(": 00T1")
    quota = read_fault({"kind": "quota"}).error()
    assert (quota.code, quota.status) == ("REQUEST_LIMIT_EXCEEDED", 403)
    gone = read_fault({"kind": "error_code", "code": "SERVER_UNAVAILABLE"}).error()
    assert gone.status == 503


def test_the_clock_of_the_org_can_be_stopped_and_moved(bench):
    """A test sets Salesforce's time apart from the relay's."""
    first = bench.org.clock.now()
    assert bench.org.clock.now() == first
    bench.org.clock.shift(-60)
    assert (first - bench.org.clock.now()).total_seconds() == 60
    assert bench.create()["CreatedDate"] == "2030-05-01T09:59:00.000+0000"
