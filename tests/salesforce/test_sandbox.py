"""The adapter against the sandbox: real HTTP, strict rules, and faults as data."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.config import MatchSettings
from relay.core.clock import SystemClock
from relay.core.errors import (
    CredentialsRefused,
    OrgPaused,
    SalesforceLimited,
    SalesforceUnavailable,
)
from relay.salesforce.model import WriteState

CLOCK = SystemClock()
DAY = timedelta(days=1)


def task(key, **fields):
    return (
        key,
        "Task",
        {
            "Subject": f"Email: {key}",
            "Status": "Completed",
            "TaskSubtype": "Email",
            "Description": f"Hello\n\nrelay-key: {key}",
            **fields,
        },
    )


def email(key, **fields):
    return (
        key,
        "EmailMessage",
        {
            "Status": "3",
            "Subject": f"Email {key}",
            "TextBody": "Hello",
            "FromAddress": "ada@corp.example",
            "MessageIdentifier": f"<{key}@corp.example>",
            "IsClientManaged": True,
            **fields,
        },
    )


def keys(count):
    return [f"{number:040x}" for number in range(count)]


async def create(org, records, **more):
    outcomes = await org.records.create(
        records, not_after_boottime_s=CLOCK.boottime_s() + 5, **more
    )
    assert sorted(o.key for o in outcomes) == sorted(key for key, _, _ in records)
    return {outcome.key: outcome for outcome in outcomes}


def api_calls(sandbox):
    return [
        call for call in sandbox.calls.as_json() if "/services/data/" in call["path"]
    ]


async def find(org, name):
    found = (await org.lookup.find([name])).found
    return found.candidates.get(name, ())


# ------------------------------------------------------------ facts


async def test_the_schema_is_read_in_one_call_and_remembered(org, sandbox):
    """Seven objects and the statuses cost one call an hour."""
    schema = await org.schema.get()
    assert await org.schema.get() is schema
    assert len(api_calls(sandbox)) == 1
    assert schema.has_email_message
    assert not schema.shared_activities
    assert not schema.person_accounts
    assert schema.length("Task", "Subject") == 255
    assert schema.length("EmailMessage", "TextBody") == 131_072
    assert schema.createable("Task", "WhoId")
    assert not schema.createable("Task", "IsClosed")
    assert not schema.createable("Task", "Type"), "hidden by field-level security"
    assert schema.closed_statuses == ("Completed",)
    assert schema.key_prefixes["Task"] == "00T"


async def test_the_schema_follows_the_org(org, sandbox):
    """What an admin switches is seen when the schema is read anew."""
    sandbox.configure({"email_mode": "absent", "shared_activities": True})
    schema = await org.schema.get()
    assert not schema.has_email_message
    assert schema.shared_activities
    sandbox.configure({"email_mode": "enhanced"})
    assert (await org.schema.get(fresh=True)).has_email_message


async def test_me_is_the_integration_user(org, sandbox):
    """The login itself tells who we are; no call is spent on it."""
    assert await org.access.me() == sandbox.integration_user_id
    assert api_calls(sandbox) == []


async def test_usage_and_time_are_told_by_the_answers(org, sandbox):
    """The limit and Salesforce's clock come with every answer."""
    assert org.stats.usage is None
    await org.schema.get()
    used, limit = org.stats.usage
    assert used >= 1
    assert limit == 100_000
    assert abs(org.access.server_now() - CLOCK.now()) < timedelta(seconds=3)


async def test_jwt_bearer_logs_in(sandbox, settings_for, tmp_path):
    """A signed assertion is taken, with a key that is read from its file."""
    from relay.salesforce import Org

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = tmp_path / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    sandbox.configure({"jwt_public_key": public.decode()})
    settings = settings_for(
        sandbox,
        client_secret=None,
        username="relay@corp.example",
        private_key_file=private,
    )
    org = Org(settings, CLOCK)
    assert await org.access.me() == sandbox.integration_user_id
    await org.close()
    other = Org(settings.model_copy(update={"username": "ben@corp.example"}), CLOCK)
    with pytest.raises(CredentialsRefused, match="not approved the app"):
        await other.schema.get()
    await other.close()


