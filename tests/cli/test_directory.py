"""Users, addresses, exclusions and settings, through the commands, on a real store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.directory import AddressUse

if TYPE_CHECKING:
    from pathlib import Path

ADA_ID = "005000000000001AAA"


def test_user_add_prints_the_relay_address_alone(relay: Any) -> None:
    """`ADDRESS=$(relay user add …)` is the address for the BCC line."""
    result = relay("user", "add", "Ada Byron", "--email", "Ada@Corp.example")
    (user,) = relay.json("user", "list")
    assert result.stdout == user["relay_address"] + "\n"
    assert user == {
        "name": "Ada Byron",
        "email": "ada@corp.example",
        "role": "rep",
        "active": True,
        "salesforce_id": None,
        "relay_address": user["relay_address"],
        "state": "active",
        "activated_at": user["activated_at"],
        "notify": None,
        "language": None,
        "last_received_at": None,
        "last_logged_at": None,
        "sign_in": "not_invited",
    }
    assert user["relay_address"].endswith("@in.relay.example")


def test_a_new_user_may_send_from_their_own_address(relay: Any, ada: Any) -> None:
    """`user add` accepts the user's own address as a sender at once."""
    (row,) = relay.json("address", "list", ada["email"])
    assert row["user"] == row["address"] == "ada@corp.example"
    assert set(row) == {
        *("user", "address", "added_at", "added_by", "confirmed"),
        *("source", "delegate"),
    }
    assert (row["source"], row["delegate"]) == ("own", None)
    assert row["added_by"].startswith("cli")


def test_users_have_role_and_salesforce_id(relay: Any) -> None:
    """A 15-character id is kept in its safe form; a role is one of three."""
    relay(
        *("user", "add", "Grace", "--email", "g@corp.test", "--role", "admin"),
        *("--salesforce-id", "005000000000001"),
    )
    (user,) = relay.json("user", "list")
    assert (user["role"], user["salesforce_id"]) == ("admin", ADA_ID)
    assert "--role" in relay.error(
        *("user", "add", "X", "--email", "x@corp.test", "--role", "boss"), status=2
    )


def test_a_second_user_with_an_address_is_refused(relay: Any, ada: Any) -> None:
    """One address is one person; the first user stays as they are."""
    line = relay.error("user", "add", "Eve", "--email", "ADA@corp.example", status=1)
    assert "already" in line
    assert relay.json("user", "list") == [ada]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["Ada", "--email", "ada"], "no e-mail address"),
        (["Ada", "--email", "a@x.test", "--salesforce-id", "003"], "no record id"),
        (["", "--email", "a@x.test"], "printable"),
        (["Ada", "--email", "*@corp.example"], "asterisk"),
        (["Ada", "--email", "ada+*@corp.example"], "asterisk"),
        (["Ada"], "--email"),
    ],
)
def test_slips_are_wrong_usage(relay: Any, arguments: list[str], part: str) -> None:
    """What cannot be right is told before anything is stored."""
    assert part in relay.error("user", "add", *arguments, status=2)
    assert relay.json("user", "list") == []


def test_without_a_domain_no_user_is_made(relay: Any) -> None:
    """A relay address needs `smtp.domains`; the mistake is named with exit 2."""
    text = relay.config.read_text("utf-8")
    relay.config.write_text(text.replace('["in.relay.example"]', "[]"), "utf-8")
    line = relay.error("user", "add", "Ada", "--email", "a@x.test", status=2)
    assert "smtp.domains" in line
    assert relay.json("user", "list") == []


def test_users_are_found_by_address_or_single_name(relay: Any, ada: Any) -> None:
    """A name works while one user has it; then the answer lists who has."""
    (used,) = relay.json("user", "show", "ada byron")[0]["relay_addresses"]
    assert used == {
        "address": ada["relay_address"],
        "state": "current",
        "created_at": used["created_at"],
        "until": None,
        "accepted": 0,
        "last_accepted_at": None,
        "refused": 0,
        "last_refused_at": None,
    }
    shown = ada | {
        "accepted": ["ada@corp.example"],
        "old_addresses": [],
        "relay_addresses": [used],
        "invitation": {
            "state": "not_invited",
            "invited_at": None,
            "invited_by": None,
            "link_ends_at": None,
            "mail": None,
            "mail_error": "",
            "signed_in_at": None,
        },
    }
    assert relay.json("user", "show", "ada byron") == [shown]
    assert relay.json("user", "show", "ADA@corp.example") == [shown]
    relay("user", "add", "Ada Byron", "--email", "ada2@corp.example")
    line = relay.error("user", "show", "Ada Byron", status=1)
    assert "ada@corp.example" in line
    assert "ada2@corp.example" in line
    assert "no user" in relay.error("user", "show", "Bob", status=1)


