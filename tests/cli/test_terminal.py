"""What an admin reads on a terminal of 80 columns."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from relay.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBJECT = "An offer that goes on and on, as they do, to the end of the line"


@contextmanager
def terminal(relay: Any, *arguments: str) -> Iterator[Iterator[str]]:
    """Run a command on a terminal; yield its lines as they come."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "relay", "--config", str(relay.config)]
    process = subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
        env=os.environ | {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"},
    )
    os.close(its)

    def lines() -> Iterator[str]:
        rest = b""
        while True:
            try:
                rest += os.read(ours, 4096)
            except OSError:  # the end of a terminal whose program has gone
                return
            *whole, rest = rest.split(b"\n")
            for line in whole:
                yield line.decode().rstrip()

    try:
        yield lines()
    finally:
        process.terminate()
        process.wait(10)
        os.close(ours)


@pytest.mark.timeout(60)
def test_the_log_names_sender_and_result(relay: Any, ada: Any) -> None:
    """Time and user stay, and the id is as long as it need be."""
    (id_,) = relay.put(SUBJECT)
    relay.refuse()
    with terminal(relay, "log") as lines:
        shown = list(lines)
    heads = ["received", "(UTC)", "state", "id", "user", "result"]
    assert shown[0].split() == heads
    assert id_[:13] in shown[2].split()
    assert relay.json("show", id_[:13])[0]["id"] == id_
    assert all(len(line) <= 80 for line in shown)
    column = shown[0].index("result")
    result = "".join(line[column:].strip() for line in shown[3:])
    assert result == "550 5.1.1unknown_recipient"


@pytest.mark.timeout(60)
def test_no_time_is_cut(relay: Any, ada: Any) -> None:
    """What waits, and for how long; a long reason goes on below."""
    relay.put(SUBJECT)
    reason = "a_reason_that_is_as_long_as_reasons_are"

    async def put_off(store: Any) -> None:
        later = update(schema.messages).values(reason=reason)
        await store.context.write(lambda connection: connection.execute(later))

    relay.in_store(put_off)
    (row,) = relay.json("status")[0]["waiting"]
    for command, times in (
        (["status"], [row["oldest_at"], row["next_at"]]),
        (["address", "list"], [ada["activated_at"]]),
    ):
        with terminal(relay, *command) as lines:
            shown = list(lines)
        table = shown[next(n for n, one in enumerate(shown) if "──" in one) - 1 :]
        assert all(len(line) <= 80 for line in table), command
        for at in times:
            assert at[:19].replace("T", " ") in "\n".join(table), (command, table)


@pytest.mark.timeout(60)
def test_following_cuts_nothing(relay: Any, ada: Any) -> None:
    """A line that is longer than the terminal runs over."""
    (id_,) = relay.put(SUBJECT)
    relay("hold", id_)
    with terminal(relay, "log", "--follow") as lines:
        line = next(lines)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC ", line)
    assert id_ in line
    assert SUBJECT in line