async def test_a_wrong_secret_is_told_once_and_not_tried_again(sandbox, settings_for):
    """A refused login pauses, names the mend, and is not repeated in a loop."""
    from pydantic import SecretStr

    from relay.salesforce import Org

    org = Org(settings_for(sandbox, client_secret=SecretStr("wrong")), CLOCK)
    for _ in range(5):
        with pytest.raises(CredentialsRefused, match="secret is wrong") as caught:
            await org.schema.get()
        assert "wrong" not in str(caught.value).replace("is wrong", "")
    logins = [c for c in sandbox.calls.as_json() if "oauth2" in c["path"]]
    assert len(logins) == 1
    await org.close()


# ------------------------------------------------------------ look-ups


async def test_a_look_up_finds_people_their_open_opportunities_and_users(org, sandbox):
    """Contacts, open Leads, roles and Users come in one call."""
    await org.schema.get()
    before = len(api_calls(sandbox))
    result = await org.lookup.find(
        [
            "mara@acme.example",
            "olga@fjord.example",
            "grace@elm.example",
            "no@x.example",
        ],
        user_emails=["ada@corp.example", "dora@corp.example"],
        user_ids=[sandbox.integration_user_id],
    )
    assert len(api_calls(sandbox)) == before + 1
    candidates = result.found.candidates
    (mara,) = candidates["mara@acme.example"]
    assert mara.object == "Contact"
    assert mara.name == "Mara Lindqvist"
    assert mara.account_id
    roles = [r.opportunity_name for r in result.found.roles[mara.id]]
    assert roles == ["Acme: 40 torque wrenches"], "a closed one is left out"
    assert [c.object for c in candidates["olga@fjord.example"]] == ["Lead", "Lead"]
    assert [c.object for c in candidates["grace@elm.example"]] == ["Contact"]
    assert "no@x.example" not in candidates
    users = {user.email_key: user for user in result.users}
    assert users["ada@corp.example"].time_zone == "Europe/Berlin"
    assert users["ada@corp.example"].is_active
    assert not users["dora@corp.example"].is_active
    assert len(users) == 3


async def test_users_are_found_by_id(org, sandbox):
    """What is no id, or nobody's, is left out."""
    await org.start()
    me = await org.access.me()
    users = await org.lookup.users([me, "005000000000999AAA", "//evil"])
    assert list(users) == [me]
    assert users[me].time_zone == "Europe/London"


async def test_addresses_that_look_like_queries_are_only_addresses(org):
    """Quotes, backslashes and control characters find nobody, and break nothing."""
    hostile = [
        "x' or email != '@x.example",
        "\\' or '1'='1@x.example",
        "a\\@x.example",
        "nul\x00@x.example",
        "\ud800@x.example",
        "ü@bücher.example",
        "x" * 75 + "@x.example",
    ]
    result = await org.lookup.find([*hostile, "sam.o'neill@dune.example"])
    assert list(result.found.candidates) == ["sam.o'neill@dune.example"]


async def test_a_thousand_mails_are_looked_up_in_few_calls(org, sandbox):
    """Three thousand addresses cost as many calls as their encoded length demands."""
    addresses = [f"person.name{n}@customer-{n % 97}.example" for n in range(3000)]
    contacts = [
        {"LastName": f"P{n}", "Email": address}
        for n, address in enumerate(addresses[::3])
    ]
    sandbox.insert_raw("Contact", contacts)
    sandbox.configure({"loose_pages": False})
    await org.schema.get()
    before = len(api_calls(sandbox))
    result = await org.lookup.find(addresses)
    assert set(result.found.candidates) == set(addresses[::3])
    assert len(api_calls(sandbox)) - before <= 6


