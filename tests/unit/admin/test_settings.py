"""Settings of the store: which may be changed, which values fit, what is shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relay.admin import settings as admin
from relay.config import Settings
from relay.core.errors import InvalidInput
from relay.salesforce import fits
from relay.sender.policy import KEYS

LOADED = Settings()


def test_a_value_is_checked_as_in_the_file() -> None:
    """The hint names the choices."""
    assert admin.read_value(LOADED, "match.several", "all") == "all"
    with pytest.raises(InvalidInput, match="does not fit; write one of"):
        admin.read_value(LOADED, "match.several", "some")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", []),
        ("auto", ["auto"]),
        ("Corp.example, *@bücher.example,", ["corp.example", "xn--bcher-kva.example"]),
    ],
)
def test_a_list_is_separated_by_commas(text: str, value: list[str]) -> None:
    """As in the environment; an empty one is a list too."""
    assert admin.read_value(LOADED, "match.internal_domains", text) == value


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("corp.example,gmail.com", "gmail.com is a domain of free mail"),
        ("ada@corp.example", "is not a domain; write a domain"),
        ("192.0.2.1", "is not a domain"),
    ],
)
def test_an_item_that_does_not_fit_is_named(text: str, part: str) -> None:
    """Nobody can make all of gmail.com colleagues."""
    with pytest.raises(InvalidInput, match=part):
        admin.read_value(LOADED, "match.internal_domains", text)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("smtp.listen", "needs a restart"),
        ("smtp.none", "is no setting of the store"),
        ("none", "is no setting of the store"),
    ],
)
def test_other_keys_are_told_from_unknown_ones(key: str, text: str) -> None:
    """A key of the file names the file; a slip names the keys that there are."""
    with pytest.raises(InvalidInput, match=text):
        admin.require_editable(LOADED, key)


def test_the_store_stands_before_the_file() -> None:
    """Each editable key has its value and where it is from."""
    rows = {one.key: one for one in admin.in_force(LOADED, {})}
    assert rows["match.several"].source == "file"
    values = {key: one.value for key, one in rows.items()}
    assert values["match.internal_domains"] == ["auto"]
    assert set(values) >= set(KEYS)
    rows = {one.key: one for one in admin.in_force(LOADED, {"match.several": "all"})}
    row, others = rows.pop("match.several"), rows.values()
    assert row.as_json() == {
        "key": "match.several",
        "value": "all",
        "source": "store",
        "help": row.help,
    }
    assert {other.source for other in others} == {"file", "default"}
    assert {other.key for other in others} >= {"automatic.auto_reply"}


def test_secrets_of_the_file_are_masked() -> None:
    """A password in the database's address is not printed either."""
    url = "postgresql://relay:hush@db/relay"
    loaded = Settings(store={"url": url}, salesforce={"client_secret": "hush"})  # type: ignore[arg-type]
    for key in ("store.url", "salesforce.client_secret"):
        row = admin.of_file(loaded, key)
        assert row is not None
        assert "hush" not in str(row.value)
    assert admin.of_file(loaded, "match.several") is None
    assert admin.of_file(loaded, "no.such") is None


def test_what_is_asked_of_senders_may_hold_for_one_domain() -> None:
    """It is checked like the setting of all, listed beside it, and is no other key."""
    key = "sender.policy.acme.com"
    assert admin.read_value(LOADED, key, "listed") == "listed"
    with pytest.raises(InvalidInput, match="write one of aligned"):
        admin.read_value(LOADED, key, "strict")
    *_, row = admin.in_force(LOADED, {key: "listed"})
    assert (row.key, row.value, row.source) == (key, "listed", "store")
    assert admin.of_file(LOADED, key) is None


@pytest.mark.parametrize(
    "key",
    ["sender.policy.", "sender.policy.Acme.com", "sender.policy.acme", "sender.x.y"],
)
def test_a_domain_is_written_as_the_relay_compares_it(key: str) -> None:
    """A slip would be a setting that never holds."""
    with pytest.raises(InvalidInput):
        admin.read_value(LOADED, key, "listed")


def test_the_switch_of_the_org_is_of_the_store_alone() -> None:
    """Its words are true and false; the file has no such key."""
    assert admin.read_value(LOADED, "active", " False ") is False
    assert admin.read_value(LOADED, "active", "true") is True
    with pytest.raises(InvalidInput, match="does not fit; write one of true, false"):
        admin.read_value(LOADED, "active", "perhaps")
    rows = {row.key: row for row in admin.in_force(LOADED, {"active": False})}
    assert (rows["active"].value, rows["active"].source) == (False, "store")
    rows = {row.key: row for row in admin.in_force(LOADED, {})}
    assert (rows["active"].value, rows["active"].source) == (True, "default")


def test_what_does_not_fit_the_org_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names key, value and what Salesforce says of it."""

    async def wrong(_: Any, value: Any) -> str:
        return f"Contact has no field {value[-1]}" if value != ["Email"] else ""

    monkeypatch.setitem(fits.CHECKS, "match.some_fields", wrong)
    org: Any = None
    assert admin.asks_org("match.some_fields", ["a"])
    assert not admin.asks_org("match.some_fields", [])
    assert not admin.asks_org("match.others", ["a"])
    asyncio.run(admin.check_in_org(org, "match.some_fields", ["Email"]))
    with pytest.raises(InvalidInput) as caught:
        asyncio.run(admin.check_in_org(org, "match.some_fields", ["Email", "Mail__c"]))
    assert str(caught.value) == (
        'match.some_fields = ["Email", "Mail__c"] does not fit the org: '
        "Contact has no field Mail__c"
    )


@pytest.mark.parametrize(
    ("key", "text", "mend"),
    [
        ("match.thread", "perhaps", "write true or false"),
        ("match.rematch_s", "soon", "write digits"),
        ("match.rematch_s", "-1", "write 0 or more"),
        ("match.objects", "contact,person", 'write "contact", "lead" or "person'),
        ("match.more_headers", "sender", 'write "bcc" or "reply_to"'),
        ("match.accounts", "a,b,c,d,e,f", "write 5 entries at most"),
        ("match.contact_email_fields", "", "name one at least"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_the_mend(
    key: str, text: str, mend: str
) -> None:
    """The same words as for the file; never the description of the key alone."""
    with pytest.raises(InvalidInput, match="does not fit; it is ") as caught:
        admin.read_value(LOADED, key, text)
    assert mend in str(caught.value)
