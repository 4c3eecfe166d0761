"""What goes along with calls of mail must not touch them, whatever becomes of it."""

from __future__ import annotations

import pytest

from relay.core.errors import ActivityRefused, OrgPaused, OutcomeUnknown
from relay.salesforce.auth import TokenProvider
from relay.salesforce.budget import CallStats
from relay.salesforce.client import Client
from relay.salesforce.rides import REST_S, SLOW_S, Ride, Rides, State
from relay.salesforce.soql import Query
from relay.salesforce.transport import TooLateError
from relay.salesforce.write import Job, encode, send
from tests.fakes.scripted_http import Reply, ScriptedHTTP, composite, error, rows

pytestmark = pytest.mark.timeout(60)

MADE = (200, [{"success": True, "id": "02s000000000001AAA", "errors": []}])
REFUSED = (400, error("MALFORMED_QUERY", "unexpected token"))


@pytest.fixture
def server():
    with ScriptedHTTP() as made:
        yield made


@pytest.fixture
def rides(clock):
    return Rides(clock)


@pytest.fixture
def client(server, settings_for, clock, rides):
    settings = settings_for(server)
    stats = CallStats(clock)
    tokens = TokenProvider(settings, clock, observe=stats.count)
    made = Client(settings, clock, tokens, stats, rides)
    yield made
    made.close()
    tokens.close()


@pytest.fixture
def ride(rides):
    made = Ride(lambda: ["query?q=x", "sobjects/Task/deleted/?start=a"], 1)
    assert rides.offer(made)
    return made


def wrote(client, count=1):
    """Write a record as mail does; return its outcome."""
    records = [(f"k{number}", "Task", {"Subject": "x"}) for number in range(count)]
    encoded, _ = encode(records)
    return send(client, Job([encoded]), not_after_s=None, timeout_s=5.0)


def test_it_goes_behind_the_parts_of_a_write(server, client, ride, clock):
    """In one call; the record's outcome is read from its own part."""
    server.script += [composite(MADE, rows({"Id": "1"}), (200, {"ids": []}))]
    (outcome,) = wrote(client)
    assert (outcome.state, outcome.id) == ("written", "02s000000000001AAA")
    (seen,) = server.seen
    assert not seen.json["allOrNone"]
    assert [part["method"] for part in seen.json["compositeRequest"]] == [
        *("POST", "GET", "GET")
    ]
    assert ride.state is State.DONE
    assert ride.answers[0].body["records"] == [{"Id": "1"}]
    # It has left: the next call carries nothing.
    server.script += [composite(MADE)]
    wrote(client)
    assert len(server.seen[-1].json["compositeRequest"]) == 1


@pytest.mark.parametrize(
    "parts", [(REFUSED, REFUSED), (rows(), REFUSED), (), ((500, "<html>"), (200, None))]
)
def test_a_part_that_fails_leaves_the_records_as_they_are(server, client, ride, parts):
    """Refused, left out, or unreadable: what was written counts as written."""
    server.script += [composite(MADE, *parts)]
    (outcome,) = wrote(client)
    assert outcome.state == "written"
    assert len(server.seen) == 1
    assert ride.state is State.DONE
    assert len(ride.answers) == 2


def test_a_record_that_fails_is_not_helped_by_what_rides(server, client, ride):
    """Its own part is refused, or is not there: the passenger's is not taken for it."""
    server.script += [composite(REFUSED, MADE, rows())]
    (outcome,) = wrote(client)
    assert (outcome.state, outcome.code) == ("refused", "MALFORMED_QUERY")
    reply = composite(MADE, rows(), rows())
    del reply.body["compositeResponse"][0]
    server.script += [reply]
    client._rides.offer(Ride(lambda: ["a", "b"], 1))
    (outcome,) = wrote(client)
    assert outcome.state == "unknown"