async def test_answers_on_many_pages_are_read_whole(org, sandbox):
    """Pages of an answer and of a row's children are followed to their end."""
    sandbox.configure({"page_size": 200, "loose_pages": True})
    sandbox.insert_raw(
        "Contact", [{"LastName": f"L{n}", "Email": "all@x.example"} for n in range(700)]
    )
    assert len(await find(org, "all@x.example")) == 700


async def test_activities_are_counted_only_when_asked(org, sandbox):
    """Counts are asked for addresses with several records alone."""
    first, second = await find(org, "olga@fjord.example")
    assert (first.activity_count, second.activity_count) == (None, None)
    sandbox.insert_raw("Task", [{"Subject": "x", "WhoId": second.id}] * 3)
    sandbox.insert_raw("Event", [{"Subject": "x", "WhoId": second.id}])
    result = await org.lookup.find(
        ["olga@fjord.example", "mara@acme.example"],
        match=MatchSettings(several="most_activity"),
    )
    counts = {
        c.id: c.activity_count for c in result.found.candidates["olga@fjord.example"]
    }
    assert counts == {first.id: 0, second.id: 4}
    (mara,) = result.found.candidates["mara@acme.example"]
    assert mara.activity_count is None


# ------------------------------------------------------------ writes


async def test_records_are_written_in_one_call_and_each_has_an_outcome(org, sandbox):
    """A thousand records of two kinds cost one call."""
    (mara,) = await find(org, "mara@acme.example")
    before = len(api_calls(sandbox))
    names = keys(1000)
    records = [
        task(k, WhoId=mara.id) if n % 2 else email(k, ToIds=[mara.id])
        for n, k in enumerate(names)
    ]
    outcomes = await create(org, records)
    assert {o.state for o in outcomes.values()} == {WriteState.WRITTEN}
    assert len({o.id for o in outcomes.values()}) == 1000
    assert len(api_calls(sandbox)) - before == 1


async def test_one_bad_record_spoils_no_neighbour(org, sandbox):
    """A refused record has its code and text; the others are written."""
    (mara,) = await find(org, "mara@acme.example")
    a, b, c, d = keys(4)
    outcomes = await create(
        org,
        [
            task(a, WhoId=mara.id),
            task(b, WhoId="005000000000001AAA"),
            task(c, Subject="x" * 256),
            task(d),
        ],
    )
    assert outcomes[a].state is WriteState.WRITTEN
    assert outcomes[b].state is WriteState.REFUSED
    assert outcomes[b].text
    assert (outcomes[c].state, outcomes[c].code) == (
        WriteState.REFUSED,
        "STRING_TOO_LONG",
    )
    assert outcomes[d].state is WriteState.WRITTEN


async def test_a_record_that_spoils_its_collection_is_singled_out(org, sandbox):
    """Where Salesforce refuses a whole collection, only its cause stays refused."""
    names = keys(400)
    records = [task(k) for k in names]
    records[17] = (names[17], "Task", {"NoSuchField__c": "x"})
    records[333] = (names[333], "NoSuchObject", {"a": 1})
    outcomes = await create(org, records)
    refused = {k for k, o in outcomes.items() if o.state is not WriteState.WRITTEN}
    assert refused == {names[17], names[333]}
    assert outcomes[names[17]].state is WriteState.REFUSED
    assert len(sandbox.dump("Task")["Task"]) == 398


async def test_a_locked_row_is_to_be_tried_again(org, sandbox):
    """UNABLE_TO_LOCK_ROW is no refusal, whatever the HTTP status says."""
    sandbox.faults.load([{"kind": "lock_rows", "object": "Task", "count": 1}])
    a, b = keys(2)
    outcomes = await create(org, [task(a), task(b)])
    states = sorted(o.state for o in outcomes.values())
    assert states == [WriteState.RETRY, WriteState.WRITTEN]


