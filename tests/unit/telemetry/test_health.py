"""Readiness is made of probes; a probe that misbehaves counts as failed."""

from __future__ import annotations

import asyncio

from relay.telemetry.health import Health


async def well():
    """Answer that all is well."""
    return True, "fine"


async def ill():
    """Answer that something is wrong."""
    return False, "disk full"


async def broken():
    """Raise, with a secret in the text."""
    raise OSError("postgresql://relay:hush@h")


async def stuck():
    """Never answer."""
    await asyncio.Event().wait()
    return True, ""


async def test_ready_when_all_are_well():
    """Every fatal probe well: ready, with the details."""
    health = Health()
    health.add_probe("store", well)
    ready, details = await health.readiness()
    assert ready
    assert details == {
        "ready": True,
        "draining": False,
        "checks": {"store": {"ok": True, "fatal": True, "detail": "fine"}},
    }


async def test_a_fatal_probe_decides():
    """One fatal probe ill: not ready."""
    health = Health()
    health.add_probe("smtp", well)
    health.add_probe("store", ill)
    assert (await health.readiness())[0] is False


async def test_salesforce_is_shown_and_not_fatal():
    """Mail is taken while Salesforce is down."""
    health = Health()
    health.add_probe("store", well)
    health.add_probe("salesforce", ill, fatal=False)
    ready, details = await health.readiness()
    assert ready
    assert details["checks"]["salesforce"] == {
        "ok": False,
        "fatal": False,
        "detail": "disk full",
    }


async def test_probes_that_raise_or_hang_have_failed():
    """The answer names the kind of failure, and no text of a foreign error."""
    health = Health(timeout_s=0.01)
    health.add_probe("broken", broken)
    health.add_probe("stuck", stuck)
    ready, details = await health.readiness()
    assert not ready
    assert details["checks"]["broken"]["detail"] == "OSError"
    assert details["checks"]["stuck"]["detail"] == "no answer within 0.01 s"


async def test_draining_is_not_ready():
    """Load balancers turn away before the listener closes."""
    health = Health()
    health.add_probe("store", well)
    health.start_draining()
    assert (await health.readiness())[0] is False


async def test_details_name_no_address():
    """Whoever may see the page need not see people."""

    async def chatty():
        return True, "last mail from ada@corp.example\n"

    health = Health()
    health.add_probe("smtp", chatty)
    _, details = await health.readiness()
    assert details["checks"]["smtp"]["detail"] == "last mail from a…@corp.example\\x0a"


async def test_a_failing_refresh_keeps_the_page(capsys):
    """Metrics show their last values when the store does not answer."""
    done = []

    async def fine():
        done.append(True)

    health = Health(timeout_s=0.01)
    health.add_refresh(broken)
    health.add_refresh(stuck)
    health.add_refresh(fine)
    await health.refresh()
    assert done == [True]
    assert "hush" not in capsys.readouterr().err
