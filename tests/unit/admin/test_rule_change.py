"""A file of rules says what is to change; what cannot be tried is refused by name."""

from __future__ import annotations

import pytest

from relay.admin.rule_change import RuleChange, read_rules, replayable
from relay.config import Settings
from relay.core.directory import Exclusion, SkipKind
from relay.core.errors import InvalidInput
from relay.match import Context, with_stored
from relay.worker.decisions import rules
from tests.fakes.values import directory

LOADED = Settings()


def test_a_file_names_what_changes() -> None:
    """Values as JSON has them, by the keys of `relay settings`."""
    change = read_rules(
        LOADED,
        """
        [match]
        several = "oldest"
        internal_domains = ["auto", "Group.Example"]
        [automatic]
        list_mail = "log"
        [user]
        address_rules = ["corp.example: plus"]
        [[exclude]]
        pattern = "*@Secret.example"
        [[exclude]]
        pattern = "x@y.example"
        skip = "address"
        user = "ada@corp.example"
        """,
    )
    assert change.as_json() == {
        "settings": {
            "match.several": "oldest",
            "match.internal_domains": ["auto", "group.example"],
            "automatic.list_mail": "log",
            "user.address_rules": ["corp.example: plus"],
        },
        "exclude": [
            {"pattern": "*@secret.example", "skip": "mail", "user": ""},
            {"pattern": "x@y.example", "skip": "address", "user": "ada@corp.example"},
        ],
    }


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[smtp]\nlisten = []\n[store]\nurl = ''", "[smtp], [store] cannot be re-pla"),
        ("[match]\nseveral = 'all'\nsome = 1", "match.some cannot be re-played"),
        ("[user]\nname = 'x'", "user.name cannot be re-played"),
        ("several = 'all'", "several cannot be re-played; take it out of the file"),
        ("match = 1", "match cannot be re-played"),
        ("exclude = ['*@x.example']", "exclude (write [[exclude]] above each pattern)"),
        ("[match", "this is no TOML"),
        ("", "the file changes nothing; a file of rules holds [match]"),
        ("[match]\nseveral = 'some'", 'match.several = "some" does not fit; write one'),
        ("[match]\ninternal_domains = ['gmail.com']", "is a domain of free mail"),
        ("[automatic]\nlist_mail = true", "automatic.list_mail = true does not fit"),
        ("[[exclude]]\npattern = 'x'", "'x' is no e-mail address"),
        ("[[exclude]]\nskip = 'mail'", "needs a pattern in quotes"),
        ("[[exclude]]\npattern = 'a@x.example'\nskip = 'all'", "has skip = 'all'"),
        ("[[exclude]]\npattern = 'a@x.example'\nwho = 'x'", "has no key who"),
    ],
)
def test_what_cannot_be_tried_is_named(text: str, part: str) -> None:
    """The line says what is wrong, and what a file of rules holds."""
    with pytest.raises(InvalidInput) as caught:
        read_rules(LOADED, text)
    assert part in str(caught.value)


def test_a_change_stands_before_the_store() -> None:
    """None takes a value out of the store, so that the file holds again."""
    now = directory()
    stored = RuleChange(
        {"match.several": "newest", "user.address_rules": ["corp.example: plus"]}
    ).directory(LOADED, now)
    assert with_stored(LOADED.match, stored).several == "newest"
    assert stored.address_rules.mailbox("ada+crm@corp.example") == "ada@corp.example"
    again = RuleChange({"match.several": None, "user.address_rules": None})
    unset = again.directory(LOADED, stored)
    assert with_stored(LOADED.match, unset).several == "all"
    assert unset.settings == {}
    assert unset.address_rules.mailbox("ada+crm@corp.example") != "ada@corp.example"
    assert now.settings == {}, "the directory itself stays as it is"


def test_exclusions_are_added_to_those_there_are() -> None:
    """For everybody, or for one user by address."""
    text = "[[exclude]]\npattern='*@x.example'\nuser='Ben@corp.example'"
    now = directory(("*@old.example", SkipKind.MAIL))
    then = read_rules(LOADED, text).directory(LOADED, now)
    assert then.exclusions == (
        Exclusion("*@old.example", None, SkipKind.MAIL),
        Exclusion("*@x.example", 2, SkipKind.MAIL),
    )
    assert Context.of(then, rules(LOADED)).directory is then
    everybody = read_rules(LOADED, "[[exclude]]\npattern='x@x.example'")
    assert everybody.directory(LOADED, now).exclusions[1:] == (
        Exclusion("x@x.example", None, SkipKind.MAIL),
    )
    unknown = read_rules(LOADED, text.replace("Ben", "Bob"))
    with pytest.raises(InvalidInput, match=r"there is no user Bob@corp\.example"):
        unknown.directory(LOADED, now)


def test_values_that_do_not_fit_together_are_refused() -> None:
    """Each may fit alone: the section is checked as a whole, too."""
    change = RuleChange({"match.several": "none of these"})
    with pytest.raises(InvalidInput, match="do not fit together: several: Input"):
        change.directory(LOADED, directory())
    change = RuleChange({"match.internal_domains": ["gmail.com"]})
    with pytest.raises(InvalidInput, match="is a domain of free mail"):
        change.directory(LOADED, directory())


def test_only_rules_can_be_tried() -> None:
    """What decides about a mail in the store, and nothing about sending or notices."""
    assert replayable("match.several")
    assert replayable("automatic.list_mail")
    assert replayable("user.address_rules")
    for key in (
        *("sender.policy", "notices.level", "active", "match.unknown"),
        "match.rematch_s",
        "match.unmatched_task",
    ):
        assert not replayable(key)
