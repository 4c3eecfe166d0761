"""Plans of user imports."""

from __future__ import annotations

import pytest

from relay.console import people_import
from relay.console.people_import import Entered, plan_users, read_csv
from relay.core.directory import Directory, Role, User
from relay.core.errors import Conflict, InvalidInput

ID = "005000000000001AAA"
HEAD = "name,email,role,salesforce_id\n"


def directory() -> Directory:
    """Return a directory with Ada."""
    ada = User(
        1,
        "Ada",
        "ada@corp.example",
        Role.REP,
        active=True,
        salesforce_id=ID,
        relay_token="log-x",
    )
    accepted = {1: frozenset({"ada@corp.example"})}
    return Directory(1, {1: ada}, {"log-x": 1}, accepted, ())


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_are_found_by_their_names(mark: str) -> None:
    """In any order and case, with a byte order mark, empty lines, further columns."""
    text = "\ufeff" + mark.join(["E-Mail2", "EMAIL", "Name"]) + "\r\n\r\n"
    text += mark.join(["x", "kim@corp.example", '"Kim, Lee"']) + "\r\n"
    assert read_csv(text) == [Entered("Kim, Lee", "kim@corp.example", line=3)]


@pytest.mark.parametrize(
    "text",
    ["", "name\nKim\n", HEAD, "x" * (people_import.LONGEST + 1), HEAD + "a,b\n" * 2001],
)
def test_what_is_no_list_of_users_is_refused(text: str) -> None:
    """Says which columns are missing, or that nobody, or too many, are named."""
    with pytest.raises(InvalidInput):
        read_csv(text)


def test_a_plan_says_why_somebody_is_skipped() -> None:
    """Known, doubled, wrong, doubtful; the others are added."""
    rows = read_csv(
        HEAD + "Ada,ADA@corp.example,,\n"
        "Kim,kim@corp.example,monitor,\n"
        "Kim again,kim@corp.example,,\n"
        "Nobody,not an address,,\n"
        "King,king@corp.example,king,\n"
        f"Same,same@corp.example,,{ID}\n"
        "Odd,odd@c\u043erp.example,,\n"
        "Bad id,bad@corp.example,,003\n"
        ",noname@corp.example,,\n"
    )
    steps = plan_users(directory(), rows)
    assert [one.change for one in steps] == ["skip", "add", *["skip"] * 7]
    kim = steps[1]
    assert (kim.name, kim.email, kim.role) == ("Kim", "kim@corp.example", "monitor")
    assert kim.as_json()["salesforce_id"] is None
    reasons = [one.reason for one in steps]
    assert reasons[0] == "line 2: there is a user with this address"
    assert "line 4" in reasons[2]
    assert "no e-mail address" in reasons[3]
    assert "'king' is no role" in reasons[4]
    assert "this Salesforce id" in reasons[5]
    assert "mixes letters" in reasons[6]
    assert "no record id" in reasons[7]


def test_a_plan_changes_who_is_there_where_that_is_asked() -> None:
    """What is named and differs; an empty role or id changes nothing."""
    rows = read_csv(
        HEAD + "Ada Byron,ADA@corp.example,admin,\n"
        "Kim,kim@corp.example,,005000000000002AAA\n"
        "Lee,lee@corp.example,,005000000000002AAA\n"
    )
    ada, kim, lee = plan_users(directory(), rows, update=True)
    assert (ada.change, ada.user_id, ada.salesforce_id) == ("change", 1, ID)
    assert dict(ada.changes) == {"name": "Ada Byron", "role": "admin"}
    assert ada.reason == "name: Ada → Ada Byron; role: rep → admin"
    assert (kim.change, lee.change, lee.is_wrong) == ("add", "skip", True)
    assert people_import.counts([ada, kim, lee]) == {
        "add": 1,
        "change": 1,
        "left": 1,
        "errors": 1,
    }
    assert people_import.digest([ada]) != people_import.digest([kim])
    same = read_csv(HEAD + f"Ada,ada@corp.example,rep,{ID}\n")
    (left,) = plan_users(directory(), same, update=True)
    assert (left.change, left.is_wrong) == ("skip", False)
    assert left.reason == "line 2: nothing changes"
    other = read_csv(HEAD + "Ada,ada@corp.example,,005000000000003AAA\n")
    (moved,) = plan_users(directory(), other, update=True)
    assert dict(moved.changes) == {"salesforce_id": "005000000000003AAA"}


def test_a_plan_that_changed_is_not_carried_out() -> None:
    """The digest is of what would be added."""
    steps = plan_users(directory(), [Entered("Kim", "kim@corp.example")])
    seen = people_import.digest(steps)
    people_import.need_same(steps, seen)
    with pytest.raises(Conflict):
        people_import.need_same([], seen)
