"""What a call does when the wire misbehaves: written, not written, or not known."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from relay.core.errors import (
    ActivityRefused,
    CredentialsRefused,
    OrgPaused,
    OutcomeUnknown,
    SalesforceLimited,
    SalesforceUnavailable,
)
from relay.salesforce.transport import TooLateError
from tests.fakes.scripted_http import (
    EXPIRED,
    HTML,
    Reply,
    Reset,
    ScriptedHTTP,
    error,
)

OK = Reply(200, {"fine": True})


def write(client, **more):
    return client.call("write", "composite", b"{}", writes=True, **more)


def test_a_call_carries_the_token_to_the_api_version_over_loopback_http(client_for):
    """A call goes to the configured version with the token, as plain compact JSON."""
    with ScriptedHTTP(OK) as server:
        assert client_for(server).call("x", "composite", b'{"a":1}') == {"fine": True}
        seen = server.seen[0]
    assert seen.path == "/services/data/v66.0/composite"
    assert seen.headers["authorization"] == "Bearer 00D000000000001!token1"
    assert seen.headers["content-type"] == "application/json"
    assert "x-prettyprint" not in seen.headers
    assert seen.body == b'{"a":1}'


UNKNOWN = [
    pytest.param(Reset(), id="reset after the request"),
    pytest.param(Reply(503, HTML), id="503 HTML"),
    pytest.param(Reply(502, b""), id="502 empty"),
    pytest.param(Reply(200, HTML), id="200 HTML"),
    pytest.param(Reply(200, b'{"compositeResponse": ['), id="truncated JSON"),
    pytest.param(Reply(200, {"a": "b" * 99}, cut_at=20), id="answer cut short"),
    pytest.param(Reply(200, 17), id="a number"),
    pytest.param(Reply(500, error("UNKNOWN_EXCEPTION")), id="500 UNKNOWN_EXCEPTION"),
    pytest.param(Reply(503, error("SERVER_UNAVAILABLE")), id="503 SERVER_UNAVAILABLE"),
    pytest.param(Reply(400, HTML), id="400 HTML"),
    pytest.param(Reply(403, HTML), id="403 HTML"),
    pytest.param(Reply(400, {"message": "odd"}), id="400 with an object"),
    pytest.param(Reply(200, OK.body, delay_s=2.0), id="silence"),
    pytest.param(
        Reply(200, b"\x00", headers={"Content-Encoding": "gzip"}), id="bad gzip"
    ),
]


@pytest.mark.parametrize("step", UNKNOWN)
def test_a_write_without_a_usable_answer_is_unknown(client_for, step):
    """Whatever may have been carried out is not reported as done or not done."""
    with ScriptedHTTP(step) as server:
        with pytest.raises(OutcomeUnknown):
            write(client_for(server, timeout_s=0.5))
        assert len(server.seen) == 1, "a write is never sent twice by itself"


NOTHING = [
    pytest.param(Reply(400, error("JSON_PARSER_ERROR")), ActivityRefused, id="400"),
    pytest.param(
        Reply(400, error("UNABLE_TO_LOCK_ROW")), SalesforceUnavailable, id="l"
    ),
    pytest.param(
        Reply(500, error("UNABLE_TO_LOCK_ROW")), SalesforceUnavailable, id="L"
    ),
    pytest.param(
        Reply(403, error("REQUEST_LIMIT_EXCEEDED")), SalesforceLimited, id="quota"
    ),
    pytest.param(Reply(404, error("NOT_FOUND")), OrgPaused, id="wrong version"),
    pytest.param(Reply(410, error("UNSUPPORTED_API_VERSION")), OrgPaused, id="410"),
    pytest.param(Reply(403, error("API_DISABLED_FOR_ORG")), OrgPaused, id="no API"),
    pytest.param(Reply(429, b""), SalesforceLimited, id="429"),
    pytest.param(Reply(414, HTML), SalesforceUnavailable, id="414"),
    pytest.param(
        Reply(302, b"", headers={"Location": "https://evil.example/"}),
        OrgPaused,
        id="3",
    ),
]


@pytest.mark.parametrize(("step", "expected"), NOTHING)
def test_a_write_that_salesforce_turned_down_wrote_nothing(client_for, step, expected):
    """A well-formed refusal of the whole request is certain, and has its class."""
    with ScriptedHTTP(step) as server:
        with pytest.raises(expected) as caught:
            write(client_for(server))
        assert not isinstance(caught.value, OutcomeUnknown)
        assert len(server.seen) == 1


@pytest.fixture
def closed_port():
    """Return a port that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_a_write_that_cannot_connect_wrote_nothing(client_for, closed_port):
    """A refused connection is certain: no byte left."""
    with ScriptedHTTP() as server:
        server.tokens = [server.token(instance_url=f"http://127.0.0.1:{closed_port}")]
        with pytest.raises(SalesforceUnavailable) as caught:
            write(client_for(server))
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_write_whose_certificate_is_not_trusted_wrote_nothing(client_for):
    """TLS that fails is certain: no byte of the request left."""
    with ScriptedHTTP() as server:
        # Plain HTTP answers on the port, so that the handshake fails.
        server.tokens = [
            server.token(instance_url=server.url.replace("http://", "https://"))
        ]
        with pytest.raises(SalesforceUnavailable) as caught:
            write(client_for(server))
        assert not isinstance(caught.value, OutcomeUnknown)
        assert server.seen == []


