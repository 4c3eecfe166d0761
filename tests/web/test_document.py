"""The OpenAPI document is valid, and the API keeps to it whatever is sent."""

from __future__ import annotations

import base64
import json
import random
import string
from pathlib import Path
from urllib.parse import quote

import pytest
from openapi_spec_validator import validate

from tests.web.conftest import EVERY, make_served

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    relay = make_served(tmp_path_factory.mktemp("relay"))
    relay("user", "add", "Ada", "--email", "ada@corp.example")
    relay.put("One", "Two")
    relay.refuse()
    text = relay.config.read_text("utf-8")
    relay.config.write_text(f"{text}api_requests_per_minute = 1000000\n", "utf-8")
    relay.start()
    yield relay
    relay.stop()


def test_the_document_is_valid(relay):
    """OpenAPI 3.1; each operation is described, with its problems, and no secret."""
    document = relay.document.document
    validate(document)
    assert document["openapi"].startswith("3.1")
    names = set()
    for template, item in document["paths"].items():
        assert template.startswith("/api/v1/")
        for method, operation in item.items():
            assert operation["summary"], (method, template)
            assert operation["security"] == [{"token": []}]
            assert set(operation["responses"]) >= {"401", "403", "422", "429"}
            names.add(operation["operationId"])
    assert len(names) == sum(len(item) for item in document["paths"].values())
    assert relay.call("GET", "/api/openapi.json").headers["Cache-Control"] == "no-store"


def test_no_number_is_larger_than_a_database_takes(relay):
    """Of each parameter and each body the document says how large a number may be."""
    document = relay.document.document

    def numbers(schema, where):
        schema = resolve(document, schema)
        if schema.get("type") == "integer":
            yield where, schema.get("maximum", float("inf"))
        items = [schema["items"]] if "items" in schema else []
        for each in (*schema.get("anyOf", ()), *items):
            yield from numbers(each, where)
        for name, each in schema.get("properties", {}).items():
            yield from numbers(each, f"{where}.{name}")

    found = []
    for template, item in document["paths"].items():
        for method, operation in item.items():
            where = f"{method} {template}"
            for each in operation.get("parameters", ()):
                found += numbers(each["schema"], f"{where} {each['name']}")
            for body in operation.get("requestBody", {}).get("content", {}).values():
                found += numbers(body["schema"], where)
    assert len(found) > 20
    # A setting has limits of its own, and is kept as text.
    found.remove(("put /api/v1/settings/{key}.value", float("inf")))
    assert [where for where, most in found if most > 2**53] == []


def test_a_cursor_holds_no_number_that_is_too_large(relay):
    """Whoever writes a cursor by hand gets 400."""
    headers = relay.token("numbers", *EVERY)
    page = relay.call("GET", "/api/v1/history?limit=1", headers=headers).json
    padded = page["next"] + "=" * (-len(page["next"]) % 4)
    _, digest = json.loads(base64.urlsafe_b64decode(padded))
    made = base64.urlsafe_b64encode(json.dumps([2**70, digest]).encode()).decode()
    answer = relay.call(
        "GET", f"/api/v1/history?limit=1&cursor={made.rstrip('=')}", headers
    )
    assert (answer.status, answer.json["error"]) == (400, "bad_cursor")


def resolve(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


class Guess:
    """Makes values that fit a schema, and some that do not."""

    def __init__(self, document, seed):
        self.document = document
        self.random = random.Random(seed)

    def value(self, schema, depth=0):  # noqa: PLR0911 - one line for each kind
        schema = resolve(self.document, schema)
        if self.random.random() < 0.15 or depth > 3:
            return self.random.choice(
                [
                    None,
                    True,
                    0,
                    -1,
                    2**70,
                    1.5,
                    "",
                    "x" * 300,
                    [],
                    {},
                    "\x00",
                    "é\u202e",
                ]
            )
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        if "anyOf" in schema:
            return self.value(self.random.choice(schema["anyOf"]), depth + 1)
        match schema.get("type"):
            case "object":
                names = schema.get("properties", {})
                return {
                    name: self.value(part, depth + 1)
                    for name, part in names.items()
                    if name in schema.get("required", ()) or self.random.random() < 0.5
                }
            case "array":
                count = self.random.randrange(3)
                items = schema.get("items", {})
                return [self.value(items, depth + 1) for _ in range(count)]
            case "integer":
                low = int(schema.get("minimum", -5))
                return self.random.randint(low, int(schema.get("maximum", low + 50)))
            case "number":
                return self.random.uniform(-5, 50)
            case "boolean":
                return self.random.random() < 0.5
        return self.random.choice(
            [
                "ada@corp.example",
                "*@acme.example",
                "Ada",
                "1",
                "2h",
                "yesterday",
                "state:dead offer",
                "match.several",
                "".join(self.random.choices(string.printable, k=12)),
            ]
        )

    def text(self, schema):
        found = self.value(schema)
        if isinstance(found, bool):
            return str(found).lower()
        return "" if found is None else str(found)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_sent_is_answered_as_described(relay, seed):
    """No 5xx, and no answer that the document does not describe.

    `call` checks status, media type and body of each answer against the document.
    """
    token = relay.token(f"seed{seed}", *EVERY)
    ids = [row["id"] for row in relay.json("log")]
    document = relay.document.document
    guess = Guess(document, seed)
    for template, item in document["paths"].items():
        for method, operation in item.items():
            where, query, headers = template, [], dict(token)
            for one in operation.get("parameters", ()):
                schema = one["schema"]
                text = guess.text(schema)
                if one["in"] == "path":
                    known = {"id": guess.random.choice([*ids, "1"]), "user": "1"}
                    if guess.random.random() < 0.7:
                        text = known.get(one["name"], text)
                    text = quote(text or "x", safe="")
                    where = where.replace("{" + one["name"] + "}", text)
                elif one["in"] == "query" and (
                    one.get("required") or guess.random.random() < 0.4
                ):
                    query.append(f"{one['name']}={quote(text)}")
                elif one["in"] == "header" and guess.random.random() < 0.6:
                    # A key that was sent before is judged by itself: rarely, below.
                    headers |= {"If-Match": "*"} if one["name"] == "If-Match" else {}
            body = None
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                body = guess.value(content["application/json"]["schema"])
                if body is None:
                    body = b"null"
                    headers["Content-Type"] = "application/json"
            elif content:
                body = guess.random.choice([b"", b"Subject: x\r\n\r\ny", b"\x00" * 9])
                headers["Content-Type"] = "message/rfc822"
            if guess.random.random() < 0.2:
                headers["Idempotency-Key"] = guess.random.choice("ab")
            asked = where + ("?" + "&".join(query) if query else "")
            answer = relay.call(method.upper(), asked, headers, body)
            assert answer.status < 500, (method, asked, body, answer.data)


def test_paths_stay(relay):
    """Each released path of the API is there, with each of its methods."""
    surface = Path(__file__).parents[1] / "docs" / "surface.json"
    paths = relay.document.document["paths"]
    for template, methods in json.loads(surface.read_text("utf-8"))["api"].items():
        assert {method.lower() for method in methods} <= set(paths[template])
