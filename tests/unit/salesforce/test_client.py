"""Parts of a composite answer are told apart, whatever comes."""

from __future__ import annotations

import pytest

from relay.salesforce.client import Part, read_parts


def test_parts_are_found_by_name_in_any_order():
    """A composite answer may come in another order; strangers are left out."""
    answer = {
        "compositeResponse": [
            {"referenceId": "p1", "httpStatusCode": 200, "body": "b"},
            {"referenceId": "p9", "httpStatusCode": 200, "body": "?"},
            {"referenceId": "p0", "httpStatusCode": 400, "body": "a"},
            {"referenceId": "p2", "httpStatusCode": 200, "body": "c"},
            {"referenceId": "p2", "httpStatusCode": 400, "body": "c"},
            "nonsense",
        ]
    }
    assert read_parts(answer, 4) == [Part(400, "a"), Part(200, "b"), None, None]


@pytest.mark.parametrize("answer", [None, [], {}, {"compositeResponse": 7}, "x"])
def test_an_answer_of_another_form_has_no_parts(answer):
    """Whatever comes instead of a composite answer says nothing."""
    assert read_parts(answer, 2) == [None, None]