def test_a_write_that_is_too_late_does_not_leave(client_for, clock):
    """After its time a write is given up, also when only the token took long."""
    with ScriptedHTTP(OK, OK) as server:
        client = client_for(server)
        write(client, not_after_s=clock.boottime_s())
        clock.pass_s(5.1)
        with pytest.raises(TooLateError):
            write(client, not_after_s=clock.boottime_s() - 0.1)
        assert len(server.seen) == 1


def test_a_renewed_session_does_not_stretch_the_time_of_a_write(client_for, clock):
    """The second sending after a fresh login is held to the same moment."""

    def late(_):
        clock.pass_s(6)
        return Reply(401, EXPIRED)

    with ScriptedHTTP(default=late) as server:
        with pytest.raises(TooLateError):
            write(client_for(server), not_after_s=clock.boottime_s() + 5)
        assert len(server.seen) == 1


def test_a_session_that_ended_is_renewed_once_and_the_call_made_again(client_for):
    """INVALID_SESSION_ID costs one login and nothing else."""
    with ScriptedHTTP(OK, Reply(401, EXPIRED), OK) as server:
        client = client_for(server)
        write(client)
        assert write(client) == {"fine": True}
        assert len(server.logins) == 2
        assert server.seen[2].headers["authorization"].endswith("token2")


@pytest.mark.parametrize("body", [EXPIRED, HTML, {"error": "x"}, [], b""])
def test_forty_refused_tokens_cause_two_logins(client_for, body):
    """401 for ever, in any form, means two logins and then quiet, not a loop."""
    with ScriptedHTTP(default=lambda _: Reply(401, body)) as server:
        client = client_for(server)
        for _ in range(40):
            with pytest.raises(CredentialsRefused) as caught:
                write(client)
        assert len(server.logins) == 2
        assert len(server.seen) == 2
        assert caught.value.retry_after_s


def test_after_the_quiet_time_one_login_tries_again_and_mends(client_for, clock):
    """Quiet times double while tokens are refused, and end once one is taken."""
    with ScriptedHTTP(*[Reply(401, EXPIRED)] * 3) as server:
        client = client_for(server)
        with pytest.raises(CredentialsRefused):
            write(client)
        clock.pass_s(10.1)
        with pytest.raises(CredentialsRefused) as caught:
            write(client)
        assert (len(server.logins), len(server.seen)) == (3, 3)
        assert caught.value.retry_after_s == 20.0
        server.script = [OK]
        clock.pass_s(20.1)
        assert write(client) == {"fine": True}


