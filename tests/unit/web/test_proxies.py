"""What a proxy says of a request, and who may say it."""

from __future__ import annotations

import ipaddress

import pytest

from relay.web.proxies import Proxies

TRUSTED = [ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("fd00::/64")]


async def seen(peer, headers=(), path="/log", base=""):
    """Return the scope that the application behind gets."""
    found = []

    async def behind(scope, _receive, _send):
        found.append(scope)

    scope = {
        "type": "http",
        "scheme": "http",
        "path": path,
        "client": (peer, 1234) if peer else None,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    await Proxies(behind, TRUSTED, base)(scope, None, None)
    return found[0]


@pytest.mark.parametrize(
    ("peer", "sent", "client"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("fd00::1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["1.1.1.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.7:56789"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:567"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["2001:0DB8:0::7"], "2001:db8::7"),
        ("10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["6.6.6.6:1, 203.0.113.7:2,[fd00::5]:3"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7,[fd00::5]:3", "10.0.0.2:4"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7:999999"], "10.0.0.1"),
        ("10.0.0.1", ["[]:1"], "10.0.0.1"),
        ("10.0.0.1", [":1"], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.1.1", ["203.0.113.7"], "10.0.1.1"),
        ("testclient", ["203.0.113.7"], "testclient"),
    ],
)
async def test_the_last_address_that_is_no_proxy_counts(peer, sent, client):
    """What stands before it is what the client itself wrote."""
    scope = await seen(peer, [("x-forwarded-for", value) for value in sent])
    assert scope["client"][0] == client


@pytest.mark.parametrize(
    ("peer", "sent", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, HTTPS", "https"),
        ("10.0.0.1", "https, http", "http"),
        ("10.0.0.1", "javascript", "http"),
        ("192.0.2.1", "https", "http"),
    ],
)
async def test_the_scheme_counts_from_a_trusted_proxy(peer, sent, scheme):
    """The last one: the nearest proxy wrote it."""
    assert (await seen(peer, [("x-forwarded-proto", sent)]))["scheme"] == scheme


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/relay", "/"),
        ("/relay/", "/"),
        ("/relay/log", "/log"),
        ("/log", "/log"),
        ("/relayed", "/relayed"),
        ("/relay/relay/x", "/relay/x"),
    ],
)
async def test_the_base_path_is_taken_off(path, inside):
    """Once, and only where it stands whole."""
    scope = await seen("10.0.0.1", path=path, base="/relay")
    assert (scope["path"], scope["root_path"]) == (inside, "/relay")


async def test_another_header_is_not_read():
    """A proxy that does not write it passes on what the client has sent."""
    scope = await seen("10.0.0.1", [("forwarded", "for=203.0.113.7;proto=https")])
    assert (scope["client"][0], scope["scheme"]) == ("10.0.0.1", "http")


async def test_without_a_peer_nobody_is_believed():
    """A Unix socket has none."""
    scope = await seen(None, [("x-forwarded-for", "203.0.113.7")])
    assert scope["client"] is None