async def test_text_that_json_cannot_hold_is_mended_or_refused(org):
    """A lone surrogate becomes a mark, NaN is refused; neighbours are written."""
    a, b, c = keys(3)
    outcomes = await create(
        org,
        [
            task(a, Subject="x\udce9y"),
            task(b, CallDurationInSeconds=float("nan")),
            task(c),
        ],
    )
    assert outcomes[a].state is WriteState.WRITTEN
    assert (outcomes[b].state, outcomes[b].code) == (WriteState.REFUSED, "unencodable")
    assert outcomes[c].state is WriteState.WRITTEN


LOST = [
    {"kind": "reset", "stage": "after"},
    {"kind": "html", "stage": "after", "code": 503},
    {"kind": "html", "stage": "after", "code": 200},
    {"kind": "truncate", "stage": "after"},
    {"kind": "stall", "stage": "answer", "delay_s": 1.5},
    {"kind": "status", "stage": "after", "code": 500},
]


@pytest.mark.parametrize(
    "fault", LOST, ids=lambda f: f"{f['kind']} {f.get('code', '')}"
)
async def test_a_lost_answer_is_unknown_and_what_was_written_is_found(
    sandbox, settings_for, fault
):
    """After a commit without answer nothing is claimed, and read-back settles it."""
    from relay.salesforce import Org

    org = Org(settings_for(sandbox, timeout_s=0.5), CLOCK)
    await org.schema.get()
    a, b = keys(2)
    since = org.access.server_now() - timedelta(minutes=5)
    sandbox.faults.load([{**fault, "count": 1, "path": "composite"}])
    outcomes = await create(org, [task(a), email(b)])
    assert {o.state for o in outcomes.values()} == {WriteState.UNKNOWN}
    found = await org.records.find_own_tasks(since, org.access.server_now() + DAY)
    assert list(found) == [a]
    messages = await org.records.find_email_messages([f"<{b}@corp.example>", "<no@x>"])
    assert list(messages) == [f"<{b}@corp.example>"]
    assert messages[f"<{b}@corp.example>"][0].created_by_id == await org.access.me()
    await org.close()


NEVER = [
    {"kind": "reset", "stage": "before"},
    {"kind": "html", "stage": "before", "code": 503},
]


@pytest.mark.parametrize("fault", NEVER, ids=lambda f: f["kind"])
async def test_a_lost_request_is_unknown_and_not_found(org, sandbox, fault):
    """From outside it looks the same as a lost answer; read-back tells."""
    await org.schema.get()
    sandbox.faults.load([{**fault, "count": 1, "path": "composite"}])
    (a,) = keys(1)
    outcomes = await create(org, [task(a)])
    assert outcomes[a].state is WriteState.UNKNOWN
    assert (
        await org.records.find_own_tasks(
            org.access.server_now() - DAY, org.access.server_now() + DAY
        )
        == {}
    )


async def test_a_spent_quota_pauses_and_wrote_nothing(org, sandbox):
    """REQUEST_LIMIT_EXCEEDED is an error of the org, with a long wait."""
    await org.schema.get()
    sandbox.faults.load([{"kind": "quota", "count": 1}])
    with pytest.raises(SalesforceLimited) as caught:
        await create(org, [task(*keys(1))])
    assert caught.value.retry_after_s == 900
    assert sandbox.dump("Task")["Task"] == []


async def test_an_expired_session_is_renewed_without_a_word(org, sandbox):
    """The write after the end of a session succeeds."""
    await org.schema.get()
    sandbox.faults.load([{"kind": "expire_token", "count": 1}])
    (a,) = keys(1)
    assert (await create(org, [task(a)]))[a].state is WriteState.WRITTEN


async def test_sessions_that_always_end_cause_two_logins(org, sandbox):
    """Forty calls while every token is refused log in twice."""
    sandbox.faults.load([{"kind": "expire_token"}])
    for _ in range(40):
        with pytest.raises(CredentialsRefused):
            await org.schema.get()
    logins = [c for c in sandbox.calls.as_json() if "oauth2" in c["path"]]
    assert len(logins) == 2


