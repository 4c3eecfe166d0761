"""Mail through a real SMTP server: encryption, logins, and what each answer means."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import NoticesSettings
from relay.core.clock import SystemClock
from relay.notices import Smarthost, SmarthostError
from relay.salesforce.model import WriteState
from tests.fakes.certificates import Authority
from tests.fakes.smarthost import running_endpoint, running_smarthost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.smarthost import Smarthost as Server

pytestmark = pytest.mark.timeout(60)

RAW = b"Subject: Hello\r\n\r\n.a line with a dot\r\n"
FOREVER = float("inf")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return who vouches for the server and for the client."""
    return Authority(tmp_path)


@pytest.fixture
def plain() -> Iterator[Server]:
    """Run a smarthost without encryption."""
    with running_smarthost() as server:
        yield server


def settings(server: Server, **more: Any) -> NoticesSettings:
    """Return settings for a server of the test."""
    fields = {"tls": "none", "from_address": "relay@corp.example", "timeout_s": 10}
    return NoticesSettings(smarthost=f"localhost:{server.port}", **(fields | more))  # type: ignore[arg-type]


def send(made: NoticesSettings, *recipients: str, host: Smarthost | None = None) -> Any:
    """Send a mail to each; return the outcomes."""
    host = host or Smarthost(made, SystemClock())
    mails = [(f"key-{number}", to, RAW) for number, to in enumerate(recipients)]
    return asyncio.run(host.send(mails, not_after_boottime_s=FOREVER))


def test_mails_go_out_in_one_session_from_the_null_sender(plain: Server) -> None:
    """The bytes arrive as they are, from `<>`, each to one recipient."""
    outcomes = send(settings(plain), "ada@corp.example", "ben@corp.example")
    assert [one.state for one in outcomes] == [WriteState.WRITTEN] * 2
    assert [one.key for one in outcomes] == ["key-0", "key-1"]
    assert plain.mails == [
        ("<>", ["ada@corp.example"], RAW),
        ("<>", ["ben@corp.example"], RAW),
    ]


def test_an_envelope_sender_can_be_set(plain: Server) -> None:
    """Some smarthosts take no null sender."""
    send(settings(plain, envelope_from="relay@corp.example"), "ada@corp.example")
    assert plain.mails[0][0] == "relay@corp.example"


def test_a_refusal_is_of_one_mail(plain: Server) -> None:
    """5yz is for good, 4yz may pass; the other mails of the session go out."""
    plain.replies = {
        "gone@corp.example": "550 5.1.1 no such user",
        "full@corp.example": "452 4.2.2 mailbox full",
    }
    plain.data_replies = ["250 ok", "554 5.7.1 spam", "451 4.3.0 later", "250 ok"]
    everybody = ["a", "gone", "full", "b", "c", "d"]
    outcomes = send(settings(plain), *[f"{one}@corp.example" for one in everybody])
    assert [(one.state, one.code) for one in outcomes] == [
        (WriteState.WRITTEN, ""),
        (WriteState.REFUSED, "550"),
        (WriteState.RETRY, "452"),
        (WriteState.REFUSED, "554"),
        (WriteState.RETRY, "451"),
        (WriteState.WRITTEN, ""),
    ]
    assert outcomes[1].text == "5.1.1 no such user"


def test_a_session_that_breaks_after_the_content(plain: Server) -> None:
    """The mail may be out: unknown; what comes behind it was not sent."""
    plain.data_replies = ["drop"]
    outcomes = send(settings(plain), "a@corp.example", "b@corp.example")
    assert [one.state for one in outcomes] == [
        WriteState.UNKNOWN,
        WriteState.NOT_SENT,
    ]
    assert outcomes[0].text.startswith("no answer: ")


def test_nothing_is_sent_after_the_deadline(plain: Server) -> None:
    """Another process may have the lease by then."""
    host = Smarthost(settings(plain), SystemClock())
    mails = [("key", "ada@corp.example", RAW)]
    (outcome,) = asyncio.run(host.send(mails, not_after_boottime_s=0))
    assert outcome.state is WriteState.NOT_SENT
    assert plain.mails == []


