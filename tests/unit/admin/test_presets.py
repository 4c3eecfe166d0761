"""Presets: each rule exists and fits, and only what differs is saved."""

from __future__ import annotations

import pytest

from relay.admin.presets import PRESETS, change_of, compare, preset_of, tried
from relay.admin.settings import OF_FILE, typed_value
from relay.config import Settings
from relay.core.errors import InvalidInput

LOADED = Settings()


@pytest.mark.parametrize("name", PRESETS)
def test_each_rule_exists_and_fits(name: str) -> None:
    """A preset names keys that the store may hold, with values as they are stored."""
    rows = compare(preset_of(name), LOADED, {})
    assert rows
    for row in rows:
        assert row.key in OF_FILE
        assert typed_value(LOADED, row.key, row.then) == row.then
        assert row.ground


def test_defaults_are_those_of_the_relay() -> None:
    """On a relay without settings nothing differs, whatever keys there are."""
    rows = compare(preset_of("default"), LOADED, {})
    assert not [row for row in rows if row.differs]
    assert {row.key.partition(".")[0] for row in rows} == {"match", "automatic"}
    assert change_of(rows).settings == {}


def test_what_the_store_holds_is_taken_out_again() -> None:
    """Where the file has the value already, the store is to hold none."""
    kept = {"match.several": "oldest", "automatic.list_mail": "log"}
    rows = compare(preset_of("default"), LOADED, kept)
    assert change_of(rows).settings == dict.fromkeys(kept)


def test_a_file_that_says_otherwise_is_overridden() -> None:
    """The store then holds the value of the preset."""
    match = LOADED.match.model_copy(update={"several": "newest"})
    loaded = LOADED.model_copy(update={"match": match})
    rows = compare(preset_of("default"), loaded, {})
    assert change_of(rows).settings == {"match.several": "all"}
    (row,) = [row for row in rows if row.differs]
    assert row.as_json() == {
        "key": "match.several",
        "now": "newest",
        "then": "all",
        "differs": True,
        "ground": "default",
    }
    assert tried(rows).settings == {"match.several": "all"}


def test_an_unknown_preset_names_the_known() -> None:
    """The hint lists them."""
    with pytest.raises(
        InvalidInput, match="there is no preset gmail; write one of def"
    ):
        preset_of("gmail")