def test_disable_and_enable(relay: Any, ada: Any) -> None:
    """A disabled user keeps the relay address for the day they come back."""
    relay("user", "disable", "Ada Byron")
    assert relay.json("user", "list") == [ada | {"active": False, "state": "disabled"}]
    (enabled,) = relay.json("user", "enable", "ada@corp.example")
    assert enabled | {"sign_in": "not_invited"} == ada


def test_rotate_gives_another_address(relay: Any, ada: Any) -> None:
    """The new address is printed; the old one works on for the grace time."""
    new = relay("user", "rotate", "Ada Byron").stdout.strip()
    assert new != ada["relay_address"]
    assert relay.json("user", "list") == [ada | {"relay_address": new}]
    directory = relay.in_store(lambda store: store.directory.load())
    assert ada["relay_address"].partition("@")[0] in directory.by_token


def test_rotate_says_until_when_the_old_address_works(relay: Any, ada: Any) -> None:
    """On stderr, so that stdout is the address; `user show` says it for as long."""
    said = relay("user", "rotate", "Ada Byron")
    assert said.stdout.count("\n") == 1
    (shown,) = relay.json("user", "show", "Ada Byron")
    (old,) = shown["old_addresses"]
    assert old["address"] == ada["relay_address"]
    until = old["until"][:19].replace("T", " ")
    assert f"The old address works until {until} UTC" in said.stderr
    assert "--now" in said.stderr
    line = f"{ada['relay_address']} works until {until}"
    assert line in relay("user", "show", "Ada Byron").stdout


def test_rotate_now_ends_every_old_address(relay: Any, ada: Any) -> None:
    """After a leak no address but the new one takes mail, older ones included."""
    relay("user", "rotate", "Ada Byron")
    said = relay("user", "rotate", "Ada Byron", "--now")
    assert "No old address works any more." in said.stderr
    directory = relay.in_store(lambda store: store.directory.load())
    assert list(directory.by_token) == [said.stdout.partition("@")[0]]
    assert relay.json("user", "show", "Ada Byron")[0]["old_addresses"] == []


def test_set_changes_the_role(relay: Any, ada: Any) -> None:
    """With or without the Salesforce user, which stays as it is without."""
    relay("user", "set", "Ada Byron", "--salesforce-id", ADA_ID)
    assert "monitor" in relay("user", "set", "Ada Byron", "--role", "monitor").stdout
    expected = ada | {"role": "monitor", "salesforce_id": ADA_ID}
    assert relay.json("user", "list") == [expected]
    relay("user", "set", "Ada Byron", "--role", "admin", "--salesforce-id", "")
    assert relay.json("user", "list") == [ada | {"role": "admin"}]
    assert "--role" in relay.error("user", "set", "Ada Byron", status=2)
    assert "boss" in relay.error("user", "set", "Ada Byron", "--role", "boss", status=2)


def test_set_names_the_salesforce_user(relay: Any, ada: Any) -> None:
    """What the worker asks for when it finds nobody; empty goes back to looking."""
    relay("user", "set", "Ada Byron", "--salesforce-id", ADA_ID)
    assert relay.json("user", "list") == [ada | {"salesforce_id": ADA_ID}]
    relay("user", "set", "Ada Byron", "--salesforce-id", "")
    assert relay.json("user", "list") == [ada]


def test_addresses_are_added_and_removed(relay: Any, ada: Any) -> None:
    """Whole domains too; adding twice is no error, removing twice is."""
    relay("address", "add", "Ada Byron", "*@Byron.example")
    again = relay("address", "add", "Ada Byron", "*@byron.example")
    assert "already" in again.stdout
    listed = [row["address"] for row in relay.json("address", "list")]
    assert listed == [ada["email"], "*@byron.example"]
    relay("address", "remove", "Ada Byron", "*@byron.example")
    assert "no accepted address" in relay.error(
        "address", "remove", "Ada Byron", "*@byron.example", status=1
    )


