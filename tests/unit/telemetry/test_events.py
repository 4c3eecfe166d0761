"""What a log line looks like, and what it never holds."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
import structlog

from relay.config import TelemetrySettings
from relay.store.directory import new_token
from relay.telemetry import bound, configure_logging, get_logger


@pytest.fixture
def lines():
    """Return a function that configures the log and gives the lines written since."""
    stream = io.StringIO()

    def configure(**settings):
        configure_logging(TelemetrySettings(**settings), stream=stream)
        return lambda: stream.getvalue().splitlines()

    return configure


def is_ours(handler):
    """Tell the relay's handler from those of the test runner."""
    return type(handler).__module__ == "relay.telemetry.events"


@pytest.fixture
def events(lines):
    """Return a function that gives the events written, as JSON."""
    written = lines(log_format="json")
    return lambda: [json.loads(line) for line in written()]


def test_event_has_name_time_level_and_fields(events):
    """A line is an event: fixed name, time in UTC, level, fields."""
    get_logger("relay.smtp").info("message_accepted", size_bytes=12)
    (event,) = events()
    assert event["event"] == "message_accepted"
    assert event["part"] == "relay.smtp"
    assert event["level"] == "info"
    assert event["timestamp"].endswith("Z")
    assert event["size_bytes"] == 12


async def test_one_message_id_through_tasks_and_threads(events):
    """What is bound stands on every event inside, and on none outside."""
    log = get_logger("t")

    def in_a_thread():
        log.info("thread")
        logging.getLogger("library").warning("library")

    with bound(message_id="01"):
        await asyncio.to_thread(in_a_thread)
        await asyncio.create_task(asyncio.to_thread(log.info, "task"))
    log.info("outside")
    found = {event["event"]: event.get("message_id") for event in events()}
    assert found == {"thread": "01", "library": "01", "task": "01", "outside": None}


def test_secrets_are_masked_by_name_at_any_depth(events):
    """A field whose name says secret is masked, in every event."""
    get_logger("t").warning(
        "x",
        client_secret="hush",
        Authorization="Bearer hush",
        settings={"salesforce": {"private_key": "hush", "api_version": "66.0"}},
        calls=[{"access_token": "hush"}],
        password=b"hush",
    )
    (event,) = events()
    assert "hush" not in json.dumps(event)
    assert event["settings"]["salesforce"]["api_version"] == "66.0"


def test_mail_content_is_left_out(events):
    """Bodies, headers and raw bytes become their length."""
    get_logger("t").info("x", body="private", raw=b"private", text_html="private", n=1)
    (event,) = events()
    assert "private" not in json.dumps(event)
    assert event["raw"] == "<7 bytes>"
    assert event["body"] == "<left out, 7 long>"
    assert event["n"] == 1


def test_addresses_are_masked_on_request(lines):
    """With masking, no line names a person: fields, texts and tracebacks."""
    written = lines(log_format="json", mask_addresses=True)
    log = get_logger("t")
    log.info(
        "x", peer_says="<Ada.Rep@Corp.example>,bob@x.test", people=["ada@c.example"]
    )
    try:
        raise ValueError("ada@corp.example")
    except ValueError:
        log.exception("failed for ada@corp.example")
    text = "\n".join(written())
    assert "da.Rep@" not in text
    assert "ada@" not in text
    assert "bob@" not in text
    assert json.loads(written()[0])["peer_says"] == "<A…@Corp.example>,b…@x.test"


def test_addresses_are_shown_otherwise(events):
    """Without masking, the log names who was refused."""
    get_logger("t").info("x", sender="ada@corp.example")
    assert events()[0]["sender"] == "ada@corp.example"


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_nobody_forges_a_line(lines, log_format):
    """Line breaks and escape sequences of strangers stay inside their field."""
    written = lines(log_format=log_format)
    evil = "a\r\n2026 [error] forged\x1b[2J\u2028\u202e\x9b"
    get_logger("t").warning("helo", name=evil + "\ud800")
    logging.getLogger("library").warning("said %s", evil)
    assert len(written()) == 2
    assert all(line.isascii() and line.isprintable() for line in written())


def test_a_traceback_cannot_look_like_an_event(lines):
    """Lines of an exception's text are set in."""
    written = lines(log_format="console")
    try:
        raise ValueError("x\n2026-01-01 [error] forged")
    except ValueError:
        get_logger("t").exception("failed")
    first, *rest = written()
    assert "failed" in first
    assert rest
    assert all(line.startswith("  ") for line in rest)


def test_tracebacks_hold_no_local_variables(lines):
    """A secret in a variable does not come out with the traceback."""
    written = lines(log_format="console")
    hidden = "hu" + "sh"
    try:
        raise ValueError(len(hidden))
    except ValueError:
        get_logger("t").exception("failed")
        logging.getLogger("library").exception("failed")
    assert "hush" not in "\n".join(written())


def test_long_text_is_cut(events):
    """A header of a megabyte does not become a line of a megabyte."""
    get_logger("t").info("x", subject="s" * 1_000_000, many=list(range(10_000)))
    (event,) = events()
    assert len(json.dumps(event)) < 5000
    assert "1000000 characters" in event["subject"]


def test_level_counts(lines):
    """Events below the level are not written; `debug` does not open libraries."""
    written = lines(log_level="warning")
    get_logger("t").info("quiet")
    get_logger("t").warning("loud")
    assert len(written()) == 1
    written = lines(log_level="debug")
    get_logger("t").debug("loud")
    logging.getLogger("urllib3").debug("GET /query?q=Email")
    assert len(written()) == 2


def test_configuring_again_writes_once(lines):
    """A second configuration takes the first one's place."""
    lines(log_format="json")
    written = lines(log_format="json")
    logging.getLogger("library").warning("once")
    assert len(written()) == 1


def test_a_log_that_cannot_be_written_stops_nothing():
    """A closed pipe loses the line, not the mail."""
    config, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    stream.close()
    try:
        configure_logging(TelemetrySettings(), stream=stream)
        get_logger("t").error("x")
        logging.getLogger("library").error("x")
    finally:
        structlog.configure(**config)
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_broken_library_record_is_reported(lines):
    """A library's wrong format string cannot raise out of the log."""
    written = lines(log_format="json")
    record = logging.LogRecord("library", 40, "f.py", 1, "%d", ("x",), None)
    (ours,) = [one for one in logging.getLogger().handlers if is_ours(one)]
    ours.handle(record)
    assert written() == ["unreadable log record of library"]


def test_standard_output_is_left_to_results(capsys):
    """Before any configuration, warnings go to standard error."""
    get_logger("t").warning("early")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "early" in shown.err


def test_a_relay_address_is_never_whole(lines):
    """Whatever the field and the masking, no token of a relay address is logged."""
    token = new_token()
    logged = lines()
    get_logger("x").info(
        "smtp_refused",
        rcpt=f"{token.upper()}@in.relay.example",
        reply=f"550 5.1.1 no {token}@in.relay.example here",
        deep=[{"to": (f"<{token}@in.relay.example>",)}],
        cut="x" * 1990 + token,
    )
    try:
        raise ValueError(token)
    except ValueError:
        get_logger("x").exception("broken")
    text = "\n".join(logged())
    assert token[7:] not in text.lower()
    assert f"{token[:6]}…@in.relay.example" in text
