"""What is done when Salesforce refuses a question or a collection as a whole."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import unquote

import pytest

from relay.config import MatchSettings
from relay.core.errors import OrgPaused, SalesforceLimited, SalesforceUnavailable
from relay.core.retry import Retry
from relay.salesforce.errors import error_of
from relay.salesforce.model import WriteState
from relay.salesforce.people import NOBODY
from tests.fakes.scripted_http import HTML, Reply, ScriptedHTTP, composite, error, rows

SCHEMA = (
    [
        (200, {"fields": [], "createable": True})  # Task, EmailMessage, Contact
    ]
    * 3
    + [(404, error("NOT_FOUND"))] * 3
    + [(200, {"fields": []})]  # User
    + [(404, error("NOT_FOUND"))] * 3
    + [rows()]
)


def asked(seen):
    """Return the kinds and addresses of a composite's queries."""
    parts = []
    for part in seen.json["compositeRequest"]:
        soql = unquote(part["url"].partition("q=")[2])
        parts.append(re.findall(r"'([^']*)'", soql))
    return parts


def contact(number, address):
    return {
        "Id": f"0030000000000{number:02d}AAA",
        "Name": "N",
        "Email": address,
        "CreatedDate": "2026-01-02T03:04:05.000+0000",
    }


def choking(address, code, everybody):
    """Return what answers look-ups, and refuses each query with one address."""

    def answer(seen):
        if "describe" in seen.body.decode():
            return composite(*SCHEMA)
        parts = []
        for addresses in asked(seen):
            if address in addresses:
                parts.append((400, error(code, f"near {address}")))
            else:
                found = [contact(everybody.index(a), a) for a in addresses]
                parts.append(rows(*found))
        return composite(*parts)

    return answer


NINE = [f"p{n}@x.example" for n in range(9)]


async def test_an_address_that_salesforce_chokes_on_hides_no_other(org_for):
    """A refused question is asked in halves until the address stands alone."""
    answer = choking(NINE[5], "MALFORMED_QUERY", NINE)
    with ScriptedHTTP(default=answer) as server:
        result = await org_for(server).lookup.find(NINE)
        assert set(result.found.candidates) == {*NINE} - {NINE[5]}
        assert len(server.seen) == 5, "the schema, then 9, 4 and 5, 2 and 3, 1 and 1"


async def test_a_condition_is_not_blamed_for_an_address(org_for):
    """The same question about nobody is answered: the address alone is left out."""
    answer = choking(NINE[5], "MALFORMED_QUERY", [*NINE, NOBODY])
    match = MatchSettings(contact_condition="IsEmailBounced = false")
    with ScriptedHTTP(default=answer) as server:
        result = await org_for(server).lookup.find(NINE, match=match)
        assert set(result.found.candidates) == {*NINE} - {NINE[5]}


async def test_a_condition_is_blamed_where_no_address_is(org_for):
    """The question about nobody is refused too: after one try the org pauses."""

    def answer(seen):
        if "describe" in seen.body.decode():
            return composite(*SCHEMA)
        return composite(*[(400, error("MALFORMED_QUERY"))] * len(asked(seen)))

    match = MatchSettings(contact_condition="IsEmailBounced = false")
    with ScriptedHTTP(default=answer) as server:
        with pytest.raises(OrgPaused, match=r"with match\.contact_condition"):
            await org_for(server).lookup.find(NINE, match=match)
        assert len(server.seen) == 3, "the schema, the question, and about nobody"


async def test_a_question_that_takes_too_long_is_asked_in_halves(org_for):
    """QUERY_TIMEOUT makes smaller questions; a smallest one without answer fails."""
    slow = []

    def answer(seen):
        if "describe" in seen.body.decode():
            return composite(*SCHEMA)
        if slow or max(map(len, asked(seen))) > 3:
            parts = [(400, error("QUERY_TIMEOUT"))] * len(asked(seen))
            return composite(*parts)
        return composite(*[rows(*(contact(1, a) for a in p)) for p in asked(seen)])

    with ScriptedHTTP(default=answer) as server:
        org = org_for(server)
        assert len((await org.lookup.find(NINE)).found.candidates) == 9
        slow.append(True)
        with pytest.raises(SalesforceUnavailable):
            await org.lookup.find(NINE)


