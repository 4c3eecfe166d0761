"""What the values of sender authentication say of themselves."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from relay.core.authentication import (
    ARCCheck,
    Authentication,
    DMARCCheck,
    Identity,
    Result,
    Signature,
    SPFCheck,
    describe,
    from_json,
    plain,
)

FOUND = Authentication(
    author="ada@corp.example",
    source="checks",
    spf=(
        SPFCheck(Identity.MAIL_FROM, "corp.example", Result.PASS, "it may", True),
        SPFCheck(Identity.HELO, "", Result.NONE, "no name"),
    ),
    dkim=(
        Signature(
            "corp.example",
            "s1",
            Result.PASS,
            "signed",
            "@corp.example",
            "rsa-sha256",
            1024,
            True,
            True,
            (),
            datetime(2026, 11, 30, tzinfo=UTC),
            datetime(2026, 12, 7, tzinfo=UTC),
            "ab12",
            True,
        ),
        Signature(
            "list.example", "s2", Result.PASS, covers=False, missing=("to", "cc")
        ),
        Signature("", "", Result.PERMERROR, "no tags"),
    ),
    dmarc=DMARCCheck(
        "corp.example",
        Result.PASS,
        "both speak",
        "reject",
        "corp.example",
        "corp.example",
        True,
        True,
        True,
        2,
    ),
    arc=ARCCheck(Result.PASS, "f.example", 1, True, "whole", ("corp.example",)),
    lookups=7,
    elapsed_ms=12,
)


@pytest.mark.parametrize(
    ("result", "covers", "counts"),
    [
        (Result.PASS, True, True),
        (Result.PASS, False, False),
        (Result.POLICY, True, False),
        (Result.FAIL, True, False),
    ],
)
def test_signature_counts_if_good_and_covering(result, covers, counts):
    """A genuine signature that leaves a field open proves nothing of the mail."""
    assert Signature("a.example", "s", result, covers=covers).counts is counts


@pytest.mark.parametrize(
    ("policy", "testing", "effective"),
    [
        ("reject", False, "reject"),
        ("reject", True, "quarantine"),
        ("quarantine", True, "none"),
        ("none", True, "none"),
        ("", True, ""),
    ],
)
def test_testing_lowers_the_policy(policy, testing, effective):
    """RFC 9989 section 4.7: `t=y` asks for one level less."""
    found = DMARCCheck("a.example", Result.FAIL, policy=policy, testing=testing)
    assert found.effective_policy == effective


@pytest.mark.parametrize(
    "found", [FOUND, Authentication("a@b.example", "network", "10.0.0.0/8")]
)
def test_stored_facts_are_read_again(found):
    """What goes through JSON comes back equal, whatever version adds or leaves out."""
    stored = json.loads(json.dumps(plain(found)))
    assert from_json(stored) == found
    assert from_json(stored | {"later": 1}) == found


def test_every_name_is_stored():
    """The names are those of the values, so that `--json` is stable."""
    stored = plain(FOUND)
    assert set(stored) == {one.name for one in fields(Authentication)}
    assert set(stored["dkim"][0]) == {one.name for one in fields(Signature)}
    assert stored["dkim"][0]["signed_at"] == "2026-11-30T00:00:00+00:00"
    assert stored["spf"][0]["result"] == "pass"


def test_missing_names_have_their_default():
    """A row of an older version can be read."""
    stored = {
        "author": "a@b.example",
        "source": "checks",
        "spf": [{"identity": "helo", "domain": "b.example", "result": "none"}],
        "dkim": [{"domain": "b.example", "selector": "s", "result": "pass"}],
        "arc": {"result": "none"},
    }
    found = from_json(stored)
    assert found.dkim == (Signature("b.example", "s", Result.PASS),)
    assert found.arc == ARCCheck(Result.NONE)
    assert found.dmarc is None


def test_facts_in_words():
    """A sentence for each check, the decisive one first."""
    assert describe(FOUND) == [
        (
            "DMARC pass: both speak (policy reject, in test mode, published at "
            "corp.example)"
        ),
        "signed by corp.example, aligned with the From address; weak key of 1024 bits",
        (
            "signed by list.example, which is not the domain of From; the signature "
            "does not cover: to, cc"
        ),
        "DKIM signature of an unknown domain: permerror: no tags",
        "SPF of the envelope sender: pass: it may, aligned with the From address",
        "SPF of the HELO name: none: no name",
        (
            "ARC pass: whole; sealed by f.example, a trusted sealer, who saw pass: "
            "corp.example"
        ),
    ]


def test_little_is_said_in_few_words():
    """No signature, no record, no chain."""
    found = Authentication(
        "a@b.example",
        "results",
        "mx.corp.example",
        dmarc=DMARCCheck("b.example", Result.NONE, "no record"),
        arc=ARCCheck(Result.NONE),
    )
    assert describe(found) == [
        "as told by mx.corp.example",
        "DMARC none: no record",
        "not signed (DKIM)",
        "no ARC chain",
    ]
    broken = replace(found, dmarc=None, arc=ARCCheck(Result.FAIL, text="broken"))
    assert describe(replace(broken, arc=None)) == [
        "as told by mx.corp.example",
        "not signed (DKIM)",
    ]
    assert describe(broken)[-1] == (
        "ARC fail: broken; sealed by nobody, not a trusted sealer"
    )


@pytest.mark.parametrize(
    ("source", "detail", "words"),
    [
        ("network", "10.0.0.0/8", "came from a trusted network: 10.0.0.0/8"),
        ("login", "ada", "came from a user who logged in: ada"),
        ("certificate", "", "came with a trusted client certificate"),
    ],
)
def test_trusted_paths_in_words(source, detail, words):
    """A trusted path is all there is to say."""
    assert describe(Authentication("a@b.example", source, detail)) == [words]
