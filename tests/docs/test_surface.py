"""What outside scripts hold on to stays: commands, settings, reason words, metrics.

`surface.json` lists them as they were released. What is new may be added there; a word
that goes is a broken promise, and needs a line under "Removed" in the changelog.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import click
import pytest

from relay.cli import main
from relay.config.settings import Settings
from relay.config.sources import sections, table_model

ROOT = Path(__file__).parents[2]
SURFACE = json.loads((Path(__file__).parent / "surface.json").read_text("utf-8"))


def commands(group, path=()):
    """Return each command with the names of its arguments and options."""
    found = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        words = (*path, name)
        if isinstance(command, click.Group):
            found |= commands(command, words)
        else:
            options = {
                text
                for parameter in command.params
                for text in (*parameter.opts, *parameter.secondary_opts)
            }
            found[" ".join(words)] = sorted(options)
    return found


def keys(model, path=()):
    """Return the name of each setting, tables of listeners included."""
    found = []
    for name, info in model.model_fields.items():
        found.append(".".join((*path, name)))
        inner = table_model(info)
        if inner is not None:
            found += keys(inner, (*path, name))
    return found


@cache
def constants():
    """Return every string constant of the product."""
    return {
        node.value
        for file in (ROOT / "relay").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("command", sorted(SURFACE["commands"]))
def test_commands_stay(command):
    """Each released command is there, with each of its options."""
    now = commands(main)
    assert command in now
    assert not set(SURFACE["commands"][command]) - set(now[command])


def test_settings_stay():
    """Each released key of the configuration can still be set."""
    now = {
        key
        for name, model in sections(Settings).items()
        for key in keys(model, (name,))
    }
    assert not set(SURFACE["settings"]) - now


@pytest.mark.timeout(60)  # The first that needs `constants`: it reads all sources.
def test_reasons_stay():
    """Each released reason word, of refusals and settlements, can still be given."""
    assert not set(SURFACE["reasons"]) - constants()


def test_metrics_stay():
    """Each released metric is still published."""
    assert not set(SURFACE["metrics"]) - constants()