def test_exclusions_are_everybodys_or_one_users(relay: Any, ada: Any) -> None:
    """The same pattern may be left out for all and for one."""
    relay("exclude", "add", "*@bank.example")
    relay("exclude", "add", "X@y.example", "--user", "Ada Byron", "--skip", "address")
    assert relay.json("exclude", "list") == [
        {"pattern": "*@bank.example", "user": None, "skip": "mail"},
        {"pattern": "x@y.example", "user": ada["email"], "skip": "address"},
    ]
    assert "no exclusion" in relay.error("exclude", "remove", "x@y.example", status=1)
    relay("exclude", "remove", "x@y.example", "--user", "Ada Byron")
    relay("exclude", "remove", "*@bank.example")
    assert relay.json("exclude", "list") == []


def test_settings_override_the_file(relay: Any) -> None:
    """The store's value counts before the file's, and says where it comes from."""
    assert relay("settings", "get", "match.several").stdout == "all\n"
    relay("settings", "set", "match.several", "oldest")
    assert relay("settings", "get", "match.several").stdout == "oldest\n"
    rows = {row["key"]: row for row in relay.json("settings", "list")}
    row = rows["match.several"]
    assert (row["value"], row["source"]) == ("oldest", "store")
    directory = relay.in_store(lambda store: store.directory.load())
    assert directory.settings == {"match.several": "oldest"}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("set", "match.several", "some"), "all, oldest, newest, most_activity"),
        (("set", "match.severall", "all"), " match.several, "),
        (("get", "nonsense"), " match.several, "),
        (("set", "smtp.listen", "x"), "needs a restart"),
    ],
)
def test_wrong_settings_name_what_is_right(
    relay: Any, arguments: tuple[str, ...], part: str
) -> None:
    """An unknown key or value is wrong usage, with the right ones named."""
    assert part in relay.error("settings", *arguments, status=2)


def test_tables_show_what_json_does(relay: Any, ada: Any) -> None:
    """The tables for people hold the same, and empty ones say what to do."""
    assert ada["relay_address"] in relay("user", "list").stdout
    assert "ada@corp.example" in relay("user", "show", "Ada Byron").stdout
    assert "ada@corp.example" in relay("address", "list").stdout
    assert "relay exclude add" in relay("exclude", "list").stdout
    relay("exclude", "add", "*@bank.example")
    assert "everybody" in relay("exclude", "list").stdout
    assert "match.several" in relay("settings", "list").stdout


def test_db_upgrade_says_what_it_did(relay: Any) -> None:
    """An empty store gets the schema; a second time there is nothing to do."""
    assert "from nothing to" in relay("db", "upgrade").stdout
    assert "nothing to do" in relay("db", "upgrade").stdout
    (row,) = relay.json("db", "upgrade")
    assert row["before"] == row["after"]


def test_a_missing_settings_file_is_named(relay: Any, tmp_path: Path) -> None:
    """`--config` with a wrong path never falls back to defaults."""
    line = relay.error("--config", str(tmp_path / "no.toml"), "user", "list", status=2)
    assert "no.toml" in line


def test_a_store_that_cannot_be_opened_is_named(relay: Any, tmp_path: Path) -> None:
    """A file that is no database is a mistake in the settings."""
    (tmp_path / "relay.db").write_bytes(b"no database at all" * 100)
    assert "store.url" in relay.error("user", "list", status=2)


def test_app_passwords_are_shown_once(relay: Any, ada: Any) -> None:
    """`app-password add` prints the password alone; the list has names, no secret."""
    password = relay("user", "app-password", "add", "ada@corp.example").stdout.strip()
    assert len(password.replace("-", "")) == 20
    (row,) = relay.json("user", "app-password", "list", "ada@corp.example")
    assert set(row) == {"user", "name", "added_at", "added_by", "used_at"}
    assert (row["user"], row["name"]) == ("ada@corp.example", "mail program")
    assert row["used_at"] is None
    assert password not in str(row)
    assert relay.json("user", "app-password", "list") == [row]
    shown = relay("user", "app-password", "list").stdout
    assert "mail program" in shown
    assert "never" in shown


