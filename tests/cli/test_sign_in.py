"""`relay user link`, `sessions` and `sign-out`: the way into the console, and out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.cli.test_user_import import MAIL

if TYPE_CHECKING:
    from relay.store import Store

ADA = "ada@corp.example"


def mailing(relay: Any) -> None:
    """Let the relay mail links; nothing sends them."""
    with relay.config.open("a") as config:
        config.write(MAIL)


def test_a_link_is_mailed_and_not_printed(relay: Any, ada: Any) -> None:
    """Neither the output nor any list has it; the state shows."""
    mailing(relay)
    told = relay("user", "link", ADA, "--mail")
    assert "mails ada@corp.example a link" in told.stdout
    assert "sign-in/link" not in told.stdout + told.stderr
    (row,) = relay.json("user", "link", ADA, "--mail")
    assert row.keys() == {"user", "expires_at", "mailed"}
    rows = relay.json("notices", "list")
    assert [row["recipient"] for row in rows] == [ADA, ADA]
    assert "sign-in/link" not in str(rows)
    (user,) = relay.json("user", "show", ADA)
    assert (user["sign_in"], user["invitation"]["mail"]) == ("invited", "planned")
    assert "invited; the link works until" in relay("user", "show", ADA).stdout
    assert "invited" in relay("user", "list").stdout
    relay("user", "link", ADA, "--mail")
    line = relay.error("user", "link", ADA, "--mail", status=1)
    assert "several links just now" in line
    # At a shell a link to hand over can always be made.
    assert "/sign-in/link/" in relay("user", "link", ADA).stdout


def test_what_lacks_for_mail_is_named(relay: Any, ada: Any) -> None:
    """The console, the smarthost, the address of the console."""
    assert "web.listen" in relay.error("user", "link", ADA, status=1)
    with relay.config.open("a") as config:
        config.write('[web]\nlisten = "127.0.0.1:0"\n')
    line = relay.error("user", "link", ADA, "--mail", status=1)
    assert "notices.smarthost (not set)" in line
    with relay.config.open("a") as config:
        config.write(
            '[notices]\nsmarthost = "127.0.0.1:1"\nfrom_address = "r@corp.example"\n'
        )
    line = relay.error("user", "link", ADA, "--mail", status=1)
    assert "web.public_url (not set)" in line
    assert relay.json("history", "--change", "sign_in_link") == []


def test_a_new_user_is_mailed_a_link(relay: Any) -> None:
    """An admin, too: then no link is printed."""
    mailing(relay)
    added = relay(
        *("user", "add", "Root", "--email", "root@corp.example"),
        *("--role", "admin", "--mail"),
    )
    assert "mails root@corp.example a link" in added.stderr
    assert "sign-in/link" not in added.stdout + added.stderr
    (user,) = relay.json("user", "list")
    assert user["sign_in"] == "invited"


def test_sessions_are_listed_and_ended(relay: Any, ada: Any) -> None:
    """One, and all."""

    async def begin(store: Store) -> None:
        (user,) = await store.directory.users()
        for number in range(3):
            await store.accounts.begin(
                user.id,
                f"secret {number}",
                method="password",
                strong=False,
                life=timedelta(days=7),
                address=f"192.0.2.{number}",
                agent="Firefox",
            )

    assert "Signed in nowhere." in relay("user", "sessions", ADA).stdout
    relay.in_store(begin)
    rows = relay.json("user", "sessions", ADA)
    assert {row["address"] for row in rows} == {"192.0.2.0", "192.0.2.1", "192.0.2.2"}
    assert "secret" not in str(rows)
    assert "192.0.2.1" in relay("user", "sessions", ADA).stdout
    number = str(rows[0]["id"])
    told = relay("user", "sign-out", ADA, "--session", number)
    assert "is signed out there" in told.stdout
    line = relay.error("user", "sign-out", ADA, "--session", number, status=1)
    assert f"has no session {number}" in line
    assert relay.json("user", "sign-out", ADA) == [{"user": ADA, "sessions_ended": 2}]
    assert relay.json("user", "sessions", ADA) == []
    assert "signed in last" in relay("user", "show", ADA).stdout
