"""Webhook calls over a real socket: signed, bounded, and to public addresses alone."""

from __future__ import annotations

import socket
import ssl
import time

import pytest

from relay.config import AlertsSettings
from relay.upkeep.webhook import call, is_public, signature
from tests.fakes.certificates import Authority
from tests.fakes.receiver import SECRET, receiving


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


def settings(url, **changes):
    return AlertsSettings(
        **{
            "webhook_url": url,
            "webhook_secret": SECRET,
            "webhook_allow_private": True,
            "webhook_timeout_s": 5.0,
        }
        | changes
    )


def test_the_signature_is_that_of_the_specification():
    """The example of Standard Webhooks, "Signature scheme"."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    key, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}'
    said = signature(secret, key, 1614265330, body)
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_call_is_taken(receiver):
    """Id, time and body arrive, and the signature over them holds."""
    answer = call(settings(receiver.url), "msg_1", '{"type": "x"}', 1700000000)
    assert (answer.taken, answer.status, answer.error) == (True, 204, "")
    assert receiver.calls == [("msg_1", 1700000000, {"type": "x"})]
    assert receiver.forged == 0


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
def test_what_is_not_2xx_is_a_failure(receiver, status):
    """A redirect is not followed; what was said is kept, short and printable."""
    receiver.answers = [(status, {"Location": receiver.url, "Retry-After": "7"})]
    answer = call(settings(receiver.url), "msg_1", "{}", 1)
    assert not answer.taken
    assert not answer.final
    assert (answer.status, answer.error) == (status, f"answered {status}")
    assert answer.wait_s == 7.0
    assert answer.response.startswith("said  [31mxxx")
    assert len(answer.response) <= 1000
    assert len(receiver.calls) == 1


def test_gone_is_final(receiver):
    """410 says that nobody listens any more."""
    receiver.answers = [(410, {"Retry-After": "soon"})]
    answer = call(settings(receiver.url), "msg_1", "{}", 1)
    assert (answer.final, answer.wait_s) == (True, None)


@pytest.mark.parametrize("silence", ["hang", "drip"])
def test_a_slow_receiver_is_left(receiver, silence):
    """Neither silence nor a byte now and then holds the relay beyond its time."""
    receiver.answers = [silence]
    begun_s = time.monotonic()
    answer = call(settings(receiver.url, webhook_timeout_s=0.4), "msg_1", "{}", 1)
    assert time.monotonic() - begun_s < 5
    assert (answer.taken, answer.final) == (False, False)
    assert answer.error == "no answer within 0.4 s"


def test_a_dropped_connection_is_a_failure(receiver):
    """It may have been taken: it is made again under the same id."""
    receiver.answers = ["drop"]
    answer = call(settings(receiver.url), "msg_1", "{}", 1)
    assert (answer.taken, answer.final) == (False, False)
    assert answer.error


def test_nobody_answers():
    """A port that nobody listens on, and a name that there is not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = call(settings(f"http://127.0.0.1:{port}/"), "msg_1", "{}", 1)
    assert "refused" in answer.error
    assert not call(settings("http://no.such.invalid/"), "m", "{}", 1).taken


def test_private_addresses_are_not_called(receiver):
    """By default; what the name leads to is judged, not what it looks like."""
    url = receiver.url.replace("http:", "https:")
    answer = call(settings(url, webhook_allow_private=False), "msg_1", "{}", 1)
    assert (answer.final, answer.status) == (True, None)
    assert "not a public address; alerts.webhook_allow_private lets it" in answer.error
    assert receiver.calls == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255", "198.51.100.1"),
        *("::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::1", "2001:db8::1"),
    ],
)
def test_addresses_of_ours(address):
    """Loopback, private, link-local, shared, multicast, and IPv4 inside of IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_others(address):
    """The public Internet."""
    assert is_public(address)


def test_tls_is_checked(tmp_path):
    """A certificate that nobody vouches for ends the call."""
    authority = Authority(tmp_path)
    chain, key = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    with receiving(context) as secure:
        answer = call(settings(secure.url), "msg_1", "{}", 1)
        assert "CERTIFICATE_VERIFY_FAILED" in answer.error
        assert secure.calls == []
        vouched = settings(secure.url, webhook_ca_file=authority.path)
        assert call(vouched, "msg_1", "{}", 1).taken


def test_a_webhook_that_was_taken_out_of_the_settings_is_not_called():
    """What was planned for it has nowhere to go."""
    answer = call(AlertsSettings(), "msg_1", "{}", 1)
    assert (answer.final, answer.error) == (
        True,
        "alerts.webhook_url is not set any more",
    )