def test_app_passwords_are_removed_by_name(relay: Any, ada: Any) -> None:
    """A name may be left out where there is one; a wrong one is told."""
    (made,) = relay.json(
        "user", "app-password", "add", "ada@corp.example", "--name", "phone"
    )
    assert set(made) == {"user", "name", "password"}
    line = relay.error(
        "user", "app-password", "add", "ada@corp.example", "--name", "phone", status=1
    )
    assert "already" in line
    relay("user", "app-password", "add", "ada@corp.example")
    assert "name one" in relay.error(
        "user", "app-password", "remove", "ada@corp.example", status=1
    )
    relay("user", "app-password", "remove", "ada@corp.example", "phone")
    assert (
        "cannot log in"
        in relay("user", "app-password", "remove", "ada@corp.example").stdout
    )
    assert "no app" in relay.error(
        "user", "app-password", "remove", "ada@corp.example", status=1
    )
    assert relay.json("user", "app-password", "list") == []


def test_a_pattern_is_left_out_in_one_way(relay: Any, ada: Any) -> None:
    """Adding it again with another --skip replaces the first, and says so."""
    relay("exclude", "add", "*@bank.example", "--skip", "address")
    said = relay("exclude", "add", "*@bank.example", "--skip", "mail").stdout
    assert "(before: --skip address)" in said
    relay(
        "exclude", "add", "*@bank.example", "--user", "Ada Byron", "--skip", "address"
    )
    assert [(row["user"], row["skip"]) for row in relay.json("exclude", "list")] == [
        (None, "mail"),
        ("ada@corp.example", "address"),
    ]


def test_an_unknown_user_is_a_line_with_a_command(relay: Any) -> None:
    """The mend is the listing."""
    assert "`relay user list`" in relay.error("user", "show", "Bob", status=1)


def test_settings_of_the_file_can_be_read(relay: Any) -> None:
    """The value on stdout, the note that it needs a restart beside it."""
    done = relay("settings", "get", "worker.batch")
    assert done.stdout == "1000\n"
    assert "restart" in done.stderr
    (row,) = relay.json("settings", "get", "smtp.domains")
    assert (row["value"], row["source"]) == (["in.relay.example"], "file")
    assert "no.thing" in relay.error("settings", "get", "no.thing", status=2)


def test_secrets_are_not_read_back(relay: Any) -> None:
    """A listing that somebody pastes into a ticket holds no password."""
    with relay.config.open("a") as config:
        config.write('[salesforce]\nclient_secret = "hunter2"\n')
    assert relay("settings", "get", "salesforce.client_secret").stdout == "***\n"


def test_a_setting_can_be_taken_back(relay: Any) -> None:
    """After unset the file's value holds again."""
    relay("settings", "set", "match.several", "oldest")
    assert "all" in relay("settings", "unset", "match.several").stdout
    (row,) = relay.json("settings", "get", "match.several")
    assert (row["value"], row["source"]) == ("all", "file")


def test_a_domain_without_a_setting_has_that_for_all(relay: Any) -> None:
    """It can be taken back and read like every other key."""
    key = "sender.policy.acme.com"
    relay("settings", "set", "sender.policy", "signed")
    relay("settings", "set", key, "any_pass_none_fail")
    assert relay("settings", "get", key).stdout == "any_pass_none_fail\n"
    said = relay("settings", "unset", key).stdout
    assert said == f"{key} is not set: sender.policy holds, signed.\n"
    assert relay("settings", "unset", key).stdout == said
    assert relay("settings", "get", key).stdout == "signed\n"
    assert key not in [row["key"] for row in relay.json("settings", "list")]


def test_settings_are_listed_as_they_are_set(relay: Any) -> None:
    """What no file sets is not said to be of the file alone."""
    said = relay("settings", "set", "match.internal_domains", "auto,a.example").stdout
    assert said == "match.internal_domains is auto,a.example now.\n"
    text = " ".join(relay("settings", "list").stdout.split())
    assert "match.internal_domains auto,a.example store" in text
    assert "match.several all file or default" in text


