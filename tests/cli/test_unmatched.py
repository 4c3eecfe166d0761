"""`relay unmatched`: what fits no record, against a sandbox over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.core.model import Person, Place
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event
from tests.fakes.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.store import Store

OWNER = LeaseOwner("host", "boot", 10, "1")
MARA = Person("lindqvist@acme.example", "lindqvist@acme.example", "Mara L.", Place.TO)
SALESFORCE = """
[salesforce]
instance_url = "{url}"
client_id = "relay-sandbox"
client_secret = "relay-sandbox-secret"
"""


@pytest.fixture(scope="module")
def served_org() -> Iterator[Any]:
    """Serve one org for all tests."""
    with served() as org:
        yield org


@pytest.fixture
def org(served_org: Any, relay: Any, ada: Any) -> Any:
    """Let the relay know the org."""
    served_org.reset()
    with relay.config.open("a") as config:
        config.write(SALESFORCE.format(url=served_org.url))
    return served_org


def end(relay: Any, *people: Person, subject: str = "The offer") -> str:
    """Store a message and settle it as unmatched; return its id."""
    (ident,) = relay.put(subject)

    async def job(store: Store) -> None:
        (claimed,) = await store.queue.claim(OWNER, 1, 60)
        await store.mails.join(OWNER, [(ident, ident, ident + "2", "")])
        detail = "no Contact or open Lead has one of these addresses"
        await store.ledger.advance(
            OWNER,
            settlements=[
                Settlement(
                    claimed.id,
                    claimed.attempt,
                    Event.NO_MATCH,
                    "no_record",
                    detail,
                    unknown=people,
                )
            ],
        )

    relay.in_store(job)
    return ident


def test_the_list_names_the_likeliest_record(relay: Any, org: Any) -> None:
    """One search for all that is listed, and none while it is fresh."""
    ident = end(relay, MARA)
    before = org.usage.used()
    (row,) = relay.json("unmatched", "list")
    calls = org.usage.used() - before
    assert row["id"] == ident
    assert row["people"] == ["lindqvist@acme.example"]
    assert row["reason"] == "no_record"
    assert (row["best"]["name"], row["best"]["object"]) == ("Mara Lindqvist", "Contact")
    assert "same domain as Acme Tools" in row["best"]["reasons"]
    assert calls == 2  # the description of the org, and one search
    assert relay.json("unmatched", "list") == [row]
    assert org.usage.used() - before == calls
    assert "Mara Lindqvist" in relay("unmatched", "list").stdout
    assert relay.json("unmatched", "list", "--reason", "no_recipient") == []
    assert relay.json("unmatched", "list", "--user", "Ada Byron", "--since", "1h") == [
        row
    ]


def test_show_has_candidates_with_scores_and_reasons(relay: Any, org: Any) -> None:
    """By the first characters of the id; the likeliest first."""
    ident = end(relay, MARA)
    (row,) = relay.json("unmatched", "show", ident[:25])
    (person,) = row["people"]
    scores = [one["score"] for one in person["candidates"]]
    assert person["address"] == "lindqvist@acme.example"
    assert person["candidates"][0]["name"] == "Mara Lindqvist"
    assert scores == sorted(scores, reverse=True)
    text = relay("unmatched", "show", ident).stdout
    assert "Mara L. <lindqvist@acme.example>" in text
    assert "first name and initial fit" in " ".join(person["candidates"][0]["reasons"])
    assert "same domain as" in " ".join(text.split())


def test_nobody_near_is_said(relay: Any, org: Any) -> None:
    """An empty table says so."""
    ident = end(relay, Person("z@zz.example", "z@zz.example", "\x1b[31m", Place.TO))
    text = relay("unmatched", "show", ident).stdout
    assert "no record is near" in text
    assert "\x1b" not in text


def test_without_salesforce_the_list_is_there(relay: Any, ada: Any) -> None:
    """Candidates need an org; what did not match does not."""
    ident = end(relay, MARA)
    (row,) = relay.json("unmatched", "list")
    assert (row["id"], row["best"]) == (ident, None)
    assert "not searched" in relay("unmatched", "show", ident).stdout


def test_an_org_that_is_down_leaves_the_list(relay: Any, ada: Any) -> None:
    """Only `show` needs an answer."""
    ident = end(relay, MARA)
    with relay.config.open("a") as config:
        config.write(SALESFORCE.format(url="http://127.0.0.1:9"))
    (row,) = relay.json("unmatched", "list")
    assert row["best"] is None
    relay.error("unmatched", "show", ident, status=1)


def test_a_message_that_is_not_unmatched_is_named(relay: Any, ada: Any) -> None:
    """The line says what it is, and where to look."""
    (ident,) = relay.put("Waiting")
    line = relay.error("unmatched", "show", ident, status=1)
    assert f"{ident} is queued, not unmatched" in line
    assert "Nothing is unmatched" in relay("unmatched", "list").stdout


# ------------------------------------------------------------ deciding


def record(org: Any, name: str, field: str, value: str) -> str:
    """Return the id of a record of the org."""
    return next(str(r["Id"]) for r in org.rows.all(name) if r[field] == value)


def messages(relay: Any) -> dict[str, str]:
    """Return the states of all messages."""
    return {row["id"]: row["state"] for row in relay.json("log")}


@pytest.fixture
def mara(org: Any) -> str:
    return record(org, "Contact", "Email", "mara@acme.example")


def joined(relay: Any, ident: str) -> tuple[Any, ...]:
    """Return the records chosen for a message's mail, as a worker reads them."""

    async def job(store: Store) -> tuple[Any, ...]:
        (claimed,) = await store.queue.claim(OWNER, 1, 60)
        assert claimed.id == ident
        states = await store.mails.join(OWNER, [(ident, ident, ident + "2", "")])
        return states[ident].resolved

    return relay.in_store(job)