def test_an_address_that_is_no_address(plain: Server) -> None:
    """It is refused here: it could end the command line."""
    (outcome,) = send(settings(plain), "a da@corp.example")
    assert outcome.state is WriteState.REFUSED
    assert plain.mails == []


def test_an_address_beyond_ascii() -> None:
    """It goes out where the smarthost takes it, and is refused where it does not."""
    with running_smarthost() as server:
        (outcome,) = send(settings(server), "jürgen@corp.example")
        assert outcome.state is WriteState.WRITTEN
        assert server.mails[0][1] == ["jürgen@corp.example"]
    with running_smarthost(smtputf8=False) as server:
        (outcome,) = send(settings(server), "jürgen@corp.example")
    assert (outcome.state, outcome.code) == (WriteState.REFUSED, "553")


def test_nobody_answers() -> None:
    """Nothing was sent; the hint names the setting."""
    with running_smarthost() as server:
        gone = settings(server)
    with pytest.raises(SmarthostError, match="cannot be used") as caught:
        send(gone, "ada@corp.example")
    assert "notices.smarthost" in caught.value.hint


# ---------------------------------------------------------------- encryption


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_encryption(authority: Authority, tls: str) -> None:
    """The server's certificate is checked against the authority of the settings."""
    pair = authority.issue("localhost")
    with running_smarthost(tls=tls, certificate=pair) as server:
        made = settings(server, tls=tls, ca_file=str(authority.path))
        (outcome,) = send(made, "ada@corp.example")
        assert outcome.state is WriteState.WRITTEN
        stranger = settings(server, tls=tls)
        with pytest.raises(SmarthostError) as caught:
            send(stranger, "ada@corp.example")
        assert "notices.ca_file" in caught.value.hint
    assert len(server.mails) == 1


def test_starttls_is_demanded(plain: Server) -> None:
    """A server that does not offer it, or an attacker between, gets nothing."""
    with pytest.raises(SmarthostError, match="cannot be used"):
        send(settings(plain, tls="starttls"), "ada@corp.example")
    assert plain.mails == []
    assert plain.commands == []


def test_a_client_certificate(authority: Authority) -> None:
    """The smarthost knows the relay by it; without one nothing is taken."""
    pair = authority.issue("localhost")
    chain, key = authority.issue("relay.corp.example")
    with running_smarthost(
        tls="starttls", certificate=pair, client_ca=authority.path
    ) as server:
        ca = {"tls": "starttls", "ca_file": str(authority.path)}
        own = {"client_certificate": str(chain), "client_key": str(key)}
        (outcome,) = send(settings(server, **ca, **own), "ada@corp.example")
        assert outcome.state is WriteState.WRITTEN
        with pytest.raises(SmarthostError):
            send(settings(server, **ca), "ada@corp.example")
    names = dict(part[0] for part in server.peer_certificates[0]["subject"])
    assert names["commonName"] == "relay.corp.example"


def test_a_certificate_that_cannot_be_read(plain: Server, tmp_path: Path) -> None:
    """The error names the settings."""
    nonsense = tmp_path / "none.pem"
    nonsense.write_text("nonsense", "utf-8")
    made = settings(plain, tls="starttls", ca_file=str(nonsense))
    with pytest.raises(SmarthostError, match="a certificate cannot be read"):
        send(made, "ada@corp.example")


# ---------------------------------------------------------------- logins


@pytest.fixture
def guarded(authority: Authority) -> Iterator[Server]:
    """Run a smarthost that wants a login after STARTTLS."""
    pair = authority.issue("localhost")
    with running_smarthost(tls="starttls", certificate=pair, login=True) as server:
        server.login = ("relay", "secret")
        yield server


def test_a_password(guarded: Server, authority: Authority) -> None:
    """It is said after the encryption; a wrong one is an error with its hint."""
    ca = {"tls": "starttls", "ca_file": str(authority.path), "user": "relay"}
    made = settings(guarded, **ca, password="secret")
    (outcome,) = send(made, "ada@corp.example")
    assert outcome.state is WriteState.WRITTEN
    assert guarded.logins[0][1:] == ("relay", "secret")
    text = asyncio.run(Smarthost(made, SystemClock()).check())
    assert text.endswith("answers 250, starttls, a password")
    wrong = settings(guarded, **ca, password="other")
    with pytest.raises(SmarthostError, match="refuses the login: 535") as caught:
        send(wrong, "ada@corp.example")
    assert caught.value.hint == "check notices.user and notices.password"
    assert "other" not in str(caught.value)


