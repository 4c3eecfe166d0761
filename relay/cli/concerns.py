"""Asking before an address is accepted against which something speaks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from relay.cli.entry import Failure
from relay.cli.output import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.admin.concerns import Concern

yes_option = click.option(
    "--yes", is_flag=True, help="Do it although something speaks against it."
)


def confirmed(against: Sequence[Concern], key: str, *, yes: bool) -> None:
    """Show what speaks against an address, and go on if the admin confirms it.

    Raises:
        Failure: Nobody confirmed it; nothing is to be changed.
    """
    if not against:
        return
    text = "; ".join(clean(one.text) for one in against)
    if yes:
        click.echo(f"Note: {text}.", err=True)
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(f"{text}.", err=True)
        if click.confirm(f"Accept {clean(key)} all the same?", err=True):
            return
    problem = f"{clean(key)} was not accepted: {text}; add --yes if it is meant so"
    raise Failure(problem)
