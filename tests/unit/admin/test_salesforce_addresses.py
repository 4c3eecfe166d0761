"""What an import from Salesforce would change, before it does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from relay.admin.salesforce_addresses import plan_import
from relay.core.directory import AcceptedAddress, Directory, Role, Source, User
from relay.core.org import SalesforceUser

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
ID = "005000000000001AAA"
BEN_ID = "005000000000002AAA"
ADA = User(1, "Ada", "ada@corp.example", Role.REP, True, ID, "log-a")
BEN = User(2, "Ben", "ben@corp.example", Role.REP, True, BEN_ID, "log-b")


def plan(*found, users=(ADA,), listed=(("ada@corp.example", Source.OWN),)):
    """Return the steps as (address, change), for Ada's list."""
    accepted = [
        AcceptedAddress(1, key, NOON, "x", source=source) for key, source in listed
    ]
    lists = {user.id: frozenset({user.email}) for user in users}
    lists[1] = frozenset(key for key, _ in listed)
    directory = Directory(1, {user.id: user for user in users}, {}, lists, ())
    return plan_import(directory, accepted, found)


def person(email, *, sfid=ID, active=True):
    return SalesforceUser(sfid, "A", email, is_active=active)


def short(steps):
    return [(step.address, step.change) for step in steps]


OLD = (("ada@corp.example", Source.OWN), ("old@sf.example", Source.SALESFORCE))


def test_a_new_address_comes():
    """It is that of the Salesforce user."""
    (step,) = plan(person("ada@sf.example"))
    assert step.row == {
        "user": "ada@corp.example",
        "address": "ada@sf.example",
        "change": "add",
        "reason": "User.Email",
    }


def test_nothing_changes_where_nothing_did():
    """An address that may send already, whoever added it, is left as it is."""
    assert plan(person("ada@corp.example")) == []
    listed = (("ada@sf.example", Source.SALESFORCE),)
    assert plan(person("ada@sf.example"), listed=listed) == []


def test_a_changed_address_takes_the_old_one_along():
    """The old one goes in the same step in which the new one comes."""
    steps = plan(person("new@sf.example"), listed=OLD)
    assert short(steps) == [("old@sf.example", "remove"), ("new@sf.example", "add")]


def test_who_left_salesforce_keeps_nothing_of_it():
    """An inactive User has no address; what an admin added stays."""
    (step,) = plan(person("old@sf.example", active=False), listed=OLD)
    assert (step.address, step.change) == ("old@sf.example", "remove")
    assert "not active" in step.reason


def test_what_salesforce_does_not_show_is_not_taken_away():
    """A right that is missing must not shut anybody out."""
    (step,) = plan(listed=OLD)
    assert (step.address, step.change) == ("", "skip")


def test_an_address_against_which_something_speaks_is_skipped():
    """Nobody confirms it in a timer: it is named, for an admin to add."""
    steps = plan(person("ben@corp.example"), users=(ADA, BEN))
    assert short(steps)[0] == ("ben@corp.example", "skip")
    assert "Ben" in steps[0].reason


def test_users_without_a_salesforce_user_or_gone_are_left_out():
    """By e-mail alone, the address is the user's own already."""
    assert plan(person("x@sf.example"), users=(replace(ADA, salesforce_id=None),)) == []
    gone = replace(ADA, removed_at=NOON)
    assert plan(person("x@sf.example"), users=(gone,)) == []


def test_a_user_without_an_address_there_is_left_as_is():
    """What cannot be an address comes to no list."""
    assert plan(person("")) == []