async def test_a_write_after_its_time_is_not_sent(org, sandbox):
    """A paused worker that wakes up writes nothing."""
    (a,) = keys(1)
    outcomes = await org.records.create(
        [task(a)], not_after_boottime_s=CLOCK.boottime_s() - 0.01
    )
    assert [o.state for o in outcomes] == [WriteState.NOT_SENT]
    assert sandbox.dump("Task")["Task"] == []


async def test_the_owner_of_the_platforms_task_can_be_set(org, sandbox):
    """The Task made for an EmailMessage is read back and given to the rep."""
    (a,) = keys(1)
    written = (await create(org, [email(a)]))[a]
    found = await org.records.read_email_messages(
        [written.id, "//evil.example/x", "nonsense"]
    )
    task_id = found[written.id].activity_id
    assert task_id
    ada = next(
        iter((await org.lookup.find([], user_emails=["ada@corp.example"])).users)
    )
    outcomes = await org.records.update(
        [
            ("k", "Task", task_id, {"OwnerId": ada.id}),
            ("bad", "Task", "//evil.example/x", {"OwnerId": ada.id}),
            ("again", "Task", task_id[:15], {"OwnerId": ada.id}),
        ]
    )
    by_key = {o.key: o for o in outcomes}
    assert by_key["again"].state is WriteState.WRITTEN, "no id twice in a collection"
    assert by_key["k"].state is WriteState.WRITTEN
    assert by_key["bad"].state is WriteState.REFUSED
    (row,) = sandbox.dump("Task")["Task"]
    assert row["OwnerId"] == ada.id


async def test_deleted_records_are_found_too(org, sandbox):
    """A deleted record is somebody's wish, and must not be made again."""
    a, b = keys(2)
    written = await create(org, [task(a), email(b)])
    sandbox.records.delete("Task", written[a].id, sandbox.caller())
    sandbox.records.delete("EmailMessage", written[b].id, sandbox.caller())
    sandbox.rows.commit()
    window = (org.access.server_now() - DAY, org.access.server_now() + DAY)
    assert (await org.records.find_own_tasks(*window))[a].is_deleted
    (message,) = (
        await org.records.find_email_messages([f"<{b}@corp.example>"])
    ).values()
    assert message[0].is_deleted


async def test_a_unique_field_makes_a_second_write_harmless(org, sandbox):
    """DUPLICATE_VALUE on our own key means written, with the id of the first."""
    sandbox.configure(
        {
            "custom_fields": [
                {
                    "object": "Task",
                    "name": "Relay_Key__c",
                    "type": "string",
                    "length": 64,
                    "unique": True,
                    "external_id": True,
                }
            ]
        }
    )
    (a,) = keys(1)
    record = task(a, Relay_Key__c=a)
    unique = {a: "Relay_Key__c"}
    first = (await create(org, [record], unique_fields=unique))[a]
    second = (await create(org, [record], unique_fields=unique))[a]
    assert (second.state, second.id) == (WriteState.WRITTEN, first.id)
    stranger = (await create(org, [record]))[a]
    assert (stranger.state, stranger.code) == (WriteState.REFUSED, "DUPLICATE_VALUE")
    assert (await org.records.find_by_key("Task", "Relay_Key__c", [a]))[
        a
    ].id == first.id


async def test_a_wrong_version_pauses_the_org(sandbox, settings_for):
    """A version that the org does not have is the admin's matter."""
    from relay.salesforce import Org

    org = Org(settings_for(sandbox, api_version="20.0"), CLOCK)
    with pytest.raises(OrgPaused, match="api_version"):
        await org.schema.get()
    await org.close()


async def test_an_org_that_is_down_is_unavailable(sandbox, settings_for):
    """A closed port is transient, and no time-out is waited for."""
    from relay.salesforce import Org

    org = Org(settings_for("http://127.0.0.1:9", timeout_s=120), CLOCK)
    async with asyncio.timeout(5):
        with pytest.raises(SalesforceUnavailable):
            await org.schema.get()
    await org.close()