# ---------------------------------------------------------------- people change


def test_rename_and_set_email(relay: Any, ada: Any) -> None:
    """The relay address stays: the name and the mailbox are what changed."""
    said = relay("user", "rename", "Ada Byron", "Ada  Lovelace").stdout
    assert said == "Ada Lovelace <ada@corp.example> is the name now.\n"
    (row,) = relay.json("user", "set-email", "ada@corp.example", "Ada@New.example")
    now = ada | {"name": "Ada Lovelace", "email": "ada@new.example"}
    assert row | {"sign_in": "not_invited"} == now
    (shown,) = relay.json("user", "show", "ada@new.example")
    assert shown["accepted"] == ["ada@new.example"]
    relay("user", "set-email", "Ada Lovelace", "al@new.example", "--keep-old")
    (shown,) = relay.json("user", "show", "al@new.example")
    assert shown["accepted"] == ["ada@new.example", "al@new.example"]
    assert "asterisk" in relay.error(
        *("user", "set-email", "al@new.example", "*@new.example"), status=2
    )


def test_a_removed_user_is_shown_with_their_mail(relay: Any, ada: Any) -> None:
    """The list ends for them, the log does not; the address may be given anew."""
    (message,) = relay.put("One")
    said = relay("user", "remove", "Ada Byron").stdout
    assert said == "Ada Byron <ada@corp.example> is removed.\n"
    assert relay.json("user", "list") == []
    (gone,) = relay.json("user", "list", "--removed")
    assert gone == ada | {
        "active": False,
        "state": "removed",
        "relay_address": None,
        "removed_at": gone["removed_at"],
        "last_received_at": gone["last_received_at"],
    }
    assert gone["last_received_at"]
    assert "removed" in relay("user", "list", "--removed").stdout
    (row,) = relay.json("log", "--user", "Ada Byron")
    assert (row["id"], row["user"]) == (message, "ada@corp.example")
    assert "no user" in relay.error("user", "show", "Ada Byron", status=1)
    relay("user", "add", "Ada Two", "--email", "ada@corp.example")
    assert relay.json("log", "--user", "ada@corp.example") == []
    assert relay.json("user", "remove", "Ada Two")[0]["active"] is False


def test_exclusions_of_a_removed_user_are_listed_with_the_name(
    relay: Any, ada: Any
) -> None:
    """They hold for mail that waits."""
    relay("exclude", "add", "*@bank.example", "--user", "Ada Byron")
    relay("user", "remove", "Ada Byron")
    (row,) = relay.json("exclude", "list")
    assert row["user"] == "ada@corp.example"


def test_internal_domains_are_a_setting(relay: Any, ada: Any) -> None:
    """Who may send and who is a colleague are two questions."""
    relay("address", "add", "Ada Byron", "*@partner.example")
    assert relay("settings", "get", "match.internal_domains").stdout == '["auto"]\n'
    relay("settings", "set", "match.internal_domains", "auto,group.example")
    (row,) = relay.json("settings", "get", "match.internal_domains")
    assert row["value"] == ["auto", "group.example"]
    assert "free mail" in relay.error(
        *("settings", "set", "match.internal_domains", "gmail.com"), status=2
    )


def test_the_uses_of_each_relay_address_are_shown(relay: Any, ada: Any) -> None:
    """After a leak an admin sees which address still brings mail, old ones too."""
    token = ada["relay_address"].partition("@")[0]
    at = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
    use = AddressUse(accepted=7, refused=2, accepted_at=at)
    relay.in_store(lambda store: store.directory.count_uses({token: use}))
    relay("user", "rotate", "Ada Byron", "--now")
    (shown,) = relay.json("user", "show", "Ada Byron")
    current, ended = shown["relay_addresses"]
    assert (current["state"], current["accepted"]) == ("current", 0)
    assert (ended["state"], ended["accepted"], ended["refused"]) == ("ended", 7, 2)
    assert ended["last_accepted_at"].startswith("2026-03-04T12:00:00")
    assert ended["last_refused_at"] is None
    text = relay("user", "show", "Ada Byron").stdout
    assert "2026-03-04 12:00:00" in text