async def test_a_question_that_is_wrong_for_the_org_is_not_cut_for_ever(org_for):
    """Where no address is at fault, halving stops and the org pauses."""

    def answer(seen):
        if "describe" in seen.body.decode():
            return composite(*SCHEMA)
        return composite(*[(400, error("MALFORMED_QUERY"))] * len(asked(seen)))

    with ScriptedHTTP(default=answer) as server:
        with pytest.raises(OrgPaused):
            await org_for(server).lookup.find([f"p{n}@x.example" for n in range(3000)])
        assert len(server.seen) < 60


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "INVALID_TYPE", OrgPaused),
        (400, "INVALID_FIELD", OrgPaused),
        (403, "REQUEST_LIMIT_EXCEEDED", SalesforceLimited),
        (503, "SERVER_UNAVAILABLE", SalesforceUnavailable),
    ],
)
async def test_a_question_without_answer_says_nothing_about_people(
    org_for, status, code, expected
):
    """A part that failed fails the look-up: nobody is taken for unknown."""
    script = [composite(*SCHEMA), composite((status, error(code)))]
    with ScriptedHTTP(*script) as server, pytest.raises(expected):
        await org_for(server).lookup.find(["a@x.example"])


async def test_an_answer_that_leaves_a_question_out_is_no_answer(org_for):
    """A missing part is not an empty one."""
    script = [composite(*SCHEMA), composite(), composite()]
    with ScriptedHTTP(*script) as server, pytest.raises(SalesforceUnavailable):
        await org_for(server).lookup.find(["a@x.example"])


async def test_a_strange_next_page_is_not_followed(org_for):
    """The token goes to no address that an answer names."""
    page = {"done": False, "records": [], "nextRecordsUrl": "//evil.example/q/query/1"}
    script = [composite(*SCHEMA), composite((200, page))]
    with ScriptedHTTP(*script) as server:
        with pytest.raises(SalesforceUnavailable, match="next page"):
            await org_for(server).lookup.find(["a@x.example"])
        assert len(server.seen) == 2


def written(number):
    return {"id": f"00T0000000000{number:02d}", "success": True, "errors": []}


def refused(code):
    return {
        "success": False,
        "errors": [{"statusCode": code, "message": "m", "fields": []}],
    }


def records(count):
    return [(f"k{n}", "Task", {"Subject": f"s{n}"}) for n in range(count)]


async def create(org, count):
    outcomes = await org.records.create(records(count), not_after_boottime_s=None)
    return {o.key: (o.state, o.code) for o in outcomes}


async def test_an_org_that_refuses_everything_costs_a_bounded_number_of_calls(org_for):
    """What could not be singled out within the budget is tried again, not dead."""

    def answer(seen):
        count = len(seen.json["compositeRequest"])
        return composite(*[(400, error("INVALID_FIELD", "No such column"))] * count)

    with ScriptedHTTP(default=answer) as server:
        outcomes = await create(org_for(server), 1000)
        assert len(server.seen) == 25
    assert set(outcomes.values()) <= {
        (WriteState.RETRY, "INVALID_FIELD"),
        (WriteState.REFUSED, "INVALID_FIELD"),
    }
    assert len(outcomes) == 1000


async def test_a_request_refused_as_a_whole_is_cut_until_its_cause_is_alone(org_for):
    """A record that no parser takes is refused alone."""

    def answer(seen):
        if b'"s123"' in seen.body:
            return Reply(400, error("JSON_PARSER_ERROR", "at line 1"))
        return composite(
            *[
                (200, [written(0)] * len(part["body"]["records"]))
                for part in seen.json["compositeRequest"]
            ]
        )

    with ScriptedHTTP(default=answer) as server:
        outcomes = await create(org_for(server), 1000)
        assert len(server.seen) <= 25
    odd = {k: v for k, v in outcomes.items() if v[0] is not WriteState.WRITTEN}
    assert odd == {"k123": (WriteState.REFUSED, "JSON_PARSER_ERROR")}