def test_resolve_keeps_the_choice_and_queues_the_message(
    relay: Any, org: Any, mara: str
) -> None:
    """15 characters are enough; the address is remembered where that is asked for."""
    ident = end(relay, MARA)
    (row,) = relay.json("unmatched", "resolve", ident, mara[:15], "--remember")
    assert row["records"] == [f"Contact {mara}"]
    assert row["remembered"] == [MARA.key]
    assert messages(relay) == {ident: "queued"}
    (kept,) = relay.json("unmatched", "remembered")
    assert (kept["address"], kept["id"], kept["name"]) == (
        MARA.key,
        mara,
        "Mara Lindqvist",
    )
    (chosen,) = joined(relay, ident)
    assert (chosen.record_id, chosen.name) == (mara, "Mara Lindqvist")
    assert MARA.key in relay("unmatched", "remembered").stdout
    relay("unmatched", "forget", MARA.key)
    assert relay.json("unmatched", "remembered") == []
    (change,) = relay.json("history", "--limit", "1")
    relay("history", "undo", str(change["id"]))
    assert len(relay.json("unmatched", "remembered")) == 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["ID"], 2, "name the record"),
        (["MARA"], 2, "either message ids or filters"),
        (["ID", "003000000000001AAB"], 2, "is no record id"),
        (["ID", "003000000000999"], 1, "no record 003000000000999"),
        (["ID", "USER"], 2, "nothing can be logged on a record of User"),
        (["ID", "MARA", "--reason", "no_record"], 2, "either message ids or filters"),
        (["ID", "MARA", "ACME", "--remember"], 2, "an address belongs to one record"),
        (["TWO", "MARA", "--remember"], 2, "--for ADDRESS"),
        (["ID", "MARA", "--remember", "--for", "z@z.example"], 2, "takes no part"),
        (["offer", "MARA"], 2, "'offer' is neither the id of a message"),
        (["WAITING", "MARA"], 1, "is queued, not unmatched"),
    ],
)
def test_slips_of_resolve_change_nothing(
    relay: Any, org: Any, mara: str, words: list[str], status: int, said: str
) -> None:
    """Each is one line that names the mend; the message stays as it is."""
    other = Person("b@b.example", "b@b.example", "", Place.CC)
    names = {
        "ID": end(relay, MARA),
        "TWO": end(relay, MARA, other),
        "WAITING": relay.put("Waiting")[0],
        "MARA": mara,
        "ACME": record(org, "Account", "Name", "Acme Tools"),
        "USER": record(org, "User", "Username", "ada@corp.example"),
    }
    before = messages(relay)
    line = relay.error(
        "unmatched",
        "resolve",
        *(names.get(word, word) for word in words),
        status=status,
    )
    assert said in line
    assert messages(relay) == before


