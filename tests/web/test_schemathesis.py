"""Whatever fits the OpenAPI document, and much that does not, gets a documented answer.

schemathesis makes requests of the document: values that fit, and values that break one
rule each. They go over real HTTP to a relay with a real store. No answer may be a fault
of the relay, and each must be of a status, a kind and a form that the document names.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from relay.web.api.gate import Rate
from tests.web.conftest import EVERY, make_served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = "/api/v1/events"
"""It does not end; tests/web/test_events.py asks it."""


@schemathesis.serializer("message/rfc822")
def as_mail(_context: Any, value: Any) -> bytes:
    """Send what was made as the bytes of a mail."""
    return str(value).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def relay(request, tmp_path_factory):
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create("schemathesis")
    made = make_served(tmp_path_factory.mktemp("relay"), url)
    made("user", "add", "Ada", "--email", "ada@corp.example")
    made("exclude", "add", "*@private.example")
    made.ids = [*made.put("One", "Two"), made.refuse()]
    text = made.config.read_text("utf-8")
    made.config.write_text(f"{text}api_requests_per_minute = 1000000\n", "utf-8")
    made.start()
    # Requests without a token are made as well; nobody is to be locked out for them.
    made.in_gate(lambda gate: setattr(gate, "_guesses", Rate(10**9, gate._clock)))
    try:
        yield made
    finally:
        made.stop()


def known(relay) -> dict[str, list[str]]:
    """Return values of path parameters that there are, by name."""
    return {
        "id": [*relay.ids, relay.ids[0][:20], "1"],
        "user": ["1", "ada@corp.example"],
        "key": ["match.several", "sender.policy", "active"],
        "name": ["inbox", "reset", "fuzz"],
        "pattern": ["*@private.example"],
        "address": ["ada@corp.example"],
    }


def ask_all(relay, examples: int) -> dict[str, int]:
    """Send requests to each operation; return how many answers were of each status."""
    schema = schemathesis.openapi.from_dict(relay.document.document)
    schema.config.update(base_url=f"http://127.0.0.1:{relay.port}")
    statuses: dict[str, int] = {}
    names = known(relay)
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS:
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except Exception:  # noqa: BLE001 - nothing of it can be broken
                continue
            _ask(relay, strategy, examples, names, statuses)
    return statuses


def _ask(
    relay: Any,
    strategy: Any,
    examples: int,
    names: dict[str, list[str]],
    statuses: dict[str, int],
) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy, st.data())
    def run(case: Any, data: Any) -> None:
        for name in case.path_parameters or {}:
            if name in names and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(names[name]))
        # The token that asks must not end; its own end is another test.
        headers = {"If-Match": "*"} if data.draw(st.booleans()) else {}
        answer = case.call(headers={**relay.bearer, **headers}, timeout=60)
        statuses[str(answer.status_code)] = statuses.get(str(answer.status_code), 0) + 1
        case.validate_response(answer, checks=CHECKS)

    run()


@pytest.mark.timeout(600)
def test_each_operation_keeps_to_the_document(relay):
    """A few requests of each kind to each operation, the same ones each time."""
    relay.bearer = relay.token("schemathesis", *EVERY)
    statuses = ask_all(relay, 4)
    assert {"200", "404", "422"} <= set(statuses), statuses


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_each_operation_keeps_to_the_document_at_length(relay):
    """The long form of the same."""
    relay.bearer = relay.token("at length", *EVERY)
    ask_all(relay, 200)