async def test_parts_of_an_answer_are_told_apart(org_for):
    """Each collection stands for itself: written, refused, busy, or not known."""
    script = [
        composite(
            (200, [written(1)] * 200),
            (503, error("SERVER_UNAVAILABLE")),
            (500, error("UNABLE_TO_LOCK_ROW")),
            (200, [written(1)] * 199),
            (200, [*[refused("FIELD_CUSTOM_VALIDATION_EXCEPTION")] * 100, {}, 7, None]
             + [refused("REQUEST_LIMIT_EXCEEDED")] * 97),
        )
    ]  # fmt: skip
    with ScriptedHTTP(*script) as server:
        outcomes = await create(org_for(server), 1000)
    state = [outcomes[f"k{n}"][0] for n in range(1000)]
    assert set(state[:200]) == {WriteState.WRITTEN}
    assert set(state[200:400]) == {WriteState.UNKNOWN}
    assert set(state[400:600]) == {WriteState.RETRY}
    assert set(state[600:800]) == {WriteState.UNKNOWN}, "one result is missing"
    assert set(state[800:900]) == {WriteState.REFUSED}
    assert set(state[900:903]) == {WriteState.UNKNOWN}
    assert set(state[903:]) == {WriteState.RETRY}


async def test_several_calls_of_one_write_fail_each_for_themselves(org_for):
    """What one call wrote is told although another could not be sent."""

    def answer(seen):
        count = [len(p["body"]["records"]) for p in seen.json["compositeRequest"]]
        if sum(count) == 1000:
            return composite(*[(200, [written(1)] * n) for n in count])
        return Reply(403, error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit"))

    with ScriptedHTTP(default=answer) as server:
        outcomes = await create(org_for(server), 1200)
        with pytest.raises(SalesforceLimited):
            await create(org_for(server), 300)
    states = [outcomes[f"k{n}"] for n in range(1200)]
    assert {s for s, _ in states[:1000]} == {WriteState.WRITTEN}
    assert set(states[1000:]) == {(WriteState.RETRY, "REQUEST_LIMIT_EXCEEDED")}


async def test_an_id_that_is_none_is_not_believed(org_for):
    """Success without a valid id is not known."""
    strange = [{"id": i, "success": True} for i in ("", None, "//evil.example/x", 7)]
    with ScriptedHTTP(composite((200, strange))) as server:
        outcomes = await create(org_for(server), 4)
    assert {state for state, _ in outcomes.values()} == {WriteState.UNKNOWN}


async def test_an_old_schema_is_better_than_none(org_for, clock):
    """The org's schema survives an hour in which Salesforce is down."""
    with ScriptedHTTP(composite(*SCHEMA), *[Reply(503, HTML)] * 2) as server:
        org = org_for(server)
        schema = await org.schema.get()
        clock.pass_s(3601)
        assert await org.schema.get() is schema
        assert await org.schema.get() is schema
        assert len(server.seen) == 2, "it is asked again only after a while"
        with pytest.raises(SalesforceUnavailable):
            await org.schema.get(fresh=True)


async def test_an_org_without_tasks_pauses_and_says_what_is_missing(org_for):
    """Without access to Task nothing can be logged."""
    parts = [(404, error("NOT_FOUND")), *SCHEMA[1:]]
    with (
        ScriptedHTTP(composite(*parts)) as server,
        pytest.raises(OrgPaused, match="no access to Task"),
    ):
        await org_for(server).schema.get()


# ------------------------------------------------------------ in the middle of it

HALF = composite((400, error("INVALID_FIELD", "No such column")))


@pytest.mark.parametrize(
    ("second", "state", "code"),
    [
        (Reply(503, HTML), WriteState.UNKNOWN, "no_answer"),
        (
            Reply(403, error("REQUEST_LIMIT_EXCEEDED")),
            WriteState.RETRY,
            "REQUEST_LIMIT",
        ),
    ],
)
async def test_isolating_that_fails_leaves_nothing_in_doubt_that_is_not(
    org_for, second, state, code
):
    """What was refused before is not written, whatever the next call meets."""
    with ScriptedHTTP(HALF, second) as server:
        outcomes = await create(org_for(server), 200)
    assert len(outcomes) == 200
    assert {s for s, _ in outcomes.values()} == {state}
    assert all(c.startswith(code) for _, c in outcomes.values())


async def test_isolating_ends_with_the_time_of_the_write(org_for, clock):
    """Smaller parts are held to the moment of the whole."""

    def answer(_):
        clock.pass_s(6)
        return HALF

    with ScriptedHTTP(default=answer) as server:
        outcomes = await org_for(server).records.create(
            records(200), not_after_boottime_s=clock.boottime_s() + 5
        )
        assert len(server.seen) == 1
    assert {o.state for o in outcomes} == {WriteState.NOT_SENT}


async def test_an_unknown_part_keeps_the_others_of_its_write_for_later(org_for):
    """A call without answer ends isolating: the rest was refused, not written."""

    def answer(seen):
        parts = seen.json["compositeRequest"]
        if len(server.seen) == 1:
            return composite(*[(400, error("INVALID_FIELD"))] * len(parts))
        return Reply(503, HTML)

    with ScriptedHTTP(default=answer) as server:
        outcomes = await org_for(server).records.create(
            records(1000), not_after_boottime_s=None
        )
    states = [one.state for one in outcomes]
    assert states.count(WriteState.UNKNOWN) == 200
    assert states.count(WriteState.RETRY) == 800
    # There is nothing to look for: such a record waits, and is given up by age.
    errors = [error_of(one) for one in outcomes if one.state is WriteState.RETRY]
    assert {one.retry for one in errors} == {Retry.BACKOFF}


# ------------------------------------------------------------ pages, ourselves


def role(number):
    return {
        "OpportunityId": f"0060000000000{number:02d}",
        "Opportunity": {"Name": f"Deal {number}"},
    }


async def test_pages_of_child_rows_are_followed(org_for):
    """A contact's roles are read to their end, however many pages they take."""
    schema = [(200, {"fields": [], "createable": True})] * 10 + [rows()]
    next_page = "/services/data/v66.0/query/01gD0000002HU6K-2000"
    row = contact(1, "a@x.example")
    row["OpportunityContactRoles"] = {
        "done": False,
        "records": [role(1)],
        "nextRecordsUrl": next_page,
    }
    script = [
        composite(*schema),
        composite(rows(row), rows()),
        Reply(200, {"done": False, "records": [role(2)], "nextRecordsUrl": next_page}),
        Reply(200, {"done": True, "records": [role(3)]}),
        composite(rows(row), rows()),
        Reply(200, {"done": True, "records": "?"}),
    ]
    with ScriptedHTTP(*script) as server:
        org = org_for(server)
        found = (await org.lookup.find(["a@x.example"])).found
        ((_, roles),) = found.roles.items()
        assert [r.opportunity_name for r in roles] == ["Deal 1", "Deal 2", "Deal 3"]
        assert server.seen[2].path == next_page
        with pytest.raises(SalesforceUnavailable, match="page"):
            await org.lookup.find(["a@x.example"])


async def test_who_we_are_is_asked_where_the_login_does_not_say(org_for):
    """Without the identity URL one call tells, once."""
    with ScriptedHTTP(Reply(200, {"id": "005000000000001"})) as server:
        server.tokens = [server.token(id=None)]
        org = org_for(server)
        assert await org.access.me() == await org.access.me() == "005000000000001AAA"
        assert len(server.seen) == 1
    with ScriptedHTTP(Reply(200, {"id": "//evil"})) as server:
        server.tokens = [server.token(id=None)]
        with pytest.raises(SalesforceUnavailable, match="who"):
            await org_for(server).access.me()


async def test_a_window_with_too_many_tasks_is_read_in_halves(org_for, clock):
    """QUERY_TIMEOUT on a read-back makes shorter windows."""
    key = "ab12" * 10
    task = {
        "Id": "00T000000000001",
        "Description": f"x\nrelay-key: {key}",
        "IsDeleted": False,
        "CreatedDate": "2026-01-02T03:04:05.000+0000",
    }
    script = [
        composite((400, error("QUERY_TIMEOUT"))),
        composite(rows(task), (400, error("QUERY_TIMEOUT"))),
        composite(rows(task), rows()),
        composite((400, error("INVALID_FIELD"))),
    ]
    with ScriptedHTTP(*script) as server:
        org = org_for(server)
        window = (clock.now() - timedelta(minutes=5), clock.now())
        assert list(await org.records.find_own_tasks(*window)) == [key]
        with pytest.raises(OrgPaused):
            await org.records.find_own_tasks(*window)


async def test_a_window_with_too_many_files_is_read_in_halves(org_for, clock):
    """Each file once, although both halves hold their border; the shortest fails."""

    def file(number):
        return {
            "Id": f"06800000000000{number}",
            "ContentDocumentId": f"06900000000000{number}",
            "Description": f"relay-key: {'ab12' * 10}",
            "IsDeleted": False,
            "CreatedDate": f"2026-01-02T03:04:0{number}.000+0000",
        }

    def spans(seen):
        """Return the seconds that each query asks for."""
        for part in seen.json["compositeRequest"]:
            text = unquote(part["url"].partition("q=")[2])
            first, last = re.findall(r"CreatedDate [<>]= ?(\S+)", text)
            yield (
                datetime.fromisoformat(last) - datetime.fromisoformat(first)
            ).total_seconds()

    too_long = (400, error("QUERY_TIMEOUT"))
    script = [
        composite(too_long),
        composite(rows(file(2)), too_long),
        composite(rows(file(2), file(1)), rows(file(3))),
        composite(too_long),
    ]
    me, now = "005000000000001AAA", clock.now().replace(microsecond=0)
    with ScriptedHTTP(*script) as server:
        files = org_for(server).files
        found = await files.find_own(me, now - timedelta(seconds=320), now)
        (ours,) = found.values()
        assert [f.version_id[:15] for f in ours] == [file(n)["Id"] for n in (1, 2, 3)]
        asked_for = [list(spans(seen)) for seen in server.seen]
        assert asked_for == [[320], [160, 160], [80, 80]]
        with pytest.raises(SalesforceUnavailable) as caught:
            await files.find_own(me, now - timedelta(seconds=3), now)
        assert caught.value.code == "QUERY_TIMEOUT"
        assert len(server.seen) == 4


def records_with(seen, choking_on):
    """Answer queries for EmailMessages; refuse each that names one identifier."""
    parts = []
    for identifiers in asked(seen):
        if choking_on in identifiers:
            parts.append((400, error("MALFORMED_QUERY", "literal too long")))
        else:
            parts.append(rows(*(sent_as(i) for i in identifiers)))
    return composite(*parts)


def sent_as(identifier):
    return {"Id": "02s000000000001", "MessageIdentifier": identifier}


async def test_a_value_that_salesforce_chokes_on_hides_no_other_record(org_for):
    """It is found by halving; whoever needs it all the same waits, nobody pauses."""
    every = [f"<{n}@x>" for n in range(8)]
    with ScriptedHTTP(default=lambda seen: records_with(seen, every[3])) as server:
        org = org_for(server)
        found = await org.records.find_email_messages(every, whole=False)
        assert set(found) == {*every} - {every[3]}
        with pytest.raises(SalesforceUnavailable) as caught:
            await org.records.find_email_messages(every)
    assert caught.value.code == "MALFORMED_QUERY"
    assert not isinstance(caught.value, OrgPaused)


async def test_a_read_back_that_takes_too_long_is_asked_in_halves(org_for):
    """QUERY_TIMEOUT makes smaller questions, and all records come back."""

    def answer(seen):
        if max(map(len, asked(seen))) > 2:
            return composite(*[(400, error("QUERY_TIMEOUT"))] * len(asked(seen)))
        return records_with(seen, None)

    every = [f"<{n}@x>" for n in range(8)]
    with ScriptedHTTP(default=answer) as server:
        assert set(await org_for(server).records.find_email_messages(every)) == {*every}


async def test_half_a_read_back_is_none(org_for):
    """An answer that lacks a part would read as "not there"."""
    with (
        ScriptedHTTP(composite((503, error("SERVER_UNAVAILABLE")))) as server,
        pytest.raises(SalesforceUnavailable),
    ):
        await org_for(server).records.find_email_messages(["<a@x>"])


@pytest.mark.parametrize(
    ("step", "gone"),
    [
        (composite((204, None)), True),
        (composite((404, error("ENTITY_IS_DELETED"))), False),
        (Reply(400, error("JSON_PARSER_ERROR")), False),
    ],
)
async def test_deleting_tells_whether_it_was_done(org_for, step, gone):
    """A record that is gone already is no error."""
    with ScriptedHTTP(step) as server:
        org = org_for(server)
        assert await org.records.delete("EmailMessage", "02s000000000001") is gone
        assert await org.records.delete("EmailMessage", "//evil.example/x") is False
        assert len(server.seen) == 1
        assert "02s000000000001" in server.seen[0].json["compositeRequest"][0]["url"]


async def test_deleting_without_answer_may_be_done_again(org_for):
    """To delete twice is the same as once, so that nothing is unknown."""
    with (
        ScriptedHTTP(Reply(503, HTML)) as server,
        pytest.raises(SalesforceUnavailable),
    ):
        await org_for(server).records.delete("EmailMessage", "02s000000000001")