def test_many_threads_share_one_login(client_for, clock, settings_for):
    """Twenty threads that meet 401 together log in once more, together."""
    from relay.salesforce.client import Client

    def answer(seen):
        good = seen.headers["authorization"].endswith("token2")
        return OK if good else Reply(401, EXPIRED, delay_s=0.2)

    with ScriptedHTTP(default=answer) as server:
        first = client_for(server)
        first.tokens.token()
        clients = [
            Client(settings_for(server), clock, first.tokens, first.stats)
            for _ in range(20)
        ]
        threads = [threading.Thread(target=write, args=(c,)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
        assert len(server.logins) == 2
        assert 20 < first.stats.calls["write"] <= 40


def test_a_read_over_a_broken_connection_is_asked_once_more(client_for):
    """What only reads survives one reset; a second one is reported."""
    with ScriptedHTTP(Reset(), OK, Reset(), Reset()) as server:
        client = client_for(server)
        assert client.call("lookup", "limits") == {"fine": True}
        with pytest.raises(SalesforceUnavailable):
            client.call("lookup", "limits")
        assert len(server.seen) == 4


def test_a_read_is_never_unknown(client_for):
    """A read without an answer is a failure like others."""
    with (
        ScriptedHTTP(Reply(503, HTML)) as server,
        pytest.raises(SalesforceUnavailable) as caught,
    ):
        client_for(server).call("lookup", "limits")
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_question_that_is_refused_pauses_the_org_and_kills_no_mail(client_for):
    """A refused read is the admin's matter, not the mail's."""
    with (
        ScriptedHTTP(Reply(400, error("INVALID_TYPE"))) as server,
        pytest.raises(OrgPaused),
    ):
        client_for(server).call("lookup", "limits")


def test_an_answer_that_drips_is_cut_off(client_for):
    """Bytes that keep coming do not stretch the time-out without end."""
    ended = []

    def drip(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b" ")
            time.sleep(0.05)
        ended.append("by the server")

    with ScriptedHTTP() as login, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        login.tokens = [login.token(instance_url=f"http://127.0.0.1:{port}")]

        def serve():
            connection, _ = listener.accept()
            try:
                drip(connection)
            except OSError:
                ended.append("by the client")
            finally:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(OutcomeUnknown):
            write(client_for(login, timeout_s=0.4))
        thread.join()
    assert ended == ["by the client"]


def test_packed_answers_in_chunks_are_read_whole_or_not_at_all(client_for):
    """Gzip in chunks, as Salesforce sends it, is unpacked; cut short it is nothing."""
    body = {"lines": [f"{n * n:x}" for n in range(20_000)]}
    with ScriptedHTTP(
        Reply(200, body, chunked=True),
        Reply(200, body, chunked=True),
        Reply(200, body, chunked=True, cut_at=2000),
    ) as server:
        client = client_for(server)
        assert write(client) == body
        assert write(client) == body
        with pytest.raises(OutcomeUnknown):
            write(client)
        assert len(set(server._open)) == 2, "one for the login, one for all calls"


def test_an_idle_connection_is_not_used_for_a_write(client_for, monkeypatch):
    """A connection that the other side may be closing is not trusted with a write."""
    from relay.salesforce import transport

    with ScriptedHTTP(OK, OK, OK) as server:
        client = client_for(server)
        write(client)
        first = len(set(server._open))
        write(client)
        before = len(set(server._open))
        assert before == first, "a fresh connection is used again"
        monkeypatch.setattr(transport, "IDLE_S", -1.0)
        write(client)
        assert len(set(server._open)) == before + 1


def test_no_url_leaves_the_org(client_for):
    """A path made of a hostile id finds no way out with the token."""
    with ScriptedHTTP(OK) as server:
        client = client_for(server)
        client.call("x", "limits")
        for url in ("https://evil.example/x", "http://evil.example/x", server.url):
            with pytest.raises(Exception, match="No connection adapters"):
                client._session.get(url + "/")


def test_headers_tell_usage_and_the_time(client_for, clock):
    """Usage and Salesforce's clock are read from every answer, failures included."""
    headers = {
        "Sforce-Limit-Info": "api-usage=18/5000; per-app-api-usage=17/250(appName=x)",
        "Date": "Wed, 04 Mar 2026 12:05:00 GMT",
    }
    with ScriptedHTTP(Reply(503, HTML, headers=headers)) as server:
        client = client_for(server)
        with pytest.raises(SalesforceUnavailable):
            client.call("lookup", "limits")
        assert client.stats.usage == (18, 5000)
        # The server sends its own Date header first; whichever is read, it is a date.
        assert client.stats.calls == {"login": 1, "lookup": 1}


def test_nothing_personal_or_secret_stands_in_an_error(client_for):
    """Error texts hold no address, no token and no query."""
    body = error(
        "INVALID_FIELD", "WHERE Email IN ('jane@acme.example') 00D!tok" + "x" * 80
    )
    with (
        ScriptedHTTP(Reply(400, body)) as server,
        pytest.raises(OrgPaused) as caught,
    ):
        client_for(server).call("lookup", "query?q=jane%40acme.example")
    text = repr(caught.value) + str(caught.value)
    assert "INVALID_FIELD" in text
    for secret in ("jane", "acme", "00D!tok", "token1", "xxxx"):
        assert secret not in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "step", [Reset(), Reply(503, HTML), Reply(200, HTML), Reply(200, {}, delay_s=1.0)]
)
def test_a_login_without_answer_is_tried_again_later(client_for, step):
    """Trouble at the token endpoint is no refusal; nothing was written."""
    with ScriptedHTTP(OK) as server:
        server.tokens = [step]
        client = client_for(server, timeout_s=0.4)
        with pytest.raises(SalesforceUnavailable) as caught:
            write(client)
        assert not isinstance(caught.value, OutcomeUnknown | CredentialsRefused)
        assert "hush" not in str(caught.value)
        assert write(client) == {"fine": True}


def test_threads_share_a_login_that_fails(client_for, clock, settings_for):
    """Who waits for a login gets its failure, and does not try in turn."""
    from relay.salesforce.client import Client

    with ScriptedHTTP() as server:
        refusal = Reply(400, {"error": "invalid_client"}, delay_s=0.3)
        server.tokens = [refusal] * 20
        first = client_for(server)
        clients = [
            Client(settings_for(server), clock, first.tokens, first.stats)
            for _ in range(10)
        ]
        caught = []

        def run(client):
            try:
                write(client)
            except CredentialsRefused as error:
                caught.append(error)

        threads = [threading.Thread(target=run, args=(c,)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(caught) == 10
        assert len(set(map(id, caught))) == 10
        assert len(server.logins) == 1
        assert server.seen == []


def test_the_wait_that_an_answer_asks_for_is_kept(client_for):
    """Retry-After counts where it is longer than our own wait."""
    with ScriptedHTTP(
        Reply(429, b"", headers={"Retry-After": "90"}),
        Reply(429, b"", headers={"Retry-After": "5"}),
        Reply(503, error("SERVER_UNAVAILABLE"), headers={"Retry-After": "7"}),
        Reply(503, HTML, headers={"Retry-After": "Wed, 04 Mar 2026 12:05:00 GMT"}),
    ) as server:
        client = client_for(server)
        waits = []
        for _ in range(4):
            with pytest.raises((SalesforceUnavailable, SalesforceLimited)) as caught:
                client.call("lookup", "limits")
            waits.append(caught.value.retry_after_s)
    assert waits == [90, 60, 7, None]


def test_a_name_that_dns_does_not_know_is_said_so(client_for):
    """The admin reads what is wrong, not that something is."""
    client = client_for("https://no-such-host.invalid")
    with pytest.raises(SalesforceUnavailable, match="DNS") as caught:
        write(client)
    assert caught.value.code == "NameResolutionError"


def test_the_environment_sends_no_call_elsewhere(client_for, monkeypatch, tmp_path):
    """No proxy, password or certificate of the environment is used, nor at login."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password evil\n", "ascii")
    netrc.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as trap, ScriptedHTTP(OK) as server:
        for name in ("http", "https", "all"):
            place = f"http://127.0.0.1:{trap.getsockname()[1]}"
            for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
                monkeypatch.setenv(variable, place)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
        assert client_for(server).call("x", "composite", b"{}") == {"fine": True}
        sent = [seen.headers.get("authorization") for seen in server.logins]
        assert len(sent) == 1
        assert "Basic" not in str(sent)
        token = server.seen[0].headers["authorization"]
        assert token == "Bearer 00D000000000001!token1"
        trap.settimeout(0.1)
        with pytest.raises(TimeoutError):
            trap.accept()
