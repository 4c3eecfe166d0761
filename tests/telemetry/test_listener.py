"""The health listener over real sockets, inside our own event loop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import asynccontextmanager

import pytest

from relay.config import HostPort
from relay.core.errors import ConfigError
from relay.telemetry.health import HealthServer
from tests.fakes.waiting import until


@asynccontextmanager
async def running(host="127.0.0.1", **options):
    """Run a listener on a free port."""
    health = HealthServer(HostPort(host, 0), **options)
    await health.start()
    try:
        yield health
    finally:
        await health.stop()


async def get(health, path, *, method="GET"):
    """Return status, header lines and body of one request."""
    host, port = health.listening
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(host, port)
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), [line.lower() for line in headers], body


async def test_alive():
    """`/healthz` answers while the loop runs."""
    async with running() as health:
        status, headers, body = await get(health, "/healthz")
    assert (status, json.loads(body)) == (200, {"alive": True})
    assert not [line for line in headers if line.startswith("server:")]


async def test_readiness_follows_the_probes():
    """503 as soon as a fatal probe fails, 200 again after."""
    state = {"ok": True}

    async def store():
        return state["ok"], "writable" if state["ok"] else "disk full"

    async with running() as health:
        health.add_probe("store", store)
        assert (await get(health, "/readyz"))[0] == 200
        state["ok"] = False
        status, _, body = await get(health, "/readyz")
        assert status == 503
        assert json.loads(body)["checks"]["store"]["detail"] == "disk full"
        state["ok"] = True
        assert (await get(health, "/readyz"))[0] == 200
        health.start_draining()
        assert (await get(health, "/readyz"))[0] == 503
        assert (await get(health, "/healthz"))[0] == 200


async def test_metrics_are_refreshed_and_served():
    """`/metrics` is the text format, with gauges as of now."""
    asked = []

    async def refresh():
        asked.append(True)

    async with running() as health:
        health.add_refresh(refresh)
        status, headers, body = await get(health, "/metrics")
    assert status == 200
    assert asked == [True]
    assert "content-type: text/plain; version=0.0.4; charset=utf-8" in headers
    assert b"\nrelay_smtp_connections " in body


async def test_nothing_else_is_served():
    """Unknown paths and methods get 404 and 405."""
    async with running() as health:
        assert (await get(health, "/"))[0] == 404
        assert (await get(health, "/metrics", method="POST"))[0] == 405
        assert (await get(health, "/healthz", method="HEAD"))[0] == 200


async def test_a_taken_port_is_a_config_error():
    """The line names key, value and mend, and the process lives."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            await HealthServer(HostPort("127.0.0.1", port)).start()
    assert str(caught.value) == (
        f'telemetry.listen = "127.0.0.1:{port}": cannot listen there (Address already '
        "in use); name a free port and an address of this machine"
    )


async def test_signals_stay_with_the_app():
    """The listener takes over no signal handler."""
    caught = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, caught.append, signal.SIGTERM)
    try:
        async with running() as health:
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: caught == [signal.SIGTERM])
            assert (await get(health, "/healthz"))[0] == 200
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_stop_closes_the_port_and_may_be_repeated():
    """After `stop`, the port is closed; a second `stop` does nothing."""
    async with running() as health:
        host, port = health.listening
        await health.stop()
        assert health.listening is None
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection(host, port)


async def test_a_silent_client_does_not_keep_it_open():
    """A connection that says nothing is dropped at `stop`."""
    async with running() as health:
        _, writer = await asyncio.open_connection(*health.listening)
        async with asyncio.timeout(5):
            await health.stop()
        writer.close()


async def test_a_listener_that_was_never_started_stops():
    """`stop` without `start` is fine; the app need not know how far it came."""
    await HealthServer(HostPort("127.0.0.1", 0)).stop()