def test_many_are_shown_before_they_are_changed(
    relay: Any, org: Any, mara: str
) -> None:
    """By a filter: the count first; without a terminal only with --yes."""
    ids = {end(relay, MARA, subject=f"Offer {n}") for n in range(7)}
    other = end(relay, Person("z@z.example", "z@z.example", "", Place.TO))
    asked = relay("unmatched", "resolve", mara, "--domain", "acme.example", status=1)
    assert "7 messages to resolve:" in asked.stderr
    assert "… and 2 more" in asked.stderr
    assert "--yes" in asked.stderr
    assert set(messages(relay).values()) == {"unmatched"}
    done = relay.json("unmatched", "resolve", mara, "--domain", "acme.example", "--yes")
    assert {row["id"] for row in done} == ids
    assert messages(relay)[other] == "unmatched"
    none = relay.error("unmatched", "rematch", "--address", "q@q.example", status=1)
    assert "no unmatched message fits" in none


def test_ignore_leaves_the_people_out(relay: Any, org: Any) -> None:
    """For the user of the message; the message is decided anew."""
    ident = end(relay, MARA)
    (row,) = relay.json("unmatched", "ignore", ident)
    assert row == {"id": ident, "left_out": [MARA.key]}
    (rule,) = relay.json("exclude", "list")
    assert (rule["pattern"], rule["user"], rule["skip"]) == (
        MARA.key,
        "ada@corp.example",
        "address",
    )
    assert messages(relay) == {ident: "queued"}


def test_a_whole_domain_is_left_out_with_a_warning(relay: Any, org: Any) -> None:
    """Free mail, and a domain with records, need a second look."""
    ident = end(relay, MARA, Person("z@gmail.com", "z@gmail.com", "", Place.CC))
    relay("unmatched", "show", ident)
    words = ("unmatched", "ignore", ident, "--whole-domain", "--org")
    asked = relay(*words, status=1)
    assert "gmail.com is free mail" in asked.stderr
    assert "there are records in acme.example" in asked.stderr
    assert relay.json("exclude", "list") == []
    relay(*words, "--yes")
    rules = {(row["pattern"], row["user"]) for row in relay.json("exclude", "list")}
    assert rules == {("*@gmail.com", None), ("*@acme.example", None)}


def test_only_those_of_the_filter_are_left_out(relay: Any, org: Any) -> None:
    """Who else takes part may still be matched."""
    nobody = end(relay)
    end(relay, MARA, Person("z@z.example", "z@z.example", "", Place.CC))
    relay("unmatched", "ignore", "--domain", "z.example", "--yes")
    assert [row["pattern"] for row in relay.json("exclude", "list")] == ["z@z.example"]
    line = relay.error("unmatched", "ignore", nobody, status=2)
    assert "nobody in these messages" in line


def test_rematch_by_hand(relay: Any, ada: Any) -> None:
    """Needs no Salesforce: the worker asks."""
    ident = end(relay, MARA)
    assert relay.json("unmatched", "rematch", ident) == [{"id": ident}]
    assert messages(relay) == {ident: "queued"}


# ------------------------------------------------------------ new records

ZOE = Person("zoe.pine@new.example", "zoe.pine@new.example", "Pine, Zoë", Place.TO)
LOST = {"kind": "reset", "body": "zoe.pine@new.example"}


@pytest.fixture
def allowed(relay: Any, org: Any) -> Any:
    """Allow new records; the rep's Salesforce user is known."""
    relay("settings", "set", "match.unmatched_create", "true")
    user = record(org, "User", "Username", "ada@corp.example")
    relay("user", "set", "Ada Byron", "--salesforce-id", user)
    yield org
    org.faults.load([])


def people_of(org: Any, name: str) -> list[dict[str, Any]]:
    """Return the records with Zoe's address."""
    return [row for row in org.rows.all(name) if row["Email"] == ZOE.key]


def test_records_are_made_only_where_that_is_allowed(relay: Any, org: Any) -> None:
    """The line names the setting."""
    ident = end(relay, ZOE)
    line = relay.error("unmatched", "create", ident, "--lead", status=1)
    assert "relay settings set match.unmatched_create true" in line
    assert "--lead or --contact" in relay.error("unmatched", "create", ident, status=2)
    assert people_of(org, "Lead") == []


def test_a_lead_is_made_once_for_the_rep(relay: Any, allowed: Any) -> None:
    """With what is required; no assignment rule takes it away; then matched anew."""
    other = record(allowed, "User", "Username", "ben@corp.example")
    allowed.configure({"lead_assignment_owner": other})
    again = end(relay, ZOE)
    ident = end(relay, ZOE)
    (row,) = relay.json("unmatched", "create", ident, "--lead")
    (made,) = people_of(allowed, "Lead")
    assert row == {
        "address": ZOE.address,
        "object": "Lead",
        "id": made["Id"],
        "how": "created",
        "detail": "",
    }
    assert (made["FirstName"], made["LastName"], made["Company"]) == (
        *("Zoë", "Pine"),
        "New",
    )
    assert made["OwnerId"] == record(allowed, "User", "Username", "ada@corp.example")
    assert messages(relay)[ident] == "queued"
    changes = {one["action"]: one for one in relay.json("history")}
    assert changes["record_create"]["after"] == {"object": "Lead", "id": made["Id"]}
    (row,) = relay.json("unmatched", "create", again, "--contact")
    assert (row["how"], row["id"]) == ("known", made["Id"])
    assert people_of(allowed, "Contact") == []


