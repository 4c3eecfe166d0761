"""The parts of a relay that can be asked for."""

from __future__ import annotations

import click
import pytest

from relay.cli.serve import read_roles


def test_default_is_everything_there_is() -> None:
    """Without --roles one process does the whole job."""
    assert read_roles(None) == {"smtp", "worker"}


def test_roles_are_words_with_commas() -> None:
    """One part, or several, in any order."""
    assert read_roles("smtp") == {"smtp"}
    assert read_roles(" worker, smtp ") == {"smtp", "worker"}


def test_http_is_a_role() -> None:
    """It may run alone, on a machine of its own."""
    assert read_roles("web") == {"web"}


@pytest.mark.parametrize("text", ["", ",", "smtp,walker"])
def test_unknown_roles_are_wrong_usage(text: str) -> None:
    """The words that exist are named."""
    with pytest.raises(click.BadParameter, match="smtp, worker, web"):
        read_roles(text)
