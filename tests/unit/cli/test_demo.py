"""The demo's people, mails and judgement."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from relay.cli.demo import outcome
from relay.cli.demo_mails import Cast, cast, names, scenes, timeline
from relay.core.errors import NotFound

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def _org() -> dict[str, list[dict[str, Any]]]:
    def user(name: str, **more: object) -> dict[str, Any]:
        email = f"{name}@corp.example"
        row = {"Id": name, "Name": name, "Email": email, "Username": email}
        return row | {"IsActive": True} | more

    def person(key: str, email: str | None = None, **more: object) -> dict[str, Any]:
        return {"Id": key, "Name": key, "Email": email or f"{key}@x.example"} | more

    return {
        "User": [user("relay"), user("gone", IsActive=False), user("ada"), user("ben")],
        "Contact": [
            person("twin1", "twin@x.example"),
            person("twin2", "Twin@x.example"),
            person("deleted", IsDeleted=True),
            person("busy"),
            person("busy2"),
            person("calm"),
        ],
        "Lead": [person("done", IsConverted=True), person("lead", IsConverted=False)],
        "Opportunity": [
            {"Id": "won", "Name": "Won", "IsClosed": True},
            {"Id": "open", "Name": "Open", "IsClosed": False},
        ],
        "OpportunityContactRole": [
            {"ContactId": "twin1", "OpportunityId": "open"},
            {"ContactId": "busy", "OpportunityId": "won"},
            {"ContactId": "busy", "OpportunityId": "open"},
            {"ContactId": "busy2", "OpportunityId": "open"},
        ],
    }


def _cast() -> Cast:
    return cast(_org(), integration_user="relay@corp.example")


def test_people_are_those_whom_the_mail_must_find() -> None:
    """Active users, addresses that one record has, open deals, open leads."""
    people = _cast()
    chosen = (people.rep, people.colleague, people.contact, people.lead, people.other)
    assert [one["Id"] for one in chosen] == ["ada", "ben", "busy", "lead", "calm"]
    assert people.opportunity["Id"] == "open"
    assert people.deals == {"busy": frozenset({"open"}), "busy2": frozenset({"open"})}


@pytest.mark.parametrize("missing", ["User", "Lead", "OpportunityContactRole"])
def test_an_empty_org_is_said(missing: str) -> None:
    """Without the people there is no demo, and a sentence instead."""
    rows = _org() | {missing: []}
    with pytest.raises(NotFound, match="seed"):
        cast(rows, integration_user="relay@corp.example")


def test_the_seven_mails() -> None:
    """Known, lead, several, forward, unknown, stranger, forged: what must come."""
    found = scenes(_cast(), NOW, "log-x@in.relay.example")
    assert [scene.state for scene in found] == [
        *("logged", "logged", "logged", "logged"),
        *("unmatched", "refused", "refused"),
    ]
    assert [sorted(scene.on) for scene in found] == [
        ["busy", "open"],
        ["lead"],
        ["busy", "calm", "lead", "open"],
        ["busy", "open"],
        [],
        [],
        [],
    ]
    assert [scene.cause for scene in found[5:]] == ["S106", "S211"]
    assert found[6].mail["From"] == found[0].mail["From"]
    assert found[6].domain == "forger.example"
    assert len({scene.message_id for scene in found}) == 7
    assert all("Bcc" not in scene.mail for scene in found)


def test_the_timeline_is_what_salesforce_shows() -> None:
    """Recipients and related records of an EmailMessage, who and what of a Task."""
    rows = _org() | {
        "EmailMessage": [{"Id": "e1", "RelatedToId": "open"}],
        "EmailMessageRelation": [
            {"EmailMessageId": "e1", "RelationId": "busy"},
            {"EmailMessageId": "e1", "RelationId": "ada"},
            {"EmailMessageId": "e2", "RelationId": "calm"},
        ],
        "Task": [{"Id": "t1", "WhoId": "lead", "WhatId": None}],
    }
    assert timeline(rows, [{"id": "e1"}]) == {"busy", "open"}
    assert timeline(rows, [{"id": "t1"}]) == {"lead"}
    assert names(rows, ["open", "busy"]) == "Contact busy, Opportunity Open"


def test_an_outcome_is_judged_by_what_salesforce_holds() -> None:
    """A logged mail on the wrong timeline is not as expected."""
    scene = scenes(_cast(), NOW, "log-x@in.relay.example")[1]
    row = {
        "id": "m1",
        "kind": "message",
        "state": "logged",
        "reason": "",
        "records": [{"object": "Task", "id": "t1", "rule": "Lead.Email", "key": "k"}],
    }
    org = _org()
    right = org | {"Task": [{"Id": "t1", "WhoId": "lead", "WhatId": None}]}
    wrong = org | {"Task": [{"Id": "t1", "WhoId": "busy", "WhatId": None}]}
    assert outcome(scene, (250, "ok m1"), row, right).as_expected
    assert not outcome(scene, (250, "ok m1"), row, wrong).as_expected
    assert not outcome(
        scene, (250, "ok m1"), row | {"state": "dead"}, right
    ).as_expected
    assert not outcome(scene, (250, "ok m1"), None, right).as_expected


def test_a_stranger_must_get_550() -> None:
    """A temporary refusal is not the outcome that the demo promises."""
    scene = scenes(_cast(), NOW, "log-x@in.relay.example")[5]
    row = {"id": "r1", "kind": "refusal", "reason": "x", "reply": "550 5.7.1 no"}
    other, row = row, row | {"verdict": {"cause": "S106"}}
    assert not outcome(scene, (550, "5.7.1 no"), other, _org()).as_expected
    assert outcome(scene, (550, "5.7.1 no"), row, _org()).as_expected
    assert not outcome(scene, (451, "4.3.0 later"), row, _org()).as_expected