def test_a_contact_of_an_account(relay: Any, allowed: Any) -> None:
    """A Lead has none, and nothing else will do."""
    ident = end(relay, ZOE)
    acme = record(allowed, "Account", "Name", "Acme Tools")
    words = ("unmatched", "create", ident)
    assert "has no Account" in relay.error(
        *(*words, "--lead", "--account", acme), status=2
    )
    deal = str(next(iter(allowed.rows.all("Opportunity")))["Id"])
    assert "name an Account" in relay.error(
        *(*words, "--contact", "--account", deal), status=2
    )
    relay(*words, "--contact", "--account", acme[:15])
    (made,) = people_of(allowed, "Contact")
    assert made["AccountId"] == acme


def test_a_duplicate_rule_is_respected(relay: Any, allowed: Any) -> None:
    """The message stays as it is; the line says what helps."""
    ident = end(relay, ZOE)
    fault = {"kind": "error_code", "object": "Lead", "code": "DUPLICATES_DETECTED"}
    allowed.faults.load([fault])
    done = relay("unmatched", "create", ident, "--lead", status=1)
    assert "a duplicate rule of the org" in done.stdout
    assert messages(relay) == {ident: "unmatched"}
    allowed.faults.load([])
    relay("unmatched", "create", ident, "--lead")
    assert len(people_of(allowed, "Lead")) == 1


def test_a_lost_answer_makes_no_second_record(relay: Any, allowed: Any) -> None:
    """The record is looked for by its address first."""
    ident = end(relay, ZOE)
    allowed.faults.load([LOST | {"stage": "after", "count": 1}])
    line = relay.error("unmatched", "create", ident, "--lead", status=1)
    assert "did not say whether it made a Lead" in line
    (row,) = relay.json("unmatched", "create", ident, "--lead")
    (made,) = people_of(allowed, "Lead")
    assert (row["how"], row["id"]) == ("created", made["Id"])


def test_a_lost_request_is_made_again_only_once_that_is_certain(
    relay: Any, allowed: Any
) -> None:
    """Until then a late one might still come through."""
    from sqlalchemy import update

    from relay.store import schema

    ident = end(relay, ZOE)
    allowed.faults.load([LOST | {"stage": "before", "count": 1}])
    relay.error("unmatched", "create", ident, "--lead", status=1)
    assert people_of(allowed, "Lead") == []
    line = relay.error("unmatched", "create", ident, "--lead", status=1)
    assert "is not known yet; run the command again in" in line

    async def wait(store: Store) -> None:
        old = update(schema.made_records).values(sent_at=1)
        await store.context.write(lambda connection: connection.execute(old))

    relay.in_store(wait)
    (row,) = relay.json("unmatched", "create", ident, "--lead")
    assert row["how"] == "created"
    assert len(people_of(allowed, "Lead")) == 1


def test_adding_a_user_says_whether_salesforce_knows_them(relay: Any, org: Any) -> None:
    """On stderr, with the command that helps; the user is there all the same."""
    result = relay("user", "add", "Nobody", "--email", "nobody@corp.example")
    assert (
        "Salesforce has no user with the address nobody@corp.example" in result.stderr
    )
    assert "relay user set nobody@corp.example --salesforce-id ID" in result.stderr
    assert result.stdout.startswith("log-")
    row = next(one for one in org.dump("User")["User"] if one["IsActive"])
    known = relay("user", "add", "Known", "--email", row["Email"])
    assert known.stderr == ""


def test_an_org_that_is_down_does_not_keep_a_user_out(relay: Any, ada: Any) -> None:
    """It is said that nobody could be asked."""
    with relay.config.open("a") as config:
        config.write(SALESFORCE.format(url="http://127.0.0.1:9"))
    result = relay("user", "add", "Bob", "--email", "bob@corp.example")
    assert "could not be asked whether it knows bob@corp.example" in result.stderr
    assert len(relay.json("user", "list")) == 2
