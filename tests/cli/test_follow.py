"""`relay log --follow` shows what comes, from another process, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import pytest

from tests.fakes.children import piped


@pytest.mark.timeout(120)
def test_new_rows_and_changed_states_appear(relay: Any, ada: Any) -> None:
    """Each message is shown when it comes and again when its state changes."""
    (first,) = relay.put("One")
    command = [
        *(sys.executable, "-m", "relay", "--config", str(relay.config)),
        *("log", "--follow", "--json"),
    ]
    with piped(command) as (follower, printed):

        def line() -> tuple[str, str]:
            row = json.loads(printed.readline())
            return row["id"], row["state"]

        assert line() == (first, "queued")
        (second,) = relay.put("Two")
        assert line() == (second, "queued")
        relay("hold", first)
        assert line() == (first, "held")
        refused = relay.refuse()
        assert line() == (refused, "refused")
        follower.send_signal(signal.SIGINT)
        rest, errors = follower.communicate(timeout=10)
    assert (rest, errors, follower.returncode) == ("", "", 0)