def test_a_call_refused_as_a_whole_is_made_again_without(server, client, ride, rides):
    """Salesforce has done nothing of it; for an hour nothing rides."""
    server.script += [Reply(400, error("JSON_PARSER_ERROR")), composite(MADE)]
    (outcome,) = wrote(client)
    assert outcome.state == "written"
    assert [len(one.json["compositeRequest"]) for one in server.seen] == [3, 1]
    assert ride.state is State.LOST
    assert not rides.offer(Ride(lambda: ["a"], 1))
    # A call that is at fault itself fails as ever.
    server.script += [Reply(400, error("JSON_PARSER_ERROR"))]
    (outcome,) = wrote(client)
    assert outcome.state == "refused"


def test_a_question_of_mail_is_not_refused_for_its_passenger(server, client, ride):
    """It would pause the whole org."""
    server.script += [Reply(400, error("JSON_PARSER_ERROR")), composite(rows())]
    assert client.queries("lookup", [Query("SELECT Id FROM User")]) == [[]]
    server.script += [Reply(400, error("JSON_PARSER_ERROR"))]
    with pytest.raises((OrgPaused, ActivityRefused)):
        client.queries("lookup", [Query("SELECT Id FROM User")])


def test_a_write_without_an_answer_is_unknown_as_ever(
    server, client, ride, rides, clock
):
    """It is looked up by its key; and nothing rides for an hour."""
    server.script += [Reply(502, b"<html>")]
    (outcome,) = wrote(client)
    assert outcome.state == "unknown"
    assert len(server.seen) == 1
    assert ride.state is State.LOST
    again = Ride(lambda: ["a"], 1)
    clock.pass_s(REST_S - 1)
    assert not rides.offer(again)
    clock.pass_s(2)
    assert rides.offer(again)


def test_a_write_that_is_too_late_takes_nothing_along(server, client, ride, rides):
    """It has not left; that is nobody's fault."""
    with pytest.raises(TooLateError):
        client.composite("write", [], writes=True, not_after_s=0.0, carries=True)
    assert (ride.state, server.seen) == (State.LOST, [])
    assert rides.offer(Ride(lambda: ["a"], 1))


def test_there_must_be_room(server, client, rides):
    """Five queries and collections are the limit, whoever's they are."""
    big = Ride(lambda: ["a", "b", "c"], 3)
    rides.offer(big)
    three = [Query("SELECT Id FROM User")] * 3
    server.script += [composite(rows(), rows(), rows())]
    client.queries("lookup", three)
    assert big.state is State.OFFERED
    server.script += [composite(rows(), rows(), rows(), rows(), rows())]
    client.queries("lookup", three[:2])
    assert big.state is State.DONE


def test_who_does_not_carry_takes_nothing(server, client, ride, rides):
    """An update that reads before, a deletion, what the sync asks itself."""
    server.script += [composite(rows())]
    client.mixed("reminders", [Query("SELECT Id FROM User")], [])
    assert ride.state is State.OFFERED
    rides.withdraw(Ride(lambda: ["other"], 1))
    rides.withdraw(ride)
    server.script += [composite(MADE)]
    wrote(client)
    assert len(server.seen[-1].json["compositeRequest"]) == 1
    assert ride.state is State.OFFERED


def test_what_cannot_be_made_stays_behind(server, client, rides):
    """A mistake in the passenger is none of the carrier."""

    def broken():
        raise ValueError

    ride = Ride(broken, 1)
    rides.offer(ride)
    server.script += [composite(MADE)]
    (outcome,) = wrote(client)
    assert (outcome.state, ride.state) == ("written", State.LOST)


def test_a_slow_call_carries_nothing_for_a_while(rides, clock, ride):
    """Mail must not wait for what rides."""
    assert rides.board(4) is ride
    clock.pass_s(SLOW_S + 1)
    rides.arrive(ride, [])
    assert ride.state is State.DONE
    assert not rides.offer(Ride(lambda: ["a"], 1))


def test_an_unknown_outcome_is_raised_where_nothing_else_tells(server, client, ride):
    """Nothing of the error is lost on the way."""
    server.script += [Reply(502, b"<html>")]
    with pytest.raises(OutcomeUnknown):
        client.composite("write", [("POST", "x", b"{}")], writes=True, carries=True)