def oauth(server: Server, authority: Authority, url: str) -> NoticesSettings:
    """Return settings for XOAUTH2."""
    return settings(
        server,
        tls="starttls",
        ca_file=str(authority.path),
        user="relay@corp.example",
        token_url=url,
        client_id="app",
        client_secret="hush",
        scope="https://mail.example/.default",
    )


def test_xoauth2_by_client_credentials(guarded: Server, authority: Authority) -> None:
    """The token is fetched once, and used until it ends."""
    with running_endpoint() as endpoint:
        guarded.tokens = {"token-1"}
        host = Smarthost(oauth(guarded, authority, endpoint.url), SystemClock())
        for _ in range(2):
            (outcome,) = send(host._settings, "ada@corp.example", host=host)
            assert outcome.state is WriteState.WRITTEN
        assert endpoint.asked == [
            {
                "grant_type": ["client_credentials"],
                "client_id": ["app"],
                "client_secret": ["hush"],
                "scope": ["https://mail.example/.default"],
            }
        ]
        assert guarded.logins == [("XOAUTH2", "relay@corp.example", "token-1")] * 2
        assert asyncio.run(host.check()).endswith("XOAUTH2")


def test_a_token_that_was_revoked_is_replaced_once(
    guarded: Server, authority: Authority
) -> None:
    """A fresh one is tried; if that is refused too, the login is."""
    with running_endpoint() as endpoint:
        host = Smarthost(oauth(guarded, authority, endpoint.url), SystemClock())
        guarded.tokens = {"token-2"}
        (outcome,) = send(host._settings, "ada@corp.example", host=host)
        assert outcome.state is WriteState.WRITTEN
        guarded.tokens = set()
        with pytest.raises(SmarthostError, match="refuses the login") as caught:
            send(host._settings, "ada@corp.example", host=host)
        assert "SMTP.SendAsApp" in caught.value.hint
        assert len(endpoint.asked) == 3


def test_a_token_is_fetched_anew_before_it_ends(
    guarded: Server, authority: Authority
) -> None:
    """A minute before, by the clock that does not stop when the machine sleeps."""

    class Clock(SystemClock):
        ahead_s = 0.0

        def boottime_s(self) -> float:
            return super().boottime_s() + self.ahead_s

    with running_endpoint() as endpoint:
        clock = Clock()
        host = Smarthost(oauth(guarded, authority, endpoint.url), clock)
        guarded.tokens = {"token-1", "token-2"}
        send(host._settings, "ada@corp.example", host=host)
        clock.ahead_s = 3600 - 120
        send(host._settings, "ada@corp.example", host=host)
        assert len(endpoint.asked) == 1
        clock.ahead_s = 3600 - 30
        send(host._settings, "ada@corp.example", host=host)
        assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((401, {"error": "invalid_client"}), r"answered 401 \(invalid_client\)"),
        ((500, b"<html>"), "answered 500"),
        ((302, b""), "answered 302"),
        ((200, b"nonsense"), "no token"),
        ((200, []), "gave no token"),
        ((200, {"access_token": ""}), "gave no token"),
        ((200, {"access_token": "a\x01b", "expires_in": 60}), "gave no token"),
    ],
)
def test_an_endpoint_that_gives_no_token(
    guarded: Server, authority: Authority, answer: tuple[int, Any], text: str
) -> None:
    """The error says what it answered, and never the secret."""
    with running_endpoint() as endpoint:
        endpoint.answers = [answer]
        with pytest.raises(SmarthostError, match=text) as caught:
            send(oauth(guarded, authority, endpoint.url), "ada@corp.example")
    assert "hush" not in str(caught.value)
    assert guarded.logins == []


def test_an_endpoint_that_is_not_there(guarded: Server, authority: Authority) -> None:
    """Nothing is sent, and the hint names the setting."""
    with running_endpoint() as endpoint:
        made = oauth(guarded, authority, endpoint.url)
    with pytest.raises(SmarthostError, match="no token: ") as caught:
        send(made, "ada@corp.example")
    assert "notices.token_url" in caught.value.hint
